//! Reading bookings, and cancelling one that was sold.

use mongodb::bson::doc;
use mongodb::options::FindOptions;

use super::Archive;
use super::deadline::too_late;
use super::documents::{ArchivedBooking, BOOKINGS, BookingDocument, booking_facts, signed};
use super::error::ArchiveError;
use super::gateway::Verb;
use crate::domain::{Booking, BookingId, Outcome, UserId};

/// A place in a list of bookings, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookingsFrom {
    /// The booking of this number, from 0. Moves when a booking is made.
    Number(u64),
    /// The bookings older than this one.
    Older {
        /// When it was made, Unix ms.
        created_ms: i64,
        /// Its id.
        id: BookingId,
    },
}

impl Archive {
    /// A booking, as far as the booking log was archived.
    pub async fn booking(&self, id: BookingId) -> Result<Option<ArchivedBooking>, ArchiveError> {
        let found: Option<BookingDocument> =
            self.gateway.find_by_id(BOOKINGS, id.to_string()).await?;
        found.map(ArchivedBooking::try_from).transpose()
    }

    /// At most `limit` of a user's bookings, newest first, from that place in the list on; and how
    /// many there are in all.
    pub async fn bookings_of(
        &self,
        user: &UserId,
        from: BookingsFrom,
        limit: u32,
    ) -> Result<(Vec<ArchivedBooking>, u64), ArchiveError> {
        let mut filter = doc! { "user": user.as_str() };
        let total = self.gateway.count(BOOKINGS, filter.clone()).await?;
        let mut skip = 0;
        match from {
            BookingsFrom::Number(first) => skip = first,
            BookingsFrom::Older { created_ms, id } => {
                filter.insert(
                    "$or",
                    vec![
                        doc! { "created_ms": { "$lt": created_ms } },
                        doc! { "created_ms": created_ms, "_id": { "$lt": id.to_string() } },
                    ],
                );
            }
        }
        let options = FindOptions::builder()
            .sort(doc! { "created_ms": -1, "_id": -1 })
            .skip(skip)
            .limit(i64::from(limit))
            .build();
        Ok((self.bookings_where(filter, options).await?, total))
    }

    /// The other bookings that are sold and own a claim on one of this booking's seats.
    pub async fn sold_owners(
        &self,
        booking: &Booking,
    ) -> Result<Vec<ArchivedBooking>, ArchiveError> {
        let claims = self.claims_on(booking).await?;
        let others = claims.into_iter().filter(|claim| claim.owner != booking.id);
        let owners: Vec<String> = others.map(|claim| claim.owner.to_string()).collect();
        let sold = doc! { "_id": { "$in": owners }, "outcome": Outcome::Sold.as_str() };
        self.bookings_where(sold, FindOptions::default()).await
    }

    /// Cancels a sold booking: the compare-and-set `sold → cancelled`, from which on its seats
    /// may be claimed by others. Answers with the outcome that stands then, `None` where nothing
    /// is decided. Until [`Archive::cancel_settled`], the booking is among
    /// [`Archive::cancels_unsettled`]. Does nothing any more once it has answered ([`super::deadline`]).
    pub async fn cancel_sold(
        &self,
        id: BookingId,
        now_ms: i64,
    ) -> Result<Option<Outcome>, ArchiveError> {
        let deadline = self.gateway.deadline().await?;
        let operation = doc! {
            "q": {
                "_id": id.to_string(),
                "outcome": Outcome::Sold.as_str(),
                "$expr": deadline.condition(),
            },
            "u": { "$set": {
                "outcome": Outcome::Cancelled.as_str(),
                "status": Outcome::Cancelled.status().as_str(),
                "ended_ms": now_ms,
                "cancel_unsettled_ms": now_ms,
            } },
        };
        let written = self.gateway.write_by(deadline, Verb::Update, BOOKINGS, operation).await?;
        if written.touched == 1 {
            return Ok(Some(Outcome::Cancelled));
        }
        match self.booking(id).await?.and_then(|found| found.outcome) {
            // It was there to be cancelled.
            Some(Outcome::Sold) => Err(too_late()),
            other => Ok(other),
        }
    }

