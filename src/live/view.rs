//! One event as this process knows it, at the version that its tail has come to.
//!
//! *Written* by the tail alone, entry by entry. *Read* by requests without a lock: each seat has a
//! turn counter, odd while it is being changed, and a reader who meets a change is told nothing
//! about the seat, which refuses nobody. What is read of several seats is checked in the same way,
//! by the view's own turn ([`View::unchanged`]). What needs the whole (a copy of the bytes, the
//! changes since a version) is read under the writer's lock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use crate::domain::{Entry, EventId, EventStatus, Inventory, Kind, LogId, SeatId, SeatState};

use super::cell::Cell;
pub use super::cell::Seat;
use super::changes::{Changes, Kept};
use super::fold::Fold;
use super::hashes::{Hashes, Holder};

/// Seats whose free ones are counted together, for counts over a range.
const BLOCK_SEATS: usize = 1_024;
/// Parts of the table of users, each with its own lock.
const USER_SHARDS: usize = 64;
/// No deadline.
const NEVER: i64 = i64::MAX;

/// One event at one generation.
pub struct View {
    event: EventId,
    generation: u64,
    version: AtomicU64,
    /// Odd while an entry is taken in.
    turn: AtomicU32,
    status: AtomicU8,
    on_sale_at_ms: AtomicI64,
    off_sale_at_ms: AtomicI64,
    next_deadline_ms: AtomicI64,
    available: AtomicU32,
    has_displaced: AtomicBool,
    /// Free seats of each [`BLOCK_SEATS`] seats.
    free: Box<[AtomicU32]>,
    cells: Box<[Cell]>,
    users: Box<[RwLock<HashMap<Holder, u32>>]>,
    writer: Mutex<Writer>,
}

/// What only the tail writes.
struct Writer {
    fold: Fold,
    kept: Kept,
    /// Entries up to here are in the view.
    applied_to: LogId,
}

/// All seats at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The event's generation.
    pub generation: u64,
    /// The event's version.
    pub version: u64,
    /// Every seat's state.
    pub inventory: Inventory,
    /// When the version came about, by Redis' time, Unix ms.
    pub time_ms: i64,
}

/// What a view begins with.
pub(super) struct Beginning {
    pub event: EventId,
    pub generation: u64,
    pub version: u64,
    pub now_ms: i64,
    pub status: EventStatus,
    pub on_sale_at_ms: i64,
    pub off_sale_at_ms: i64,
    pub inventory: Inventory,
    pub fold: Fold,
    /// The log's newest entry at that moment.
    pub at: LogId,
}

/// Why an entry ends a view: another one has to be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// The event was loaded anew, goes on under another generation, or was taken out.
    Reopened,
    /// A version is missing.
    Gap,
}

impl Ends {
    /// For metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Ends::Reopened => "reopened",
            Ends::Gap => "gap",
        }
    }
}

impl View {
    pub(super) fn new(beginning: Beginning) -> Self {
        let Beginning { inventory, fold, .. } = beginning;
        let seats = inventory.seats() as usize;
        let cells = inventory.as_bytes()[1..].iter().map(|byte| Cell::new(*byte)).collect();
        let view = View {
            event: beginning.event,
            generation: beginning.generation,
            version: AtomicU64::new(beginning.version),
            turn: AtomicU32::new(0),
            status: AtomicU8::new(beginning.status as u8),
            on_sale_at_ms: AtomicI64::new(beginning.on_sale_at_ms),
            off_sale_at_ms: AtomicI64::new(beginning.off_sale_at_ms),
            next_deadline_ms: AtomicI64::new(fold.next_deadline_ms().unwrap_or(NEVER)),
            available: AtomicU32::new(inventory.totals().available),
            has_displaced: AtomicBool::new(fold.has_displaced()),
            free: (0..seats.div_ceil(BLOCK_SEATS)).map(|_| AtomicU32::default()).collect(),
            cells,
            users: (0..USER_SHARDS).map(|_| RwLock::default()).collect(),
            writer: Mutex::new(Writer {
                kept: Kept::new(beginning.version, beginning.now_ms),
                applied_to: beginning.at,
                fold,
            }),
        };
        let writer = view.writer();
        for (index, cell) in view.cells.iter().enumerate() {
            let booking = writer.fold.booking_on(SeatId(index as u32 + 1));
            let (holder, deadline_ms) =
                booking.map_or((Holder::NOBODY, 0), |b| (b.user, b.deadline_ms));
            cell.write(cell.byte(), holder, deadline_ms);
            if cell.state() == Some(SeatState::Available) {
                view.free[index / BLOCK_SEATS].fetch_add(1, Ordering::Relaxed);
            }
        }
        for (user, seats) in writer.fold.users() {
            view.note_user(user, seats);
        }
        drop(writer);
        view
    }

