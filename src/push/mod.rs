//! Pushed updates over WebSockets and server-sent events.
//!
//! Both protocols send the same [`Message`]s, from one [`feed`]. Guarantees:
//!
//! * A connection begins with the current state, so nothing is lost between two connections.
//! * Nothing is queued per socket. A socket takes its next message only when the connection can send
//!   it, and the message carries the state of that moment. So a slow client gets fewer messages, a
//!   stuck one none, and neither uses more memory than its connection's buffers or delays others.
//! * Everything is bounded: open sockets in total and per client ([`Sockets`]), what a client may
//!   send ([`frame_reader`], [`heartbeat`]), how long it may be silent ([`heartbeat`]) or receive
//!   nothing (`http_stall_timeout_ms`, enforced by the kernel).
//! * All sockets end at once when the process shuts down.
//!
//! | file | contents |
//! |---|---|
//! | `state` | what all sockets share |
//! | `sockets` | open sockets: bounds, counters |
//! | `message`, `protocol` | messages and their encoding in both protocols |
//! | `registry`, `channel`, `update` | one channel per event: ticks, encoded once for all subscribers |
//! | `seat_updates` | one subscriber of a channel |
//! | `feed` | all messages of one socket: seats, waiting room, expired holds |
//! | `ws`, `connection`, `frame_reader`, `heartbeat` | WebSockets: exchange, I/O, received frames, pings |
//! | `sse` | event streams |

mod channel;
mod connection;
mod feed;
mod frame_reader;
mod heartbeat;
mod message;
mod protocol;
mod registry;
mod seat_updates;
mod sockets;
pub mod sse;
mod state;
mod update;
pub mod ws;

pub use feed::RoomMessages;
pub use message::{ClientMessage, Message};
pub use protocol::Protocol;
pub use seat_updates::StartOptions;
pub use state::PushState;
