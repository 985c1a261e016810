//! Waiting rooms: operators' settings, a room's state, and the estimates for those who wait. Pure:
//! the `room_*` scripts decide in Redis.
//!
//! A *number* is assigned on joining and is in the token. A *place* is the owner's position in the
//! order of service: the number itself, or the result of the draw. *Served* is the highest place that
//! may claim a session.

mod change;
mod settings;

use std::str::FromStr;

pub use change::RoomChange;
pub use settings::{
    CLAIM_MS_MAX, CONCURRENT_MAX, Method, RoomSettings, SESSION_MS_MAX, SPAN_MS_MIN, Surge,
};

/// The state of a room's draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrawState {
    /// There is none: first come, first served.
    None,
    /// People join; nobody is served.
    Gathering,
    /// The participants are fixed; the archive has yet to record them.
    Frozen,
    /// The draw is in effect.
    Fixed,
}

impl DrawState {
    /// The name in Redis.
    pub fn as_str(self) -> &'static str {
        match self {
            DrawState::None => "none",
            DrawState::Gathering => "gathering",
            DrawState::Frozen => "frozen",
            DrawState::Fixed => "fixed",
        }
    }
}

impl FromStr for DrawState {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        let all = [DrawState::None, DrawState::Gathering, DrawState::Frozen, DrawState::Fixed];
        all.into_iter().find(|state| state.as_str() == word).ok_or(())
    }
}

/// The highest assigned number and the highest served place known to a process. Redis may lose them,
/// so every call passes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    /// The highest assigned number.
    pub joined: u64,
    /// The highest served place.
    pub served: u64,
}

impl Floors {
    /// The maximum of each.
    pub fn max(self, other: Floors) -> Floors {
        Floors { joined: self.joined.max(other.joined), served: self.served.max(other.served) }
    }
}

/// The delay after which a raised served place counts, for positions and for claims, ms. By then every
/// process knows it ([`RoomState::settles_after_ms`] bounds the age of their snapshots): so no
/// position rises, whichever process responds, and a user admitted by one process is not sent back to
/// wait by another.
const SETTLES_AFTER_MS: u64 = 1_000;
/// The delay as a part of the claim window: a short window must not pass meanwhile.
const SETTLES_AFTER_PART: u64 = 2;

/// A recently opened batch of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct YoungBatch {
    /// When it was opened, by Redis' time, Unix ms.
    pub opened_ms: i64,
    /// Its first place.
    pub first: u64,
}

/// A room's state, as returned by `room_look`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomState {
    /// Redis' time of this state, Unix ms.
    pub at_ms: i64,
    /// Revision of the settings in Redis; 0: none.
    pub revision: u64,
    /// Its method; `None` while it is off.
    pub method: Option<Method>,
    /// Whether it switched itself on.
    pub by_surge: bool,
    /// The highest assigned number and served place.
    pub floors: Floors,
    /// The state of its draw.
    pub draw: DrawState,
    /// The number of participants in the draw, once frozen.
    pub draw_joined: u64,
    /// Live sessions.
    pub live: u32,
    /// Served places that are neither claimed nor lapsed.
    pub unclaimed: u32,
    /// People who lost a session or place and claim first from the next batch.
    pub owed: u32,
    /// Numbers whose owners left before they were served.
    pub left_waiting: u64,
    /// The total number of owners who left.
    pub left_total: u64,
    /// The newest of them, beyond those that the caller knows.
    pub leavers: Vec<u64>,
    /// Recently opened batches, oldest first.
    pub young_batches: Vec<YoungBatch>,
    /// Free seats.
    pub seats_free: u32,
    /// Whether every seat is sold or withheld, and none is held.
    pub is_sold_out: bool,
    /// Maximum number of sessions and open places at a time.
    pub max_concurrent: u32,
    /// How long a session lasts, ms.
    pub session_ms: u64,
    /// How long a served place may be claimed, ms.
    pub claim_ms: u64,
    /// When the event's sale begins, by Redis' time, Unix ms; 0: at once.
    pub on_sale_at_ms: i64,
    /// Whether its sale has ended: it was closed, or its end has come.
    pub is_over: bool,
}

impl RoomState {
    /// The state of a room without settings.
    pub fn off() -> Self {
        RoomState {
            at_ms: 0,
            revision: 0,
            method: None,
            by_surge: false,
            floors: Floors::default(),
            draw: DrawState::None,
            draw_joined: 0,
            live: 0,
            unclaimed: 0,
            owed: 0,
            left_waiting: 0,
            left_total: 0,
            leavers: Vec::new(),
            young_batches: Vec::new(),
            seats_free: 0,
            is_sold_out: false,
            max_concurrent: 0,
            session_ms: 0,
            claim_ms: 0,
            on_sale_at_ms: 0,
            is_over: false,
        }
    }

    /// The number of waiting people, including those who may claim and have not.
    pub fn queue_size(&self) -> u64 {
        let waiting = self.floors.joined.saturating_sub(self.floors.served);
        waiting.saturating_sub(self.left_waiting) + u64::from(self.unclaimed) + u64::from(self.owed)
    }

