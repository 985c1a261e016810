//! Every metric that a process exports is moved by a test, which asserts its value.

use std::collections::{BTreeMap, BTreeSet};

use holdfast::telemetry::Metrics;
use holdfast::{api, worker};

use crate::deploy::file;

/// The file, below `tests`, of the scenario that moves each metric of the API.
const BY_API: &[(&str, &str)] = &[
    ("admission_rejected_total", "metrics/rooms.rs"),
    ("booking_attempts_total", "api/operations.rs"),
    ("booking_conflicts_total", "api/operations.rs"),
    ("booking_success_total", "api/operations.rs"),
    ("bookings_cancelled_total", "api/operations.rs"),
    ("bookings_confirmed_total", "metrics/sale.rs"),
    ("bookings_created_total", "api/operations.rs"),
    ("cache_hit_rate", "metrics/sale.rs"),
    ("cache_hits_total", "metrics/sale.rs"),
    ("cache_requests_total", "metrics/sale.rs"),
    ("db_connection_pool_overflow", "metrics/faults.rs"),
    ("db_connection_pool_size", "metrics/sale.rs"),
    ("holdfast_abort_queue_dropped_total", "metrics/faults.rs"),
    ("holdfast_abort_queue_length", "metrics/faults.rs"),
    ("holdfast_admin_key_failures_total", "metrics/secrets.rs"),
    ("holdfast_build_info", "metrics/sale.rs"),
    ("holdfast_certificate_not_after_timestamp_seconds", "metrics/secrets.rs"),
    ("holdfast_circuit_breaker_opened_total", "metrics/faults.rs"),
    ("holdfast_circuit_breaker_rejected_total", "metrics/faults.rs"),
    ("holdfast_circuit_breaker_state", "metrics/faults.rs"),
    ("holdfast_config_last_reload_success", "reload/mod.rs"),
    ("holdfast_config_last_reload_success_timestamp_seconds", "reload/mod.rs"),
    ("holdfast_config_reloads_total", "reload/mod.rs"),
    ("holdfast_connection_errors_total", "hostile/log_floods.rs"),
    ("holdfast_connections_refused_total", "api/hardening.rs"),
    ("holdfast_db_check_outs_failed_total", "metrics/faults.rs"),
    ("holdfast_durability_total", "faults/replicas.rs"),
    ("holdfast_event_capacity", "metrics/sale.rs"),
    ("holdfast_event_seats", "metrics/sale.rs"),
    ("holdfast_event_takings_minor", "metrics/sale.rs"),
    ("holdfast_gate_seconds", "metrics/sale.rs"),
    ("holdfast_gate_verdicts_total", "gates/limits.rs"),
    ("holdfast_http_in_flight", "metrics/sale.rs"),
    ("holdfast_limiter_entries", "gates/limits_alone.rs"),
    ("holdfast_live_age_seconds", "metrics/sale.rs"),
    ("holdfast_live_beats_total", "metrics/sale.rs"),
    ("holdfast_live_changes_total", "live/many.rs"),
    ("holdfast_live_missing", "live/many.rs"),
    ("holdfast_live_seats", "metrics/sale.rs"),
    ("holdfast_live_stale", "metrics/faults.rs"),
    ("holdfast_live_views", "live/many.rs"),
    ("holdfast_overload_rejected_total", "metrics/sale.rs"),
    ("holdfast_panics_total", "metrics/tasks.rs"),
    ("holdfast_payments_total", "metrics/sale.rs"),
    ("holdfast_policy_revision", "gates/live.rs"),
    ("holdfast_policy_unusable", "gates/live.rs"),
    ("holdfast_problems_total", "api/operations.rs"),
    ("holdfast_push_encodes_total", "push/seats.rs"),
    ("holdfast_push_notices_missed_total", "../src/push/feed.rs"),
    ("holdfast_push_ticks_total", "push/seats.rs"),
    ("holdfast_redis_concurrency_limit", "metrics/sale.rs"),
    ("holdfast_redis_in_flight", "metrics/faults.rs"),
    ("holdfast_redis_thread_connections", "tls/mod.rs"),
    ("holdfast_refused_from_view_total", "faults/tasks.rs"),
    ("holdfast_requests_timed_out_total", "hostile/slow_requests.rs"),
    ("holdfast_response_bytes", "metrics/sale.rs"),
    ("holdfast_responses_cut_off_total", "hostile/slow_readers.rs"),
    ("holdfast_responses_refused_total", "../src/http/outgoing.rs"),
    ("holdfast_script_duration_seconds", "api/operations.rs"),
    ("holdfast_script_replies_total", "api/operations.rs"),
    ("holdfast_seat_map_answers_total", "api/live_reads.rs"),
    ("holdfast_seat_map_bytes", "metrics/sale.rs"),
    ("holdfast_seat_map_looks_total", "api/live_reads.rs"),
    ("holdfast_seat_map_renders_total", "api/live_reads.rs"),
    ("holdfast_socket_messages_total", "push/sockets.rs"),
    ("holdfast_sockets_ended_total", "push/sockets.rs"),
    ("holdfast_sockets_open", "push/sockets.rs"),
    ("holdfast_sockets_refused_total", "push/sockets.rs"),
    ("holdfast_spans_dropped_total", "traces/collectors.rs"),
    ("holdfast_spans_exported_total", "traces/collectors.rs"),
    ("holdfast_task_restarts_total", "faults/tasks.rs"),
    ("holdfast_task_up", "faults/tasks.rs"),
    ("holdfast_token_secret_generated", "metrics/secrets.rs"),
    ("holdfast_unknown_outcomes_total", "metrics/faults.rs"),
    ("holdfast_warnings_left_out_total", "metrics/faults.rs"),
    ("holdfast_webhooks_total", "payments/webhooks.rs"),
    ("http_request_duration_seconds", "api/operations.rs"),
    ("http_requests_total", "api/operations.rs"),
    ("redis_circuit_breaker_open", "metrics/faults.rs"),
    ("redis_connection_errors_total", "metrics/faults.rs"),
    ("websocket_connections", "metrics/sale.rs"),
];

