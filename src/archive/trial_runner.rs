//! Runs the trials of a batch in lockstep against MongoDB: each round executes the requested steps of all
//! trials with one command a kind of step. An uncontested batch takes one insert of claims and one update
//! of states and outcomes.
//!
//! An uncontested sale's newest state is written by the operation that sets its outcome. That operation
//! has the guards of both: the document is older, of the same generation, and has no outcome.
//!
//! | what may happen | result |
//! |---|---|
//! | a crash between claims and outcome | The entry stays pending; its next worker finds its own claims, and decides. Until then the archive has an older state of the booking or none, as after a crash before the batch. |
//! | the document is newer, of another generation, or decided | The operation changes nothing, or is refused as a duplicate. The state is written by the rules of `states`, the outcome read, and set if there is none. |
//! | another worker decides it concurrently | One document, so one of the two is first. The other changes nothing and adopts the outcome. |
//! | its first entry is stored later, by another batch | The document exists and is newer: that state is not written. |
//! | its seats are claimed by another booking | Its state is written before the owners are read, so that a sale that must wait is in the archive as paid. |

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::FindOptions;
use serde::Deserialize;
use tokio::time::sleep;

use super::documents::{BOOKINGS, CLAIMS, ClaimDocument, claim_id, parse_booking, signed};
use super::error::ArchiveError;
use super::fold::Folded;
use super::gateway::{DUPLICATE_KEY, Gateway, Verb};
use super::states::write_states;
use super::trial::{Reply, Step, Trial, TrialLimits};
use crate::domain::{BookingId, Outcome, SeatId, Transition};

/// About a second for an owner to be decided, at [`READ_PAUSE`] a read. Contested sales exist only after
/// Redis lost data, so normally there is no wait.
const LIMITS: TrialLimits = TrialLimits { owner_reads_max: 20, races_max: 8 };
/// How long a batch pauses when all its remaining trials wait.
const READ_PAUSE: Duration = Duration::from_millis(50);
/// More than `LIMITS` allows any trial; reached only by a defect.
const ROUNDS_MAX: u32 = 64;

/// A sale to decide.
pub(super) struct Sale<'a> {
    /// Its entry.
    pub transition: &'a Transition,
    /// When it is confirmed if it is decided now, Unix ms, but not before it was paid.
    pub confirmed_ms: i64,
    /// The newest state, if that is not archived yet and to be written with the outcome.
    pub state: Option<&'a Folded<'a>>,
}

impl<'a> Sale<'a> {
    /// A sale whose state is archived.
    pub fn archived(transition: &'a Transition) -> Self {
        Sale { transition, confirmed_ms: 0, state: None }
    }

    fn confirmed_ms(&self) -> i64 {
        self.confirmed_ms.max(self.transition.paid_ms)
    }
}

/// The trials of one batch.
pub(super) struct TrialRunner<'a> {
    gateway: &'a Gateway,
    sales: Vec<(Trial, Sale<'a>)>,
    /// Bookings whose outcome was certainly set here.
    decided: HashSet<BookingId>,
    /// Bookings whose document was refused, and why.
    refused: HashMap<BookingId, String>,
}

/// The results of a batch's trials.
pub(super) struct Decided {
    /// A booking without a result has lost too many races and can be tried again.
    pub outcomes: HashMap<BookingId, Option<TrialResult>>,
    /// Bookings whose document was refused, and why.
    pub refused: HashMap<BookingId, String>,
}

/// The result of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TrialResult {
    /// The booking's outcome.
    pub outcome: Outcome,
    /// Whether another trial, of another sale of the booking, may have set it.
    pub is_adopted: bool,
    /// When the booking is confirmed, if this trial set the outcome `sold`; otherwise 0.
    pub confirmed_ms: i64,
}

#[derive(Deserialize)]
struct OutcomeDocument {
    #[serde(rename = "_id")]
    id: String,
    outcome: Option<Outcome>,
}

