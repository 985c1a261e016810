//! Tells one person how they come forward, without their asking.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Standing, WaitingRoom};
use crate::domain::admission_token::AdmissionToken;
use crate::sale::SaleError;

/// Shortest time between two positions.
const POSITION_EVERY: Duration = Duration::from_secs(1);

/// What somebody who waits is told.
#[derive(Clone, Debug)]
pub enum RoomUpdate {
    /// Where they stand.
    Standing(Standing),
    /// There is nothing more to wait for; the token is good for nothing any more, or Redis does
    /// not answer.
    Ended(SaleError),
}

/// One person's news.
pub struct RoomWatch {
    room: WaitingRoom,
    token: AdmissionToken,
    told: Option<Standing>,
    next_at: Instant,
}

impl RoomWatch {
    pub(super) fn new(room: WaitingRoom, token: AdmissionToken) -> Self {
        RoomWatch { room, token, told: None, next_at: Instant::now() }
    }

    /// Whose news these are.
    pub fn token(&self) -> &AdmissionToken {
        &self.token
    }

    /// The next one: the first at once, then whenever where they stand has changed, once a second
    /// at most. Once their place is served this claims their session. After the session began,
    /// nothing is told but its end.
    pub async fn next(&mut self) -> RoomUpdate {
        loop {
            sleep_until(self.next_at).await;
            self.next_at = Instant::now() + POSITION_EVERY;
            let rooms = &self.room.inner.rooms;
            let changes = rooms.get(self.token.event).changes();
            // Once told that nobody has to wait, that is not looked up again at each turn.
            let standing = match self.told {
                Some(Standing::Open) => self.room.standing_as_seen(&self.token).await,
                _ => self.room.standing(&self.token).await,
            };
            match standing {
                // Redis is away: where they stand has not changed.
                Err(SaleError::Unavailable { .. }) => {}
                Err(error) => return RoomUpdate::Ended(error),
                Ok(standing) if self.is_news(&standing) => {
                    self.told = Some(standing);
                    return RoomUpdate::Standing(standing);
                }
                Ok(Standing::Admitted { left_seconds, .. }) => {
                    // Asked again when it is over, or by then renewed.
                    self.next_at += Duration::from_secs(left_seconds);
                }
                Ok(_) => {}
            }
            let mut changes = changes;
            // A room that is gone from memory is asked for anew at the next turn.
            let _ = changes.changed().await;
        }
    }

    /// Whether it differs by more than the estimate.
    fn is_news(&self, standing: &Standing) -> bool {
        match (self.told.as_ref(), standing) {
            (
                Some(Standing::Waiting { position: told, .. }),
                Standing::Waiting { position, .. },
            ) => told != position,
            (
                Some(Standing::Admitted { ends_ms: told, .. }),
                Standing::Admitted { ends_ms, .. },
            ) => told != ends_ms,
            (
                Some(Standing::Gathering { on_sale_at_ms: told, .. }),
                Standing::Gathering { on_sale_at_ms, .. },
            ) => told != on_sale_at_ms,
            (told, standing) => told != Some(standing),
        }
    }
}
