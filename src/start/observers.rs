//! Observers that record metrics of the lower layers, which do not depend on metrics themselves.

use std::collections::HashMap;
use std::sync::OnceLock;

use prometheus::{Histogram, IntCounter};

use crate::circuit_breaker::BreakerState;
use crate::live::{LiveObserver, LiveState};
use crate::redis::scripts::{Contract, contracts};
use crate::redis::{Observer, RedisError};
use crate::sale::{Breakers, SaleObserver, VIEW_REFUSALS};
use crate::telemetry::Metrics;
use crate::telemetry::striped::StripedCounter;

/// Results of a script call without a reply of the script.
const NO_REPLIES: [&str; 3] = ["unknown", "not_run", "unexpected"];

/// Shows the circuit breakers of the dependencies; called before metrics are rendered.
pub fn show_breakers(metrics: &Metrics, breakers: &Breakers) {
    for (dependency, report) in breakers {
        let label = [*dependency];
        metrics.breaker_state.with_label_values(&label).set(report.state.as_number());
        for (counter, count) in
            [(&metrics.breaker_opened, report.opened), (&metrics.breaker_rejected, report.refused)]
        {
            Metrics::raise(&counter.with_label_values(&label), count);
        }
        if *dependency == "redis" {
            metrics.redis_breaker_open.set(i64::from(report.state == BreakerState::Open));
        }
    }
}

/// Counts script calls. Finds its counters without a lock.
pub(super) struct RedisMetrics {
    metrics: Metrics,
    scripts: HashMap<&'static str, ScriptMetrics>,
}

struct ScriptMetrics {
    seconds: Histogram,
    /// Created on first use: most scripts return only few codes.
    replies: HashMap<&'static str, OnceLock<IntCounter>>,
}

impl RedisMetrics {
    pub fn new(metrics: &Metrics) -> Self {
        let script = |contract: Contract| {
            let name = contract.script.name();
            let words = contract.replies.into_iter().map(|(code, _)| code).chain(NO_REPLIES);
            let seconds = metrics.script_duration.with_label_values(&[name]);
            (
                name,
                ScriptMetrics { seconds, replies: words.map(|w| (w, OnceLock::new())).collect() },
            )
        };
        let scripts = contracts().into_iter().map(script).collect();
        RedisMetrics { metrics: metrics.clone(), scripts }
    }
}

impl Observer for RedisMetrics {
    fn script_called(&self, script: &'static str, code: &'static str, seconds: f64) {
        let count = || self.metrics.script_replies.with_label_values(&[script, code]);
        match self.scripts.get(script) {
            Some(known) => {
                known.seconds.observe(seconds);
                match known.replies.get(code) {
                    Some(counter) => counter.get_or_init(count).inc(),
                    None => count().inc(),
                }
            }
            None => count().inc(),
        }
    }

    fn call_failed(&self, error: &RedisError) {
        if error.is_away() {
            self.metrics.redis_connection_errors.inc();
        }
    }
}

/// Records metrics of the sale.
pub(super) struct SaleMetrics {
    metrics: Metrics,
    /// By reason.
    refused_from_view: [(&'static str, StripedCounter); VIEW_REFUSALS.len()],
}

impl SaleMetrics {
    /// Registers the metrics.
    pub fn new(metrics: &Metrics) -> Self {
        let counter = |reason| (reason, metrics.refused_from_view.with_label_values(&[reason]));
        let refused_from_view = VIEW_REFUSALS.map(counter);
        SaleMetrics { metrics: metrics.clone(), refused_from_view }
    }
}

impl SaleObserver for SaleMetrics {
    fn unknown_outcome(&self, queued: bool) {
        self.metrics.unknown_outcomes.inc();
        if !queued {
            self.metrics.abort_queue_dropped.inc();
        }
    }

    fn unfinished(&self, length: usize) {
        self.metrics.abort_queue_length.set(length as i64);
    }

    fn payment(&self, what: &'static str) {
        self.metrics.payments.with_label_values(&[what]).inc();
    }

    fn refused_from_view(&self, reason: &'static str) {
        if let Some((_, counter)) = self.refused_from_view.iter().find(|row| row.0 == reason) {
            counter.inc();
        }
    }
}

/// Records metrics of live views.
pub(super) struct LiveMetrics {
    metrics: Metrics,
}

impl LiveMetrics {
    /// Registers the metrics.
    pub fn new(metrics: &Metrics) -> Self {
        LiveMetrics { metrics: metrics.clone() }
    }
}

impl LiveObserver for LiveMetrics {
    fn view(&self, what: &'static str) {
        self.metrics.live_changes.with_label_values(&[what]).inc();
    }

    fn beat(&self) {
        self.metrics.live_beats.inc();
    }

    fn state(&self, state: &LiveState) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.live_views.set(gauge(state.views));
        self.metrics.live_seats.set(gauge(state.seats));
        self.metrics.live_missing.set(gauge(state.missing));
        self.metrics.live_age.set(state.age_ms as f64 / 1_000.0);
        self.metrics.live_stale.set(i64::from(state.is_stale));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_script_and_code() {
        let metrics = Metrics::new("test");
        let observer = RedisMetrics::new(&metrics);
        observer.script_called("hold", "ok", 0.001);
        observer.script_called("hold", "ok", 0.001);
        observer.script_called("hold", "unknown", 0.5);
        let text = metrics.render();
        assert!(text.contains(r#"holdfast_script_replies_total{code="ok",script="hold"} 2"#));
        assert!(text.contains(r#"holdfast_script_replies_total{code="unknown",script="hold"} 1"#));
        assert!(text.contains(r#"holdfast_script_duration_seconds_count{script="hold"} 3"#));
    }
}
