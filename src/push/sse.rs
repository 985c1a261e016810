//! The body of an event stream (server-sent events).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use futures_util::{Stream, stream};

use super::feed::{Feed, RoomMessages};
use super::message::Message;
use super::protocol::Protocol;
use super::seat_updates::StartOptions;
use super::sockets::{EndReason, OpenSocket};
use super::state::PushState;
use crate::domain::{EventId, UserId};

/// A comment, sent when there is nothing else, so that both sides notice a dead connection.
const HEARTBEAT: Bytes = Bytes::from_static(b": \n\n");
/// Bytes given to actix's dispatcher at once. It would copy a larger piece into a buffer that it keeps
/// as long as the stream lasts.
const PIECE_BYTES: usize = 4 * 1024;
/// When a client reconnects after its stream ended, ms: spread, so that clients that were cut off
/// together do not return together.
const RETRY_MS: std::ops::Range<u32> = 1_000..5_000;

/// The bytes of one event stream. `room` adds the waiting room's messages; their owner's expired
/// holds are sent if no `user` is identified.
pub fn event_stream(
    push: Arc<PushState>,
    event: EventId,
    user: Option<&UserId>,
    room: Option<RoomMessages>,
    start: StartOptions,
    socket: OpenSocket,
) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
    let mut opening = format!("retry: {}\n\n", rand::random_range(RETRY_MS)).into_bytes();
    let mut seats = push.channels.subscribe(event, Protocol::EventStream, start);
    opening.extend_from_slice(&socket.encode(&Message::connected(event, seats.begin())));
    let user = user.or(room.as_ref().map(|room| &room.owner));
    let mut feed = Feed::new(&push, event, seats, user);
    if let Some(room) = room {
        opening.extend_from_slice(&socket.encode(&Message::registered(event)));
        feed.add_room(room.messages);
    }
    let state = Box::new(StreamState { unsent: opening.into(), feed, socket, push });
    stream::unfold(state, StreamState::step)
}

/// One open stream.
struct StreamState {
    /// Bytes to send before the next item.
    unsent: Bytes,
    feed: Feed,
    socket: OpenSocket,
    push: Arc<PushState>,
}

impl StreamState {
    /// The next piece of bytes.
    async fn step(mut self: Box<Self>) -> Option<(Result<Bytes, Infallible>, Box<Self>)> {
        if self.unsent.is_empty() {
            self.unsent = self.next().await?;
        } else {
            // Lets the dispatcher send the last piece before it gets the next, so that its buffer
            // stays small.
            tokio::task::yield_now().await;
        }
        let bytes = self.unsent.split_to(self.unsent.len().min(PIECE_BYTES));
        Some((Ok(bytes), self))
    }

    async fn next(&mut self) -> Option<Bytes> {
        let heartbeat = Duration::from_millis(self.push.config.socket_ping_interval_ms);
        tokio::select! {
            () = self.push.shutdown.requested() => {
                self.socket.set_end(EndReason::Ending);
                None
            }
            item = self.feed.next() => Some(self.socket.encode_item(item)),
            () = tokio::time::sleep(heartbeat) => Some(HEARTBEAT),
        }
    }
}
