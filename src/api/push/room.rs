//! The waiting room as a source of news.

use futures_util::stream::LocalBoxStream;

use crate::api::problem::{Code, Problem};
use crate::api::state::State;
use crate::domain::{EventId, Notice, UserId};

/// Bytes of a token; no room gives longer ones.
const TOKEN_BYTES_MAX: usize = 1_024;

/// What the event's room has to say to the owner of a token. `user` is who asks, if anybody is named.
///
/// # Errors
/// If the token is not one of this event, of this user, valid now.
pub fn notices(
    _state: &State,
    event: EventId,
    _user: Option<&UserId>,
    token: &str,
) -> Result<LocalBoxStream<'static, Notice>, Problem> {
    if token.len() > TOKEN_BYTES_MAX {
        let detail = format!("A waiting room's token has {TOKEN_BYTES_MAX} bytes at most");
        return Err(Problem::new(Code::WaitingRoomTokenInvalid, detail));
    }
    let detail = format!("Event {event} gave no such token");
    Err(Problem::new(Code::WaitingRoomTokenInvalid, detail))
}
