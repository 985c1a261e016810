//! A caller's bookings: read, extended, cancelled.

use std::sync::Arc;

use futures_util::future::join_all;

use super::confirm::{refusal, too_late};
use super::request_key::RequestKey;
use super::{BookingPage, BookingView, ListedBooking, Sale, SaleError, unix_now_ms};
use crate::archive::{ArchivedBooking, BookingsFrom};
use crate::domain::{Booking, BookingId, Durability, Event, Outcome, Status, UserId};
use crate::faults::FaultStep;
use crate::redis::{
    CancelReply, ExtendReply, GetBookingReply, SettleReply, Settlement, Timed, new_nonce,
};
use crate::telemetry::trace;
use crate::telemetry::warn_repeated;

/// Calls of one request: the first, and again after a refreshed event.
const TRIES_MAX: u32 = 2;

impl Sale {
    /// The caller's booking, from Redis, else from the archive; also where Redis has not decided it
    /// and the archive has: Redis may have fallen back. Another's is looked for in both, as
    /// an unknown one is: neither the time nor an archive that is away tells them apart.
    pub async fn booking(&self, user: &UserId, id: BookingId) -> Result<BookingView, SaleError> {
        let event = self.event_of(id).await?;
        let Timed { reply, now_ms } = self.inner.engine.get_booking(id).await?;
        if let GetBookingReply::Found { booking } = reply
            && booking.user == *user
        {
            return Ok(match self.decided_in_archive(&booking).await {
                Some(decided) => view(decided, event, now_ms),
                None => seen(*booking, event, now_ms),
            });
        }
        self.archived_booking(user, id).await
    }

    /// Whose booking it is, by Redis, else by the archive: for admins, who act as its owner.
    pub async fn owner_of(&self, id: BookingId) -> Result<UserId, SaleError> {
        self.event_of(id).await?;
        let timed = self.inner.engine.get_booking(id).await?;
        if let GetBookingReply::Found { booking } = timed.reply {
            return Ok(booking.user);
        }
        let archived = self.inner.archive.booking(id).await?;
        archived.map(|archived| archived.booking.user).ok_or(SaleError::BookingUnknown(id))
    }

    /// The caller's booking as the archive has it.
    pub(super) async fn archived_booking(
        &self,
        user: &UserId,
        id: BookingId,
    ) -> Result<BookingView, SaleError> {
        let archived = self.inner.archive.booking(id).await?;
        match archived {
            Some(archived) if archived.booking.user == *user => {
                let event = self.event_of(id).await?;
                Ok(view(archived, event, unix_now_ms()))
            }
            _ => Err(SaleError::BookingUnknown(id)),
        }
    }

    /// Where a booking that was just answered is kept, as far as can be known within
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

