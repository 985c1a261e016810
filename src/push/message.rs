//! What clients are told and may say, and the bytes of it in both protocols.

use std::borrow::Cow;
use std::sync::Arc;

use actix_http::ws;
use actix_web::web::{Bytes, BytesMut};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use tokio_util::codec::Encoder;
use utoipa::ToSchema;

use super::sockets::Kind;
use crate::domain::time::iso8601;
use crate::domain::{EventId, Inventory};
use crate::http::problem::Problem;
use crate::live::{Expired, Mark};

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = PushMessage)]
pub enum Message {
    /// The first message.
    Connected {
        /// The event.
        event_id: u32,
        /// The generation of what is known of the seats now; null while nothing is.
        generation: Option<u64>,
        /// The version of it.
        version: Option<u64>,
        /// What to show as `since` to go on from there.
        #[serde(skip_serializing_if = "Option::is_none")]
        resume: Option<String>,
        /// For people.
        message: &'static str,
    },
    /// All seats.
    Snapshot {
        /// The event.
        event_id: u32,
        /// The event's generation.
        generation: u64,
        /// The event's version that this is.
        version: u64,
        /// Base64 of a format byte and then one byte a seat, from seat 1 on.
        bytes: String,
        /// What to show as `since` to go on from here.
        resume: String,
    },
    /// Seats that are in this state now. All that changed between two versions is told by one message
    /// for each state.
    SeatUpdate {
        /// The event.
        event_id: u32,
        /// The event's generation.
        generation: u64,
        /// The version after which this begins: at most the one that the client has.
        since: u64,
        /// The version that the client has once it was told all messages of this version.
        version: u64,
        /// Their state now.
        status: &'static str,
        /// The seats, ascending.
        seat_ids: Vec<u32>,
        /// When the last of it happened, at the latest.
        timestamp: String,
        /// In the last message of a version: what to show as `since` to go on from here.
        #[serde(skip_serializing_if = "Option::is_none")]
        resume: Option<String>,
    },
    /// What changed after the client's version is not known any more. The snapshot follows, unless the
    /// client fetches the seat map by itself.
    Gap {
        /// The event.
        event_id: u32,
        /// What the client had, `generation-version`; null if it had nothing.
        from: Option<String>,
        /// What it is to have at least.
        to: String,
        /// For people.
        message: &'static str,
    },
    /// A hold of the one who is told has lapsed.
    BookingExpired {
        /// The event.
        event_id: u32,
        /// The booking.
        booking_id: String,
        /// Its seats, ascending.
        seat_ids: Vec<u32>,
        /// When they became free.
        timestamp: String,
        /// For people.
        message: &'static str,
    },
    /// A waiting room's token is valid; what it brings is told as it happens.
    RegistrationConfirmed {
        /// The event.
        event_id: u32,
        /// For people.
        message: &'static str,
    },
    /// The place in the waiting room, at most once a second.
    Position {
        /// The event.
        event_id: u32,
        /// The place, 1 being next.
        position: u64,
        /// How long that may take.
        estimated_wait_seconds: u64,
        /// When those who poll should ask again.
        refresh_after_seconds: u64,
    },
    /// Positions will be drawn when the sale begins.
    Gathering {
        /// The event.
        event_id: u32,
        /// How many have joined.
        joined: u64,
        /// When those who poll should ask again.
        refresh_after_seconds: u64,
        /// When the sale begins, as far as is known now.
        on_sale_at: String,
    },
    /// The waiting is over: seats can be held until `session_expires_at`.
    Admitted {
        /// The event.
        event_id: u32,
        /// The token to show as `X-Waiting-Room-Token`.
        #[schema(value_type = String)]
        token: Arc<str>,
        /// When the session ends.
        session_expires_at: String,
        /// For people.
        message: &'static str,
    },
    /// Every seat is sold; nobody will be admitted.
    SoldOut {
        /// The event.
        event_id: u32,
        /// For people.
        message: &'static str,
    },
    /// The sale has ended; nobody will be admitted.
    SaleClosed {
        /// The event.
        event_id: u32,
        /// For people.
        message: &'static str,
    },
    /// The event has no waiting room now: seats can be held without.
    WaitingRoomOff {
        /// The event.
        event_id: u32,
        /// For people.
        message: &'static str,
    },
    /// The answer to `ping`.
    Pong {
        /// The server's time.
        timestamp: String,
    },
    /// What the client said cannot be done, or what it waited for will not come.
    Error {
        /// The code to compare, of the table of errors.
        error: &'static str,
        /// What is wrong and how to mend it.
        detail: Cow<'static, str>,
    },
}

