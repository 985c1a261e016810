//! `trace`: what the booking log, the archive and log files know of one trace.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, stdin};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use super::failure::Failure;
use super::output::{CommandResult, printable};
use super::time::parse_span;
use crate::archive::LedgerEntry;
use crate::config::Config;
use crate::domain::time::iso8601;
use crate::domain::{Entry, Intent};
use crate::redis::Read;
use crate::sale::AuditEntry;
use crate::sale::trace_report::{TraceReport, TracedBooking};
use crate::start;
use crate::telemetry::TraceContext;

/// Digits of a trace's id.
const ID_DIGITS: usize = 32;
/// Lines of log files that are shown.
const LINES_MAX: usize = 10_000;
/// Bytes of a line that are read; a longer one is cut.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// The name of standard input among the files.
const STDIN: &str = "-";

/// Show what is known of one trace: log entries, bookings, payments, refunds, admin acts, log lines
///
/// The id is the `trace_id` of an error or the X-Trace-Id of any response; a whole traceparent is taken,
/// too. Searches the booking log in Redis and the archive in MongoDB within --within, and the given log
/// files (JSON or text). Traces have no index: a long time costs MongoDB a scan of that time's bookings,
/// within its usual bound, and Redis as many entries as --log-entries. "log_is_cut" says that there were
/// more.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl trace 4bf92f3577b34da6a3ce929d0e0e4736
  holdfastctl trace 4bf92f3577b34da6a3ce929d0e0e4736 --within 3d --json | jq '.bookings[].id'
  journalctl -u 'holdfast-*' -o cat | holdfastctl trace 4bf92f3577b34da6a3ce929d0e0e4736 --logs -")]
pub(super) struct Arguments {
    /// The trace's id, 32 hex digits, or a traceparent
    #[arg(value_name = "ID", value_parser = trace_id)]
    id: String,
    /// How far to look back: 2h, 7d
    #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = parse_span)]
    within: i64,
    /// How many entries of the booking log to look at
    #[arg(long, value_name = "N", default_value_t = 100_000,
          value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    log_entries: u64,
    /// Log files of the programs to search; - is standard input
    #[arg(long, value_name = "FILE", num_args = 1..)]
    logs: Vec<PathBuf>,
}

fn trace_id(text: &str) -> Result<String, String> {
    if let Some(context) = TraceContext::from_traceparent(text) {
        return Ok(context.trace_id().to_string());
    }
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    match text.len() == ID_DIGITS && text.bytes().all(is_hex) {
        true => Ok(text.to_owned()),
        false => Err("a trace id has 32 lower-case hex digits".to_owned()),
    }
}

/// What is known of a trace.
#[derive(Serialize)]
pub(super) struct TraceFacts {
    trace_id: String,
    since: String,
    log_entries: Vec<EntryFact>,
    /// Whether the booking log has more entries than were looked at.
    log_is_cut: bool,
    bookings: Vec<BookingFact>,
    refunds: Vec<RefundFact>,
    acts: Vec<ActFact>,
    log_lines: Vec<LineFact>,
    /// Whether the files have more lines of the trace.
    log_lines_are_cut: bool,
    /// How to find log lines, where no file was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    look_also: Option<String>,
}

#[derive(Serialize)]
struct EntryFact {
    partition: u16,
    log_id: String,
    at: Option<String>,
    kind: Option<&'static str>,
    booking: Option<String>,
    /// The span of the request that made the booking.
    traceparent: Option<String>,
    /// Why the entry cannot be read.
    unreadable: Option<String>,
}

#[derive(Serialize)]
struct BookingFact {
    id: String,
    event: u32,
    user: String,
    status: &'static str,
    outcome: Option<&'static str>,
    traceparent: String,
    history: Vec<HistoryFact>,
    payment: Option<PaymentFact>,
}

#[derive(Serialize)]
struct HistoryFact {
    at: String,
    kind: String,
    status: String,
    log_id: String,
}

