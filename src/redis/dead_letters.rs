//! Dead letters: log entries that could not be read or stored, parked with their reason so that
//! they do not stop their neighbours, and kept for operators.

use fred::types::Value;

use super::engine::Engine;
use super::error::RedisError;
use super::log::{Read, entries, line_of};
use super::value::integer;
use crate::domain::entry::{ENTRY_FIELD, Entry};
use crate::domain::{LogId, Partition};

/// Prefix of the names of the entry's own fields.
const ENTRY_PREFIX: &str = "entry.";

/// A parked entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its position, which contains the time at which it was parked, Unix ms.
    pub id: LogId,
    /// The recorded position of the entry in the booking log.
    pub entry_id: String,
    /// Why it was given up.
    pub reason: String,
    /// The entry's fields as Redis has them.
    pub fields: Vec<(String, String)>,
}

impl DeadLetter {
    /// Whether this is that entry: positions alone repeat after a failover.
    pub fn is_of(&self, read: &Read) -> bool {
        self.entry_id == read.id.to_string() && self.fields == read.fields
    }

    fn new(id: LogId, parked: Vec<(String, String)>) -> Self {
        let mut letter =
            DeadLetter { id, entry_id: String::new(), reason: String::new(), fields: Vec::new() };
        for (name, value) in parked {
            match (name.as_str(), name.strip_prefix(ENTRY_PREFIX)) {
                ("entry_id", _) => letter.entry_id = value,
                ("reason", _) => letter.reason = value,
                (_, Some(own)) => letter.fields.push((own.to_owned(), value)),
                _ => {}
            }
        }
        letter
    }

    /// The entry's line; empty where there is none.
    pub fn line(&self) -> &str {
        line_of(&self.fields)
    }

    /// One of the entry's values, if it is there and not empty.
    pub fn value(&self, name: &str) -> Option<&str> {
        let named = Entry::named_values(self.line()).into_iter();
        named.filter(|(_, value)| !value.is_empty()).find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// The entry's values by name, then the fields that are no entry's.
    pub fn named_values(&self) -> Vec<(String, String)> {
        let line = Entry::named_values(self.line()).into_iter();
        let named = line.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let other = self.fields.iter().filter(|(name, _)| name != ENTRY_FIELD).cloned();
        named.filter(|_| !self.line().is_empty()).chain(other).collect()
    }
}

impl Engine {
    /// Parks an entry as a dead letter, with its reason. Parked twice is harmless: the letter
    /// names its entry.
    pub async fn park(
        &self,
        partition: Partition,
        read: &Read,
        reason: &str,
    ) -> Result<(), RedisError> {
        let mut args = vec![
            Value::from(self.keys().dead_letters(partition)),
            Value::from("*"),
            Value::from("entry_id"),
            Value::from(read.id.to_string()),
            Value::from("reason"),
            Value::from(reason),
        ];
        for (name, value) in &read.fields {
            args.push(Value::from(format!("{ENTRY_PREFIX}{name}")));
            args.push(Value::from(value.as_str()));
        }
        self.command("XADD", partition, args).await.map(|_| ())
    }

    /// How many dead letters a partition has.
    pub async fn dead_letter_count(&self, partition: Partition) -> Result<u64, RedisError> {
        let args = vec![Value::from(self.keys().dead_letters(partition))];
        Ok(integer(&self.command("XLEN", partition, args).await?)? as u64)
    }

    /// The newest dead letters of a partition that are older than the one at `before`, newest
    /// first.
    pub async fn dead_letters(
        &self,
        partition: Partition,
        before: Option<LogId>,
        count: u64,
    ) -> Result<Vec<DeadLetter>, RedisError> {
        let key = self.keys().dead_letters(partition);
        let from = before.map_or_else(|| "+".to_owned(), |id| format!("({id}"));
        let args = [key.as_str(), &from, "-", "COUNT", &count.to_string()];
        let args = args.into_iter().map(Value::from).collect();
        let reply = entries(partition, Some(self.command("XREVRANGE", partition, args).await?))?;
        Ok(reply.into_iter().map(|read| DeadLetter::new(read.id, read.fields)).collect())
    }

    /// The oldest dead letters of a partition above `after` and up to `to`, oldest first.
    pub async fn dead_letters_after(
        &self,
        partition: Partition,
        after: LogId,
        to: LogId,
        count: u64,
    ) -> Result<Vec<DeadLetter>, RedisError> {
        let key = self.keys().dead_letters(partition);
        let (from, to, count) = (after.next().to_string(), to.to_string(), count.to_string());
        let args = [key.as_str(), &from, &to, "COUNT", &count];
        let args = args.into_iter().map(Value::from).collect();
        let reply = entries(partition, Some(self.command("XRANGE", partition, args).await?))?;
        Ok(reply.into_iter().map(|read| DeadLetter::new(read.id, read.fields)).collect())
    }

    /// One dead letter; `None` if it is not there.
    pub async fn dead_letter(
        &self,
        partition: Partition,
        id: LogId,
    ) -> Result<Option<DeadLetter>, RedisError> {
        let (key, id) = (self.keys().dead_letters(partition), id.to_string());
        let args = [key.as_str(), &id, &id].into_iter().map(Value::from).collect();
        let reply = entries(partition, Some(self.command("XRANGE", partition, args).await?))?;
        Ok(reply.into_iter().next().map(|read| DeadLetter::new(read.id, read.fields)))
    }

    /// Removes a dead letter; returns whether it existed.
    pub async fn remove_dead_letter(
        &self,
        partition: Partition,
        id: LogId,
    ) -> Result<bool, RedisError> {
        let args = [self.keys().dead_letters(partition), id.to_string()];
        let args = args.into_iter().map(Value::from).collect();
        Ok(integer(&self.command("XDEL", partition, args).await?)? > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RecordError;

    fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn a_letter_is_of_the_entry_with_its_position_and_its_fields() {
        let parked = [("entry_id", "5-1"), ("reason", "unreadable v"), ("entry.v", "9")];
        let letter = DeadLetter::new(LogId { ms: 7, seq: 0 }, fields(&parked));
        assert_eq!((letter.entry_id.as_str(), letter.reason.as_str()), ("5-1", "unreadable v"));
        let read = |seq, v| Read {
            partition: Partition(0),
            id: LogId { ms: 5, seq },
            entry: Err(RecordError("v")),
            fields: fields(&[("v", v)]),
        };
        assert!(letter.is_of(&read(1, "9")));
        assert!(!letter.is_of(&read(2, "9")));
        assert!(!letter.is_of(&read(1, "8")));
    }
}
