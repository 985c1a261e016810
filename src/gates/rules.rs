//! The policy in the form that requests are checked against, and its checks without I/O.

use std::sync::Arc;
use std::time::Instant;

use actix_web::HttpRequest;

use super::bots::{self, Bots};
use super::quotas;
use super::rate::{CallerRates, RateKey};
use super::{Caller, Verdict};
use crate::domain::policy::Access;
use crate::domain::{Mode, Place, Policy, Rule};
use crate::http::problem::Problem;

/// The policy, with the limiters that count under it in this process.
pub struct Rules {
    /// The policy in force.
    pub policy: Policy,
    bots: Bots,
    /// The rules that count in this process, in their order.
    rates: Vec<Rate>,
}

/// A rule that counts in this process.
struct Rate {
    /// Its index in the policy.
    rule: usize,
    callers: Arc<CallerRates>,
}

impl Rules {
    /// Rules of this policy. Limiters of the rules before are kept where the limit is the same.
    pub(super) fn new(policy: Policy, before: Option<&Rules>) -> Self {
        let before = before.map_or(&[][..], |rules| &rules.rates);
        Rules { bots: Bots::new(&policy.bots), rates: rates(&policy, before), policy }
    }

    /// Evicts callers whose burst is whole again; returns how many are left.
    pub(super) fn evict_idle(&self) -> usize {
        self.rates.iter().map(|rate| rate.callers.evict_idle()).sum()
    }

    /// Checks the caller's address against the access lists.
    pub(super) fn access_of_address(&self, caller: &mut Caller) -> Result<Verdict, Problem> {
        let access = caller.address.and_then(|a| self.policy.access_of_address(a, unix_now_ms));
        listed(access, caller)
    }

    /// Checks the user against the access lists.
    pub(super) fn access_of_user(&self, caller: &mut Caller) -> Result<Verdict, Problem> {
        let user = caller.user.as_ref();
        let access = user.and_then(|user| self.policy.access_of_user(user, unix_now_ms));
        listed(access, caller)
    }

    /// Applies the rates of whole addresses. A trusted proxy's own requests are exempt: it is a
    /// server with many users.
    pub(super) fn rate_of_address(
        &self,
        caller: &Caller,
        now: Instant,
    ) -> Result<Verdict, Problem> {
        let Some(client) = caller.client().filter(|_| !caller.is_backend) else {
            return Ok(Verdict::Passed);
        };
        self.rate(caller, true, now, |_| RateKey::Client(client))
    }

    /// Applies the rates of users; of addresses, where no user is proven.
    pub(super) fn rate_of_caller(&self, caller: &Caller, now: Instant) -> Result<Verdict, Problem> {
        match (&caller.user, caller.client()) {
            (Some(user), _) => self.rate(caller, false, now, |rate| rate.user(user)),
            (None, Some(client)) => self.rate(caller, false, now, |_| RateKey::Client(client)),
            (None, None) => Ok(Verdict::Passed),
        }
    }

    fn rate(
        &self,
        caller: &Caller,
        before_identity: bool,
        now: Instant,
        key: impl Fn(&CallerRates) -> RateKey,
    ) -> Result<Verdict, Problem> {
        if caller.allowed {
            return Ok(Verdict::Passed);
        }
        let mut verdict = Verdict::Passed;
        for Rate { rule, callers } in &self.rates {
            let rule = &self.policy.rules[*rule];
            if rule.precedes_identity() != before_identity || !rule.counts(caller.class) {
                continue;
            }
            let mode = self.policy.mode_of(rule, caller.on_loopback);
            if mode == Mode::Off {
                continue;
            }
            if let Err(wait_ms) = callers.check(key(callers), now) {
                if mode == Mode::Enforce {
                    return Err(quotas::over(rule, 0, wait_ms));
                }
                verdict = Verdict::Observed;
            }
        }
        Ok(verdict)
    }

    /// Applies the bot rules to callers that no proxy or token vouches for.
    pub(super) fn bots(&self, request: &HttpRequest, caller: &Caller) -> Result<Verdict, Problem> {
        let mode = self.policy.bots_mode(caller.on_loopback);
        let is_vouched_for = caller.allowed || caller.may_be_program;
        if is_vouched_for || mode == Mode::Off || !self.bots.matches(request, caller.class) {
            return Ok(Verdict::Passed);
        }
        if mode == Mode::Enforce { Err(bots::automated()) } else { Ok(Verdict::Observed) }
    }
}

fn listed(access: Option<Access>, caller: &mut Caller) -> Result<Verdict, Problem> {
    match access {
        None => Ok(Verdict::Passed),
        Some(Access::Allow) => {
            caller.allowed = true;
            Ok(Verdict::Passed)
        }
        Some(Access::Deny) => Err(bots::automated()),
    }
}

/// The limiters of the rules that count in this process; earlier ones are kept where the limit is the
/// same.
fn rates(policy: &Policy, before: &[Rate]) -> Vec<Rate> {
    let callers = |rule: &Rule| {
        let kept = before.iter().map(|rate| &rate.callers).find(|callers| callers.is_of(rule));
        kept.cloned().unwrap_or_else(|| Arc::new(CallerRates::new(&rule.name, rule.limit)))
    };
    let in_process = policy.rules.iter().enumerate();
    let in_process = in_process.filter(|(_, rule)| rule.place == Place::Process);
    in_process.map(|(index, rule)| Rate { rule: index, callers: callers(rule) }).collect()
}

fn unix_now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
