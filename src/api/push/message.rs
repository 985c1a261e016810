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
use crate::domain::time::iso8601;
use crate::domain::{EventId, Notice};

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
    pub const WORDS: [&str; 8] = [
        "connected",
        "registration_confirmed",
        "position",
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

    /// A notice of the waiting room to the owner of a token.
    pub fn of_notice(event: EventId, token: &Rc<str>, notice: Notice) -> Self {
        let event_id = event.0;
        match notice {
            Notice::Position { position, estimated_wait_seconds, refresh_after_seconds } => {
                Message::Position {
                    event_id,
                    position,
                    estimated_wait_seconds,
                    refresh_after_seconds,
                }
            }
            Notice::Admitted { session_ends_ms } => Message::Admitted {
                event_id,
                token: token.clone(),
                session_expires_at: iso8601(session_ends_ms),
                message: "You can now proceed to book tickets",
            },
            Notice::SoldOut => Message::SoldOut { event_id, message: "Every seat is sold" },
            Notice::Off => Message::WaitingRoomOff {
                event_id,
                message: "There is no waiting room; you can book tickets",
            },
            Notice::Refused { detail } => Message::Error {
                error: crate::api::problem::Code::WaitingRoomTokenInvalid.word(),
                detail: detail.into(),
            },
        }
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

    fn all() -> Vec<Message> {
        let token: Rc<str> = "t".into();
        let of = |notice| Message::of_notice(EVENT, &token, notice);
        vec![
            Message::connected(EVENT),
            Message::registered(EVENT),
            of(Notice::Position {
                position: 3,
                estimated_wait_seconds: 20,
                refresh_after_seconds: 2,
            }),
            of(Notice::Admitted { session_ends_ms: 1_772_388_000_000 }),
            of(Notice::SoldOut),
            of(Notice::Off),
            Message::pong(),
            of(Notice::Refused { detail: "It was given back".into() }),
        ]
    }

    #[test]
    fn messages_say_what_they_are() {
        for message in all() {
            let json = serde_json::to_value(&message).unwrap();
            assert_eq!(json["type"], message.word());
        }
        let words: Vec<&str> = all().iter().map(Message::word).collect();
        assert_eq!(words, Message::WORDS);
        let json = |at: usize| serde_json::to_value(&all()[at]).unwrap();
        let position = serde_json::json!({
            "type": "position", "event_id": 7, "position": 3, "estimated_wait_seconds": 20,
            "refresh_after_seconds": 2,
        });
        assert_eq!(json(2), position);
        let admitted = serde_json::json!({
            "type": "admitted", "event_id": 7, "token": "t",
            "session_expires_at": "2026-03-01T18:00:00.000Z",
            "message": "You can now proceed to book tickets",
        });
        assert_eq!(json(3), admitted);
        assert_eq!(json(7)["error"], "waiting_room_token_invalid");
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
