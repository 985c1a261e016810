//! Exports spans by OTLP over HTTP (protobuf) to a collector, in batches, by a task of its own.
//!
//! Nothing waits for the collector: a batch that it does not take is dropped, spans that find the queue
//! full are dropped, and both are counted.

mod collector;
mod encoding;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::backoff::Backoff;
use crate::lifecycle::{Shutdown, Supervisor, Trigger, shutdown_channel};
use crate::telemetry::sampling::Sampler;
use crate::telemetry::spans::{self, SpanRecord};
use crate::telemetry::warn_repeated;

use collector::Collector;
pub use collector::OtlpUnusable;

/// How often the queue is emptied.
const EXPORT_INTERVAL: Duration = Duration::from_millis(500);
/// Spans of one request.
const BATCH_SPANS_MAX: usize = 1_024;
/// Longest pause after a failure, during which the queue fills.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Bound of the last export, when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Where spans go, and which.
#[derive(Clone, Debug)]
pub struct OtlpSettings {
    /// The collector's address, `http://host:4318`; without a path, `/v1/traces` is appended.
    pub url: String,
    /// Name and password for the collector, if it wants any.
    pub credentials: Option<(String, String)>,
    /// The program's name.
    pub service: &'static str,
    /// Which traces are recorded.
    pub per_million: u32,
    /// How many a second callers may choose themselves.
    pub caller_per_second: u32,
}

/// The export of this process' spans. Ends when dropped; [`Export::finish`] sends the last ones.
#[derive(Debug, Default)]
pub struct Export(Option<(Trigger, JoinHandle<()>)>);

impl Export {
    /// Starts recording and exporting. A process that exports already goes on as before.
    ///
    /// # Errors
    /// If the address or the credentials cannot be sent in a request.
    pub fn start(settings: OtlpSettings, supervisor: &Supervisor) -> Result<Self, OtlpUnusable> {
        let collector = Collector::new(&settings)?;
        let sampler = Sampler::new(settings.per_million, settings.caller_per_second);
        let Some(spans) = spans::start(sampler) else { return Ok(Export(None)) };
        let exporter = Arc::new(Exporter {
            collector,
            resource: encoding::resource(settings.service),
            spans: Mutex::new(spans),
        });
        let (trigger, shutdown) = shutdown_channel();
        let run = move || exporter.clone().run(shutdown.clone());
        let task = tokio::spawn(supervisor.until_done("trace_export", run));
        Ok(Export(Some((trigger, task))))
    }

    /// Sends what has been recorded so far, within a bound, and ends the export.
    pub async fn finish(self) {
        let Some((trigger, task)) = self.0 else { return };
        trigger.request();
        // A little more than the task's own bound.
        if timeout(FLUSH_TIMEOUT * 2, task).await.is_err() {
            tracing::warn!("the last spans were not exported in time");
        }
    }
}

struct Exporter {
    collector: Collector,
    resource: Resource,
    spans: Mutex<mpsc::Receiver<Box<SpanRecord>>>,
}

impl Exporter {
    async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let mut backoff = Backoff::new(EXPORT_INTERVAL, PAUSE_MAX);
        let mut pause = EXPORT_INTERVAL;
        while shutdown.sleep_or_shutdown(pause).await {
            pause = match self.export_queued().await {
                true => {
                    backoff = Backoff::new(EXPORT_INTERVAL, PAUSE_MAX);
                    EXPORT_INTERVAL
                }
                false => backoff.pause(),
            };
        }
        let _ = timeout(FLUSH_TIMEOUT, self.export_queued()).await;
    }

    /// Exports what is in the queue; returns whether the collector took all of it.
    async fn export_queued(&self) -> bool {
        let mut spans = self.spans.lock().await;
        // Bounded: what is recorded meanwhile is left for the next round.
        for _ in 0..spans::QUEUED_SPANS_MAX.div_ceil(BATCH_SPANS_MAX) {
            let mut batch = Vec::new();
            while batch.len() < BATCH_SPANS_MAX
                && let Ok(record) = spans.try_recv()
            {
                batch.push(encoding::span(*record));
            }
            if batch.is_empty() {
                return true;
            }
            let count = batch.len() as u64;
            match self.collector.send(encoding::request(&self.resource, batch)).await {
                Ok(rejected) => {
                    let rejected = rejected.min(count);
                    spans::count_exported(count - rejected, rejected);
                }
                Err(error) => {
                    spans::count_exported(0, count);
                    warn_repeated!(
                        error,
                        spans = count,
                        "exporting traces failed: spans are dropped"
                    );
                    return false;
                }
            }
        }
        true
    }
}
