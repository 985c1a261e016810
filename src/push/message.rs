//! The messages that the server and its clients send, and their encoding in both protocols.

use std::borrow::Cow;
use std::sync::Arc;

use actix_http::ws;
use actix_web::web::{Bytes, BytesMut};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use tokio_util::codec::Encoder;
use utoipa::ToSchema;

use super::protocol::Protocol;
use crate::domain::time::iso8601;
use crate::domain::{EventId, EventStatus, Inventory, SaleTimes};
use crate::http::problem::Problem;
use crate::http::words;
use crate::live::{Expired, ViewVersion};

/// A message from the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = PushMessage)]
pub enum Message {
    /// The first message.
    Connected {
        /// The event.
        event_id: u32,
        /// The seats' generation; null while the server has no seat map yet.
        #[schema(required = true)]
        generation: Option<u64>,
        /// The seats' version; null likewise.
        #[schema(required = true)]
        version: Option<u64>,
        /// The value of `since` with which to resume from there.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = String, required = false)]
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
        /// The seats' version.
        version: u64,
        /// Base64 of a format byte and then one byte per seat, from seat 1 on.
        bytes: String,
        /// The value of `since` with which to resume from here.
        resume: String,
    },
    /// Seats that are in this state now. The changes between two versions are one message per state.
    SeatUpdate {
        /// The event.
        event_id: u32,
        /// The event's generation.
        generation: u64,
        /// The version after which the changes begin: at most the client's version.
        since: u64,
        /// The version that the client has once it received all messages with this version.
        version: u64,
        /// Their current state.
        #[schema(value_type = words::SeatStatus)]
        status: &'static str,
        /// The seats, ascending.
        seat_ids: Vec<u32>,
        /// An upper bound of the time of the last change.
        #[schema(format = DateTime)]
        timestamp: String,
        /// In the last message of a version: the value of `since` with which to resume from here.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = String, required = false)]
        resume: Option<String>,
    },
    /// The changes after the client's version are no longer known. A snapshot follows, unless the client
    /// fetches the seat map by itself.
    Gap {
        /// The event.
        event_id: u32,
        /// The client's version, `generation-version`; null if it had none.
        #[schema(required = true)]
        from: Option<String>,
        /// The version that it needs at least.
        to: String,
        /// For people.
        message: &'static str,
    },
    /// A hold of the client's user has expired.
    BookingExpired {
        /// The event.
        event_id: u32,
        /// The booking.
        booking_id: String,
        /// Its seats, ascending.
        seat_ids: Vec<u32>,
        /// When they became free.
        #[schema(format = DateTime)]
        timestamp: String,
        /// For people.
        message: &'static str,
    },
    /// The sale was paused, continued or closed, or its times changed. The passing of its times is not
    /// announced, and after a gap the event has to be read.
    EventStatus {
        /// The event.
        event_id: u32,
        /// As in the event.
        #[schema(value_type = words::EventStatus)]
        status: &'static str,
        /// When holds begin; null is at once.
        #[schema(format = DateTime, required = true)]
        on_sale_at: Option<String>,
        /// When holds end; null is never.
        #[schema(format = DateTime, required = true)]
        off_sale_at: Option<String>,
        /// When it changed, or a moment later.
        #[schema(format = DateTime)]
        timestamp: String,
        /// The value of `since` with which to resume from here.
        resume: String,
    },
    /// The waiting room token is valid; the room's messages follow as things happen.
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
        /// The estimated wait.
        estimated_wait_seconds: u64,
        /// The interval at which clients that poll should poll.
        refresh_after_seconds: u64,
    },
    /// Positions will be drawn when the sale begins.
    Gathering {
        /// The event.
        event_id: u32,
        /// How many have joined.
        joined: u64,
        /// The interval at which clients that poll should poll.
        refresh_after_seconds: u64,
        /// When the sale is scheduled to begin.
        #[schema(format = DateTime)]
        on_sale_at: String,
    },
    /// The waiting is over: seats can be held until `session_expires_at`.
    Admitted {
        /// The event.
        event_id: u32,
        /// The token to send as `X-Waiting-Room-Token`.
        #[schema(value_type = String)]
        token: Arc<str>,
        /// When the session ends.
        #[schema(format = DateTime)]
        session_expires_at: String,
        /// For people.
        message: &'static str,
    },
    /// Every seat is sold; there are no further admissions.
    SoldOut {
        /// The event.
        event_id: u32,
        /// For people.
        message: &'static str,
    },
    /// The sale has ended; there are no further admissions.
    SaleClosed {
        /// The event.
        event_id: u32,
        /// For people.
        message: &'static str,
    },
    /// The event has no waiting room now: seats can be held without a token.
    WaitingRoomOff {
        /// The event.
        event_id: u32,
        /// For people.
        message: &'static str,
    },
    /// The reply to `ping`.
    Pong {
        /// The server's time.
        #[schema(format = DateTime)]
        timestamp: String,
    },
    /// The client's message was refused, or what it waited for will not happen.
    Error {
        /// The error code, as in the table of errors.
        #[schema(value_type = words::ErrorCode)]
        error: &'static str,
        /// What is wrong and how to fix it.
        detail: Cow<'static, str>,
    },
}

