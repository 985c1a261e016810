//! Extends a hold.

use super::bookings::{booking_view, replayed_view};
use super::confirm::{refusal, too_late};
use super::request_key::RequestKey;
use super::{BookingView, Sale, SaleError};
use crate::domain::{BookingId, Status, UserId};
use crate::redis::{ExtendReply, Timed, new_nonce};

/// Calls of one request: the first, and one after the event was refreshed.
const TRIES_MAX: u32 = 2;

impl Sale {
    /// Extends a hold to a full hold time from now, within the event's longest hold. Under a client's
    /// `key` this happens once; without one each call extends.
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
                ExtendReply::Extended { booking } => {
                    return Ok(booking_view(booking, event, now_ms));
                }
                ExtendReply::Replayed { booking } => {
                    return Ok(replayed_view(booking, event, now_ms));
                }
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

    /// Why a booking that Redis does not have (forgotten, or its event was unloaded) cannot be
    /// extended.
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
}
