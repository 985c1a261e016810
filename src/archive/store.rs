//! Storing a batch of the booking log: ledger, newest states, claims, outcomes.
//!
//! On the way from a sale to its verdict lie two round trips: [ledger ∥ states ∥ claims], then
//! outcomes. The order matters only there: an outcome needs its claims and its document.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use mongodb::bson::Document;

use super::Archive;
use super::documents::{BOOKINGS, TRANSITIONS, booking_of, transition_document, transition_of};
use super::error::ArchiveError;
use super::fold::{Folded, fold};
use super::gateway::{DUPLICATE_KEY, Verb, WriteError};
use super::judge::{Judge, Ruling};
use crate::domain::{Booking, BookingId, Entry, Kind, Outcome, Partition, Transition};

/// Bytes of an entry's texts and seats beyond which it is not one of ours. A thousand entries of
/// this size stay well below MongoDB's 48 MB a message.
const ENTRY_BYTES_MAX: usize = 16 * 1024;

/// What became of a batch. An entry that is in neither list is stored and needs no settling.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// One for each `sold` entry that was decided, now or earlier.
    pub verdicts: Vec<Verdict>,
    /// Index and reason of each entry that could not be stored; its neighbours were.
    pub failed: Vec<(usize, String)>,
}

/// The steps of storing a batch. The first three run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreStep {
    /// Every entry is in the ledger.
    Ledger,
    /// The bookings' newest states are written.
    States,
    /// Claims are inserted on all seats of the batch's sales that had none.
    Claims,
    /// Every sale is decided.
    Outcomes,
}

impl StoreStep {
    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            StoreStep::Ledger => "ledger",
            StoreStep::States => "states",
            StoreStep::Claims => "claims",
            StoreStep::Outcomes => "outcomes",
        }
    }
}

/// Told of each step of storing a batch when it is done. Steps without work are not told.
pub trait StoreObserver: Send + Sync {
    /// This step succeeded after `seconds`.
    fn done(&self, step: StoreStep, seconds: f64);
}

/// Nobody looks on.
pub struct NoObserver;

impl StoreObserver for NoObserver {
    fn done(&self, _: StoreStep, _: f64) {}
}

/// The archive's decision about one `sold` entry, to be settled in Redis.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Index of the entry in the batch.
    pub index: usize,
    /// The booking as the entry tells of it.
    pub booking: Booking,
    /// What stands in the archive.
    pub outcome: Outcome,
    /// Whether another than this entry decided it, now or earlier: then the archive may say other
    /// things of the booking than the entry does, such as when it was paid.
    pub is_adopted: bool,
}

impl Archive {
    /// Stores a batch. `Err` says that nothing is known of any entry: the whole batch is to be
    /// stored again, at any later time and by whichever worker.
    pub async fn store(&self, batch: &[(Partition, Entry)]) -> Result<Stored, ArchiveError> {
        self.store_observed(batch, &NoObserver).await
    }

    /// [`Archive::store`] with somebody looking on.
    pub async fn store_observed(
        &self,
        batch: &[(Partition, Entry)],
        observer: &dyn StoreObserver,
    ) -> Result<Stored, ArchiveError> {
        self.store_beside(batch, observer, std::future::ready(Ok(()))).await
    }

