//! What a server process counts of its calls to Redis and of its sale's unfinished business.

use crate::redis::Observer;
use crate::sale::SaleObserver;
use crate::telemetry::Metrics;

impl Observer for Metrics {
    fn script_called(&self, script: &'static str, code: &'static str, seconds: f64) {
        self.script_duration.with_label_values(&[script]).observe(seconds);
        self.script_replies.with_label_values(&[script, code]).inc();
        if code == "unknown" {
            self.unknown_outcomes.with_label_values(&[script]).inc();
        }
    }
}

impl SaleObserver for Metrics {
    fn unknown_outcome(&self, queued: bool) {
        if !queued {
            self.abort_queue_dropped.inc();
        }
    }

    fn unfinished(&self, length: usize) {
        self.abort_queue_length.set(i64::try_from(length).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_script_and_code() {
        let metrics = Metrics::new("test");
        metrics.script_called("hold", "ok", 0.001);
        metrics.script_called("hold", "unknown", 0.5);
        SaleObserver::unknown_outcome(&metrics, false);
        SaleObserver::unfinished(&metrics, 3);
        let text = metrics.render();
        for line in [
            r#"holdfast_script_duration_seconds_count{script="hold"} 2"#,
            r#"holdfast_script_replies_total{code="ok",script="hold"} 1"#,
            r#"holdfast_unknown_outcomes_total{script="hold"} 1"#,
            "holdfast_abort_queue_dropped_total 1",
            "holdfast_abort_queue_length 3",
        ] {
            assert!(text.contains(line), "{line}");
        }
    }
}
