//! Trace context (W3C Trace Context, level 1): the request on whose behalf code runs.
//!
//! The context of a request is task-local, so log lines in any function below find it; it costs
//! nothing where nothing is logged. Whether the trace is recorded is decided in `sampling`, once.

use std::fmt;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use futures_util::future::Either;
use tokio::task::JoinHandle;
use tokio::task::futures::TaskLocalFuture;

/// The only version of `traceparent`.
const VERSION: &str = "00";
/// The flag of a recorded trace.
const SAMPLED: u8 = 1;
/// Longest `tracestate` that is passed on, bytes: what the standard asks for.
const TRACE_STATE_BYTES_MAX: usize = 512;

/// A trace and a span in it, usually the current one of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    is_sampled: bool,
}

/// A caller's `tracestate`: passed on as it came, to the services that a request calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceState(Arc<str>);

impl TraceState {
    /// The text of the header's lines; `None` if it is empty, too long, or not visible ASCII.
    pub fn of_lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut all = Vec::new();
        for line in lines {
            if !all.is_empty() {
                all.push(b',');
            }
            all.extend_from_slice(line);
            if all.len() > TRACE_STATE_BYTES_MAX {
                return None;
            }
        }
        let is_visible = |byte: &u8| matches!(byte, b' '..=b'~');
        let text =
            String::from_utf8(all).ok().filter(|text| text.as_bytes().iter().all(is_visible));
        text.filter(|text| !text.trim().is_empty()).map(|text| TraceState(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// That of the current task's request, if it has one.
    pub fn current() -> Option<Self> {
        STATE.try_with(Clone::clone).ok()
    }
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
    /// The id's bytes.
    pub fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

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
    static STATE: TraceState;
}

impl TraceContext {
    /// Creates a new trace, which is not recorded.
    pub fn new_root() -> Self {
        // Zero is not a valid id.
        let trace_id = rand::random::<u128>().max(1);
        TraceContext { trace_id, span_id: rand::random::<u64>().max(1), is_sampled: false }
    }

    /// Reads a context as its header has it, with the caller's span; `None` if the text is invalid.
    pub fn from_traceparent(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let known = version == VERSION && parts.next().is_none();
        if !known || trace.len() != TRACE_ID_DIGITS || span.len() != 16 || flags.len() != 2 {
            return None;
        }
        let trace_id = u128::from_str_radix(lower_hex(trace)?, 16).ok().filter(|id| *id != 0)?;
        let span_id = u64::from_str_radix(lower_hex(span)?, 16).ok().filter(|id| *id != 0)?;
        let flags = u8::from_str_radix(lower_hex(flags)?, 16).ok()?;
        Some(TraceContext { trace_id, span_id, is_sampled: flags & SAMPLED != 0 })
    }

    /// A new span in this trace.
    pub fn child(self) -> Self {
        TraceContext { span_id: rand::random::<u64>().max(1), ..self }
    }

    /// The same span, recorded or not.
    pub fn sampled(self, is_sampled: bool) -> Self {
        TraceContext { is_sampled, ..self }
    }

    /// The trace's id.
    pub fn trace_id(&self) -> TraceId {
        TraceId(self.trace_id)
    }

    /// The span's id.
    pub fn span_id(&self) -> u64 {
        self.span_id
    }

    /// Whether the trace is recorded.
    pub fn is_sampled(&self) -> bool {
        self.is_sampled
    }

    /// Formats the header that propagates this context.
    pub fn traceparent(&self) -> String {
        let flags = if self.is_sampled { SAMPLED } else { 0 };
        format!("{VERSION}-{:032x}-{:016x}-{flags:02x}", self.trace_id, self.span_id)
    }

    /// The context of the current task, if any.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|context| *context).ok()
    }

    /// Runs a closure under this context.
    pub fn scope_now<R>(self, work: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self, work)
    }

    /// Runs a closure under this context, with the caller's `tracestate` if it sent one.
    pub fn scope_now_with<R>(self, state: Option<&TraceState>, work: impl FnOnce() -> R) -> R {
        match state {
            None => self.scope_now(work),
            Some(state) => STATE.sync_scope(state.clone(), || self.scope_now(work)),
        }
    }

    /// Runs a future under this context.
    pub fn scope<F: Future>(self, future: F) -> TaskLocalFuture<TraceContext, F> {
        CURRENT.scope(self, future)
    }
}

/// Runs a future under a context, if there is one; else as it is.
pub fn scope_if<F: Future>(
    context: Option<TraceContext>,
    future: F,
) -> Either<TaskLocalFuture<TraceContext, F>, F> {
    match context {
        Some(context) => Either::Left(context.scope(future)),
        None => Either::Right(future),
    }
}

/// Spawns a task for the same request: its log lines have the spawner's trace.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match (TraceContext::current(), TraceState::current()) {
        (Some(context), Some(state)) => tokio::spawn(STATE.scope(state, context.scope(future))),
        (Some(context), None) => tokio::spawn(context.scope(future)),
        (None, _) => tokio::spawn(future),
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
        assert_eq!((context.span_id(), context.is_sampled()), (0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(context.traceparent(), header);
        let handed_on = context.child().sampled(false).traceparent();
        assert!(handed_on.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert!(handed_on.ends_with("-00") && !handed_on.contains("00f067aa0ba902b7"));
    }

    #[test]
    fn state_is_joined_and_bounded() {
        let state = |lines: &[&str]| {
            let lines = lines.iter().map(|line| line.as_bytes());
            TraceState::of_lines(lines).map(|state| state.as_str().to_owned())
        };
        assert_eq!(state(&["a=1", "b=2"]).as_deref(), Some("a=1,b=2"));
        let long = format!("a={}", "x".repeat(TRACE_STATE_BYTES_MAX));
        for bad in ["", " ", "a=\u{7}", "a=ü", long.as_str()] {
            assert_eq!(state(&[bad]), None, "{bad}");
        }
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

    #[tokio::test]
    async fn state_follows_the_task_into_another() {
        let lines = ["a=1".as_bytes()];
        let state = TraceState::of_lines(lines.into_iter());
        let context = TraceContext::new_root();
        let task =
            context.scope_now_with(state.as_ref(), || spawn(async { TraceState::current() }));
        assert_eq!(task.await.unwrap(), state);
        assert_eq!(TraceState::current(), None);
    }
}
