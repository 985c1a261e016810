//! The waiting room's words and figures: what operators set, what a room's state says, and what
//! those who wait are told of it. Pure: the decisions are made in Redis by the `room_*` scripts.
//!
//! A *number* is what joining gave; it is in the token. A *place* is where its owner stands: the
//! number itself, or what the draw made of it. *Served* is the highest place that may claim a
//! session.

mod change;

use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use change::RoomChange;

const MINUTE_MS: u64 = 60_000;

/// Most sessions of one room.
pub const CONCURRENT_MAX: u32 = 1_000_000;
/// Longest session and longest claim window, ms: a day, an hour.
pub const SESSION_MS_MAX: u64 = 24 * 60 * MINUTE_MS;
/// See [`SESSION_MS_MAX`].
pub const CLAIM_MS_MAX: u64 = 60 * MINUTE_MS;
/// Shortest session and claim window, ms: shorter ones would end before an answer comes.
pub const SPAN_MS_MIN: u64 = 100;

/// What a room that is on does with those who come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// First come, first served.
    #[default]
    Fifo,
    /// Lets everybody through, and counts.
    Passthrough,
    /// Lets nobody in.
    Reject,
}

impl Method {
    /// The word in settings, answers and Redis.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Fifo => "fifo",
            Method::Passthrough => "passthrough",
            Method::Reject => "reject",
        }
    }
}

impl FromStr for Method {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        let all = [Method::Fifo, Method::Passthrough, Method::Reject];
        all.into_iter().find(|method| method.as_str() == word).ok_or(())
    }
}

/// When a room switches itself on and off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Surge {
    /// Whether it does at all.
    pub automatic: bool,
    /// Hold attempts a second, over all processes, that switch it on …
    pub on_per_second: u32,
    /// … once they last this long, ms.
    pub on_after_ms: u64,
    /// It goes off once nobody waits and attempts stay below this …
    pub off_per_second: u32,
    /// … for so long, ms.
    pub off_after_ms: u64,
}

impl Default for Surge {
    fn default() -> Self {
        Surge {
            automatic: false,
            on_per_second: 1_000,
            on_after_ms: 3_000,
            off_per_second: 250,
            off_after_ms: MINUTE_MS,
        }
    }
}

/// What operators set for one event's room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoomSettings {
    /// Whether it was switched on by hand.
    pub on: bool,
    /// What it does while it is on.
    pub method: Method,
    /// Most sessions and open places at a time.
    pub max_concurrent: u32,
    /// Most places opened in any minute; 0: as many as come free.
    pub per_minute: u32,
    /// How long a session lasts, ms.
    pub session_ms: u64,
    /// How long one lasts with renewals, ms.
    pub session_cap_ms: u64,
    /// Whether using a session renews it.
    pub renews: bool,
    /// How long a served place may be claimed, ms.
    pub claim_ms: u64,
    /// Whether those who join before the sale begins are shuffled when it does.
    pub shuffle: bool,
    /// When it switches itself on and off.
    pub surge: Surge,
}

impl Default for RoomSettings {
    fn default() -> Self {
        RoomSettings {
            on: false,
            method: Method::Fifo,
            max_concurrent: 1_000,
            per_minute: 0,
            session_ms: 5 * MINUTE_MS,
            session_cap_ms: 20 * MINUTE_MS,
            renews: false,
            claim_ms: MINUTE_MS / 2,
            shuffle: false,
            surge: Surge::default(),
        }
    }
}

impl RoomSettings {
    /// # Errors
    /// What cannot be, and how to mend it.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                return Ok(());
            }
            Err(format!("{name} is {value}; it can be {min} to {max}"))
        };
        within("max_concurrent", self.max_concurrent.into(), 1, CONCURRENT_MAX.into())?;
        within("session_ms", self.session_ms, SPAN_MS_MIN, SESSION_MS_MAX)?;
        within("claim_ms", self.claim_ms, SPAN_MS_MIN, CLAIM_MS_MAX)?;
        if self.session_cap_ms < self.session_ms || self.session_cap_ms > SESSION_MS_MAX {
            return Err(format!(
                "session_cap_ms is {}; it can be session_ms ({}) to {SESSION_MS_MAX}",
                self.session_cap_ms, self.session_ms
            ));
        }
        let Surge { automatic, on_per_second, off_per_second, .. } = self.surge;
        if automatic && (on_per_second == 0 || off_per_second > on_per_second) {
            return Err(format!(
                "a room that goes on at {on_per_second} holds a second and off below \
                 {off_per_second} would not know what to do: on must be at least 1, off at most that"
            ));
        }
        Ok(())
    }
}

