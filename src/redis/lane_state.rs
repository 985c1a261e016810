//! Reads about all partitions of a lane at once: on a single Redis one command, however many
//! partitions there are.

use fred::types::Value;

use super::engine::Engine;
use super::error::RedisError;
use super::value::{integer, list, text, unexpected};
use crate::domain::{EventId, LogId, Partition};

/// Position and tag of a log's newest entry.
pub type LogLink = (LogId, String);

impl Engine {
    /// The newest entry of each of these logs, in their order; `None` for an empty log. The
    /// partitions share a lane.
    pub async fn links(&self, lane: &[Partition]) -> Result<Vec<Option<LogLink>>, RedisError> {
        let Some(first) = lane.first() else { return Ok(Vec::new()) };
        let keys = lane.iter().map(|partition| Value::from(self.keys().link(*partition)));
        let found = list(Some(self.command("MGET", *first, keys.collect()).await?))?;
        if found.len() != lane.len() {
            return Err(unexpected(format!("{} links of {} logs", found.len(), lane.len())));
        }
        found.into_iter().map(parse_link).collect()
    }

    /// Position and tag of a log's newest entry.
    pub async fn link(&self, partition: Partition) -> Result<Option<LogLink>, RedisError> {
        Ok(self.links(&[partition]).await?.pop().flatten())
    }

    /// The events that are loaded in these partitions, which share a lane.
    pub async fn loaded_events(&self, lane: &[Partition]) -> Result<Vec<EventId>, RedisError> {
        let Some(first) = lane.first() else { return Ok(Vec::new()) };
        let keys = lane.iter().map(|partition| Value::from(self.keys().events(*partition)));
        let reply = list(Some(self.command("SUNION", *first, keys.collect()).await?))?;
        reply.iter().map(|id| Ok(EventId(integer(id)? as u32))).collect()
    }
}

fn parse_link(value: Value) -> Result<Option<LogLink>, RedisError> {
    if value.is_null() {
        return Ok(None);
    }
    let value = text(Some(value))?;
    let bad = || unexpected(format!("link {value:?}"));
    let (id, tag) = value.split_once(' ').ok_or_else(bad)?;
    Ok(Some((id.parse().map_err(|_| bad())?, tag.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_is_position_and_tag() {
        let at = LogId { ms: 7, seq: 2 };
        assert_eq!(parse_link("7-2 tag".into()).unwrap(), Some((at, "tag".to_owned())));
        assert_eq!(parse_link(Value::Null).unwrap(), None);
        assert!(parse_link("7-2".into()).is_err() && parse_link("x tag".into()).is_err());
    }
}
