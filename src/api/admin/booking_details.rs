//! `/api/v1/admin/bookings/{booking_id}`: one booking in Redis, in the archive and at the provider.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use serde::Serialize;
use utoipa::ToSchema;

use super::booking_body::{AdminSeatBody, text, time};
use crate::api::admin_audit::{self, AdminAction};
use crate::api::openapi::AdminBookingProblems;
use crate::api::state::RequestContext;
use crate::archive::{ArchivedBooking, LedgerEntry};
use crate::domain::time::iso8601;
use crate::domain::{Booking, BookingId};
use crate::http::HandlerResult;
use crate::http::params::booking_id;
use crate::http::problem::Problem;
use crate::http::reply::json;
use crate::http::words;
use crate::sale::SaleError;
use crate::sale::booking_report::{AtProvider, BookingReport, HISTORY_MAX, InRedis, step_of};

/// One booking everywhere.
#[derive(Serialize, ToSchema)]
pub struct BookingDetailsBody {
    /// Its id.
    booking_id: String,
    /// Its event.
    #[schema(example = 1)]
    event_id: u32,
    /// The event's name; null if the catalogue does not have it.
    #[schema(required = true)]
    event_name: Option<String>,
    /// Its owner.
    #[schema(example = "ann")]
    user_id: String,
    /// Its state in Redis, else in the archive.
    #[schema(value_type = words::StoredStatus)]
    status: &'static str,
    /// Its price, in the currency's minor unit.
    #[schema(example = 28_500)]
    total_amount: i64,
    /// ISO 4217 code.
    #[schema(example = "EUR")]
    currency: String,
    /// Whether Redis and the archive agree.
    is_agreed: bool,
    /// Where they do not; a booking on its way to the archive differs for a moment.
    differences: Vec<String>,
    /// In Redis.
    redis: InRedisBody,
    /// In the archive.
    archive: InArchiveBody,
    /// At the payment provider.
    provider: AtProviderBody,
    /// Its seats with the owners of the claims on them.
    seats: Vec<ClaimedSeatBody>,
    /// What happened, in order: one step per line of the ledger.
    timeline: Vec<StepBody>,
    /// The ledger.
    ledger: Vec<LedgerBody>,
    /// Whether the ledger has more lines.
    is_ledger_cut: bool,
}

/// A booking in Redis.
#[derive(Serialize, ToSchema)]
pub struct InRedisBody {
    /// `found`, `unknown` or `event_not_loaded`.
    #[schema(value_type = words::InRedisState)]
    state: &'static str,
    /// It.
    #[schema(required = true)]
    record: Option<RecordBody>,
}

/// A booking in the archive.
#[derive(Serialize, ToSchema)]
pub struct InArchiveBody {
    /// `found` or `unknown`.
    #[schema(value_type = words::InArchiveState)]
    state: &'static str,
    /// It.
    #[schema(required = true)]
    record: Option<RecordBody>,
    /// The decision: `sold`, `cancelled` or `refund`.
    #[schema(value_type = Option<words::StoredOutcome>, required = true)]
    outcome: Option<&'static str>,
    /// The generation of its event.
    #[schema(required = true)]
    generation: Option<u64>,
    /// Since when a cancellation is not settled in Redis.
    #[schema(format = DateTime, required = true)]
    cancel_unsettled_since: Option<String>,
}

/// A stored booking.
#[derive(Serialize, ToSchema)]
pub struct RecordBody {
    /// Its state.
    #[schema(value_type = words::StoredStatus)]
    status: &'static str,
    /// Raised by each transition.
    #[schema(example = 7)]
    version: u64,
    /// Its owner.
    user_id: String,
    /// Its price, in the currency's minor unit.
    total_amount: i64,
    /// ISO 4217 code.
    currency: String,
    /// The provider's payment object.
    #[schema(required = true)]
    payment_id: Option<String>,
    /// Number of its payment attempts.
    lease: u64,
    /// When it was made.
    #[schema(format = DateTime, required = true)]
    created_at: Option<String>,
    /// When its hold ends.
    #[schema(format = DateTime, required = true)]
    hold_expires_at: Option<String>,
    /// When it was paid.
    #[schema(format = DateTime, required = true)]
    paid_at: Option<String>,
    /// When the archive confirmed it.
    #[schema(format = DateTime, required = true)]
    confirmed_at: Option<String>,
    /// When it ended.
    #[schema(format = DateTime, required = true)]
    ended_at: Option<String>,
    /// Trace context of the request that made it.
    #[schema(required = true)]
    trace: Option<String>,
}

