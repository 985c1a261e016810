//! Trace context (W3C Trace Context, level 1): the request on whose behalf code runs.
//!
//! The context of a request is task-local, so log lines in any function below find it; it costs
//! nothing where nothing is logged.

use std::fmt;

use data_encoding::HEXLOWER;
use tokio::task::JoinHandle;
use tokio::task::futures::TaskLocalFuture;

/// The only version of `traceparent`.
const VERSION: &str = "00";

/// A trace and this process's span in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

/// A trace's id: 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(u128);

/// Number of digits of a trace's id.
const TRACE_ID_DIGITS: usize = 32;

/// A trace's id as text. Every response has it, so it is created without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct TraceIdText([u8; TRACE_ID_DIGITS]);

impl TraceIdText {
    /// The digits.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The digits as text.
    pub fn as_str(&self) -> &str {
        // Hex digits are always text.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl TraceId {
    /// Formats the id.
    pub fn text(self) -> TraceIdText {
        let mut digits = [0; TRACE_ID_DIGITS];
        HEXLOWER.encode_mut(&self.0.to_be_bytes(), &mut digits);
        TraceIdText(digits)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

tokio::task_local! {
    static CURRENT: TraceContext;
}

impl TraceContext {
    /// Creates a new trace.
    pub fn new_root() -> Self {
        // Zero is not a valid id.
        let trace_id = rand::random::<u128>().max(1);
        TraceContext { trace_id, span_id: rand::random::<u64>().max(1), flags: 0 }
    }

    /// Creates a span in the caller's trace; `None` if the header's text is invalid.
    pub fn from_traceparent(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, parent, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let known = version == VERSION && parts.next().is_none();
        if !known || trace.len() != 32 || parent.len() != 16 || flags.len() != 2 {
            return None;
        }
        let trace_id = u128::from_str_radix(lower_hex(trace)?, 16).ok().filter(|id| *id != 0)?;
        u64::from_str_radix(lower_hex(parent)?, 16).ok().filter(|id| *id != 0)?;
        let flags = u8::from_str_radix(lower_hex(flags)?, 16).ok()?;
        Some(TraceContext { trace_id, span_id: rand::random::<u64>().max(1), flags })
    }

    /// The trace's id.
    pub fn trace_id(&self) -> TraceId {
        TraceId(self.trace_id)
    }

    /// Formats the header that propagates this context.
    pub fn traceparent(&self) -> String {
        format!("{VERSION}-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }

    /// The context of the current task, if any.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|context| *context).ok()
    }

    /// Runs a closure under this context.
    pub fn scope_now<R>(self, work: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self, work)
    }

    /// Runs a future under this context.
    pub fn scope<F: Future>(self, future: F) -> TaskLocalFuture<TraceContext, F> {
        CURRENT.scope(self, future)
    }
}

/// Spawns a task for the same request: its log lines have the spawner's trace.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match TraceContext::current() {
        Some(context) => tokio::spawn(context.scope(future)),
        None => tokio::spawn(future),
    }
}

/// Returns the text if it is all lower-case hex (`from_str_radix` would accept a sign as well).
fn lower_hex(text: &str) -> Option<&str> {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.bytes().all(hex).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_of_the_client_is_continued() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = TraceContext::from_traceparent(header).unwrap();
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let handed_on = context.traceparent();
        assert!(handed_on.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert!(handed_on.ends_with("-01") && handed_on != header);
    }

    #[test]
    fn malformed_headers_are_ignored() {
        for bad in [
            "",
            "x",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(TraceContext::from_traceparent(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn context_follows_the_task() {
        assert_eq!(TraceContext::current(), None);
        let context = TraceContext::new_root();
        let seen = context.scope(async { TraceContext::current() }).await;
        assert_eq!(seen, Some(context));
        let seen = context.scope(async { spawn(async { TraceContext::current() }).await }).await;
        assert_eq!(seen.unwrap(), Some(context));
    }
}