impl<'a> TrialRunner<'a> {
    /// Creates one trial a sale. Sales are ordered by event and first seat, so that batches that contest
    /// several seats process them in the same order.
    pub fn new(gateway: &'a Gateway, sales: impl Iterator<Item = Sale<'a>>) -> Self {
        let trial = |sale: Sale<'a>| {
            (Trial::new(sale.transition.booking, &sale.transition.seats, LIMITS), sale)
        };
        let mut sales: Vec<(Trial, Sale<'a>)> = sales.map(trial).collect();
        sales.sort_by_key(|(trial, sale)| {
            (trial.booking().event(), sale.transition.seats.first().copied())
        });
        TrialRunner { gateway, sales, decided: HashSet::new(), refused: HashMap::new() }
    }

    /// The bookings whose newest state is written here.
    pub fn bookings_with_states(&self) -> HashSet<BookingId> {
        let with_state = self.sales.iter().filter(|(_, sale)| sale.state.is_some());
        with_state.map(|(trial, _)| trial.booking()).collect()
    }

    /// Inserts all claims of the batch. Independent of the bookings' documents, which may be written
    /// concurrently.
    pub async fn insert_claims(&mut self) -> Result<(), ArchiveError> {
        let mut claims = Vec::new();
        let mut requested = Vec::new();
        for (index, (trial, _)) in self.sales.iter().enumerate() {
            let Step::InsertClaims(seats) = trial.step() else { continue };
            for seat in seats {
                requested.push((index, *seat));
                let id = claim_id(trial.booking().event(), *seat);
                claims.push(doc! { "_id": id, "owner": trial.booking().to_string() });
            }
        }
        if claims.is_empty() {
            return Ok(());
        }
        let written = self.gateway.write_plain(Verb::Insert, CLAIMS, claims).await?;
        let mut conflicts: HashMap<usize, Vec<SeatId>> = HashMap::new();
        for (index, seat) in written.errors.iter().map(|error| requested[error.index]) {
            conflicts.entry(index).or_default().push(seat);
        }
        for (index, (trial, _)) in self.sales.iter_mut().enumerate() {
            if matches!(trial.step(), Step::InsertClaims(_)) {
                trial.resume(Reply::Conflicts(conflicts.remove(&index).unwrap_or_default()));
            }
        }
        Ok(())
    }

    /// Removes the trial of a booking whose document could not be written.
    pub fn remove(&mut self, booking: BookingId) {
        self.sales.retain(|(trial, _)| trial.booking() != booking);
    }

    /// Runs all trials to their ends. Requires that every booking has a document or its state here.
    pub async fn run(mut self) -> Result<Decided, ArchiveError> {
        for _ in 0..ROUNDS_MAX {
            self.insert_claims().await?;
            self.write_states(|step| !matches!(step, Step::SetOutcome(_))).await?;
            // Writes come first: uncontested sales are decided before other trials read owners.
            self.set_outcomes().await?;
            self.read_own_outcomes().await?;
            self.read_owners().await?;
            self.read_outcomes().await?;
            self.replace_owners().await?;
            let mut open = self.sales.iter().map(|sale| &sale.0).filter(|trial| !is_over(trial));
            let Some(first) = open.next() else { break };
            if first.is_waiting() && open.all(Trial::is_waiting) {
                sleep(READ_PAUSE).await;
            }
        }
        let results = self.sales.iter().map(|(trial, sale)| {
            let id = trial.booking();
            let is_adopted = !self.decided.contains(&id);
            match trial.step() {
                Step::Done(outcome) => {
                    let is_sold = *outcome == Outcome::Sold && !is_adopted;
                    let confirmed_ms = if is_sold { sale.confirmed_ms() } else { 0 };
                    (id, Some(TrialResult { outcome: *outcome, is_adopted, confirmed_ms }))
                }
                _ => (id, None),
            }
        });
        Ok(Decided { outcomes: results.collect(), refused: self.refused })
    }