/// The same of the worker.
const BY_WORKER: &[(&str, &str)] = &[
    ("bookings_expired_total", "worker/upkeep.rs"),
    ("db_connection_pool_overflow", "metrics/faults.rs"),
    ("db_connection_pool_size", "metrics/faults.rs"),
    ("db_retry_attempts_total", "metrics/faults.rs"),
    ("holdfast_admission_errors_total", "metrics/faults.rs"),
    ("holdfast_admission_share", "metrics/rooms.rs"),
    ("holdfast_archive_errors_total", "metrics/faults.rs"),
    ("holdfast_archive_write_seconds", "metrics/sale.rs"),
    ("holdfast_bookings_forgotten_total", "worker/retain.rs"),
    ("holdfast_build_info", "metrics/tasks.rs"),
    ("holdfast_certificate_not_after_timestamp_seconds", "metrics/secrets.rs"),
    ("holdfast_circuit_breaker_opened_total", "metrics/faults.rs"),
    ("holdfast_circuit_breaker_state", "metrics/faults.rs"),
    ("holdfast_config_last_reload_success", "reload/worker.rs"),
    ("holdfast_config_last_reload_success_timestamp_seconds", "reload/worker.rs"),
    ("holdfast_config_reloads_total", "reload/worker.rs"),
    ("holdfast_connection_errors_total", "metrics/faults.rs"),
    ("holdfast_db_check_outs_failed_total", "metrics/faults.rs"),
    ("holdfast_dead_letters", "worker/log.rs"),
    ("holdfast_double_sale_prevented_total", "worker/log.rs"),
    ("holdfast_log_fill_ratio", "metrics/faults.rs"),
    ("holdfast_log_forks_total", "restore/past.rs"),
    ("holdfast_log_lag_seconds", "faults/mongodb_away.rs"),
    ("holdfast_log_length", "metrics/faults.rs"),
    ("holdfast_log_pending", "metrics/faults.rs"),
    ("holdfast_log_trimmed_entries_total", "worker/log.rs"),
    ("holdfast_panics_total", "metrics/tasks.rs"),
    ("holdfast_payments_total", "paying/refunds.rs"),
    ("holdfast_places_opened_total", "metrics/rooms.rs"),
    ("holdfast_reconciled_total", "paying/refunds.rs"),
    ("holdfast_redis_in_flight", "metrics/faults.rs"),
    ("holdfast_redis_memory_max_bytes", "metrics/faults.rs"),
    ("holdfast_redis_memory_used_bytes", "metrics/faults.rs"),
    ("holdfast_refunds_unsettled", "paying/refunds.rs"),
    ("holdfast_restore_seconds", "restore/lost.rs"),
    ("holdfast_restores_total", "restore/lost.rs"),
    ("holdfast_script_duration_seconds", "metrics/sale.rs"),
    ("holdfast_script_replies_total", "metrics/sale.rs"),
    ("holdfast_settled_total", "metrics/sale.rs"),
    ("holdfast_spans_dropped_total", "traces/collectors.rs"),
    ("holdfast_spans_exported_total", "traces/journey.rs"),
    ("holdfast_task_restarts_total", "metrics/tasks.rs"),
    ("holdfast_task_up", "metrics/tasks.rs"),
    ("holdfast_verdicts_total", "metrics/sale.rs"),
    ("holdfast_waiting_room_admitted_total", "metrics/rooms.rs"),
    ("holdfast_warnings_left_out_total", "metrics/faults.rs"),
    ("holdfast_worker_batch_entries", "worker/mod.rs"),
    ("holdfast_worker_batches_in_flight", "faults/worker.rs"),
    ("holdfast_worker_entries_total", "metrics/sale.rs"),
    ("holdfast_worker_ready", "deploy/alerts.rs"),
    ("holdfast_worker_retries_total", "metrics/faults.rs"),
    ("holdfast_worker_task_restarts_total", "metrics/tasks.rs"),
    ("redis_circuit_breaker_open", "metrics/faults.rs"),
    ("redis_connection_errors_total", "metrics/faults.rs"),
    ("waiting_room_active_sessions", "metrics/rooms.rs"),
    ("waiting_room_queue_size", "metrics/rooms.rs"),
];

#[test]
fn every_metric_is_moved_by_a_scenario_of_each_process_that_exports_it() {
    for (service, scenarios) in [(api::SERVICE, BY_API), (worker::SERVICE, BY_WORKER)] {
        let named: BTreeMap<&str, &str> = scenarios.iter().copied().collect();
        assert_eq!(named.len(), scenarios.len(), "{service}: a metric is named twice");
        let moved: BTreeSet<&str> = named.keys().copied().collect();
        let exported = Metrics::names_of(service);
        let missing: Vec<_> = exported.difference(&moved).collect();
        assert!(missing.is_empty(), "{service}: no scenario moves {missing:?}");
        let unknown: Vec<_> = moved.difference(&exported).collect();
        assert!(unknown.is_empty(), "{service} does not export {unknown:?}");
        for (name, path) in named {
            let scenario = file(&format!("tests/{path}"));
            assert!(scenario.contains(name), "tests/{path} says nothing of {name}");
        }
    }
}