    /// The same, with another write beside the first three steps: no sale is decided before it is
    /// done, and if it fails, so does the batch.
    pub async fn store_beside(
        &self,
        batch: &[(Partition, Entry)],
        observer: &dyn StoreObserver,
        beside: impl Future<Output = Result<(), ArchiveError>>,
    ) -> Result<Stored, ArchiveError> {
        let mut failed = BTreeMap::new();
        let ledger = Ledger::of(batch, &mut failed);
        let readable = batch.iter().map(|(_, entry)| entry).enumerate();
        let readable: Vec<(usize, &Entry)> =
            readable.filter(|(index, _)| !failed.contains_key(index)).collect();
        let folds = fold(readable.iter().copied());
        let sales = sales(&readable);
        let (any_ledger, any_states) = (!ledger.documents.is_empty(), !folds.is_empty());
        let any_sales = !sales.is_empty();
        let mut judge = Judge::new(&self.gateway, sales.values().copied());

        let told = |step, any: bool| Told { observer: any.then_some(observer), step };
        let (ledger_errors, states, claims, beside) = tokio::join!(
            told(StoreStep::Ledger, any_ledger).when(self.insert(ledger)),
            told(StoreStep::States, any_states).when(self.write_states(&folds)),
            told(StoreStep::Claims, any_sales).when(judge.take()),
            beside,
        );
        failed.extend(ledger_errors?);
        claims?;
        beside?;
        for (booking, reason) in states? {
            judge.drop_sale(booking);
            let members = &folds[&booking].members;
            failed.extend(members.iter().map(|index| (*index, reason.clone())));
        }
        let outcomes = told(StoreStep::Outcomes, any_sales).when(judge.run()).await?;
        Ok(collect(&readable, &sales, &outcomes, failed))
    }

    /// Judges sales that were archived and not decided, as storing their entries would have. Of a
    /// sale that others contest all the time the outcome is absent.
    pub async fn judge_archived(
        &self,
        paid: &[Booking],
    ) -> Result<HashMap<BookingId, Outcome>, ArchiveError> {
        let sales: Vec<Transition> = paid.iter().map(transition_of).collect();
        let outcomes = Judge::new(&self.gateway, sales.iter()).run().await?;
        Ok(outcomes.into_iter().filter_map(|(id, ruling)| Some((id, ruling?.outcome))).collect())
    }

    /// Inserts ledger documents; one that is there already is this one.
    async fn insert(&self, ledger: Ledger) -> Result<Vec<(usize, String)>, ArchiveError> {
        if ledger.documents.is_empty() {
            return Ok(Vec::new());
        }
        let written = self.gateway.write(Verb::Insert, TRANSITIONS, ledger.documents).await?;
        let refused = written.errors.into_iter().filter(|error| error.code != DUPLICATE_KEY);
        Ok(refused.map(|error| (ledger.indexes[error.index], error.message)).collect())
    }

    /// Writes the newest state of each booking; answers with those whose document was refused.
    async fn write_states(
        &self,
        folds: &BTreeMap<BookingId, Folded<'_>>,
    ) -> Result<HashMap<BookingId, String>, ArchiveError> {
        let mut refused = HashMap::new();
        let mut existing = Vec::new();
        let upserts = Operations::of(folds.keys().copied(), &mut refused, |booking| {
            Ok(vec![folds[&booking].upsert_operation()?])
        });
        for (booking, error) in self.update(upserts).await? {
            match error.code {
                DUPLICATE_KEY => existing.push(booking),
                _ => drop(refused.insert(booking, error.message)),
            }
        }
        // There is a document. It is newer, or decided, or was made by another worker between
        // our looking and our writing: then ours may be the newer one and is tried once more.
        let repeats = Operations::of(existing.into_iter(), &mut refused, |booking| {
            let folded = &folds[&booking];
            let mut operations = folded.update_operations()?.to_vec();
            operations.extend(folded.late_operations()?);
            Ok(operations)
        });
        let errors = self.update(repeats).await?;
        refused.extend(errors.into_iter().map(|(booking, error)| (booking, error.message)));
        Ok(refused)
    }

    async fn update(
        &self,
        operations: Operations,
    ) -> Result<Vec<(BookingId, WriteError)>, ArchiveError> {
        if operations.documents.is_empty() {
            return Ok(Vec::new());
        }
        let written = self.gateway.write(Verb::Update, BOOKINGS, operations.documents).await?;
        let errors = written.errors.into_iter();
        Ok(errors.map(|error| (operations.bookings[error.index], error)).collect())
    }
}

/// Tells an observer, if there is one, of a step.
struct Told<'a> {
    observer: Option<&'a dyn StoreObserver>,
    step: StoreStep,
}

impl Told<'_> {
    /// Runs the step and tells of it if it succeeds.
    async fn when<T>(
        self,
        run: impl Future<Output = Result<T, ArchiveError>>,
    ) -> Result<T, ArchiveError> {
        let began = Instant::now();
        let result = run.await;
        if let (Some(observer), Ok(_)) = (self.observer, &result) {
            observer.done(self.step, began.elapsed().as_secs_f64());
        }
        result
    }
}

