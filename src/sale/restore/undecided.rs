//! Places live, undecided bookings of the archive into a load, or into an open event that is in a past
//! state: paid bookings first, then those whose money may have moved, then holds, oldest first.
//!
//! Ids begin with the creation time of a booking, so pages by id are in order of age.

use std::collections::HashMap;

use super::plan::{
    Intents, Placement, has_lost_versions, is_relevant, placement, restored_booking,
};
use super::{BOOKINGS_PER_CALL, PAGE, Restoration, RestoreReport, Target, too_late};
use crate::archive::ArchivedBooking;
use crate::domain::{Booking, BookingId, Outcome, SeatId, Status};
use crate::redis::{NotAfter, RestoreBookingsReply};
use crate::sale::SaleError;

/// Attempts of one call that came too late.
const ATTEMPTS_MAX: u32 = 3;

/// Which bookings a pass over the archive places.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Paid,
    Confirming,
    Holds,
}

impl Restoration<'_> {
    /// Places all undecided bookings.
    pub(super) async fn place_undecided(
        &self,
        target: Target<'_>,
        restored: &mut RestoreReport,
    ) -> Result<(), SaleError> {
        let intents = self.relevant_intents().await?;
        for pass in [Pass::Paid, Pass::Confirming, Pass::Holds] {
            self.place_pass(pass, target, &intents, restored).await?;
            self.place_unarchived(pass, target, &intents, restored).await?;
            self.report(&format!("{} live bookings", restored.live));
        }
        Ok(())
    }

    async fn relevant_intents(&self) -> Result<Intents, SaleError> {
        let (mut intents, mut after) = (Intents::new(), None);
        loop {
            let page = self.archive.intents_of_event(self.event.id, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(intents) };
            after = Some(last.booking);
            let relevant = page.into_iter().filter(is_relevant);
            intents.extend(relevant.map(|intent| (intent.booking, intent)));
        }
    }

    async fn place_pass(
        &self,
        pass: Pass,
        target: Target<'_>,
        intents: &Intents,
        restored: &mut RestoreReport,
    ) -> Result<(), SaleError> {
        let mut after = None;
        loop {
            // INVARIANT: computed before the page is read.
            let valid_until = self.valid_until().await?;
            let event = self.event.id;
            let page = match (target, pass) {
                // A booking that ended in the archive may be live in an open event.
                (Target::Open, Pass::Holds) => {
                    self.archive.bookings_of_event(event, after, PAGE).await?
                }
                _ => self.archive.undecided_of_event(event, after, PAGE).await?,
            };
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.booking.id);
            let undecided: Vec<ArchivedBooking> =
                page.into_iter().filter(|one| one.outcome.is_none()).collect();
            let here = self.in_redis(target, &undecided).await?;
            let owners = self.owners(&undecided).await?;
            let mut writing = Vec::new();
            let mut paid = Vec::new();
            for one in &undecided {
                let id = one.booking.id;
                let owns = one.booking.seats.iter().any(|seat| owners.get(seat) == Some(&id));
                let here = here.get(&id);
                match (placement(Some(one), intents.get(&id), owns), pass) {
                    (Placement::Decide, Pass::Paid) if !is_committed(here) => {
                        paid.push(one.booking.clone());
                    }
                    (Placement::Confirming, Pass::Confirming) => {
                        let intent = intents.get(&id);
                        writing.extend(restored_booking(Some(one), intent, Status::Confirming));
                    }
                    (Placement::Hold, Pass::Holds) if here.is_none() => {
                        let intent = intents.get(&id);
                        writing.extend(restored_booking(Some(one), intent, Status::Hold));
                    }
                    (_, Pass::Holds) if self.has_lost_versions(one, here) => {
                        writing.extend(restored_booking(Some(one), None, Status::Hold));
                    }
                    _ => {}
                }
            }
            self.write(target, &writing, valid_until, restored).await?;
            self.decide(target, paid, restored).await?;
        }
    }

    /// Places bookings that the archive lacks, from their intents.
    async fn place_unarchived(
        &self,
        pass: Pass,
        target: Target<'_>,
        intents: &Intents,
        restored: &mut RestoreReport,
    ) -> Result<(), SaleError> {
        let (placed, status) = match pass {
            Pass::Paid => return Ok(()),
            Pass::Confirming => (Placement::Confirming, Status::Confirming),
            Pass::Holds => (Placement::Hold, Status::Hold),
        };
        let of_pass = |id: &&BookingId| placement(None, intents.get(*id), false) == placed;
        let mut ids: Vec<BookingId> = intents.keys().filter(of_pass).copied().collect();
        ids.sort_unstable();
        for ids in ids.chunks(PAGE as usize) {
            let valid_until = self.valid_until().await?;
            let archived = self.archive.bookings_by_id(ids).await?;
            let is_archived = |id: &BookingId| archived.iter().any(|one| one.booking.id == *id);
            let here = match target {
                Target::Load(_) => HashMap::new(),
                Target::Open => self.engine.bookings_by_id(self.event.id, ids).await?,
            };
            let writing: Vec<Booking> = ids
                .iter()
                .filter(|id| !is_archived(id))
                .filter(|id| pass == Pass::Confirming || !here.contains_key(id))
                .filter_map(|id| restored_booking(None, intents.get(id), status))
                .collect();
            self.write(target, &writing, valid_until, restored).await?;
        }
        Ok(())
    }

    /// Reads these bookings from Redis. A load only has what this restoration placed: an empty result.
    async fn in_redis(
        &self,
        target: Target<'_>,
        archived: &[ArchivedBooking],
    ) -> Result<HashMap<BookingId, Option<Booking>>, SaleError> {
        let ids: Vec<BookingId> = archived.iter().map(|one| one.booking.id).collect();
        match target {
            Target::Load(_) => Ok(HashMap::new()),
            Target::Open => Ok(self.engine.bookings_by_id(self.event.id, &ids).await?),
        }
    }

    async fn owners(
        &self,
        archived: &[ArchivedBooking],
    ) -> Result<HashMap<SeatId, BookingId>, SaleError> {
        let live = archived.iter().filter(|one| one.booking.status.is_live());
        let seats: Vec<SeatId> = live.flat_map(|one| &one.booking.seats).copied().collect();
        Ok(self.archive.seat_owners(self.event.id, &seats).await?)
    }

    /// Whether the archive has a version of this booking that Redis lost.
    fn has_lost_versions(
        &self,
        archived: &ArchivedBooking,
        here: Option<&Option<Booking>>,
    ) -> bool {
        let here = here.and_then(Option::as_ref);
        here.is_some_and(|here| has_lost_versions(archived, here, self.event.generation))
    }

    async fn write(
        &self,
        target: Target<'_>,
        bookings: &[Booking],
        valid_until: NotAfter,
        restored: &mut RestoreReport,
    ) -> Result<(), SaleError> {
        for chunk in bookings.chunks(BOOKINGS_PER_CALL) {
            self.write_chunk(target, chunk, valid_until, restored).await?;
            self.restore_request_keys(chunk).await?;
        }
        Ok(())
    }

    async fn write_chunk(
        &self,
        target: Target<'_>,
        bookings: &[Booking],
        valid_until: NotAfter,
        restored: &mut RestoreReport,
    ) -> Result<(), SaleError> {
        let token = match target {
            Target::Load(token) => token,
            Target::Open => "",
        };
        let (event, generation) = (self.event.id, self.event.generation);
        for _ in 0..ATTEMPTS_MAX {
            let call =
                self.engine.restore_bookings(event, generation, token, bookings, valid_until);
            match call.await?.reply {
                RestoreBookingsReply::Restored { restored: live, ended } => {
                    if let Target::Load(_) = target {
                        self.plan.write(bookings);
                    }
                    restored.live += live;
                    restored.ended += ended;
                    return Ok(());
                }
                RestoreBookingsReply::TooLate => {}
                _ => return Err(self.lost_again()),
            }
        }
        Err(too_late())
    }

    /// Decides sales that were archived as paid; other processes that decide them concurrently get the
    /// same outcome. Refunded sales stay in the archive only, or are settled in an open event.
    async fn decide(
        &self,
        target: Target<'_>,
        mut paid: Vec<Booking>,
        restored: &mut RestoreReport,
    ) -> Result<(), SaleError> {
        if paid.is_empty() {
            return Ok(());
        }
        let outcomes = self.archive.decide_archived(&paid).await?;
        let event = self.event.id;
        tracing::info!(event_id = %event, sales = paid.len(), ?outcomes, "decided paid sales after a loss");
        let mut of = |outcome| -> Vec<Booking> {
            paid.extract_if(.., |one| outcomes.get(&one.id) == Some(&outcome)).collect()
        };
        let (refused, sold) = (of(Outcome::Refund), of(Outcome::Sold));
        let Target::Load(token) = target else {
            self.settle_all(Outcome::Refund, refused, restored).await?;
            return self.settle_all(Outcome::Sold, sold, restored).await;
        };
        let ids: Vec<BookingId> = sold.iter().map(|one| one.id).collect();
        let now = self.archive.bookings_by_id(&ids).await?;
        let sold = now.into_iter().filter(|one| one.outcome == Some(Outcome::Sold));
        let sold: Vec<Booking> = sold.map(|one| one.booking).collect();
        for chunk in sold.chunks(BOOKINGS_PER_CALL) {
            self.place_sold_chunk(token, chunk.to_vec(), restored).await?;
        }
        Ok(())
    }
}

/// Whether Redis shows a booking as sold: then its entry is in the log, and the worker decides it.
fn is_committed(here: Option<&Option<Booking>>) -> bool {
    let status = here.and_then(|here| here.as_ref()).map(|here| here.status);
    matches!(status, Some(Status::Committed | Status::Confirmed))
}
