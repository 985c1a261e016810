//! Telemetry of a process: log lines, traces, metrics.

mod client_lines;
pub mod line_budget;
pub mod log_filter;
pub mod logs;
mod metric_kinds;
pub mod metrics;
mod panics;
pub mod repeated;
pub mod sampling;
pub mod spans;
pub mod striped;
pub mod trace;

pub use logs::LogFormat;
pub use metrics::Metrics;
pub(crate) use repeated::warn_repeated;
pub use trace::{TraceContext, TraceState};
