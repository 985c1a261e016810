//! The limits that all processes count together, in Redis.
//!
//! # Guarantee
//!
//! A request that reaches Redis is counted there exactly: under rules that count grants, and under
//! others while no process refuses anything by itself, a window grants exactly its quota, wherever
//! it begins. Requests that a process refuses by itself (a body that makes no sense, seats that the
//! live view shows as taken) are sent to Redis in batches. So in any window of a rule, per subject,
//! at most `quota + processes × what one process can refuse in one flush interval` requests are not
//! answered 429; one process can refuse `quota` at most, as it then blocks the subject itself. What
//! Redis loses is forgotten, and so is what a process has not sent when it ends.
//!
//! # How
//!
//! *Counted in Redis.* One call (`limit`) decides a request under all its rules, and counts it
//! under all or none. A refusal blocks the subject in this process ([`counts`]) until the wait is
//! over, or [`count::REPORT_KEPT_MAX`]: it is then refused without I/O.
//!
//! *Counted here.* A refused request, and a request for a seat map whose rules all only observe, adds
//! one to an integer per subject and rule. [`flush`] sends the integers to Redis in one batch a
//! partition: after [`flush::FLUSH_INTERVAL`], or at the next turn once an integer reaches this
//! process' share ([`Limit::share`](crate::domain::Limit::share)). What the quota has no room for stays, and
//! blocks the subject; under a rule that only observes it is dropped. Once the integer reaches what
//! Redis last reported as remaining (the whole quota, where that is not known), this process blocks
//! the subject.
//!
//! *Taken back.* A rule that counts grants counts a request when it comes, as any rule: only so two
//! requests at once cannot both be the last one granted. Once the sale has refused it, or has
//! answered it with an existing booking, it is taken out of the count again
//! ([`Quotas::take_back`]), by the moment at which Redis counted it: with the caller's next call or
//! the next flush, after [`count::TURN`] at most. What is refused in the process is not counted
//! under such a rule at all.
//!
//! # What may happen in between
//!
//! * *A batch's reply is lost.* The batch is not sent again: if it did not run, it is not counted.
//!   If it surely did not run, it is sent with the next flush.
//! * *A process ends.* It sends a last batch; what a crash keeps it from sending is not counted.
//! * *The task that flushes panics between a reply and its bookkeeping.* Its batch is sent again:
//!   too strict by one batch.
//! * *A request's outcome is not known* (the hold's reply is lost, the client hangs up): it goes on
//!   to count, as it may have been granted. So does one whose taking back was lost, or found no
//!   room: too strict by that one, until its window is over.
//! * *The caller sends another request before its refused one is taken back.* In the same process
//!   the call takes that along; in another one the request counts until the flush.
//! * *A request is counted later than it came.* It leaves Redis' window later, too.
//! * *A blocked caller books in another process*, or an operator raises the quota: this process
//!   learns it when the block ends; a rule with another limit, or in another mode, is not blocked.
//! * *Redis is frozen.* The first calls wait for half the command time-out; then the partition
//!   counts as away, requests are decided here without a call, and [`flush`] alone probes whether
//!   it is back.
//! * *Redis is away.* A rule follows its `when_redis_is_away`; `local` grants this process' share,
//!   and again once a window has passed since the last one. What is granted so is sent when Redis
//!   is back. A request whose call failed without a reply may be counted twice: here and in Redis.
//!   Rules that only observe count nothing while Redis is away, but for seat maps, which are counted
//!   here.
//! * *Rules of the user and of its address* are in two slots: two calls, sent at once. If one
//!   refuses, the other may have counted the request: too strict by that one.
//! * *Redis' clock is set back.* What was counted later than its new time counts as if it were of
//!   now.

mod applied;
mod count;
mod counts;
mod flush;
mod headers;
mod local_partitions;

use std::sync::Arc;
use std::time::Instant;

use actix_web::{HttpMessage, HttpRequest};
use futures_util::future::join_all;

use super::{Caller, Verdict};
use crate::domain::{Counting, Mode, Policy, RouteClass, Rule, Subject, WhenRedisIsAway};
use crate::http::problem::Problem;
use crate::redis::{Engine, LimitAction, LimitCheck, RedisError, Standing};
use crate::telemetry::Metrics;

