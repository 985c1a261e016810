//! What Redis has of a waiting room, in plain collections.

use std::collections::{BTreeMap, BTreeSet};

use holdfast::domain::{DrawState, Floors, RoomSettings, RoomState, YoungBatch};

/// Batches that a look tells of: those opened within this time.
const YOUNG_MS: i64 = 5_000;

/// What became of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Waits,
    Became { cap_ms: i64 },
    GivenUp,
}

#[derive(Clone, Debug)]
pub struct Batch {
    pub first: u64,
    pub last: u64,
    pub opened_ms: i64,
    pub until_ms: i64,
    pub unclaimed: u64,
    pub opened: u64,
}

/// Whose place it is, as a token tells.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    pub user: &'a str,
    pub number: u64,
    pub place: u64,
    pub issued_ms: i64,
}

/// The event's seats.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hall {
    pub free: u64,
    pub held: u64,
}

/// All that Redis has of a room.
#[derive(Clone, Debug)]
pub struct Books {
    pub now_ms: i64,
    pub revision: u64,
    pub settings: RoomSettings,
    pub draw: DrawState,
    pub draw_joined: u64,
    pub joined: u64,
    pub served: u64,
    pub books_from: u64,
    pub fates: BTreeMap<String, (u64, Fate)>,
    pub sessions: BTreeMap<String, i64>,
    pub batches: Vec<Batch>,
    /// By number, then by the token's second.
    pub owed: BTreeSet<(u64, i64, String)>,
    /// So many of those who are owed one may claim …
    pub late: usize,
    /// … until then.
    pub late_until_ms: i64,
    /// Number → place.
    pub left: BTreeMap<u64, u64>,
    pub leavers: Vec<u64>,
}

impl Books {
    pub fn new(now_ms: i64) -> Self {
        Books {
            now_ms,
            revision: 0,
            settings: RoomSettings::default(),
            draw: DrawState::None,
            draw_joined: 0,
            joined: 0,
            served: 0,
            books_from: 1,
            fates: BTreeMap::new(),
            sessions: BTreeMap::new(),
            batches: Vec::new(),
            owed: BTreeSet::new(),
            late: 0,
            late_until_ms: 0,
            left: BTreeMap::new(),
            leavers: Vec::new(),
        }
    }

    pub fn floors(&self) -> Floors {
        Floors { joined: self.joined, served: self.served }
    }

    pub fn session_end(&self, user: &str) -> Option<i64> {
        self.sessions.get(user).copied().filter(|ends_ms| *ends_ms > self.now_ms)
    }

    pub fn open_batch(&mut self, place: u64) -> Option<&mut Batch> {
        let now_ms = self.now_ms;
        self.batches.iter_mut().find(|b| (b.first..=b.last).contains(&place) && now_ms < b.until_ms)
    }

    pub fn is_drawing(&self) -> bool {
        matches!(self.draw, DrawState::Gathering | DrawState::Frozen)
    }

    pub fn live(&self) -> u64 {
        self.sessions.values().filter(|ends_ms| **ends_ms > self.now_ms).count() as u64
    }

    pub fn unclaimed(&self) -> u64 {
        let open = self.batches.iter().filter(|batch| self.now_ms < batch.until_ms);
        let late = if self.now_ms < self.late_until_ms { self.late as u64 } else { 0 };
        open.map(|batch| batch.unclaimed).sum::<u64>() + late
    }

    pub fn rank(&self, user: &str) -> Option<usize> {
        self.owed.iter().position(|entry| entry.2 == user)
    }

    pub fn state(&self, hall: Hall, known_left: u64) -> RoomState {
        let new = self.leavers.len() - self.leavers.len().min(known_left as usize);
        let young = self.batches.iter().filter(|batch| self.now_ms - batch.opened_ms <= YOUNG_MS);
        let young = young.map(|b| YoungBatch { opened_ms: b.opened_ms, first: b.first });
        RoomState {
            young_batches: young.collect(),
            at_ms: self.now_ms,
            revision: self.revision,
            method: self.settings.on.then_some(self.settings.method),
            by_surge: false,
            floors: self.floors(),
            draw: self.draw,
            draw_joined: self.draw_joined,
            live: self.live() as u32,
            unclaimed: self.unclaimed() as u32,
            owed: self.owed.len() as u32,
            left_waiting: self.left.len() as u64,
            left_total: self.leavers.len() as u64,
            leavers: self.leavers[self.leavers.len() - new..].to_vec(),
            seats_free: hall.free as u32,
            is_sold_out: hall.free == 0 && hall.held == 0,
            max_concurrent: self.settings.max_concurrent,
            session_ms: self.settings.session_ms,
            claim_ms: self.settings.claim_ms,
            on_sale_at_ms: 0,
            is_over: false,
        }
    }
}
