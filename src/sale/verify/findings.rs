//! A bounded, ordered set of problem texts.

use std::collections::BTreeSet;

/// Findings stored for one event or partition; further ones are only counted.
const KEPT_MAX: usize = 1_000;
/// Findings shown for one event or partition; further ones are only counted.
const SHOWN_MAX: usize = 20;

/// The problems of one event or partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    kept: BTreeSet<String>,
    dropped: usize,
}

impl Findings {
    pub fn add(&mut self, problem: String) {
        if self.kept.len() < KEPT_MAX {
            self.kept.insert(problem);
        } else if !self.kept.contains(&problem) {
            self.dropped += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The problems that an earlier check found, too: a difference caused by a sale in progress is gone
    /// by the next check, a fault persists. If some were only counted, all are returned.
    pub fn persisting_since(self, earlier: &Findings) -> Findings {
        if self.dropped > 0 || earlier.dropped > 0 {
            return self;
        }
        Findings { kept: &self.kept & &earlier.kept, dropped: 0 }
    }

    /// The first problems, and the number of further ones.
    pub fn shown(self) -> Vec<String> {
        let more = (self.kept.len() + self.dropped).saturating_sub(SHOWN_MAX);
        let mut shown: Vec<String> = self.kept.into_iter().take(SHOWN_MAX).collect();
        if more > 0 {
            shown.push(format!("and {more} more"));
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(numbers: std::ops::Range<usize>) -> Findings {
        let mut problems = Findings::default();
        numbers.for_each(|number| problems.add(format!("{number:05}")));
        problems
    }

    #[test]
    fn first_problems_are_shown_and_the_rest_counted() {
        assert_eq!(numbered(0..2).shown(), ["00000", "00001"]);
        let many = numbered(0..KEPT_MAX + 7).shown();
        assert_eq!(many.len(), SHOWN_MAX + 1);
        assert_eq!(many[SHOWN_MAX], format!("and {} more", KEPT_MAX + 7 - SHOWN_MAX));
    }

    #[test]
    fn only_persisting_problems_remain() {
        assert_eq!(numbered(3..9).persisting_since(&numbered(0..5)), numbered(3..5));
        assert!(numbered(5..9).persisting_since(&numbered(0..5)).is_empty());
        let many = numbered(0..KEPT_MAX + 1);
        assert_eq!(many.clone().persisting_since(&numbered(0..0)), many);
    }
}
