//! One event's state in this process, at the version that its tail has reached.
//!
//! Only the tail *writes* it, entry by entry. Requests *read* it without a lock: each seat is a sequence
//! lock, and a read during a write returns nothing about the seat, which refuses no request. Reads of
//! several seats are checked in the same way, by the view's own sequence number
//! ([`View::read_consistent`]). What needs all seats (a copy of the bytes, the changes since a version)
//! is read under the writer's lock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use crate::domain::{Entry, EventId, EventStatus, Inventory, Kind, LogId, SeatId, SeatState};

use super::changes::{ChangeHistory, Changes};
use super::fold::Fold;
use super::hashes::{Hashes, Holder};
pub use super::seat_cell::Seat;
use super::seat_cell::SeatCell;

/// Seats per block; each block counts its free seats, for counts over a range.
const BLOCK_SEATS: usize = 1_024;
/// Shards of the table of users, each with its own lock.
const USER_SHARDS: usize = 64;
/// No deadline.
const NEVER: i64 = i64::MAX;

/// One event in one generation.
pub struct View {
    event: EventId,
    generation: u64,
    version: AtomicU64,
    /// Odd while an entry is applied.
    sequence: AtomicU32,
    status: AtomicU8,
    on_sale_at_ms: AtomicI64,
    off_sale_at_ms: AtomicI64,
    /// The version of the last change of the sale's state; 0: not since the view was built.
    status_version: AtomicU64,
    next_deadline_ms: AtomicI64,
    available: AtomicU32,
    has_displaced: AtomicBool,
    /// Free seats per block of [`BLOCK_SEATS`] seats.
    free: Box<[AtomicU32]>,
    cells: Box<[SeatCell]>,
    users: Box<[RwLock<HashMap<Holder, u32>>]>,
    writer: Mutex<Writer>,
}

/// The tail's own state.
struct Writer {
    fold: Fold,
    history: ChangeHistory,
    /// The position of the last entry applied.
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
    /// When the version was created, by Redis' clock, Unix ms.
    pub time_ms: i64,
}

/// The initial state of a view.
pub(super) struct ViewInit {
    pub event: EventId,
    pub generation: u64,
    pub version: u64,
    pub now_ms: i64,
    pub status: EventStatus,
    pub on_sale_at_ms: i64,
    pub off_sale_at_ms: i64,
    pub inventory: Inventory,
    pub fold: Fold,
    /// The position of the log's newest entry at that moment.
    pub at: LogId,
}

/// Why an entry ends a view: a new view has to be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ViewEnd {
    /// The event was loaded again, has another generation, or was unloaded.
    Reopened,
    /// A version is missing.
    Gap,
}

impl ViewEnd {
    /// The label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            ViewEnd::Reopened => "reopened",
            ViewEnd::Gap => "gap",
        }
    }
}

