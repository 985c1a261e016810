//! The status of a token's owner: from memory until the place counts as served, then by the claim.

use std::time::{Duration, Instant};

use super::room::Room;
use super::{WaitingRoom, too_late};
use crate::domain::admission_token::AdmissionToken;
use crate::domain::waiting_room::{
    REFRESH_SECONDS_MIN, estimated_wait_seconds, refresh_after_seconds,
};
use crate::domain::{EventId, Floors, RoomState};
use crate::redis::{RoomClaimReply, RoomPlace, Timed};
use crate::sale::SaleError;
use crate::sale::error::AdmissionFault;

/// How long a query waits at a time while the knowledge of Redis' clock leaves the result open …
const CLOCK_WAIT: Duration = Duration::from_millis(2);
/// … and how often.
const CLOCK_WAITS_MAX: u32 = 100;

/// The status of somebody in a waiting room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueStatus {
    /// In line.
    Waiting {
        /// The number of places to be served until it is theirs, theirs included.
        position: u64,
        /// The estimated wait, seconds.
        wait_seconds: u64,
        /// When to query again, seconds.
        refresh_seconds: u64,
    },
    /// Waiting for the draw, which assigns positions.
    Gathering {
        /// The number of participants, as far as this process knows.
        joined: u64,
        /// When to query again, seconds.
        refresh_seconds: u64,
        /// When the sale begins and the draw is made, Unix ms.
        on_sale_at_ms: i64,
    },
    /// Admitted, with a live session.
    Admitted {
        /// The end of the session, Unix ms.
        ends_ms: i64,
        /// The rest of the session, seconds.
        left_seconds: u64,
        /// When the sale resumes, Unix ms, if it was postponed.
        on_sale_at_ms: Option<i64>,
    },
    /// Nobody has to wait: the room is off, or lets everybody through.
    Open,
    /// Every seat is sold and none is held.
    SoldOut,
    /// The sale has ended.
    Closed,
}

impl WaitingRoom {
    /// Returns the status of a valid token's owner. Costs Redis nothing before the place is served;
    /// then it claims the session.
    ///
    /// # Errors
    /// [`SaleError::AdmissionInvalid`] if the place or its session is over; an error if Redis does
    /// not answer.
    pub async fn queue_status(&self, token: &AdmissionToken) -> Result<QueueStatus, SaleError> {
        let requested = Instant::now();
        match self.cached_queue_status(token).await? {
            // The token proves that the room was on. This response would end the wait, so it needs a
            // snapshot taken after the request.
            QueueStatus::Open => {
                let room = self.inner.rooms.loaded(token.event).await?;
                self.inner.rooms.refresh_since(&room, requested).await?;
                self.cached_queue_status(token).await
            }
            status => Ok(status),
        }
    }

    /// Like [`WaitingRoom::queue_status`], but accepts a snapshot in which the room is open.
    pub(super) async fn cached_queue_status(
        &self,
        token: &AdmissionToken,
    ) -> Result<QueueStatus, SaleError> {
        let requested = Instant::now();
        let room = self.inner.rooms.loaded(token.event).await?;
        // This number was given, so Redis must not give it again.
        room.learn(Floors { joined: token.number, served: 0 });
        if room.snapshot().is_behind() {
            self.inner.rooms.catch_up(&room, requested).await;
        }
        let snapshot = room.snapshot();
        let state = &snapshot.state;
        if state.is_over {
            return Ok(QueueStatus::Closed);
        }
        if snapshot.is_open() {
            return Ok(QueueStatus::Open);
        }
        if room.has_left(token.number) {
            return Err(SaleError::AdmissionInvalid(AdmissionFault::GivenUp));
        }
        let Some(place) = self.place(&room, token.number).await? else {
            return Ok(QueueStatus::Gathering {
                joined: room.floors().joined,
                refresh_seconds: refresh_after_seconds(self.seconds_to_sale(token.event, state)),
                on_sale_at_ms: state.on_sale_at_ms,
            });
        };
        let is_served = place <= room.floors().served;
        if !is_served && state.is_sold_out {
            return Ok(QueueStatus::SoldOut);
        }
        if let Some(settled) = self.not_settled(token.event, state, place).await {
            let position = place.saturating_sub(room.show(settled)).max(1);
            return Ok(match is_served {
                // Served in a moment, whatever the distance.
                true => QueueStatus::Waiting {
                    position,
                    wait_seconds: REFRESH_SECONDS_MIN,
                    refresh_seconds: REFRESH_SECONDS_MIN,
                },
                false => {
                    let to_sale = self.seconds_to_sale(token.event, state);
                    waiting(position, to_sale, snapshot.served_per_second, state)
                }
            });
        }
        self.claim(&room, token, place).await
    }

