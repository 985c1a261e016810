//! Where the owner of a token stands: from memory until the place counts as served, then by the
//! claim.

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

/// How long a question waits at a time for what the clock leaves open …
const CLOCK_WAIT: Duration = Duration::from_millis(2);
/// … and how often.
const CLOCK_WAITS_MAX: u32 = 100;

/// Where somebody stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In line.
    Waiting {
        /// How many places are served before it is theirs, theirs included.
        position: u64,
        /// How long that takes, seconds, as far as can be told.
        wait_seconds: u64,
        /// When to ask again, seconds.
        refresh_seconds: u64,
    },
    /// Gathered for a draw: positions come with it.
    Gathering {
        /// How many have gathered, as far as this process knows.
        joined: u64,
        /// When to ask again, seconds.
        refresh_seconds: u64,
        /// When the sale begins, and with it the draw is made, Unix ms.
        on_sale_at_ms: i64,
    },
    /// Their session lives.
    Admitted {
        /// Its end, Unix ms.
        ends_ms: i64,
        /// What is left of it, seconds.
        left_seconds: u64,
        /// When the sale goes on, Unix ms, if it was postponed.
        on_sale_at_ms: Option<i64>,
    },
    /// There is nobody to wait for: the room is off, or lets everybody through.
    Open,
    /// Every seat is sold and none is held.
    SoldOut,
    /// The sale has ended.
    Closed,
}

impl WaitingRoom {
    /// Where the owner of a valid token stands. Costs Redis nothing before the place is served;
    /// then this is the claim.
    ///
    /// # Errors
    /// [`SaleError::AdmissionInvalid`] if the place or its session is over; if Redis does not
    /// answer.
    pub async fn standing(&self, token: &AdmissionToken) -> Result<Standing, SaleError> {
        let asked = Instant::now();
        match self.standing_as_seen(token).await? {
            // The token proves that the room was on: this answer would end the wait, so it does not
            // rest on what was seen before the question.
            Standing::Open => {
                let room = self.inner.rooms.known(token.event).await?;
                self.inner.rooms.look_since(&room, asked).await?;
                self.standing_as_seen(token).await
            }
            standing => Ok(standing),
        }
    }

    /// The same by what this process saw of the room, be it that the room was open then.
    pub(super) async fn standing_as_seen(
        &self,
        token: &AdmissionToken,
    ) -> Result<Standing, SaleError> {
        let asked = Instant::now();
        let room = self.inner.rooms.known(token.event).await?;
        // It was given, so Redis must not give it again.
        room.learn(Floors { joined: token.number, served: 0 });
        if room.seen().is_behind() {
            self.inner.rooms.catch_up(&room, asked).await;
        }
        let seen = room.seen();
        let state = &seen.state;
        if state.is_over {
            return Ok(Standing::Closed);
        }
        if seen.is_open() {
            return Ok(Standing::Open);
        }
        if room.has_left(token.number) {
            return Err(SaleError::AdmissionInvalid(AdmissionFault::GivenUp));
        }
        let Some(place) = self.place(&room, token.number).await? else {
            return Ok(Standing::Gathering {
                joined: room.floors().joined,
                refresh_seconds: refresh_after_seconds(self.seconds_to_sale(token.event, state)),
                on_sale_at_ms: state.on_sale_at_ms,
            });
        };
        let is_served = place <= room.floors().served;
        if !is_served && state.is_sold_out {
            return Ok(Standing::SoldOut);
        }
        if let Some(settled) = self.not_settled(token.event, state, place).await {
            let position = place.saturating_sub(room.show(settled)).max(1);
            return Ok(match is_served {
                // In a moment, however many are served before.
                true => Standing::Waiting {
                    position,
                    wait_seconds: REFRESH_SECONDS_MIN,
                    refresh_seconds: REFRESH_SECONDS_MIN,
                },
                false => {
                    let to_sale = self.seconds_to_sale(token.event, state);
                    waiting(position, to_sale, seen.served_per_second, state)
                }
            });
        }
        self.claim(&room, token, place).await
    }

    /// The served place that counts now, if `place` is not served by it; `None` if it is. Where the
    /// knowledge of Redis' clock leaves that open, waits until it does not: another process may have
    /// found it served already.
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
    ) -> Result<Standing, SaleError> {
        let claim = RoomPlace {
            user: &token.user,
            number: token.number,
            place,
            issued_ms: token.issued_ms,
        };
        let Timed { reply, now_ms } =
            self.inner.engine.room_claim(token.event, claim, room.floors()).await?;
        let seen = room.seen();
        let fault = match reply {
            RoomClaimReply::Session { ends_ms, floors, .. } => {
                room.learn(floors);
                let left_seconds = u64::try_from(ends_ms - now_ms).unwrap_or_default() / 1_000;
                let on_sale_at_ms = Some(seen.state.on_sale_at_ms).filter(|at_ms| *at_ms > now_ms);
                return Ok(Standing::Admitted { ends_ms, left_seconds, on_sale_at_ms });
            }
            _ if seen.state.is_sold_out => return Ok(Standing::SoldOut),
            RoomClaimReply::Waiting { floors } => {
                room.learn(floors);
                let ahead = place.saturating_sub(floors.served).max(1);
                let to_sale = self.seconds_to_sale(token.event, &seen.state);
                return Ok(waiting(ahead, to_sale, seen.served_per_second, &seen.state));
            }
            RoomClaimReply::Owed { before_them: before, floors } => {
                room.learn(floors);
                let to_sale = self.seconds_to_sale(token.event, &seen.state);
                return Ok(waiting(before + 1, to_sale, seen.served_per_second, &seen.state));
            }
            RoomClaimReply::RoomOff | RoomClaimReply::RoomOpen => return Ok(Standing::Open),
            RoomClaimReply::PlaceGivenUp => AdmissionFault::GivenUp,
            RoomClaimReply::PlaceLapsed => AdmissionFault::Lapsed,
            RoomClaimReply::SessionEnded => AdmissionFault::SessionEnded,
            RoomClaimReply::NumberSuperseded => AdmissionFault::Superseded,
            RoomClaimReply::RoomRejects => return Err(SaleError::RoomRejects(token.event)),
            RoomClaimReply::TooLate => return Err(too_late()),
        };
        Err(SaleError::AdmissionInvalid(fault))
    }

    /// How long it is until the sale begins, seconds.
    fn seconds_to_sale(&self, event: EventId, state: &RoomState) -> u64 {
        let engine = &self.inner.engine;
        let clock = engine.clock(engine.keys().partition_of(event));
        let now_ms = clock.now_at_least_ms().unwrap_or(state.at_ms);
        u64::try_from(state.on_sale_at_ms - now_ms).unwrap_or_default() / 1_000
    }
}

fn waiting(position: u64, to_sale: u64, served_per_second: f64, state: &RoomState) -> Standing {
    let wait_seconds = to_sale + estimated_wait_seconds(position, served_per_second, state);
    let refresh_seconds = refresh_after_seconds(wait_seconds);
    Standing::Waiting { position, wait_seconds, refresh_seconds }
}
