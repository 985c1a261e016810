//! What the archive has of an event, placed into a load that is not open yet.
//!
//! Promises: a seat is sold there exactly if a sold booking owns the claim on it, and kept back
//! exactly if the ledger says so and nobody bought it. Bookings that ended stay in the archive.
//! Where the archive itself is not of one mind, nothing is opened. Placing is done in bounded
//! calls, each of which may be repeated.

use std::collections::{BTreeSet, HashMap};

use super::SaleError;
use super::unload::state;
use crate::archive::{Archive, ArchivedBooking};
use crate::domain::{Booking, BookingId, Event, EventId, Outcome, SeatId};
use crate::redis::{Code, Engine};

/// Bookings read at once.
const PAGE: u32 = 1_000;
/// Bookings placed by one call: at most ten times as many seats.
const BOOKINGS_PER_CALL: usize = 100;
/// Blocked seats placed by one call.
const BLOCKED_PER_CALL: usize = 2_000;
/// Tries of one call that came too late: Redis' clock was set, or it was slow.
const TRIES_MAX: u32 = 3;

/// What was placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Placed {
    /// Sold bookings.
    pub bookings: u64,
    /// Seats kept back by the house (those sold meanwhile included).
    pub blocked: u64,
}

/// Reads the archive, which must be done after Redis was made `loading`, and places what it has
/// into the load of this token.
pub(super) async fn rebuild(
    engine: &Engine,
    archive: &Archive,
    event: &Event,
    token: &str,
) -> Result<Placed, SaleError> {
    let mut placed = Placed::default();
    let mut after: Option<BookingId> = None;
    loop {
        let page = archive.bookings_of_event(event.id, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.booking.id);
        let sold = sold_of(event.id, page)?;
        for some in sold.chunks(BOOKINGS_PER_CALL) {
            let seats: Vec<SeatId> = some.iter().flat_map(|one| &one.seats).copied().collect();
            let owners = archive.seat_owners(event.id, &seats).await?;
            check_claims(event.id, some, &owners)?;
            place(engine, event, token, some, &[]).await?;
            placed.bookings += some.len() as u64;
        }
    }
    let blocked: BTreeSet<SeatId> = archive.blocked_seats(event.id).await?;
    let blocked: Vec<SeatId> = blocked.into_iter().collect();
    for some in blocked.chunks(BLOCKED_PER_CALL) {
        place(engine, event, token, &[], some).await?;
        placed.blocked += some.len() as u64;
    }
    Ok(placed)
}

/// The sold bookings of a page. One that is neither sold nor over has no place here.
fn sold_of(event: EventId, page: Vec<ArchivedBooking>) -> Result<Vec<Booking>, SaleError> {
    let mut sold = Vec::with_capacity(page.len());
    for ArchivedBooking { booking, outcome, .. } in page {
        match outcome {
            Some(Outcome::Sold) => sold.push(booking),
            None if booking.status.is_live() => {
                let (id, status) = (booking.id, booking.status.word());
                let reason = format!("{id} is {status} in the archive: that asks for more");
                return Err(state(event, &reason));
            }
            _ => {}
        }
    }
    Ok(sold)
}

fn check_claims(
    event: EventId,
    sold: &[Booking],
    owners: &HashMap<SeatId, BookingId>,
) -> Result<(), SaleError> {
    for booking in sold {
        let stray = booking.seats.iter().find(|seat| owners.get(seat) != Some(&booking.id));
        if let Some(seat) = stray {
            let id = booking.id;
            let reason = format!("sold {id} does not own the claim on seat {seat}: see verify");
            return Err(state(event, &reason));
        }
    }
    Ok(())
}

async fn place(
    engine: &Engine,
    event: &Event,
    token: &str,
    sold: &[Booking],
    blocked: &[SeatId],
) -> Result<(), SaleError> {
    for _ in 0..TRIES_MAX {
        let answer = engine.load_bookings(event, token, sold, blocked).await?;
        match answer.code {
            Code::Ok => return Ok(()),
            Code::TooLate => {}
            Code::SeatsLost => {
                let reason = format!("seat {} has two sold bookings: see verify", answer.number(0));
                return Err(state(event.id, &reason));
            }
            // Another load has begun, or Redis has lost this one.
            _ => return Err(state(event.id, "this load is not in Redis any more: load it again")),
        }
    }
    Err(SaleError::Unavailable {
        dependency: "redis",
        reason: "no call of this load came in time".into(),
        unknown: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Status;

    fn booking(random: u64, status: Status, seats: &[u32]) -> Booking {
        Booking {
            id: BookingId::new(EventId(1), 1, random),
            status,
            version: 4,
            user: "ann".parse().unwrap(),
            seats: seats.iter().copied().map(SeatId).collect(),
            amount: 1,
            currency: "EUR".into(),
            created_ms: 1,
            deadline_ms: 2,
            nonce: String::new(),
            lease: 1,
            lease_until_ms: 0,
            payment: String::new(),
            paid_ms: 1,
            confirmed_ms: 1,
            ended_ms: 0,
            idempotency: String::new(),
            fingerprint: String::new(),
            trace: String::new(),
        }
    }

    fn archived(booking: Booking, outcome: Option<Outcome>) -> ArchivedBooking {
        ArchivedBooking { booking, outcome, generation: 1, cancel_unsettled_ms: None }
    }

    #[test]
    fn sold_bookings_come_back_and_ended_ones_stay() {
        let sold = booking(1, Status::Confirmed, &[1]);
        let page = vec![
            archived(sold.clone(), Some(Outcome::Sold)),
            archived(booking(2, Status::Cancelled, &[2]), Some(Outcome::Cancelled)),
            archived(booking(3, Status::Voided, &[3]), Some(Outcome::Refund)),
            archived(booking(4, Status::Expired, &[4]), None),
        ];
        assert_eq!(sold_of(EventId(1), page).unwrap(), [sold]);
        for status in [Status::Hold, Status::Confirming, Status::Committed] {
            let undecided = vec![archived(booking(5, status, &[5]), None)];
            assert!(matches!(sold_of(EventId(1), undecided), Err(SaleError::EventState { .. })));
        }
    }

    #[test]
    fn a_sale_without_its_claims_is_not_opened() {
        let sold = booking(1, Status::Confirmed, &[1, 2]);
        let other = booking(2, Status::Confirmed, &[2]).id;
        let check = |owners: &[(SeatId, BookingId)]| {
            let owners = owners.iter().copied().collect();
            check_claims(EventId(1), std::slice::from_ref(&sold), &owners).is_ok()
        };
        assert!(check(&[(SeatId(1), sold.id), (SeatId(2), sold.id)]));
        assert!(!check(&[(SeatId(1), sold.id)]));
        assert!(!check(&[(SeatId(1), sold.id), (SeatId(2), other)]));
    }
}
