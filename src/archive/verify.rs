//! Queries of `verify` and `restore`: an event's bookings and claims in pages, and missing ledger
//! entries.

use std::collections::{HashMap, HashSet};

use mongodb::bson::{Document, doc};
use mongodb::options::FindOptions;
use serde::Deserialize;

use super::Archive;
use super::documents::{ArchivedBooking, CLAIMS, ClaimDocument, TRANSITIONS, claim_id};
use super::error::ArchiveError;
use crate::domain::{BookingId, EventId, SeatId};

/// The owner of a seat. Stale if the owner's outcome frees its claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The seat.
    pub seat: SeatId,
    /// The booking.
    pub owner: BookingId,
}

impl TryFrom<&ClaimDocument> for Claim {
    type Error = ArchiveError;
    fn try_from(document: &ClaimDocument) -> Result<Self, ArchiveError> {
        let (_, seat, owner) = document.read()?;
        Ok(Claim { seat, owner })
    }
}

#[derive(Deserialize)]
struct Id {
    #[serde(rename = "_id")]
    id: String,
}

impl Archive {
    /// Reads at most `limit` bookings of an event after `after`, in order of their ids.
    pub async fn bookings_of_event(
        &self,
        event: EventId,
        after: Option<BookingId>,
        limit: u32,
    ) -> Result<Vec<ArchivedBooking>, ArchiveError> {
        let mut filter = doc! { "event": i64::from(event.0) };
        if let Some(after) = after {
            filter.insert("_id", doc! { "$gt": after.to_string() });
        }
        self.bookings_where(filter, by_id(limit)).await
    }

    /// Reads the existing ones of these bookings, in no order.
    pub async fn bookings_by_id(
        &self,
        ids: &[BookingId],
    ) -> Result<Vec<ArchivedBooking>, ArchiveError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<String> = ids.iter().map(BookingId::to_string).collect();
        self.bookings_where(doc! { "_id": { "$in": ids } }, FindOptions::default()).await
    }

    /// Reads at most `limit` claims of an event after the one on `after`. They are in order of their ids
    /// as texts, so seat 10 comes before seat 2.
    pub async fn claims_of_event(
        &self,
        event: EventId,
        after: Option<SeatId>,
        limit: u32,
    ) -> Result<Vec<Claim>, ArchiveError> {
        let from = after.map_or(format!("{event}:"), |seat| claim_id(event, seat));
        // `;` is the character after `:`.
        let filter = doc! { "_id": { "$gt": from, "$lt": format!("{event};") } };
        let found: Vec<ClaimDocument> = self.gateway.find(CLAIMS, filter, by_id(limit)).await?;
        found.iter().map(Claim::try_from).collect()
    }

    /// Reads the owners of these seats; a seat that was never sold is absent.
    pub async fn seat_owners(
        &self,
        event: EventId,
        seats: &[SeatId],
    ) -> Result<HashMap<SeatId, BookingId>, ArchiveError> {
        if seats.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<String> = seats.iter().map(|seat| claim_id(event, *seat)).collect();
        let filter = doc! { "_id": { "$in": ids } };
        let found: Vec<ClaimDocument> =
            self.gateway.find(CLAIMS, filter, FindOptions::default()).await?;
        found.iter().map(|claim| Claim::try_from(claim).map(|c| (c.seat, c.owner))).collect()
    }

    /// Returns the ledger ids (see [`super::transition_id`]) that are missing in the ledger.
    pub async fn missing_transitions(&self, ids: Vec<String>) -> Result<Vec<String>, ArchiveError> {
        if ids.is_empty() {
            return Ok(ids);
        }
        let filter: Document = doc! { "_id": { "$in": ids.clone() } };
        let options = FindOptions::builder().projection(doc! { "_id": 1 }).build();
        let found: Vec<Id> = self.gateway.find(TRANSITIONS, filter, options).await?;
        let found: HashSet<String> = found.into_iter().map(|id| id.id).collect();
        Ok(ids.into_iter().filter(|id| !found.contains(id)).collect())
    }
}

pub(super) fn by_id(limit: u32) -> FindOptions {
    FindOptions::builder().sort(doc! { "_id": 1 }).limit(i64::from(limit)).build()
}
