//! Runs the trials of a batch in lockstep against MongoDB: each round gathers what all of them
//! want and does it with one command a kind of step. A sale that nobody contests costs its
//! batch one insert of claims and one update of outcomes.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::FindOptions;
use serde::Deserialize;
use tokio::time::sleep;

use super::documents::{BOOKINGS, CLAIMS, ClaimDocument, claim_id, parse_booking, signed};
use super::error::ArchiveError;
use super::gateway::{Gateway, Verb};
use super::trial::{Patience, Reply, Step, Trial};
use crate::domain::{BookingId, Outcome, SeatId, Transition};

/// About a second for an owner to decide, at [`LOOK_PAUSE`] a look. Contested sales exist only
/// after Redis lost memory, so nobody waits in good times.
const PATIENCE: Patience = Patience { looks_max: 20, turns_max: 8 };
/// How long a batch waits before all that is left of it asks again.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// Above what `PATIENCE` lets any trial take; reached only by a defect.
const ROUNDS_MAX: u32 = 64;

/// The sales of one batch under trial.
pub(super) struct Judge<'a> {
    gateway: &'a Gateway,
    sales: Vec<(Trial, &'a Transition)>,
    /// Bookings whose outcome was surely set here.
    decided: HashSet<BookingId>,
}

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ruling {
    /// What stands.
    pub outcome: Outcome,
    /// Whether it may have been set by another trial, which knew another sale of the booking.
    pub is_adopted: bool,
}

#[derive(Deserialize)]
struct OutcomeDocument {
    #[serde(rename = "_id")]
    id: String,
    outcome: Option<Outcome>,
}

impl<'a> Judge<'a> {
    /// One trial a sale; sales are in order of event and first seat, so that batches that
    /// contest several seats meet them in the same order.
    pub fn new(gateway: &'a Gateway, sales: impl Iterator<Item = &'a Transition>) -> Self {
        let trial = |sale: &'a Transition| (Trial::new(sale.booking, &sale.seats, PATIENCE), sale);
        let mut sales: Vec<(Trial, &Transition)> = sales.map(trial).collect();
        sales.sort_by_key(|(trial, sale)| (trial.booking().event(), sale.seats.first().copied()));
        Judge { gateway, sales, decided: HashSet::new() }
    }

    /// Inserts all claims of the batch. Needs no document of the bookings, so it can run beside
    /// writing them.
    pub async fn take(&mut self) -> Result<(), ArchiveError> {
        let mut claims = Vec::new();
        let mut asked = Vec::new();
        for (index, (trial, _)) in self.sales.iter().enumerate() {
            let Step::Take(seats) = trial.step() else { continue };
            for seat in seats {
                asked.push((index, *seat));
                let id = claim_id(trial.booking().event(), *seat);
                claims.push(doc! { "_id": id, "owner": trial.booking().to_string() });
            }
        }
        if claims.is_empty() {
            return Ok(());
        }
        let written = self.gateway.write_plain(Verb::Insert, CLAIMS, claims).await?;
        let mut conflicts: HashMap<usize, Vec<SeatId>> = HashMap::new();
        for (index, seat) in written.errors.iter().map(|error| asked[error.index]) {
            conflicts.entry(index).or_default().push(seat);
        }
        for (index, (trial, _)) in self.sales.iter_mut().enumerate() {
            if matches!(trial.step(), Step::Take(_)) {
                trial.resume(Reply::Conflicts(conflicts.remove(&index).unwrap_or_default()));
            }
        }
        Ok(())
    }

    /// Leaves out the sale of a booking whose document could not be written.
    pub fn drop_sale(&mut self, booking: BookingId) {
        self.sales.retain(|(trial, _)| trial.booking() != booking);
    }

    /// Runs all trials to their ends. Every booking with a sale has a document by now. A booking
    /// without an outcome in the result has lost too many races; it can be tried again.
    pub async fn run(mut self) -> Result<HashMap<BookingId, Option<Ruling>>, ArchiveError> {
        for _ in 0..ROUNDS_MAX {
            self.take().await?;
            // Writes first: who is uncontested is decided before the others look at owners.
            self.decide().await?;
            self.adopt().await?;
            self.read_owners().await?;
            self.read_outcomes().await?;
            self.take_over().await?;
            let mut open = self.sales.iter().map(|sale| &sale.0).filter(|trial| !is_over(trial));
            let Some(first) = open.next() else { break };
            if first.is_waiting() && open.all(Trial::is_waiting) {
                sleep(LOOK_PAUSE).await;
            }
        }
        let results = self.sales.iter().map(|(trial, _)| {
            let id = trial.booking();
            let ruling = |outcome| Ruling { outcome, is_adopted: !self.decided.contains(&id) };
            match trial.step() {
                Step::Done(outcome) => (id, Some(ruling(*outcome))),
                _ => (id, None),
            }
        });
        Ok(results.collect())
    }