    /// Writes the states that are still to be written, of trials in such a step. Those that MongoDB
    /// refuses are not decided.
    async fn write_states(&mut self, is_due: impl Fn(&Step) -> bool) -> Result<(), ArchiveError> {
        let due = self.sales.iter_mut().filter(|(trial, _)| is_due(trial.step()));
        let states: Vec<&Folded<'_>> = due.filter_map(|(_, sale)| sale.state.take()).collect();
        if states.is_empty() {
            return Ok(());
        }
        let refused = write_states(self.gateway, &states).await?;
        refused.keys().for_each(|booking| self.remove(*booking));
        self.refused.extend(refused);
        Ok(())
    }

    async fn set_outcomes(&mut self) -> Result<(), ArchiveError> {
        let (mut operations, mut deciding) = (Vec::new(), Vec::new());
        for (trial, sale) in &self.sales {
            if let Step::SetOutcome(outcome) = trial.step() {
                match outcome_operation(sale, *outcome) {
                    Ok(operation) => {
                        operations.push(operation);
                        deciding.push(trial.booking());
                    }
                    Err(reason) => drop(self.refused.insert(trial.booking(), reason)),
                }
            }
        }
        let refused = &self.refused;
        self.sales.retain(|(trial, _)| !refused.contains_key(&trial.booking()));
        if operations.is_empty() {
            return Ok(());
        }
        let requested = operations.len() as i64;
        let written = self.gateway.write(Verb::Update, BOOKINGS, operations).await?;
        // There is one count for the whole command: only a full count means that each trial won.
        let all_won = written.errors.is_empty() && written.touched == requested;
        let is_setting = |step: &Step| matches!(step, Step::SetOutcome(_));
        let has_states = self.sales.iter().any(|(_, sale)| sale.state.is_some());
        let refusal = written.errors.into_iter().find(|error| error.code != DUPLICATE_KEY);
        match refusal {
            _ if all_won => {
                self.decided.extend(deciding);
                self.sales.iter_mut().for_each(|(_, sale)| sale.state = None);
            }
            // Which document MongoDB refuses is found by writing the states.
            Some(error) if !has_states => return Err(ArchiveError::Unavailable(error.message)),
            _ => self.write_states(is_setting).await?,
        }
        self.resume_all(is_setting, |_| Reply::OutcomeSet(all_won));
        Ok(())
    }

    async fn read_own_outcomes(&mut self) -> Result<(), ArchiveError> {
        let ids = self.gather(|trial, ids: &mut Vec<BookingId>| {
            if matches!(trial.step(), Step::ReadOwnOutcome(_)) {
                ids.push(trial.booking());
            }
        });
        let found = self.outcomes(&ids).await?;
        let reply = |trial: &Trial| Reply::OwnOutcome(found.get(&trial.booking()).copied());
        self.resume_all(|step| matches!(step, Step::ReadOwnOutcome(_)), reply);
        Ok(())
    }

    async fn read_owners(&mut self) -> Result<(), ArchiveError> {
        let ids = self.gather(|trial, ids: &mut Vec<String>| {
            if let Step::ReadOwners(seats) = trial.step() {
                let event = trial.booking().event();
                ids.extend(seats.iter().map(|seat| claim_id(event, *seat)));
            }
        });
        if ids.is_empty() {
            return Ok(());
        }
        let filter = doc! { "_id": { "$in": ids } };
        let claims: Vec<ClaimDocument> =
            self.gateway.find(CLAIMS, filter, FindOptions::default()).await?;
        let mut owners = HashMap::new();
        for claim in claims {
            let (event, seat, owner) = claim.read()?;
            owners.insert((event, seat), owner);
        }
        let reply = |trial: &Trial| {
            let Step::ReadOwners(seats) = trial.step() else { return Reply::Owners(Vec::new()) };
            let event = trial.booking().event();
            let owner = |seat: &SeatId| owners.get(&(event, *seat)).map(|owner| (*seat, *owner));
            Reply::Owners(seats.iter().filter_map(owner).collect())
        };
        self.resume_all(|step| matches!(step, Step::ReadOwners(_)), reply);
        Ok(())
    }

