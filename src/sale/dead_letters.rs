//! Lists dead letters, and finds them by their ids: `3:1795243836470-0`, the partition and the position
//! in it. Positions repeat between partitions, so a position alone identifies a letter only if it is unique.

use std::fmt;
use std::str::FromStr;

use super::replay::{Replay, ReplayResult};
use super::{Sale, SaleError};
use crate::domain::{LogId, Partition};
use crate::redis::{DeadLetter, Engine};

/// The id of a letter as given by the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterId {
    partition: Option<Partition>,
    position: LogId,
}

/// A page of letters, newest first.
#[derive(Debug)]
pub struct LetterPage {
    /// How many there are in all.
    pub total: u64,
    /// The letters, each with its partition and Redis' time, Unix ms.
    pub letters: Vec<(Partition, i64, DeadLetter)>,
    /// Whether there are older ones.
    pub has_more: bool,
    /// Partitions without data: their cluster node does not answer.
    pub silent_partitions: Vec<u16>,
}

impl LetterId {
    /// The id of a letter.
    pub fn new(partition: Partition, position: LogId) -> Self {
        LetterId { partition: Some(partition), position }
    }

    /// Partition and position, if both are given.
    pub fn parts(self) -> Option<(Partition, LogId)> {
        Some((self.partition?, self.position))
    }

    /// Its position.
    pub fn position(self) -> LogId {
        self.position
    }

    /// Finds the letters with this id: several if only a position is given that partitions share.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn find(self, engine: &Engine) -> Result<Vec<(Partition, DeadLetter)>, SaleError> {
        let mut found = Vec::new();
        for partition in engine.keys().all_partitions() {
            if self.partition.is_none_or(|named| named == partition)
                && let Some(letter) = engine.dead_letter(partition, self.position).await?
            {
                found.push((partition, letter));
            }
        }
        Ok(found)
    }
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            Some(partition) => write!(f, "{partition}:{}", self.position),
            None => self.position.fmt(f),
        }
    }
}

impl FromStr for LetterId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || "an id as `dead-letters list` shows it, such as 3:1795243836470-0".to_owned();
        let (partition, position) = match text.split_once(':') {
            Some((partition, position)) => {
                (Some(Partition(partition.parse().map_err(|_| expected())?)), position)
            }
            None => (None, text),
        };
        Ok(LetterId { partition, position: position.parse().map_err(|_| expected())? })
    }
}

/// Reads the newest `count` letters before a position; letters of one millisecond in the order of their
/// partitions.
///
/// # Errors
/// If Redis does not answer.
pub async fn list(
    engine: &Engine,
    before: Option<(Partition, LogId)>,
    count: u64,
) -> Result<LetterPage, SaleError> {
    let (mut total, mut letters, mut silent_partitions) = (0, Vec::new(), Vec::new());
    for partition in engine.keys().all_partitions() {
        let now_ms = match engine.redis_time_ms(partition).await {
            Ok(now_ms) => now_ms,
            Err(_) if engine.is_node_gone(partition) => {
                silent_partitions.push(partition.0);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        total += engine.dead_letter_count(partition).await?;
        // A letter at the same position in a later partition comes after it.
        let before = before.map(|(of, id)| if partition > of { id.next() } else { id });
        // One more, to learn whether there are more.
        let newest = engine.dead_letters(partition, before, count + 1).await?;
        letters.extend(newest.into_iter().map(|letter| (partition, now_ms, letter)));
    }
    letters.sort_by_key(|(.., letter)| std::cmp::Reverse(letter.id));
    // Callers ask for far fewer than any usize holds.
    let has_more = letters.len() > count as usize;
    letters.truncate(count as usize);
    Ok(LetterPage { total, letters, has_more, silent_partitions })
}

impl Sale {
    /// Reads a page of dead letters; see [`list`].
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn dead_letters(
        &self,
        before: Option<(Partition, LogId)>,
        count: u64,
    ) -> Result<LetterPage, SaleError> {
        list(&self.inner.engine, before, count).await
    }

    /// Replays one dead letter; `None` if there is none with this id.
    ///
    /// # Errors
    /// If a service does not answer: the letter is still there.
    pub async fn replay_dead_letter(
        &self,
        id: LetterId,
    ) -> Result<Option<ReplayResult>, SaleError> {
        let inner = &self.inner;
        let Some((partition, letter)) = id.find(&inner.engine).await?.pop() else {
            return Ok(None);
        };
        let kept_seconds = inner.settings.ended_keep_seconds;
        let replay = Replay::new(inner.engine.clone(), inner.archive.clone(), kept_seconds);
        replay.replay(partition, &letter).await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_parsed_and_formatted() {
        for text in ["3:17-0", "17-2"] {
            assert_eq!(text.parse::<LetterId>().unwrap().to_string(), text);
        }
        for text in ["", "3", "3:", "x:17-0", "3:17", "70000:1-1"] {
            assert!(text.parse::<LetterId>().is_err(), "{text}");
        }
    }
}
