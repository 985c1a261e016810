//! Spans: what a request and its consequences did, when and for how long. `otlp` exports them.
//!
//! A span exists only in a recorded trace (`sampling`); elsewhere [`Span`] is empty, and creating one
//! costs a look at a flag and at the task's context. Ended spans go into a bounded queue without
//! waiting; those that find it full are counted as dropped.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;

use super::sampling::Sampler;
use super::trace::{TraceContext, scope_if};

/// Ended spans that wait for their export: a few megabytes. Further ones are dropped.
pub const QUEUED_SPANS_MAX: usize = 16_384;

/// What records spans in this process; not set: nothing does.
static RECORDER: OnceLock<Recorder> = OnceLock::new();

/// Spans of this process: taken by the collector; dropped because it did not take them; dropped because
/// the queue was full.
static EXPORTED: AtomicU64 = AtomicU64::new(0);
static NOT_TAKEN: AtomicU64 = AtomicU64::new(0);
static QUEUE_FULL: AtomicU64 = AtomicU64::new(0);

/// Counts spans that the collector took, and that it did not take.
pub fn count_exported(taken: u64, not_taken: u64) {
    EXPORTED.fetch_add(taken, Ordering::Relaxed);
    NOT_TAKEN.fetch_add(not_taken, Ordering::Relaxed);
}

/// Number of spans that the collector took.
pub(super) fn exported() -> u64 {
    EXPORTED.load(Ordering::Relaxed)
}

/// Numbers of dropped spans by reason, as the metric names it.
pub(super) fn dropped() -> [(&'static str, u64); 2] {
    [("export_failed", &NOT_TAKEN), ("queue_full", &QUEUE_FULL)]
        .map(|(reason, count)| (reason, count.load(Ordering::Relaxed)))
}

struct Recorder {
    sampler: Sampler,
    queue: mpsc::Sender<Box<SpanRecord>>,
}

/// Starts recording in this process; returns the ended spans. `None` if it records already.
pub fn start(sampler: Sampler) -> Option<mpsc::Receiver<Box<SpanRecord>>> {
    let (queue, spans) = mpsc::channel(QUEUED_SPANS_MAX);
    RECORDER.set(Recorder { sampler, queue }).ok().map(|()| spans)
}

/// The context of a request that arrived `now`: its caller's trace or a new one, recorded or not.
pub fn context_of_request(caller: Option<TraceContext>, now: Instant) -> TraceContext {
    let is_recorded =
        RECORDER.get().is_some_and(|recorder| recorder.sampler.records(caller.as_ref(), now));
    caller.map_or_else(TraceContext::new_root, TraceContext::child).sampled(is_recorded)
}

/// What a span is, for those who join the spans of several services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Work within this process.
    Internal,
    /// A request served.
    Server,
    /// A request sent.
    Client,
    /// A log entry processed.
    Consumer,
}

/// An attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// A text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

impl From<&'static str> for AttributeValue {
    fn from(text: &'static str) -> Self {
        AttributeValue::Text(Cow::Borrowed(text))
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        AttributeValue::Text(Cow::Owned(text))
    }
}

impl From<i64> for AttributeValue {
    fn from(number: i64) -> Self {
        AttributeValue::Number(number)
    }
}

/// A span that has ended, or will.
#[derive(Clone, Debug)]
pub struct SpanRecord {
    /// Its trace and its own id.
    pub context: TraceContext,
    /// The id of the span that caused it; 0 if it is the first.
    pub parent_span_id: u64,
    /// A name with few values.
    pub name: Cow<'static, str>,
    /// What it is.
    pub kind: SpanKind,
    /// When it began, Unix ns.
    pub began_ns: u64,
    /// When it ended, Unix ns.
    pub ended_ns: u64,
    /// Its attributes, by the semantic conventions of OpenTelemetry where they have one.
    pub attributes: Vec<(&'static str, AttributeValue)>,
    /// Why it failed, if it did.
    pub error: Option<Cow<'static, str>>,
    /// Another trace that it belongs to.
    pub link: Option<TraceContext>,
}

/// A span in progress, which ends when dropped; empty where nothing is recorded.
#[derive(Debug, Default)]
#[must_use]
pub struct Span(Option<Box<SpanRecord>>);

impl Span {
    /// The empty span.
    pub const fn none() -> Self {
        Span(None)
    }

    /// A span within the current one, of the current task's trace.
    pub fn child(name: &'static str, kind: SpanKind) -> Self {
        if RECORDER.get().is_none() {
            return Span(None);
        }
        TraceContext::current().map_or(Span(None), |parent| Span::within(parent, name, kind))
    }

    /// A span within another, perhaps of another process.
    pub fn within(
        parent: TraceContext,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
    ) -> Self {
        if RECORDER.get().is_none() || !parent.is_sampled() {
            return Span(None);
        }
        Span(Some(Box::new(SpanRecord::new(parent.child(), parent.span_id(), name.into(), kind))))
    }

    /// The span of a request that is served in this context, for a caller's span (0: none).
    pub fn of_request(context: TraceContext, caller_span_id: u64) -> Self {
        if !context.is_sampled() {
            return Span(None);
        }
        let record = SpanRecord::new(context, caller_span_id, Cow::Borrowed(""), SpanKind::Server);
        Span(Some(Box::new(record)))
    }

    /// Whether it is recorded: attributes that cost an allocation are worth making.
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// The record, to be completed; `None` if nothing is recorded.
    pub fn record(&mut self) -> Option<&mut SpanRecord> {
        self.0.as_deref_mut()
    }

    /// Its context, for what happens within it.
    pub fn context(&self) -> Option<TraceContext> {
        self.0.as_ref().map(|record| record.context)
    }

    /// Sets an attribute.
    pub fn set(&mut self, name: &'static str, value: impl Into<AttributeValue>) {
        if let Some(record) = &mut self.0 {
            record.attributes.push((name, value.into()));
        }
    }

    /// Sets an attribute to a value's text, which is made only if it is recorded.
    pub fn set_text(&mut self, name: &'static str, value: &dyn Display) {
        if let Some(record) = &mut self.0 {
            record.attributes.push((name, value.to_string().into()));
        }
    }

    /// Marks it as failed, for a reason with few values.
    pub fn fail(&mut self, reason: &'static str) {
        if let Some(record) = &mut self.0 {
            record.attributes.push(("error.type", reason.into()));
            record.error = Some(Cow::Borrowed(reason));
        }
    }

    /// Runs a future within this span; in the current one, where nothing is recorded.
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        scope_if(self.context(), future)
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(mut record) = self.0.take() {
            record.ended_ns = unix_now_ns();
            send(record);
        }
    }
}

impl SpanRecord {
    /// A span that begins now.
    pub fn new(
        context: TraceContext,
        parent_span_id: u64,
        name: Cow<'static, str>,
        kind: SpanKind,
    ) -> Self {
        let began_ns = unix_now_ns();
        SpanRecord {
            context,
            parent_span_id,
            name,
            kind,
            began_ns,
            ended_ns: began_ns,
            attributes: Vec::with_capacity(8),
            error: None,
            link: None,
        }
    }
}

/// Whether traces are recorded in this process.
pub fn is_recording() -> bool {
    RECORDER.get().is_some()
}

/// Records a span whose times are known.
pub fn send(record: Box<SpanRecord>) {
    let Some(recorder) = RECORDER.get() else { return };
    if recorder.queue.try_send(record).is_err() {
        QUEUE_FULL.fetch_add(1, Ordering::Relaxed);
    }
}

/// The time, Unix ns.
pub fn unix_now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
