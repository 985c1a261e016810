//! Kinds of metrics that the table can declare, and the processes that export them.

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts,
};

use super::striped::{self, StripedCounter, StripedCounterVec, StripedGauge, StripedHistogramVec};

/// The API's service name in logs and metrics.
pub const API: &str = "holdfast-api";
/// The worker's service name.
pub const WORKER: &str = "holdfast-worker";

/// The processes that export a metric: those that set it, since a metric that is never set would
/// show a 0 that alerts could not distinguish from a measured one.
#[derive(Clone, Copy)]
pub(super) enum SetBy {
    Api,
    Worker,
    Both,
}

impl SetBy {
    /// Whether a process exports it. Other processes (a test, a tool) export all.
    pub fn is_of(self, service: &str) -> bool {
        match self {
            SetBy::Api => service != WORKER,
            SetBy::Worker => service != API,
            SetBy::Both => true,
        }
    }
}

/// A kind of metric that the table can declare.
pub(super) trait Declare: Collector + Clone + Sized + 'static {
    fn declare(
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> prometheus::Result<Self>;
}

macro_rules! declare_plain {
    ($($kind:ty),+) => {$(
        impl Declare for $kind {
            fn declare(n: &str, h: &str, _: &[&str], _: &[f64]) -> prometheus::Result<Self> {
                <$kind>::new(n, h)
            }
        }
    )+};
}
macro_rules! declare_labelled {
    ($($kind:ty),+) => {$(
        impl Declare for $kind {
            fn declare(n: &str, h: &str, labels: &[&str], _: &[f64]) -> prometheus::Result<Self> {
                <$kind>::new(Opts::new(n, h), labels)
            }
        }
    )+};
}
declare_plain!(Gauge, IntCounter, IntGauge);
declare_plain!(StripedCounter, StripedGauge);
declare_labelled!(IntCounterVec, IntGaugeVec, GaugeVec, StripedCounterVec);

impl Declare for StripedHistogramVec {
    fn declare(n: &str, h: &str, labels: &[&str], buckets: &[f64]) -> prometheus::Result<Self> {
        striped::histograms(n, h, labels, buckets)
    }
}

impl Declare for HistogramVec {
    fn declare(n: &str, h: &str, labels: &[&str], buckets: &[f64]) -> prometheus::Result<Self> {
        HistogramVec::new(HistogramOpts::new(n, h).buckets(buckets.to_vec()), labels)
    }
}