/// What a client may say over a WebSocket. Unknown fields are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = PushCommand)]
pub enum ClientMessage {
    /// Tell me of my place in the waiting room.
    RegisterWaitingRoom {
        /// What joining gave.
        token: String,
    },
    /// Are you there?
    Ping,
}

impl Message {
    /// All types.
    pub const WORDS: [&str; 14] = [
        "connected",
        "snapshot",
        "seat_update",
        "gap",
        "booking_expired",
        "registration_confirmed",
        "position",
        "gathering",
        "admitted",
        "sold_out",
        "sale_closed",
        "waiting_room_off",
        "pong",
        "error",
    ];

    /// The first message; `mark` is what is known of the seats.
    pub fn connected(event: EventId, mark: Option<Mark>) -> Self {
        Message::Connected {
            event_id: event.0,
            generation: mark.map(|mark| mark.generation),
            version: mark.map(|mark| mark.version),
            resume: mark.map(|mark| mark.to_string()),
            message: "Connected",
        }
    }

    /// All seats at a version.
    pub fn snapshot(event: EventId, mark: Mark, inventory: &Inventory) -> Self {
        Message::Snapshot {
            event_id: event.0,
            generation: mark.generation,
            version: mark.version,
            bytes: BASE64.encode(inventory.as_bytes()),
            resume: mark.to_string(),
        }
    }

    /// What was between has to be passed over.
    pub fn gap(event: EventId, from: Option<Mark>, to: Mark) -> Self {
        Message::Gap {
            event_id: event.0,
            from: from.map(|mark| mark.to_string()),
            to: to.to_string(),
            message: "Changes were missed; forget what you know of the seats, and `resume`",
        }
    }

    /// A hold has lapsed.
    pub fn booking_expired(expired: &Expired) -> Self {
        Message::BookingExpired {
            event_id: expired.event.0,
            booking_id: expired.booking.to_string(),
            seat_ids: expired.seats.iter().map(|seat| seat.0).collect(),
            timestamp: iso8601(expired.time_ms),
            message: "Your hold has expired; the seats are free again",
        }
    }

    /// The answer to a valid token.
    pub fn registered(event: EventId) -> Self {
        let message = "You are told here when it is your turn";
        Message::RegistrationConfirmed { event_id: event.0, message }
    }

    /// The answer to `ping`, now.
    pub fn pong() -> Self {
        Message::Pong { timestamp: iso8601(jiff::Timestamp::now().as_millisecond()) }
    }

    /// The type, as clients and metrics know it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Message::Connected { .. } => "connected",
            Message::Snapshot { .. } => "snapshot",
            Message::SeatUpdate { .. } => "seat_update",
            Message::Gap { .. } => "gap",
            Message::BookingExpired { .. } => "booking_expired",
            Message::RegistrationConfirmed { .. } => "registration_confirmed",
            Message::Position { .. } => "position",
            Message::Gathering { .. } => "gathering",
            Message::Admitted { .. } => "admitted",
            Message::SoldOut { .. } => "sold_out",
            Message::SaleClosed { .. } => "sale_closed",
            Message::WaitingRoomOff { .. } => "waiting_room_off",
            Message::Pong { .. } => "pong",
            Message::Error { .. } => "error",
        }
    }

    /// Its bytes on the wire. `mark` is what the client has then: where it goes on after a pause.
    pub fn rendered(&self, kind: Kind, mark: Option<Mark>) -> Bytes {
        // Texts and numbers always serialize.
        let json = serde_json::to_string(self).unwrap_or_default();
        let word = self.as_str();
        if kind == Kind::WebSocket {
            return frame(ws::Message::Text(json.into()));
        }
        let id = match (self, mark) {
            // A browser shows the newest id that it heard: whoever is cut off between a gap and its
            // snapshot has to begin anew.
            (Message::Gap { .. }, _) => "id:\n".to_owned(),
            (_, Some(mark)) => format!("id: {mark}\n"),
            (_, None) => String::new(),
        };
        // JSON has no line breaks outside of texts, and escapes those inside.
        format!("{id}event: {word}\ndata: {json}\n\n").into()
    }
}

