//! Commands on the booking log: its state, pending entries, trimming, and parsing of entries.
//! [`super::lane`] waits for new entries.

use std::borrow::Cow;
use std::collections::HashMap;

use fred::types::Value;

use super::engine::Engine;
use super::error::RedisError;
use super::value::{integer, list, text, unexpected};
use crate::domain::entry::{ENTRY_FIELD, Entry, Link};
use crate::domain::{LogId, Partition, RecordError};

/// The consumer group whose members, the worker processes, archive the log.
pub const WORKER_GROUP: &str = "archive";

/// An entry of the log with its fields as Redis has them, which dead letters keep.
#[derive(Clone, Debug)]
pub struct Read {
    /// The log's partition.
    pub partition: Partition,
    /// Its position.
    pub id: LogId,
    /// The entry, or why it is unreadable.
    pub entry: Result<Entry, RecordError>,
    /// Its raw fields: [`ENTRY_FIELD`] with the line, unless something else wrote it.
    pub fields: Vec<(String, String)>,
}

impl Read {
    /// Its line; empty where there is none.
    pub fn line(&self) -> &str {
        line_of(&self.fields)
    }

    /// Its random tag, also of an entry that is otherwise unreadable; empty where there is none.
    pub fn tag(&self) -> String {
        self.link().map(|link| link.tag.clone()).unwrap_or_default()
    }

    /// Whether its link names this entry as its predecessor.
    pub fn follows(&self, id: LogId, tag: &str) -> bool {
        self.link().is_some_and(|link| link.prev_id == id && link.prev_tag == tag)
    }

    fn link(&self) -> Option<Cow<'_, Link>> {
        match &self.entry {
            Ok(entry) => Some(Cow::Borrowed(&entry.link)),
            Err(_) => Link::of_line(self.line()).map(Cow::Owned),
        }
    }
}

/// The line among an entry's fields; empty where there is none.
pub(super) fn line_of(fields: &[(String, String)]) -> &str {
    fields.iter().find(|(name, _)| name == ENTRY_FIELD).map_or("", |(_, line)| line)
}

/// A pending entry: delivered, not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its position.
    pub id: LogId,
    /// The consumer it was delivered to.
    pub consumer: String,
    /// Time since its last delivery, ms.
    pub idle_ms: i64,
    /// How often it was delivered.
    pub deliveries: i64,
}

/// The state of a log and its group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// Entries in the log.
    pub length: u64,
    /// The newest entry's position; 0-0 for an empty log.
    pub newest: LogId,
    /// The group's last delivered position; `None` if there is no group.
    pub delivered: Option<LogId>,
    /// Entries not delivered to the group yet; `None` where Redis does not report it (entries were
    /// deleted) or there is no group.
    pub undelivered: Option<u64>,
    /// Entries delivered and not acknowledged.
    pub pending: u64,
    /// The oldest of them.
    pub oldest_pending: Option<LogId>,
    /// Entries parked as dead letters.
    pub dead_letters: u64,
}

impl LogState {
    /// The watermark: everything at or below it has been archived and acknowledged.
    pub fn watermark(&self) -> LogId {
        match (self.oldest_pending, self.delivered) {
            (Some(oldest), _) => before(oldest),
            (None, Some(delivered)) => delivered,
            (None, None) => LogId::default(),
        }
    }

    /// Whether everything in the log has been archived and acknowledged.
    pub fn is_caught_up(&self) -> bool {
        self.pending == 0 && self.watermark() >= self.newest
    }
}

/// The position just under another.
fn before(id: LogId) -> LogId {
    match (id.ms, id.seq) {
        (0, 0) => id,
        (ms, 0) => LogId { ms: ms - 1, seq: u64::MAX },
        (ms, seq) => LogId { ms, seq: seq - 1 },
    }
}

