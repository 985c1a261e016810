//! Folds a batch of log entries into one guarded upsert a booking, for any number and order of its
//! entries.

use std::collections::BTreeMap;

use mongodb::bson::{Document, doc};

use super::documents::{signed, transition_fields};
use crate::domain::{BookingId, Entry, Kind, Outcome, Transition};

/// The version of a booking in its first entry.
const FIRST_VERSION: u64 = 1;

/// The entries of a batch about one booking.
pub(super) struct Folded<'a> {
    /// Indexes of the entries in the batch.
    pub members: Vec<usize>,
    /// The entry with the greatest `(generation, version)`.
    latest: &'a Entry,
    /// The transition of that entry.
    transition: &'a Transition,
    /// The smallest version of the entries.
    first_version: u64,
    /// Times of settlement as CONFIRMED, VOIDED or CANCELLED; 0 if not in the batch.
    confirmed_ms: i64,
    voided_ms: i64,
    cancelled_ms: i64,
}

/// Folds the entries that have a booking and skips the others.
pub(super) fn fold<'a>(
    entries: impl Iterator<Item = (usize, &'a Entry)>,
) -> BTreeMap<BookingId, Folded<'a>> {
    let mut folds: BTreeMap<BookingId, Folded<'a>> = BTreeMap::new();
    for (index, entry) in entries {
        let Some(transition) = &entry.transition else { continue };
        let folded = folds.entry(transition.booking).or_insert(Folded {
            members: Vec::new(),
            latest: entry,
            transition,
            first_version: transition.version,
            confirmed_ms: 0,
            voided_ms: 0,
            cancelled_ms: 0,
        });
        folded.members.push(index);
        folded.first_version = folded.first_version.min(transition.version);
        let rank = (entry.generation, transition.version);
        if rank > (folded.latest.generation, folded.transition.version) {
            (folded.latest, folded.transition) = (entry, transition);
        }
        let (settled_ms, time_ms) = match entry.kind {
            Kind::Confirmed => (&mut folded.confirmed_ms, transition.confirmed_ms),
            Kind::Voided => (&mut folded.voided_ms, entry.time_ms),
            Kind::Cancelled => (&mut folded.cancelled_ms, entry.time_ms),
            _ => continue,
        };
        *settled_ms = time_ms.max(*settled_ms);
    }
    folds
}

