//! Reads the counts of all processes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::recorder::NO_EVENT;
use crate::domain::EventId;
use crate::domain::activity::{
    CHANGES, Change, REFUSALS, REFUSED_BY, Refusal, STEP_MS, STEPS, decode_counts, step_of,
};
use crate::redis::{Engine, Field};
use crate::sale::{Sale, SaleError, unix_now_ms};

/// Counts per step of the last 15 minutes, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// When the first step began, Unix ms.
    pub from_ms: i64,
    /// One list per change, each of [`STEPS`] counts.
    pub changes: Vec<(Change, Vec<u64>)>,
    /// One list per place.
    pub refused: Vec<(&'static str, Vec<u64>)>,
    /// One list per reason that occurred.
    pub refused_by_reason: BTreeMap<&'static str, Vec<u64>>,
    /// Processes that counted anything.
    pub processes: usize,
}

/// Requests refused in all, as far as counts are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusalTotals {
    /// By place.
    pub by_place: BTreeMap<&'static str, u64>,
    /// By reason.
    pub by_reason: BTreeMap<&'static str, u64>,
    /// When counting began, Unix ms; `None` if nothing was counted.
    pub since_ms: Option<i64>,
}

impl Sale {
    /// Returns the series of an event, or of requests without a known event, summed over all processes.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn series(&self, event: Option<EventId>) -> Result<Series, SaleError> {
        // The step in progress is not complete.
        let until = step_of(unix_now_ms()) - 1;
        let fields = self.inner.engine.activity(event.unwrap_or(NO_EVENT), until).await?;
        Ok(Series::of(&fields, until))
    }

    /// Returns how many requests of an event were refused.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn refusal_totals(&self, event: EventId) -> Result<RefusalTotals, SaleError> {
        Ok(RefusalTotals::of(&self.inner.engine.refusals(event).await?))
    }
}

/// What happened to an event in the last step that has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// Holds granted, per second.
    pub holds_per_second: f64,
    /// Requests refused, per second.
    pub refusals_per_second: f64,
}

/// Reads the pace of an event, summed over all processes. Needs no API process.
///
/// # Errors
/// If Redis does not answer.
pub async fn pace(engine: &Engine, event: EventId) -> Result<Pace, SaleError> {
    // A process writes a step when it has ended: the one before it is complete.
    let step = step_of(unix_now_ms()) - 2;
    Ok(Series::of(&engine.activity_in_step(event, step).await?, step).pace())
}

impl Series {
    fn pace(&self) -> Pace {
        let per_second = |count: u64| count as f64 * 1_000.0 / STEP_MS as f64;
        let last = |counts: &Vec<u64>| counts.last().copied().unwrap_or_default();
        let held = self.changes.iter().filter(|(change, _)| *change == Change::Held);
        Pace {
            holds_per_second: per_second(held.map(|(_, counts)| last(counts)).sum()),
            refusals_per_second: per_second(self.refused.iter().map(|one| last(&one.1)).sum()),
        }
    }

    fn of(fields: &[Field], until: i64) -> Self {
        let first = until - STEPS as i64 + 1;
        let mut changes = vec![[0; CHANGES]; STEPS];
        let mut refusals = vec![[0; REFUSALS]; STEPS];
        let mut processes = BTreeSet::new();
        for (name, text) in fields {
            let mut parts = name.split(':');
            let (Some(process), Some(Ok(step)), Some(kind)) =
                (parts.next(), parts.next().map(str::parse::<i64>), parts.next())
            else {
                continue;
            };
            let Some(index) = usize::try_from(step - first).ok().filter(|i| *i < STEPS) else {
                continue;
            };
            processes.insert(process);
            if kind == "c" {
                let counts = decode_counts::<CHANGES>(Change::ALL.map(Change::as_str), text);
                // Every process counts the same changes, from its start on.
                changes[index].iter_mut().zip(counts).for_each(|(most, n)| *most = n.max(*most));
            } else {
                let counts = decode_counts::<REFUSALS>(Refusal::ALL.map(Refusal::as_str), text);
                refusals[index].iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
            }
        }
        let of_change = |change: Change| {
            (change, changes.iter().map(|counts| counts[change as usize]).collect())
        };
        let mut refused: HashMap<&'static str, Vec<u64>> = HashMap::new();
        let mut refused_by_reason: BTreeMap<&'static str, Vec<u64>> = BTreeMap::new();
        for refusal in Refusal::ALL {
            let counts = refusals.iter().map(|counts| counts[refusal as usize]);
            let (place, reason) = refusal.parts();
            if counts.clone().any(|count| count > 0) {
                let of_reason = refused_by_reason.entry(reason).or_insert_with(|| vec![0; STEPS]);
                let of_place = refused.entry(place).or_insert_with(|| vec![0; STEPS]);
                for (index, count) in counts.enumerate() {
                    of_reason[index] += count;
                    of_place[index] += count;
                }
            }
        }
        let by_place = REFUSED_BY
            .map(|(_, place)| (place, refused.remove(place).unwrap_or_else(|| vec![0; STEPS])));
        Series {
            from_ms: first * STEP_MS,
            changes: Change::ALL.map(of_change).into(),
            refused: by_place.into(),
            refused_by_reason,
            processes: processes.len(),
        }
    }
}

