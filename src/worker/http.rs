//! The worker's own routes: `/metrics`, `/health`, `/health/live`, `/health/ready`. None of them
//! asks Redis or MongoDB: what is known of them is found out in the background
//! (`sale/dependencies.rs`).
//!
//! Ready means that the log gets into the archive: both dependencies answer and the drain moves.

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
/// Monitoring alone asks here: one thread serves it.
const THREADS: usize = 1;
/// How long a request under way may take to finish at the end, seconds.
const SHUTDOWN_SECONDS: u64 = 1;

#[derive(Serialize)]
struct HealthBody {
    /// `ok`, `degraded` (a background task is failing), `unavailable` or `ending`.
    status: &'static str,
    /// What is wrong; absent if nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    service: &'static str,
    version: &'static str,
    consumer: String,
    uptime_seconds: u64,
    /// The background tasks that are failing; absent if none is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failing_tasks: Vec<&'static str>,
}

/// A server of these routes on a bound listener. It runs when awaited.
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

/// On loopback, a page whose name was made to lead here (DNS rebinding) reads nothing; probes may use
/// any name.
async fn metrics(worker: Data<Worker>, request: HttpRequest) -> HttpResponse {
    let is_own =
        |host: &HeaderValue| host.to_str().is_ok_and(|host| worker.config.is_own_host(host));
    let is_local = worker.config.worker_listen.ip().is_loopback();
    if is_local && !request.headers().get_all(HOST).all(is_own) {
        return HttpResponse::Forbidden().json(serde_json::json!({
            "error": "host_forbidden",
            "detail": "This worker is not called by this name (Host): ask localhost or 127.0.0.1, \
                or name the host in the setting allowed_hosts",
        }));
    }
    let is_ready = judge(&worker, &worker.supervisor.failing()).0 == StatusCode::OK;
    worker.metrics.worker_ready.set(i64::from(is_ready));
    worker.metrics.redis_in_flight.set(worker.engine.in_flight() as i64);
    HttpResponse::Ok().content_type(METRICS_TEXT).body(worker.metrics.render())
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "ok" }))
}

async fn ready(worker: Data<Worker>) -> HttpResponse {
    let failing_tasks = worker.supervisor.failing();
    let (status, word, reason) = judge(&worker, &failing_tasks);
    let body = HealthBody {
        status: word,
        reason,
        service: SERVICE,
        version: env!("CARGO_PKG_VERSION"),
        consumer: worker.consumer.clone(),
        uptime_seconds: worker.vitals.uptime().as_secs(),
        failing_tasks,
    };
    HttpResponse::build(status).insert_header(("Cache-Control", "no-store")).json(body)
}

fn judge(
    worker: &Worker,
    failing_tasks: &[&'static str],
) -> (StatusCode, &'static str, Option<String>) {
    let (vitals, ending) = (&worker.vitals, worker.shutdown.is_requested());
    let stalled = (vitals.stalled_for() > worker.reclaim_idle()).then(|| vitals.stalled_for());
    verdict(&worker.dependencies.readiness(), Signs { stalled, failing_tasks }, ending)
}

/// How the worker's own parts are.
struct Signs<'a> {
    /// How long the drain has been stuck.
    stalled: Option<Duration>,
    failing_tasks: &'a [&'static str],
}

fn verdict(
    readiness: &Readiness,
    signs: Signs<'_>,
    ending: bool,
) -> (StatusCode, &'static str, Option<String>) {
    let reason = match (readiness, signs.stalled) {
        (Readiness { redis: Err(why), .. }, _) => Some(format!("redis: {why}")),
        (Readiness { mongodb: Err(why), .. }, _) => Some(format!("mongodb: {why}")),
        (_, Some(time)) => Some(format!("the drain has been stuck for {} s", time.as_secs())),
        _ => None,
    };
    match (ending, &reason) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "ending", reason),
        (false, Some(_)) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason),
        // The drain moves, or is stuck soon: a task alone does not take the worker out.
        (false, None) if !signs.failing_tasks.is_empty() => {
            let reason =
                format!("background tasks are failing: {}", signs.failing_tasks.join(", "));
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
    fn whatever_stops_the_drain_is_told() {
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
        for (redis, mongodb, stalled, ending, http, word, reason) in cases {
            let signs = Signs { stalled, failing_tasks: &[] };
            let readiness = Readiness { redis, redis_lacks: None, mongodb };
            let got = verdict(&readiness, signs, ending);
            assert_eq!((got.0.as_u16(), got.1, got.2.as_deref()), (http, word, reason));
        }
        let signs = Signs { stalled: None, failing_tasks: &["sweep", "trim"] };
        let readiness = Readiness { redis: ok(), redis_lacks: None, mongodb: ok() };
        let got = verdict(&readiness, signs, false);
        let reason = Some("background tasks are failing: sweep, trim");
        assert_eq!((got.0.as_u16(), got.1, got.2.as_deref()), (200, "degraded", reason));
        let readiness = Readiness { redis_lacks: Some("1 of 3 nodes".to_owned()), ..readiness };
        let got = verdict(&readiness, Signs { stalled: None, failing_tasks: &[] }, false);
        let reason = Some("redis: 1 of 3 nodes");
        assert_eq!((got.0.as_u16(), got.1, got.2.as_deref()), (200, "degraded", reason));
    }
}