impl View {
    pub(super) fn new(init: ViewInit) -> Self {
        let ViewInit { inventory, fold, .. } = init;
        let seats = inventory.seats() as usize;
        let cells = inventory.as_bytes()[1..].iter().map(|byte| SeatCell::new(*byte)).collect();
        let view = View {
            event: init.event,
            generation: init.generation,
            version: AtomicU64::new(init.version),
            sequence: AtomicU32::new(0),
            status: AtomicU8::new(init.status as u8),
            on_sale_at_ms: AtomicI64::new(init.on_sale_at_ms),
            off_sale_at_ms: AtomicI64::new(init.off_sale_at_ms),
            status_version: AtomicU64::new(0),
            next_deadline_ms: AtomicI64::new(fold.next_deadline_ms().unwrap_or(NEVER)),
            available: AtomicU32::new(inventory.totals().available),
            has_displaced: AtomicBool::new(fold.has_displaced()),
            free: (0..seats.div_ceil(BLOCK_SEATS)).map(|_| AtomicU32::default()).collect(),
            cells,
            users: (0..USER_SHARDS).map(|_| RwLock::default()).collect(),
            writer: Mutex::new(Writer {
                history: ChangeHistory::new(init.version, init.now_ms),
                applied_to: init.at,
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
            view.set_user_seats(user, seats);
        }
        drop(writer);
        view
    }

    /// The event.
    pub fn event(&self) -> EventId {
        self.event
    }

    /// The generation; another generation gets another view.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The version that the tail has reached.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The number of seats.
    pub fn seats(&self) -> u32 {
        self.cells.len() as u32
    }

    /// The number of free seats. Expired holds that were not released yet do not count as free.
    pub fn available(&self) -> u32 {
        self.available.load(Ordering::Relaxed)
    }

    /// The earliest deadline of a hold, Unix ms.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        Some(self.next_deadline_ms.load(Ordering::Relaxed)).filter(|at_ms| *at_ms != NEVER)
    }

    /// The status that operators set, and when the sale begins (Unix ms; 0: at once).
    pub fn status(&self) -> (EventStatus, i64) {
        let status = match self.status.load(Ordering::Relaxed) {
            0 => EventStatus::OnSale,
            1 => EventStatus::Paused,
            _ => EventStatus::Closed,
        };
        (status, self.on_sale_at_ms.load(Ordering::Relaxed))
    }

    /// The version in which the sale's state changed last; 0 if it has not since the view was built. Who has
    /// an older version of this view does not know the state.
    pub fn status_version(&self) -> u64 {
        self.status_version.load(Ordering::Relaxed)
    }

    /// When the sale ends, Unix ms; `None`: never.
    pub fn off_sale_at_ms(&self) -> Option<i64> {
        Some(self.off_sale_at_ms.load(Ordering::Relaxed)).filter(|at_ms| *at_ms > 0)
    }

    /// One seat, without a lock; `None` during a write, or if there is no such seat.
    pub fn seat(&self, seat: SeatId) -> Option<Seat> {
        self.cells.get((seat.0 as usize).checked_sub(1)?)?.read()
    }

    /// The result of `read` if it saw a single version; `None` if an entry was applied in the meantime.
    pub fn read_consistent<T>(&self, read: impl FnOnce() -> T) -> Option<T> {
        let sequence = self.sequence.load(Ordering::Acquire);
        let value = read();
        fence(Ordering::Acquire);
        let is_consistent =
            sequence.is_multiple_of(2) && self.sequence.load(Ordering::Relaxed) == sequence;
        is_consistent.then_some(value)
    }

    /// The number of free seats from `first` to `last`.
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
                let is_free = |cell: &&SeatCell| cell.state() == Some(SeatState::Available);
                free += cells.iter().filter(is_free).count() as u32;
            }
            index = block_end;
        }
        free
    }

    /// The number of seats that a user's bookings name.
    pub fn seats_of(&self, user: Holder) -> u32 {
        let shard = self.user_shard(user).read().unwrap_or_else(PoisonError::into_inner);
        shard.get(&user).copied().unwrap_or_default()
    }

    /// Whether a live booking lacks one of its seats because the archive gave it to another sale.
    pub fn has_displaced(&self) -> bool {
        self.has_displaced.load(Ordering::Relaxed)
    }

    /// The number of bookings that hold seats and are not sold.
    pub fn open_holds(&self) -> u64 {
        self.writer().fold.open_holds()
    }

    /// All seats at one version.
    pub fn snapshot(&self) -> Snapshot {
        let writer = self.writer();
        Snapshot {
            generation: self.generation,
            version: self.version(),
            inventory: Inventory::of_known(self.cells.iter().map(|cell| cell.byte())),
            time_ms: writer.history.time_ms(),
        }
    }

    /// The changes after a version; `None` if they are no longer kept, or the version is in the future.
    pub fn changes_since(&self, version: u64) -> Option<Changes> {
        self.writer().history.since(version)
    }

    /// Applies one entry of this event.
    ///
    /// # Errors
    /// If the entry does not continue the view; the view is unchanged.
    pub(super) fn apply(&self, entry: &Entry, hashes: &Hashes) -> Result<(), ViewEnd> {
        let mut writer = self.writer();
        if entry.id <= writer.applied_to {
            return Ok(());
        }
        if entry.generation != self.generation {
            return Err(ViewEnd::Reopened);
        }
        let version = self.version.load(Ordering::Relaxed) + 1;
        if entry.event_version != version {
            return Err(ViewEnd::Gap);
        }
        if matches!(entry.kind, Kind::Opened | Kind::Unloaded) {
            return Err(ViewEnd::Reopened);
        }
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        if entry.kind == Kind::Event {
            self.set_status(&entry.detail);
            self.status_version.store(version, Ordering::Relaxed);
        }
        let effect = writer.fold.apply(entry, hashes);
        // Before the seats: a reader that sees a seat taken by another booking sees this, too.
        self.has_displaced.store(writer.fold.has_displaced(), Ordering::Relaxed);
        let mut changed = Vec::with_capacity(effect.seats.len());
        for seat in effect.seats {
            if let Some(state) = self.update_seat(&writer.fold, seat) {
                changed.push((seat, state));
            }
        }
        if let Some(user) = effect.user {
            self.set_user_seats(user, writer.fold.seats_of(user));
        }
        let next = writer.fold.next_deadline_ms().unwrap_or(NEVER);
        self.next_deadline_ms.store(next, Ordering::Relaxed);
        writer.history.push(changed, entry.time_ms);
        writer.applied_to = entry.id;
        self.version.store(version, Ordering::Release);
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
        Ok(())
    }

    /// Publishes a seat's state from the fold; returns the state if it changed.
    fn update_seat(&self, fold: &Fold, seat: SeatId) -> Option<SeatState> {
        let index = (seat.0 as usize).checked_sub(1)?;
        let cell = self.cells.get(index)?;
        // A seat has the state of its live booking; others are free or blocked.
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

    /// An operator's change: `status on_sale_at_ms off_sale_at_ms`. Absent values stay as they are: older
    /// builds write no end of the sale.
    fn set_status(&self, detail: &str) {
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

    fn set_user_seats(&self, user: Holder, seats: u32) {
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
