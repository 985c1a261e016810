//! Stores a batch of the booking log: ledger, newest states, claims, outcomes.
//!
//! A sale is decided in two round trips: [ledger ∥ claims ∥ states of other bookings], then its state
//! together with its outcome (`trial_runner`). Only this order matters: an outcome needs its claims.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use mongodb::bson::Document;

use super::Archive;
use super::documents::{TRANSITIONS, transition_document, transition_of};
use super::error::ArchiveError;
use super::fold::{Folded, fold};
use super::gateway::{DUPLICATE_KEY, Verb};
use super::states::write_states;
use super::trial_runner::{Sale, TrialResult, TrialRunner};
use crate::domain::{Booking, BookingId, Entry, Kind, Outcome, Partition, Transition};

/// Greatest size of an entry's texts and seats, bytes; a larger entry is invalid. A thousand entries of
/// this size stay well below MongoDB's 48 MB a message.
const ENTRY_BYTES_MAX: usize = 16 * 1024;

/// The result of storing a batch. An entry in neither list is stored and needs no settlement.
#[derive(Clone, Debug, Default)]
pub struct StoredBatch {
    /// One for each `sold` entry that was decided, now or earlier.
    pub sales: Vec<DecidedSale>,
    /// Index and reason of each entry that could not be stored; the others were.
    pub failed: Vec<(usize, String)>,
}

/// The steps of storing a batch. The first three run concurrently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreStep {
    /// Every entry is in the ledger.
    Ledger,
    /// The bookings' newest states are written, but of those that are written with an outcome.
    States,
    /// Claims are inserted on all seats of the batch's sales that had none.
    Claims,
    /// Every sale is decided, and its state written.
    Outcomes,
}

impl StoreStep {
    /// The label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            StoreStep::Ledger => "ledger",
            StoreStep::States => "states",
            StoreStep::Claims => "claims",
            StoreStep::Outcomes => "outcomes",
        }
    }
}

/// Observes the steps of storing a batch. Steps without work are skipped.
pub trait StoreObserver: Send + Sync {
    /// Called when a step has succeeded after `seconds`.
    fn done(&self, step: StoreStep, seconds: f64);
}

/// An observer that does nothing.
pub struct NoObserver;

impl StoreObserver for NoObserver {
    fn done(&self, _: StoreStep, _: f64) {}
}

/// The archive's decision about one `sold` entry, to be settled in Redis.
#[derive(Clone, Debug)]
pub struct DecidedSale {
    /// Index of the entry in the batch.
    pub index: usize,
    /// The booking according to the entry, with the time at which the archive has it confirmed; 0 if that
    /// is unknown.
    pub booking: Booking,
    /// The outcome in the archive.
    pub outcome: Outcome,
    /// Whether another entry decided the outcome, now or earlier: then the archive may differ from the
    /// entry in other fields of the booking, such as the time of payment.
    pub is_adopted: bool,
}

impl Archive {
    /// Stores a batch. After an error the state of every entry is unknown: the whole batch must be
    /// stored again, at any time and by any worker.
    pub async fn store(&self, batch: &[(Partition, Entry)]) -> Result<StoredBatch, ArchiveError> {
        self.store_observed(batch, &NoObserver).await
    }

    /// [`Archive::store`] with an observer.
    pub async fn store_observed(
        &self,
        batch: &[(Partition, Entry)],
        observer: &dyn StoreObserver,
    ) -> Result<StoredBatch, ArchiveError> {
        self.store_with(batch, observer, |_| 0, std::future::ready(Ok(()))).await
    }

    /// [`Archive::store_observed`] with another write concurrent with the first three steps: no sale is
    /// decided before it is done, and if it fails, so does the batch. `now_ms` is the time by the clock of
    /// a partition's Redis, or 0 while that is unknown: sales that are decided now are confirmed then.
    pub async fn store_with(
        &self,
        batch: &[(Partition, Entry)],
        observer: &dyn StoreObserver,
        now_ms: impl Fn(Partition) -> i64,
        other_write: impl Future<Output = Result<(), ArchiveError>>,
    ) -> Result<StoredBatch, ArchiveError> {
        let mut failed = BTreeMap::new();
        let ledger = Ledger::of(batch, &mut failed);
        let readable = batch.iter().map(|(_, entry)| entry).enumerate();
        let readable: Vec<(usize, &Entry)> =
            readable.filter(|(index, _)| !failed.contains_key(index)).collect();
        let folds = fold(readable.iter().copied());
        let sales = sales(&readable);
        let to_decide = sales.values().map(|&(index, transition)| {
            // The newest state of most sales is the sale: it is written with the outcome.
            let state = folds.get(&transition.booking).filter(|one| one.ends_with(transition));
            Sale { transition, confirmed_ms: now_ms(batch[index].0), state }
        });
        let mut trials = TrialRunner::new(&self.gateway, to_decide);
        let with_outcome = trials.bookings_with_states();
        let states = folds.values().filter(|folded| !with_outcome.contains(&folded.booking()));
        let states: Vec<&Folded<'_>> = states.collect();
        let (any_ledger, any_states) = (!ledger.documents.is_empty(), !folds.is_empty());
        let any_sales = !sales.is_empty();

        let step = |step, any: bool| ObservedStep { observer: any.then_some(observer), step };
        let (ledger_errors, states, claims, other_write) = tokio::join!(
            step(StoreStep::Ledger, any_ledger).run(self.insert(ledger)),
            step(StoreStep::States, any_states).run(write_states(&self.gateway, &states)),
            step(StoreStep::Claims, any_sales).run(trials.insert_claims()),
            other_write,
        );
        failed.extend(ledger_errors?);
        claims?;
        other_write?;
        let mut refused = states?;
        refused.keys().for_each(|booking| trials.remove(*booking));
        let decided = step(StoreStep::Outcomes, any_sales).run(trials.run()).await?;
        refused.extend(decided.refused);
        for (booking, reason) in refused {
            let members = &folds[&booking].members;
            failed.extend(members.iter().map(|index| (*index, reason.clone())));
        }
        Ok(collect(&readable, &sales, &decided.outcomes, failed))
    }

