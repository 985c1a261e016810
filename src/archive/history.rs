//! Looking into the archive for people: bookings by what they have in common, one booking's
//! ledger, and who owns its seats.

use mongodb::bson::{Document, doc};
use mongodb::options::FindOptions;
use serde::Deserialize;

use super::Archive;
use super::documents::{ArchivedBooking, CLAIMS, ClaimDocument, TRANSITIONS, claim_id};
use super::error::ArchiveError;
use super::verify::{Claim, by_id};
use crate::domain::{Booking, BookingId, EventId, Outcome, Status, UserId};

/// Which bookings are meant; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookingFilter {
    /// Whose.
    pub user: Option<UserId>,
    /// Of which event.
    pub event: Option<EventId>,
    /// Where they stand.
    pub status: Option<Status>,
}

/// One entry of the ledger about a booking. Words are kept as they were written: the ledger may
/// be older, or newer, than this build.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LedgerEntry {
    /// Its position in the booking log.
    pub log_id: String,
    /// What happened.
    pub kind: String,
    /// The generation of the event.
    pub generation: u64,
    /// The booking's version from then on.
    pub version: u64,
    /// The booking's status from then on.
    pub status: String,
    /// When, Unix ms.
    pub time_ms: i64,
    /// Until when seats are held, Unix ms.
    pub deadline_ms: i64,
    /// Number of the confirmation lease.
    pub lease: u64,
    /// The provider's payment object, or empty.
    pub payment: String,
    /// More about it, or empty.
    pub detail: String,
    /// Trace context of the request that made the booking, or empty.
    pub trace: String,
}

impl Archive {
    /// At most `limit` of these bookings, newest first, those made before `before` alone.
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
        // Ids begin with the time of their making.
        let options =
            FindOptions::builder().sort(doc! { "_id": -1 }).limit(i64::from(limit)).build();
        self.bookings_where(query, options).await
    }

    /// At most `limit` bookings of an event with this outcome that come after `after`, in order of
    /// their ids.
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

    /// At most `limit` bookings of an event that the archive knows as live and has not decided, in
    /// order of their ids, that is, oldest first.
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

    /// At most `limit` ledger entries about a booking, in the order in which it lived.
    pub async fn history(
        &self,
        booking: BookingId,
        limit: u32,
    ) -> Result<Vec<LedgerEntry>, ArchiveError> {
        // See `transition_id`; `;` is the character after `:`.
        let range = doc! { "$gt": format!("{booking}:"), "$lt": format!("{booking};") };
        let mut found: Vec<LedgerEntry> =
            self.gateway.find(TRANSITIONS, doc! { "_id": range }, by_id(limit)).await?;
        // Ids as texts have version 10 before version 2.
        found.sort_by_key(|entry| (entry.generation, entry.version, entry.time_ms));
        Ok(found)
    }

    /// The claims on a booking's seats, whoever owns them.
    pub async fn claims_on(&self, booking: &Booking) -> Result<Vec<Claim>, ArchiveError> {
        let event = booking.id.event();
        let ids: Vec<String> = booking.seats.iter().map(|seat| claim_id(event, *seat)).collect();
        let filter = doc! { "_id": { "$in": ids } };
        let found: Vec<ClaimDocument> =
            self.gateway.find(CLAIMS, filter, FindOptions::default()).await?;
        found.iter().map(Claim::try_from).collect()
    }
}