    /// The delay after which a raised served place counts, ms. INVARIANT: a snapshot of this age or
    /// older is refreshed before it is used for a response.
    pub fn settles_after_ms(&self) -> u64 {
        match self.claim_ms {
            0 => SETTLES_AFTER_MS,
            claim_ms => SETTLES_AFTER_MS.min(claim_ms / SETTLES_AFTER_PART),
        }
    }

    /// The served place that counts at `now_ms`, Redis' time.
    pub fn settled_served(&self, now_ms: i64) -> u64 {
        let moment = now_ms.saturating_sub_unsigned(self.settles_after_ms());
        let newer = self.young_batches.iter().find(|batch| batch.opened_ms > moment);
        newer.map_or(self.floors.served, |batch| batch.first - 1)
    }

    /// The number of people who could be admitted now.
    pub fn slots_available(&self) -> u32 {
        self.max_concurrent.saturating_sub(self.live + self.unclaimed)
    }
}

/// Longest recommended pause between two polls, seconds.
pub const REFRESH_SECONDS_MAX: u64 = 60;
/// Shortest recommended pause, seconds.
pub const REFRESH_SECONDS_MIN: u64 = 1;
/// The recommended pause is this part of the remaining wait.
const REFRESH_PART: u64 = 10;

/// Estimates the wait at a position, seconds: by the measured places served per second. While there
/// are none, who fits into the free sessions is served next; others wait by the room's capacity if each
/// session lasts its full time.
pub fn estimated_wait_seconds(position: u64, served_per_second: f64, state: &RoomState) -> u64 {
    let fits = position <= u64::from(state.slots_available().min(state.seats_free));
    if served_per_second <= 0.0 && fits {
        return REFRESH_SECONDS_MIN;
    }
    let full_rate = f64::from(state.max_concurrent) * 1_000.0 / state.session_ms.max(1) as f64;
    let rate = if served_per_second > 0.0 { served_per_second } else { full_rate };
    // Capped at a day: no estimate is meaningful beyond.
    (position as f64 / rate).ceil().clamp(0.0, 86_400.0) as u64
}

/// The recommended pause before the next poll, in proportion to the wait. A client misses its claim
/// only if the room becomes ten times as fast meanwhile.
pub fn refresh_after_seconds(wait_seconds: u64) -> u64 {
    (wait_seconds / REFRESH_PART).clamp(REFRESH_SECONDS_MIN, REFRESH_SECONDS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> RoomState {
        RoomState {
            at_ms: 0,
            revision: 1,
            method: Some(Method::Fifo),
            by_surge: false,
            floors: Floors { joined: 100, served: 60 },
            draw: DrawState::None,
            draw_joined: 0,
            live: 7,
            unclaimed: 2,
            owed: 1,
            left_waiting: 5,
            left_total: 9,
            leavers: Vec::new(),
            young_batches: Vec::new(),
            seats_free: 10,
            is_sold_out: false,
            max_concurrent: 10,
            session_ms: 20_000,
            claim_ms: 30_000,
            on_sale_at_ms: 0,
            is_over: false,
        }
    }

    #[test]
    fn queue_size_and_free_slots_are_derived() {
        assert_eq!((state().queue_size(), state().slots_available()), (38, 1));
        let forgot = RoomState { floors: Floors { joined: 3, served: 9 }, ..state() };
        assert_eq!(forgot.queue_size(), 3);
    }

    #[test]
    fn positions_use_the_settled_served_place() {
        let batch = |opened_ms, first| YoungBatch { opened_ms, first };
        let state = RoomState {
            at_ms: 10_000,
            young_batches: vec![batch(8_000, 21), batch(9_000, 41), batch(9_900, 51)],
            ..state()
        };
        assert_eq!([9_500, 10_000, 10_900].map(|now| state.settled_served(now)), [40, 50, 60]);
        // A short claim window shortens the delay.
        let hasty = RoomState { claim_ms: 400, ..state };
        assert_eq!([9_199, 9_200, 10_100].map(|now| hasty.settled_served(now)), [40, 50, 60]);
    }

    #[test]
    fn wait_is_estimated_by_the_measured_rate() {
        // Ten sessions of 20 s each: one every two seconds.
        assert_eq!(estimated_wait_seconds(30, 0.0, &state()), 60);
        assert_eq!(estimated_wait_seconds(30, 3.0, &state()), 10);
        assert_eq!(estimated_wait_seconds(u64::MAX, 1.0, &state()), 86_400);
        assert_eq!(estimated_wait_seconds(0, 1.0, &state()), 0);
    }

    #[test]
    fn wait_is_short_where_sessions_are_free_and_nothing_is_measured() {
        // One session of 20 s is free of ten: half a place a second.
        let wait = |position, rate| estimated_wait_seconds(position, rate, &state());
        assert_eq!([wait(1, 0.0), wait(2, 0.0), wait(10, 0.0)], [1, 4, 20]);
        assert_eq!([wait(1, 0.1), wait(2, 0.1)], [10, 20]);
        let sold = RoomState { seats_free: 0, ..state() };
        assert_eq!(estimated_wait_seconds(1, 0.0, &sold), 2);
    }

    #[test]
    fn polls_are_rarer_for_longer_waits() {
        assert_eq!([0, 10, 45, 90, 86_400].map(refresh_after_seconds), [1, 1, 4, 9, 60]);
    }
}
