//! Limits wrong admin keys: counts them by address and logs them, whatever the limit rules and
//! their modes. Beyond `admin_key_failures_per_minute` every key from that address is refused,
//! right or wrong, so that guessing reveals nothing. Where a right key came within the last hour,
//! right keys still work and wrong ones alone are refused.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::IntCounter;

use super::Caller;
use crate::config::LiveConfig;
use crate::domain::ClientNetwork;
use crate::http::problem::{Code, Problem};
use crate::telemetry::Metrics;
use crate::telemetry::line_budget::LineBudget;

/// The window that failures are counted over.
const WINDOW: Duration = Duration::from_secs(60);
/// Most addresses counted separately; those beyond share one count.
const ADDRESSES_MAX: usize = 100_000;
/// How long an address counts as an admin's after a right key.
const ADMINS_FOR: Duration = Duration::from_secs(3_600);
/// The limit's name in responses.
const RULE: &str = "admin_key_failures";

/// Warnings in ten seconds.
static WARNINGS: LineBudget = LineBudget::new(10);

/// The failures of one process.
pub struct FailedKeys {
    shown: Mutex<Shown>,
    config: LiveConfig,
    total: IntCounter,
}

/// The keys shown, by address.
type Shown = HashMap<Option<ClientNetwork>, History>;

/// The keys one address has shown.
#[derive(Clone, Copy)]
struct History {
    /// When all its failures are paid off: each one adds an interval.
    clear_at: Instant,
    /// Until when it counts as an admin's.
    admins_until: Option<Instant>,
}

impl History {
    fn is_of_admins(&self, now: Instant) -> bool {
        self.admins_until.is_some_and(|until| until > now)
    }
}

impl FailedKeys {
    /// No failures yet.
    pub fn new(config: LiveConfig, metrics: &Metrics) -> Self {
        FailedKeys { shown: Mutex::default(), config, total: metrics.admin_key_failures.clone() }
    }

    /// The time after which one failure is paid off.
    fn interval(&self) -> Duration {
        WINDOW / self.config.load().admin_key_failures_per_minute.max(1)
    }

    /// Whether no key is configured, so that none can be guessed.
    fn is_keyless(&self) -> bool {
        self.config.load().admin_keys_sha256.is_empty()
    }

    /// Judges a key by the result of its check; counts a wrong one.
    ///
    /// # Errors
    /// If it is wrong, or its address has shown too many wrong ones.
    pub fn judge(
        &self,
        caller: &Caller,
        checked: Result<String, Problem>,
        now: Instant,
    ) -> Result<String, Problem> {
        let is_wrong = checked.as_ref().is_err_and(|problem| problem.code == Code::AdminKeyWrong);
        if self.is_keyless() || checked.is_err() && !is_wrong {
            return checked;
        }
        let refusal = self.refusal(caller, !is_wrong, now);
        match (is_wrong, &refusal) {
            (true, _) => self.record_wrong(caller, refusal.is_some(), now),
            (false, None) => self.record_right(caller, now),
            (false, Some(_)) => {}
        }
        refusal.map_or(checked, Err)
    }

    /// The same, of a key already judged in this request.
    ///
    /// # Errors
    /// As [`FailedKeys::judge`].
    pub fn judge_again(
        &self,
        caller: &Caller,
        checked: Result<String, Problem>,
        now: Instant,
    ) -> Result<String, Problem> {
        if self.is_keyless() {
            return checked;
        }
        let refusal = self.refusal(caller, checked.is_ok(), now);
        refusal.map_or(checked, Err)
    }

    /// Evicts addresses whose failures are paid off.
    pub fn evict_idle(&self, now: Instant) {
        let mut shown = self.lock();
        shown.retain(|_, history| history.clear_at > now || history.is_of_admins(now));
        if shown.is_empty() {
            shown.shrink_to_fit();
        }
    }

