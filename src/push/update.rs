//! Messages shared by all subscribers of an event: encoded once per protocol, when first needed.

use std::sync::{Arc, OnceLock};

use actix_web::web::Bytes;
use prometheus::IntCounter;

use super::message::Message;
use super::protocol::Protocol;
use crate::domain::EventId;
use crate::domain::seat::SEAT_STATES;
use crate::domain::time::iso8601;
use crate::http::response_memory::{Charge, ResponseMemory};
use crate::live::{Changes, ViewVersion};

/// Messages encoded for one protocol.
#[derive(Debug)]
pub struct EncodedBatch {
    /// The bytes of all messages.
    pub bytes: Bytes,
    /// The message types, in order.
    pub types: Vec<&'static str>,
}

/// One item to send.
#[derive(Debug)]
pub enum FeedItem {
    /// A message for this socket alone.
    Own(Message),
    /// Bytes shared by all subscribers of the event.
    Shared(Arc<EncodedBatch>),
}

/// Accounts for encodings: in metrics, and in memory while a connection still sends the bytes.
#[derive(Clone, Debug)]
pub struct EncodeMeter {
    /// The number of encodings.
    pub count: IntCounter,
    /// Where their bytes are charged.
    pub memory: Arc<ResponseMemory>,
}

/// Bytes that are charged as response memory until the last owner drops them.
struct ChargedBytes {
    bytes: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for ChargedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Messages that bring a client to one version.
#[derive(Debug)]
pub struct Update {
    /// The version that the client has after the last message.
    pub version: ViewVersion,
    messages: Vec<Message>,
    meter: EncodeMeter,
    encoded: [OnceLock<Arc<EncodedBatch>>; 2],
}

impl Update {
    /// An update of these messages.
    pub fn new(version: ViewVersion, messages: Vec<Message>, meter: EncodeMeter) -> Self {
        Update { version, messages, meter, encoded: Default::default() }
    }

    /// The changes between two versions: one message for each current state of the changed seats.
    pub fn from_changes(
        event: EventId,
        generation: u64,
        changes: &Changes,
        meter: EncodeMeter,
    ) -> Self {
        let version = ViewVersion { generation, version: changes.version };
        let timestamp = iso8601(changes.time_ms);
        let of_state = |(state, status, _): (_, &'static str, u8)| {
            let seats = changes.seats.iter().filter(|seat| seat.1 == state);
            let seat_ids: Vec<u32> = seats.map(|seat| seat.0.0).collect();
            (!seat_ids.is_empty()).then(|| Message::SeatUpdate {
                event_id: event.0,
                generation,
                since: changes.since,
                version: changes.version,
                status,
                seat_ids,
                timestamp: timestamp.clone(),
                resume: None,
            })
        };
        let mut messages: Vec<Message> = SEAT_STATES.into_iter().filter_map(of_state).collect();
        if let Some(Message::SeatUpdate { resume, .. }) = messages.last_mut() {
            *resume = Some(version.to_string());
        }
        Update::new(version, messages, meter)
    }

    /// The same with a message after the others, which names the version in their place.
    pub fn with(mut self, message: Message) -> Self {
        if let Some(Message::SeatUpdate { resume, .. }) = self.messages.last_mut() {
            *resume = None;
        }
        self.messages.push(message);
        self
    }

    /// Whether there are no messages.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The bytes for a protocol, shared by all callers.
    pub fn encoded(&self, protocol: Protocol) -> Arc<EncodedBatch> {
        self.encoded[protocol as usize].get_or_init(|| Arc::new(self.encode(protocol))).clone()
    }

    fn encode(&self, protocol: Protocol) -> EncodedBatch {
        self.meter.count.inc();
        let last = self.messages.len().saturating_sub(1);
        let mut bytes = Vec::new();
        for (index, message) in self.messages.iter().enumerate() {
            // A client whose connection breaks between two messages has not reached the version.
            let version = (index == last).then_some(self.version);
            bytes.extend_from_slice(&message.encode(protocol, version));
        }
        let types = self.messages.iter().map(Message::as_str).collect();
        let charge = self.meter.memory.charge(bytes.len());
        EncodedBatch { bytes: Bytes::from_owner(ChargedBytes { bytes, _charge: charge }), types }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{SeatId, SeatState};

    fn update(seats: &[(u32, SeatState)]) -> Update {
        let seats = seats.iter().map(|(seat, state)| (SeatId(*seat), *state)).collect();
        let changes = Changes { since: 17, version: 21, time_ms: 1_772_388_000_000, seats };
        let metrics = crate::telemetry::Metrics::new("test");
        let memory = ResponseMemory::new(&crate::config::Config::default(), &metrics);
        let count = IntCounter::new("encodes", "encodes").unwrap();
        let meter = EncodeMeter { count, memory: Arc::new(memory) };
        Update::from_changes(EventId(7), 2, &changes, meter)
    }

    #[test]
    fn changes_are_one_message_per_state_and_the_last_carries_the_version() {
        let update = update(&[
            (1, SeatState::Booked),
            (2, SeatState::Available),
            (3, SeatState::Booked),
            (4, SeatState::Hold),
        ]);
        let batch = update.encoded(Protocol::EventStream);
        let text = std::str::from_utf8(&batch.bytes).unwrap();
        let blocks: Vec<&str> = text.split_terminator("\n\n").collect();
        let data = |at: usize| -> serde_json::Value {
            let (_, data) = blocks[at].split_once("data: ").unwrap();
            serde_json::from_str(data).unwrap()
        };
        let of = |status: &str, seats: &[u32]| {
            serde_json::json!({
                "type": "seat_update", "event_id": 7, "generation": 2, "since": 17, "version": 21,
                "status": status, "seat_ids": seats, "timestamp": "2026-03-01T18:00:00.000Z",
            })
        };
        assert_eq!(blocks.len(), 3);
        assert_eq!(data(0), of("AVAILABLE", &[2]));
        assert_eq!(data(1), of("HOLD", &[4]));
        let mut last = of("BOOKED", &[1, 3]);
        last["resume"] = "2-21".into();
        assert_eq!(data(2), last);
        let has_id: Vec<bool> = blocks.iter().map(|text| text.starts_with("id: 2-21\n")).collect();
        assert_eq!(has_id, [false, false, true]);
    }

    #[test]
    fn update_is_encoded_once_per_protocol() {
        let update = update(&[(1, SeatState::Hold), (2, SeatState::Booked)]);
        let first = update.encoded(Protocol::WebSocket);
        assert!(Arc::ptr_eq(&first, &update.encoded(Protocol::WebSocket)));
        assert_eq!((update.meter.count.get(), &first.types[..]), (1, &["seat_update"; 2][..]));
        update.encoded(Protocol::EventStream);
        assert_eq!(update.meter.count.get(), 2);
    }

    #[test]
    fn update_without_changed_seats_is_empty() {
        assert!(update(&[]).is_empty());
        assert!(!update(&[(1, SeatState::Hold)]).is_empty());
    }
}