    async fn decide(&mut self) -> Result<(), ArchiveError> {
        let (mut operations, mut deciding) = (Vec::new(), Vec::new());
        for (trial, sale) in &self.sales {
            if let Step::Decide(outcome) = trial.step() {
                operations.push(decide_operation(sale, *outcome)?);
                deciding.push(trial.booking());
            }
        }
        if operations.is_empty() {
            return Ok(());
        }
        let asked = operations.len() as i64;
        let written = self.gateway.write_plain(Verb::Update, BOOKINGS, operations).await?;
        // One count for the whole command: only a full one tells each that it won.
        let all_won = written.touched == asked;
        if all_won {
            self.decided.extend(deciding);
        }
        self.resume_all(|step| matches!(step, Step::Decide(_)), |_| Reply::Decided(all_won));
        Ok(())
    }

    async fn adopt(&mut self) -> Result<(), ArchiveError> {
        let wanted = self.wanted(|trial, bookings: &mut Vec<BookingId>| {
            if matches!(trial.step(), Step::Adopt(_)) {
                bookings.push(trial.booking());
            }
        });
        let found = self.outcomes(&wanted).await?;
        let reply = |trial: &Trial| Reply::Standing(found.get(&trial.booking()).copied());
        self.resume_all(|step| matches!(step, Step::Adopt(_)), reply);
        Ok(())
    }

    async fn read_owners(&mut self) -> Result<(), ArchiveError> {
        let ids = self.wanted(|trial, ids: &mut Vec<String>| {
            if let Step::Owners(seats) = trial.step() {
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
            let Step::Owners(seats) = trial.step() else { return Reply::Owners(Vec::new()) };
            let event = trial.booking().event();
            let owner = |seat: &SeatId| owners.get(&(event, *seat)).map(|owner| (*seat, *owner));
            Reply::Owners(seats.iter().filter_map(owner).collect())
        };
        self.resume_all(|step| matches!(step, Step::Owners(_)), reply);
        Ok(())
    }

    async fn read_outcomes(&mut self) -> Result<(), ArchiveError> {
        let wanted = self.wanted(|trial, bookings: &mut Vec<BookingId>| {
            if let Step::Outcomes(owners) = trial.step() {
                bookings.extend(owners);
            }
        });
        let found = self.outcomes(&wanted).await?;
        let reply = |trial: &Trial| {
            let Step::Outcomes(owners) = trial.step() else { return Reply::Outcomes(Vec::new()) };
            let outcome = |owner: &BookingId| found.get(owner).map(|outcome| (*owner, *outcome));
            Reply::Outcomes(owners.iter().filter_map(outcome).collect())
        };
        self.resume_all(|step| matches!(step, Step::Outcomes(_)), reply);
        Ok(())
    }

    async fn take_over(&mut self) -> Result<(), ArchiveError> {
        let operations = self.wanted(|trial, operations: &mut Vec<Document>| {
            if let Step::TakeOver(claims) = trial.step() {
                let (event, me) = (trial.booking().event(), trial.booking().to_string());
                operations.extend(claims.iter().map(|(seat, owner)| {
                    let claim = doc! { "_id": claim_id(event, *seat), "owner": owner.to_string() };
                    doc! { "q": claim, "u": { "$set": { "owner": &me } } }
                }));
            }
        });
        if operations.is_empty() {
            return Ok(());
        }
        self.gateway.write_plain(Verb::Update, CLAIMS, operations).await?;
        self.resume_all(|step| matches!(step, Step::TakeOver(_)), |_| Reply::TookOver);
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

    fn wanted<T>(&self, gather: impl Fn(&Trial, &mut Vec<T>)) -> Vec<T> {
        let mut wanted = Vec::new();
        self.sales.iter().for_each(|(trial, _)| gather(trial, &mut wanted));
        wanted
    }

    fn resume_all(&mut self, asked: impl Fn(&Step) -> bool, reply: impl Fn(&Trial) -> Reply) {
        for (trial, _) in self.sales.iter_mut().filter(|(trial, _)| asked(trial.step())) {
            let reply = reply(trial);
            trial.resume(reply);
        }
    }
}

fn is_over(trial: &Trial) -> bool {
    matches!(trial.step(), Step::Done(_) | Step::GaveUp)
}

/// Sets an outcome where there is none, the status it fixes, and what the sale itself says: an
/// entry of a lost log may have left a higher version that knows of no payment, or of an end.
fn decide_operation(sale: &Transition, outcome: Outcome) -> Result<Document, ArchiveError> {
    let version = signed(sale.version, "version").map_err(ArchiveError::Corrupt)?;
    let mut fields = doc! {
        "outcome": outcome.as_str(),
        "status": outcome.status().as_str(),
        "payment": &sale.payment,
        "paid_ms": sale.paid_ms,
    };
    if outcome == Outcome::Sold {
        fields.insert("ended_ms", 0_i64);
    }
    Ok(doc! {
        "q": { "_id": sale.booking.to_string(), "outcome": { "$exists": false } },
        "u": { "$set": fields, "$max": { "version": version } },
    })
}
