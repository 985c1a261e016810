//! What monitoring reads of the worker (`http/monitoring.rs`): metrics, and whether it is ready. Neither
//! queries Redis or MongoDB: a background task checks both (`sale/dependencies.rs`).
//!
//! Ready means that entries reach the archive: both dependencies respond and the drain progresses.

use std::time::Duration;

use actix_web::http::StatusCode;
use serde::Serialize;

use super::{SERVICE, Worker};
use crate::http::monitoring::Monitored;
use crate::sale::{BreakerStates, Readiness};
use crate::start::show_breakers;
use crate::telemetry::Metrics;

#[derive(Serialize)]
pub(super) struct HealthBody {
    /// `ok`, `degraded` (a background task is failing), `unavailable` or `ending`.
    status: &'static str,
    /// The problem; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    service: &'static str,
    version: &'static str,
    consumer: String,
    uptime_seconds: u64,
    circuit_breakers: BreakerStates,
    /// Failing background tasks; absent if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failing_tasks: Vec<&'static str>,
}

impl Monitored for Worker {
    type Health = HealthBody;

    fn metrics(&self) -> String {
        let is_ready = assess(self, &self.supervisor.failing()).0 == StatusCode::OK;
        self.metrics.worker_ready.set(i64::from(is_ready));
        show_breakers(&self.metrics, &self.payments.breakers());
        self.metrics.redis_in_flight.set(self.engine.in_flight() as i64);
        Metrics::raise(&self.metrics.db_retry_attempts, self.metrics.worker_retries.get());
        self.archive.pool().show(&self.metrics);
        self.metrics.render()
    }

    fn health(&self) -> (StatusCode, HealthBody) {
        let failing_tasks = self.supervisor.failing();
        let (http_status, status, reason) = assess(self, &failing_tasks);
        let body = HealthBody {
            status,
            reason,
            service: SERVICE,
            version: env!("CARGO_PKG_VERSION"),
            consumer: self.consumer.clone(),
            uptime_seconds: self.health.uptime().as_secs(),
            circuit_breakers: BreakerStates::of(&self.payments.breakers()),
            failing_tasks,
        };
        (http_status, body)
    }
}

fn assess(
    worker: &Worker,
    failing_tasks: &[&'static str],
) -> (StatusCode, &'static str, Option<String>) {
    let (health, ending) = (&worker.health, worker.shutdown.is_requested());
    let stalled = (health.stalled_for() > worker.reclaim_idle()).then(|| health.stalled_for());
    status(&worker.dependencies.readiness(), TaskHealth { stalled, failing_tasks }, ending)
}

/// The state of the worker's own tasks.
struct TaskHealth<'a> {
    /// How long the drain has been stuck.
    stalled: Option<Duration>,
    failing_tasks: &'a [&'static str],
}

fn status(
    readiness: &Readiness,
    tasks: TaskHealth<'_>,
    ending: bool,
) -> (StatusCode, &'static str, Option<String>) {
    let reason = match (readiness, tasks.stalled) {
        (Readiness { redis: Err(why), .. }, _) => Some(format!("redis: {why}")),
        (Readiness { mongodb: Err(why), .. }, _) => Some(format!("mongodb: {why}")),
        (_, Some(time)) => Some(format!("the drain has been stuck for {} s", time.as_secs())),
        _ => None,
    };
    match (ending, &reason) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "ending", reason),
        (false, Some(_)) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason),
        // The drain still progresses: one failing task does not make the worker unready.
        (false, None) if !tasks.failing_tasks.is_empty() => {
            let reason =
                format!("background tasks are failing: {}", tasks.failing_tasks.join(", "));
            (StatusCode::OK, "degraded", Some(reason))
        }
        (false, None) => match &readiness.redis_lacks {
            Some(lacks) => (StatusCode::OK, "degraded", Some(format!("redis: {lacks}"))),
            None => (StatusCode::OK, "ok", None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_names_the_reason_that_stops_the_drain() {
        let (ok, away) = (|| Ok(()), || Err("away".to_owned()));
        let stuck = Some(Duration::from_secs(40));
        let cases = [
            (ok(), ok(), None, false, 200, "ok", None),
            (away(), ok(), None, false, 503, "unavailable", Some("redis: away")),
            (ok(), away(), stuck, false, 503, "unavailable", Some("mongodb: away")),
            (
                ok(),
                ok(),
                stuck,
                false,
                503,
                "unavailable",
                Some("the drain has been stuck for 40 s"),
            ),
            (ok(), ok(), None, true, 503, "ending", None),
        ];
        for (redis, mongodb, stalled, ending, http, name, reason) in cases {
            let tasks = TaskHealth { stalled, failing_tasks: &[] };
            let readiness = Readiness { redis, redis_lacks: None, mongodb };
            let got = status(&readiness, tasks, ending);
            assert_eq!((got.0.as_u16(), got.1, got.2.as_deref()), (http, name, reason));
        }
        let tasks = TaskHealth { stalled: None, failing_tasks: &["sweep", "trim"] };
        let readiness = Readiness { redis: ok(), redis_lacks: None, mongodb: ok() };
        let got = status(&readiness, tasks, false);
        let reason = Some("background tasks are failing: sweep, trim");
        assert_eq!((got.0.as_u16(), got.1, got.2.as_deref()), (200, "degraded", reason));
        let readiness = Readiness { redis_lacks: Some("1 of 3 nodes".to_owned()), ..readiness };
        let got = status(&readiness, TaskHealth { stalled: None, failing_tasks: &[] }, false);
        let reason = Some("redis: 1 of 3 nodes");
        assert_eq!((got.0.as_u16(), got.1, got.2.as_deref()), (200, "degraded", reason));
    }
}
