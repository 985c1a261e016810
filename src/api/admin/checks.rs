//! `/api/v1/admin/checks`: `verify` and `reconcile`, with their verdicts.

use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::admin_audit::{self, AdminAction};
use crate::api::openapi::CheckProblems;
use crate::api::state::RequestContext;
use crate::domain::EventId;
use crate::http::HandlerResult;
use crate::http::body::read_optional_object;
use crate::http::fields::Whole;
use crate::http::problem::{Code, Problem};
use crate::http::reply::json;
use crate::sale::checks::CHECK_SECONDS_MAX;
use crate::sale::verify::Report;
use crate::sale::{CheckOptions, PaymentsReport, SaleError};

/// Longest wait for differences to resolve, seconds.
const WAIT_SECONDS_MAX: u32 = 60;
/// The same where none is given.
const WAIT_SECONDS_DEFAULT: u32 = 5;
/// Items of a list in a verdict.
const SHOWN_MAX: usize = 1_000;
/// `Retry-After` of a check that took too long, seconds.
const RETRY_SECONDS: u32 = 5;

/// What to verify.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = VerifyRequest)]
pub struct VerifyBody {
    /// Only this event; all if absent.
    #[schema(value_type = Option<u32>, minimum = 1, example = 1)]
    event_id: Option<Whole<1, { u32::MAX }>>,
    /// How long differences may take to resolve; 5 if absent.
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 60, example = 5)]
    wait_seconds: Option<Whole<0, WAIT_SECONDS_MAX>>,
}

/// What to reconcile.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = ReconcileRequest)]
pub struct ReconcileBody {
    /// Only this event; all if absent.
    #[schema(value_type = Option<u32>, minimum = 1, example = 1)]
    event_id: Option<Whole<1, { u32::MAX }>>,
    /// How long differences may take to resolve; 5 if absent.
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 60, example = 5)]
    wait_seconds: Option<Whole<0, WAIT_SECONDS_MAX>>,
    /// Whether to take the next safe step for each booking that differs; false if absent.
    #[schema(value_type = Option<bool>, example = false)]
    fix: Option<bool>,
}

/// The verdict of `verify`.
#[derive(Serialize, ToSchema)]
pub struct VerifiedBody {
    /// Whether there are no problems.
    is_clean: bool,
    /// How long it took, ms.
    #[schema(example = 812)]
    took_ms: u64,
    /// Problems beyond single partitions and events.
    problems: Vec<String>,
    /// The booking logs that have entries or problems.
    partitions: Vec<VerifiedPartitionBody>,
    /// The events: those with problems first, at most 1,000.
    events: Vec<VerifiedEventBody>,
    /// Whether there are more events.
    is_cut: bool,
}

/// A partition's booking log.
#[derive(Serialize, ToSchema)]
pub struct VerifiedPartitionBody {
    /// Its number.
    #[schema(example = 7)]
    partition: u16,
    /// Entries that were checked.
    entries: u64,
    /// The log's position when the check began.
    position: String,
    /// How far it was archived, after waiting.
    watermark: String,
    /// Entries that the worker gave up on.
    parked: u64,
    /// The differences.
    problems: Vec<String>,
}

/// An event.
#[derive(Serialize, ToSchema)]
pub struct VerifiedEventBody {
    /// Its id.
    #[schema(example = 1)]
    event_id: u32,
    /// Its name.
    name: String,
    /// Its seats.
    capacity: u32,
    /// Whether Redis has it.
    is_loaded: bool,
    /// Free seats.
    free: u32,
    /// Held seats.
    held: u32,
    /// Sold seats.
    sold: u32,
    /// Seats kept back.
    blocked: u32,
    /// Bookings in Redis.
    bookings_in_redis: u64,
    /// Bookings in the archive.
    bookings_in_archive: u64,
    /// Sales that the archive has not decided.
    undecided: u64,
    /// The differences.
    problems: Vec<String>,
}

/// The verdict of `reconcile`.
#[derive(Serialize, ToSchema)]
pub struct ReconciledBody {
    /// Whether there is no difference.
    is_clean: bool,
    /// How long it took, ms.
    #[schema(example = 90)]
    took_ms: u64,
    /// Payments that were compared.
    #[schema(example = 12)]
    payments: u64,
    /// Money by currency.
    totals: Vec<MoneyBody>,
    /// Bookings that differ, at most 1,000.
    differences: Vec<DifferenceBody>,
    /// Bookings for which the next step was taken, at most 1,000.
    fixed: Vec<FixedBody>,
    /// Whether there are more of either.
    is_cut: bool,
}

/// Money in one currency, in its minor unit.
#[derive(Serialize, ToSchema)]
pub struct MoneyBody {
    /// ISO 4217 code.
    #[schema(example = "EUR")]
    currency: String,
    /// The price of what is sold.
    sold: i64,
    /// What the provider has charged.
    charged: i64,
    /// What was given back.
    refunded: i64,
    /// What is on its way back.
    refund_pending: i64,
}

/// A booking that differs.
#[derive(Serialize, ToSchema)]
pub struct DifferenceBody {
    /// The booking.
    booking_id: String,
    /// How, and what to do if that takes a person.
    problem: String,
}

/// A booking for which the next step was taken.
#[derive(Serialize, ToSchema)]
pub struct FixedBody {
    /// The booking.
    booking_id: String,
    /// The result.
    result: &'static str,
}

