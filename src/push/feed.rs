//! Everything that one socket sends: a feed merges the sources of messages, and a socket reads the
//! feed alone.
//!
//! A source returns the current state when it is polled, not the history since the last poll:
//! nothing is queued for a socket that does not poll. (Of expired holds the last few are kept for
//! their owners.)

use std::future::pending;

use futures_util::StreamExt;
use futures_util::stream::LocalBoxStream;
use prometheus::IntCounter;

use super::message::Message;
use super::seat_updates::SeatUpdates;
use super::state::PushState;
use super::update::FeedItem;
use crate::domain::{EventId, UserId};
use crate::live::{ExpiryWatch, Notice};

/// The waiting room's messages for the owner of a token. The stream ends with the last message.
pub struct RoomMessages {
    /// The token's owner.
    pub owner: UserId,
    /// Position updates, admission, or the reason why there will be none.
    pub messages: LocalBoxStream<'static, Message>,
}

/// The sources of one socket.
pub struct Feed {
    seats: SeatUpdates,
    room: Option<LocalBoxStream<'static, Message>>,
    /// Expired holds of the identified user.
    expiries: Option<Box<ExpiryWatch>>,
    missed: IntCounter,
}

impl Feed {
    /// Sends an event's seat updates, and the expired holds of the user if one is identified.
    pub fn new(
        push: &PushState,
        event: EventId,
        seats: SeatUpdates,
        user: Option<&UserId>,
    ) -> Self {
        let missed = push.missed_notices.clone();
        let mut feed = Feed { seats, room: None, expiries: None, missed };
        if let Some(user) = user {
            feed.watch_expiries(push, event, user);
        }
        feed
    }

    /// Adds the waiting room's messages; replaces those of an earlier token.
    pub fn add_room(&mut self, messages: LocalBoxStream<'static, Message>) {
        self.room = Some(messages);
    }

    /// Adds this user's expired holds; replaces those of an earlier user.
    pub fn watch_expiries(&mut self, push: &PushState, event: EventId, user: &UserId) {
        self.expiries = Some(Box::new(push.live.expiries().watch(event, user)));
    }

    /// Waits for the next item. Cancel-safe.
    pub async fn next(&mut self) -> FeedItem {
        tokio::select! {
            // Messages for one socket are rare, and come first.
            biased;
            message = next_room_message(&mut self.room) => FeedItem::Own(message),
            message = next_expiry(&mut self.expiries, &self.missed) => FeedItem::Own(message),
            batch = self.seats.next() => FeedItem::Shared(batch),
        }
    }
}

async fn next_room_message(room: &mut Option<LocalBoxStream<'static, Message>>) -> Message {
    if let Some(messages) = room {
        if let Some(message) = messages.next().await {
            return message;
        }
        *room = None;
    }
    pending().await
}

async fn next_expiry(expiries: &mut Option<Box<ExpiryWatch>>, missed: &IntCounter) -> Message {
    let Some(watch) = expiries else { return pending().await };
    loop {
        match watch.next().await {
            Notice::Expired(expired) => return Message::booking_expired(&expired),
            Notice::Missed(count) => missed.inc_by(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};

    use crate::live::{Expiries, NOTICES_MAX, expired_entry};

    use super::*;

    #[tokio::test]
    async fn notices_beyond_those_that_are_kept_are_counted_as_missed() {
        let (metrics, all) = (crate::telemetry::Metrics::new("test"), Expiries::default());
        let ann: UserId = "ann".parse().unwrap();
        let mut watch = Some(Box::new(all.watch(EventId(7), &ann)));
        for number in 1..=NOTICES_MAX as u64 + 3 {
            all.on_entry(&expired_entry("ann", number));
        }
        next_expiry(&mut watch, &metrics.push_notices_missed).await;
        assert!(metrics.render().contains("\nholdfast_push_notices_missed_total 3\n"));
    }

    #[tokio::test]
    async fn room_messages_are_forwarded_until_the_stream_ends() {
        let message = Message::connected(EventId(1), None);
        let mut room = Some(stream::iter([message.clone()]).boxed_local());
        assert_eq!(next_room_message(&mut room).await, message);
        assert!(next_room_message(&mut room).now_or_never().is_none());
        assert!(room.is_none());
    }
}
