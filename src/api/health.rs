//! Health: `/health/live` reports that the process answers, `/health/ready` that it should get
//! traffic, `/health` the state for people. Dependencies are checked in the background
//! (`sale/dependencies.rs`) and probes are answered from the last result, so they never wait and add no
//! load.
//!
//! Ready means that Redis answers, the views of open sales are in memory, and the process is not
//! shutting down. A sale continues without MongoDB (confirmations wait), without a fresh live view (every
//! request goes to Redis), and while a background task is failing: then the status is `degraded`, and the
//! process stays ready.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use serde::Serialize;
use utoipa::ToSchema;

use crate::circuit_breaker::BreakerState;
use crate::http::words;
use crate::sale::{BreakerStates, Breakers, LiveReadiness, Readiness};

use super::openapi::OpenProblems;
use super::state::{RequestContext, State};
use crate::http::HandlerResult;
use crate::http::reply::json_with;

/// The state of the process.
#[derive(Serialize, ToSchema)]
pub struct HealthBody {
    /// `ok`, `degraded` (the archive is unavailable, the live view is stale, or a background task is
    /// failing), `warming` (the views of open sales are being built), `unavailable` or `ending`.
    #[schema(value_type = words::HealthStatus)]
    status: &'static str,
    /// Which program this is.
    #[schema(example = "holdfast-api")]
    service: &'static str,
    /// Its version.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// How long it has been running.
    #[schema(example = 3_600)]
    uptime_seconds: u64,
    /// Each dependency and part.
    checks: Checks,
    /// The circuit breakers before the dependencies.
    circuit_breakers: CircuitBreakers,
    /// The background tasks that are failing; left out if none is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["live_keeper"]))]
    failing_tasks: Vec<&'static str>,
}

/// `ok` or the fault, without details of the installation.
#[derive(Serialize, ToSchema)]
pub struct Checks {
    /// Redis: `ok`, `partial` (nodes of the Cluster do not answer, events on others are sold) or
    /// `unavailable`.
    #[schema(value_type = words::CheckStatus)]
    redis: &'static str,
    /// MongoDB.
    #[schema(value_type = words::CheckStatus)]
    mongodb: &'static str,
    /// The live view: `ok`, `warming` or `stale`.
    #[schema(value_type = words::CheckStatus)]
    live: &'static str,
    /// The background tasks: `ok`, or `failing` from the unexpected end of one until it has run
    /// again for ten seconds.
    #[schema(value_type = words::CheckStatus)]
    tasks: &'static str,
}

impl HealthBody {
    /// The state in one word.
    pub fn status(&self) -> &'static str {
        self.status
    }
}

/// `closed`; `open`: calls had no answer, and requests are refused at once; `half_open`: a few calls are
/// tried.
#[derive(Serialize, ToSchema)]
pub struct CircuitBreakers {
    /// Redis; of a Cluster, the worst of its nodes.
    #[schema(value_type = words::BreakerStatus)]
    redis: &'static str,
    /// MongoDB.
    #[schema(value_type = words::BreakerStatus)]
    mongodb: &'static str,
    /// The payment provider.
    #[schema(value_type = words::BreakerStatus)]
    payments: &'static str,
}

impl CircuitBreakers {
    /// The states of these breakers.
    pub fn of(breakers: &Breakers) -> Self {
        let BreakerStates { redis, mongodb, payments } = BreakerStates::of(breakers);
        CircuitBreakers { redis, mongodb, payments }
    }
}

/// The process answers.
#[derive(Serialize, ToSchema)]
pub struct LiveBody {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

/// State of the process
///
/// The same as `/health/ready`, for people.
#[utoipa::path(
    get, operation_id = "get_health", path = "/health", tag = "operations",
    responses(
        (status = 200, description = "It serves", body = HealthBody),
        (status = 503, description = "It cannot serve", body = HealthBody),
        OpenProblems,
    ),
)]
pub async fn summary(context: RequestContext, _: Payload) -> HandlerResult {
    report(&context)
}

/// Whether the process should get traffic
///
/// The last result of the checks in the background; it does not wait.
#[utoipa::path(
    get, operation_id = "get_readiness", path = "/health/ready", tag = "operations",
    responses(
        (status = 200, description = "It should", body = HealthBody),
        (status = 503, description = "It should not", body = HealthBody),
        OpenProblems,
    ),
)]
pub async fn ready(context: RequestContext, _: Payload) -> HandlerResult {
    report(&context)
}

/// Whether the process answers
///
/// Depends on nothing else.
#[utoipa::path(
    get, operation_id = "get_liveness", path = "/health/live", tag = "operations",
    responses((status = 200, description = "It answers", body = LiveBody), OpenProblems),
)]
pub async fn live(_: RequestContext, _: Payload) -> HandlerResult {
    Ok(json_with(StatusCode::OK, &LiveBody { status: "ok" })?.send())
}