impl From<Problem> for Message {
    fn from(problem: Problem) -> Self {
        Message::Error { error: problem.code.as_str(), detail: problem.detail }
    }
}

/// The bytes of a WebSocket's frame. A server's frames are not masked, so they are the same for all.
pub fn frame(message: ws::Message) -> Bytes {
    let mut bytes = BytesMut::new();
    if let Err(error) = ws::Codec::new().encode(message, &mut bytes) {
        // Only continuations can fail, and we send none.
        tracing::error!(%error, "a frame cannot be written");
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: EventId = EventId(7);

    #[test]
    fn messages_say_what_they_are() {
        let (event_id, message, mark) = (7, "why", Mark { generation: 2, version: 17 });
        let all = [
            Message::connected(EVENT, Some(mark)),
            Message::Snapshot {
                event_id,
                generation: 2,
                version: 17,
                bytes: String::new(),
                resume: mark.to_string(),
            },
            Message::SeatUpdate {
                event_id,
                generation: 2,
                since: 16,
                version: 17,
                status: "HOLD",
                seat_ids: vec![1],
                timestamp: String::new(),
                resume: None,
            },
            Message::gap(EVENT, None, mark),
            Message::BookingExpired {
                event_id,
                booking_id: String::new(),
                seat_ids: vec![1],
                timestamp: String::new(),
                message,
            },
            Message::registered(EVENT),
            Message::Position {
                event_id,
                position: 1,
                estimated_wait_seconds: 1,
                refresh_after_seconds: 1,
            },
            Message::Gathering {
                event_id,
                joined: 1,
                refresh_after_seconds: 1,
                on_sale_at: String::new(),
            },
            Message::Admitted {
                event_id,
                token: "t".into(),
                session_expires_at: String::new(),
                message,
            },
            Message::SoldOut { event_id, message },
            Message::SaleClosed { event_id, message },
            Message::WaitingRoomOff { event_id, message },
            Message::pong(),
            Message::Error { error: "in_flight", detail: message.into() },
        ];
        for message in &all {
            assert_eq!(serde_json::to_value(message).unwrap()["type"], message.as_str());
        }
        assert_eq!(all.each_ref().map(Message::as_str), Message::WORDS);
    }

    #[test]
    fn an_event_is_one_block_of_lines() {
        let detail = "two\nlines\r".into();
        let message = Message::Error { error: "invalid_json", detail };
        let text = message.rendered(Kind::EventStream, None);
        let expected = "event: error\ndata: {\"type\":\"error\",\"error\":\"invalid_json\",\
            \"detail\":\"two\\nlines\\r\"}\n\n";
        assert_eq!(text, expected);
        let marked = message.rendered(Kind::EventStream, Some(Mark { generation: 2, version: 17 }));
        assert_eq!(marked, format!("id: 2-17\n{expected}"));
        let gap = Message::gap(EVENT, None, Mark::default()).rendered(Kind::EventStream, None);
        assert!(gap.starts_with(b"id:\nevent: gap\n"), "what to show again is forgotten");
    }

    #[test]
    fn a_frame_is_an_unmasked_text() {
        let bytes = Message::connected(EVENT, None).rendered(Kind::WebSocket, None);
        assert_eq!((bytes[0], bytes[1] as usize), (0x81, bytes.len() - 2));
        let json: serde_json::Value = serde_json::from_slice(&bytes[2..]).unwrap();
        let connected = serde_json::json!({
            "type": "connected", "event_id": 7, "generation": null, "version": null,
            "message": "Connected",
        });
        assert_eq!(json, connected);
    }

    #[test]
    fn commands_are_read() {
        let read = |text| serde_json::from_str::<ClientMessage>(text).ok();
        let token = "t".to_owned();
        let register = r#"{"type":"register_waiting_room","token":"t","more":1}"#;
        assert_eq!(read(register), Some(ClientMessage::RegisterWaitingRoom { token }));
        assert_eq!(read(r#"{"type":"ping"}"#), Some(ClientMessage::Ping));
        for wrong in ["ping", "{}", r#"{"type":"x"}"#, r#"{"type":"register_waiting_room"}"#] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