impl RefusalTotals {
    fn of(fields: &[Field]) -> Self {
        let mut totals = RefusalTotals::default();
        totals.by_place.extend(REFUSED_BY.map(|(_, place)| (place, 0)));
        for (_, text) in fields {
            let [since_ms] = decode_counts(["since"], text);
            let since_ms = i64::try_from(since_ms).unwrap_or_default();
            totals.since_ms = Some(totals.since_ms.map_or(since_ms, |first| first.min(since_ms)));
            let counts = decode_counts::<REFUSALS>(Refusal::ALL.map(Refusal::as_str), text);
            for (refusal, count) in Refusal::ALL.into_iter().zip(counts).filter(|one| one.1 > 0) {
                let (place, reason) = refusal.parts();
                *totals.by_place.entry(place).or_default() += count;
                *totals.by_reason.entry(reason).or_default() += count;
            }
        }
        totals
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.by_place.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, text: &str) -> Field {
        (name.to_owned(), text.to_owned())
    }

    #[test]
    fn refusals_are_summed_and_changes_counted_once() {
        let fields = [
            field("a:1000:c", "held=3 seats_held=7"),
            field("b:1000:c", "held=2 seats_held=4"),
            field("a:1000:r", "memory.seats_unavailable=5"),
            field("b:1000:r", "memory.seats_unavailable=2 redis.seats_unavailable=1"),
            field("b:999:r", "limits.rate_limit=4"),
            field("a:700:c", "held=99"),
            field("x", "held=1"),
        ];
        let series = Series::of(&fields, 1_000);
        assert_eq!((series.from_ms, series.processes), (821 * STEP_MS, 2));
        let last = |list: &[u64]| (list.len(), list[STEPS - 2], list[STEPS - 1]);
        assert_eq!(last(&series.changes[Change::Held as usize].1), (STEPS, 0, 3));
        assert_eq!(last(&series.refused[0].1), (STEPS, 0, 7), "{:?}", series.refused[0].0);
        assert_eq!(last(&series.refused[3].1), (STEPS, 4, 0));
        assert_eq!(last(&series.refused_by_reason["seats_unavailable"]), (STEPS, 0, 8));
        assert_eq!(series.refused_by_reason.len(), 2);
        assert_eq!(series.pace(), Pace { holds_per_second: 0.6, refusals_per_second: 1.6 });
    }

    #[test]
    fn totals_are_those_of_all_processes() {
        let fields = [
            field("a.1", "since=2000 memory.seats_unavailable=5"),
            field("b.1", "since=1000 redis.seats_unavailable=1 redis.user_limit=2"),
        ];
        let totals = RefusalTotals::of(&fields);
        assert_eq!((totals.total(), totals.since_ms), (8, Some(1_000)));
        assert_eq!((totals.by_place["memory"], totals.by_place["limits"]), (5, 0));
        assert_eq!((totals.by_reason["seats_unavailable"], totals.by_reason["user_limit"]), (6, 2));
        assert_eq!(RefusalTotals::of(&[]).since_ms, None);
    }
}
