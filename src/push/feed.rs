//! What one socket is told. Each kind of news is a source; the feed asks all of them, and a socket
//! knows only the feed.
//!
//! A source gives what holds when it is asked, not what happened since: nothing is kept for a
//! socket that does not ask. (Of holds that lapsed the last few are kept, for their owners.)

use std::future::pending;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::LocalBoxStream;
use prometheus::IntCounter;

use super::message::Message;
use super::seats::SeatUpdates;
use super::tick::Told;
use crate::api::state::State;
use crate::domain::{EventId, UserId};
use crate::live::{ExpiryWatch, Notice};

/// What a socket is to say.
#[derive(Debug)]
pub enum News {
    /// To this one.
    Own(Message),
    /// To all who follow, the same bytes.
    Shared(Arc<Told>),
}

/// The news of one socket.
pub struct Feed {
    seats: SeatUpdates,
    /// The waiting room's, for the owner of a token.
    room: Option<LocalBoxStream<'static, Message>>,
    /// Of the holds of whoever is known to ask.
    expiries: Option<Box<ExpiryWatch>>,
    missed: IntCounter,
}

impl Feed {
    /// Tells of an event's seats, and of the holds of the user, if one is named.
    pub fn new(state: &State, event: EventId, seats: SeatUpdates, user: Option<&UserId>) -> Self {
        let missed = state.metrics.push_notices_missed.clone();
        let mut feed = Feed { seats, room: None, expiries: None, missed };
        if let Some(user) = user {
            feed.tell_of_holds(state, event, user);
        }
        feed
    }

    /// Tells what the waiting room says to the owner of a token, instead of another's.
    pub fn tell_of_room(&mut self, news: LocalBoxStream<'static, Message>) {
        self.room = Some(news);
    }

    /// Tells of this user's holds, instead of another's.
    pub fn tell_of_holds(&mut self, state: &State, event: EventId, user: &UserId) {
        self.expiries = Some(Box::new(state.sale.live().expiries().watch(event, user)));
    }

    /// The next news; waits for them. May be dropped and asked again.
    pub async fn next(&mut self) -> News {
        tokio::select! {
            // What is for one alone comes first: it is rare.
            biased;
            message = of_room(&mut self.room) => News::Own(message),
            message = of_holds(&mut self.expiries, &self.missed) => News::Own(message),
            told = self.seats.next() => News::Shared(told),
        }
    }
}

async fn of_room(room: &mut Option<LocalBoxStream<'static, Message>>) -> Message {
    if let Some(news) = room {
        if let Some(message) = news.next().await {
            return message;
        }
        *room = None;
    }
    pending().await
}

async fn of_holds(expiries: &mut Option<Box<ExpiryWatch>>, missed: &IntCounter) -> Message {
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

    use super::*;

    #[tokio::test]
    async fn a_room_is_followed_to_its_end() {
        let told = Message::connected(EventId(1), None);
        let mut room = Some(stream::iter([told.clone()]).boxed_local());
        assert_eq!(of_room(&mut room).await, told);
        assert!(of_room(&mut room).now_or_never().is_none());
        assert!(room.is_none());
    }
}
