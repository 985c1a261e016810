//! What one socket is told. Each kind of news is a source; the feed asks all of them, and a socket
//! knows only the feed.
//!
//! A source gives what holds when it is asked, not what happened since: nothing is kept for a
//! socket that does not ask.

use std::future::pending;
use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::stream::LocalBoxStream;

use super::message::Message;
use crate::domain::{EventId, Notice};

/// The news of one socket.
pub struct Feed {
    event: EventId,
    room: Option<Room>,
}

/// The waiting room's news for the owner of a token.
struct Room {
    token: Rc<str>,
    notices: LocalBoxStream<'static, Notice>,
}

impl Feed {
    /// Nothing is to be told yet.
    pub fn new(event: EventId) -> Self {
        Feed { event, room: None }
    }

    /// Tells what the waiting room says to the owner of this token, instead of another's.
    pub fn tell_of_room(&mut self, token: &str, notices: LocalBoxStream<'static, Notice>) {
        self.room = Some(Room { token: token.into(), notices });
    }

    /// The next message; waits for ever while there is no source. May be dropped and asked again.
    pub async fn next(&mut self) -> Message {
        let Some(room) = &mut self.room else { return pending().await };
        match room.notices.next().await {
            Some(notice) => Message::of_notice(self.event, &room.token, notice),
            None => {
                self.room = None;
                pending().await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};

    use super::*;

    #[tokio::test]
    async fn one_token_is_followed_at_a_time_and_to_its_end() {
        let mut feed = Feed::new(EventId(7));
        assert!(feed.next().now_or_never().is_none());
        feed.tell_of_room("a", stream::iter([Notice::SoldOut]).boxed_local());
        let admitted = Notice::Admitted { session_ends_ms: 1 };
        feed.tell_of_room("b", stream::iter([admitted]).boxed_local());
        let Message::Admitted { token, .. } = feed.next().await else { panic!("admitted") };
        assert_eq!(&*token, "b");
        assert!(feed.next().now_or_never().is_none());
        assert!(feed.room.is_none());
    }
}