#[derive(Serialize)]
struct PaymentFact {
    id: String,
    state: &'static str,
    attempt: u32,
    amount: i64,
    currency: String,
    refunded: i64,
    /// The trace of the request that caused the refund, if any did.
    refund_traceparent: Option<String>,
}

#[derive(Serialize)]
struct RefundFact {
    booking: String,
    payment: PaymentFact,
}

#[derive(Serialize)]
struct ActFact {
    at: String,
    who: String,
    act: String,
    target: String,
    result: Option<String>,
}

#[derive(Serialize)]
struct LineFact {
    file: String,
    /// The line's fields; of a line that is no JSON its text in `line`.
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<TraceFacts, Failure> {
        let mut lines = LogLines { id: &self.id, found: Vec::new(), is_cut: false };
        self.logs.iter().try_for_each(|path| lines.search(path))?;
        let LogLines { found, is_cut, .. } = lines;
        let engine = start::existing_engine(config).await?;
        let archive = start::existing_archive(config).await?;
        let since_ms = jiff::Timestamp::now().as_millisecond() - self.within;
        let (id, entries) = (&self.id, self.log_entries);
        let report = TraceReport::collect(&engine, &archive, id, since_ms, entries).await?;
        let look_also = self.logs.is_empty().then(|| {
            format!(
                "log lines: grep {id} in the logs of every holdfast-api and holdfast-worker, or give \
                 the files with --logs (refusals are logged at debug)"
            )
        });
        Ok(TraceFacts {
            since: iso8601(since_ms),
            log_entries: report.entries.into_iter().map(EntryFact::of).collect(),
            log_is_cut: report.log_is_cut,
            bookings: report.bookings.into_iter().map(BookingFact::of).collect(),
            refunds: report.refunds.into_iter().map(RefundFact::of).collect(),
            acts: report.acts.into_iter().map(ActFact::of).collect(),
            log_lines: found,
            log_lines_are_cut: is_cut,
            look_also,
            trace_id: self.id,
        })
    }
}

/// The lines of log files that name a trace.
struct LogLines<'a> {
    id: &'a str,
    found: Vec<LineFact>,
    is_cut: bool,
}

impl LogLines<'_> {
    fn search(&mut self, path: &Path) -> Result<(), Failure> {
        let unreadable = |error: std::io::Error| {
            Failure::new(format!("cannot read {}: {error}", path.display()))
        };
        let mut reader: Box<dyn BufRead> = match path == Path::new(STDIN) {
            true => Box::new(stdin().lock()),
            false => Box::new(BufReader::new(File::open(path).map_err(unreadable)?)),
        };
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            if read.map_err(unreadable)? == 0 {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&line);
            if !text.contains(self.id) {
                continue;
            }
            if self.found.len() == LINES_MAX {
                self.is_cut = true;
                return Ok(());
            }
            self.found.push(LineFact::of(path, text.trim_end()));
        }
    }
}

impl LineFact {
    fn of(path: &Path, text: &str) -> Self {
        let fields = serde_json::from_str(text)
            .unwrap_or_else(|_| Map::from_iter([("line".to_owned(), Value::from(text))]));
        LineFact { file: path.display().to_string(), fields }
    }

    fn text(&self) -> String {
        let field = |name: &str| self.fields.get(name).and_then(Value::as_str);
        let line = match (field("timestamp"), field("message")) {
            (Some(at), Some(message)) => {
                let service = field("service").unwrap_or_default();
                format!("{at} {service} {} {message}", field("level").unwrap_or_default())
            }
            _ => field("line")
                .map_or_else(|| Value::from(self.fields.clone()).to_string(), str::to_owned),
        };
        format!("{}: {line}", self.file)
    }
}

impl EntryFact {
    fn of(read: Read) -> Self {
        let (partition, log_id) = (read.partition.0, read.id.to_string());
        match read.entry {
            Ok(Entry { kind, time_ms, transition, .. }) => EntryFact {
                partition,
                log_id,
                at: Some(iso8601(time_ms)),
                kind: Some(kind.as_str()),
                booking: transition.as_ref().map(|one| one.booking.to_string()),
                traceparent: transition.map(|one| one.trace),
                unreadable: None,
            },
            Err(error) => EntryFact {
                partition,
                log_id,
                at: None,
                kind: None,
                booking: None,
                traceparent: None,
                unreadable: Some(error.to_string()),
            },
        }
    }
}

