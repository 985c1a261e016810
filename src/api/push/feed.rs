//! What one socket is told. Each kind of news is a source; the feed asks all of them, and a socket
//! knows only the feed.
//!
//! A source gives what holds when it is asked, not what happened since: nothing is kept for a
//! socket that does not ask.

use std::future::pending;

use futures_util::StreamExt;
use futures_util::stream::LocalBoxStream;

use super::message::Message;

/// The news of one socket.
#[derive(Default)]
pub struct Feed {
    /// The waiting room's, for the owner of a token.
    room: Option<LocalBoxStream<'static, Message>>,
}

impl Feed {
    /// Tells what the waiting room says to the owner of a token, instead of another's.
    pub fn tell_of_room(&mut self, news: LocalBoxStream<'static, Message>) {
        self.room = Some(news);
    }

    /// The next message; waits for ever while there is no source. May be dropped and asked again.
    pub async fn next(&mut self) -> Message {
        if let Some(room) = &mut self.room {
            if let Some(message) = room.next().await {
                return message;
            }
            self.room = None;
        }
        pending().await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};

    use super::*;
    use crate::domain::EventId;

    #[tokio::test]
    async fn one_token_is_followed_at_a_time_and_to_its_end() {
        let news = |event| stream::iter([Message::connected(EventId(event))]).boxed_local();
        let mut feed = Feed::default();
        assert!(feed.next().now_or_never().is_none());
        feed.tell_of_room(news(1));
        feed.tell_of_room(news(2));
        assert_eq!(feed.next().await, Message::connected(EventId(2)));
        assert!(feed.next().now_or_never().is_none());
        assert!(feed.room.is_none());
    }
}
