//! The limits that all processes count together.
//!
//! # What is promised
//!
//! In any window of a rule, wherever it begins, at most `quota + processes × share` requests of one
//! subject are let through ([`Rule::share`](crate::domain::Rule::share)); while Redis answers and no
//! request is refused in a process before it is counted, exactly `quota`. What Redis itself forgets is
//! forgotten, and a process that ends takes its ledger along: one that is replaced within a window
//! counts as two.
//!
//! # How
//!
//! *Counted.* A request is decided by one call (`limit`), which counts it under all its rules or none.
//! A refusal is put on the block list ([`blocks`]): until the wait is over, or [`blocks::KEPT_MAX`],
//! the caller is refused without I/O. The list only repeats what Redis said.
//!
//! *Noted.* A request that this process decides alone (it was refused before it could be counted; or
//! Redis is away) is noted in the ledger ([`ledger`]), which has `share` places a subject and rule. A
//! note leaves its place when Redis has counted it, and else when its window is over. Where no place is
//! left, the request is not decided here: it asks Redis like any other, or is refused while Redis is away.
//! Notes are brought to Redis by the caller's next call, or by [`flush`].
//!
//! *Uncounted.* A rule that counts grants counts a request when it comes, as any rule: only so two
//! requests at once cannot both be the last one granted. Once the sale has refused the request, or has
//! answered it with a booking that was there before, it is taken out of the count again
//! ([`Quotas::uncount`]), by the moment at which Redis counted it: by the caller's next call, or by
//! [`flush`]. What is refused in the process is not counted under such a rule at all.
//!
//! So each request that was let through is, for all of its window, an entry in Redis or a note in a
//! ledger: that is the bound.
//!
//! # What may happen in between
//!
//! * *Two calls carry one note.* No: a note is `unsent` or `sent`; taking it along makes it sent, under
//!   the ledger's lock. It becomes unsent again only if the call surely did not run.
//! * *The reply is lost.* The notes stay sent, and keep their places until their windows are over; they
//!   are never sent again. If the call did run they are counted twice, here and in Redis: too strict by
//!   a share at most. The request that asked becomes such a note itself.
//! * *The client goes away while its call is under way*, and the future is dropped: the same, without
//!   a new note, as the request went nowhere.
//! * *A request's outcome is not known* (the hold's reply is lost, the client hangs up): it goes on to
//!   count, as it may have been granted. So does one that could not be uncounted as a reply was lost
//!   or the ledger is full: too strict by that one, until its window is over.
//! * *The caller asks again before its refused request is uncounted.* In the same process the call
//!   takes that along; in another one the request counts for a flush longer.
//! * *The quota is full when notes arrive.* Redis takes what fits and says so; the others keep their
//!   places. Were they dropped, each moment that leaves the window would let a share through.
//! * *A note is counted later than its request came.* It leaves Redis' window later, too. In between it
//!   is in the ledger, so a window that ends there finds it.
//! * *A refused caller books in another process*, or an operator raises the quota: the block list of this
//!   process learns it when the block ends, [`blocks::KEPT_MAX`] later at most; a rule with another
//!   limit, or in another mode, is not blocked.
//! * *Redis is frozen.* The first calls wait for half the command time-out; then the partition is taken
//!   for away, requests are decided here without a call, and [`flush`] alone asks whether it is back.
//! * *Rules of the user and of its address* are in two slots: two calls, sent at once. If one refuses,
//!   the other may have counted the request: too strict by that one.
//! * *Redis' clock is set back.* What was counted later than its new time counts as if it were of now.
//!
//! What a rule does while Redis is away is its `when_redis_is_away`; rules that only observe note what
//! finds a place, and never refuse.

mod applied;
mod away;
mod blocks;
mod flush;
mod grants;
mod headers;
mod ledger;
mod notes;
mod saturated_callers;
mod tally;

use std::sync::Arc;
use std::time::Instant;

use actix_web::{HttpMessage, HttpRequest};
use futures_util::future::join_all;
use smallvec::SmallVec;