/// A payment at its provider.
#[derive(Serialize, ToSchema)]
pub struct AtProviderBody {
    /// `found`, `none` (nothing was begun, or the provider does not have it) or `unavailable`.
    #[schema(value_type = words::AtProviderState)]
    state: &'static str,
    /// The provider.
    #[schema(example = "simulated")]
    provider: &'static str,
    /// Its payment object.
    #[schema(required = true)]
    payment_id: Option<String>,
    /// `open`, `processing`, `paid` or `cancelled`.
    #[schema(value_type = Option<words::PaymentStatus>, required = true)]
    status: Option<&'static str>,
    /// Its amount, in the currency's minor unit.
    #[schema(required = true)]
    amount: Option<i64>,
    /// ISO 4217 code.
    #[schema(required = true)]
    currency: Option<String>,
    /// What was given back.
    #[schema(required = true)]
    refunded_amount: Option<i64>,
    /// What is on its way back.
    #[schema(required = true)]
    refund_pending_amount: Option<i64>,
    /// A refund that did not succeed at once.
    #[schema(required = true)]
    refund: Option<RefundBody>,
    /// Why the provider does not say.
    #[schema(required = true)]
    detail: Option<String>,
}

/// A refund in progress.
#[derive(Serialize, ToSchema)]
pub struct RefundBody {
    /// `pending` or `failed`.
    #[schema(value_type = words::RefundStatus)]
    state: &'static str,
    /// All that is to be given back, in the currency's minor unit.
    amount: i64,
    /// Since when.
    #[schema(format = DateTime)]
    since: String,
    /// Failed attempts.
    failures: u32,
    /// The provider's reason.
    #[schema(required = true)]
    reason: Option<String>,
}

/// A seat with the owner of the claim on it.
#[derive(Serialize, ToSchema)]
pub struct ClaimedSeatBody {
    /// The seat.
    #[serde(flatten)]
    seat: AdminSeatBody,
    /// The booking that owns the claim.
    #[schema(required = true)]
    claimed_by: Option<String>,
    /// Whether that is this booking.
    is_own_claim: bool,
}

/// A step of a booking.
#[derive(Serialize, ToSchema)]
pub struct StepBody {
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// What happened.
    #[schema(value_type = words::BookingStep)]
    step: &'static str,
    /// How long after the first step, ms.
    #[schema(example = 71_192)]
    after_ms: i64,
}

/// A line of the ledger.
#[derive(Serialize, ToSchema)]
pub struct LedgerBody {
    /// When, by Redis' clock.
    #[schema(format = DateTime)]
    at: String,
    /// The kind of the log entry.
    #[schema(example = "hold")]
    kind: String,
    /// The state after it.
    #[schema(example = "HOLD")]
    status: String,
    /// The version after it.
    version: u64,
    /// The generation of the event.
    generation: u64,
    /// Its position in the booking log.
    log_id: String,
    /// When the hold ends.
    #[schema(format = DateTime, required = true)]
    hold_expires_at: Option<String>,
    /// Number of payment attempts.
    lease: u64,
    /// The provider's payment object.
    #[schema(required = true)]
    payment_id: Option<String>,
    /// A reason.
    #[schema(required = true)]
    detail: Option<String>,
}

/// Read a booking everywhere
///
/// In Redis, in the archive and at the payment provider, with its claims, its ledger and a timeline.
/// Reading an overdue hold releases it.
#[utoipa::path(
    get, operation_id = "get_booking_details", path = "/api/v1/admin/bookings/{booking_id}", tag = "admin",
    params(("booking_id" = String, Path, format = Uuid, description = "The booking")),
    responses((status = 200, description = "The booking", body = BookingDetailsBody), AdminBookingProblems),
)]
pub async fn get(context: RequestContext, _: Payload) -> HandlerResult {
    let admin = context.gates().pass_admin(&context.head).await?;
    let id = booking_id(&context.http)?;
    let target = format!("booking {id}");
    let action = AdminAction { verb: "booking_details", target, detail: String::new() };
    let details = async {
        let report = context.state.sale.booking_report(id).await.map_err(Problem::from)?;
        let body = BookingDetailsBody::new(id, report);
        json(StatusCode::OK, &body.ok_or(SaleError::BookingUnknown(id))?)
    };
    admin_audit::recorded(&context, &admin, action, Box::pin(details)).await
}

