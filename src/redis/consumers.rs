//! Who reads the booking log: the members of a consumer group.

use fred::types::Value;

use super::engine::Engine;
use super::error::RedisError;
use super::log::flat_map;
use super::value::{integer, list, text};
use crate::domain::Partition;

/// A member of a group of one partition's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// Entries it was given and has not acknowledged.
    pub pending: u64,
    /// Time since its last read (Redis before 7.2: since it last received an entry), ms.
    pub idle_ms: u64,
}

impl Engine {
    /// The members of a group; none where the group, or the log, is not there.
    pub async fn consumers(
        &self,
        partition: Partition,
        group: &str,
    ) -> Result<Vec<Consumer>, RedisError> {
        let args = ["CONSUMERS", &self.keys().log(partition), group];
        let args = args.into_iter().map(Value::from).collect();
        let reply = match self.command("XINFO", partition, args).await {
            Ok(reply) => list(Some(reply))?,
            Err(RedisError::Unexpected(text))
                if text.contains("no such key") || text.contains("NOGROUP") =>
            {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        reply
            .into_iter()
            .map(|row| {
                let mut row = flat_map(row)?;
                let mut number = |name| integer(&row.remove(name).unwrap_or(Value::Null));
                let (pending, idle) = (number("pending")?, number("idle")?);
                Ok(Consumer {
                    name: text(row.remove("name"))?,
                    // Redis counts neither below zero.
                    pending: pending as u64,
                    idle_ms: idle as u64,
                })
            })
            .collect()
    }
}