/// Ledger documents with the indexes of their entries.
struct Ledger {
    documents: Vec<Document>,
    indexes: Vec<usize>,
}

impl Ledger {
    fn of(batch: &[(Partition, Entry)], failed: &mut BTreeMap<usize, String>) -> Self {
        let mut ledger = Ledger { documents: Vec::new(), indexes: Vec::new() };
        for (index, (partition, entry)) in batch.iter().enumerate() {
            let document = check_size(entry).and_then(|()| transition_document(*partition, entry));
            match document {
                Ok(Some(document)) => {
                    ledger.documents.push(document);
                    ledger.indexes.push(index);
                }
                Ok(None) => {}
                Err(reason) => drop(failed.insert(index, reason)),
            }
        }
        ledger
    }
}

/// Update operations with the bookings they are for.
struct Operations {
    documents: Vec<Document>,
    bookings: Vec<BookingId>,
}

impl Operations {
    fn of(
        bookings: impl Iterator<Item = BookingId>,
        refused: &mut HashMap<BookingId, String>,
        make: impl Fn(BookingId) -> Result<Vec<Document>, String>,
    ) -> Self {
        let mut all = Operations { documents: Vec::new(), bookings: Vec::new() };
        for booking in bookings {
            match make(booking) {
                Ok(documents) => {
                    all.bookings.extend(documents.iter().map(|_| booking));
                    all.documents.extend(documents);
                }
                Err(reason) => drop(refused.insert(booking, reason)),
            }
        }
        all
    }
}

/// The sale of each booking that was sold; of several, the one with the highest version.
fn sales<'a>(entries: &[(usize, &'a Entry)]) -> BTreeMap<BookingId, &'a Transition> {
    let mut sales: BTreeMap<BookingId, &Transition> = BTreeMap::new();
    let sold = entries.iter().filter(|(_, entry)| entry.kind == Kind::Sold);
    for sale in sold.filter_map(|(_, entry)| entry.transition.as_ref()) {
        let kept = sales.entry(sale.booking).or_insert(sale);
        if sale.version > kept.version {
            *kept = sale;
        }
    }
    sales
}

/// One verdict a `sold` entry whose booking was decided and that was itself stored.
fn collect(
    entries: &[(usize, &Entry)],
    sales: &BTreeMap<BookingId, &Transition>,
    outcomes: &HashMap<BookingId, Option<Ruling>>,
    mut failed: BTreeMap<usize, String>,
) -> Stored {
    let mut verdicts = Vec::new();
    for (index, entry) in entries.iter().filter(|(_, entry)| entry.kind == Kind::Sold) {
        let Some(sale) = &entry.transition else { continue };
        match outcomes.get(&sale.booking) {
            _ if failed.contains_key(index) => {}
            Some(Some(ruling)) => {
                let is_judged = sales.get(&sale.booking).is_some_and(|judged| *judged == sale);
                let is_adopted = ruling.is_adopted || !is_judged;
                let (booking, outcome) = (booking_of(sale), ruling.outcome);
                verdicts.push(Verdict { index: *index, booking, outcome, is_adopted });
            }
            Some(None) | None => {
                failed.insert(*index, "other sales contest its seats all the time".to_owned());
            }
        }
    }
    Stored { verdicts, failed: failed.into_iter().collect() }
}

fn check_size(entry: &Entry) -> Result<(), String> {
    let link = entry.link.tag.len() + entry.link.prev_tag.len();
    let mut bytes = entry.detail.len() + link;
    if let Some(t) = &entry.transition {
        let texts = [&t.currency, &t.payment, &t.idempotency, &t.fingerprint, &t.trace];
        bytes += texts.iter().map(|text| text.len()).sum::<usize>();
        bytes += t.user.as_str().len() + size_of_val(t.seats.as_slice());
    }
    if bytes > ENTRY_BYTES_MAX {
        return Err(format!("{bytes} bytes, at most {ENTRY_BYTES_MAX} are ours"));
    }
    Ok(())
}