impl BookingDetailsBody {
    fn new(id: BookingId, report: BookingReport) -> Option<Self> {
        let known = report.booking()?.clone();
        let provider = AtProviderBody::new(&report);
        let event = report.event.as_ref();
        let seats = report.seats.iter().map(|(seat, owner)| ClaimedSeatBody {
            seat: AdminSeatBody::new(*seat, event),
            claimed_by: owner.map(|owner| owner.to_string()),
            is_own_claim: *owner == Some(id),
        });
        let began_ms = report.history.first().map_or(0, |first| first.time_ms);
        let timeline = report.history.iter().map(|entry| StepBody {
            at: iso8601(entry.time_ms),
            step: step_of(&entry.kind),
            after_ms: entry.time_ms - began_ms,
        });
        Some(BookingDetailsBody {
            booking_id: id.to_string(),
            event_id: id.event().0,
            event_name: event.map(|event| event.name.clone()),
            user_id: known.user.to_string(),
            status: known.status.as_str(),
            total_amount: known.amount,
            currency: known.currency.clone(),
            is_agreed: report.differences.is_empty(),
            seats: seats.collect(),
            timeline: timeline.collect(),
            is_ledger_cut: report.history.len() >= HISTORY_MAX as usize,
            ledger: report.history.iter().map(LedgerBody::new).collect(),
            redis: InRedisBody::new(&report.in_redis),
            archive: InArchiveBody::new(report.archived.as_ref()),
            provider,
            differences: report.differences,
        })
    }
}

impl InRedisBody {
    fn new(in_redis: &InRedis) -> Self {
        let (state, record) = match in_redis {
            InRedis::Found(booking) => ("found", Some(RecordBody::new(booking))),
            InRedis::Unknown => ("unknown", None),
            InRedis::EventNotLoaded => ("event_not_loaded", None),
        };
        InRedisBody { state, record }
    }
}

impl InArchiveBody {
    fn new(archived: Option<&ArchivedBooking>) -> Self {
        InArchiveBody {
            state: if archived.is_some() { "found" } else { "unknown" },
            record: archived.map(|one| RecordBody::new(&one.booking)),
            outcome: archived.and_then(|one| one.outcome).map(|outcome| outcome.as_str()),
            generation: archived.map(|one| one.generation),
            cancel_unsettled_since: archived.and_then(|one| one.cancel_unsettled_ms).and_then(time),
        }
    }
}

impl RecordBody {
    fn new(booking: &Booking) -> Self {
        RecordBody {
            status: booking.status.as_str(),
            version: booking.version,
            user_id: booking.user.to_string(),
            total_amount: booking.amount,
            currency: booking.currency.clone(),
            payment_id: text(&booking.payment),
            lease: booking.lease,
            created_at: time(booking.created_ms),
            hold_expires_at: time(booking.deadline_ms),
            paid_at: time(booking.paid_ms),
            confirmed_at: time(booking.confirmed_ms),
            ended_at: time(booking.ended_ms),
            trace: text(&booking.trace),
        }
    }
}

impl AtProviderBody {
    fn new(report: &BookingReport) -> Self {
        let (state, detail, payment) = match &report.at_provider {
            AtProvider::Found(payment) => ("found", None, Some(payment)),
            AtProvider::Nothing => ("none", None, None),
            AtProvider::Unavailable(why) => ("unavailable", Some(why.clone()), None),
        };
        let refund = report.intent.as_ref().and_then(|intent| intent.refund.as_ref());
        AtProviderBody {
            state,
            provider: report.provider,
            payment_id: payment.map(|one| one.id.clone()),
            status: payment.map(|one| one.state.as_str()),
            amount: payment.map(|one| one.amount),
            currency: payment.map(|one| one.currency.clone()),
            refunded_amount: payment.map(|one| one.refunded),
            refund_pending_amount: payment.map(|one| one.refund_pending),
            refund: refund.map(|refund| RefundBody {
                state: refund.state.as_str(),
                amount: refund.total,
                since: iso8601(refund.since_ms),
                failures: refund.failures,
                reason: text(&refund.reason),
            }),
            detail,
        }
    }
}

impl LedgerBody {
    fn new(entry: &LedgerEntry) -> Self {
        LedgerBody {
            at: iso8601(entry.time_ms),
            kind: entry.kind.clone(),
            status: entry.status.clone(),
            version: entry.version,
            generation: entry.generation,
            log_id: entry.log_id.clone(),
            hold_expires_at: time(entry.deadline_ms),
            lease: entry.lease,
            payment_id: text(&entry.payment),
            detail: text(&entry.detail),
        }
    }
}
