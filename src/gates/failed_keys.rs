//! Wrong admin keys: counted by address, logged for the operator, and limited whatever the limit rules
//! and their modes say. Beyond `admin_key_failures_per_minute` every key of that address is refused,
//! right or wrong, so that guessing teaches nothing. An address from which a right key came within the
//! last hour is one where admins are: there right keys go on to work, and wrong ones alone are limited.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::IntCounter;

use super::Caller;
use crate::config::Config;
use crate::domain::ClientNetwork;
use crate::http::problem::{Code, Problem};
use crate::telemetry::Metrics;
use crate::telemetry::line_budget::LineBudget;

/// What failures are counted over.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are counted apart; those beyond are counted together.
const ADDRESSES_MAX: usize = 100_000;
/// How long an address is one of admins after a right key.
const ADMINS_FOR: Duration = Duration::from_secs(3_600);
/// What the limit is called in answers.
const RULE: &str = "admin_key_failures";

/// Warnings in ten seconds.
static WARNINGS: LineBudget = LineBudget::new(10);

/// The failures of one process.
pub struct FailedKeys {
    shown: Mutex<Shown>,
    interval: Duration,
    /// There are no keys that could be guessed.
    is_keyless: bool,
    total: IntCounter,
}

/// Which keys were shown, by address.
type Shown = HashMap<Option<ClientNetwork>, History>;

/// What one address has shown.
#[derive(Clone, Copy)]
struct History {
    /// When it has no failures to its account any more: each failure adds one interval.
    clear_at: Instant,
    /// Until when it is one of admins.
    admins_until: Option<Instant>,
}

impl History {
    fn is_of_admins(&self, now: Instant) -> bool {
        self.admins_until.is_some_and(|until| until > now)
    }
}

impl FailedKeys {
    /// There were none yet.
    pub fn new(config: &Config, metrics: &Metrics) -> Self {
        FailedKeys {
            shown: Mutex::default(),
            interval: WINDOW / config.admin_key_failures_per_minute.max(1),
            is_keyless: config.admin_keys_sha256.is_empty(),
            total: metrics.admin_key_failures.clone(),
        }
    }

    /// What is answered to a key, given what a look at it says; a wrong one is counted.
    ///
    /// # Errors
    /// If it is wrong, or its address has shown too many wrong ones.
    pub fn judge(
        &self,
        caller: &Caller,
        looked: Result<String, Problem>,
        now: Instant,
    ) -> Result<String, Problem> {
        let is_wrong = looked.as_ref().is_err_and(|problem| problem.code == Code::AdminKeyWrong);
        if self.is_keyless || looked.is_err() && !is_wrong {
            return looked;
        }
        let refusal = self.refusal(caller, !is_wrong, now);
        match (is_wrong, &refusal) {
            (true, _) => self.note_wrong(caller, refusal.is_some(), now),
            (false, None) => self.note_right(caller, now),
            (false, Some(_)) => {}
        }
        refusal.map_or(looked, Err)
    }

    /// The same of a key that was judged before, in the same request.
    ///
    /// # Errors
    /// As [`FailedKeys::judge`].
    pub fn judge_again(
        &self,
        caller: &Caller,
        looked: Result<String, Problem>,
        now: Instant,
    ) -> Result<String, Problem> {
        if self.is_keyless {
            return looked;
        }
        let refusal = self.refusal(caller, looked.is_ok(), now);
        refusal.map_or(looked, Err)
    }

    /// Forgets addresses without failures to their account.
    pub fn forget_idle(&self, now: Instant) {
        let mut shown = self.lock();
        shown.retain(|_, history| history.clear_at > now || history.is_of_admins(now));
        if shown.is_empty() {
            shown.shrink_to_fit();
        }
    }

    /// Why a key is refused that came after too many wrong ones.
    fn refusal(&self, caller: &Caller, is_right: bool, now: Instant) -> Option<Problem> {
        let shown = self.lock();
        let history = shown.get(&key(&shown, caller))?;
        if is_right && history.is_of_admins(now) {
            return None;
        }
        let owed = history.clear_at.saturating_duration_since(now);
        let wait = owed.saturating_sub(WINDOW - self.interval);
        (!wait.is_zero()).then(|| too_many(wait))
    }

    fn note_right(&self, caller: &Caller, now: Instant) {
        let mut shown = self.lock();
        let key = key(&shown, caller);
        // Addresses that are counted together have nothing in common.
        if key.is_some() {
            let history = History { clear_at: now, admins_until: None };
            shown.entry(key).or_insert(history).admins_until = Some(now + ADMINS_FOR);
        }
    }

