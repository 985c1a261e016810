//! Bookings that the archive knows as live and has not decided, put where they belong: into a
//! load, or into an open event that is in a past state. First those that are paid, then those whose
//! money may have moved, then holds, oldest first.
//!
//! Ids begin with the time at which a booking was made, so pages by id are in order of age.

use std::collections::HashMap;

use super::plan::{Intents, Wanted, facts, has_lost_versions, is_telling, wanted};
use super::{BOOKINGS_PER_CALL, PAGE, Restored, Target, Work, too_late};
use crate::archive::ArchivedBooking;
use crate::domain::{Booking, BookingId, Outcome, SeatId, Status};
use crate::redis::{NotAfter, RestoreBookingsReply};
use crate::sale::SaleError;

/// Tries of one call that came too late.
const TRIES_MAX: u32 = 3;

/// Which of them a pass over the archive is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Judged,
    Confirming,
    Holds,
}

impl Work<'_> {
    /// Places all of them.
    pub(super) async fn place_undecided(
        &self,
        target: Target<'_>,
        restored: &mut Restored,
    ) -> Result<(), SaleError> {
        let intents = self.telling_intents().await?;
        for pass in [Pass::Judged, Pass::Confirming, Pass::Holds] {
            self.pass(pass, target, &intents, restored).await?;
            self.place_unarchived(pass, target, &intents, restored).await?;
            self.tell(&format!("{} live bookings", restored.live));
        }
        Ok(())
    }

    async fn telling_intents(&self) -> Result<Intents, SaleError> {
        let (mut intents, mut after) = (Intents::new(), None);
        loop {
            let page = self.archive.intents_of_event(self.event.id, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(intents) };
            after = Some(last.booking);
            let telling = page.into_iter().filter(is_telling);
            intents.extend(telling.map(|intent| (intent.booking, intent)));
        }
    }

    async fn pass(
        &self,
        pass: Pass,
        target: Target<'_>,
        intents: &Intents,
        restored: &mut Restored,
    ) -> Result<(), SaleError> {
        let mut after = None;
        loop {
            // INVARIANT: the time before the page is read.
            let tell_until = self.tell_until().await?;
            let event = self.event.id;
            let page = match (target, pass) {
                // What has ended there may live in an open event.
                (Target::Open, Pass::Holds) => {
                    self.archive.bookings_of_event(event, after, PAGE).await?
                }
                _ => self.archive.undecided_of_event(event, after, PAGE).await?,
            };
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.booking.id);
            let undecided: Vec<ArchivedBooking> =
                page.into_iter().filter(|one| one.outcome.is_none()).collect();
            let here = self.here(target, &undecided).await?;
            let owners = self.owners(&undecided).await?;
            let mut writing = Vec::new();
            let mut paid = Vec::new();
            for one in &undecided {
                let id = one.booking.id;
                let owns = one.booking.seats.iter().any(|seat| owners.get(seat) == Some(&id));
                let here = here.get(&id);
                match (wanted(Some(one), intents.get(&id), owns), pass) {
                    (Wanted::Judged, Pass::Judged) if !is_committed(here) => {
                        paid.push(one.booking.clone());
                    }
                    (Wanted::Confirming, Pass::Confirming) => {
                        writing.extend(facts(Some(one), intents.get(&id), Status::Confirming));
                    }
                    (Wanted::Hold, Pass::Holds) if here.is_none() => {
                        writing.extend(facts(Some(one), intents.get(&id), Status::Hold));
                    }
                    (_, Pass::Holds) if self.is_ahead(one, here) => {
                        writing.extend(facts(Some(one), None, Status::Hold));
                    }
                    _ => {}
                }
            }
            self.write(target, &writing, tell_until, restored).await?;
            self.judge(target, paid, restored).await?;
        }
    }

    /// Bookings that the archive never had: their intents tell of them.
    async fn place_unarchived(
        &self,
        pass: Pass,
        target: Target<'_>,
        intents: &Intents,
        restored: &mut Restored,
    ) -> Result<(), SaleError> {
        let (about, status) = match pass {
            Pass::Judged => return Ok(()),
            Pass::Confirming => (Wanted::Confirming, Status::Confirming),
            Pass::Holds => (Wanted::Hold, Status::Hold),
        };
        let of_pass = |id: &&BookingId| wanted(None, intents.get(*id), false) == about;
        let mut ids: Vec<BookingId> = intents.keys().filter(of_pass).copied().collect();
        ids.sort_unstable();
        for some in ids.chunks(PAGE as usize) {
            let tell_until = self.tell_until().await?;
            let archived = self.archive.bookings_by_id(some).await?;
            let is_archived = |id: &BookingId| archived.iter().any(|one| one.booking.id == *id);
            let here = match target {
                Target::Load(_) => HashMap::new(),
                Target::Open => self.engine.bookings_by_id(self.event.id, some).await?,
            };
            let writing: Vec<Booking> = some
                .iter()
                .filter(|id| !is_archived(id))
                .filter(|id| pass == Pass::Confirming || !here.contains_key(id))
                .filter_map(|id| facts(None, intents.get(id), status))
                .collect();
            self.write(target, &writing, tell_until, restored).await?;
        }
        Ok(())
    }

    /// What Redis has of these; a load has only what we have placed there.
    async fn here(
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

    /// Whether the archive knows more of a booking than Redis does.
    fn is_ahead(&self, archived: &ArchivedBooking, here: Option<&Option<Booking>>) -> bool {
        let here = here.and_then(Option::as_ref);
        here.is_some_and(|here| has_lost_versions(archived, here, self.event.generation))
    }

    async fn write(
        &self,
        target: Target<'_>,
        bookings: &[Booking],
        tell_until: NotAfter,
        restored: &mut Restored,
    ) -> Result<(), SaleError> {
        for some in bookings.chunks(BOOKINGS_PER_CALL) {
            self.write_some(target, some, tell_until, restored).await?;
            self.remember(some).await?;
        }
        Ok(())
    }

    async fn write_some(
        &self,
        target: Target<'_>,
        bookings: &[Booking],
        tell_until: NotAfter,
        restored: &mut Restored,
    ) -> Result<(), SaleError> {
        let token = match target {
            Target::Load(token) => token,
            Target::Open => "",
        };
        let (event, generation) = (self.event.id, self.event.generation);
        for _ in 0..TRIES_MAX {
            let call = self.engine.restore_bookings(event, generation, token, bookings, tell_until);
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
                _ => return Err(self.gone()),
            }
        }
        Err(too_late())
    }

    /// Decides sales that were archived as paid; whoever else judges them meanwhile adopts the
    /// same outcome. What is refused stays in the archive, or is settled.
    async fn judge(
        &self,
        target: Target<'_>,
        mut paid: Vec<Booking>,
        restored: &mut Restored,
    ) -> Result<(), SaleError> {
        if paid.is_empty() {
            return Ok(());
        }
        let outcomes = self.archive.judge_archived(&paid).await?;
        let event = self.event.id;
        tracing::info!(event_id = %event, sales = paid.len(), ?outcomes, "judged after a loss");
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
        for some in sold.chunks(BOOKINGS_PER_CALL) {
            self.place_some_sold(token, some.to_vec(), restored).await?;
        }
        Ok(())
    }
}

/// Whether Redis shows a booking as sold: then its entry is in the log, and the worker judges it.
fn is_committed(here: Option<&Option<Booking>>) -> bool {
    let status = here.and_then(|here| here.as_ref()).map(|here| here.status);
    matches!(status, Some(Status::Committed | Status::Confirmed))
}
