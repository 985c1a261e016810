//! How a dead letter is named: `3:1795243836470-0`, its partition and its place there. Places
//! repeat between partitions, so a place alone names a letter only where no other has it.

use std::fmt;
use std::str::FromStr;

use crate::ctl::failure::Failure;
use crate::domain::{LogId, Partition};
use crate::redis::{DeadLetter, Engine};

/// The name of a letter as somebody wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LetterId {
    partition: Option<Partition>,
    place: LogId,
}

impl LetterId {
    pub fn new(partition: Partition, place: LogId) -> Self {
        LetterId { partition: Some(partition), place }
    }

    /// Partition and place, where both are named.
    pub fn parts(self) -> Option<(Partition, LogId)> {
        Some((self.partition?, self.place))
    }

    /// The letter of this name.
    pub async fn find(self, engine: &Engine) -> Result<(Partition, DeadLetter), Failure> {
        let mut found = Vec::new();
        for partition in engine.keys().all_partitions() {
            if self.partition.is_none_or(|named| named == partition)
                && let Some(letter) = engine.dead_letter(partition, self.place).await?
            {
                found.push((partition, letter));
            }
        }
        let place = self.place;
        match (found.pop(), found.is_empty()) {
            (Some(letter), true) => Ok(letter),
            (Some((last, _)), false) => {
                let mut names: Vec<String> =
                    found.iter().map(|(one, _)| format!("{one}:{place}")).collect();
                names.push(format!("{last}:{place}"));
                let names = names.join(" and ");
                Err(Failure::new(format!("{place} names several dead letters: {names}; choose")))
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
            Some(partition) => write!(f, "{partition}:{}", self.place),
            None => self.place.fmt(f),
        }
    }
}

impl FromStr for LetterId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || "an id as `dead-letters list` shows it, such as 3:1795243836470-0".to_owned();
        let (partition, place) = match text.split_once(':') {
            Some((partition, place)) => {
                (Some(Partition(partition.parse().map_err(|_| expected())?)), place)
            }
            None => (None, text),
        };
        Ok(LetterId { partition, place: place.parse().map_err(|_| expected())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for text in ["3:17-0", "17-2"] {
            assert_eq!(text.parse::<LetterId>().unwrap().to_string(), text);
        }
        for text in ["", "3", "3:", "x:17-0", "3:17", "70000:1-1"] {
            assert!(text.parse::<LetterId>().is_err(), "{text}");
        }
    }
}