fn report(context: &RequestContext) -> HandlerResult {
    let (http, body) = assess(&context.state);
    let response = json_with(http, &body)?.header("Cache-Control", "no-store");
    let response = match http {
        StatusCode::OK => response,
        _ => response.header("Retry-After", "1"),
    };
    Ok(response.send())
}

/// Returns the state of the process, 503 if it should get no traffic.
pub(super) fn assess(state: &State) -> (StatusCode, HealthBody) {
    let readiness = state.sale.dependencies().readiness();
    let live = state.sale.live_readiness();
    let failing_tasks = state.sale.supervisor().failing();
    let breakers = state.sale.breakers();
    let parts = Parts {
        live,
        tasks_fail: !failing_tasks.is_empty(),
        breaker_is_open: breakers.iter().any(|one| one.1.state == BreakerState::Open),
    };
    let (http, status) = verdict(&readiness, parts, state.shutdown.is_requested());
    let status_of = |check: &Result<(), String>| if check.is_ok() { "ok" } else { "unavailable" };
    let redis =
        if readiness.redis_lacks.is_some() { "partial" } else { status_of(&readiness.redis) };
    let body = HealthBody {
        status,
        service: super::SERVICE,
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: state.started.elapsed().as_secs(),
        checks: Checks {
            redis,
            mongodb: status_of(&readiness.mongodb),
            live: match live {
                LiveReadiness::Warming => "warming",
                LiveReadiness::Fresh => "ok",
                LiveReadiness::Stale => "stale",
            },
            tasks: if failing_tasks.is_empty() { "ok" } else { "failing" },
        },
        circuit_breakers: CircuitBreakers::of(&breakers),
        failing_tasks,
    };
    (http, body)
}

/// The state of the process' own parts.
#[derive(Clone, Copy)]
struct Parts {
    live: LiveReadiness,
    tasks_fail: bool,
    breaker_is_open: bool,
}

fn verdict(readiness: &Readiness, parts: Parts, ending: bool) -> (StatusCode, &'static str) {
    use LiveReadiness as Live;
    match (ending, &readiness.redis, &readiness.mongodb, parts.live) {
        (true, ..) => (StatusCode::SERVICE_UNAVAILABLE, "ending"),
        (_, Err(_), ..) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        (.., Live::Warming) => (StatusCode::SERVICE_UNAVAILABLE, "warming"),
        (_, Ok(()), Err(_), _) | (.., Live::Stale) => (StatusCode::OK, "degraded"),
        // No background task is needed to answer: without a view requests go to Redis.
        _ if parts.tasks_fail || parts.breaker_is_open || readiness.redis_lacks.is_some() => {
            (StatusCode::OK, "degraded")
        }
        (_, Ok(()), Ok(()), Live::Fresh) => (StatusCode::OK, "ok"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_and_shutdown_decide_readiness() {
        let (ok, unavailable) = (|| Ok(()), || Err("unavailable".to_owned()));
        let (warming, fresh, stale) =
            (LiveReadiness::Warming, LiveReadiness::Fresh, LiveReadiness::Stale);
        let cases = [
            (ok(), ok(), fresh, false, 200, "ok"),
            (ok(), unavailable(), fresh, false, 200, "degraded"),
            (ok(), ok(), stale, false, 200, "degraded"),
            (ok(), unavailable(), warming, false, 503, "warming"),
            (unavailable(), ok(), warming, false, 503, "unavailable"),
            (ok(), ok(), fresh, true, 503, "ending"),
        ];
        for (redis, mongodb, live, ending, http, status) in cases {
            let readiness = Readiness { redis, redis_lacks: None, mongodb };
            let well = Parts { live, tasks_fail: false, breaker_is_open: false };
            let got = verdict(&readiness, well, ending);
            assert_eq!((got.0.as_u16(), got.1), (http, status));
            let status = if status == "ok" { "degraded" } else { status };
            let got = verdict(&readiness, Parts { tasks_fail: true, ..well }, ending);
            assert_eq!((got.0.as_u16(), got.1), (http, status), "a task fails");
            let got = verdict(&readiness, Parts { breaker_is_open: true, ..well }, ending);
            assert_eq!((got.0.as_u16(), got.1), (http, status), "a breaker is open");
            let lacks = Some("1 of 3 nodes".to_owned()).filter(|_| readiness.redis.is_ok());
            let readiness = Readiness { redis_lacks: lacks, ..readiness };
            let got = verdict(&readiness, well, ending);
            let status = if readiness.redis.is_err() { "unavailable" } else { status };
            assert_eq!((got.0.as_u16(), got.1), (http, status), "a node is unavailable");
        }
    }
}