impl Engine {
    /// Creates the group on a log that has none yet, from the log's beginning: an entry that was
    /// archived before is archived again, which changes nothing.
    pub async fn ensure_group(&self, partition: Partition, group: &str) -> Result<(), RedisError> {
        let args = ["CREATE", &self.keys().log(partition), group, "0", "MKSTREAM"];
        let args = args.into_iter().map(Value::from).collect();
        match self.command("XGROUP", partition, args).await {
            Ok(_) => Ok(()),
            Err(RedisError::Unexpected(text)) if text.contains("BUSYGROUP") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Acknowledges entries.
    pub async fn acknowledge(
        &self,
        partition: Partition,
        group: &str,
        ids: &[LogId],
    ) -> Result<u64, RedisError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let mut args = vec![Value::from(self.keys().log(partition)), Value::from(group)];
        args.extend(ids.iter().map(|id| Value::from(id.to_string())));
        Ok(integer(&self.command("XACK", partition, args).await?)? as u64)
    }

    /// Pending entries idle for at least `idle_ms`, oldest first.
    pub async fn pending(
        &self,
        partition: Partition,
        group: &str,
        idle_ms: u64,
        count: u64,
    ) -> Result<Vec<Pending>, RedisError> {
        let log = self.keys().log(partition);
        let (idle, count) = (idle_ms.to_string(), count.to_string());
        let args = [log.as_str(), group, "IDLE", &idle, "-", "+", &count];
        let reply = self
            .command("XPENDING", partition, args.into_iter().map(Value::from).collect())
            .await?;
        list(Some(reply))?
            .into_iter()
            .map(|row| {
                let mut row = list(Some(row))?.into_iter();
                Ok(Pending {
                    id: log_id(row.next())?,
                    consumer: text(row.next())?,
                    idle_ms: integer(&row.next().unwrap_or(Value::Null))?,
                    deliveries: integer(&row.next().unwrap_or(Value::Null))?,
                })
            })
            .collect()
    }

    /// Takes over entries idle for at least `idle_ms`, from `start` on (`0-0` at first). Returns
    /// the entries and the position to continue from; `0-0` means that none is left.
    pub async fn claim(
        &self,
        partition: Partition,
        group: &str,
        consumer: &str,
        idle_ms: u64,
        start: LogId,
        count: u64,
    ) -> Result<(Vec<Read>, LogId), RedisError> {
        let log = self.keys().log(partition);
        let (idle, start, count) = (idle_ms.to_string(), start.to_string(), count.to_string());
        let args = [log.as_str(), group, consumer, &idle, &start, "COUNT", &count];
        let args = args.into_iter().map(Value::from).collect();
        let mut reply = list(Some(self.command("XAUTOCLAIM", partition, args).await?))?.into_iter();
        let next = log_id(reply.next())?;
        Ok((entries(partition, reply.next())?, next))
    }

    /// Entries from `from` to the newest, at most `count`, without a group.
    pub async fn range(
        &self,
        partition: Partition,
        from: LogId,
        to: Option<LogId>,
        count: u64,
    ) -> Result<Vec<Read>, RedisError> {
        let to = to.map_or_else(|| "+".to_owned(), |id| id.to_string());
        let log = self.keys().log(partition);
        let args = [log.as_str(), &from.to_string(), &to, "COUNT", &count.to_string()];
        let args = args.into_iter().map(Value::from).collect();
        entries(partition, Some(self.command("XRANGE", partition, args).await?))
    }

    /// Bookings of an event whose confirmation lease ended before `until_ms` (Redis' time).
    pub async fn lapsed_leases(
        &self,
        event: crate::domain::EventId,
        until_ms: i64,
        skip: u64,
        count: u64,
    ) -> Result<Vec<crate::domain::BookingId>, RedisError> {
        let args = [
            self.keys().leases(event),
            "-inf".into(),
            until_ms.to_string(),
            "LIMIT".into(),
            skip.to_string(),
            count.to_string(),
        ];
        let args = args.into_iter().map(Value::from).collect();
        let partition = self.keys().partition_of(event);
        let reply = list(Some(self.command("ZRANGEBYSCORE", partition, args).await?))?;
        reply
            .into_iter()
            .map(|id| {
                let id = text(Some(id))?;
                id.parse().map_err(|_| unexpected(format!("booking id {id:?}")))
            })
            .collect()
    }

    /// When the first confirmation lease of an event ends, by Redis' clock; `None` without leases.
    pub async fn next_lease_end_ms(
        &self,
        event: crate::domain::EventId,
    ) -> Result<Option<i64>, RedisError> {
        let key = self.keys().leases(event);
        let args = [key.as_str(), "0", "0", "WITHSCORES"].into_iter().map(Value::from).collect();
        let partition = self.keys().partition_of(event);
        let reply = list(Some(self.command("ZRANGE", partition, args).await?))?;
        // RESP2: `[member, score]`; RESP3: `[[member, score]]`.
        let score = match reply.into_iter().last() {
            Some(Value::Array(pair)) => pair.into_iter().next_back(),
            flat => flat,
        };
        score.map(|score| integer(&score)).transpose()
    }

    /// Position of the log's last entry; `None` for an empty log.
    pub async fn last_entry(&self, partition: Partition) -> Result<Option<LogId>, RedisError> {
        let key = self.keys().log(partition);
        let args = [key.as_str(), "+", "-", "COUNT", "1"].into_iter().map(Value::from).collect();
        let reply = entries(partition, Some(self.command("XREVRANGE", partition, args).await?))?;
        Ok(reply.first().map(|read| read.id))
    }

    /// Drops entries below `id`, which must not be above the watermark.
    pub async fn trim_below(&self, partition: Partition, id: LogId) -> Result<u64, RedisError> {
        let args = [self.keys().log(partition), "MINID".into(), id.to_string()];
        let args = args.into_iter().map(Value::from).collect();
        Ok(integer(&self.command("XTRIM", partition, args).await?)? as u64)
    }

    /// The state of a log and its group.
    pub async fn log_state(
        &self,
        partition: Partition,
        group: &str,
    ) -> Result<LogState, RedisError> {
        let log = self.keys().log(partition);
        let length = self.command("XLEN", partition, vec![Value::from(log.as_str())]).await?;
        let mut state = LogState {
            length: integer(&length)? as u64,
            newest: self.link(partition).await?.map(|link| link.0).unwrap_or_default(),
            ..LogState::default()
        };
        let has_group = self.group_state(partition, group, &mut state).await?;
        // INVARIANT: after what is pending: an entry is parked before it is acknowledged.
        state.dead_letters = self.dead_letter_count(partition).await?;
        if has_group && state.pending > 0 {
            let args = vec![Value::from(log), Value::from(group)];
            let mut summary =
                list(Some(self.command("XPENDING", partition, args).await?))?.into_iter();
            state.pending = integer(&summary.next().unwrap_or(Value::Null))? as u64;
            state.oldest_pending = match summary.next() {
                Some(Value::Null) | None => None,
                oldest => Some(log_id(oldest)?),
            };
        }
        Ok(state)
    }

    /// Fills in the fields of XINFO GROUPS; returns whether the group exists.
    async fn group_state(
        &self,
        partition: Partition,
        group: &str,
        state: &mut LogState,
    ) -> Result<bool, RedisError> {
        let args = vec![Value::from("GROUPS"), Value::from(self.keys().log(partition))];
        let groups = match self.command("XINFO", partition, args).await {
            Ok(reply) => list(Some(reply))?,
            // There is no log yet.
            Err(RedisError::Unexpected(text)) if text.contains("no such key") => return Ok(false),
            Err(error) => return Err(error),
        };
        for row in groups {
            let mut fields: HashMap<String, Value> = flat_map(row)?;
            if fields.remove("name").and_then(|name| name.as_string()).as_deref() != Some(group) {
                continue;
            }
            state.delivered = Some(log_id(fields.remove("last-delivered-id"))?);
            state.pending = integer(&fields.remove("pending").unwrap_or(Value::Null))? as u64;
            state.undelivered =
                fields.remove("lag").and_then(|lag| integer(&lag).ok()).map(|lag| lag as u64);
            return Ok(true);
        }
        Ok(false)
    }
}

/// Reads a map, a flat list of pairs, or a list of two-element lists.
pub(super) fn flat_map(value: Value) -> Result<HashMap<String, Value>, RedisError> {
    match value {
        Value::Null => Ok(HashMap::new()),
        Value::Map(map) => Ok(map
            .inner()
            .into_iter()
            .filter_map(|(key, value)| Some((key.into_string()?, value)))
            .collect()),
        Value::Array(values) => {
            let nested = matches!(values.first(), Some(Value::Array(_)));
            let flat: Vec<Value> = match nested {
                true => values
                    .into_iter()
                    .map(|v| list(Some(v)))
                    .collect::<Result<Vec<_>, _>>()?
                    .into_iter()
                    .flatten()
                    .collect(),
                false => values,
            };
            let mut map = HashMap::new();
            let mut flat = flat.into_iter();
            while let Some(key) = flat.next() {
                map.insert(text(Some(key))?, flat.next().unwrap_or(Value::Null));
            }
            Ok(map)
        }
        other => Err(unexpected(format!("{other:?} where pairs should be"))),
    }
}

/// Reads `[[id, [name, value, ...]], ...]`; deleted entries (nil fields) are left out.
pub(super) fn entries(partition: Partition, value: Option<Value>) -> Result<Vec<Read>, RedisError> {
    let mut reads = Vec::new();
    for row in list(value)? {
        let mut row = list(Some(row))?.into_iter();
        let id = log_id(row.next())?;
        let values = match row.next() {
            Some(Value::Array(values)) => values,
            _ => continue,
        };
        let mut fields = Vec::with_capacity(values.len() / 2);
        let mut values = values.into_iter();
        while let (Some(name), Some(value)) = (values.next(), values.next()) {
            fields.push((lossy(name), lossy(value)));
        }
        reads.push(Read { partition, id, entry: Entry::parse(id, line_of(&fields)), fields });
    }
    Ok(reads)
}

/// A field as text; bytes that are no text are replaced, and then refused by `Entry`.
fn lossy(value: Value) -> String {
    value.as_str_lossy().map(|text| text.into_owned()).unwrap_or_default()
}

fn log_id(value: Option<Value>) -> Result<LogId, RedisError> {
    let id = text(value)?;
    id.parse().map_err(|_| unexpected(format!("log position {id:?}")))
}
