//! One event: read in pages from both sides, compared, and looked at again while it may be on
//! its way.

use std::collections::HashMap;

use super::compare::Comparison;
use super::problems::Problems;
use super::{EventReport, PAGE, PAUSE, Run};
use crate::archive::{ArchivedBooking, EventHead};
use crate::domain::{BookingId, LoadState, SeatCounts};
use crate::redis::{Cursor, Detail, RedisError};
use crate::sale::SaleError;

/// Looks at an event that moves, at least: pages of a moving event are of no single instant, so a
/// difference counts only if each look sees it. (Forgetting a booking moves no log: what may come
/// of it is told as unsettled.)
const LOOKS_MIN: u32 = 3;

/// What one look saw.
struct Look {
    report: EventReport,
    problems: Problems,
    /// Whether Redis is known to lag behind the archive for now.
    unsettled: bool,
}

impl Run<'_> {
    pub(super) async fn event(&self, head: &EventHead) -> Result<EventReport, SaleError> {
        let partition = self.engine.keys().partition_of(head.id);
        let mut suspects: Option<Problems> = None;
        let mut looks = 0;
        loop {
            looks += 1;
            let before = self.engine.link(partition).await?;
            if let Some((position, _)) = &before {
                self.await_archive(partition, *position).await?;
            }
            // The event's own part may have been changed since it was listed.
            let mut head = self.archive.event_head(head.id).await?.unwrap_or_else(|| head.clone());
            if self.still_open && head.load_state == LoadState::Unloaded {
                head.load_state = LoadState::Opened;
            }
            let Look { mut report, problems, unsettled } = self.look_at(&head).await?;
            let moved = self.engine.link(partition).await? != before;
            let problems = match suspects {
                Some(earlier) if moved || unsettled => problems.seen_before(&earlier),
                _ => problems,
            };
            let enough = !(moved || unsettled) || (looks >= LOOKS_MIN && self.is_over());
            if problems.is_empty() || enough {
                report.problems = problems.shown();
                return Ok(report);
            }
            suspects = Some(problems);
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn look_at(&self, head: &EventHead) -> Result<Look, SaleError> {
        let mut report = EventReport {
            event: head.id.0,
            name: head.name.clone(),
            capacity: head.total_seats,
            ..EventReport::default()
        };
        let snapshot = match self.engine.snapshot(head.id, Detail::Seats).await {
            Ok(snapshot) => snapshot,
            Err(RedisError::Unexpected(reason)) => {
                let mut problems = Problems::default();
                problems.add(format!("Redis' inventory cannot be read: {reason}"));
                return Ok(Look { report, problems, unsettled: false });
            }
            Err(error) => return Err(error.into()),
        };
        // What is being loaded is not whole; what an unloading left over is told by itself.
        let is_told = matches!(head.load_state, LoadState::New | LoadState::Opened);
        let mut comparison = Comparison::new(head, snapshot.as_ref());
        if snapshot.is_some() && is_told {
            report.bookings_in_redis = self.tell_bookings(head, &mut comparison).await?;
            self.tell_indexes(head, &mut comparison).await?;
        }
        report.bookings_in_archive = self.tell_archived(head, &mut comparison).await?;
        self.tell_claims(head, &mut comparison).await?;
        comparison.house(self.archive.blocked_seats(head.id).await?);

        let inventory = snapshot.as_ref().and_then(|snapshot| snapshot.inventory.as_ref());
        let counts = inventory.map_or_else(SeatCounts::default, |inventory| inventory.totals());
        report.loaded = snapshot.is_some();
        (report.free, report.held) = (counts.available, counts.hold);
        (report.sold, report.blocked) = (counts.booked, counts.blocked);
        report.undecided = comparison.undecided();
        let (problems, unsettled) = comparison.end();
        Ok(Look { report, problems, unsettled })
    }

    /// Redis' bookings, each with its like in the archive; how many there are.
    async fn tell_bookings(
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
                    Ok(booking) => comparison.booking(booking, archived.get(&booking.id)),
                    Err(reason) => comparison.unreadable_booking(id, reason),
                }
            }
            next = page.next;
        }
        Ok(count)
    }

    /// Redis' holders, users, and index of ended bookings.
    async fn tell_indexes(
        &self,
        head: &EventHead,
        comparison: &mut Comparison<'_>,
    ) -> Result<(), SaleError> {
        let mut next = Some(Cursor::default());
        while let Some(cursor) = next {
            let page = self.engine.holders_page(head.id, cursor).await?;
            page.items.iter().for_each(|(seat, holder)| comparison.holder(*seat, holder));
            next = page.next;
        }
        let mut next = Some(Cursor::default());
        while let Some(cursor) = next {
            let page = self.engine.users_page(head.id, cursor).await?;
            page.items.into_iter().for_each(|(user, count)| comparison.user(user, count));
            next = page.next;
        }
        let mut next = Some(Cursor::default());
        while let Some(cursor) = next {
            let page = self.engine.ended_page(head.id, cursor).await?;
            page.items.iter().for_each(|(id, at_ms)| comparison.ended(id, *at_ms));
            next = page.next;
        }
        Ok(())
    }

    async fn tell_archived(
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
            page.iter().for_each(|archived| comparison.archived(archived));
        }
    }

    async fn tell_claims(
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
            page.iter().for_each(|claim| comparison.claim(claim, owners.get(&claim.owner)));
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
