//! Spans of log entries: how long each waited in the log, and what the worker did with it.
//!
//! An entry names the request that made its booking (`trace`, a `traceparent`), so the spans here are
//! children of that request's. A batch is one write for many entries: each recorded entry gets a span
//! of each step, with the step's times.

use std::ops::Range;

use crate::archive::StoreStep;
use crate::domain::{Entry, Kind, Partition};
use crate::telemetry::TraceContext;
use crate::telemetry::spans::{self, Span, SpanKind, SpanRecord};

const NS_PER_MS: u64 = 1_000_000;
const NS_PER_SECOND: f64 = 1e9;

/// The recorded entries of a batch, in progress until this is dropped.
#[derive(Default)]
pub(super) struct EntrySpans {
    /// By index, ascending.
    recorded: Vec<EntrySpan>,
}

struct EntrySpan {
    /// The entry's index among those of the batch that can be read.
    index: usize,
    kind: Kind,
    span: Span,
}

impl EntrySpans {
    /// Begins the spans of entries that were just read.
    pub fn begin(entries: &[(Partition, Entry)], log_of: impl Fn(Partition) -> String) -> Self {
        if !spans::is_recording() {
            return EntrySpans::default();
        }
        let recorded = entries.iter().enumerate().filter_map(|(index, (partition, entry))| {
            let trace = &entry.transition.as_ref()?.trace;
            let request = TraceContext::from_traceparent(trace).filter(TraceContext::is_sampled)?;
            let log = log_of(*partition);
            record_wait(request, entry);
            let span = process_span(request, entry, log);
            Some(EntrySpan { index, kind: entry.kind, span })
        });
        EntrySpans { recorded: recorded.collect() }
    }

    /// Records a step of storing some of the entries, which has just ended.
    pub fn stored(&self, entries: &Range<usize>, step: StoreStep, seconds: f64) {
        let concerned = |kind: Kind| match step {
            StoreStep::Ledger => true,
            // A sale's state is written with its outcome.
            StoreStep::States => kind != Kind::Sold,
            StoreStep::Claims | StoreStep::Outcomes => kind == Kind::Sold,
        };
        let those = self.recorded.iter().filter(|one| entries.contains(&one.index));
        for one in those.filter(|one| concerned(one.kind)) {
            let Some(within) = one.span.context() else { continue };
            let name = step.as_str().into();
            let (id, parent) = (within.child(), within.span_id());
            let mut record = SpanRecord::new(id, parent, name, SpanKind::Client);
            record.ended_ns = record.began_ns;
            // A step is far shorter than five centuries.
            record.began_ns -= (seconds * NS_PER_SECOND) as u64;
            record.attributes.push(("db.system.name", "mongodb".into()));
            record.attributes.push(("db.operation.batch.size", (entries.len() as i64).into()));
            spans::send(Box::new(record));
        }
    }

    /// Begins the settlement of the sale of an entry.
    pub fn settle(&self, index: usize) -> Span {
        let place = self.recorded.binary_search_by_key(&index, |one| one.index);
        let within = place.ok().and_then(|place| self.recorded[place].span.context());
        within.map_or(Span::none(), |within| Span::within(within, "settle", SpanKind::Internal))
    }
}

/// Records the time from the script's step to now. Redis' clock and this process' may differ.
fn record_wait(request: TraceContext, entry: &Entry) {
    let name = "log wait".into();
    let mut record = SpanRecord::new(request.child(), request.span_id(), name, SpanKind::Internal);
    let appended_ns = u64::try_from(entry.time_ms).unwrap_or(0) * NS_PER_MS;
    record.ended_ns = record.began_ns;
    record.began_ns = appended_ns.min(record.ended_ns);
    record.attributes.push(("messaging.message.id", entry.id.to_string().into()));
    spans::send(Box::new(record));
}

fn process_span(request: TraceContext, entry: &Entry, log: String) -> Span {
    let name = format!("process {}", entry.kind.as_str());
    let mut span = Span::within(request, name, SpanKind::Consumer);
    span.set("messaging.system", "redis");
    span.set("messaging.operation.type", "process");
    span.set("messaging.operation.name", "process");
    span.set("messaging.destination.name", log);
    span.set_text("messaging.message.id", &entry.id);
    if let Some(transition) = &entry.transition {
        span.set_text("holdfast.booking.id", &transition.booking);
        span.set("holdfast.event.id", i64::from(transition.booking.event().0));
    }
    span
}
