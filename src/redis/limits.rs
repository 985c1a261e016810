//! `limit` as a typed call. What it guarantees stands in its header under `lua/`.

use super::calls::args;
use super::codes::Code;
use super::engine::Engine;
use super::error::RedisError;
use super::reply::{Answer, unexpected};
use super::scripts::Script;
use crate::domain::{Limit, Subject};

/// One rule as it is to be looked at for one subject.
#[derive(Clone, Copy, Debug)]
pub struct LimitCheck<'a> {
    /// Who is counted.
    pub subject: &'a Subject,
    /// The rule's name.
    pub rule: &'a str,
    /// What it grants.
    pub limit: Limit,
    /// Whether it may refuse the request that asks.
    pub enforced: bool,
    /// Whether a request asks.
    pub asks: bool,
    /// Requests that were let through elsewhere and are to be counted first.
    pub noted: u32,
    /// Whether what was counted is forgotten before anything else.
    pub forgives: bool,
    /// Moments ([`Standing::at_ms`]) of requests that were counted and turned out not to count;
    /// of windows alone.
    pub uncounted: &'a [i64],
}

/// How a subject stands under a rule after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// No room was left, for the request that asked or for a next one.
    pub is_over: bool,
    /// Requests left.
    pub remaining: u32,
    /// After how long one more is left, ms; 0 if all are.
    pub wait_ms: u64,
    /// How many of the noted requests are counted now. For the others there was no room.
    pub taken: u32,
    /// Redis' time of the call, Unix ms: the moment under which the request that asked is counted.
    pub at_ms: i64,
}

/// Numbers of one standing in a reply.
const STANDING_NUMBERS: usize = 4;

impl Engine {
    /// `limit`: counts under rules of subjects that share a partition; how each check stands, in
    /// their order. The caller bounds the list, and names each subject and rule once.
    ///
    /// # Errors
    /// If the call did not run (it was too late, too), or nobody knows whether it did.
    pub async fn limit(&self, checks: &[LimitCheck<'_>]) -> Result<Vec<Standing>, RedisError> {
        let Some(first) = checks.first() else { return Ok(Vec::new()) };
        let partition = self.keys().partition_of_subject(first.subject);
        let mut subjects: Vec<&Subject> = Vec::new();
        let list: Vec<String> = checks.iter().map(|check| item(check, &mut subjects)).collect();
        let list = list.join(",");
        let keys = subjects.iter().map(|subject| self.keys().limits(subject)).collect();
        let build = |not_after: super::NotAfter| args![not_after.0, list.as_str()];
        let answer = self.mutate_promptly(Script::Limit, partition, keys, build).await?;
        if answer.code == Code::TooLate {
            return Err(RedisError::NotRun("limits were asked too late".into()));
        }
        standings(&answer, checks.len())
    }
}

/// A check as the script reads it; its subject is found, or added, in the list of keys.
fn item<'a>(check: &LimitCheck<'a>, subjects: &mut Vec<&'a Subject>) -> String {
    // The newest first: checks of one subject stand together.
    let known = subjects.iter().rposition(|known| *known == check.subject);
    let at = known.unwrap_or_else(|| {
        subjects.push(check.subject);
        subjects.len() - 1
    });
    let (kind, quota, per) = match check.limit {
        Limit::Window { quota, window_ms } => ("window", quota, window_ms),
        Limit::Rate { per_second, burst } => ("rate", burst, u64::from(per_second)),
    };
    let LimitCheck { rule, noted, .. } = check;
    let uncounted: Vec<String> = check.uncounted.iter().map(i64::to_string).collect();
    let uncounted = if uncounted.is_empty() { "-".to_owned() } else { uncounted.join(":") };
    let [enforced, asks, forgives] = [check.enforced, check.asks, check.forgives].map(u8::from);
    let counts = format!("{enforced} {asks} {noted} {forgives} {uncounted}");
    format!("{} {rule} {kind} {quota} {per} {counts}", at + 1)
}

fn standings(answer: &Answer, count: usize) -> Result<Vec<Standing>, RedisError> {
    let numbers = answer.numbers()?;
    if numbers.len() != count * STANDING_NUMBERS {
        return Err(unexpected(format!("{} numbers for {count} checks", numbers.len())));
    }
    let small = |number: i64| {
        u32::try_from(number).map_err(|_| unexpected(format!("{number} in a standing")))
    };
    let standing = |numbers: &[i64]| {
        Ok(Standing {
            is_over: numbers[0] == 1,
            remaining: small(numbers[1])?,
            wait_ms: u64::try_from(numbers[2]).unwrap_or_default(),
            taken: small(numbers[3])?,
            at_ms: answer.now_ms,
        })
    };
    numbers.chunks_exact(STANDING_NUMBERS).map(standing).collect()
}