use applied::Applied;
use counts::{Denied, LocalCounts};
pub use headers::{RateLimitHeaders, over};
use local_partitions::LocalPartitions;

/// Counts under the rules whose place is Redis. Cheap to clone.
#[derive(Clone)]
pub struct Quotas {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    local: LocalPartitions,
    counts: LocalCounts,
    metrics: Metrics,
}

/// The decision on a request under one rule.
enum Decision {
    /// Redis counted it, or refused it.
    Counted(Standing),
    /// It was granted from this process' share, while Redis is away.
    CountedHere,
    /// It passes uncounted, while Redis is away.
    Passed,
    /// This process' share is used up: how long until it is whole again, ms.
    ShareUsed(u64),
    /// The rule does not do without Redis, or the request finds no room to be counted here.
    Unavailable,
}

/// A request that no limit refused.
pub struct Counted {
    /// Whether a rule that only observes would have refused it.
    pub verdict: Verdict,
    /// What rules for grants have counted.
    pub grants: Vec<Grant>,
    /// Whether rules with `forgiven_by_booking` have counted something in Redis, or may have.
    pub is_forgivable: bool,
}

/// A request as one rule for grants has counted it.
pub struct Grant {
    rule: Rule,
    enforced: bool,
    subject: Subject,
    /// When Redis counted it, Unix ms; `None` if this process did.
    at_ms: Option<i64>,
}

impl Counted {
    /// No rule has counted the request.
    pub fn nothing() -> Self {
        Counted { verdict: Verdict::Passed, grants: Vec::new(), is_forgivable: true }
    }
}

impl Quotas {
    /// Counts in this Redis.
    pub fn new(engine: Engine, metrics: &Metrics) -> Self {
        let partitions = engine.keys().partitions();
        let inner = Inner {
            local: LocalPartitions::new(partitions),
            counts: LocalCounts::new(partitions),
            metrics: metrics.clone(),
            engine,
        };
        Quotas { inner: Arc::new(inner) }
    }

    /// Refuses a caller that is over a limit by this process' counts. Rules of a user in an
    /// event are checked once the event is known.
    ///
    /// # Errors
    /// The refusal.
    pub fn check_blocked(&self, policy: &Policy, caller: &Caller) -> Result<Verdict, Problem> {
        let counts = &self.inner.counts;
        if counts.blocked() == 0 {
            return Ok(Verdict::Passed);
        }
        let now = Instant::now();
        let enforced = self.applied(policy, caller).filter(|applied| applied.enforced);
        let waits: Vec<(&Rule, u64)> =
            enforced.filter_map(|one| Some((one.rule, counts.wait_ms(&one, now)?))).collect();
        match headers::refusal(&waits) {
            Some(problem) => Err(problem),
            None => Ok(Verdict::Passed),
        }
    }

    /// Whether any rule applies to a request.
    pub fn counts_any(&self, policy: &Policy, caller: &Caller) -> bool {
        self.applied(policy, caller).next().is_some()
    }

    /// Counts a request under all rules that apply to it.
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
        self.check_blocked(policy, caller)?;
        if let Some(verdict) = self.count_observed(policy, caller) {
            return Ok(Counted { verdict, grants: Vec::new(), is_forgivable: false });
        }
        let applied: Vec<Applied<'_>> = self.applied(policy, caller).collect();
        let forgivable: Vec<Applied<'_>> = self.forgivable(policy, caller).collect();
        // A named user's own rules and those of its address: two slots at most.
        let mut slots: Vec<Vec<&Applied<'_>>> = Vec::new();
        for one in &applied {
            match slots.iter_mut().find(|slot| slot[0].partition == one.partition) {
                Some(slot) => slot.push(one),
                None => slots.push(vec![one]),
            }
        }
        // What a booking would forget is looked up on the way, where that costs no call.
        let mut is_forgivable = false;
        for one in forgivable.iter().filter(|one| !one.rule.counts(caller.class)) {
            match slots.iter_mut().find(|slot| slot[0].partition == one.partition) {
                Some(slot) => slot.push(one),
                None => is_forgivable = true,
            }
        }
        is_forgivable |= forgivable.iter().any(|one| one.rule.counts(caller.class));
        let decisions = join_all(slots.iter().map(|slot| self.decide(slot))).await;
        let decisions = decisions.into_iter().flatten();
        let mut decisions: Vec<(&Applied<'_>, Decision)> =
            slots.iter().flatten().copied().zip(decisions).collect();
        // In the rules' own order, whichever slot they are in.
        let order =
            |one: &Applied<'_>| policy.rules.iter().position(|rule| std::ptr::eq(rule, one.rule));
        decisions.sort_by_key(|(one, _)| order(one));
        let counted = self.verdict(&decisions, request)?;
        Ok(Counted { is_forgivable: is_forgivable || counted.is_forgivable, ..counted })
    }

