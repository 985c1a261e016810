//! Log lines: one event per line, flat, always with the same nine fields.
//!
//! `timestamp, level, trace_id, service, event_id, user_id, booking_id, message, duration_ms`,
//! `null` where one does not apply; further fields follow under their own names. A dedicated thread
//! writes the lines from a bounded queue: a stalled reader costs lines, never a sale.

use std::fmt;

use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
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

/// Targets that are off unless enabled by name: the server's own start messages.
const QUIET: &str = "actix_server=warn";

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
        .with(EnvFilter::try_new(format!("{QUIET},{level}"))?)
        .with(ClientLines)
        .with(lines)
        .try_init()?;
    panics::watch();
    Ok(LogGuard(guard))
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
        writer: Writer<'_>,
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
            LogFormat::Json => self.write_json(writer, level, target, &fields),
            LogFormat::Text => write_text(writer, level, &fields),
        }
    }
}

impl Line {
    fn write_json(
        &self,
        mut writer: Writer<'_>,
        level: &tracing::Level,
        target: &str,
        fields: &Fields,
    ) -> fmt::Result {
        let mut buffer = Vec::with_capacity(512);
        let mut serializer = serde_json::Serializer::new(&mut buffer);
        let mut line = || -> Result<(), serde_json::Error> {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_entry("timestamp", &now())?;
            map.serialize_entry("level", &level.as_str().to_ascii_lowercase())?;
            map.serialize_entry("trace_id", &fields.trace_id)?;
            map.serialize_entry("service", self.service)?;
            map.serialize_entry("event_id", &fields.event_id)?;
            map.serialize_entry("user_id", &fields.user_id)?;
            map.serialize_entry("booking_id", &fields.booking_id)?;
            map.serialize_entry("message", &fields.message)?;
            map.serialize_entry("duration_ms", &fields.duration_ms)?;
            for (name, value) in &fields.others {
                map.serialize_entry(name, value)?;
            }
            map.serialize_entry("target", target)?;
            map.end()
        };
        line().map_err(|_| fmt::Error)?;
        // serde_json writes UTF-8 only.
        writer.write_str(std::str::from_utf8(&buffer).map_err(|_| fmt::Error)?)?;
        writer.write_char('\n')
    }
}

fn write_text(mut writer: Writer<'_>, level: &tracing::Level, fields: &Fields) -> fmt::Result {
    write!(writer, "{} {level:>5} ", now())?;
    match &fields.message {
        Value::String(text) => write!(writer, "{}", text.escape_debug())?,
        other => write!(writer, "{other}")?,
    }
    let known = [
        ("event_id", &fields.event_id),
        ("user_id", &fields.user_id),
        ("booking_id", &fields.booking_id),
        ("duration_ms", &fields.duration_ms),
    ];
    let others = fields.others.iter().map(|(name, value)| (*name, value));
    let trace = std::iter::once(("trace_id", &fields.trace_id));
    for (name, value) in known.into_iter().chain(others).chain(trace) {
        if !value.is_null() {
            write!(writer, " {name}={value}")?;
        }
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
    fn json_line_is_flat_with_nine_fields() {
        let text = logged(LogFormat::Json, || {
            tracing::info!(event_id = 7, user_id = "a\"b", duration_ms = 1.5, extra = 1, "held");
        });
        let line: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
        for name in ["timestamp", "level", "trace_id", "service", "event_id", "user_id"] {
            assert!(line.contains_key(name), "{name}");
        }
        assert_eq!(line["level"], "info");
        assert_eq!(line["message"], "held");
        assert_eq!((&line["event_id"], &line["user_id"]), (&7.into(), &"a\"b".into()));
        assert_eq!((&line["duration_ms"], &line["extra"]), (&1.5.into(), &1.into()));
        assert_eq!((&line["trace_id"], &line["booking_id"]), (&Value::Null, &Value::Null));
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
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
