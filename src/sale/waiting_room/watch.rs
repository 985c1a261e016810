//! Pushes one person's queue status as it changes.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{QueueStatus, WaitingRoom};
use crate::domain::admission_token::AdmissionToken;
use crate::sale::SaleError;

/// Shortest time between two updates.
const POSITION_EVERY: Duration = Duration::from_secs(1);

/// An update for somebody who waits.
#[derive(Clone, Debug)]
pub enum RoomUpdate {
    /// The current status.
    QueueStatus(QueueStatus),
    /// The end of the updates, with the reason: the token is no longer valid, or Redis does not
    /// answer.
    Ended(SaleError),
}

/// A stream of one person's updates.
pub struct RoomWatch {
    room: WaitingRoom,
    token: AdmissionToken,
    last: Option<QueueStatus>,
    next_at: Instant,
}

impl RoomWatch {
    pub(super) fn new(room: WaitingRoom, token: AdmissionToken) -> Self {
        RoomWatch { room, token, last: None, next_at: Instant::now() }
    }

    /// The token of the person.
    pub fn token(&self) -> &AdmissionToken {
        &self.token
    }

    /// Returns the next update: the first at once, then whenever the status has changed, at most once
    /// a second. When the place is served this claims the session. After the session has begun only
    /// its end is reported.
    pub async fn next(&mut self) -> RoomUpdate {
        loop {
            sleep_until(self.next_at).await;
            self.next_at = Instant::now() + POSITION_EVERY;
            let rooms = &self.room.inner.rooms;
            let changes = rooms.get(self.token.event).changes();
            // After `Open` was reported, it is not verified again at each turn.
            let status = match self.last {
                Some(QueueStatus::Open) => self.room.cached_queue_status(&self.token).await,
                _ => self.room.queue_status(&self.token).await,
            };
            match status {
                // Redis does not answer: the status has not changed.
                Err(SaleError::Unavailable { .. }) => {}
                Err(error) => return RoomUpdate::Ended(error),
                Ok(status) if self.has_changed(&status) => {
                    self.last = Some(status);
                    return RoomUpdate::QueueStatus(status);
                }
                Ok(QueueStatus::Admitted { left_seconds, .. }) => {
                    // Queried again when the session is over, or by then renewed.
                    self.next_at += Duration::from_secs(left_seconds);
                }
                Ok(_) => {}
            }
            let mut changes = changes;
            // An evicted room is loaded again at the next turn.
            let _ = changes.changed().await;
        }
    }

    /// Whether the status differs by more than the estimated wait.
    fn has_changed(&self, status: &QueueStatus) -> bool {
        use QueueStatus::{Admitted, Gathering, Waiting};
        match (self.last.as_ref(), status) {
            (Some(Waiting { position: last, .. }), Waiting { position, .. }) => last != position,
            (Some(Admitted { ends_ms: last, .. }), Admitted { ends_ms, .. }) => last != ends_ms,
            (Some(Gathering { on_sale_at_ms: last, .. }), Gathering { on_sale_at_ms, .. }) => {
                last != on_sale_at_ms
            }
            (last, status) => last != Some(status),
        }
    }
}