/// How far the draw of a room is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrawState {
    /// There is none: the first to join is the first served.
    None,
    /// People gather; nobody is served.
    Gathering,
    /// Who is in the draw is known; the archive has yet to record it.
    Frozen,
    /// It took effect.
    Fixed,
}

impl DrawState {
    /// The word in Redis.
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

/// The highest number given and the highest place served that a process knows of. Redis may
/// forget; whoever speaks to it tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    /// Highest number given.
    pub joined: u64,
    /// Highest place served.
    pub served: u64,
}

impl Floors {
    /// The higher of each.
    pub fn max(self, other: Floors) -> Floors {
        Floors { joined: self.joined.max(other.joined), served: self.served.max(other.served) }
    }
}

/// How long after it was raised the served place counts, for positions and for claims, ms. By then
/// every process knows it ([`RoomState::settles_after_ms`] bounds the age of what they answer
/// from): so whichever process is asked, a position does not rise, and whoever is admitted by one
/// is not told to wait by another.
const SETTLES_AFTER_MS: u64 = 1_000;
/// The same as a part of the claim window: a short one is not to pass meanwhile.
const SETTLES_AFTER_PART: u64 = 2;

/// A batch that was opened lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct YoungBatch {
    /// When, by Redis' time, Unix ms.
    pub opened_ms: i64,
    /// Its first place.
    pub first: u64,
}

/// How a room stands, as `room_look` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomState {
    /// Redis' time of this, Unix ms.
    pub at_ms: i64,
    /// Revision of the settings that Redis goes by; 0: none.
    pub revision: u64,
    /// What it does; `None` while it is off.
    pub method: Option<Method>,
    /// Whether it switched itself on.
    pub by_surge: bool,
    /// What is known of numbers and places.
    pub floors: Floors,
    /// How far its draw is.
    pub draw: DrawState,
    /// How many are in the draw, once that is known.
    pub draw_joined: u64,
    /// Live sessions.
    pub live: u32,
    /// Places that were served and are neither claimed nor lapsed.
    pub unclaimed: u32,
    /// People who claim first from the next batch.
    pub owed: u32,
    /// Numbers whose owners left before they were served.
    pub left_waiting: u64,
    /// How many owners of numbers ever left.
    pub left_total: u64,
    /// The newest of them whom the asker did not know of.
    pub leavers: Vec<u64>,
    /// Batches that were opened lately, the oldest first.
    pub young_batches: Vec<YoungBatch>,
    /// Seats that are free.
    pub seats_free: u32,
    /// Whether every seat is sold or kept back, none held.
    pub is_sold_out: bool,
    /// Most sessions and open places at a time.
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
    /// The state of a room that nobody wants anything of.
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

    /// How many wait, those included who may claim and have not.
    pub fn queue_size(&self) -> u64 {
        let waiting = self.floors.joined.saturating_sub(self.floors.served);
        waiting.saturating_sub(self.left_waiting) + u64::from(self.unclaimed) + u64::from(self.owed)
    }

    /// How long after it was raised the served place counts, ms. INVARIANT: who answers from a state
    /// of this age or older looks again first.
    pub fn settles_after_ms(&self) -> u64 {
        match self.claim_ms {
            0 => SETTLES_AFTER_MS,
            claim_ms => SETTLES_AFTER_MS.min(claim_ms / SETTLES_AFTER_PART),
        }
    }

    /// The served place that counts at `now_ms`, Redis' time: the one of a moment ago.
    pub fn settled_served(&self, now_ms: i64) -> u64 {
        let moment = now_ms.saturating_sub_unsigned(self.settles_after_ms());
        let newer = self.young_batches.iter().find(|batch| batch.opened_ms > moment);
        newer.map_or(self.floors.served, |batch| batch.first - 1)
    }

    /// How many more could be let in now.
    pub fn slots_available(&self) -> u32 {
        self.max_concurrent.saturating_sub(self.live + self.unclaimed)
    }
}

