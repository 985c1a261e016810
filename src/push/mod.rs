//! What clients are told unasked: `/ws/events/{event_id}` (WebSocket) and
//! `/api/v1/events/{event_id}/stream` (server-sent events).
//!
//! Both tell the same [`Message`]s, from one [`Feed`]. Promised:
//!
//! * What holds now is told first, so that nothing is lost between two connections.
//! * Nothing is queued for anybody. A socket is the body of its answer: it is asked for more only
//!   when the connection can take it, and then says what holds then. So a slow client is told less
//!   often, a stuck one nothing, and neither costs more than its connection's own buffers or is
//!   waited for by anyone.
//! * Everything is bounded: sockets in all and of one address ([`Sockets`]), what a client may send
//!   ([`inbox`], [`pulse`]), how long it may be silent ([`pulse`]) or take nothing
//!   (`http_stall_timeout_ms`, by the system).
//! * All end at once when the process is asked to.
//!
//! | file | |
//! |---|---|
//! | `feed` | what one socket is told, from all sources |
//! | `message` | messages, and their bytes in both protocols |
//! | `room` | the waiting room as a source |
//! | `ws`, `inbox`, `pulse`, `origin` | WebSockets: the exchange, what is read, pings and bounds, whose pages |
//! | `sse` | event streams |
//! | `sockets` | how many are open |

mod channel;
mod connection;
mod feed;
mod heartbeat;
mod inbox;
mod message;
mod origin;
mod registry;
mod room;
mod seats;
mod sockets;
pub mod sse;
mod tick;
pub mod ws;

pub use message::{ClientMessage, Message};
pub use registry::ChannelRegistry;
pub use sockets::Sockets;
pub use sse::EVENT_STREAM;
