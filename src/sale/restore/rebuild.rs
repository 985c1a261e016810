//! Rebuilds an event from the archive in a load that is not open yet.
//!
//! A seat is sold in the load exactly if a sold booking owns the claim on it, and blocked exactly if
//! the ledger says so and no booking has it. `undecided` places undecided bookings. Ended bookings stay
//! in the archive only. If the archive contradicts itself, the load is not opened. Placing is done in
//! bounded, idempotent calls.

use std::collections::HashMap;

use super::{BOOKINGS_PER_CALL, PAGE, Restoration, RestoreReport, Target, too_late};
use crate::archive::ArchivedBooking;
use crate::domain::{Booking, BookingId, EventId, Outcome, SeatId};
use crate::redis::LoadBookingsReply;
use crate::sale::SaleError;
use crate::sale::unload::wrong_state;

/// Blocked seats placed by one call.
const BLOCKED_PER_CALL: usize = 2_000;
/// Attempts of one call that came too late: Redis' clock was set, or Redis was slow.
const ATTEMPTS_MAX: u32 = 3;

impl Restoration<'_> {
    /// Reads the archive and places its bookings and blocks into the load with this token. Must be
    /// called after the event is `loading` in Redis.
    pub(super) async fn rebuild(&self, token: &str) -> Result<RestoreReport, SaleError> {
        let mut restored = RestoreReport::default();
        let target = Target::Load(token);
        self.plan.clear();
        self.report("reading the archive");
        self.place_sold(token, &mut restored).await?;
        self.place_undecided(target, &mut restored).await?;
        let blocked = self.archive.blocked_seats(self.event.id).await?;
        let blocked: Vec<SeatId> = blocked.into_iter().collect();
        for seats in blocked.chunks(BLOCKED_PER_CALL) {
            self.place(token, &[], seats).await?;
            restored.blocked += seats.len() as u64;
        }
        self.report(&format!("{} blocked seats", restored.blocked));
        Ok(restored)
    }

    async fn place_sold(&self, token: &str, restored: &mut RestoreReport) -> Result<(), SaleError> {
        let (event, mut after) = (self.event.id, None);
        loop {
            let page = self.archive.sales_of_event(event, Outcome::Sold, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.booking.id);
            for chunk in page.chunks(BOOKINGS_PER_CALL) {
                let sold: Vec<Booking> = chunk.iter().map(|one| one.booking.clone()).collect();
                self.place_sold_chunk(token, sold, restored).await?;
            }
            self.report(&format!("{} sold bookings", restored.sold));
        }
    }

    /// Places sold bookings and their idempotency keys.
    pub(super) async fn place_sold_chunk(
        &self,
        token: &str,
        mut sold: Vec<Booking>,
        restored: &mut RestoreReport,
    ) -> Result<(), SaleError> {
        let event = self.event.id;
        let seats: Vec<SeatId> = sold.iter().flat_map(|one| &one.seats).copied().collect();
        let owners = self.archive.seat_owners(event, &seats).await?;
        if check_claims(event, &sold, &owners).is_err() {
            // Some may have been cancelled, and their seats sold again, since they were read.
            let ids: Vec<BookingId> = sold.iter().map(|one| one.id).collect();
            let now = self.archive.bookings_by_id(&ids).await?;
            let is_sold = |one: &ArchivedBooking| one.outcome == Some(Outcome::Sold);
            sold = now.into_iter().filter(is_sold).map(|one| one.booking).collect();
            let owners = self.archive.seat_owners(event, &seats).await?;
            check_claims(event, &sold, &owners)?;
        }
        let now_ms = self.now_ms().await?;
        // Confirms sales whose settlement was lost, or is not archived yet.
        let is_unconfirmed = |one: &&mut Booking| one.confirmed_ms == 0;
        let mut confirmed = Vec::new();
        for booking in sold.iter_mut().filter(is_unconfirmed) {
            booking.confirmed_ms = now_ms;
            booking.version += 1;
            confirmed.push(booking.clone());
        }
        self.archive.note_confirmed(&confirmed).await?;
        self.place(token, &sold, &[]).await?;
        self.restore_request_keys(&sold).await?;
        restored.sold += sold.len() as u64;
        Ok(())
    }

    async fn place(
        &self,
        token: &str,
        sold: &[Booking],
        blocked: &[SeatId],
    ) -> Result<(), SaleError> {
        for _ in 0..ATTEMPTS_MAX {
            let answer = self.engine.load_bookings(self.event, token, sold, blocked).await?;
            match answer.reply {
                LoadBookingsReply::Placed { .. } => {
                    self.plan.place(sold, blocked);
                    return Ok(());
                }
                LoadBookingsReply::TooLate => {}
                LoadBookingsReply::SeatsLost { seat } => {
                    let reason = format!("seat {seat} has two sold bookings: see verify");
                    return Err(wrong_state(self.event.id, &reason));
                }
                // Another load has started, or Redis has lost this one.
                _ => return Err(self.lost_again()),
            }
        }
        Err(too_late())
    }
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
            return Err(wrong_state(event, &reason));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Status;

    fn booking(random: u64, seats: &[u32]) -> Booking {
        Booking {
            id: BookingId::new(EventId(1), 1, random),
            status: Status::Confirmed,
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

    #[test]
    fn sale_without_its_claims_is_refused() {
        let sold = booking(1, &[1, 2]);
        let other = booking(2, &[2]).id;
        let check = |owners: &[(SeatId, BookingId)]| {
            let owners = owners.iter().copied().collect();
            check_claims(EventId(1), std::slice::from_ref(&sold), &owners).is_ok()
        };
        assert!(check(&[(SeatId(1), sold.id), (SeatId(2), sold.id)]));
        assert!(!check(&[(SeatId(1), sold.id)]));
        assert!(!check(&[(SeatId(1), sold.id), (SeatId(2), other)]));
    }
}
