//! The worker's HTTP routes: `/metrics`, `/health`, `/health/live`, `/health/ready`. None of them
//! queries Redis or MongoDB: a background task checks both (`sale/dependencies.rs`).
//!
//! Ready means that entries reach the archive: both dependencies respond and the drain progresses.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::http::header::{HOST, HeaderValue};
use actix_web::web::{Data, get};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde::Serialize;

use super::{SERVICE, Worker};
use crate::sale::Readiness;

/// Prometheus' text format.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Only monitoring uses this server: one thread is enough.
const THREADS: usize = 1;
/// How long a request in flight may take to finish at shutdown, seconds.
const SHUTDOWN_SECONDS: u64 = 1;

#[derive(Serialize)]
struct HealthBody {
    /// `ok`, `degraded` (a background task is failing), `unavailable` or `ending`.
    status: &'static str,
    /// The problem; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    service: &'static str,
    version: &'static str,
    consumer: String,
    uptime_seconds: u64,
    /// Failing background tasks; absent if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failing_tasks: Vec<&'static str>,
}

/// Creates the server on a bound listener. It runs when awaited.
pub(super) fn server(listener: TcpListener, worker: Worker) -> io::Result<Server> {
    let worker = Data::new(worker);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(worker.clone())
            .route("/metrics", get().to(metrics))
            .route("/health", get().to(ready))
            .route("/health/ready", get().to(ready))
            .route("/health/live", get().to(live))
    });
    Ok(server
        .workers(THREADS)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals()
        .listen(listener)?
        .run())
}

/// Serves metrics. On loopback a foreign `Host` is refused, which protects against DNS rebinding; the
/// health routes accept any name.
async fn metrics(worker: Data<Worker>, request: HttpRequest) -> HttpResponse {
    let is_own =
        |host: &HeaderValue| host.to_str().is_ok_and(|host| worker.config.is_own_host(host));
    let is_local = worker.config.worker_listen.ip().is_loopback();
    if is_local && !request.headers().get_all(HOST).all(is_own) {
        return HttpResponse::Forbidden().json(serde_json::json!({
            "error": "host_forbidden",
            "detail": "The Host header is not a name of this worker: use localhost or 127.0.0.1, \
                or add the name to the setting allowed_hosts",
        }));
    }
    let is_ready = assess(&worker, &worker.supervisor.failing()).0 == StatusCode::OK;
    worker.metrics.worker_ready.set(i64::from(is_ready));
    worker.metrics.redis_in_flight.set(worker.engine.in_flight() as i64);
    HttpResponse::Ok().content_type(METRICS_TEXT).body(worker.metrics.render())
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "ok" }))
}

async fn ready(worker: Data<Worker>) -> HttpResponse {
    let failing_tasks = worker.supervisor.failing();
    let (http_status, status, reason) = assess(&worker, &failing_tasks);
    let body = HealthBody {
        status,
        reason,
        service: SERVICE,
        version: env!("CARGO_PKG_VERSION"),
        consumer: worker.consumer.clone(),
        uptime_seconds: worker.health.uptime().as_secs(),
        failing_tasks,
    };
    HttpResponse::build(http_status).insert_header(("Cache-Control", "no-store")).json(body)
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
