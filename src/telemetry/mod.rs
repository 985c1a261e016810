//! What a process tells about itself: log lines, traces, metrics.

pub mod logs;
pub mod metrics;
mod panics;
pub mod trace;

pub use metrics::Metrics;
pub use trace::TraceContext;