impl BookingFact {
    fn of(traced: TracedBooking) -> Self {
        let TracedBooking { archived, history, intent } = traced;
        BookingFact {
            id: archived.booking.id.to_string(),
            event: archived.booking.id.event().0,
            user: archived.booking.user.as_str().to_owned(),
            status: archived.booking.status.as_str(),
            outcome: archived.outcome.map(|outcome| outcome.as_str()),
            traceparent: archived.booking.trace,
            history: history.into_iter().map(HistoryFact::of).collect(),
            payment: intent.map(PaymentFact::of),
        }
    }
}

impl HistoryFact {
    fn of(entry: LedgerEntry) -> Self {
        let LedgerEntry { time_ms, kind, status, log_id, .. } = entry;
        HistoryFact { at: iso8601(time_ms), kind, status, log_id }
    }
}

impl PaymentFact {
    fn of(intent: Intent) -> Self {
        PaymentFact {
            id: intent.payment,
            state: intent.state.as_str(),
            attempt: intent.attempt,
            amount: intent.amount,
            currency: intent.currency,
            refunded: intent.refunded,
            refund_traceparent: Some(intent.refund_trace).filter(|trace| !trace.is_empty()),
        }
    }
}

impl RefundFact {
    fn of(intent: Intent) -> Self {
        RefundFact { booking: intent.booking.to_string(), payment: PaymentFact::of(intent) }
    }
}

impl ActFact {
    fn of(act: AuditEntry) -> Self {
        let AuditEntry { at_ms, who, act, target, result, .. } = act;
        ActFact { at: iso8601(at_ms), who, act, target, result }
    }
}

impl CommandResult for TraceFacts {
    fn text(&self) -> String {
        let mut lines = vec![format!("trace {} since {}", self.trace_id, self.since)];
        for one in &self.log_entries {
            let what = one.kind.map_or_else(
                || format!("unreadable: {}", one.unreadable.as_deref().unwrap_or_default()),
                |kind| format!("{kind} {}", one.booking.as_deref().unwrap_or_default()),
            );
            let at = one.at.as_deref().unwrap_or("-");
            lines.push(format!("log entry   {at} {}/{} {what}", one.partition, one.log_id));
        }
        for one in &self.bookings {
            let outcome = one.outcome.map_or(String::new(), |outcome| format!(", {outcome}"));
            let BookingFact { id, event, user, status, .. } = one;
            lines.push(format!("booking     {id} event {event} user {user} {status}{outcome}"));
            for HistoryFact { at, kind, status, log_id } in &one.history {
                lines.push(format!("  archived  {at} {log_id} {kind} {status}"));
            }
            lines.extend(
                one.payment.iter().map(|payment| format!("  payment   {}", payment.text())),
            );
        }
        for RefundFact { booking, payment } in &self.refunds {
            lines.push(format!("refund      of {booking}: {}", payment.text()));
        }
        for ActFact { at, who, act, target, result } in &self.acts {
            let result = result.as_deref().unwrap_or("no result");
            lines.push(format!("admin act   {at} {who} {act} {target}: {result}"));
        }
        lines.extend(self.log_lines.iter().map(LineFact::text));
        if self.log_is_cut {
            lines.push("The booking log has more entries: raise --log-entries".to_owned());
        }
        if self.log_lines_are_cut {
            lines.push(format!("The files have more than {LINES_MAX} lines of it"));
        }
        lines.extend(self.look_also.clone());
        lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n")
    }
}

impl PaymentFact {
    fn text(&self) -> String {
        let PaymentFact { id, state, attempt, amount, currency, refunded, .. } = self;
        format!(
            "{id} {state}, attempt {attempt}, {amount} {currency} minor units, {refunded} refunded"
        )
    }
}
