//! `beat`, `clock`: scripts about a partition's booking log.

use fred::types::Value;

use super::Script;
use super::call::new_nonce;
use super::call::{Argument, ScriptCall, argument_group};
use super::reply::{Timed, script_reply};
use crate::domain::{LogId, Partition};
use crate::redis::engine::Engine;
use crate::redis::error::RedisError;
use crate::redis::keys::Keys;

/// Appends an empty entry to a quiet log.
pub(in crate::redis) struct BeatCall<'a> {
    partition: Partition,
    arguments: BeatArguments<'a>,
}

argument_group! {
    /// The arguments of [`BeatCall`].
    struct BeatArguments<'a> {
        nonce: &'a str,
        min_age_ms: i64,
        log_entries_max: u64,
    }
}

impl ScriptCall for BeatCall<'_> {
    type Reply = BeatReply;
    const SCRIPT: Script = Script::Beat;
    const HAS_NOT_AFTER: bool = true;

    fn key_names() -> Vec<&'static str> {
        vec!["log", "link"]
    }

    fn argument_names() -> Vec<&'static str> {
        [vec!["not_after"], BeatArguments::names("")].concat()
    }

    fn partition(&self, _: &Keys) -> Partition {
        self.partition
    }

    fn keys(&self, keys: &Keys) -> Vec<String> {
        vec![keys.log(self.partition), keys.link(self.partition)]
    }

    fn push_arguments(&self, arguments: &mut Vec<Value>) {
        self.arguments.push(arguments);
    }
}

script_reply! {
    /// What a beat came to.
    pub enum BeatReply {
        /// An entry was appended.
        "ok" => Appended {
            /// Its position.
            position: LogId,
        },
        /// The newest entry is young enough.
        "unneeded" => Unneeded {
            /// Its position.
            position: LogId,
        },
        /// The booking log has `log_entries_max` entries.
        "log_full" => LogFull,
        /// `not_after` had passed; nothing was changed.
        "too_late" => TooLate,
    }
}

/// Reads the clock of the node that serves a partition.
pub(in crate::redis) struct ClockCall(Partition);

impl ScriptCall for ClockCall {
    type Reply = ClockReply;
    const SCRIPT: Script = Script::Clock;
    const HAS_NOT_AFTER: bool = false;

    fn key_names() -> Vec<&'static str> {
        vec!["log"]
    }

    fn argument_names() -> Vec<&'static str> {
        Vec::new()
    }

    fn partition(&self, _: &Keys) -> Partition {
        self.0
    }

    fn keys(&self, keys: &Keys) -> Vec<String> {
        vec![keys.log(self.0)]
    }

    fn push_arguments(&self, _: &mut Vec<Value>) {}
}

script_reply! {
    /// Redis' time, which every reply carries.
    pub enum ClockReply {
        /// The time.
        "ok" => Time,
    }
}

impl Engine {
    /// Runs `beat`: appends an empty entry unless one younger than `min_age_ms` is there, or the
    /// log has `log_entries_max` entries.
    pub async fn beat(
        &self,
        partition: Partition,
        min_age_ms: i64,
        log_entries_max: u64,
    ) -> Result<Timed<BeatReply>, RedisError> {
        let arguments = BeatArguments { nonce: &new_nonce(), min_age_ms, log_entries_max };
        self.call(&BeatCall { partition, arguments }).await
    }

    /// Redis' current time, Unix ms.
    pub async fn redis_time_ms(&self, partition: Partition) -> Result<i64, RedisError> {
        Ok(self.call_once(&ClockCall(partition), None).await?.now_ms)
    }
}