/// Verify that Redis, the booking log and the archive agree
///
/// As `holdfastctl verify`: read-only, safe during a sale, one check at a time in a process, 120 s at most.
#[utoipa::path(
    post, operation_id = "verify", path = "/api/v1/admin/checks/verify", tag = "admin",
    request_body(content = Option<VerifyBody>, example = json!({ "event_id": 1 })),
    responses((status = 200, description = "The verdict", body = VerifiedBody), CheckProblems),
)]
pub async fn verify(context: RequestContext, payload: Payload) -> HandlerResult {
    let admin = context.gates().pass_admin(&context.head).await?;
    let limits = context.state.body_limits();
    let body: VerifyBody =
        read_optional_object(&context.http, payload, limits).await?.unwrap_or_default();
    let only = body.event_id.map(|id| EventId(id.0));
    let action = AdminAction { verb: "verify", target: target(only), detail: String::new() };
    let verified = async {
        let began = Instant::now();
        let report = context.state.sale.verify(only, wait(body.wait_seconds)).await;
        json(StatusCode::OK, &VerifiedBody::new(report.map_err(problem)?, began))
    };
    admin_audit::recorded(&context, &admin, action, Box::pin(verified)).await
}

/// Reconcile payments
///
/// As `holdfastctl reconcile`: compares the archive, Redis and the payment provider, one check at a time in
/// a process, 120 s at most. With `fix` it takes the next safe step for each booking that differs, and has
/// no bound.
#[utoipa::path(
    post, operation_id = "reconcile", path = "/api/v1/admin/checks/reconcile", tag = "admin",
    request_body(content = Option<ReconcileBody>, example = json!({ "event_id": 1, "fix": false })),
    responses((status = 200, description = "The verdict", body = ReconciledBody), CheckProblems),
)]
pub async fn reconcile(context: RequestContext, payload: Payload) -> HandlerResult {
    let admin = context.gates().pass_admin(&context.head).await?;
    let limits = context.state.body_limits();
    let body: ReconcileBody =
        read_optional_object(&context.http, payload, limits).await?.unwrap_or_default();
    let only = body.event_id.map(|id| EventId(id.0));
    let mend = body.fix.unwrap_or_default();
    let options = CheckOptions { only, mend, wait: wait(body.wait_seconds) };
    let verb = if mend { "reconcile_fix" } else { "reconcile" };
    let action = AdminAction { verb, target: target(only), detail: String::new() };
    let reconciled = async {
        let began = Instant::now();
        let report = context.state.sale.reconcile(options).await;
        json(StatusCode::OK, &ReconciledBody::new(report.map_err(problem)?, began))
    };
    admin_audit::recorded(&context, &admin, action, Box::pin(reconciled)).await
}

fn target(only: Option<EventId>) -> String {
    only.map_or_else(|| "all events".to_owned(), |event| format!("event {event}"))
}

fn wait(seconds: Option<Whole<0, WAIT_SECONDS_MAX>>) -> Duration {
    Duration::from_secs(u64::from(seconds.map_or(WAIT_SECONDS_DEFAULT, |seconds| seconds.0)))
}

fn problem(error: SaleError) -> Problem {
    match error {
        SaleError::InFlight => {
            let detail = "Another check runs in this server; wait until it has ended";
            Problem::new(Code::InFlight, detail).retry_after(RETRY_SECONDS)
        }
        SaleError::Unavailable { dependency: "check", .. } => {
            let detail = format!(
                "The check took longer than {CHECK_SECONDS_MAX} s: check one event, or run \
                 holdfastctl, which has no bound"
            );
            Problem::new(Code::ServiceUnavailable, detail).retry_after(RETRY_SECONDS)
        }
        other => other.into(),
    }
}

fn took_ms(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl VerifiedBody {
    fn new(mut report: Report, began: Instant) -> Self {
        report.events.sort_by_key(|one| (one.problems.is_empty(), one.event));
        let is_cut = report.events.len() > SHOWN_MAX;
        let partitions = report.partitions.into_iter();
        let used = partitions.filter(|one| one.entries > 0 || !one.problems.is_empty());
        let partitions = used.map(|one| VerifiedPartitionBody {
            partition: one.partition,
            entries: one.entries,
            position: one.position,
            watermark: one.watermark,
            parked: one.parked,
            problems: one.problems,
        });
        let events = report.events.into_iter().take(SHOWN_MAX).map(|one| VerifiedEventBody {
            event_id: one.event,
            name: one.name,
            capacity: one.capacity,
            is_loaded: one.loaded,
            free: one.free,
            held: one.held,
            sold: one.sold,
            blocked: one.blocked,
            bookings_in_redis: one.bookings_in_redis,
            bookings_in_archive: one.bookings_in_archive,
            undecided: one.undecided,
            problems: one.problems,
        });
        VerifiedBody {
            is_clean: report.clean,
            took_ms: took_ms(began),
            problems: report.problems,
            partitions: partitions.collect(),
            events: events.collect(),
            is_cut,
        }
    }
}

impl ReconciledBody {
    fn new(report: PaymentsReport, began: Instant) -> Self {
        let is_cut = report.differences.len() > SHOWN_MAX || report.mended.len() > SHOWN_MAX;
        let totals = report.totals.into_iter().map(|(currency, money)| MoneyBody {
            currency,
            sold: money.sold,
            charged: money.charged,
            refunded: money.refunded,
            refund_pending: money.refund_pending,
        });
        let differences = report.differences.into_iter().take(SHOWN_MAX);
        let fixed = report.mended.into_iter().take(SHOWN_MAX);
        ReconciledBody {
            is_clean: report.clean,
            took_ms: took_ms(began),
            payments: report.payments,
            totals: totals.collect(),
            differences: differences
                .map(|one| DifferenceBody {
                    booking_id: one.booking.to_string(),
                    problem: one.problem,
                })
                .collect(),
            fixed: fixed
                .map(|one| FixedBody { booking_id: one.booking.to_string(), result: one.result })
                .collect(),
            is_cut,
        }
    }
}