use super::{Caller, Verdict};
use crate::domain::{
    Counting, Mode, Partition, Place, Policy, Rule, Scope, Subject, WhenRedisIsAway,
};
use crate::http::problem::Problem;
use crate::redis::{Engine, LimitCheck, RedisError, Standing};
use crate::telemetry::Metrics;

use applied::{Applied, Outcome};
use away::CircuitBreaker;
use blocks::Blocks;
pub use grants::Grant;
pub use headers::{RateLimitHeaders, over};
use ledger::{Denied, Ledger, Note, Noted, Taken};
pub use saturated_callers::SaturatedCallers;

/// Rules that look at one request, mostly.
const RULES_EXPECTED: usize = 4;

/// Counts in Redis. Cheap to clone.
#[derive(Clone)]
pub struct Quotas {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    away: CircuitBreaker,
    blocks: Blocks,
    ledger: Ledger,
    metrics: Metrics,
}

/// A request that no limit refused.
pub struct Counted {
    /// Whether a rule that only observes would have refused it.
    pub verdict: Verdict,
    /// What rules for grants have counted.
    pub grants: Vec<Grant>,
}

impl Quotas {
    /// Counts on this Redis.
    pub fn new(engine: Engine, metrics: &Metrics) -> Self {
        let partitions = engine.keys().partitions();
        let inner = Inner {
            away: CircuitBreaker::new(partitions),
            blocks: Blocks::default(),
            ledger: Ledger::new(partitions),
            metrics: metrics.clone(),
            engine,
        };
        Quotas { inner: Arc::new(inner) }
    }

    /// Whether Redis has said lately that this caller is over a limit. Rules of a user in an event
    /// are looked at once the event is known.
    ///
    /// # Errors
    /// The refusal.
    pub fn check_blocked(&self, policy: &Policy, caller: &Caller) -> Result<Verdict, Problem> {
        let blocks = &self.inner.blocks;
        // Most are not on the list: they cost one look at it, whatever rules there are.
        if caller.allowed || blocks.is_empty() || !blocks.knows_any(&subjects(caller)) {
            return Ok(Verdict::Passed);
        }
        let now = Instant::now();
        let enforced = self.applied(policy, caller).filter(|applied| applied.enforced);
        let waits: Vec<(&Rule, u64)> = enforced
            .filter_map(|a| Some((a.rule, blocks.wait_ms(&a.subject, a.rule, now)?)))
            .collect();
        match headers::refusal(&waits) {
            Some(problem) => Err(problem),
            None => Ok(Verdict::Passed),
        }
    }

    /// Whether there is a rule that looks at a request.
    pub fn counts_any(&self, policy: &Policy, caller: &Caller) -> bool {
        self.applied(policy, caller).next().is_some()
    }

