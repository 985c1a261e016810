//! Queries for operators and restores: bookings by filter, one booking's ledger entries, and the owners
//! of its seats.

use mongodb::bson::{Document, doc};
use mongodb::options::FindOptions;
use serde::Deserialize;

use super::Archive;
use super::documents::{ArchivedBooking, CLAIMS, ClaimDocument, TRANSITIONS, claim_id};
use super::error::ArchiveError;
use super::verify::{Claim, by_id};
use crate::domain::{Booking, BookingId, EventId, Outcome, Status, UserId};

/// A filter for bookings; absent fields match all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookingFilter {
    /// The user.
    pub user: Option<UserId>,
    /// The event.
    pub event: Option<EventId>,
    /// The status.
    pub status: Option<Status>,
}

/// One ledger entry about a booking. Kind and status are texts: the ledger may be older, or newer, than
/// this build.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LedgerEntry {
    /// Its position in the booking log.
    pub log_id: String,
    /// The kind of the entry.
    pub kind: String,
    /// The generation of the event.
    pub generation: u64,
    /// The booking's new version.
    pub version: u64,
    /// The booking's new status.
    pub status: String,
    /// The time, Unix ms.
    pub time_ms: i64,
    /// Until when seats are held, Unix ms.
    pub deadline_ms: i64,
    /// Number of the confirmation lease.
    pub lease: u64,
    /// The provider's payment object, or empty.
    pub payment: String,
    /// Details, or empty.
    pub detail: String,
    /// Trace context of the request that made the booking, or empty.
    pub trace: String,
}

impl Archive {
    /// Reads at most `limit` matching bookings, newest first, only those made before `before`.
    pub async fn find_bookings(
        &self,
        filter: &BookingFilter,
        before: Option<BookingId>,
        limit: u32,
    ) -> Result<Vec<ArchivedBooking>, ArchiveError> {
        let mut query = Document::new();
        let user = filter.user.as_ref().map(|user| ("user".to_owned(), user.as_str().into()));
        let event = filter.event.map(|event| ("event".to_owned(), i64::from(event.0).into()));
        let status = filter.status.map(|status| ("status".to_owned(), status.as_str().into()));
        query.extend(user.into_iter().chain(event).chain(status));
        if let Some(before) = before {
            query.insert("_id", doc! { "$lt": before.to_string() });
        }
        // Ids begin with the creation time.
        let options =
            FindOptions::builder().sort(doc! { "_id": -1 }).limit(i64::from(limit)).build();
        self.bookings_where(query, options).await
    }

    /// Reads at most `limit` bookings of an event with this outcome after `after`, in order of their ids.
    pub async fn sales_of_event(
        &self,
        event: EventId,
        outcome: Outcome,
        after: Option<BookingId>,
        limit: u32,
    ) -> Result<Vec<ArchivedBooking>, ArchiveError> {
        let mut filter = doc! { "event": i64::from(event.0), "outcome": outcome.as_str() };
        if let Some(after) = after {
            filter.insert("_id", doc! { "$gt": after.to_string() });
        }
        self.bookings_where(filter, by_id(limit)).await
    }

    /// Reads at most `limit` live, undecided bookings of an event, in order of their ids, which is oldest
    /// first.
    pub async fn undecided_of_event(
        &self,
        event: EventId,
        after: Option<BookingId>,
        limit: u32,
    ) -> Result<Vec<ArchivedBooking>, ArchiveError> {
        let live = [Status::Hold, Status::Confirming, Status::Committed].map(Status::as_str);
        let mut filter = doc! {
            "event": i64::from(event.0),
            "outcome": { "$exists": false },
            "status": { "$in": live.to_vec() },
        };
        if let Some(after) = after {
            filter.insert("_id", doc! { "$gt": after.to_string() });
        }
        self.bookings_where(filter, by_id(limit)).await
    }

    /// Reads at most `limit` ledger entries about a booking, in chronological order.
    pub async fn history(
        &self,
        booking: BookingId,
        limit: u32,
    ) -> Result<Vec<LedgerEntry>, ArchiveError> {
        // See `transition_id`; `;` is the character after `:`.
        let range = doc! { "$gt": format!("{booking}:"), "$lt": format!("{booking};") };
        let mut found: Vec<LedgerEntry> =
            self.gateway.find(TRANSITIONS, doc! { "_id": range }, by_id(limit)).await?;
        // As texts, ids sort version 10 before version 2.
        found.sort_by_key(|entry| (entry.generation, entry.version, entry.time_ms));
        Ok(found)
    }

    /// Reads the claims on a booking's seats, with any owner.
    pub async fn claims_on(&self, booking: &Booking) -> Result<Vec<Claim>, ArchiveError> {
        let event = booking.id.event();
        let ids: Vec<String> = booking.seats.iter().map(|seat| claim_id(event, *seat)).collect();
        let filter = doc! { "_id": { "$in": ids } };
        let found: Vec<ClaimDocument> =
            self.gateway.find(CLAIMS, filter, FindOptions::default()).await?;
        found.iter().map(Claim::try_from).collect()
    }
}
