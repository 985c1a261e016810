//! What a batch of log entries does to the documents of its bookings: one guarded upsert a
//! booking, whatever the batch says of it and in whatever order.

use std::collections::BTreeMap;

use mongodb::bson::{Document, doc};

use super::documents::{signed, transition_fields};
use crate::domain::{BookingId, Entry, Kind, Outcome, Transition};

/// The generation that an event is made with: there is no older one.
const FIRST_GENERATION: i64 = 1;

/// All that a batch says of one booking.
pub(super) struct Folded<'a> {
    /// Which entries of the batch, by index.
    pub members: Vec<usize>,
    /// The entry with the greatest `(generation, version)`.
    latest: &'a Entry,
    /// Its booking's part.
    transition: &'a Transition,
    /// When it was settled as CONFIRMED, VOIDED or CANCELLED; 0 where the batch does not say.
    confirmed_ms: i64,
    voided_ms: i64,
    cancelled_ms: i64,
}

/// Folds the entries that have a booking; the others are passed over.
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
            confirmed_ms: 0,
            voided_ms: 0,
            cancelled_ms: 0,
        });
        folded.members.push(index);
        let rank = (entry.generation, transition.version);
        if rank > (folded.latest.generation, folded.transition.version) {
            (folded.latest, folded.transition) = (entry, transition);
        }
        let settled_ms = match entry.kind {
            Kind::Confirmed => &mut folded.confirmed_ms,
            Kind::Voided => &mut folded.voided_ms,
            Kind::Cancelled => &mut folded.cancelled_ms,
            _ => continue,
        };
        *settled_ms = entry.time_ms.max(*settled_ms);
    }
    folds
}

impl Folded<'_> {
    /// Writes the newest state, guarded: only over an older one, never over an outcome. With
    /// `upsert` it also makes the document; where one exists that is refused as a duplicate.
    ///
    /// "Older" is two operations rather than one with `$or`: each names the `_id` and nothing
    /// that would make a server go through the collection for it (SecantusDB does for `$or`).
    pub fn state_operations(&self, upsert: bool) -> Result<Vec<Document>, String> {
        let generation = signed(self.latest.generation, "generation")?;
        let version = signed(self.transition.version, "version")?;
        let id = self.transition.booking.to_string();
        let mut state = transition_fields(self.transition)?;
        let is_over = !self.transition.status.is_live();
        state.extend(doc! {
            "event": i64::from(self.transition.booking.event().0),
            "generation": generation,
            "confirmed_ms": self.confirmed_ms,
            "ended_ms": if is_over { self.latest.time_ms } else { 0 },
        });
        let undecided = doc! { "_id": id, "outcome": { "$exists": false } };
        let mut operations = Vec::with_capacity(2);
        if generation > FIRST_GENERATION {
            let mut older = undecided.clone();
            older.insert("generation", doc! { "$lt": generation });
            operations.push(doc! { "q": older, "u": { "$set": state.clone() } });
        }
        let mut same = undecided;
        same.extend(doc! { "generation": generation, "version": { "$lt": version } });
        operations.push(doc! { "q": same, "u": { "$set": state }, "upsert": upsert });
        Ok(operations)
    }

    /// What later entries may still add to a booking whose outcome is set: its version and the
    /// times at which Redis followed. Each operation matches only the outcome it belongs to.
    pub fn late_operations(&self) -> Result<Vec<Document>, String> {
        let version = signed(self.transition.version, "version")?;
        let id = self.transition.booking.to_string();
        let mut operations = vec![doc! {
            "q": { "_id": &id, "outcome": { "$exists": true } },
            "u": { "$max": { "version": version } },
        }];
        if self.confirmed_ms > 0 {
            let outcomes = [Outcome::Sold.word(), Outcome::Cancelled.word()];
            operations.push(doc! {
                "q": { "_id": &id, "outcome": { "$in": outcomes.to_vec() } },
                "u": { "$max": { "confirmed_ms": self.confirmed_ms } },
            });
        }
        if self.voided_ms > 0 {
            operations.push(doc! {
                "q": { "_id": &id, "outcome": Outcome::Refund.word() },
                "u": { "$max": { "ended_ms": self.voided_ms } },
            });
        }
        if self.cancelled_ms > 0 {
            // Redis shows the cancellation: nothing is left to mend.
            operations.push(doc! {
                "q": { "_id": &id, "outcome": Outcome::Cancelled.word() },
                "u": {
                    "$max": { "ended_ms": self.cancelled_ms },
                    "$unset": { "cancel_unsettled_ms": "" },
                },
            });
        }
        Ok(operations)
    }
}