    /// At most `limit` of the caller's bookings, newest first, from that place in the list on; from
    /// the archive.
    pub async fn bookings(
        &self,
        user: &UserId,
        from: BookingsFrom,
        limit: u32,
    ) -> Result<BookingPage, SaleError> {
        // Read before the list: what was archived by then is in it.
        let as_of_ms = self.archived_until_ms().await;
        // One more tells whether there are more.
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

    /// The time up to which every log entry is archived: now where nothing is outstanding, 0
    /// where Redis does not say.
    async fn archived_until_ms(&self) -> i64 {
        let engine = &self.inner.engine;
        let mut until_ms = unix_now_ms();
        let group = &self.inner.settings.worker_group;
        // All at the same time: a node that is slow holds this up once, not once a partition.
        let looks: Vec<_> =
            engine.keys().all_partitions().map(|one| engine.log_state(one, group)).collect();
        for state in join_all(looks).await {
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

    /// Gives a hold a full hold time from now, within the event's longest hold. Under a `key` of
    /// the caller's own it does so once; without one each call is meant.
    pub async fn extend(
        &self,
        user: &UserId,
        id: BookingId,
        key: Option<&str>,
    ) -> Result<BookingView, SaleError> {
        let mut event = self.event_of(id).await?;
        let nonce = new_nonce();
        let key = RequestKey::of_extension(user, id, key, &self.inner.settings);
        let attempt = RequestKey::attempt(key.as_ref(), &nonce);
        let entries_max = self.inner.settings.log_entries_max;
        for _ in 0..TRIES_MAX {
            let Timed { reply, now_ms } =
                self.inner.engine.extend(&event, id, user, attempt, entries_max).await?;
            match reply {
                ExtendReply::Extended { booking } => return Ok(seen(booking, event, now_ms)),
                ExtendReply::Replayed { booking } => return Ok(replayed(booking, event, now_ms)),
                ExtendReply::GenerationMismatch { .. } => event = self.newer_event(&event).await?,
                ExtendReply::LogFull => return Err(SaleError::LogFull),
                ExtendReply::HoldCapReached { booking } => {
                    return Err(SaleError::HoldCapReached(booking.deadline_ms));
                }
                ExtendReply::BookingUnknown | ExtendReply::EventNotLoaded => {
                    return Err(self.ended_in_archive(user, id).await?);
                }
                ExtendReply::BookingExpired { .. }
                    if self.outcome_in_archive(id).await.is_some() =>
                {
                    return Err(self.ended_in_archive(user, id).await?);
                }
                ExtendReply::BookingExpired { booking }
                | ExtendReply::BookingCancelled { booking }
                | ExtendReply::SaleVoided { booking }
                | ExtendReply::InFlight { booking }
                | ExtendReply::IsCommitted { booking }
                | ExtendReply::IsConfirmed { booking } => return Err(refusal(&booking)),
                ExtendReply::EventClosed => return Err(SaleError::EventClosed(id.event())),
                ExtendReply::TooLate => return Err(too_late()),
            }
        }
        Err(SaleError::EventNotLoaded(event.id))
    }

    /// Why a booking that Redis does not have (it was forgotten, or its event was unloaded) cannot
    /// be extended.
    async fn ended_in_archive(&self, user: &UserId, id: BookingId) -> Result<SaleError, SaleError> {
        let booking = self.archived_booking(user, id).await?.booking;
        Ok(match booking.status {
            Status::Confirmed => SaleError::BookingConfirmed(id),
            Status::Cancelled => SaleError::BookingCancelled(id),
            Status::Expired => SaleError::BookingExpired(id),
            Status::Voided => SaleError::SaleVoided(id),
            Status::Hold | Status::Confirming | Status::Committed => {
                SaleError::EventNotLoaded(id.event())
            }
        })
    }

    /// Gives a booking up: a hold at once; a sold one once the archive says so. Again is harmless.
    pub async fn cancel(&self, user: &UserId, id: BookingId) -> Result<BookingView, SaleError> {
        let (sale, user) = (self.clone(), user.clone());
        // A task of its own: a caller who hangs up does not stop it between archive and Redis.
        let task = trace::spawn(async move { sale.cancel_to_the_end(&user, id).await });
        task.await.unwrap_or_else(|error| Err(SaleError::Internal(error.to_string())))
    }

    async fn cancel_to_the_end(
        &self,
        user: &UserId,
        id: BookingId,
    ) -> Result<BookingView, SaleError> {
        let mut event = self.event_of(id).await?;
        for _ in 0..TRIES_MAX {
            let Timed { reply, now_ms } = self.inner.engine.cancel(&event, id, user).await?;
            match reply {
                // A hold is given up; but if Redis has fallen back, it may be a sale.
                CancelReply::Cancelled { .. }
                | CancelReply::Replayed { .. }
                | CancelReply::BookingExpired { .. } => {
                    let decided = self.outcome_in_archive(id).await;
                    let is_sale = decided.is_some_and(|one| one.outcome == Some(Outcome::Sold));
                    return match reply {
                        _ if is_sale => self.cancel_sold(event, id, now_ms).await,
                        CancelReply::Cancelled { booking } => Ok(seen(booking, event, now_ms)),
                        CancelReply::Replayed { booking } => Ok(replayed(booking, event, now_ms)),
                        _ => Err(SaleError::BookingExpired(id)),
                    };
                }
                CancelReply::GenerationMismatch { .. } => event = self.newer_event(&event).await?,
                CancelReply::IsConfirmed { .. } => {
                    return self.cancel_sold(event, id, now_ms).await;
                }
                CancelReply::BookingUnknown | CancelReply::EventNotLoaded => {
                    let view = self.archived_booking(user, id).await?;
                    return match view.booking.status {
                        Status::Confirmed => self.cancel_sold(event, id, view.now_ms).await,
                        Status::Cancelled => Ok(BookingView { replayed: true, ..view }),
                        Status::Expired => Err(SaleError::BookingExpired(id)),
                        Status::Voided => Err(SaleError::SaleVoided(id)),
                        _ => Err(SaleError::EventNotLoaded(event.id)),
                    };
                }
                CancelReply::InFlight { booking }
                | CancelReply::IsCommitted { booking }
                | CancelReply::SaleVoided { booking } => return Err(refusal(&booking)),
                CancelReply::TooLate => return Err(too_late()),
            }
        }
        Err(SaleError::EventNotLoaded(event.id))
    }

    /// Refuses to cancel a sale at `now_ms` (Redis' time, or our own where Redis does not know the
    /// booking) if the event's policy does. What was cancelled in time stays so, though Redis may
    /// not follow yet.
    async fn check_cancellable(&self, id: BookingId, now_ms: i64) -> Result<(), SaleError> {
        let archive = &self.inner.archive;
        let head = archive.event_head(id.event()).await?.ok_or(SaleError::BookingUnknown(id))?;
        let policy = head.cancel_policy();
        if policy.allows(now_ms) {
            return Ok(());
        }
        let archived = archive.booking(id).await?;
        match archived.and_then(|archived| archived.outcome) {
            Some(Outcome::Cancelled) => Ok(()),
            _ => Err(SaleError::CancellationClosed { booking: id, policy }),
        }
    }

    /// Cancels a sale: the archive first, by compare-and-set; then Redis follows. INVARIANT: its
    /// seats become free only after the archive says `cancelled`.
    async fn cancel_sold(
        &self,
        event: Arc<Event>,
        id: BookingId,
        now_ms: i64,
    ) -> Result<BookingView, SaleError> {
        self.check_cancellable(id, now_ms).await.map_err(SaleError::of_nothing_done)?;
        let archive = &self.inner.archive;
        match archive.cancel_sold(id, unix_now_ms()).await? {
            Some(Outcome::Cancelled) => self.inner.faults.reached(FaultStep::Cancel),
            Some(Outcome::Refund) => return Err(SaleError::SaleVoided(id)),
            _ => return Err(SaleError::BookingConfirming(id)),
        }
        // INVARIANT: before `cancel_settled`, since the mark that this takes off is what has the
        // worker do it if we die here, whoever else settles the cancellation meanwhile.
        archive.intent_due(id, unix_now_ms()).await?;
        let archived = archive.booking(id).await?.ok_or(SaleError::BookingUnknown(id))?;
        let settlement = Settlement {
            generation: event.generation,
            outcome: Outcome::Cancelled.as_str(),
            valid_until: None,
            acknowledge: None,
            booking: &archived.booking,
        };
        // From here on it is cancelled. Should Redis not follow now, the worker sees to it.
        match self.inner.engine.settle(&settlement).await {
            Ok(Timed { reply: SettleReply::Settled { booking }, now_ms }) => {
                if let Err(error) = archive.cancel_settled(id).await {
                    warn_repeated!(booking_id = %id, %error, "a cancellation is settled once more");
                }
                Ok(seen(booking, event, now_ms))
            }
            other => {
                warn_repeated!(booking_id = %id, ?other, "redis follows a cancellation later");
                Ok(view(archived, event, unix_now_ms()))
            }
        }
    }
}

fn replayed(booking: Booking, event: Arc<Event>, now_ms: i64) -> BookingView {
    BookingView { replayed: true, ..seen(booking, event, now_ms) }
}

fn view(archived: ArchivedBooking, event: Arc<Event>, now_ms: i64) -> BookingView {
    BookingView { archived: true, ..seen(archived.booking, event, now_ms) }
}

fn seen(booking: Booking, event: Arc<Event>, now_ms: i64) -> BookingView {
    let (replayed, left_alone, archived) = (false, Vec::new(), false);
    BookingView { booking, event, replayed, left_alone, archived, now_ms }
}
