//! Filters log lines of the HTTP libraries. They log at `error` what any client can cause (bytes that
//! are not HTTP, broken WebSocket frames): such a line is counted, and logged at `debug` at a bounded
//! rate. Their other lines (except `info` and `trace`) keep their level, at a bounded rate too.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::line_budget::LineBudget;

/// The filtered libraries.
const LIBRARIES: [&str; 3] = ["actix_http", "actix_server", "actix_web"];
/// Prefixes of lines that report the server's own failures.
const OWN: [&str; 6] = [
    "Response payload stream error",
    "Upgrade handler error",
    "HTTP service readiness error",
    "HTTP/1 service readiness error",
    "Initialization of",
    "Error accepting connection",
];

/// The target of lines caused by clients.
const TARGET: &str = "actix_http::client";

/// Lines per ten seconds, of each kind.
const LINES_MAX: u32 = 10;

static CAUSED: LineBudget = LineBudget::new(LINES_MAX);
static OTHERS: LineBudget = LineBudget::new(LINES_MAX);
static DETAILS: LineBudget = LineBudget::new(LINES_MAX);

/// Errors caused by clients so far, in the whole process, since logs are per process.
static TOTAL: AtomicU64 = AtomicU64::new(0);

/// The number of errors caused by clients since the process began.
pub(super) fn total() -> u64 {
    TOTAL.load(Ordering::Relaxed)
}

/// The layer that filters those lines before they are written.
pub(super) struct ClientLines;

impl<S: Subscriber> Layer<S> for ClientLines {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let target = metadata.target();
        if *metadata.level() > Level::DEBUG || target == TARGET || !is_of_library(target) {
            return true;
        }
        match *metadata.level() {
            Level::INFO => return true,
            Level::DEBUG => return DETAILS.take(Instant::now()).is_some(),
            _ => {}
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        if OWN.iter().any(|begin| text.0.starts_with(begin)) || *metadata.level() == Level::WARN {
            return OTHERS.take(Instant::now()).is_some();
        }
        TOTAL.fetch_add(1, Ordering::Relaxed);
        if tracing::enabled!(target: TARGET, Level::DEBUG)
            && let Some(unlogged_before) = CAUSED.take(Instant::now())
        {
            tracing::debug!(
                target: TARGET,
                error = text.0,
                unlogged_before,
                "a connection is closed because of an error of its client"
            );
        }
        false
    }
}

fn is_of_library(target: &str) -> bool {
    LIBRARIES.iter().any(|library| target.starts_with(library))
}

/// An event's message.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
