//! The archive's word about a sale, as Redis follows it.

use holdfast::domain::{Booking, Kind, Outcome, Status};

use super::rules::{Reply, shown};
use super::sale::Sale;

impl Sale {
    /// Brings an outcome in. What the archive ended stays ended, and what it confirmed is confirmed
    /// until it says `cancelled`.
    pub fn settle(&mut self, outcome: Outcome, archived: &Booking) -> Reply {
        let known = self.booking(archived.id);
        if let Some(known) = &known {
            let ended_by_archive = match known.status {
                Status::Voided => true,
                // Without a payment its owner gave it up, or it was displaced.
                Status::Cancelled => known.paid_ms > 0,
                _ => false,
            };
            let confirmed = known.status == Status::Confirmed;
            if (ended_by_archive || confirmed) && known.status == outcome.status() {
                return Ok(shown("ok", known.clone()));
            }
            if ended_by_archive || (confirmed && outcome == Outcome::Refund) {
                return Err(shown("settled_otherwise", known.clone()));
            }
        }
        let known_version = known.as_ref().map(|known| known.version);
        let mut booking = known.unwrap_or_else(|| as_restored(archived));
        // A sale's version in the archive, once confirmed there, is the one that it now gets.
        let is_counted = outcome == Outcome::Sold && archived.status == Status::Confirmed;
        let version = archived.version.saturating_sub(u64::from(is_counted));
        booking.version = known_version.unwrap_or_default().max(version);
        if outcome == Outcome::Sold && self.confirmed_rival(&booking) {
            return Err(shown("seats_lost", booking));
        }
        booking.payment = archived.payment.clone();
        booking.paid_ms = archived.paid_ms;
        let settled = match outcome {
            Outcome::Sold => self.settle_as_sold(booking, archived.confirmed_ms),
            // One that had ended has no seats to free; the log must have this end all the same.
            _ => self.end(booking, outcome.status(), "settle"),
        };
        Ok(shown("ok", settled))
    }

    /// Whether a confirmed booking has one of this booking's seats.
    fn confirmed_rival(&self, booking: &Booking) -> bool {
        let event = self.ev();
        let holders = booking.seats.iter().filter_map(|seat| event.holders.get(seat));
        let mut rivals = holders.filter(|holder| **holder != booking.id);
        rivals.any(|rival| event.bookings[rival].status == Status::Confirmed)
    }

    /// It takes every seat. A hold that loses one ends; a confirmation finds out when it goes on. It is
    /// confirmed when the archive says, if it says so.
    fn settle_as_sold(&mut self, mut booking: Booking, confirmed_ms: i64) -> Booking {
        for seat in &booking.seats {
            let holder = self.ev().holders.get(seat).copied().filter(|id| *id != booking.id);
            let rival = holder.and_then(|id| self.booking(id));
            if let Some(rival) = rival.filter(|rival| rival.status == Status::Hold) {
                self.end(rival, Status::Cancelled, "displaced");
            }
            let event = self.ev_mut();
            event.holders.insert(*seat, booking.id);
            event.blocked.remove(seat);
        }
        booking.status = Status::Confirmed;
        booking.confirmed_ms = if confirmed_ms > 0 { confirmed_ms } else { self.now_ms };
        booking.ended_ms = 0;
        self.transition(booking, Kind::Confirmed, "settle")
    }
}

/// A booking that Redis has lost, from the archive's facts.
fn as_restored(archived: &Booking) -> Booking {
    Booking {
        status: Status::Committed,
        nonce: String::new(),
        lease: 0,
        lease_until_ms: 0,
        confirmed_ms: 0,
        ended_ms: 0,
        ..archived.clone()
    }
}
