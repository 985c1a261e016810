//! The policy in the form in which requests meet it, and what it says of them without I/O.

use std::sync::Arc;
use std::time::Instant;

use actix_web::HttpRequest;

use super::bots::{self, Bots};
use super::quotas::{self, SaturatedCallers};
use super::rate::{CallerRates, RateKey};
use super::{Caller, Verdict};
use crate::domain::policy::Access;
use crate::domain::{Mode, Place, Policy, Rule};
use crate::http::problem::Problem;

/// The policy, and what is counted under it in this process.
pub struct Rules {
    /// What is to be done.
    pub policy: Policy,
    bots: Bots,
    /// One a rule that counts in this process.
    rates: Vec<Arc<CallerRates>>,
    saturated_callers: SaturatedCallers,
}

impl Rules {
    /// Of this policy; what was counted under the rules before goes on where a limit is the same.
    pub(super) fn new(policy: Policy, before: Option<&Rules>) -> Self {
        let before = before.map_or(&[][..], |rules| &rules.rates);
        Rules {
            bots: Bots::new(&policy.bots),
            rates: rates(&policy, before),
            saturated_callers: SaturatedCallers::default(),
            policy,
        }
    }

    pub(super) fn saturated_callers(&self) -> &SaturatedCallers {
        &self.saturated_callers
    }

    /// Forgets callers that have been quiet for long enough to start anew; gives how many are left.
    pub(super) fn forget_idle(&self) -> usize {
        self.rates.iter().map(|rate| rate.forget_idle()).sum()
    }

    /// What the lists say of the caller's address.
    pub(super) fn access_of_address(&self, caller: &mut Caller) -> Result<Verdict, Problem> {
        let access = caller.address.and_then(|a| self.policy.access_of_address(a, unix_now_ms));
        listed(access, caller)
    }

    /// What the lists say of the user.
    pub(super) fn access_of_user(&self, caller: &mut Caller) -> Result<Verdict, Problem> {
        let user = caller.user.as_ref();
        let access = user.and_then(|user| self.policy.access_of_user(user, unix_now_ms));
        listed(access, caller)
    }

    /// How often an address asks, by the rules that look at everybody there. A trusted proxy that
    /// asks for itself is a server with many users, and has no such bound.
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

    /// How often a user asks, or an address where no user is proven.
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
        for (rule, rate) in in_process(&self.policy).zip(&self.rates) {
            let mode = self.policy.mode_of(rule, caller.on_loopback);
            let looks = rule.precedes_identity() == before_identity && rule.counts(caller.class);
            if mode == Mode::Off || !looks {
                continue;
            }
            if let Err(wait_ms) = rate.check(key(rate), now) {
                if mode == Mode::Enforce {
                    return Err(quotas::over(rule, 0, wait_ms));
                }
                verdict = Verdict::Observed;
            }
        }
        Ok(verdict)
    }

    /// Whether a program asks that nobody vouches for.
    pub(super) fn bots(&self, request: &HttpRequest, caller: &Caller) -> Result<Verdict, Problem> {
        let mode = self.policy.bots_mode(caller.on_loopback);
        let is_vouched_for = caller.allowed || caller.may_be_program;
        if is_vouched_for || mode == Mode::Off || !self.bots.tells(request, caller.class) {
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

/// The rules that count in this process, in their order.
fn in_process(policy: &Policy) -> impl Iterator<Item = &Rule> {
    policy.rules.iter().filter(|rule| rule.place == Place::Process)
}

/// The limiters of those rules; those of before are kept where their limit is the same.
fn rates(policy: &Policy, before: &[Arc<CallerRates>]) -> Vec<Arc<CallerRates>> {
    let rate = |rule: &Rule| {
        let kept = before.iter().find(|rate| rate.is_of(rule));
        kept.cloned().unwrap_or_else(|| Arc::new(CallerRates::new(&rule.name, rule.limit)))
    };
    in_process(policy).map(rate).collect()
}

fn unix_now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
