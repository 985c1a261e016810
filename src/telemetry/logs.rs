//! Log lines: one event per line, flat, without null fields.
//!
//! Every line has `timestamp`, `level`, `service`, `message` and `target`; where they apply,
//! `trace_id`, `event_id`, `user_id`, `booking_id` and `duration_ms`; further fields follow under
//! their own names. A field without a value is left out. A dedicated thread writes the lines from a
//! bounded queue: a stalled reader costs lines, never a sale.

use std::fmt;

use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::client_lines::ClientLines;
use super::panics;
use super::trace::TraceContext;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For terminals.
    Text,
}

/// Capacity of the queue of lines; further ones are dropped.
const QUEUED_LINES_MAX: usize = 64_000;

/// Flushes the queue when dropped: keep it until the process ends.
#[must_use]
pub struct LogGuard(#[expect(dead_code, reason = "held for its Drop")] WorkerGuard);

/// Writes this process's log lines to standard output, including panics.
///
/// # Errors
/// If `level` is not a valid filter, or another subscriber is installed.
pub fn init(
    service: &'static str,
    format: LogFormat,
    level: &str,
) -> Result<LogGuard, Box<dyn std::error::Error + Send + Sync>> {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUED_LINES_MAX)
        .finish(std::io::stdout());
    let lines =
        tracing_subscriber::fmt::layer().with_writer(writer).event_format(Line { service, format });
    tracing_subscriber::registry()
        .with(super::log_filter::layer(level)?)
        .with(ClientLines)
        .with(lines)
        .try_init()?;
    panics::watch();
    Ok(LogGuard(guard))
}

/// Formats why a process failed to start or to go on, as the last line on standard error: a line of
/// the log in JSON, `SERVICE: REASON` as text.
pub fn failure_line(service: &'static str, format: LogFormat, reason: &str) -> String {
    match format {
        LogFormat::Text => format!("{service}: {reason}\n"),
        LogFormat::Json => {
            let fields = Fields { message: reason.into(), ..Fields::default() };
            json_line(service, tracing::Level::ERROR, module_path!(), &fields)
                .unwrap_or_else(|_| format!("{service}: {reason}\n"))
        }
    }
}

/// Formats events as lines.
struct Line {
    service: &'static str,
    format: LogFormat,
}

/// The fields of one event: the well-known ones by name, the others in order.
#[derive(Default)]
struct Fields {
    trace_id: Value,
    event_id: Value,
    user_id: Value,
    booking_id: Value,
    message: Value,
    duration_ms: Value,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match field.name() {
            "trace_id" => self.trace_id = value,
            "event_id" => self.event_id = value,
            "user_id" => self.user_id = value,
            "booking_id" => self.booking_id = value,
            "message" => self.message = value,
            "duration_ms" => self.duration_ms = value,
            // Metadata of the bridge from the `log` crate.
            name if name.starts_with("log.") => {}
            name => self.others.push((name, value)),
        }
    }

    /// Those with a value, in the order of a line.
    fn present(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        let known = [
            ("trace_id", &self.trace_id),
            ("event_id", &self.event_id),
            ("user_id", &self.user_id),
            ("booking_id", &self.booking_id),
            ("message", &self.message),
            ("duration_ms", &self.duration_ms),
        ];
        let others = self.others.iter().map(|(name, value)| (*name, value));
        known.into_iter().chain(others).filter(|(_, value)| !value.is_null())
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::String(format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if fields.trace_id.is_null()
            && let Some(context) = TraceContext::current()
        {
            fields.trace_id = context.trace_id().to_string().into();
        }
        let level = event.metadata().level();
        let target = event.metadata().target();
        match self.format {
            LogFormat::Json => writer.write_str(&json_line(self.service, *level, target, &fields)?),
            LogFormat::Text => write_text(writer, level, &fields),
        }
    }
}

/// One event as a line of JSON.
fn json_line(
    service: &str,
    level: tracing::Level,
    target: &str,
    fields: &Fields,
) -> Result<String, fmt::Error> {
    let mut buffer = Vec::with_capacity(512);
    let mut serializer = serde_json::Serializer::new(&mut buffer);
    let mut line = || -> Result<(), serde_json::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("timestamp", &now())?;
        map.serialize_entry("level", &level.as_str().to_ascii_lowercase())?;
        map.serialize_entry("service", service)?;
        for (name, value) in fields.present() {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("target", target)?;
        map.end()
    };
    line().map_err(|_| fmt::Error)?;
    buffer.push(b'\n');
    // serde_json writes UTF-8 only.
    String::from_utf8(buffer).map_err(|_| fmt::Error)
}

fn write_text(mut writer: Writer<'_>, level: &tracing::Level, fields: &Fields) -> fmt::Result {
    write!(writer, "{} {level:>5} ", now())?;
    match &fields.message {
        Value::String(text) => write!(writer, "{}", text.escape_debug())?,
        other => write!(writer, "{other}")?,
    }
    // The trace comes last: it is long, and the same on many lines.
    let rest = fields.present().filter(|(name, _)| !matches!(*name, "message" | "trace_id"));
    let trace = fields.present().filter(|(name, _)| *name == "trace_id");
    for (name, value) in rest.chain(trace) {
        write!(writer, " {name}={value}")?;
    }
    writeln!(writer)
}

fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(Line { service: "holdfast-api", format })
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_line_is_flat_without_nulls() {
        let text = logged(LogFormat::Json, || {
            let none = None::<u64>;
            tracing::info!(
                event_id = 7,
                user_id = "a\"b",
                duration_ms = 1.5,
                extra = 1,
                none,
                "held"
            );
        });
        let line: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
        let names: Vec<&str> = line.keys().map(String::as_str).collect();
        let expected =
            ["timestamp", "level", "service", "event_id", "user_id", "message", "duration_ms"];
        assert!(expected.iter().all(|name| names.contains(name)), "{names:?}");
        assert_eq!(names.len(), expected.len() + ["extra", "target"].len(), "{names:?}");
        assert_eq!(line["level"], "info");
        assert_eq!(line["message"], "held");
        assert_eq!((&line["event_id"], &line["user_id"]), (&7.into(), &"a\"b".into()));
        assert_eq!((&line["duration_ms"], &line["extra"]), (&1.5.into(), &1.into()));
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn failure_is_one_line_in_the_format() {
        let text = failure_line("holdfast-api", LogFormat::Json, "no\nway");
        let line: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["level"], &line["message"]), (&"error".into(), &"no\nway".into()));
        assert_eq!((&line["service"], text.lines().count()), (&"holdfast-api".into(), 1));
        let text = failure_line("holdfast-api", LogFormat::Text, "no way");
        assert_eq!(text, "holdfast-api: no way\n");
    }

    #[test]
    fn text_line_escapes_newlines() {
        let text = logged(LogFormat::Text, || tracing::warn!(user_id = "x\ny", "a\nb"));
        assert_eq!(text.lines().count(), 1);
        assert!(text.contains(r#" WARN a\nb user_id="x\ny""#), "{text}");
    }

    #[tokio::test]
    async fn line_has_the_trace_of_its_task() {
        let context = TraceContext::new_root();
        let text =
            context.scope(async { logged(LogFormat::Json, || tracing::info!("here")) }).await;
        assert!(text.contains(&context.trace_id().to_string()), "{text}");
    }
}
