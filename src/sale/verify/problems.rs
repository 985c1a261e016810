//! What differs, in words: bounded, in order, without repetition.

use std::collections::BTreeSet;

/// Problems kept of one event or partition; of the rest only the number is known.
const KEPT_MAX: usize = 1_000;
/// Problems told of one event or partition; the rest is counted.
const SHOWN_MAX: usize = 20;

/// A set of problems.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Problems {
    kept: BTreeSet<String>,
    dropped: usize,
}

impl Problems {
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

    /// Those that an earlier look saw too: what a sale under way makes differ has moved on by
    /// the next look, a fault stays. Where there are too many to know, all count.
    pub fn seen_before(self, earlier: &Problems) -> Problems {
        if self.dropped > 0 || earlier.dropped > 0 {
            return self;
        }
        Problems { kept: &self.kept & &earlier.kept, dropped: 0 }
    }

    /// The first of them, and how many more there are.
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

    fn numbered(numbers: std::ops::Range<usize>) -> Problems {
        let mut problems = Problems::default();
        numbers.for_each(|number| problems.add(format!("{number:05}")));
        problems
    }

    #[test]
    fn few_are_shown_and_all_are_counted() {
        assert_eq!(numbered(0..2).shown(), ["00000", "00001"]);
        let many = numbered(0..KEPT_MAX + 7).shown();
        assert_eq!(many.len(), SHOWN_MAX + 1);
        assert_eq!(many[SHOWN_MAX], format!("and {} more", KEPT_MAX + 7 - SHOWN_MAX));
    }

    #[test]
    fn what_moved_on_is_forgotten_and_what_stays_is_not() {
        assert_eq!(numbered(3..9).seen_before(&numbered(0..5)), numbered(3..5));
        assert!(numbered(5..9).seen_before(&numbered(0..5)).is_empty());
        let many = numbered(0..KEPT_MAX + 1);
        assert_eq!(many.clone().seen_before(&numbered(0..0)), many);
    }
}