    /// Decides that a paid booking's money goes back, if nothing is decided: the compare-and-set
    /// none → `refund`. Also where the archive never heard of the booking. Answers with the outcome
    /// that stands then, `None` if that cannot be read yet.
    pub async fn decide_refund(
        &self,
        booking: &Booking,
        generation: u64,
    ) -> Result<Option<Outcome>, ArchiveError> {
        let mut unheard = booking_facts(booking).map_err(ArchiveError::Corrupt)?;
        unheard.insert("event", i64::from(booking.id.event().0));
        let generation = signed(generation, "generation").map_err(ArchiveError::Corrupt)?;
        unheard.insert("generation", generation);
        unheard.insert("confirmed_ms", 0_i64);
        let decided = doc! {
            "outcome": Outcome::Refund.as_str(),
            "status": Outcome::Refund.status().as_str(),
            "payment": &booking.payment,
            "paid_ms": booking.paid_ms,
            "ended_ms": booking.paid_ms,
        };
        decided.keys().for_each(|key| drop(unheard.remove(key)));
        let operation = doc! {
            "q": { "_id": booking.id.to_string(), "outcome": { "$exists": false } },
            "u": { "$set": decided, "$setOnInsert": unheard },
            "upsert": true,
        };
        // A duplicate key: it has an outcome.
        let written = self.gateway.write_plain(Verb::Update, BOOKINGS, vec![operation]).await?;
        if written.touched == 1 {
            return Ok(Some(Outcome::Refund));
        }
        Ok(self.booking(booking.id).await?.and_then(|found| found.outcome))
    }

    /// At most `limit` bookings cancelled before `before_ms` of which nobody has said that all is
    /// done: whoever cancelled them may have crashed before having the money given back, or before
    /// settling. Oldest first, after the first `skip` of them.
    pub async fn cancels_unsettled(
        &self,
        before_ms: i64,
        skip: u64,
        limit: u32,
    ) -> Result<Vec<ArchivedBooking>, ArchiveError> {
        let options = FindOptions::builder()
            .sort(doc! { "cancel_unsettled_ms": 1 })
            .skip(skip)
            .limit(i64::from(limit))
            .build();
        let filter = doc! { "cancel_unsettled_ms": { "$lt": before_ms } };
        self.bookings_where(filter, options).await
    }

    /// Takes a cancelled booking off [`Archive::cancels_unsettled`]: its intent is due, and then
    /// Redis was seen to follow, or has nothing that could.
    pub async fn cancel_settled(&self, id: BookingId) -> Result<(), ArchiveError> {
        let operation = doc! {
            "q": { "_id": id.to_string(), "outcome": Outcome::Cancelled.as_str() },
            "u": { "$unset": { "cancel_unsettled_ms": "" } },
        };
        self.gateway.write_plain(Verb::Update, BOOKINGS, vec![operation]).await.map(drop)
    }

    /// Fills in what Redis' settlement of these sales would have, where its entry was not archived:
    /// when it was, and the version that it led to. Should the entry come late, it changes nothing.
    pub async fn note_confirmed(&self, confirmed: &[Booking]) -> Result<(), ArchiveError> {
        let mut operations = Vec::with_capacity(confirmed.len());
        for booking in confirmed {
            let version = signed(booking.version, "version").map_err(ArchiveError::Corrupt)?;
            operations.push(doc! {
                "q": { "_id": booking.id.to_string(), "confirmed_ms": 0_i64 },
                "u": {
                    "$set": { "confirmed_ms": booking.confirmed_ms },
                    "$max": { "version": version },
                },
            });
        }
        if operations.is_empty() {
            return Ok(());
        }
        self.gateway.write_plain(Verb::Update, BOOKINGS, operations).await.map(drop)
    }

    pub(super) async fn bookings_where(
        &self,
        filter: mongodb::bson::Document,
        options: FindOptions,
    ) -> Result<Vec<ArchivedBooking>, ArchiveError> {
        let found: Vec<BookingDocument> = self.gateway.find(BOOKINGS, filter, options).await?;
        found.into_iter().map(ArchivedBooking::try_from).collect()
    }
}
