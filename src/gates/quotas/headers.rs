//! Responses about limits: the refusal, and the headers `RateLimit` and `RateLimit-Policy`
//! (draft-ietf-httpapi-ratelimit-headers).

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::domain::Rule;
use crate::http::problem::{Code, Problem, TRY_AGAIN};
use crate::redis::Standing;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// When to try again while Redis is away, seconds.
const RETRY_UNAVAILABLE_SECONDS: u32 = 1;

/// The headers of a response, about the tightest rule that its request was counted under.
pub struct RateLimitHeaders {
    policy: HeaderValue,
    state: HeaderValue,
}

impl RateLimitHeaders {
    /// Headers about the rule with the fewest requests left; of several, the longest wait.
    pub(super) fn of_tightest(standings: &[(&Rule, Standing)]) -> Option<Self> {
        let (rule, standing) =
            standings.iter().min_by_key(|(_, s)| (s.remaining, std::cmp::Reverse(s.wait_ms)))?;
        RateLimitHeaders::new(rule, standing.remaining, standing.wait_ms)
    }

    fn new(rule: &Rule, remaining: u32, wait_ms: u64) -> Option<Self> {
        let (name, quota) = (&rule.name, rule.limit.quota());
        let (window, seconds) = (rule.limit.window_ms().div_ceil(1_000), seconds(wait_ms));
        let value = |text: String| HeaderValue::try_from(text).ok();
        // A rule's name is small letters, digits and `_`: always a header's text.
        let policy = value(format!("\"{name}\";q={quota};w={window}"))?;
        Some(RateLimitHeaders {
            policy,
            state: value(format!("\"{name}\";r={remaining};t={seconds}"))?,
        })
    }

    /// Adds them to a response that has none yet.
    pub fn write(self, headers: &mut HeaderMap) {
        if !headers.contains_key(RATELIMIT) {
            headers.insert(RATELIMIT_POLICY, self.policy);
            headers.insert(RATELIMIT, self.state);
        }
    }
}

/// The refusal of a caller that is over a rule's limit: how many requests are left, and after how
/// long there is one more.
pub fn over(rule: &Rule, remaining: u32, wait_ms: u64) -> Problem {
    refused(rule, remaining, wait_ms, wait_ms)
}

/// The refusal of a caller that is over the limits of these rules: names the first of them, and
/// the longest wait, as an earlier request would be refused again.
pub(super) fn refusal(waits: &[(&Rule, u64)]) -> Option<Problem> {
    let (rule, wait_ms) = *waits.first()?;
    let longest_ms = waits.iter().map(|(_, wait_ms)| *wait_ms).max().unwrap_or(wait_ms);
    Some(refused(rule, 0, wait_ms, longest_ms))
}

fn refused(rule: &Rule, remaining: u32, wait_ms: u64, longest_ms: u64) -> Problem {
    let retry_seconds = seconds(longest_ms);
    let detail = match &rule.detail {
        Some(detail) => detail.clone(),
        None => format!("Too many requests: {}. Try again in {retry_seconds} s", rule.limit),
    };
    let name = rule.name.as_str().into();
    let problem =
        Problem::new(Code::RateLimitExceeded, detail).with("rule", name).retry_after(retry_seconds);
    match RateLimitHeaders::new(rule, remaining, wait_ms) {
        Some(headers) => problem
            .with_header(RATELIMIT_POLICY, headers.policy)
            .with_header(RATELIMIT, headers.state),
        None => problem,
    }
}

/// The refusal of a request under a rule that does not do without Redis, while Redis is away.
pub(super) fn unavailable() -> Problem {
    Problem::new(Code::ServiceUnavailable, TRY_AGAIN)
        .retry_after(RETRY_UNAVAILABLE_SECONDS)
        .caused_by("redis: a limit cannot be counted".to_owned())
}

/// Whole seconds, rounded up, so that an obedient client does not come early.
fn seconds(wait_ms: u64) -> u32 {
    u32::try_from(wait_ms.div_ceil(1_000)).unwrap_or(u32::MAX).max(1)
}