    /// Counts a request for a seat map in this process if all its rules only observe: none can refuse
    /// it, and it is answered from memory, so it need not wait for Redis.
    fn count_observed(&self, policy: &Policy, caller: &Caller) -> Option<Verdict> {
        if caller.class != RouteClass::Seats {
            return None;
        }
        let observes = |rule: &Rule| {
            rule.counting == Counting::Requests
                && policy.mode_of(rule, caller.on_loopback) == Mode::Observe
        };
        if !self.rules(policy, caller).all(observes) {
            return None;
        }
        let was_over = self.inner.counts.add(self.applied(policy, caller), Instant::now());
        Some(if was_over { Verdict::Observed } else { Verdict::Passed })
    }

    /// Counts a request that was refused in this process. Rules that count grants do not count it.
    pub fn count_refused(&self, policy: &Policy, caller: &Caller, now: Instant) {
        let rules = self.rules(policy, caller);
        let rules = rules.filter(|rule| rule.counting == Counting::Requests);
        self.inner.counts.add(self.applied_of(rules, policy, caller), now);
    }

    /// Forgets what rules with `forgiven_by_booking` have counted; in Redis, if `in_redis`.
    pub fn forgive(&self, policy: &Policy, caller: &Caller, in_redis: bool) {
        for applied in self.forgivable(policy, caller) {
            self.inner.counts.forgive(&applied, in_redis);
        }
    }

    /// Takes a request that was granted nothing new out of the rules that count grants.
    pub fn take_back(&self, grants: Vec<Grant>) {
        for Grant { rule, enforced, subject, at_ms } in grants {
            let partition = self.inner.engine.keys().partition_of_subject(&subject);
            let is_looked_up = false;
            let applied = Applied { rule: &rule, enforced, is_looked_up, subject, partition };
            match at_ms {
                Some(at_ms) => self.inner.counts.take_back(&applied, at_ms),
                None => self.inner.counts.withdraw(&applied),
            }
        }
    }

    /// Decides a request under rules of one slot: in Redis, or without it, by each rule's setting.
    async fn decide(&self, applied: &[&Applied<'_>]) -> Vec<Decision> {
        let Some(first) = applied.first() else { return Vec::new() };
        if self.inner.local.contains(first.partition) {
            return self.decide_alone(applied);
        }
        match self.count_in_redis(applied).await {
            Ok(standings) => standings.into_iter().map(Decision::Counted).collect(),
            // The use case's own calls would be refused, too: nothing of this request is counted.
            Err(error) if error.is_overloaded() => {
                let decision = |one: &&Applied<'_>| match one.enforced && !one.is_looked_up {
                    true => Decision::Unavailable,
                    false => Decision::Passed,
                };
                applied.iter().map(decision).collect()
            }
            Err(error) => {
                self.inner.local.add(first.partition, &error);
                self.decide_alone(applied)
            }
        }
    }

