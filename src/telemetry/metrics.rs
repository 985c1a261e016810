//! All metrics of all processes, declared in one table that names the processes that export each.
//! Labels have few values, all known beforehand: a route is its pattern, never the path.

use std::collections::BTreeSet;
use std::sync::Arc;

use prometheus::{
    Gauge, GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    TextEncoder,
};

pub use super::metric_kinds::{API, WORKER};
use super::metric_kinds::{Declare, SetBy};
use super::striped::{StripedCounter, StripedCounterVec, StripedGauge, StripedHistogramVec};
use super::{client_lines, panics, repeated, spans};

/// Buckets of HTTP responses, seconds: refusals take tens of microseconds, confirmations seconds. Few, since
/// each route has them.
const HTTP_SECONDS: &[f64] = &[0.000_25, 0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Buckets of one gate, seconds: most only read memory.
const GATE_SECONDS: &[f64] =
    &[0.000_000_5, 0.000_001, 0.000_002, 0.000_005, 0.000_02, 0.000_1, 0.001, 0.01, 0.1, 1.0];
/// Buckets of one Redis call, seconds; the longest is the call's timeout.
const SCRIPT_SECONDS: &[f64] =
    &[0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0];
/// Buckets of one write to the archive, seconds.
const WRITE_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Buckets of one event's repair, seconds.
const RESTORE_SECONDS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Buckets of a batch, entries.
const BATCH_ENTRIES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0];
/// For metrics other than histograms.
const NO_BUCKETS: &[f64] = &[];

macro_rules! metrics {
    ($($field:ident: $kind:ident = $by:ident $name:literal [$($label:literal),*] $buckets:ident $help:literal;)+) => {
        /// The metrics of one process.
        #[derive(Debug)]
        pub struct Declared {
            registry: Registry,
            $(#[doc = $help] pub $field: $kind,)+
        }

        impl Declared {
            /// Each metric with the processes that export it.
            const TABLE: &'static [(&'static str, SetBy)] = &[$(($name, SetBy::$by)),+];

            fn new(service: &str) -> prometheus::Result<Self> {
                let registry = Registry::new();
                $(
                    let $field = <$kind as Declare>::declare($name, $help, &[$($label),*], $buckets)?;
                    if SetBy::$by.is_of(service) {
                        registry.register(Box::new($field.clone()))?;
                    }
                )+
                Ok(Declared { registry, $($field,)+ })
            }
        }
    };
}