    async fn read_outcomes(&mut self) -> Result<(), ArchiveError> {
        let ids = self.gather(|trial, ids: &mut Vec<BookingId>| {
            if let Step::ReadOutcomes(owners) = trial.step() {
                ids.extend(owners);
            }
        });
        let found = self.outcomes(&ids).await?;
        let reply = |trial: &Trial| {
            let Step::ReadOutcomes(owners) = trial.step() else {
                return Reply::Outcomes(Vec::new());
            };
            let outcome = |owner: &BookingId| found.get(owner).map(|outcome| (*owner, *outcome));
            Reply::Outcomes(owners.iter().filter_map(outcome).collect())
        };
        self.resume_all(|step| matches!(step, Step::ReadOutcomes(_)), reply);
        Ok(())
    }

    async fn replace_owners(&mut self) -> Result<(), ArchiveError> {
        let operations = self.gather(|trial, operations: &mut Vec<Document>| {
            if let Step::ReplaceOwners(claims) = trial.step() {
                let (event, new) = (trial.booking().event(), trial.booking().to_string());
                operations.extend(claims.iter().map(|(seat, owner)| {
                    let claim = doc! { "_id": claim_id(event, *seat), "owner": owner.to_string() };
                    doc! { "q": claim, "u": { "$set": { "owner": &new } } }
                }));
            }
        });
        if operations.is_empty() {
            return Ok(());
        }
        self.gateway.write_plain(Verb::Update, CLAIMS, operations).await?;
        self.resume_all(|step| matches!(step, Step::ReplaceOwners(_)), |_| Reply::OwnersReplaced);
        Ok(())
    }

    async fn outcomes(
        &self,
        bookings: &[BookingId],
    ) -> Result<HashMap<BookingId, Outcome>, ArchiveError> {
        if bookings.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<String> = bookings.iter().map(BookingId::to_string).collect();
        let options = FindOptions::builder().projection(doc! { "outcome": 1 }).build();
        let filter = doc! { "_id": { "$in": ids } };
        let documents: Vec<OutcomeDocument> = self.gateway.find(BOOKINGS, filter, options).await?;
        let mut outcomes = HashMap::new();
        for document in documents {
            let outcome = document.outcome;
            let booking = parse_booking(&document.id)?;
            outcomes.extend(outcome.map(|outcome| (booking, outcome)));
        }
        Ok(outcomes)
    }

    fn gather<T>(&self, add: impl Fn(&Trial, &mut Vec<T>)) -> Vec<T> {
        let mut all = Vec::new();
        self.sales.iter().for_each(|(trial, _)| add(trial, &mut all));
        all
    }

    fn resume_all(&mut self, is_due: impl Fn(&Step) -> bool, reply: impl Fn(&Trial) -> Reply) {
        for (trial, _) in self.sales.iter_mut().filter(|(trial, _)| is_due(trial.step())) {
            let reply = reply(trial);
            trial.resume(reply);
        }
    }
}

fn is_over(trial: &Trial) -> bool {
    matches!(trial.step(), Step::Done(_) | Step::GaveUp)
}

/// Sets an outcome if there is none, the status that it determines, and the sale's payment: an entry of a
/// lost log may have left a higher version without the payment, or with an end. A sold booking gets the
/// version and the time of its settlement, which Redis then adopts.
fn outcome_operation(sale: &Sale<'_>, outcome: Outcome) -> Result<Document, String> {
    let Transition { booking, payment, paid_ms, version, .. } = sale.transition;
    let is_sold = outcome == Outcome::Sold;
    let version = signed(version.saturating_add(u64::from(is_sold)), "version")?;
    let mut fields = doc! {
        "outcome": outcome.as_str(),
        "status": outcome.status().as_str(),
        "payment": payment,
        "paid_ms": *paid_ms,
    };
    if is_sold {
        fields.insert("ended_ms", 0_i64);
        fields.insert("confirmed_ms", sale.confirmed_ms());
    }
    if let Some(state) = sale.state {
        fields.insert("version", version);
        return state.deciding_operation(fields);
    }
    Ok(doc! {
        "q": { "_id": booking.to_string(), "outcome": { "$exists": false } },
        "u": { "$set": fields, "$max": { "version": version } },
    })
}
