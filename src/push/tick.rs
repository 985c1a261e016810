//! What is told to all who follow an event, as bytes that they share.
//!
//! Each is encoded once for each protocol that anybody needs it in, however many are told.

use std::sync::{Arc, OnceLock};

use actix_web::web::Bytes;
use prometheus::IntCounter;

use super::message::Message;
use super::sockets::Kind;
use crate::domain::EventId;
use crate::domain::seat::SEAT_STATES;
use crate::domain::time::iso8601;
use crate::http::response_memory::{Charge, ResponseMemory};
use crate::live::{Changes, Mark};

/// Messages in the bytes of one protocol.
#[derive(Debug)]
pub struct Told {
    /// The bytes of all of them.
    pub bytes: Bytes,
    /// Their types.
    pub words: Vec<&'static str>,
}

/// What encodings count as: in metrics, and in memory as long as somebody is sent them.
#[derive(Clone, Debug)]
pub struct Encodes {
    /// How many there were.
    pub count: IntCounter,
    /// What they keep.
    pub memory: Arc<ResponseMemory>,
}

/// Bytes that count as memory of responses.
struct Counted {
    bytes: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Messages that bring a client to one version.
#[derive(Debug)]
pub struct News {
    /// What the client has once it was told.
    pub mark: Mark,
    messages: Vec<Message>,
    encodes: Encodes,
    told: [OnceLock<Arc<Told>>; 2],
}

impl News {
    /// These messages; counts how often they are encoded.
    pub fn new(mark: Mark, messages: Vec<Message>, encodes: Encodes) -> Self {
        News { mark, messages, encodes, told: Default::default() }
    }

    /// What changed between two versions: one message for each state that seats are in now.
    pub fn changed(event: EventId, generation: u64, changes: &Changes, encodes: Encodes) -> Self {
        let mark = Mark { generation, version: changes.version };
        let timestamp = iso8601(changes.time_ms);
        let of_state = |(state, word, _): (_, &'static str, u8)| {
            let seats = changes.seats.iter().filter(|seat| seat.1 == state);
            let seat_ids: Vec<u32> = seats.map(|seat| seat.0.0).collect();
            (!seat_ids.is_empty()).then(|| Message::SeatUpdate {
                event_id: event.0,
                generation,
                since: changes.since,
                version: changes.version,
                status: word,
                seat_ids,
                timestamp: timestamp.clone(),
                resume: None,
            })
        };
        let mut messages: Vec<Message> = SEAT_STATES.into_iter().filter_map(of_state).collect();
        if let Some(Message::SeatUpdate { resume, .. }) = messages.last_mut() {
            *resume = Some(mark.to_string());
        }
        News::new(mark, messages, encodes)
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Its bytes, which all share.
    pub fn told(&self, kind: Kind) -> Arc<Told> {
        self.told[kind as usize].get_or_init(|| Arc::new(self.encode(kind))).clone()
    }

    fn encode(&self, kind: Kind) -> Told {
        self.encodes.count.inc();
        let last = self.messages.len().saturating_sub(1);
        let mut bytes = Vec::new();
        for (at, message) in self.messages.iter().enumerate() {
            // A client that is cut off between two messages of a version has only the one before.
            let mark = (at == last).then_some(self.mark);
            bytes.extend_from_slice(&message.rendered(kind, mark));
        }
        let words = self.messages.iter().map(Message::as_str).collect();
        let charge = self.encodes.memory.charge(bytes.len());
        Told { bytes: Bytes::from_owner(Counted { bytes, _charge: charge }), words }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{SeatId, SeatState};

    fn news(seats: &[(u32, SeatState)]) -> News {
        let seats = seats.iter().map(|(seat, state)| (SeatId(*seat), *state)).collect();
        let changes = Changes { since: 17, version: 21, time_ms: 1_772_388_000_000, seats };
        let metrics = crate::telemetry::Metrics::new("test");
        let memory = ResponseMemory::new(&crate::config::Config::default(), &metrics);
        let count = IntCounter::new("encodes", "encodes").unwrap();
        let encodes = Encodes { count, memory: Arc::new(memory) };
        News::changed(EventId(7), 2, &changes, encodes)
    }

    #[test]
    fn a_state_is_one_message() {
        let news = news(&[
            (1, SeatState::Booked),
            (2, SeatState::Available),
            (3, SeatState::Booked),
            (4, SeatState::Hold),
        ]);
        let told = news.told(Kind::EventStream);
        let text = std::str::from_utf8(&told.bytes).unwrap();
        let told: Vec<&str> = text.split_terminator("\n\n").collect();
        let data = |at: usize| -> serde_json::Value {
            let (_, data) = told[at].split_once("data: ").unwrap();
            serde_json::from_str(data).unwrap()
        };
        let of = |status: &str, seats: &[u32]| {
            serde_json::json!({
                "type": "seat_update", "event_id": 7, "generation": 2, "since": 17, "version": 21,
                "status": status, "seat_ids": seats, "timestamp": "2026-03-01T18:00:00.000Z",
            })
        };
        assert_eq!(told.len(), 3);
        assert_eq!(data(0), of("AVAILABLE", &[2]));
        assert_eq!(data(1), of("HOLD", &[4]));
        let mut last = of("BOOKED", &[1, 3]);
        last["resume"] = "2-21".into();
        assert_eq!(data(2), last);
        // Only the last one says where the client is then.
        let marked: Vec<bool> = told.iter().map(|text| text.starts_with("id: 2-21\n")).collect();
        assert_eq!(marked, [false, false, true]);
    }

    #[test]
    fn each_protocol_is_encoded_once() {
        let news = news(&[(1, SeatState::Hold), (2, SeatState::Booked)]);
        let first = news.told(Kind::WebSocket);
        assert!(Arc::ptr_eq(&first, &news.told(Kind::WebSocket)));
        assert_eq!((news.encodes.count.get(), &first.words[..]), (1, &["seat_update"; 2][..]));
        news.told(Kind::EventStream);
        assert_eq!(news.encodes.count.get(), 2);
    }

    #[test]
    fn nothing_is_told_of_nothing() {
        assert!(news(&[]).is_empty());
        assert!(!news(&[(1, SeatState::Hold)]).is_empty());
    }
}
