//! `limit` as a typed call. The script's header under `lua/` has its guarantee.

use fred::types::Value;

use super::engine::Engine;
use super::error::RedisError;
use super::keys::Keys;
use super::scripts::Script;
use super::scripts::call::ScriptCall;
use super::scripts::reply::{Fields, ReplyField, Timed, script_reply};
use super::value::unexpected;
use crate::domain::{Limit, Partition, Subject};

/// One rule to apply to one subject.
#[derive(Clone, Copy, Debug)]
pub struct LimitCheck<'a> {
    /// The subject to count.
    pub subject: &'a Subject,
    /// The rule's name.
    pub rule: &'a str,
    /// The rule's limit.
    pub limit: Limit,
    /// What is to be done.
    pub action: LimitAction,
    /// Requests decided elsewhere, to be counted first.
    pub noted: u32,
    /// Moments ([`Standing::at_ms`]) of counted requests to take back; of windows alone.
    pub uncounted: &'a [i64],
}

/// What a check does, beyond counting what is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitAction {
    /// Decides a request: refuses it if there is no room.
    Enforce,
    /// Counts a request if there is room, and never refuses it.
    Observe,
    /// Nothing.
    Note,
    /// Forgets what was counted until now, before anything else.
    Forget,
}

impl LimitAction {
    fn as_str(self) -> &'static str {
        match self {
            LimitAction::Enforce => "enforce",
            LimitAction::Observe => "observe",
            LimitAction::Note => "note",
            LimitAction::Forget => "forget",
        }
    }
}

/// A subject's state under a rule after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether no room was left, for the request or for a next one.
    pub is_over: bool,
    /// Requests left.
    pub remaining: u32,
    /// After how long one more remains, ms; 0 if all do.
    pub wait_ms: u64,
    /// How many of the noted requests were counted. For the others there was no room.
    pub taken: u32,
    /// Redis' time of the call, Unix ms: the moment under which the request is counted.
    pub at_ms: i64,
}

/// Counts requests under rules of subjects that share a partition.
pub(in crate::redis) struct LimitCall<'a> {
    partition: Partition,
    checks: &'a [LimitCheck<'a>],
}

impl ScriptCall for LimitCall<'_> {
    type Reply = LimitReply;
    const SCRIPT: Script = Script::Limit;
    const HAS_NOT_AFTER: bool = true;

    fn key_names() -> Vec<&'static str> {
        vec!["subjects..."]
    }

    fn argument_names() -> Vec<&'static str> {
        vec!["not_after", "fields...", "quotas...", "pers...", "actions...", "counts..."]
    }

    fn partition(&self, _: &Keys) -> Partition {
        self.partition
    }

    fn keys(&self, keys: &Keys) -> Vec<String> {
        self.checks.iter().map(|check| keys.limits(check.subject)).collect()
    }

    fn push_arguments(&self, arguments: &mut Vec<Value>) {
        arguments.extend(self.checks.iter().map(|check| Value::from(field(check))));
        let limits = self.checks.iter().map(|check| match check.limit {
            Limit::Window { quota, window_ms } => (quota, window_ms),
            Limit::Rate { per_second, burst } => (burst, u64::from(per_second)),
        });
        arguments.extend(limits.clone().map(|(quota, _)| Value::from(i64::from(quota))));
        arguments.extend(limits.map(|(_, per)| Value::from(per.to_string())));
        let actions = self.checks.iter().map(|check| check.action.as_str());
        arguments.extend(actions.map(Value::from_static_str));
        arguments.extend(self.checks.iter().map(counted));
    }
}

/// The field of a rule's count: its kind, so that a rule of another kind starts anew, and its name.
fn field(check: &LimitCheck<'_>) -> String {
    let kind = match check.limit {
        Limit::Window { .. } => "window",
        Limit::Rate { .. } => "rate",
    };
    format!("{kind}:{}", check.rule)
}

/// How many requests are noted, and the moments to take out.
fn counted(check: &LimitCheck<'_>) -> Value {
    if check.noted == 0 && check.uncounted.is_empty() {
        return Value::from_static_str("0");
    }
    let moments: Vec<String> = check.uncounted.iter().map(i64::to_string).collect();
    Value::from(format!("{} {}", check.noted, moments.join(":")))
}

script_reply! {
    /// What a count came to.
    pub enum LimitReply {
        /// No enforced rule refuses the request.
        "ok" => Counted {
            /// One per check.
            counts: CheckCounts,
        },
        /// An enforced rule has no room for the request.
        "over_limit" => OverLimit {
            /// One per check.
            counts: CheckCounts,
        },
        /// `not_after` had passed; nothing was changed.
        "too_late" => TooLate,
    }
}

/// The state of each check of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckCounts(Vec<CheckCount>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct CheckCount {
    is_over: bool,
    remaining: u32,
    wait_ms: i64,
    taken: u32,
}

impl ReplyField for CheckCounts {
    fn names(_: &'static str) -> Vec<&'static str> {
        vec!["over", "remaining", "wait_ms", "taken", "..."]
    }

    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        let mut counts = Vec::new();
        while fields.has_more() {
            counts.push(CheckCount {
                is_over: bool::read(fields)?,
                remaining: u32::read(fields)?,
                wait_ms: i64::read(fields)?,
                taken: u32::read(fields)?,
            });
        }
        Ok(CheckCounts(counts))
    }
}

impl Engine {
    /// `limit`: counts under rules of subjects that share a partition; returns the state of each
    /// check, in order. The caller bounds the list, names each subject and rule once, and a subject's
    /// checks one after the other.
    ///
    /// # Errors
    /// If the call did not run (it was too late, too), or it is unknown whether it did.
    pub async fn limit(&self, checks: &[LimitCheck<'_>]) -> Result<Vec<Standing>, RedisError> {
        let Some(first) = checks.first() else { return Ok(Vec::new()) };
        let partition = self.keys().partition_of_subject(first.subject);
        let call = LimitCall { partition, checks };
        let Timed { reply, now_ms } = self.call_promptly(&call).await?;
        let (LimitReply::Counted { counts } | LimitReply::OverLimit { counts }) = reply else {
            return Err(RedisError::NotRun("the call for limits came too late".into()));
        };
        if counts.0.len() != checks.len() {
            let text = format!("{} counts for {} checks", counts.0.len(), checks.len());
            return Err(unexpected(text));
        }
        let standing = |count: CheckCount| Standing {
            is_over: count.is_over,
            remaining: count.remaining,
            wait_ms: u64::try_from(count.wait_ms).unwrap_or_default(),
            taken: count.taken,
            at_ms: now_ms,
        };
        Ok(counts.0.into_iter().map(standing).collect())
    }
}