    fn note_wrong(&self, caller: &Caller, is_over: bool, now: Instant) {
        self.total.inc();
        if !is_over {
            let mut shown = self.lock();
            let key = key(&shown, caller);
            let history = History { clear_at: now, admins_until: None };
            let history = shown.entry(key).or_insert(history);
            history.clear_at = history.clear_at.max(now) + self.interval;
        }
        if let Some(unlogged_before) = WARNINGS.take(now) {
            let address = caller.address.map(|address| address.to_string());
            tracing::warn!(
                address = address.as_deref().unwrap_or("unknown"),
                limited = is_over,
                unlogged_before,
                "a wrong admin key was shown"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        // Nothing panics while it is held.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Under what a caller is counted.
fn key(shown: &Shown, caller: &Caller) -> Option<ClientNetwork> {
    let client = caller.client();
    client.filter(|_| shown.len() < ADDRESSES_MAX || shown.contains_key(&client))
}

fn too_many(wait: Duration) -> Problem {
    let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    let detail =
        "Too many wrong admin keys came from this address; no key is looked at until later";
    Problem::new(Code::RateLimitExceeded, detail).with("rule", RULE.into()).retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::domain::RouteClass;
    use crate::gates::address;

    fn caller(address: &str) -> Caller {
        let request = TestRequest::get().peer_addr(format!("{address}:1").parse().unwrap());
        address::of_client(&Config::default(), &request.to_http_request(), RouteClass::Admin)
    }

    fn config() -> Config {
        let keys = vec![format!("ops:{}", "ab".repeat(32)).parse().unwrap()];
        Config { admin_key_failures_per_minute: 3, admin_keys_sha256: keys, ..Config::default() }
    }

    fn wrong() -> Result<String, Problem> {
        Err(Problem::new(Code::AdminKeyWrong, "wrong"))
    }

    #[test]
    fn address_over_the_limit_learns_nothing_and_is_forgiven() {
        let config = config();
        let failed = FailedKeys::new(&config, &Metrics::new("test"));
        let (eve, ops, now) = (caller("9.9.9.9"), caller("8.8.8.8"), Instant::now());
        let code = |result: Result<String, Problem>| result.map_err(|problem| problem.code);
        for _ in 0..3 {
            assert_eq!(code(failed.judge(&eve, wrong(), now)), Err(Code::AdminKeyWrong));
        }
        let right = || Ok("ops".to_owned());
        for looked in [wrong(), right()] {
            assert_eq!(code(failed.judge(&eve, looked, now)), Err(Code::RateLimitExceeded));
        }
        assert_eq!(code(failed.judge(&ops, right(), now)), Ok("ops".to_owned()));
        let later = now + Duration::from_secs(21);
        assert_eq!(code(failed.judge(&eve, right(), later)), Ok("ops".to_owned()));
        failed.forget_idle(now + 2 * WINDOW);
        assert_eq!(failed.lock().len(), 2, "admins are there");
        failed.forget_idle(later + ADMINS_FOR);
        assert_eq!(failed.lock().len(), 0);
    }

    #[test]
    fn address_of_admins_is_limited_in_wrong_keys_alone() {
        let failed = FailedKeys::new(&config(), &Metrics::new("test"));
        let (office, now) = (caller("8.8.8.8"), Instant::now());
        let code = |result: Result<String, Problem>| result.map_err(|problem| problem.code);
        let right = || Ok("ops".to_owned());
        assert_eq!(code(failed.judge(&office, right(), now)), Ok("ops".to_owned()));
        for _ in 0..3 {
            assert_eq!(code(failed.judge(&office, wrong(), now)), Err(Code::AdminKeyWrong));
        }
        assert_eq!(code(failed.judge(&office, wrong(), now)), Err(Code::RateLimitExceeded));
        assert_eq!(code(failed.judge(&office, right(), now)), Ok("ops".to_owned()));
    }

    #[test]
    fn missing_key_is_no_failure() {
        let failed = FailedKeys::new(&config(), &Metrics::new("test"));
        let missing = Err(Problem::new(Code::AdminKeyMissing, "missing"));
        let judged = failed.judge(&caller("9.9.9.9"), missing, Instant::now());
        assert_eq!(judged.unwrap_err().code, Code::AdminKeyMissing);
        assert!(failed.lock().is_empty());
    }
}