    /// The event.
    pub fn event(&self) -> EventId {
        self.event
    }

    /// The generation of which this is the view: another one gets another view.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The event's version as far as the log was followed.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// How many seats there are.
    pub fn seats(&self) -> u32 {
        self.cells.len() as u32
    }

    /// How many of them are free. Holds that lapsed and were not released yet are not.
    pub fn available(&self) -> u32 {
        self.available.load(Ordering::Relaxed)
    }

    /// The earliest deadline of a hold, Unix ms.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        Some(self.next_deadline_ms.load(Ordering::Relaxed)).filter(|at_ms| *at_ms != NEVER)
    }

    /// What an operator says about the sale, and when it begins (Unix ms; 0: at once).
    pub fn status(&self) -> (EventStatus, i64) {
        let status = match self.status.load(Ordering::Relaxed) {
            0 => EventStatus::OnSale,
            1 => EventStatus::Paused,
            _ => EventStatus::Closed,
        };
        (status, self.on_sale_at_ms.load(Ordering::Relaxed))
    }

    /// When the sale ends, Unix ms; `None`: never.
    pub fn off_sale_at_ms(&self) -> Option<i64> {
        Some(self.off_sale_at_ms.load(Ordering::Relaxed)).filter(|at_ms| *at_ms > 0)
    }

    /// One seat, without a lock; `None` while it is being changed, or if there is no such seat.
    pub fn seat(&self, seat: SeatId) -> Option<Seat> {
        self.cells.get((seat.0 as usize).checked_sub(1)?)?.read()
    }

    /// What is read here, if it is of one version: `None` if an entry was taken in meanwhile.
    pub fn unchanged<T>(&self, read: impl FnOnce() -> T) -> Option<T> {
        let turn = self.turn.load(Ordering::Acquire);
        let told = read();
        fence(Ordering::Acquire);
        let is_whole = turn.is_multiple_of(2) && self.turn.load(Ordering::Relaxed) == turn;
        is_whole.then_some(told)
    }

    /// How many seats from `first` to `last` are free.
    pub fn free_between(&self, first: SeatId, last: SeatId) -> u32 {
        let end = (last.0 as usize).min(self.cells.len());
        let mut index = (first.0 as usize).saturating_sub(1);
        let mut free = 0;
        while index < end {
            let block = index / BLOCK_SEATS;
            let block_end = (block + 1) * BLOCK_SEATS;
            if index.is_multiple_of(BLOCK_SEATS) && block_end <= end {
                free += self.free[block].load(Ordering::Relaxed);
            } else {
                let cells = &self.cells[index..block_end.min(end)];
                let is_free = |cell: &&Cell| cell.state() == Some(SeatState::Available);
                free += cells.iter().filter(is_free).count() as u32;
            }
            index = block_end;
        }
        free
    }

    /// How many seats the bookings of a user name.
    pub fn seats_of(&self, user: Holder) -> u32 {
        let shard = self.user_shard(user).read().unwrap_or_else(PoisonError::into_inner);
        shard.get(&user).copied().unwrap_or_default()
    }

    /// Whether a live booking lacks one of its seats, which the archive gave to another sale.
    pub fn has_displaced(&self) -> bool {
        self.has_displaced.load(Ordering::Relaxed)
    }

    /// All seats at one version.
    pub fn snapshot(&self) -> Snapshot {
        let writer = self.writer();
        Snapshot {
            generation: self.generation,
            version: self.version(),
            inventory: Inventory::of_known(self.cells.iter().map(|cell| cell.byte())),
            time_ms: writer.kept.time_ms(),
        }
    }

    /// What changed after a version; `None` if that is not known any more, or not yet.
    pub fn changes_since(&self, version: u64) -> Option<Changes> {
        self.writer().kept.since(version)
    }

    /// Takes one entry of this event in.
    ///
    /// # Errors
    /// If the view cannot go on from what it has; then it is not changed.
    pub(super) fn apply(&self, entry: &Entry, hashes: &Hashes) -> Result<(), Ends> {
        let mut writer = self.writer();
        if entry.id <= writer.applied_to {
            return Ok(());
        }
        if entry.generation != self.generation {
            return Err(Ends::Reopened);
        }
        let version = self.version.load(Ordering::Relaxed) + 1;
        if entry.event_version != version {
            return Err(Ends::Gap);
        }
        if matches!(entry.kind, Kind::Opened | Kind::Unloaded) {
            return Err(Ends::Reopened);
        }
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        if entry.kind == Kind::Event {
            self.operate(&entry.detail);
        }
        let learnt = writer.fold.learn(entry, hashes);
        // Before its seats: who sees that one is another's sees this, too.
        self.has_displaced.store(writer.fold.has_displaced(), Ordering::Relaxed);
        let mut changed = Vec::with_capacity(learnt.seats.len());
        for seat in learnt.seats {
            if let Some(state) = self.repaint(&writer.fold, seat) {
                changed.push((seat, state));
            }
        }
        if let Some(user) = learnt.user {
            self.note_user(user, writer.fold.seats_of(user));
        }
        let next = writer.fold.next_deadline_ms().unwrap_or(NEVER);
        self.next_deadline_ms.store(next, Ordering::Relaxed);
        writer.kept.push(changed, entry.time_ms);
        writer.applied_to = entry.id;
        self.version.store(version, Ordering::Release);
        self.turn.store(turn.wrapping_add(2), Ordering::Release);
        Ok(())
    }

    /// Shows readers what the fold says of a seat; gives its state if that is another now.
    fn repaint(&self, fold: &Fold, seat: SeatId) -> Option<SeatState> {
        let index = (seat.0 as usize).checked_sub(1)?;
        let cell = self.cells.get(index)?;
        // A live booking's seats have its state, others are free or the house's.
        let state = fold.state(seat)?;
        let before = cell.state();
        let (holder, deadline_ms) = fold
            .booking_on(seat)
            .map_or((Holder::NOBODY, 0), |booking| (booking.user, booking.deadline_ms));
        let begins_row = cell.byte().is_ascii_uppercase();
        cell.write(state.byte(begins_row), holder, deadline_ms);
        if before == Some(state) {
            return None;
        }
        let free = &self.free[index / BLOCK_SEATS];
        if before == Some(SeatState::Available) {
            free.fetch_sub(1, Ordering::Relaxed);
            self.available.fetch_sub(1, Ordering::Relaxed);
        } else if state == SeatState::Available {
            free.fetch_add(1, Ordering::Relaxed);
            self.available.fetch_add(1, Ordering::Relaxed);
        }
        Some(state)
    }

    /// An operator's change: `status on_sale_at_ms off_sale_at_ms`. What is not there stays: a process
    /// of before sales had an end does not change it.
    fn operate(&self, detail: &str) {
        let mut parts = detail.split(' ');
        if let Some(status) = parts.next().and_then(EventStatus::parse) {
            self.status.store(status as u8, Ordering::Relaxed);
        }
        for time in [&self.on_sale_at_ms, &self.off_sale_at_ms] {
            if let Some(at_ms) = parts.next().and_then(|part| part.parse().ok()) {
                time.store(at_ms, Ordering::Relaxed);
            }
        }
    }

    fn note_user(&self, user: Holder, seats: u32) {
        let mut shard = self.user_shard(user).write().unwrap_or_else(PoisonError::into_inner);
        match seats {
            0 => shard.remove(&user),
            seats => shard.insert(user, seats),
        };
    }

    fn user_shard(&self, user: Holder) -> &RwLock<HashMap<Holder, u32>> {
        &self.users[user.0 as usize % USER_SHARDS]
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // Nothing under this lock panics half-way through a change.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
