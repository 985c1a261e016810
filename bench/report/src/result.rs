//! The document that a run of `holdfast-flash-sale` leaves behind: everything that a report or a
//! comparison shows. Readers ignore fields that they do not know; [`FORMAT`] is raised by anything else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of the document.
pub const FORMAT: u32 = 1;

/// One run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RunResult {
    /// [`FORMAT`].
    pub format: u32,
    /// The scenario's name, or `custom`.
    pub scenario: String,
    /// What was simulated, in one sentence.
    pub title: String,
    /// The command, without secrets.
    pub command: Vec<String>,
    /// When the sale began, ISO 8601 UTC.
    pub began: String,
    /// From the sale's beginning to the last response, seconds.
    pub seconds: f64,
    /// Where it ran.
    pub machine: Machine,
    /// Whether nothing contradicts.
    pub clean: bool,
    /// The first event, for readers of one.
    pub event: u32,
    /// Number of the first event's seats.
    pub total_seats: u32,
    /// All events.
    pub events: Vec<EventResult>,
    /// Simulated buyers, bots included.
    pub buyers: u64,
    /// How many of these are bots.
    #[serde(default)]
    pub bots: u64,
    /// People by what became of them (`bought`, `went_without`, …).
    pub fates: BTreeMap<String, u64>,
    /// The same of bots, where the scenario has some.
    pub bot_fates: BTreeMap<String, u64>,
    /// People's calls by operation (`hold`, `confirm`, …).
    pub operations: BTreeMap<String, OperationResult>,
    /// The same of bots.
    #[serde(default)]
    pub bot_operations: BTreeMap<String, OperationResult>,
    /// How well the load generator kept its schedule.
    pub generator: Generator,
    /// How the sale ended.
    pub settled: Settled,
    /// The result of the checks.
    pub checked: Checked,
    /// How it went, in equal steps of time.
    pub series: Series,
    /// What happened to the deployment meanwhile.
    pub incidents: Vec<Incident>,
}

/// The machine and the deployment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// Logical processors, shared by all programs of the run.
    pub processors: u32,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Operating system and kernel.
    pub system: String,
    /// Version of the load generator.
    pub version: String,
    /// Other programs with their versions, such as `redis`: `7.0.15`.
    pub programs: BTreeMap<String, String>,
}

/// One event at the end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EventResult {
    pub id: u32,
    pub name: String,
    pub total_seats: u32,
    /// Seats sold at the end.
    pub sold_seats: u64,
    /// Seats that are still held.
    pub held_seats: u64,
    /// When no seat was free for the first time, seconds; `null`: never seen.
    pub sold_out_seconds: Option<f64>,
    /// Its calls by operation, people's and bots'; empty in a run of one event.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub operations: BTreeMap<String, OperationResult>,
}

/// One operation's figures.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OperationResult {
    pub calls: u64,
    /// By status and error code, such as `409 seats_unavailable`.
    pub outcomes: BTreeMap<String, u64>,
    /// From when the call was due.
    pub latency_ms: Latency,
    /// From when it was sent.
    pub service_ms: Latency,
}

/// Percentiles, ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// How well the load generator kept its schedule. Load that it could not send does not count for the server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Generator {
    /// Delay of calls that the generator caused.
    pub late_ms: Latency,
    /// Calls under way at most.
    pub in_flight_max: u64,
    /// Calls that waited for one of these.
    pub waited_calls: u64,
    /// The longest of these waits.
    pub waited_ms_max: f64,
}

/// The end of the sale: remaining holds and the archive's lag.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Settled {
    /// Seats that are still held, of all events.
    pub held_seats: u64,
    /// Time since the last buyer finished, seconds.
    pub seconds: f64,
    /// The archive's lag; `null` if it was not read.
    pub archive: Option<ArchiveLag>,
}

/// How far the archive was behind the booking log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ArchiveLag {
    /// At most, in log entries.
    pub behind_entries_max: u64,
    /// Reads of it that failed.
    pub looks_failed: u64,
    /// From the last response until the archive had everything; `null`: not in time.
    pub caught_up_seconds: Option<f64>,
}

/// The result of the checks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Checked {
    /// The history's file; `null` if none was written.
    pub history: Option<String>,
    /// Calls in it.
    pub calls: u64,
    /// Bookings that responses reported.
    pub bookings: u64,
    /// Bookings that responses reported as CONFIRMED.
    pub confirmed: u64,
    /// Contradictions.
    pub problems: Vec<String>,
    /// The report of `holdfastctl verify`; `null` if it was not made.
    pub verify: Option<Value>,
    /// The report of `holdfastctl reconcile`; `null` if it was not made.
    pub reconcile: Option<Value>,
}

/// How the run went.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Series {
    /// Length of a step.
    pub interval_ms: u64,
    /// Where the numbers of seats are from: `availability`, which the API was asked for once a second.
    #[serde(default)]
    pub seats_from: String,
    pub points: Vec<Point>,
}

/// One step of time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Point {
    /// Its end, seconds after the sale's beginning.
    pub seconds: f64,
    /// Latencies of people's calls that were answered in it, by operation.
    pub operations: BTreeMap<String, StepLatency>,
    /// People's calls that were answered in it, by what came of them: `granted`, `refused` (409, 403,
    /// 402, 404, 410), `limited` (429), `unavailable` (503), `failed` (no response, other 5xx), `other`.
    pub outcomes: BTreeMap<String, u64>,
    /// The same of bots.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bot_outcomes: BTreeMap<String, u64>,
    /// Latencies by event id and operation; empty in a run of one event.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub events: BTreeMap<u32, BTreeMap<String, StepLatency>>,
    /// Seats by event id, at the end of the step.
    pub seats: BTreeMap<u32, Seats>,
    /// The waiting room at the end of the step; `null` where there is none.
    pub queue: Option<Queue>,
    /// The archive's lag at the end of the step, log entries; `null` if it was not read.
    pub archive_behind_entries: Option<u64>,
}

/// Latencies of one step.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct StepLatency {
    pub calls: u64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// Seats of an event by state.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Seats {
    pub free: u64,
    pub held: u64,
    pub sold: u64,
}

/// The waiting room.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Queue {
    /// People who wait.
    pub waiting: u64,
    /// People who are inside.
    pub inside: u64,
}

/// Something that happened to the deployment, as its health or the operator's notes tell.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Incident {
    /// When it began, seconds after the sale's beginning.
    pub seconds: f64,
    /// When it ended; `null`: not seen.
    pub ended_seconds: Option<f64>,
    /// What, such as `redis unavailable`.
    pub what: String,
}
