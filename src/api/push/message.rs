//! What clients are told and may say, and the bytes of it in both protocols.

use std::borrow::Cow;
use std::rc::Rc;

use actix_http::ws;
use actix_web::web::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio_util::codec::Encoder;
use utoipa::ToSchema;

use super::sockets::Kind;
use crate::api::problem::Problem;
use crate::domain::EventId;
use crate::domain::time::iso8601;

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = PushMessage)]
pub enum Message {
    /// The first message.
    Connected {
        /// The event.
        event_id: u32,
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
    },
    /// The waiting is over: seats can be held until `session_expires_at`.
    Admitted {
        /// The event.
        event_id: u32,
        /// The token to show as `X-Waiting-Room-Token`.
        #[schema(value_type = String)]
        token: Rc<str>,
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
pub enum Heard {
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
    pub const WORDS: [&str; 9] = [
        "connected",
        "registration_confirmed",
        "position",
        "gathering",
        "admitted",
        "sold_out",
        "waiting_room_off",
        "pong",
        "error",
    ];

    /// The first message.
    pub fn connected(event: EventId) -> Self {
        Message::Connected { event_id: event.0, message: "Connected" }
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
    pub fn word(&self) -> &'static str {
        match self {
            Message::Connected { .. } => "connected",
            Message::RegistrationConfirmed { .. } => "registration_confirmed",
            Message::Position { .. } => "position",
            Message::Gathering { .. } => "gathering",
            Message::Admitted { .. } => "admitted",
            Message::SoldOut { .. } => "sold_out",
            Message::WaitingRoomOff { .. } => "waiting_room_off",
            Message::Pong { .. } => "pong",
            Message::Error { .. } => "error",
        }
    }

    /// Its bytes on the wire.
    pub fn rendered(&self, kind: Kind) -> Bytes {
        // Texts and numbers always serialize.
        let json = serde_json::to_string(self).unwrap_or_default();
        match kind {
            Kind::WebSocket => frame(ws::Message::Text(json.into())),
            // JSON has no line breaks outside of texts, and escapes those inside.
            Kind::EventStream => format!("event: {}\ndata: {json}\n\n", self.word()).into(),
        }
    }
}

impl From<Problem> for Message {
    fn from(problem: Problem) -> Self {
        Message::Error { error: problem.code.word(), detail: problem.detail }
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
        let (event_id, message) = (7, "why");
        let all = [
            Message::connected(EVENT),
            Message::registered(EVENT),
            Message::Position {
                event_id,
                position: 1,
                estimated_wait_seconds: 1,
                refresh_after_seconds: 1,
            },
            Message::Gathering { event_id, joined: 1, refresh_after_seconds: 1 },
            Message::Admitted {
                event_id,
                token: "t".into(),
                session_expires_at: String::new(),
                message,
            },
            Message::SoldOut { event_id, message },
            Message::WaitingRoomOff { event_id, message },
            Message::pong(),
            Message::Error { error: "in_flight", detail: message.into() },
        ];
        for message in &all {
            assert_eq!(serde_json::to_value(message).unwrap()["type"], message.word());
        }
        assert_eq!(all.each_ref().map(Message::word), Message::WORDS);
    }

    #[test]
    fn an_event_is_one_block_of_lines() {
        let detail = "two\nlines\r".into();
        let message = Message::Error { error: "invalid_json", detail };
        let text = message.rendered(Kind::EventStream);
        let expected = "event: error\ndata: {\"type\":\"error\",\"error\":\"invalid_json\",\
            \"detail\":\"two\\nlines\\r\"}\n\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_frame_is_an_unmasked_text() {
        let bytes = Message::connected(EVENT).rendered(Kind::WebSocket);
        assert_eq!((bytes[0], bytes[1] as usize), (0x81, bytes.len() - 2));
        let json: serde_json::Value = serde_json::from_slice(&bytes[2..]).unwrap();
        assert_eq!(json["event_id"], 7);
    }

    #[test]
    fn commands_are_read() {
        let read = |text| serde_json::from_str::<Heard>(text).ok();
        let token = "t".to_owned();
        let register = r#"{"type":"register_waiting_room","token":"t","more":1}"#;
        assert_eq!(read(register), Some(Heard::RegisterWaitingRoom { token }));
        assert_eq!(read(r#"{"type":"ping"}"#), Some(Heard::Ping));
        for wrong in ["ping", "{}", r#"{"type":"x"}"#, r#"{"type":"register_waiting_room"}"#] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