    /// Calls Redis; grants of the same subjects and rules are taken back with the call.
    async fn count_in_redis(&self, applied: &[&Applied<'_>]) -> Result<Vec<Standing>, RedisError> {
        let counts = &self.inner.counts;
        let take_back: Vec<Vec<i64>> =
            applied.iter().map(|one| counts.due_with_call(one)).collect();
        let checks: Vec<LimitCheck<'_>> = applied
            .iter()
            .zip(&take_back)
            .map(|(one, moments)| LimitCheck {
                subject: &one.subject,
                rule: &one.rule.name,
                limit: one.rule.limit,
                action: match (one.is_looked_up, one.enforced) {
                    (true, _) => LimitAction::Note,
                    (false, true) => LimitAction::Enforce,
                    (false, false) => LimitAction::Observe,
                },
                noted: 0,
                uncounted: moments,
            })
            .collect();
        let reply = self.inner.engine.limit(&checks).await;
        if let Err(RedisError::NotRun(_)) = &reply {
            let undone = applied.iter().zip(take_back);
            undone.for_each(|(one, moments)| counts.not_run(one, moments));
        }
        reply
    }

    /// Decides a request without Redis.
    fn decide_alone(&self, applied: &[&Applied<'_>]) -> Vec<Decision> {
        let is_local = |one: &&&Applied<'_>| {
            let is_local = one.rule.when_redis_is_away == WhenRedisIsAway::Local;
            one.enforced && !one.is_looked_up && is_local
        };
        let local: Vec<&Applied<'_>> = applied.iter().filter(is_local).copied().collect();
        let denied = self.inner.counts.take_share(&local, Instant::now()).err();
        let decision = |one: &&Applied<'_>| match (one.rule.when_redis_is_away, denied) {
            _ if !one.enforced || one.is_looked_up => Decision::Passed,
            (WhenRedisIsAway::Pass, _) => Decision::Passed,
            (WhenRedisIsAway::Refuse, _) => Decision::Unavailable,
            (WhenRedisIsAway::Local, Some((_, Denied::Full))) => Decision::Unavailable,
            (WhenRedisIsAway::Local, Some((index, Denied::Used(wait_ms))))
                if std::ptr::eq(local[index], *one) =>
            {
                Decision::ShareUsed(wait_ms)
            }
            // Another rule denied it: nothing is counted.
            (WhenRedisIsAway::Local, Some(_)) => Decision::Passed,
            (WhenRedisIsAway::Local, None) => Decision::CountedHere,
        };
        applied.iter().map(decision).collect()
    }

    /// The verdict on a request under all its rules, in their order.
    fn verdict(
        &self,
        decisions: &[(&Applied<'_>, Decision)],
        request: &HttpRequest,
    ) -> Result<Counted, Problem> {
        let now = Instant::now();
        let (mut verdict, mut waits, mut unavailable) = (Verdict::Passed, Vec::new(), false);
        let (mut standings, mut grants, mut is_forgivable) = (Vec::new(), Vec::new(), false);
        for (one, decision) in decisions {
            grants.extend(grant(one, decision));
            match decision {
                Decision::Counted(standing) if one.is_looked_up => {
                    is_forgivable |= standing.remaining < one.rule.limit.quota();
                }
                _ if one.is_looked_up => is_forgivable = true,
                Decision::Counted(standing) if standing.is_over && one.enforced => {
                    self.inner.counts.block(one, standing, now);
                    waits.push((one.rule, standing.wait_ms));
                }
                Decision::Counted(standing) if standing.is_over => verdict = Verdict::Observed,
                Decision::Counted(standing) if one.enforced => {
                    standings.push((one.rule, *standing));
                }
                Decision::ShareUsed(wait_ms) => waits.push((one.rule, *wait_ms)),
                Decision::Unavailable => unavailable = true,
                Decision::Counted(_) | Decision::CountedHere | Decision::Passed => {}
            }
        }
        if let Some(problem) = headers::refusal(&waits) {
            return Err(problem);
        }
        if unavailable {
            return Err(headers::unavailable());
        }
        if let Some(headers) = RateLimitHeaders::of_tightest(&standings) {
            request.extensions_mut().insert(headers);
        }
        Ok(Counted { verdict, grants, is_forgivable })
    }
}

/// What a rule that counts grants has counted of a request.
fn grant(applied: &Applied<'_>, decision: &Decision) -> Option<Grant> {
    if applied.rule.counting != Counting::Grants {
        return None;
    }
    let at_ms = match decision {
        Decision::Counted(standing) if !standing.is_over => Some(standing.at_ms),
        Decision::CountedHere => None,
        _ => return None,
    };
    let (rule, subject) = (applied.rule.clone(), applied.subject.clone());
    Some(Grant { rule, enforced: applied.enforced, subject, at_ms })
}