impl Folded<'_> {
    /// The booking.
    pub fn booking(&self) -> BookingId {
        self.transition.booking
    }

    /// Whether the newest state is this entry's.
    pub fn ends_with(&self, transition: &Transition) -> bool {
        std::ptr::eq(self.transition, transition)
    }

    /// Whether the entries begin with the booking itself, so that it probably has no document yet.
    pub fn is_new(&self) -> bool {
        self.first_version <= FIRST_VERSION
    }

    /// The document of a new booking. If one exists, MongoDB refuses it as a duplicate, as it does an
    /// upsert whose guard fails; servers insert several times faster than they upsert.
    pub fn document(&self) -> Result<Document, String> {
        let mut document = doc! { "_id": self.transition.booking.to_string() };
        document.extend(self.state()?);
        Ok(document)
    }

    /// Whether the entries end with the settlement of a sale. It follows the sale's decision, so the
    /// booking is normally decided, and [`Folded::settled_operation`] all that has to be written.
    pub fn settles_a_sale(&self) -> bool {
        self.latest.kind == Kind::Confirmed && self.voided_ms == 0 && self.cancelled_ms == 0
    }

    /// Raises version and time of settlement of a sold booking. No state is written: an outcome is never
    /// overwritten.
    pub fn settled_operation(&self) -> Result<Document, String> {
        let outcomes = vec![Outcome::Sold.as_str(), Outcome::Cancelled.as_str()];
        let version = signed(self.transition.version, "version")?;
        Ok(doc! {
            "q": { "_id": self.transition.booking.to_string(), "outcome": { "$in": outcomes } },
            "u": { "$max": { "version": version, "confirmed_ms": self.confirmed_ms } },
        })
    }

    /// Whether a decided booking with this version and time of settlement needs no
    /// [`Folded::settled_operation`].
    pub fn is_settled_by(&self, version: i64, confirmed_ms: i64) -> bool {
        let own = i64::try_from(self.transition.version).unwrap_or(i64::MAX);
        version >= own && confirmed_ms >= self.confirmed_ms
    }

    /// [`Folded::upsert_operation`] with the fields of an outcome: decides the booking in the same step.
    /// It does not match a document that is newer, of another generation, or decided.
    pub fn deciding_operation(&self, outcome: Document) -> Result<Document, String> {
        let mut operation = self.upsert_operation()?;
        let changes = operation.get_document_mut("u").and_then(|u| u.get_document_mut("$set"));
        changes.map_err(|error| error.to_string())?.extend(outcome);
        Ok(operation)
    }

    /// Inserts the document, or replaces an older state of the same generation. If a document exists that
    /// does not match, MongoDB refuses the insert as a duplicate.
    pub fn upsert_operation(&self) -> Result<Document, String> {
        let generation = signed(self.latest.generation, "generation")?;
        let version = signed(self.transition.version, "version")?;
        let older = doc! { "generation": generation, "version": { "$lt": version } };
        self.state_operation(older, true)
    }

    /// Replaces an older state: of the same generation, or of an earlier one. These are two operations
    /// because `$or` makes some servers scan the collection.
    pub fn update_operations(&self) -> Result<[Document; 2], String> {
        let generation = signed(self.latest.generation, "generation")?;
        let version = signed(self.transition.version, "version")?;
        let older = doc! { "generation": generation, "version": { "$lt": version } };
        let earlier = doc! { "generation": { "$lt": generation } };
        Ok([self.state_operation(older, false)?, self.state_operation(earlier, false)?])
    }

    /// Writes the newest state if the guard matches, never over an outcome.
    fn state_operation(&self, guard: Document, upsert: bool) -> Result<Document, String> {
        let state = self.state()?;
        let mut filter = doc! {
            "_id": self.transition.booking.to_string(),
            "outcome": { "$exists": false },
        };
        filter.extend(guard);
        Ok(doc! { "q": filter, "u": { "$set": state }, "upsert": upsert })
    }

    /// The fields of the newest state.
    fn state(&self) -> Result<Document, String> {
        let mut state = transition_fields(self.transition)?;
        let is_over = !self.transition.status.is_live();
        state.extend(doc! {
            "event": i64::from(self.transition.booking.event().0),
            "generation": signed(self.latest.generation, "generation")?,
            "confirmed_ms": self.confirmed_ms,
            "ended_ms": if is_over { self.latest.time_ms } else { 0 },
        });
        Ok(state)
    }

    /// Operations of entries about a decided booking: they raise its version and the times of its
    /// settlement. Each matches only the outcome that it belongs to.
    pub fn late_operations(&self) -> Result<Vec<Document>, String> {
        let version = signed(self.transition.version, "version")?;
        let id = self.transition.booking.to_string();
        let mut operations = vec![doc! {
            "q": { "_id": &id, "outcome": { "$exists": true } },
            "u": { "$max": { "version": version } },
        }];
        if self.confirmed_ms > 0 {
            let outcomes = [Outcome::Sold.as_str(), Outcome::Cancelled.as_str()];
            operations.push(doc! {
                "q": { "_id": &id, "outcome": { "$in": outcomes.to_vec() } },
                "u": { "$max": { "confirmed_ms": self.confirmed_ms } },
            });
        }
        if self.voided_ms > 0 {
            operations.push(doc! {
                "q": { "_id": &id, "outcome": Outcome::Refund.as_str() },
                "u": { "$max": { "ended_ms": self.voided_ms } },
            });
        }
        if self.cancelled_ms > 0 {
            // `cancel_unsettled_ms` stays: the settlement in Redis does not imply the refund.
            operations.push(doc! {
                "q": { "_id": &id, "outcome": Outcome::Cancelled.as_str() },
                "u": { "$max": { "ended_ms": self.cancelled_ms } },
            });
        }
        Ok(operations)
    }
}