metrics! {
    http_requests: StripedCounterVec = Api "http_requests_total" ["method", "route", "status"] NO_BUCKETS
        "Requests answered.";
    http_duration: StripedHistogramVec = Api "http_request_duration_seconds" ["method", "route"] HTTP_SECONDS
        "Time from a request's head to its answer's head.";
    http_in_flight: StripedGauge = Api "holdfast_http_in_flight" [] NO_BUCKETS
        "Requests under way.";
    problems: StripedCounterVec = Api "holdfast_problems_total" ["error"] NO_BUCKETS
        "Errors answered, by code.";
    panics: IntCounter = Both "holdfast_panics_total" [] NO_BUCKETS
        "Panics: each is a defect.";
    gate_verdicts: StripedCounterVec = Api "holdfast_gate_verdicts_total" ["gate", "verdict"] NO_BUCKETS
        "What gates said of requests: passed, observed (would be refused were it enforced), refused.";
    gate_seconds: StripedHistogramVec = Api "holdfast_gate_seconds" ["gate"] GATE_SECONDS
        "Time that a request spent in a gate.";
    limiter_entries: IntGaugeVec = Api "holdfast_limiter_entries" ["kind"] NO_BUCKETS
        "What limits keep in this process: addresses, blocked callers (blocks), requests that Redis has not counted (notes), addresses with open connections (connections).";
    connections_refused: IntCounterVec = Api "holdfast_connections_refused_total" ["how"] NO_BUCKETS
        "Connections beyond those one address may have, by how they were refused.";
    connection_errors: IntCounter = Both "holdfast_connection_errors_total" [] NO_BUCKETS
        "Connections that ended because of what a client sent, or did not take: no HTTP, broken frames.";
    requests_timed_out: IntCounter = Api "holdfast_requests_timed_out_total" [] NO_BUCKETS
        "Connections closed because a request's head, or the rest of a body that nobody read, did not arrive in time.";
    responses_cut_off: IntCounterVec = Api "holdfast_responses_cut_off_total" ["why"] NO_BUCKETS
        "Connections closed while a response was being sent: the client read too slowly (slow), or was among the slowest while memory was short (memory).";
    responses_refused: IntCounter = Api "holdfast_responses_refused_total" [] NO_BUCKETS
        "Large answers refused because those that are being sent keep as much memory as they may.";
    response_bytes: IntGauge = Api "holdfast_response_bytes" [] NO_BUCKETS
        "Bytes of answers in memory: seat maps that are kept rendered, and all that is being sent.";
    admin_key_failures: IntCounter = Api "holdfast_admin_key_failures_total" [] NO_BUCKETS
        "Wrong admin keys, those included that were not looked at any more.";
    sockets_open: IntGaugeVec = Api "holdfast_sockets_open" ["kind"] NO_BUCKETS
        "Open WebSockets (websocket) and event streams (sse).";
    sockets_refused: IntCounterVec = Api "holdfast_sockets_refused_total" ["reason"] NO_BUCKETS
        "Sockets that were not opened: all places taken (total, address), another site's page (origin), the process ends (ending).";
    sockets_ended: IntCounterVec = Api "holdfast_sockets_ended_total" ["kind", "reason"] NO_BUCKETS
        "Sockets that ended: by the client (closed, gone), or dropped (idle, stalled, too_many_messages, bad_frame, ending).";
    socket_messages: IntCounterVec = Api "holdfast_socket_messages_total" ["type"] NO_BUCKETS
        "Messages sent to sockets, by type.";
    push_ticks: IntCounter = Api "holdfast_push_ticks_total" [] NO_BUCKETS
        "Times that changed seats were pushed, over all followed events.";
    push_encodes: IntCounterVec = Api "holdfast_push_encodes_total" ["what"] NO_BUCKETS
        "Encodings of what sockets share: changes of a tick (tick), changes since an earlier version (merged), seat maps (snapshot).";
    push_notices_missed: IntCounter = Api "holdfast_push_notices_missed_total" [] NO_BUCKETS
        "Notices of lapsed holds that a socket did not take in time.";
    policy_revision: IntGauge = Api "holdfast_policy_revision" [] NO_BUCKETS
        "Revision of the operators' changes that the gates go by; 0 is the settings alone.";
    policy_unusable: IntGauge = Api "holdfast_policy_unusable" [] NO_BUCKETS
        "1 while what operators stored cannot be read or cannot be: the gates go by what was before.";

    booking_attempts: StripedCounter = Api "booking_attempts_total" [] NO_BUCKETS
        "Requests to hold seats that were well formed.";
    booking_success: IntCounter = Api "booking_success_total" [] NO_BUCKETS
        "Requests to hold seats that got them, replays included.";
    durability: IntCounterVec = Api "holdfast_durability_total" ["word"] NO_BUCKETS
        "Bookings answered after a change, by where they were known to be kept.";
    admission_rejected: StripedCounter = Api "admission_rejected_total" [] NO_BUCKETS
        "Requests to hold seats that a waiting room had not let in: no session, or no valid admission token.";
    booking_conflicts: StripedCounter = Api "booking_conflicts_total" [] NO_BUCKETS
        "Requests to hold seats that were not free.";
    bookings_created: IntCounter = Api "bookings_created_total" [] NO_BUCKETS
        "Bookings made by this process.";
    bookings_confirmed: IntCounter = Api "bookings_confirmed_total" [] NO_BUCKETS
        "Bookings that this process reported CONFIRMED.";
    bookings_cancelled: IntCounter = Api "bookings_cancelled_total" [] NO_BUCKETS
        "Bookings cancelled through this process.";
    bookings_expired: IntCounter = Worker "bookings_expired_total" [] NO_BUCKETS
        "Bookings this worker archived as EXPIRED.";

    event_capacity: IntGaugeVec = Api "holdfast_event_capacity" ["event_id"] NO_BUCKETS
        "Seats of an event that is on sale or paused. Every API process exports the events that are being sold: take max by (event_id).";
    event_seats: IntGaugeVec = Api "holdfast_event_seats" ["event_id", "state"] NO_BUCKETS
        "Its seats that are free, held, sold or blocked.";
    event_takings: IntGaugeVec = Api "holdfast_event_takings_minor" ["event_id", "currency"] NO_BUCKETS
        "The price of its sold seats, in minor units of the currency.";

    refused_from_view: StripedCounterVec = Api "holdfast_refused_from_view_total" ["reason"] NO_BUCKETS
        "Requests to hold seats that were refused from the live view, without Redis, by reason.";
    live_views: IntGauge = Api "holdfast_live_views" [] NO_BUCKETS
        "Events whose every seat this process knows.";
    live_seats: IntGauge = Api "holdfast_live_seats" [] NO_BUCKETS
        "Their seats.";
    live_missing: IntGauge = Api "holdfast_live_missing" [] NO_BUCKETS
        "Events whose view is wanted and not there: their requests all go to Redis.";
    live_age: Gauge = Api "holdfast_live_age_seconds" [] NO_BUCKETS
        "How long ago the newest entry was read, of the quietest partition that requests ask about.";
    live_stale: IntGauge = Api "holdfast_live_stale" [] NO_BUCKETS
        "1 while the live view stays too old to be used, or its connection is lost.";
    live_changes: IntCounterVec = Api "holdfast_live_changes_total" ["what"] NO_BUCKETS
        "Views that were built, or not (failed, differs), and that ended: the log broke off (broken, past, unreadable, gap), the task that feeds them ended unexpectedly (restarted), the event was opened anew (reopened), nobody used it (idle).";
    live_beats: IntCounter = Api "holdfast_live_beats_total" [] NO_BUCKETS
        "Empty entries requested, to verify that a quiet booking log is alive.";
    seat_map_looks: IntCounterVec = Api "holdfast_seat_map_looks_total" ["from"] NO_BUCKETS
        "Times an event's seats were looked up for all who ask: in the live view (view), in Redis (redis), or found unchanged (unchanged).";
    seat_map_renders: IntCounterVec = Api "holdfast_seat_map_renders_total" ["form"] NO_BUCKETS
        "Bodies of seats and counts that were rendered, by form.";
    seat_map_answers: StripedCounterVec = Api "holdfast_seat_map_answers_total" ["how"] NO_BUCKETS
        "Answers with seats and counts: from a body that was there (shared), rendered for it (rendered), rendered as it was sent (streamed), without a body (not_modified).";
    seat_map_bytes: IntGauge = Api "holdfast_seat_map_bytes" [] NO_BUCKETS
        "Bytes of rendered bodies in memory.";

    cache_hits: IntCounter = Api "cache_hits_total" [] NO_BUCKETS
        "Answers with seats and counts whose body was there already, or that needed none.";
    cache_requests: IntCounter = Api "cache_requests_total" [] NO_BUCKETS
        "Answers with seats and counts.";
    cache_hit_rate: Gauge = Api "cache_hit_rate" [] NO_BUCKETS
        "The share of hits since the process began; 0 before the first answer.";
    websocket_connections: IntGauge = Api "websocket_connections" [] NO_BUCKETS
        "Open WebSockets.";

    webhooks: IntCounterVec = Api "holdfast_webhooks_total" ["result"] NO_BUCKETS
        "Webhooks of the payment provider, by what became of them.";

    script_duration: HistogramVec = Both "holdfast_script_duration_seconds" ["script"] SCRIPT_SECONDS
        "Time of one script call, round trip.";
    script_replies: IntCounterVec = Both "holdfast_script_replies_total" ["script", "code"] NO_BUCKETS
        "Replies of scripts, by code; `unknown`, `not_run` and `unexpected` are ours.";
    redis_in_flight: IntGauge = Both "holdfast_redis_in_flight" [] NO_BUCKETS
        "Redis calls under way.";
    redis_thread_connections: IntGauge = Api "holdfast_redis_thread_connections" [] NO_BUCKETS
        "Connections of HTTP threads to Redis that are up; a thread without one uses shared connections.";
    breaker_state: IntGaugeVec = Both "holdfast_circuit_breaker_state" ["dependency"] NO_BUCKETS
        "The circuit breaker before redis, mongodb or payments: 0 closed, 1 half-open (a few calls are tried), 2 open (requests are refused at once).";
    breaker_opened: IntCounterVec = Both "holdfast_circuit_breaker_opened_total" ["dependency"] NO_BUCKETS
        "Times that a circuit breaker opened.";
    breaker_rejected: IntCounterVec = Api "holdfast_circuit_breaker_rejected_total" ["dependency"] NO_BUCKETS
        "Calls that an open circuit breaker refused. (A worker's are never refused: they are upkeep.)";
    redis_breaker_open: IntGauge = Both "redis_circuit_breaker_open" [] NO_BUCKETS
        "1 while the circuit breaker before a node of Redis is open.";
    redis_concurrency_limit: IntGauge = Api "holdfast_redis_concurrency_limit" [] NO_BUCKETS
        "Calls to one node of Redis under way at which requests are refused now; it follows the time of answers.";
    overload_rejected: IntCounter = Api "holdfast_overload_rejected_total" [] NO_BUCKETS
        "Calls to Redis that were refused, and not sent, because too many were under way.";
    redis_connection_errors: IntCounter = Both "redis_connection_errors_total" [] NO_BUCKETS
        "Script calls without an answer: no connection to Redis, or none that answered in time.";
    redis_memory_used: IntGaugeVec = Worker "holdfast_redis_memory_used_bytes" ["node"] NO_BUCKETS
        "Memory that a Redis uses.";
    redis_memory_max: IntGaugeVec = Worker "holdfast_redis_memory_max_bytes" ["node"] NO_BUCKETS
        "Memory that it may use (maxmemory); absent where there is no limit.";
    unknown_outcomes: IntCounter = Api "holdfast_unknown_outcomes_total" [] NO_BUCKETS
        "Calls that may have run though no reply came.";
    abort_queue_length: IntGauge = Api "holdfast_abort_queue_length" [] NO_BUCKETS
        "Calls with an unknown outcome that wait to be undone.";
    abort_queue_dropped: IntCounter = Api "holdfast_abort_queue_dropped_total" [] NO_BUCKETS
        "Calls left to their time-to-live because the queue was full.";

    log_length: IntGaugeVec = Worker "holdfast_log_length" ["partition"] NO_BUCKETS
        "Entries of the booking log.";
    log_fill: GaugeVec = Worker "holdfast_log_fill_ratio" [] NO_BUCKETS
        "Length of the longest booking log as a share of log_entries_max: at 1 its events take no holds.";
    log_pending: IntGaugeVec = Worker "holdfast_log_pending" ["partition"] NO_BUCKETS
        "Entries delivered to a worker and not archived yet.";
    log_lag: GaugeVec = Worker "holdfast_log_lag_seconds" ["partition"] NO_BUCKETS
        "Age of the oldest entry not archived yet.";
    log_trimmed: IntCounter = Worker "holdfast_log_trimmed_entries_total" [] NO_BUCKETS
        "Archived entries removed from the booking log.";
    bookings_forgotten: IntCounter = Worker "holdfast_bookings_forgotten_total" [] NO_BUCKETS
        "Archived bookings that ended without a sale, dropped from Redis.";
    dead_letters: IntGaugeVec = Worker "holdfast_dead_letters" ["partition"] NO_BUCKETS
        "Entries parked because they could not be read or stored.";

    batch_entries: HistogramVec = Worker "holdfast_worker_batch_entries" ["source"] BATCH_ENTRIES
        "Entries of one batch, newly read or reclaimed.";
    batches_in_flight: IntGauge = Worker "holdfast_worker_batches_in_flight" [] NO_BUCKETS
        "Batches under way.";
    worker_entries: IntCounterVec = Worker "holdfast_worker_entries_total" ["kind"] NO_BUCKETS
        "Entries archived, by kind.";
    worker_retries: IntCounter = Worker "holdfast_worker_retries_total" [] NO_BUCKETS
        "Batches tried again.";
    archive_write: HistogramVec = Worker "holdfast_archive_write_seconds" ["operation"] WRITE_SECONDS
        "Time of one write to the archive.";
    db_retry_attempts: IntCounter = Worker "db_retry_attempts_total" [] NO_BUCKETS
        "Writes to the archive that were tried again.";
    db_pool_size: IntGauge = Both "db_connection_pool_size" [] NO_BUCKETS
        "Connections to MongoDB.";
    db_pool_overflow: IntGauge = Both "db_connection_pool_overflow" [] NO_BUCKETS
        "Operations that wait for a connection to MongoDB.";
    db_check_outs_failed: IntCounter = Both "holdfast_db_check_outs_failed_total" [] NO_BUCKETS
        "Operations that got no connection to MongoDB.";
    archive_errors: IntCounterVec = Worker "holdfast_archive_errors_total" ["operation"] NO_BUCKETS
        "Writes to the archive that failed.";
    verdicts: IntCounterVec = Worker "holdfast_verdicts_total" ["outcome"] NO_BUCKETS
        "Sales judged by the archive.";
    double_sales_prevented: IntCounter = Worker "holdfast_double_sale_prevented_total" [] NO_BUCKETS
        "Sales the archive refused because a seat was sold already: the money goes back.";
    payments: IntCounterVec = Both "holdfast_payments_total" ["what"] NO_BUCKETS
        "What became of payments: charged, declined, impossible, not_done, unknown, abandoned, cancelled, committed_late, late_refunded, refund_pending, refund_failed, refunded, refunded_outside, marked_paid.";
    refunds_unsettled: IntGaugeVec = Worker "holdfast_refunds_unsettled" ["state"] NO_BUCKETS
        "Refunds that are not done, in the whole deployment: on their way (pending), for more than two weeks of it (overdue), failed and tried again (retrying), failed and left to a person (failed).";
    reconciled: IntCounterVec = Worker "holdfast_reconciled_total" ["result"] NO_BUCKETS
        "Looks of the reconciler at a booking's money.";
    worker_ready: IntGauge = Worker "holdfast_worker_ready" [] NO_BUCKETS
        "1 while this worker is ready: Redis and MongoDB answer and its drain gets on.";
    worker_task_restarts: IntCounterVec = Worker "holdfast_worker_task_restarts_total" ["task"] NO_BUCKETS
        "The older name of holdfast_task_restarts_total.";
    settled: IntCounterVec = Worker "holdfast_settled_total" ["code"] NO_BUCKETS
        "Verdicts brought back to Redis, by its reply.";

    places_opened: IntCounter = Worker "holdfast_places_opened_total" [] NO_BUCKETS
        "Places of waiting rooms that this worker opened.";
    room_queue_size: IntGaugeVec = Worker "waiting_room_queue_size" ["event_id"] NO_BUCKETS
        "People in an event's waiting room, those included who may claim their turn. Every worker exports it: take max by (event_id).";
    room_sessions: IntGaugeVec = Worker "waiting_room_active_sessions" ["event_id"] NO_BUCKETS
        "Sessions of people whom it has let in.";
    room_admitted: IntCounterVec = Worker "holdfast_waiting_room_admitted_total" ["event_id"] NO_BUCKETS
        "Places of an event's waiting room that this worker opened: take the sum.";
    admission_share: Gauge = Worker "holdfast_admission_share" [] NO_BUCKETS
        "Share of what operators allow that waiting rooms let in: below 1 while the archive lags, Redis is slow or errors occur.";
    admission_errors: IntCounter = Worker "holdfast_admission_errors_total" [] NO_BUCKETS
        "Looks at waiting rooms that failed.";

    log_forks: IntCounter = Worker "holdfast_log_forks_total" [] NO_BUCKETS
        "Times a booking log had lost an entry that was read.";
    restores: IntCounterVec = Worker "holdfast_restores_total" ["result"] NO_BUCKETS
        "Repairs of events after a loss, by how they ended.";
    restore_seconds: HistogramVec = Worker "holdfast_restore_seconds" [] RESTORE_SECONDS
        "Time of one event's repair.";

    config_reloads: IntCounterVec = Both "holdfast_config_reloads_total" ["result"] NO_BUCKETS
        "Reloads of the settings: done (ok), or refused whole (refused).";
    config_last_reload_success: IntGauge = Both "holdfast_config_last_reload_success" [] NO_BUCKETS
        "0 if the last reload of the settings was refused: what runs differs from the file.";
    config_last_reload_seconds: Gauge = Both "holdfast_config_last_reload_success_timestamp_seconds" [] NO_BUCKETS
        "When the settings in effect were read, Unix seconds.";

    spans_exported: IntCounter = Both "holdfast_spans_exported_total" [] NO_BUCKETS
        "Spans of traces that the collector took.";
    spans_dropped: IntCounterVec = Both "holdfast_spans_dropped_total" ["reason"] NO_BUCKETS
        "Spans of traces that were lost: the collector did not take them (export_failed), or too many waited for it (queue_full).";
    warnings_left_out: IntCounter = Both "holdfast_warnings_left_out_total" [] NO_BUCKETS
        "Warnings that were not logged because the same one was, a moment before.";
    task_restarts: IntCounterVec = Both "holdfast_task_restarts_total" ["task"] NO_BUCKETS
        "Unexpected ends of background tasks, each followed by a restart: each is a defect.";
    task_up: IntGaugeVec = Both "holdfast_task_up" ["task"] NO_BUCKETS
        "1 while all background tasks of this name run; 0 from an unexpected end until the restarted task has run for ten seconds.";

    certificate_not_after: GaugeVec = Both "holdfast_certificate_not_after_timestamp_seconds" ["setting"] NO_BUCKETS
        "When the first certificate of the file that a setting names expires, Unix time.";
    token_secret_generated: IntGauge = Api "holdfast_token_secret_generated" [] NO_BUCKETS
        "1 if this process signs admission tokens with a secret of its own, which ends with it: token_secrets is empty.";
    build_info: IntGaugeVec = Both "holdfast_build_info" ["service", "version"] NO_BUCKETS
        "Always 1: which build this is.";
}