    /// The settled served place now, if it is below `place`; `None` if `place` is served. While the
    /// knowledge of Redis' clock leaves that open, waits until it does not: another process may
    /// already have found it served.
    async fn not_settled(&self, event: EventId, state: &RoomState, place: u64) -> Option<u64> {
        let engine = &self.inner.engine;
        let clock = engine.clock(engine.keys().partition_of(event));
        let settled = |now_ms: Option<i64>| state.settled_served(now_ms.unwrap_or(state.at_ms));
        for _ in 0..CLOCK_WAITS_MAX {
            let surely = settled(clock.now_at_least_ms());
            if place <= surely {
                return None;
            }
            if place > settled(clock.now_at_most_ms()) {
                return Some(surely);
            }
            tokio::time::sleep(CLOCK_WAIT).await;
        }
        Some(settled(clock.now_at_least_ms()))
    }

    async fn claim(
        &self,
        room: &Room,
        token: &AdmissionToken,
        place: u64,
    ) -> Result<QueueStatus, SaleError> {
        let claim = RoomPlace {
            user: &token.user,
            number: token.number,
            place,
            issued_ms: token.issued_ms,
        };
        let Timed { reply, now_ms } =
            self.inner.engine.room_claim(token.event, claim, room.floors()).await?;
        let snapshot = room.snapshot();
        let fault = match reply {
            RoomClaimReply::Session { ends_ms, floors, .. } => {
                room.learn(floors);
                let left_seconds = u64::try_from(ends_ms - now_ms).unwrap_or_default() / 1_000;
                let on_sale_at_ms =
                    Some(snapshot.state.on_sale_at_ms).filter(|at_ms| *at_ms > now_ms);
                return Ok(QueueStatus::Admitted { ends_ms, left_seconds, on_sale_at_ms });
            }
            _ if snapshot.state.is_sold_out => return Ok(QueueStatus::SoldOut),
            RoomClaimReply::Waiting { floors } => {
                room.learn(floors);
                let ahead = place.saturating_sub(floors.served).max(1);
                let to_sale = self.seconds_to_sale(token.event, &snapshot.state);
                return Ok(waiting(ahead, to_sale, snapshot.served_per_second, &snapshot.state));
            }
            RoomClaimReply::Owed { before_them: before, floors } => {
                room.learn(floors);
                let to_sale = self.seconds_to_sale(token.event, &snapshot.state);
                return Ok(waiting(
                    before + 1,
                    to_sale,
                    snapshot.served_per_second,
                    &snapshot.state,
                ));
            }
            RoomClaimReply::RoomOff | RoomClaimReply::RoomOpen => return Ok(QueueStatus::Open),
            RoomClaimReply::PlaceGivenUp => AdmissionFault::GivenUp,
            RoomClaimReply::PlaceLapsed => AdmissionFault::Lapsed,
            RoomClaimReply::SessionEnded => AdmissionFault::SessionEnded,
            RoomClaimReply::NumberSuperseded => AdmissionFault::Superseded,
            RoomClaimReply::RoomRejects => return Err(SaleError::RoomRejects(token.event)),
            RoomClaimReply::TooLate => return Err(too_late()),
        };
        Err(SaleError::AdmissionInvalid(fault))
    }

    /// The time until the sale begins, seconds.
    fn seconds_to_sale(&self, event: EventId, state: &RoomState) -> u64 {
        let engine = &self.inner.engine;
        let clock = engine.clock(engine.keys().partition_of(event));
        let now_ms = clock.now_at_least_ms().unwrap_or(state.at_ms);
        u64::try_from(state.on_sale_at_ms - now_ms).unwrap_or_default() / 1_000
    }
}

fn waiting(position: u64, to_sale: u64, served_per_second: f64, state: &RoomState) -> QueueStatus {
    let wait_seconds = to_sale + estimated_wait_seconds(position, served_per_second, state);
    let refresh_seconds = refresh_after_seconds(wait_seconds);
    QueueStatus::Waiting { position, wait_seconds, refresh_seconds }
}
