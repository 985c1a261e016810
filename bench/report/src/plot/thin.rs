//! Fewer steps of time without losing what counts: peaks, means, final states.

use std::ops::Range;

/// Which value stands for several steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The highest: latencies, lags.
    Max,
    /// The mean: rates.
    Mean,
    /// The last: states.
    Last,
}

/// Divides steps into at most `buckets_max` ranges of nearly equal length. None is empty.
pub fn buckets(steps: usize, buckets_max: usize) -> Vec<Range<usize>> {
    let number = steps.min(buckets_max.max(1));
    (0..number).map(|index| index * steps / number..(index + 1) * steps / number).collect()
}

/// Returns a value a bucket. Absent values count only where a whole bucket has none.
pub fn values(values: &[Option<f64>], buckets: &[Range<usize>], keep: Keep) -> Vec<Option<f64>> {
    buckets
        .iter()
        .map(|bucket| value(values.get(bucket.clone()).unwrap_or_default(), keep))
        .collect()
}

/// Returns the value that stands for several; `None` if all are absent.
pub fn value(values: &[Option<f64>], keep: Keep) -> Option<f64> {
    let present = || values.iter().flatten().copied();
    match keep {
        Keep::Max => present().reduce(f64::max),
        Keep::Mean => Some(present().sum::<f64>() / present().count() as f64),
        Keep::Last => present().last(),
    }
    .filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_every_step_once() {
        for steps in [0, 1, 2, 59, 60, 61, 3_600] {
            let all = buckets(steps, 60);
            assert_eq!(all.len(), steps.min(60));
            assert_eq!(
                all.iter().cloned().flatten().collect::<Vec<_>>(),
                (0..steps).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn peaks_means_and_final_states_survive() {
        let steps = [Some(1.0), Some(9.0), Some(2.0), None, None, None];
        let halves = buckets(steps.len(), 2);
        assert_eq!(values(&steps, &halves, Keep::Max), [Some(9.0), None]);
        assert_eq!(values(&steps, &halves, Keep::Mean), [Some(4.0), None]);
        assert_eq!(values(&steps, &halves, Keep::Last), [Some(2.0), None]);
    }
}