    /// Counts a request under all rules that look at it.
    ///
    /// # Errors
    /// The refusal of the first enforced rule that has no room; or that Redis is away, where a rule
    /// does not do without it.
    pub async fn count(
        &self,
        policy: &Policy,
        caller: &Caller,
        request: &HttpRequest,
    ) -> Result<Counted, Problem> {
        let applied: Vec<Applied<'_>> = self.applied(policy, caller).collect();
        self.check_blocked(policy, caller)?;
        // A named user's own rules and those of its address: two slots at most.
        let mut slots: Vec<Vec<&Applied<'_>>> = Vec::new();
        for one in &applied {
            match slots.iter_mut().find(|slot| slot[0].partition == one.partition) {
                Some(slot) => slot.push(one),
                None => slots.push(vec![one]),
            }
        }
        let asked = slots.iter().map(|slot| self.decide(slot));
        let outcomes = join_all(asked).await.into_iter().flatten();
        let mut outcomes: Vec<(&Applied<'_>, Outcome)> =
            slots.iter().flatten().copied().zip(outcomes).collect();
        // Whichever slot they are in: the rules' own order.
        let place =
            |one: &Applied<'_>| policy.rules.iter().position(|rule| std::ptr::eq(rule, one.rule));
        outcomes.sort_by_key(|(one, _)| place(one));
        self.verdict(&outcomes, request)
    }

    /// Counts a request that was refused in this process, some time later. False where this process
    /// may not: it has to ask ([`Quotas::count`]).
    pub fn note_refused(
        &self,
        policy: &Policy,
        saturated_callers: &SaturatedCallers,
        caller: &Caller,
        now: Instant,
    ) -> bool {
        let enter = || {
            let counts = |applied: &Applied<'_>| applied.rule.counting == Counting::Requests;
            let applied: SmallVec<[Applied<'_>; RULES_EXPECTED]> =
                self.applied(policy, caller).filter(counts).collect();
            let notes: SmallVec<[Note<'_>; RULES_EXPECTED]> =
                applied.iter().map(Applied::note).collect();
            Ok(self.inner.ledger.enter(&notes, false, now)? > 0)
        };
        saturated_callers.unless_known::<Denied>(caller, now, enter).is_ok()
    }

    /// Forgives what rules about looking have counted.
    pub fn note_booked(&self, policy: &Policy, caller: &Caller) {
        // Looking is another class of requests than booking: the rule need not look at this one.
        let client = caller.client();
        for rule in &policy.rules {
            let counts = rule.forgiven_by_booking && rule.place == Place::Redis;
            if !counts || policy.mode_of(rule, caller.on_loopback) == Mode::Off {
                continue;
            }
            let subject = Subject::of(rule.scope, caller.user.as_ref(), caller.event, client);
            if let Some(subject) = subject {
                self.inner.blocks.forgive(&subject, &rule.name);
                self.inner.ledger.forgive(self.partition(&subject), subject, rule);
            }
        }
    }

    /// The rules that look at a request, in their order.
    fn applied<'a>(
        &self,
        policy: &'a Policy,
        caller: &'a Caller,
    ) -> impl Iterator<Item = Applied<'a>> {
        let partitions = self.inner.engine.keys().partitions();
        let client = caller.client();
        let rules = policy.rules.iter().filter(|rule| {
            !caller.allowed && rule.place == Place::Redis && rule.counts(caller.class)
        });
        rules.filter_map(move |rule| {
            let mode = policy.mode_of(rule, caller.on_loopback);
            if mode == Mode::Off {
                return None;
            }
            let subject = Subject::of(rule.scope, caller.user.as_ref(), caller.event, client)?;
            let partition = subject.partition(partitions);
            Some(Applied { rule, enforced: mode == Mode::Enforce, subject, partition })
        })
    }

    /// What becomes of a request under rules of one slot: as Redis says, else as the rules do.
    async fn decide(&self, applied: &[&Applied<'_>]) -> Vec<Outcome> {
        let Some(first) = applied.first() else { return Vec::new() };
        if self.inner.away.is_away(first.partition) {
            return self.decide_alone(applied, false);
        }
        match self.ask(applied).await {
            Ok(standings) => standings.into_iter().map(Outcome::Counted).collect(),
            // What follows would be refused, too: nothing of this request is counted.
            Err(error) if error.is_overloaded() => {
                let outcome = |a: &&Applied<'_>| match a.enforced {
                    true => Outcome::Unavailable,
                    false => Outcome::Passed(Noted::Not),
                };
                applied.iter().map(outcome).collect()
            }
            Err(error) => {
                self.inner.away.note(first.partition, &error);
                // What surely did not run is noted as any request; what may have, as sent.
                self.decide_alone(applied, !matches!(error, RedisError::NotRun(_)))
            }
        }
    }

    /// Asks Redis; notes of the same subjects and rules go along.
    async fn ask(&self, applied: &[&Applied<'_>]) -> Result<Vec<Standing>, RedisError> {
        let ledger = &self.inner.ledger;
        let taken: Vec<Taken> =
            applied.iter().map(|a| ledger.take(a.partition, &a.subject, &a.rule.name)).collect();
        let mut checks = Vec::with_capacity(applied.len());
        for (a, taken) in applied.iter().zip(&taken) {
            checks.push(LimitCheck {
                subject: &a.subject,
                rule: &a.rule.name,
                limit: a.rule.limit,
                enforced: a.enforced,
                asks: true,
                noted: taken.noted,
                forgives: false,
                uncounted: &taken.uncounted,
            });
        }
        let answer = self.inner.engine.limit(&checks).await;
        drop(checks);
        for (index, (a, taken)) in applied.iter().zip(taken).enumerate() {
            match &answer {
                Ok(standings) => {
                    let taken = standings[index].taken;
                    ledger.counted(a.partition, &a.subject, &a.rule.name, taken);
                }
                Err(RedisError::NotRun(_)) => ledger.give_back(a.partition, a.due(taken)),
                Err(_) => {}
            }
        }
        answer
    }

    /// What becomes of a request without Redis; `sent` where Redis may have counted it.
    fn decide_alone(&self, applied: &[&Applied<'_>], sent: bool) -> Vec<Outcome> {
        let by_share = |a: &&&Applied<'_>| a.rule.when_redis_is_away == WhenRedisIsAway::Local;
        let local: Vec<&Applied<'_>> = applied.iter().filter(by_share).copied().collect();
        let notes: Vec<Note<'_>> = local.iter().copied().map(Applied::note).collect();
        let denied = self.inner.ledger.enter(&notes, sent, Instant::now()).err();
        let refused_at = |a: &Applied<'_>| match denied {
            Some(Denied::Used { at, wait_ms }) if std::ptr::eq(local[at], a) => Some(wait_ms),
            _ => None,
        };
        let outcome = |a: &&Applied<'_>| match a.rule.when_redis_is_away {
            _ if !a.enforced => Outcome::Passed(Noted::Not),
            WhenRedisIsAway::Pass => Outcome::Passed(Noted::Not),
            WhenRedisIsAway::Refuse => Outcome::Unavailable,
            WhenRedisIsAway::Local => match (denied, refused_at(a)) {
                (Some(Denied::Full), _) => Outcome::Unavailable,
                (_, Some(wait_ms)) => Outcome::ShareUsed(wait_ms),
                _ if sent => Outcome::Passed(Noted::Sent),
                _ => Outcome::Passed(Noted::Unsent),
            },
        };
        applied.iter().map(outcome).collect()
    }

    /// The verdict on what became of a request under all its rules, in their order.
    fn verdict(
        &self,
        outcomes: &[(&Applied<'_>, Outcome)],
        request: &HttpRequest,
    ) -> Result<Counted, Problem> {
        let now = Instant::now();
        let (mut verdict, mut waits, mut unavailable) = (Verdict::Passed, Vec::new(), false);
        let (mut standings, mut grants) = (Vec::new(), Vec::new());
        for (a, outcome) in outcomes {
            grants.extend(Grant::of(a, outcome));
            match outcome {
                Outcome::Counted(standing) if standing.is_over && a.enforced => {
                    let rule = a.rule;
                    let (name, wait_ms) = (&rule.name, standing.wait_ms);
                    self.inner.blocks.add(&a.subject, name, rule.limit, wait_ms, now);
                    waits.push((a.rule, standing.wait_ms));
                }
                Outcome::Counted(standing) if standing.is_over => verdict = Verdict::Observed,
                Outcome::Counted(standing) if a.enforced => standings.push((a.rule, *standing)),
                Outcome::ShareUsed(wait_ms) => waits.push((a.rule, *wait_ms)),
                Outcome::Unavailable => unavailable = true,
                Outcome::Counted(_) | Outcome::Passed(_) => {}
            }
        }
        if let Some(problem) = headers::refusal(&waits) {
            return Err(problem);
        }
        if unavailable {
            return Err(headers::unavailable());
        }
        if let Some(told) = RateLimitHeaders::of_tightest(&standings) {
            request.extensions_mut().insert(told);
        }
        Ok(Counted { verdict, grants })
    }

    fn partition(&self, subject: &Subject) -> Partition {
        self.inner.engine.keys().partition_of_subject(subject)
    }
}

/// As whom a caller may be counted, whatever rules there are.
fn subjects(caller: &Caller) -> Vec<Subject> {
    let (user, client) = (caller.user.as_ref(), caller.client());
    let subject = |scope: &Scope| Subject::of(*scope, user, caller.event, client);
    Scope::ALL.iter().filter_map(subject).collect()
}
