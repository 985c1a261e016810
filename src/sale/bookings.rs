//! Reads a user's bookings, one and in lists.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{BookingPage, BookingView, ListedBooking, Sale, SaleError, unix_now_ms};
use crate::archive::{ArchivedBooking, BookingsFrom};
use crate::domain::{Booking, BookingId, Durability, Event, UserId};
use crate::redis::{GetBookingReply, Timed};

impl Sale {
    /// Returns the user's booking: from Redis, else from the archive; the archive's decision
    /// prevails where Redis has fallen back. Another user's booking is looked up in both places,
    /// like an unknown one, so neither timing nor an unavailable archive distinguishes them.
    pub async fn booking(&self, user: &UserId, id: BookingId) -> Result<BookingView, SaleError> {
        let event = self.event_of(id).await?;
        let Timed { reply, now_ms } = self.inner.engine.get_booking(id).await?;
        if let GetBookingReply::Found { booking } = reply
            && booking.user == *user
        {
            return Ok(match self.decided_in_archive(&booking).await {
                Some(decided) => archived_view(decided, event, now_ms),
                None => booking_view(*booking, event, now_ms),
            });
        }
        self.archived_booking(user, id).await
    }

    /// Returns the owner of a booking, for admins acting on the owner's behalf.
    pub async fn owner_of(&self, id: BookingId) -> Result<UserId, SaleError> {
        self.event_of(id).await?;
        let timed = self.inner.engine.get_booking(id).await?;
        if let GetBookingReply::Found { booking } = timed.reply {
            return Ok(booking.user);
        }
        let archived = self.inner.archive.booking(id).await?;
        archived.map(|archived| archived.booking.user).ok_or(SaleError::BookingUnknown(id))
    }

    /// Returns the user's booking from the archive.
    pub(super) async fn archived_booking(
        &self,
        user: &UserId,
        id: BookingId,
    ) -> Result<BookingView, SaleError> {
        let archived = self.inner.archive.booking(id).await?;
        match archived {
            Some(archived) if archived.booking.user == *user => {
                let event = self.event_of(id).await?;
                Ok(archived_view(archived, event, unix_now_ms()))
            }
            _ => Err(SaleError::BookingUnknown(id)),
        }
    }

    /// Returns the durability of a booking, as far as it can be determined within
    /// `redis_wait_timeout_ms`.
    pub async fn durability(&self, view: &BookingView) -> Durability {
        let engine = &self.inner.engine;
        match view.durability() {
            Durability::Accepted => {
                let partition = engine.keys().partition_of(view.booking.id.event());
                match engine.is_replicated(partition).await {
                    true => Durability::Replicated,
                    false => Durability::Accepted,
                }
            }
            known => known,
        }
    }

    /// Returns at most `limit` of the user's bookings from the archive, newest first, starting at a
    /// position of the list.
    pub async fn bookings(
        &self,
        user: &UserId,
        from: BookingsFrom,
        limit: u32,
    ) -> Result<BookingPage, SaleError> {
        // Read before the list, so that everything archived by then is listed.
        let as_of_ms = self.archived_until_ms().await;
        // One more, to learn whether there are more.
        let (mut archived, total) = self.inner.archive.bookings_of(user, from, limit + 1).await?;
        let has_more = archived.len() > limit as usize;
        archived.truncate(limit as usize);
        let mut bookings = Vec::with_capacity(archived.len());
        for ArchivedBooking { booking, .. } in archived {
            let event = self.inner.catalogue.get(booking.id.event()).await?;
            bookings.push(ListedBooking { booking, event, now_ms: unix_now_ms() });
        }
        Ok(BookingPage { bookings, total, has_more, as_of_ms })
    }

    /// The time up to which every log entry is archived: now if nothing is outstanding, 0 if Redis
    /// does not answer.
    pub(super) async fn archived_until_ms(&self) -> i64 {
        let engine = &self.inner.engine;
        if engine.keys().all_partitions().any(|partition| engine.refuses(partition)) {
            return 0;
        }
        let mut until_ms = unix_now_ms();
        let group = &self.inner.settings.worker_group;
        // Concurrently: a slow node delays this once, not once per partition.
        let states: Vec<_> =
            engine.keys().all_partitions().map(|one| engine.log_state(one, group)).collect();
        for state in join_all(states).await {
            match state {
                Ok(state) if state.watermark() < state.newest => {
                    until_ms = until_ms.min(state.watermark().ms as i64);
                }
                Ok(_) => {}
                Err(_) => return 0,
            }
        }
        until_ms
    }
}

/// A booking of a replayed reply.
pub(super) fn replayed_view(booking: Booking, event: Arc<Event>, now_ms: i64) -> BookingView {
    BookingView { replayed: true, ..booking_view(booking, event, now_ms) }
}

/// A booking from the archive.
pub(super) fn archived_view(
    archived: ArchivedBooking,
    event: Arc<Event>,
    now_ms: i64,
) -> BookingView {
    BookingView { archived: true, ..booking_view(archived.booking, event, now_ms) }
}

/// A booking from Redis.
pub(super) fn booking_view(booking: Booking, event: Arc<Event>, now_ms: i64) -> BookingView {
    let (replayed, left_alone, archived) = (false, Vec::new(), false);
    BookingView { booking, event, replayed, left_alone, archived, now_ms }
}
