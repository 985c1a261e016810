//! The waiting room as a source of news.

use futures_util::StreamExt;
use futures_util::stream::{self, LocalBoxStream};

use crate::api::problem::Problem;
use crate::api::state::State;
use crate::domain::{EventId, Notice, UserId};
use crate::sale::SaleError;
use crate::sale::error::AdmissionFault;
use crate::sale::waiting_room::{RoomNews, RoomWatch, Standing};

/// What the event's room has to say to the owner of a token. `user` is who asks, if anybody is
/// named. Ends once there is nothing more to say.
///
/// # Errors
/// If the token is not one of this event, of this user, valid now.
pub fn notices(
    state: &State,
    event: EventId,
    user: Option<&UserId>,
    token: &str,
) -> Result<LocalBoxStream<'static, Notice>, Problem> {
    let rooms = state.sale.waiting_room();
    let token = rooms.verify(event, token)?;
    if user.is_some_and(|user| *user != token.user) {
        return Err(SaleError::AdmissionInvalid(AdmissionFault::OtherUser).into());
    }
    let watch = Some(rooms.watch(token));
    Ok(stream::unfold(watch, next).boxed_local())
}

async fn next(watch: Option<RoomWatch>) -> Option<(Notice, Option<RoomWatch>)> {
    let mut watch = watch?;
    loop {
        let notice = match watch.next().await {
            // Positions come with the draw.
            RoomNews::Standing(Standing::Gathering { .. }) => continue,
            RoomNews::Standing(Standing::Waiting { position, wait_seconds, refresh_seconds }) => {
                Notice::Position {
                    position,
                    estimated_wait_seconds: wait_seconds,
                    refresh_after_seconds: refresh_seconds,
                }
            }
            RoomNews::Standing(Standing::Admitted { ends_ms, .. }) => {
                Notice::Admitted { session_ends_ms: ends_ms }
            }
            RoomNews::Standing(Standing::SoldOut) => Notice::SoldOut,
            RoomNews::Standing(Standing::Open) => Notice::Off,
            RoomNews::Ended(error) => {
                let detail = Problem::from(error).detail.to_string();
                return Some((Notice::Refused { detail }, None));
            }
        };
        return Some((notice, Some(watch)));
    }
}
