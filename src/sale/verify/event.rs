//! Verifies one event: reads it in pages from Redis and the archive, compares, and checks again while
//! differences may be changes in progress.

use std::collections::HashMap;

use super::compare::Comparison;
use super::findings::Findings;
use super::{EventReport, PAGE, PAUSE, Verification};
use crate::archive::{ArchivedBooking, EventHead};
use crate::domain::{BookingId, LoadState, SeatCounts};
use crate::redis::{Cursor, Detail, RedisError};
use crate::sale::SaleError;

/// Checks of a changing event, at least. Pages of a changing event are not a snapshot, so a difference
/// counts only if each check finds it. (Removing an ended booking from Redis adds no log entry; its
/// effects are marked as unsettled.)
const CHECKS_MIN: u32 = 3;

/// The result of one check.
struct Check {
    report: EventReport,
    problems: Findings,
    /// Whether Redis is known to follow the archive soon.
    unsettled: bool,
}

impl Verification<'_> {
    pub(super) async fn event(&self, head: &EventHead) -> Result<EventReport, SaleError> {
        let partition = self.engine.keys().partition_of(head.id);
        let mut earlier: Option<Findings> = None;
        let mut checks = 0;
        loop {
            checks += 1;
            let before = self.engine.link(partition).await?;
            if let Some((position, _)) = &before {
                self.await_archive(partition, *position).await?;
            }
            // The event may have changed since it was listed.
            let mut head = self.archive.event_head(head.id).await?.unwrap_or_else(|| head.clone());
            if self.still_open && head.load_state == LoadState::Unloaded {
                head.load_state = LoadState::Opened;
            }
            let Check { mut report, problems, unsettled } = self.check(&head).await?;
            let changed = self.engine.link(partition).await? != before;
            let problems = match earlier {
                Some(earlier) if changed || unsettled => problems.persisting_since(&earlier),
                _ => problems,
            };
            let enough = !(changed || unsettled) || (checks >= CHECKS_MIN && self.is_over());
            if problems.is_empty() || enough {
                report.problems = problems.shown();
                return Ok(report);
            }
            earlier = Some(problems);
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn check(&self, head: &EventHead) -> Result<Check, SaleError> {
        let mut report = EventReport {
            event: head.id.0,
            name: head.name.clone(),
            capacity: head.total_seats,
            ..EventReport::default()
        };
        let snapshot = match self.engine.snapshot(head.id, Detail::Seats).await {
            Ok(snapshot) => snapshot,
            Err(RedisError::Unexpected(reason)) => {
                let mut problems = Findings::default();
                problems.add(format!("Redis' inventory cannot be read: {reason}"));
                return Ok(Check { report, problems, unsettled: false });
            }
            Err(error) => return Err(error.into()),
        };
        // An event being loaded is incomplete; the rest of an unload is reported separately.
        let is_comparable = matches!(head.load_state, LoadState::New | LoadState::Opened);
        let mut comparison = Comparison::new(head, snapshot.as_ref());
        if snapshot.is_some() && is_comparable {
            report.bookings_in_redis = self.add_bookings(head, &mut comparison).await?;
            self.add_indexes(head, &mut comparison).await?;
        }
        report.bookings_in_archive = self.add_archived(head, &mut comparison).await?;
        self.add_claims(head, &mut comparison).await?;
        comparison.add_blocked(self.archive.blocked_seats(head.id).await?);

        let inventory = snapshot.as_ref().and_then(|snapshot| snapshot.inventory.as_ref());
        let counts = inventory.map_or_else(SeatCounts::default, |inventory| inventory.totals());
        report.loaded = snapshot.is_some();
        (report.free, report.held) = (counts.available, counts.hold);
        (report.sold, report.blocked) = (counts.booked, counts.blocked);
        report.undecided = comparison.undecided();
        let (problems, unsettled) = comparison.end();
        Ok(Check { report, problems, unsettled })
    }

    /// Adds Redis' bookings, each with its archived state; returns their number.
    async fn add_bookings(
        &self,
        head: &EventHead,
        comparison: &mut Comparison<'_>,
    ) -> Result<u64, SaleError> {
        let mut count = 0;
        let mut next = Some(Cursor::default());
        while let Some(cursor) = next {
            let page = self.engine.bookings_page(head.id, cursor).await?;
            count += page.items.len() as u64;
            let ids = page.items.iter().filter_map(|(_, booking)| Some(booking.as_ref().ok()?.id));
            let archived = self.archived_by_id(ids.collect()).await?;
            for (id, booking) in &page.items {
                match booking {
                    Ok(booking) => comparison.add_booking(booking, archived.get(&booking.id)),
                    Err(reason) => comparison.add_unreadable_booking(id, reason),
                }
            }
            next = page.next;
        }
        Ok(count)
    }

    /// Adds Redis' holders, user counts and index of ended bookings.
    async fn add_indexes(
        &self,
        head: &EventHead,
        comparison: &mut Comparison<'_>,
    ) -> Result<(), SaleError> {
        let mut next = Some(Cursor::default());
        while let Some(cursor) = next {
            let page = self.engine.holders_page(head.id, cursor).await?;
            page.items.iter().for_each(|(seat, holder)| comparison.add_holder(*seat, holder));
            next = page.next;
        }
        let mut next = Some(Cursor::default());
        while let Some(cursor) = next {
            let page = self.engine.users_page(head.id, cursor).await?;
            page.items.into_iter().for_each(|(user, count)| comparison.add_user(user, count));
            next = page.next;
        }
        let mut next = Some(Cursor::default());
        while let Some(cursor) = next {
            let page = self.engine.ended_page(head.id, cursor).await?;
            page.items.iter().for_each(|(id, at_ms)| comparison.add_ended(id, *at_ms));
            next = page.next;
        }
        Ok(())
    }

    async fn add_archived(
        &self,
        head: &EventHead,
        comparison: &mut Comparison<'_>,
    ) -> Result<u64, SaleError> {
        let (mut count, mut after) = (0, None);
        loop {
            let page = self.archive.bookings_of_event(head.id, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(count) };
            after = Some(last.booking.id);
            count += page.len() as u64;
            page.iter().for_each(|archived| comparison.add_archived(archived));
        }
    }

    async fn add_claims(
        &self,
        head: &EventHead,
        comparison: &mut Comparison<'_>,
    ) -> Result<(), SaleError> {
        let mut after = None;
        loop {
            let page = self.archive.claims_of_event(head.id, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.seat);
            let owners = self.archived_by_id(page.iter().map(|claim| claim.owner).collect());
            let owners = owners.await?;
            page.iter().for_each(|claim| comparison.add_claim(claim, owners.get(&claim.owner)));
        }
    }

    async fn archived_by_id(
        &self,
        ids: Vec<BookingId>,
    ) -> Result<HashMap<BookingId, ArchivedBooking>, SaleError> {
        let found = self.archive.bookings_by_id(&ids).await?;
        Ok(found.into_iter().map(|archived| (archived.booking.id, archived)).collect())
    }
}
