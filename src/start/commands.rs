//! The command lines of the servers.

use clap::{CommandFactory, Parser};

use crate::config::ConfigArgs;

/// Holdfast's API: decides in Redis who gets which seat
///
/// Needs Redis (7.0 or newer, or Valkey) and MongoDB, and waits for them at its start
/// (start_wait_seconds). Any number of API processes may run, with at least one holdfast-worker,
/// which archives the bookings in MongoDB.
///
/// Settings come from the file named by --config and, with precedence, from HOLDFAST_* variables:
/// HOLDFAST_LISTEN, HOLDFAST_METRICS_LISTEN (/metrics and /health), HOLDFAST_REDIS_URL,
/// HOLDFAST_MONGODB_URL and the others that --print-config lists.
///
/// SIGTERM ends it in order: readiness becomes 503, requests in progress finish. A second signal ends
/// it at once. SIGHUP reads the settings again, as `holdfastctl reload` does for all processes.
#[derive(Parser)]
#[command(name = "holdfast-api", version)]
pub struct ApiArguments {
    /// The flags shared by all programs.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Holdfast's worker: archives the booking log from Redis in MongoDB
///
/// MongoDB decides every sale, and the worker settles the outcome in Redis: only then is a booking
/// CONFIRMED. The worker also releases overdue holds and confirmations, parks log entries that cannot
/// be stored, and trims archived entries.
///
/// Run one or more. They share the work; after worker_reclaim_idle_ms the others take over the entries
/// of a worker that crashed or hangs. Each needs a unique name (HOLDFAST_WORKER_CONSUMER; host name and
/// port if not set) that is the same after a restart, and its own port (HOLDFAST_WORKER_LISTEN) for
/// /metrics, /health/live and /health/ready.
///
/// Settings come from the file named by --config and, with precedence, from HOLDFAST_* variables;
/// --print-config lists all of them. Redis, MongoDB and partitions must be set as for the API.
///
/// At its start it waits for Redis and MongoDB (start_wait_seconds).
///
/// SIGTERM ends it in order: reading stops, batches in progress finish. A second signal ends it at
/// once, also without loss: entries that are not acknowledged are delivered again. SIGHUP reads the
/// settings again, as `holdfastctl reload` does for all processes.
#[derive(Parser)]
#[command(name = "holdfast-worker", version)]
pub struct WorkerArguments {
    /// The flags shared by all programs.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// The command lines of both, for their manual pages.
pub fn server_commands() -> [clap::Command; 2] {
    [ApiArguments::command(), WorkerArguments::command()]
}
