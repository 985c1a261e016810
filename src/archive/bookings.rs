//! Reads bookings, cancels sold ones and decides refunds.

use mongodb::bson::doc;
use mongodb::options::FindOptions;

use super::Archive;
use super::deadline::too_late;
use super::documents::{ArchivedBooking, BOOKINGS, BookingDocument, booking_fields, signed};
use super::error::ArchiveError;
use super::gateway::Verb;
use crate::domain::{Booking, BookingId, Outcome, UserId};

/// A position in a list of bookings, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookingsFrom {
    /// The booking with this number, from 0. Shifts when a booking is made.
    Number(u64),
    /// The bookings older than this one.
    Older {
        /// Its creation time, Unix ms.
        created_ms: i64,
        /// Its id.
        id: BookingId,
    },
}

impl Archive {
    /// Reads a booking, in the state up to which the log is archived.
    pub async fn booking(&self, id: BookingId) -> Result<Option<ArchivedBooking>, ArchiveError> {
        let found: Option<BookingDocument> =
            self.gateway.find_by_id(BOOKINGS, id.to_string()).await?;
        found.map(ArchivedBooking::try_from).transpose()
    }

    /// Reads at most `limit` of a user's bookings, newest first, from a position on, and their total
    /// number.
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

    /// Reads the other sold bookings that own a claim on one of this booking's seats.
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

    /// Cancels a sold booking by the compare-and-set `sold → cancelled`; from then on other bookings may
    /// claim its seats. Returns the current outcome, `None` if nothing is decided. Until
    /// [`Archive::cancel_settled`], the booking is among [`Archive::cancels_unsettled`]. The write has no
    /// effect after this function has returned ([`super::deadline`]).
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
            // Still sold: the write missed its deadline.
            Some(Outcome::Sold) => Err(too_late()),
            other => Ok(other),
        }
    }

    /// Decides to refund a paid booking, if it is undecided, by the compare-and-set none → `refund`; also
    /// for a booking that the archive lacks. Returns the current outcome, `None` if it cannot be read
    /// yet.
    pub async fn decide_refund(
        &self,
        booking: &Booking,
        generation: u64,
    ) -> Result<Option<Outcome>, ArchiveError> {
        let mut on_insert = booking_fields(booking).map_err(ArchiveError::Corrupt)?;
        on_insert.insert("event", i64::from(booking.id.event().0));
        let generation = signed(generation, "generation").map_err(ArchiveError::Corrupt)?;
        on_insert.insert("generation", generation);
        on_insert.insert("confirmed_ms", 0_i64);
        let decided = doc! {
            "outcome": Outcome::Refund.as_str(),
            "status": Outcome::Refund.status().as_str(),
            "payment": &booking.payment,
            "paid_ms": booking.paid_ms,
            "ended_ms": booking.paid_ms,
        };
        decided.keys().for_each(|key| drop(on_insert.remove(key)));
        let operation = doc! {
            "q": { "_id": booking.id.to_string(), "outcome": { "$exists": false } },
            "u": { "$set": decided, "$setOnInsert": on_insert },
            "upsert": true,
        };
        // A duplicate key means that it has an outcome.
        let written = self.gateway.write_plain(Verb::Update, BOOKINGS, vec![operation]).await?;
        if written.touched == 1 {
            return Ok(Some(Outcome::Refund));
        }
        Ok(self.booking(booking.id).await?.and_then(|found| found.outcome))
    }

    /// Reads at most `limit` bookings cancelled before `before_ms` whose cancellation is not marked as
    /// complete: the process that cancelled may have crashed before the refund or the settlement. Oldest
    /// first, after the first `skip`.
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

    /// Marks a cancellation as complete, which removes it from [`Archive::cancels_unsettled`]: its intent
    /// is due, and it is settled in Redis, or Redis has nothing to settle.
    pub async fn cancel_settled(&self, id: BookingId) -> Result<(), ArchiveError> {
        let operation = doc! {
            "q": { "_id": id.to_string(), "outcome": Outcome::Cancelled.as_str() },
            "u": { "$unset": { "cancel_unsettled_ms": "" } },
        };
        self.gateway.write_plain(Verb::Update, BOOKINGS, vec![operation]).await.map(drop)
    }

    /// Records the settlement of these sales, where its entry is not archived: the confirmation time and
    /// the resulting version. If the entry is archived later, it changes nothing.
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
