//! Ids of dead letters: `3:1795243836470-0`, the partition and the position in it. Positions repeat
//! between partitions, so a position alone identifies a letter only if it is unique.

use std::fmt;
use std::str::FromStr;

use crate::ctl::failure::Failure;
use crate::domain::{LogId, Partition};
use crate::redis::{DeadLetter, Engine};

/// The id of a letter as given by the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LetterId {
    partition: Option<Partition>,
    position: LogId,
}

impl LetterId {
    pub fn new(partition: Partition, position: LogId) -> Self {
        LetterId { partition: Some(partition), position }
    }

    /// Partition and position, if both are given.
    pub fn parts(self) -> Option<(Partition, LogId)> {
        Some((self.partition?, self.position))
    }

    /// Finds the letter with this id.
    pub async fn find(self, engine: &Engine) -> Result<(Partition, DeadLetter), Failure> {
        let mut found = Vec::new();
        for partition in engine.keys().all_partitions() {
            if self.partition.is_none_or(|named| named == partition)
                && let Some(letter) = engine.dead_letter(partition, self.position).await?
            {
                found.push((partition, letter));
            }
        }
        let position = self.position;
        match (found.pop(), found.is_empty()) {
            (Some(letter), true) => Ok(letter),
            (Some((last, _)), false) => {
                let mut names: Vec<String> =
                    found.iter().map(|(one, _)| format!("{one}:{position}")).collect();
                names.push(format!("{last}:{position}"));
                let names = names.join(" and ");
                Err(Failure::new(format!("{position} names several dead letters: {names}; choose")))
            }
            (None, _) => Err(Failure::new(format!(
                "no dead letter {self}: replayed already, or never there; `holdfastctl \
                 dead-letters list` lists them"
            ))),
        }
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
