//! Counters and histograms without contention between threads.
//!
//! Each thread counts in a stripe of its own, which no other thread writes: counting needs no locked
//! instruction, and no cache line moves between processors. A read adds up the stripes; each is read
//! atomically, at slightly different moments. A stripe survives its thread, and the next thread with the
//! same number continues it.
//!
//! The types replace `IntCounter`, `IntCounterVec`, `IntGauge` and `HistogramVec` of `prometheus`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use prometheus::core::{
    Atomic, Desc, Describer, GenericCounter, GenericCounterVec, GenericGauge, Metric, MetricVec,
    MetricVecBuilder,
};
use prometheus::proto::{self, LabelPair};
use prometheus::{HistogramOpts, Result};
use thread_local::ThreadLocal;

/// Most buckets of a histogram.
const BOUNDS_MAX: usize = 15;

/// A counter.
pub type StripedCounter = GenericCounter<Striped>;
/// Counters by labels.
pub type StripedCounterVec = GenericCounterVec<Striped>;
/// A value that rises and falls, perhaps in different threads.
pub type StripedGauge = GenericGauge<StripedSigned>;
/// Histograms by labels.
pub type StripedHistogramVec = MetricVec<HistogramBuilder>;

/// A value that is the sum of each thread's additions.
#[derive(Debug, Default)]
pub struct Striped {
    threads: ThreadLocal<CachePadded<AtomicU64>>,
}

impl Striped {
    fn add(&self, delta: u64) {
        add(self.threads.get_or_default(), delta);
    }

    fn sum(&self) -> u64 {
        let stripes = self.threads.iter().map(|stripe| stripe.load(Ordering::Relaxed));
        stripes.fold(0, u64::wrapping_add)
    }
}

/// Several counts that are read together, each the sum of the threads' additions.
pub struct StripedCounts<const N: usize> {
    threads: ThreadLocal<CachePadded<[AtomicU64; N]>>,
}

impl<const N: usize> Default for StripedCounts<N> {
    fn default() -> Self {
        StripedCounts { threads: ThreadLocal::new() }
    }
}

impl<const N: usize> StripedCounts<N> {
    /// Adds one to a count.
    pub fn inc(&self, index: usize) {
        let new = || CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0)));
        if let Some(count) = self.threads.get_or(new).get(index) {
            add(count, 1);
        }
    }

    /// The counts.
    pub fn sums(&self) -> [u64; N] {
        let mut sums = [0_u64; N];
        for stripe in &self.threads {
            for (sum, count) in sums.iter_mut().zip(stripe.iter()) {
                *sum = sum.wrapping_add(count.load(Ordering::Relaxed));
            }
        }
        sums
    }
}

/// Adds to this thread's own stripe.
fn add(stripe: &AtomicU64, delta: u64) {
    stripe.store(stripe.load(Ordering::Relaxed).wrapping_add(delta), Ordering::Relaxed);
}

impl Atomic for Striped {
    type T = u64;
    fn new(value: u64) -> Self {
        let new = Striped::default();
        new.set(value);
        new
    }
    fn set(&self, value: u64) {
        self.add(value.wrapping_sub(self.sum()));
    }
    fn get(&self) -> u64 {
        self.sum()
    }
    fn inc_by(&self, delta: u64) {
        self.add(delta);
    }
    fn dec_by(&self, delta: u64) {
        self.add(delta.wrapping_neg());
    }
}

/// A [`Striped`] value that may be negative, as a single thread's part may be.
#[derive(Debug)]
pub struct StripedSigned(Striped);

impl Atomic for StripedSigned {
    type T = i64;
    fn new(value: i64) -> Self {
        StripedSigned(Striped::new(value.cast_unsigned()))
    }
    fn set(&self, value: i64) {
        self.0.set(value.cast_unsigned());
    }
    fn get(&self) -> i64 {
        self.0.get().cast_signed()
    }
    fn inc_by(&self, delta: i64) {
        self.0.inc_by(delta.cast_unsigned());
    }
    fn dec_by(&self, delta: i64) {
        self.0.dec_by(delta.cast_unsigned());
    }
}

/// A histogram; cheap to clone.
#[derive(Clone)]
pub struct StripedHistogram(Arc<Inner>);

struct Inner {
    labels: Vec<LabelPair>,
    bounds: Vec<f64>,
    threads: ThreadLocal<CachePadded<Stripe>>,
}

/// One thread's observations.
#[derive(Default)]
struct Stripe {
    /// One per bound, and one for values above all bounds.
    counts: [AtomicU64; BOUNDS_MAX + 1],
    /// The bits of an `f64`.
    sum: AtomicU64,
}

impl StripedHistogram {
    /// Records one value.
    pub fn observe(&self, value: f64) {
        let Inner { bounds, threads, .. } = &*self.0;
        let bucket = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
        let stripe = threads.get_or_default();
        add(&stripe.counts[bucket], 1);
        let sum = f64::from_bits(stripe.sum.load(Ordering::Relaxed)) + value;
        stripe.sum.store(sum.to_bits(), Ordering::Relaxed);
    }
}

