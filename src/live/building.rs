//! Building a view while its event goes on being sold.
//!
//! A snapshot of everything at once would hold Redis up, so the lists are read in pages, which are
//! of no single instant, and put right by the log:
//!
//! 1. From now on the tail keeps this event's entries for us. Its place is L0.
//! 2. Bookings and then holders are read, page by page, each at some instant after L0.
//! 3. The bytes are read with the place of the log's newest entry, L2, in one step (`snapshot`).
//! 4. When the tail has come to L2, the kept entries up to there are folded over the pages; the
//!    bytes must be what comes out.
//! 5. The view takes the kept entries after L2, and then the tail's, as they come.
//!
//! *Why 4 is exact.* What was not written between L0 and L2 was read as it is. What was written has
//! its entries among the kept ones, and folding them ends with the last, whatever a page said: a
//! `hold` says who has the seats, an end frees those that its booking has. (`restored` takes seats only
//! for a booking that was not there: where its list already has it, the later one has its seats.) A
//! scan gives every element that was there all along.
//!
//! *Interleavings.* The tail is behind L2: it is waited for, since what it has not brought yet may
//! be younger than the pages. It does not come: the building fails. The tail loses its place meanwhile: what it kept is void, and the building fails.
//! The event is unloaded, or goes on under another generation: step 4 or 5 fails. A failed building
//! is begun anew, if anybody still wants the view.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Entry, EventId, EventStatus, Kind, LogId, SeatId, SeatState};
use crate::redis::{Cursor, Detail, EventSnapshot, RedisError};

use super::Inner;
use super::fold::{Fold, HOUSE, LiveBooking};
use super::slot::Slot;
use super::view::{Beginning, View};

/// Entries of one event that are kept while its view is built.
const KEPT_MAX: usize = 100_000;
/// How long the tail is waited for.
const TAIL_WAIT: Duration = Duration::from_secs(5);
/// Pause between looks at it.
const TAIL_STEP: Duration = Duration::from_millis(2);

/// Why a view was not built.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// Redis did not answer.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The tail has no place, or lost it.
    #[error("the tail lost its place")]
    Lost,
    /// The tail did not come to the snapshot's place.
    #[error("the tail is behind")]
    Behind,
    /// Redis does not have the event, or it is being loaded.
    #[error("the event is not loaded")]
    NotLoaded,
    /// The event changed in a way that begins a new view.
    #[error("the event was opened anew")]
    Reopened,
    /// A record, or the event's facts, cannot be read.
    #[error("{0} cannot be read")]
    Unreadable(String),
    /// Bytes and lists disagree about a seat.
    #[error("seat {0} is not what its booking says")]
    Differs(SeatId),
}

/// What the tail keeps for a building.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    entries: Vec<Entry>,
    is_void: bool,
}

impl Keeping {
    pub fn keep(&mut self, entry: &Entry) {
        if self.entries.len() < KEPT_MAX {
            self.entries.push(entry.clone());
        } else {
            self.is_void = true;
        }
    }

    pub fn is_void(&self) -> bool {
        self.is_void
    }

    pub fn void(&mut self) {
        self.is_void = true;
        self.entries = Vec::new();
    }
}

/// Builds a slot's view.
pub(super) async fn build(inner: &Inner, slot: &Arc<Slot>) -> Result<(), Fault> {
    let event = slot.event();
    let _kept = inner.keep(event)?;
    let lists = Lists::read(inner, event).await?;
    let snapshot = inner.engine.snapshot(event, Detail::Seats).await?;
    let snapshot = snapshot.filter(|snapshot| snapshot.open).ok_or(Fault::NotLoaded)?;
    let at = snapshot.link.as_ref().map_or(LogId::default(), |link| link.0);
    let came = async {
        while !inner.has_read(event, at)? {
            tokio::time::sleep(TAIL_STEP).await;
        }
        Ok(())
    };
    tokio::time::timeout(TAIL_WAIT, came).await.unwrap_or(Err(Fault::Behind))?;
    let so_far = inner.take_kept(event)?;
    let view = begin(inner, event, lists, snapshot, &so_far)?;
    // Under the tail's lock: no entry comes between the last kept one and the view's first.
    inner.install(slot, view)
}