    /// The refusal of a key after too many wrong ones, if any.
    fn refusal(&self, caller: &Caller, is_right: bool, now: Instant) -> Option<Problem> {
        let shown = self.lock();
        let history = shown.get(&key(&shown, caller))?;
        if is_right && history.is_of_admins(now) {
            return None;
        }
        let owed = history.clear_at.saturating_duration_since(now);
        let wait = owed.saturating_sub(WINDOW - self.interval());
        (!wait.is_zero()).then(|| too_many(wait))
    }

    fn record_right(&self, caller: &Caller, now: Instant) {
        let mut shown = self.lock();
        let key = key(&shown, caller);
        // Addresses that share a count have nothing in common.
        if key.is_some() {
            let history = History { clear_at: now, admins_until: None };
            shown.entry(key).or_insert(history).admins_until = Some(now + ADMINS_FOR);
        }
    }

    fn record_wrong(&self, caller: &Caller, is_over: bool, now: Instant) {
        self.total.inc();
        if !is_over {
            let mut shown = self.lock();
            let key = key(&shown, caller);
            let history = History { clear_at: now, admins_until: None };
            let history = shown.entry(key).or_insert(history);
            history.clear_at = history.clear_at.max(now) + self.interval();
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
        // Nothing panics under this lock.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key a caller is counted under.
fn key(shown: &Shown, caller: &Caller) -> Option<ClientNetwork> {
    let client = caller.client();
    client.filter(|_| shown.len() < ADDRESSES_MAX || shown.contains_key(&client))
}

fn too_many(wait: Duration) -> Problem {
    let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    let detail = "Too many wrong admin keys came from this address; no key is checked until later";
    Problem::new(Code::RateLimitExceeded, detail).with("rule", RULE.into()).retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::config::Config;
    use crate::domain::RouteClass;
    use crate::gates::address;

    fn caller(address: &str) -> Caller {
        let request = TestRequest::get().peer_addr(format!("{address}:1").parse().unwrap());
        address::of_client(&Config::default(), &request.to_http_request(), RouteClass::Admin)
    }

    fn config() -> LiveConfig {
        let keys = vec![format!("ops:{}", "ab".repeat(32)).parse().unwrap()];
        let config = Config {
            admin_key_failures_per_minute: 3,
            admin_keys_sha256: keys,
            ..Config::default()
        };
        (&config).into()
    }

    fn wrong() -> Result<String, Problem> {
        Err(Problem::new(Code::AdminKeyWrong, "wrong"))
    }

    #[test]
    fn address_over_the_limit_is_refused_until_it_is_paid_off() {
        let failed = FailedKeys::new(config(), &Metrics::new("test"));
        let (eve, ops, now) = (caller("9.9.9.9"), caller("8.8.8.8"), Instant::now());
        let code = |result: Result<String, Problem>| result.map_err(|problem| problem.code);
        for _ in 0..3 {
            assert_eq!(code(failed.judge(&eve, wrong(), now)), Err(Code::AdminKeyWrong));
        }
        let right = || Ok("ops".to_owned());
        for checked in [wrong(), right()] {
            assert_eq!(code(failed.judge(&eve, checked, now)), Err(Code::RateLimitExceeded));
        }
        assert_eq!(code(failed.judge(&ops, right(), now)), Ok("ops".to_owned()));
        let later = now + Duration::from_secs(21);
        assert_eq!(code(failed.judge(&eve, right(), later)), Ok("ops".to_owned()));
        failed.evict_idle(now + 2 * WINDOW);
        assert_eq!(failed.lock().len(), 2, "admins are there");
        failed.evict_idle(later + ADMINS_FOR);
        assert_eq!(failed.lock().len(), 0);
    }

    #[test]
    fn admins_address_is_refused_wrong_keys_alone() {
        let failed = FailedKeys::new(config(), &Metrics::new("test"));
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
        let failed = FailedKeys::new(config(), &Metrics::new("test"));
        let missing = Err(Problem::new(Code::AdminKeyMissing, "missing"));
        let judged = failed.judge(&caller("9.9.9.9"), missing, Instant::now());
        assert_eq!(judged.unwrap_err().code, Code::AdminKeyMissing);
        assert!(failed.lock().is_empty());
    }
}