/// A message from a WebSocket client. Unknown fields are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = PushCommand)]
pub enum ClientMessage {
    /// Requests the waiting room's messages.
    RegisterWaitingRoom {
        /// The token from joining the room.
        token: String,
    },
    /// Requests a `pong`.
    Ping,
}

impl Message {
    /// All message types.
    pub const TYPES: [&str; 15] = [
        "connected",
        "snapshot",
        "seat_update",
        "gap",
        "booking_expired",
        "event_status",
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

    /// The first message; `version` is the seats' current version.
    pub fn connected(event: EventId, version: Option<ViewVersion>) -> Self {
        Message::Connected {
            event_id: event.0,
            generation: version.map(|version| version.generation),
            version: version.map(|version| version.version),
            resume: version.map(|version| version.to_string()),
            message: "Connected",
        }
    }

    /// All seats at a version.
    pub fn snapshot(event: EventId, version: ViewVersion, inventory: &Inventory) -> Self {
        Message::Snapshot {
            event_id: event.0,
            generation: version.generation,
            version: version.version,
            bytes: BASE64.encode(inventory.as_bytes()),
            resume: version.to_string(),
        }
    }

    /// The changes between two versions are missing.
    pub fn gap(event: EventId, from: Option<ViewVersion>, to: ViewVersion) -> Self {
        Message::Gap {
            event_id: event.0,
            from: from.map(|version| version.to_string()),
            to: to.to_string(),
            message: "Changes were missed; forget what you know of the seats, and `resume`",
        }
    }

    /// A hold has expired.
    pub fn booking_expired(expired: &Expired) -> Self {
        Message::BookingExpired {
            event_id: expired.event.0,
            booking_id: expired.booking.to_string(),
            seat_ids: expired.seats.iter().map(|seat| seat.0).collect(),
            timestamp: iso8601(expired.time_ms),
            message: "Your hold has expired; the seats are free again",
        }
    }

    /// The state of a sale, with the time (Unix ms) and the version that the client has after it.
    pub fn event_status(
        event: EventId,
        status: EventStatus,
        times: &SaleTimes,
        (time_ms, version): (i64, ViewVersion),
    ) -> Self {
        Message::EventStatus {
            event_id: event.0,
            status: status.api_word(times, time_ms),
            on_sale_at: times.on_sale_at_ms.map(iso8601),
            off_sale_at: times.off_sale_at_ms.map(iso8601),
            timestamp: iso8601(time_ms),
            resume: version.to_string(),
        }
    }

    /// The reply to a valid waiting room token.
    pub fn registered(event: EventId) -> Self {
        let message = "You will be notified here when it is your turn";
        Message::RegistrationConfirmed { event_id: event.0, message }
    }

    /// The reply to `ping`, with the current time.
    pub fn pong() -> Self {
        Message::Pong { timestamp: iso8601(jiff::Timestamp::now().as_millisecond()) }
    }

    /// The message type, for clients and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Message::Connected { .. } => "connected",
            Message::Snapshot { .. } => "snapshot",
            Message::SeatUpdate { .. } => "seat_update",
            Message::Gap { .. } => "gap",
            Message::BookingExpired { .. } => "booking_expired",
            Message::EventStatus { .. } => "event_status",
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

    /// The message's bytes in a protocol. `version` is the version that the client has after it, from which
    /// it resumes after a reconnect.
    pub fn encode(&self, protocol: Protocol, version: Option<ViewVersion>) -> Bytes {
        // Strings and numbers always serialize.
        let json = serde_json::to_string(self).unwrap_or_default();
        let message_type = self.as_str();
        if protocol == Protocol::WebSocket {
            return ws_frame(ws::Message::Text(json.into()));
        }
        let id = match (self, version) {
            // A browser reconnects with the last id that it received. The empty id makes a client start
            // over if its connection breaks between a gap and the snapshot.
            (Message::Gap { .. }, _) => "id:\n".to_owned(),
            (_, Some(version)) => format!("id: {version}\n"),
            (_, None) => String::new(),
        };
        // JSON contains no line breaks: those inside strings are escaped.
        format!("{id}event: {message_type}\ndata: {json}\n\n").into()
    }
}

impl From<Problem> for Message {
    fn from(problem: Problem) -> Self {
        Message::Error { error: problem.code.as_str(), detail: problem.detail }
    }
}

/// The bytes of a WebSocket frame. A server's frames are unmasked, so clients can share them.
pub fn ws_frame(message: ws::Message) -> Bytes {
    let mut bytes = BytesMut::new();
    if let Err(error) = ws::Codec::new().encode(message, &mut bytes) {
        // Only continuation frames can fail, and none are sent.
        tracing::error!(%error, "a WebSocket frame cannot be encoded");
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests;
