//! Builds a view while its event is being sold.
//!
//! A snapshot of everything at once would block Redis, so the lists are read in pages, which belong to no
//! single instant and are corrected by the log:
//!
//! 1. The tail starts to buffer the event's entries. Its position is L0.
//! 2. Bookings and then holders are read, page by page, each at some instant after L0.
//! 3. The bytes are read with the position of the log's newest entry, L2, in one step (`snapshot`).
//! 4. When the tail has reached L2, the buffered entries up to there are folded over the pages; the
//!    result must equal the bytes.
//! 5. The view applies the buffered entries after L2, and then the tail's, as they arrive.
//!
//! *Why 4 is exact.* What was not written between L0 and L2 was read as it is. What was written has its
//! entries in the buffer, and folding them ends with the last, whatever a page contained: a `hold` names
//! the new holder, an end frees those seats that its booking has. (`restored` takes seats only for a
//! booking that was not there: if its list already contains it, the later one has its seats.) A scan
//! returns every element that was present all along.
//!
//! *Interleavings.* The tail is behind L2: the build waits for it, since entries that it has not
//! delivered yet may be younger than the pages. It does not reach L2 in time: the build fails. The tail
//! loses its position: the buffer is void, and the build fails. The event is unloaded, or continues in
//! another generation: step 4 or 5 fails. A failed build is repeated while the view is requested.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Entry, EventId, EventStatus, Kind, LogId, SeatId, SeatState};
use crate::redis::{Cursor, Detail, EventSnapshot};

use super::entry_buffer::BuildError;
use super::fold::{Fold, LiveBooking};
use super::hashes::HOUSE;
use super::inner::Inner;
use super::slot::Slot;
use super::view::{View, ViewInit};

/// How long a build waits for the tail.
const TAIL_WAIT: Duration = Duration::from_secs(5);
/// Interval of the checks of its position.
const TAIL_STEP: Duration = Duration::from_millis(2);

/// Builds a slot's view.
pub(super) async fn build(inner: &Inner, slot: &Arc<Slot>) -> Result<(), BuildError> {
    let event = slot.event();
    let _buffer = inner.start_buffer(event)?;
    let lists = Lists::read(inner, event).await?;
    let snapshot = inner.engine.snapshot(event, Detail::Seats).await?;
    let snapshot = snapshot.filter(|snapshot| snapshot.open).ok_or(BuildError::NotLoaded)?;
    let at = snapshot.link.as_ref().map_or(LogId::default(), |link| link.0);
    let reached = async {
        while !inner.has_read(event, at)? {
            tokio::time::sleep(TAIL_STEP).await;
        }
        Ok(())
    };
    tokio::time::timeout(TAIL_WAIT, reached).await.unwrap_or(Err(BuildError::TailBehind))?;
    let buffered = inner.take_buffered(event)?;
    let view = begin(inner, event, lists, snapshot, &buffered)?;
    // Under the tail's lock: no entry arrives between the last buffered one and the view's first.
    inner.install(slot, view)
}

/// The contents of the pages.
struct Lists {
    holders: Vec<(SeatId, u64)>,
    bookings: Vec<(u64, LiveBooking)>,
}

impl Lists {
    async fn read(inner: &Inner, event: EventId) -> Result<Self, BuildError> {
        let (mut holders, mut bookings) = (Vec::new(), Vec::new());
        let mut next = Some(Cursor::default());
        while let Some(cursor) = next {
            let page = inner.engine.bookings_page(event, cursor).await?;
            for (id, booking) in page.items {
                let booking = booking.map_err(|e| BuildError::Unreadable(format!("{id}: {e}")))?;
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
                let unreadable = || BuildError::Unreadable(format!("booking {booking:?}"));
                let booking = booking.parse().map_err(|_| unreadable())?;
                holders.push((seat, inner.hashes.booking(booking)));
            }
            next = page.next;
        }
        Ok(Lists { holders, bookings })
    }
}

/// The view at the snapshot's position in the log, and then at the newest buffered entry.
fn begin(
    inner: &Inner,
    event: EventId,
    lists: Lists,
    snapshot: EventSnapshot,
    buffered: &[Entry],
) -> Result<View, BuildError> {
    let unreadable = |what: &str| BuildError::Unreadable(format!("the event's {what}"));
    let inventory = snapshot.inventory.ok_or_else(|| unreadable("inventory"))?;
    let (at, tag) = snapshot.link.unwrap_or_default();
    let mut fold = Fold::new(inventory.seats());
    lists.bookings.into_iter().for_each(|(id, live)| fold.set_booking(id, Some(live)));
    lists.holders.into_iter().for_each(|(seat, holder)| fold.set_holder(seat, holder));
    for entry in buffered.iter().take_while(|entry| entry.id <= at) {
        if matches!(entry.kind, Kind::Opened | Kind::Unloaded) {
            return Err(BuildError::Reopened);
        }
        if entry.id == at && entry.link.tag != tag {
            return Err(BuildError::TailLost);
        }
        fold.apply(entry, &inner.hashes);
    }
    for seat in (1..=inventory.seats()).map(SeatId) {
        let state = inventory.state(seat);
        // Only the bytes show which seats were blocked before the buffered entries.
        match (state, fold.state(seat)) {
            (Some(SeatState::Blocked), Some(SeatState::Available)) => fold.set_holder(seat, HOUSE),
            (Some(state), Some(folded)) if state == folded => {}
            _ => return Err(BuildError::Differs(seat)),
        }
    }
    let view = View::new(ViewInit {
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
    for entry in buffered {
        view.apply(entry, &inner.hashes).map_err(|_| BuildError::Reopened)?;
    }
    Ok(view)
}
