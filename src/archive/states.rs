//! Writes the newest states of bookings: one guarded operation a booking, by its fold ([`super::fold`]).

use std::collections::{BTreeMap, HashMap};

use mongodb::bson::{Document, doc};
use mongodb::options::FindOptions;
use serde::Deserialize;

use super::documents::{BOOKINGS, parse_booking};
use super::error::ArchiveError;
use super::fold::Folded;
use super::gateway::{DUPLICATE_KEY, Gateway, Verb, WriteError};
use crate::domain::{BookingId, Outcome};

/// What a sale's settlement may have to change in its document.
#[derive(Deserialize)]
struct SettledDocument {
    #[serde(rename = "_id")]
    id: String,
    outcome: Option<Outcome>,
    version: i64,
    confirmed_ms: i64,
}

/// Writes the newest state of each booking; returns those whose document was refused.
pub(super) async fn write_states(
    gateway: &Gateway,
    folds: &[&Folded<'_>],
) -> Result<HashMap<BookingId, String>, ArchiveError> {
    let mut refused = HashMap::new();
    let (settled, others): (Vec<&Folded<'_>>, Vec<&Folded<'_>>) =
        folds.iter().copied().partition(|folded| folded.settles_a_sale());
    let (new, known): (Vec<&Folded<'_>>, Vec<&Folded<'_>>) =
        others.into_iter().partition(|folded| folded.is_new());
    let documents = Operations::of(&new, &mut refused, |folded| Ok(vec![folded.document()?]));
    let upsert = |folded: &Folded<'_>| Ok(vec![folded.upsert_operation()?]);
    let upserts = Operations::of(&known, &mut refused, upsert);
    let (undecided, inserted, upserted) = tokio::join!(
        write_settled(gateway, &settled),
        write(gateway, Verb::Insert, documents),
        write(gateway, Verb::Update, upserts),
    );
    let mut errors = inserted?;
    errors.extend(upserted?);
    // An entry of a lost log.
    let upserts = Operations::of(&undecided?, &mut refused, upsert);
    errors.extend(write(gateway, Verb::Update, upserts).await?);
    let by_id: BTreeMap<BookingId, &Folded<'_>> =
        folds.iter().map(|folded| (folded.booking(), *folded)).collect();
    let mut existing = Vec::new();
    for (booking, error) in errors {
        match error.code {
            DUPLICATE_KEY => existing.push(by_id[&booking]),
            _ => drop(refused.insert(booking, error.message)),
        }
    }
    // A document exists: it is newer, or decided, or another worker inserted it concurrently. In the
    // last case this state may be newer, so it is written again.
    let repeats = Operations::of(&existing, &mut refused, |folded| {
        let mut operations = folded.update_operations()?.to_vec();
        operations.extend(folded.late_operations()?);
        Ok(operations)
    });
    let errors = write(gateway, Verb::Update, repeats).await?;
    refused.extend(errors.into_iter().map(|(booking, error)| (booking, error.message)));
    Ok(refused)
}

/// Writes what settlements of sales change, which is mostly nothing: the archive decided these sales, with
/// the version and the time that the settlement then had. Returns those that are undecided here.
async fn write_settled<'a, 'b>(
    gateway: &Gateway,
    folds: &[&'a Folded<'b>],
) -> Result<Vec<&'a Folded<'b>>, ArchiveError> {
    if folds.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<String> = folds.iter().map(|folded| folded.booking().to_string()).collect();
    let fields = doc! { "outcome": 1, "version": 1, "confirmed_ms": 1 };
    let options = FindOptions::builder().projection(fields).build();
    let filter = doc! { "_id": { "$in": ids } };
    let found: Vec<SettledDocument> = gateway.find(BOOKINGS, filter, options).await?;
    let mut by_id = HashMap::new();
    for document in found {
        by_id.insert(parse_booking(&document.id)?, document);
    }
    let (mut undecided, mut operations) = (Vec::new(), Vec::new());
    for folded in folds {
        let found = by_id.get(&folded.booking());
        match found.and_then(|found| Some((found, found.outcome?))) {
            Some((found, Outcome::Sold | Outcome::Cancelled)) => {
                let is_known = folded.is_settled_by(found.version, found.confirmed_ms);
                let operation = (!is_known).then(|| folded.settled_operation());
                operations.extend(operation.transpose().map_err(ArchiveError::Corrupt)?);
            }
            _ => undecided.push(*folded),
        }
    }
    if !operations.is_empty() {
        gateway.write_plain(Verb::Update, BOOKINGS, operations).await?;
    }
    Ok(undecided)
}

/// Returns the refused operations with their bookings.
async fn write(
    gateway: &Gateway,
    verb: Verb,
    operations: Operations,
) -> Result<Vec<(BookingId, WriteError)>, ArchiveError> {
    if operations.documents.is_empty() {
        return Ok(Vec::new());
    }
    let written = gateway.write(verb, BOOKINGS, operations.documents).await?;
    let errors = written.errors.into_iter();
    Ok(errors.map(|error| (operations.bookings[error.index], error)).collect())
}

/// Operations with their bookings.
struct Operations {
    documents: Vec<Document>,
    bookings: Vec<BookingId>,
}

impl Operations {
    fn of(
        folds: &[&Folded<'_>],
        refused: &mut HashMap<BookingId, String>,
        make: impl Fn(&Folded<'_>) -> Result<Vec<Document>, String>,
    ) -> Self {
        let mut all = Operations { documents: Vec::new(), bookings: Vec::new() };
        for folded in folds {
            match make(folded) {
                Ok(documents) => {
                    all.bookings.extend(documents.iter().map(|_| folded.booking()));
                    all.documents.extend(documents);
                }
                Err(reason) => drop(refused.insert(folded.booking(), reason)),
            }
        }
        all
    }
}
