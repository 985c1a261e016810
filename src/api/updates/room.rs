//! The waiting room's messages for one token.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;

use crate::api::state::State;
use crate::domain::time::iso8601;
use crate::domain::{EventId, UserId};
use crate::http::problem::Problem;
use crate::push::{Message, RoomMessages};
use crate::sale::SaleError;
use crate::sale::error::AdmissionFault;
use crate::sale::waiting_room::{QueueStatus, RoomUpdate, RoomWatch};

/// The messages of the event's room for the owner of a token. `user` is the caller, if identified. The stream
/// ends with the last message.
///
/// # Errors
/// If the token is invalid now, or of another event or user.
pub fn messages(
    state: &State,
    event: EventId,
    user: Option<&UserId>,
    token: &str,
) -> Result<RoomMessages, Problem> {
    let rooms = state.sale.waiting_room();
    let admission = rooms.verify(event, token)?;
    if user.is_some_and(|user| *user != admission.user) {
        return Err(SaleError::AdmissionInvalid(AdmissionFault::OtherUser).into());
    }
    let owner = admission.user.clone();
    let watch = Some((rooms.watch(admission), Arc::from(token)));
    Ok(RoomMessages { owner, messages: stream::unfold(watch, next).boxed_local() })
}

/// The watch with the token's text; `None` after the last message.
type WatchState = Option<(RoomWatch, Arc<str>)>;

async fn next(state: WatchState) -> Option<(Message, WatchState)> {
    let (mut watch, token) = state?;
    let event = watch.token().event;
    match watch.next().await {
        RoomUpdate::QueueStatus(queue_status) => {
            let message = message(event, &token, queue_status);
            Some((message, Some((watch, token))))
        }
        RoomUpdate::Ended(error) => Some((Problem::from(error).into(), None)),
    }
}

fn message(event: EventId, token: &Arc<str>, queue_status: QueueStatus) -> Message {
    let event_id = event.0;
    match queue_status {
        QueueStatus::Waiting { position, wait_seconds, refresh_seconds } => Message::Position {
            event_id,
            position,
            estimated_wait_seconds: wait_seconds,
            refresh_after_seconds: refresh_seconds,
        },
        QueueStatus::Gathering { joined, refresh_seconds, on_sale_at_ms } => Message::Gathering {
            event_id,
            joined,
            refresh_after_seconds: refresh_seconds,
            on_sale_at: iso8601(on_sale_at_ms),
        },
        QueueStatus::Admitted { ends_ms, .. } => Message::Admitted {
            event_id,
            token: token.clone(),
            session_expires_at: iso8601(ends_ms),
            message: "You can now proceed to book tickets",
        },
        QueueStatus::Closed => Message::SaleClosed { event_id, message: "The sale has ended" },
        QueueStatus::SoldOut => Message::SoldOut { event_id, message: "Every seat is sold" },
        QueueStatus::Open => Message::WaitingRoomOff {
            event_id,
            message: "There is no waiting room; you can book tickets",
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_standing_has_its_message() {
        let shown = |queue_status| {
            let message = message(EventId(7), &"t".into(), queue_status);
            serde_json::to_value(message).unwrap()
        };
        let waiting = QueueStatus::Waiting { position: 3, wait_seconds: 20, refresh_seconds: 2 };
        let position = json!({
            "type": "position", "event_id": 7, "position": 3, "estimated_wait_seconds": 20,
            "refresh_after_seconds": 2,
        });
        assert_eq!(shown(waiting), position);
        let on_sale_at_ms = 1_772_388_000_000;
        let gathering = QueueStatus::Gathering { joined: 9, refresh_seconds: 60, on_sale_at_ms };
        let expected = json!({
            "type": "gathering", "event_id": 7, "joined": 9, "refresh_after_seconds": 60,
            "on_sale_at": "2026-03-01T18:00:00.000Z",
        });
        assert_eq!(shown(gathering), expected);
        let admitted = json!({
            "type": "admitted", "event_id": 7, "token": "t",
            "session_expires_at": "2026-03-01T18:00:00.000Z",
            "message": "You can now proceed to book tickets",
        });
        let (ends_ms, left_seconds, on_sale_at_ms) = (1_772_388_000_000, 1, None);
        let session = QueueStatus::Admitted { ends_ms, left_seconds, on_sale_at_ms };
        assert_eq!(shown(session), admitted);
        assert_eq!(shown(QueueStatus::SoldOut)["type"], "sold_out");
        assert_eq!(shown(QueueStatus::Closed)["type"], "sale_closed");
        assert_eq!(shown(QueueStatus::Open)["type"], "waiting_room_off");
    }
}