/// What the pages said.
struct Lists {
    holders: Vec<(SeatId, u64)>,
    bookings: Vec<(u64, LiveBooking)>,
}

impl Lists {
    async fn read(inner: &Inner, event: EventId) -> Result<Self, Fault> {
        let (mut holders, mut bookings) = (Vec::new(), Vec::new());
        let mut next = Some(Cursor::default());
        while let Some(cursor) = next {
            let page = inner.engine.bookings_page(event, cursor).await?;
            for (id, booking) in page.items {
                let booking = booking.map_err(|e| Fault::Unreadable(format!("{id}: {e}")))?;
                let user = inner.hashes.user(&booking.user);
                let seats = booking.seats.len();
                let live = LiveBooking::of(booking.status, user, seats, booking.deadline_ms);
                if let Some(live) = live {
                    bookings.push((inner.hashes.booking(booking.id), live));
                }
            }
            next = page.next;
        }
        let mut next = Some(Cursor::default());
        while let Some(cursor) = next {
            let page = inner.engine.holders_page(event, cursor).await?;
            for (seat, booking) in page.items {
                let unreadable = || Fault::Unreadable(format!("booking {booking:?}"));
                let booking = booking.parse().map_err(|_| unreadable())?;
                holders.push((seat, inner.hashes.booking(booking)));
            }
            next = page.next;
        }
        Ok(Lists { holders, bookings })
    }
}

/// The view at the snapshot's place in the log, and then at the newest kept entry's.
fn begin(
    inner: &Inner,
    event: EventId,
    lists: Lists,
    snapshot: EventSnapshot,
    kept: &[Entry],
) -> Result<View, Fault> {
    let unreadable = |what: &str| Fault::Unreadable(format!("the event's {what}"));
    let inventory = snapshot.inventory.ok_or_else(|| unreadable("inventory"))?;
    let (at, tag) = snapshot.link.unwrap_or_default();
    let mut fold = Fold::new(inventory.seats());
    lists.bookings.into_iter().for_each(|(id, live)| fold.set_booking(id, Some(live)));
    lists.holders.into_iter().for_each(|(seat, holder)| fold.set_holder(seat, holder));
    for entry in kept.iter().take_while(|entry| entry.id <= at) {
        if matches!(entry.kind, Kind::Opened | Kind::Unloaded) {
            return Err(Fault::Reopened);
        }
        if entry.id == at && entry.link.tag != tag {
            return Err(Fault::Lost);
        }
        fold.learn(entry, &inner.hashes);
    }
    for seat in (1..=inventory.seats()).map(SeatId) {
        let state = inventory.state(seat);
        // Only the bytes know what the house had kept back before.
        match (state, fold.state(seat)) {
            (Some(SeatState::Blocked), Some(SeatState::Available)) => fold.set_holder(seat, HOUSE),
            (Some(state), Some(folded)) if state == folded => {}
            _ => return Err(Fault::Differs(seat)),
        }
    }
    let view = View::new(Beginning {
        event,
        generation: snapshot.generation,
        version: snapshot.version,
        now_ms: snapshot.now_ms,
        status: EventStatus::parse(&snapshot.status).ok_or_else(|| unreadable("status"))?,
        on_sale_at_ms: snapshot.on_sale_at_ms,
        off_sale_at_ms: snapshot.off_sale_at_ms,
        inventory,
        fold,
        at,
    });
    for entry in kept {
        view.apply(entry, &inner.hashes).map_err(|_| Fault::Reopened)?;
    }
    Ok(view)
}

impl Keeping {
    /// What was kept so far, which is handed on once.
    pub fn take(&mut self) -> Result<Vec<Entry>, Fault> {
        if self.is_void {
            return Err(Fault::Lost);
        }
        Ok(std::mem::take(&mut self.entries))
    }
}