    /// Decides archived, undecided sales, as storing their entries would have. The outcome is absent for
    /// a sale that other sales keep contesting.
    pub async fn decide_archived(
        &self,
        paid: &[Booking],
    ) -> Result<HashMap<BookingId, Outcome>, ArchiveError> {
        let sales: Vec<Transition> = paid.iter().map(transition_of).collect();
        let trials = TrialRunner::new(&self.gateway, sales.iter().map(Sale::archived));
        let outcomes = trials.run().await?.outcomes.into_iter();
        Ok(outcomes.filter_map(|(id, result)| Some((id, result?.outcome))).collect())
    }

    /// Inserts ledger documents; a duplicate is the same document.
    async fn insert(&self, ledger: Ledger) -> Result<Vec<(usize, String)>, ArchiveError> {
        if ledger.documents.is_empty() {
            return Ok(Vec::new());
        }
        let written = self.gateway.write(Verb::Insert, TRANSITIONS, ledger.documents).await?;
        let refused = written.errors.into_iter().filter(|error| error.code != DUPLICATE_KEY);
        Ok(refused.map(|error| (ledger.indexes[error.index], error.message)).collect())
    }
}

/// A step with its observer, if any.
struct ObservedStep<'a> {
    observer: Option<&'a dyn StoreObserver>,
    step: StoreStep,
}

impl ObservedStep<'_> {
    /// Runs the step and reports its success to the observer.
    async fn run<T>(
        self,
        work: impl Future<Output = Result<T, ArchiveError>>,
    ) -> Result<T, ArchiveError> {
        let began = Instant::now();
        let result = work.await;
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

/// The sale of each booking, with the index of its entry; of several entries, the one with the highest
/// version.
fn sales<'a>(entries: &[(usize, &'a Entry)]) -> BTreeMap<BookingId, (usize, &'a Transition)> {
    let mut sales: BTreeMap<BookingId, (usize, &Transition)> = BTreeMap::new();
    for (index, entry) in entries.iter().filter(|(_, entry)| entry.kind == Kind::Sold) {
        let Some(sale) = &entry.transition else { continue };
        let newest = sales.entry(sale.booking).or_insert((*index, sale));
        if sale.version > newest.1.version {
            *newest = (*index, sale);
        }
    }
    sales
}

/// One decided sale for each stored `sold` entry whose booking was decided.
fn collect(
    entries: &[(usize, &Entry)],
    sales: &BTreeMap<BookingId, (usize, &Transition)>,
    outcomes: &HashMap<BookingId, Option<TrialResult>>,
    mut failed: BTreeMap<usize, String>,
) -> StoredBatch {
    let mut decided = Vec::new();
    for (index, entry) in entries.iter().filter(|(_, entry)| entry.kind == Kind::Sold) {
        let Some(sale) = &entry.transition else { continue };
        match outcomes.get(&sale.booking) {
            _ if failed.contains_key(index) => {}
            Some(Some(result)) => {
                let is_tried = sales.get(&sale.booking).is_some_and(|tried| tried.1 == sale);
                let is_adopted = result.is_adopted || !is_tried;
                let confirmed_ms = result.confirmed_ms;
                let booking = Booking { confirmed_ms, ..sale.to_booking() };
                let outcome = result.outcome;
                decided.push(DecidedSale { index: *index, booking, outcome, is_adopted });
            }
            Some(None) | None => {
                failed.insert(*index, "other sales keep contesting its seats".to_owned());
            }
        }
    }
    StoredBatch { sales: decided, failed: failed.into_iter().collect() }
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
        return Err(format!("the entry has {bytes} bytes, more than {ENTRY_BYTES_MAX}"));
    }
    Ok(())
}