impl fmt::Debug for StripedHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripedHistogram").field("bounds", &self.0.bounds).finish_non_exhaustive()
    }
}

impl Metric for StripedHistogram {
    fn metric(&self) -> proto::Metric {
        let Inner { labels, bounds, threads } = &*self.0;
        let (mut counts, mut sum) = ([0_u64; BOUNDS_MAX + 1], 0.0);
        for stripe in threads {
            for (total, count) in counts.iter_mut().zip(&stripe.counts) {
                *total += count.load(Ordering::Relaxed);
            }
            sum += f64::from_bits(stripe.sum.load(Ordering::Relaxed));
        }
        let mut cumulative = 0;
        let buckets = bounds.iter().zip(counts).map(|(bound, count)| {
            cumulative += count;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(sum);
        let mut metric = proto::Metric::from_label(labels.clone());
        metric.set_histogram(histogram);
        metric
    }
}

/// Builds the histograms of one name.
#[derive(Clone, Debug)]
pub struct HistogramBuilder;

/// A histogram's name, labels and bounds.
#[derive(Clone, Debug)]
pub struct HistogramSpec(HistogramOpts);

impl Describer for HistogramSpec {
    fn describe(&self) -> Result<Desc> {
        self.0.describe()
    }
}

impl MetricVecBuilder for HistogramBuilder {
    type M = StripedHistogram;
    type P = HistogramSpec;

    fn build<V: AsRef<str>>(&self, spec: &HistogramSpec, values: &[V]) -> Result<StripedHistogram> {
        let names = &spec.0.common_opts.variable_labels;
        let labels = names.iter().zip(values).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.clone());
            pair.set_value(value.as_ref().to_owned());
            pair
        });
        let mut labels: Vec<LabelPair> = labels.collect();
        labels.sort();
        let bounds = spec.0.buckets.clone();
        Ok(StripedHistogram(Arc::new(Inner { labels, bounds, threads: ThreadLocal::new() })))
    }
}

/// Histograms by labels, with these bounds.
///
/// # Errors
/// If a name or label is invalid, or there are too many bounds.
pub fn histograms(
    name: &str,
    help: &str,
    labels: &[&str],
    bounds: &[f64],
) -> Result<StripedHistogramVec> {
    if bounds.len() > BOUNDS_MAX || !bounds.is_sorted_by(|a, b| a < b) {
        return Err(prometheus::Error::Msg(format!(
            "{name}: bounds must ascend, at most {BOUNDS_MAX}"
        )));
    }
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    let opts = HistogramOpts::new(name, help).variable_labels(labels).buckets(bounds.to_vec());
    MetricVec::create(proto::MetricType::HISTOGRAM, HistogramBuilder, HistogramSpec(opts))
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector;
    use prometheus::{Encoder, TextEncoder};

    use super::*;

    #[test]
    fn counts_of_all_threads_add_up() {
        let counter = StripedCounter::new("c", "help").unwrap();
        let gauge = StripedGauge::new("g", "help").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..10_000).for_each(|_| counter.inc()));
                scope.spawn(|| (0..10_000).for_each(|_| gauge.inc()));
            }
        });
        // Threads that ended still count; a thread's own part may be negative.
        std::thread::scope(|scope| {
            scope.spawn(|| (0..80_001).for_each(|_| gauge.dec()));
        });
        assert_eq!((counter.get(), gauge.get()), (80_000, -1));
        gauge.set(7);
        assert_eq!(gauge.get(), 7);
    }

    #[test]
    fn counts_that_are_read_together_add_up() {
        let counts = StripedCounts::<3>::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|n| counts.inc(n % 2)));
            }
        });
        counts.inc(9);
        assert_eq!(counts.sums(), [2_000, 2_000, 0]);
    }

    #[test]
    fn histogram_exports_the_same_text_as_the_library_one() {
        let (names, bounds) = (["b", "a"], [0.5, 1.0, 2.0]);
        let ours = histograms("h", "help", &names, &bounds).unwrap();
        let opts = HistogramOpts::new("h", "help").buckets(bounds.to_vec());
        let theirs = prometheus::HistogramVec::new(opts, &names).unwrap();
        for value in [0.1, 0.5, 0.75, 2.0, 9.0] {
            ours.with_label_values(&["x", "y"]).observe(value);
            theirs.with_label_values(&["x", "y"]).observe(value);
        }
        let text = |families: Vec<proto::MetricFamily>| {
            let mut text = Vec::new();
            TextEncoder::new().encode(&families, &mut text).unwrap();
            String::from_utf8(text).unwrap()
        };
        assert_eq!(text(ours.collect()), text(theirs.collect()));
    }

    #[test]
    fn bounds_must_ascend_and_are_limited() {
        assert!(histograms("h", "help", &[], &[1.0, 1.0]).is_err());
        let many: Vec<f64> = (0..=BOUNDS_MAX).map(|bound| bound as f64).collect();
        assert!(histograms("h", "help", &[], &many).is_err());
    }
}