/// Longest pause between two polls that is asked for, seconds.
pub const REFRESH_SECONDS_MAX: u64 = 60;
/// Shortest one.
pub const REFRESH_SECONDS_MIN: u64 = 1;
/// A poll is due after this part of the wait that is left.
const REFRESH_PART: u64 = 10;

/// How long somebody at a position waits, seconds: by the places served a second as measured, or,
/// while none were, by what the room could serve if each session lasts its time.
pub fn estimated_wait_seconds(position: u64, served_per_second: f64, state: &RoomState) -> u64 {
    let full_rate = f64::from(state.max_concurrent) * 1_000.0 / state.session_ms.max(1) as f64;
    let rate = if served_per_second > 0.0 { served_per_second } else { full_rate };
    // What is beyond a day is told as a day: no estimate reaches that far.
    (position as f64 / rate).ceil().clamp(0.0, 86_400.0) as u64
}

/// When to ask again: the later, the farther away. To come too late for a claim, the room has to
/// become ten times as fast meanwhile.
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
    fn figures_of_a_room() {
        assert_eq!((state().queue_size(), state().slots_available()), (38, 1));
        let forgot = RoomState { floors: Floors { joined: 3, served: 9 }, ..state() };
        assert_eq!(forgot.queue_size(), 3);
    }

    #[test]
    fn positions_are_told_by_what_every_process_knows() {
        let batch = |opened_ms, first| YoungBatch { opened_ms, first };
        let state = RoomState {
            at_ms: 10_000,
            young_batches: vec![batch(8_000, 21), batch(9_000, 41), batch(9_900, 51)],
            ..state()
        };
        assert_eq!([9_500, 10_000, 10_900].map(|now| state.settled_served(now)), [40, 50, 60]);
        // A short claim window does not pass meanwhile.
        let hasty = RoomState { claim_ms: 400, ..state };
        assert_eq!([9_199, 9_200, 10_100].map(|now| hasty.settled_served(now)), [40, 50, 60]);
    }

    #[test]
    fn waits_are_told_by_what_was_measured() {
        // Ten sessions of 20 s each: one every two seconds.
        assert_eq!(estimated_wait_seconds(30, 0.0, &state()), 60);
        assert_eq!(estimated_wait_seconds(30, 3.0, &state()), 10);
        assert_eq!(estimated_wait_seconds(u64::MAX, 1.0, &state()), 86_400);
        assert_eq!(estimated_wait_seconds(0, 1.0, &state()), 0);
    }

    #[test]
    fn the_farther_the_rarer() {
        assert_eq!([0, 10, 45, 90, 86_400].map(refresh_after_seconds), [1, 1, 4, 9, 60]);
    }

    #[test]
    fn settings_that_cannot_be_are_told() {
        assert_eq!(RoomSettings::default().check(), Ok(()));
        type Change = fn(&mut RoomSettings);
        let wrong: [(&str, Change); 6] = [
            ("max_concurrent", |room| room.max_concurrent = 0),
            ("max_concurrent", |room| room.max_concurrent = CONCURRENT_MAX + 1),
            ("session_ms", |room| room.session_ms = 99),
            ("claim_ms", |room| room.claim_ms = CLAIM_MS_MAX + 1),
            ("session_cap_ms", |room| room.session_cap_ms = room.session_ms - 1),
            ("off at most", |room| {
                room.surge = Surge { automatic: true, off_per_second: 2_000, ..room.surge };
            }),
        ];
        for (word, change) in wrong {
            let mut settings = RoomSettings::default();
            change(&mut settings);
            assert!(settings.check().unwrap_err().contains(word), "{word}");
        }
    }
}