/// The metrics of one process; cheap to clone. Not a global: tests run several servers in one
/// process. Looking a child up by its labels takes a lock: hot paths keep their children.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Declared>);

impl std::ops::Deref for Metrics {
    type Target = Declared;
    fn deref(&self) -> &Declared {
        &self.0
    }
}

impl Metrics {
    /// All metrics of this service at zero, and those of the process itself (memory, files,
    /// processor).
    pub fn new(service: &str) -> Self {
        // The table is constant, and a test verifies that it is well-formed.
        let declared = Declared::new(service).expect("the table of metrics is well formed");
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            // Only a duplicate registration could fail, and this registry is new.
            let _ = declared.registry.register(Box::new(process));
        }
        declared.build_info.with_label_values(&[service, env!("CARGO_PKG_VERSION")]).set(1);
        Metrics(Arc::new(declared))
    }

    /// The names of all metrics of the table.
    pub fn names(&self) -> BTreeSet<&'static str> {
        Declared::TABLE.iter().map(|(name, _)| *name).collect()
    }

    /// The names of the metrics that a service exports.
    pub fn names_of(service: &str) -> BTreeSet<&'static str> {
        let of_service = Declared::TABLE.iter().filter(|(_, by)| by.is_of(service));
        of_service.map(|(name, _)| *name).collect()
    }

    /// Raises a counter to a total that is counted elsewhere.
    pub fn raise(counter: &IntCounter, total: u64) {
        counter.inc_by(total.saturating_sub(counter.get()));
    }

    /// Formats all metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        Self::raise(&self.panics, panics::total());
        Self::raise(&self.warnings_left_out, repeated::left_out());
        Self::raise(&self.connection_errors, client_lines::total());
        Self::raise(&self.spans_exported, spans::exported());
        for (reason, total) in spans::dropped() {
            Self::raise(&self.spans_dropped.with_label_values(&[reason]), total);
        }
        let families = self.registry.gather();
        TextEncoder::new().encode_to_string(&families).unwrap_or_else(|error| {
            tracing::error!(%error, "metrics cannot be rendered");
            String::new()
        })
    }
}

#[cfg(test)]
mod tests;
