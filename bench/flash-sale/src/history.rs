//! The history of a run, one JSON object a line: the run, then every call with its response in the
//! order of responses, then the end. `README.md` documents the lines.
//!
//! All times are nanoseconds of one monotonic clock since the sale's beginning.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::Failure;
use crate::check::BookingReports;

/// Version of the format, raised by any change that an older reader would misread. Histories of format 1,
/// which have one event, are read as well.
pub const FORMAT: u32 = 2;
/// Most lines that wait to be written. Beyond it, buyers wait for the disk.
const LINES_WAITING_MAX: usize = 10_000;
/// Longest line that is read.
const LINE_BYTES_MAX: usize = 1 << 20;

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "nearly every line is a call")]
pub enum Line {
    /// The first.
    Run(Run),
    /// One call and its response.
    Call(Call),
    /// The last line, which shows that the history is complete.
    End(End),
}

/// The run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "RunLine")]
pub struct Run {
    /// [`FORMAT`].
    pub format: u32,
    /// What was sold.
    pub events: Vec<SoldEvent>,
    /// Whether this run is their only buyer.
    pub exclusive: bool,
    /// Time 0, Unix ms.
    pub began_unix_ms: u64,
}

/// An event of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SoldEvent {
    /// Its id.
    pub event: u32,
    /// Number of its seats.
    pub total_seats: u32,
    /// TTL of its holds, ms.
    pub hold_ttl_ms: u64,
}

/// A run's line in any format that is read.
#[derive(Deserialize)]
struct RunLine {
    format: u32,
    events: Option<Vec<SoldEvent>>,
    /// The event of format 1.
    #[serde(flatten)]
    only: Option<SoldEvent>,
    exclusive: bool,
    began_unix_ms: u64,
}

impl TryFrom<RunLine> for Run {
    type Error = String;
    fn try_from(line: RunLine) -> Result<Self, String> {
        let RunLine { format, events, only, exclusive, began_unix_ms } = line;
        let events = match (format, events, only) {
            (1, _, Some(only)) => vec![only],
            (FORMAT, Some(events), _) if !events.is_empty() => events,
            (1 | FORMAT, ..) => return Err("the run names no event".to_owned()),
            (other, ..) => {
                return Err(format!(
                    "format {other}, and this program reads formats 1 and {FORMAT}"
                ));
            }
        };
        Ok(Run { format, events, exclusive, began_unix_ms })
    }
}

/// The kind of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Operation {
    /// Reads the seat map.
    Map,
    /// Joins the waiting room.
    Join,
    /// Reads one's place in the waiting room.
    Wait,
    /// Leaves the waiting room.
    Leave,
    /// Holds seats.
    Hold,
    /// Pays a booking.
    Confirm,
    /// Reads a booking.
    Look,
    /// Cancels a booking.
    Cancel,
}

impl Operation {
    /// Every kind, in the order of tables.
    pub const ALL: [Operation; 8] = [
        Operation::Map,
        Operation::Join,
        Operation::Wait,
        Operation::Leave,
        Operation::Hold,
        Operation::Confirm,
        Operation::Look,
        Operation::Cancel,
    ];

    /// Returns its name in histories and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Map => "map",
            Operation::Join => "join",
            Operation::Wait => "wait",
            Operation::Leave => "leave",
            Operation::Hold => "hold",
            Operation::Confirm => "confirm",
            Operation::Look => "look",
            Operation::Cancel => "cancel",
        }
    }
}

/// One call and its response.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// The event. Calls of format 1 name none, which is 0: the only one of the run.
    #[serde(default)]
    pub event: u32,
    /// The buyer's number.
    pub buyer: u32,
    /// Whether the buyer is a bot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bot: bool,
    /// The user id sent.
    pub user: String,
    /// The client address sent.
    pub address: String,
    /// The kind of call.
    pub operation: Operation,
    /// Idempotency key, if it has one.
    pub key: Option<String>,
    /// How often the same request was sent before.
    pub resend: u32,
    /// When it was due.
    pub due_ns: u64,
    /// When it was sent; `null` if it never was.
    pub sent_ns: Option<u64>,
    /// When the response arrived or the call was given up.
    pub answered_ns: u64,
    /// The body sent.
    pub request: Option<Value>,
    /// The booking in the path, if any.
    pub about: Option<String>,
    /// HTTP status; `null` without a response.
    pub status: Option<u16>,
    /// The response's error code, or why there is no response.
    pub error: Option<String>,
    /// Whether the server marked the response as a replay.
    pub replayed: bool,
    /// The booking in the response, if any.
    pub booking: Option<BookingState>,
}

/// A booking as one response reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookingState {
    /// Its id.
    pub id: String,
    /// Its event, if the response names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<u32>,
    /// Its owner.
    pub user: String,
    /// Its status.
    pub status: String,
    /// Its version.
    pub version: u64,
    /// Its price.
    pub amount: i64,
    /// Its seats, ascending.
    pub seats: Vec<u32>,
}

impl BookingState {
    /// Reads a booking from a response body; `None` if the body is no booking.
    pub fn read(body: &Value) -> Option<Self> {
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let seats = body["seats"].as_array()?.iter();
        let seats = seats.map(|seat| u32::try_from(seat["seat_id"].as_u64()?).ok());
        let mut seats: Vec<u32> = seats.collect::<Option<_>>()?;
        seats.sort_unstable();
        Some(BookingState {
            id: text("id")?,
            event: body["event_id"].as_u64().and_then(|event| u32::try_from(event).ok()),
            user: text("user_id")?,
            status: text("status")?,
            version: body["version"].as_u64()?,
            amount: body["total_amount"].as_i64()?,
            seats,
        })
    }
}

/// How the run ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct End {
    /// Calls written.
    pub calls: u64,
    /// When the last buyer finished.
    pub ended_ns: u64,
}

/// Writes lines on its own thread.
#[derive(Clone)]
pub struct Writer {
    lines: mpsc::Sender<Line>,
}

/// The writing thread, which ends with the checked calls where no file is written.
pub struct Written(JoinHandle<Result<Option<BookingReports>, Failure>>);

impl Writer {
    /// Takes calls for the checks without a file. Calls that no check looks at are only counted.
    pub fn checking(run: Run) -> (Self, Written) {
        let (lines, mut waiting) = mpsc::channel::<Line>(LINES_WAITING_MAX);
        let checked = tokio::task::spawn_blocking(move || {
            let (mut reports, mut end) = (BookingReports::new(run), None);
            while let Some(line) = waiting.blocking_recv() {
                match line {
                    Line::Call(call) => reports.add(&call),
                    Line::End(last) => {
                        end = Some(last);
                        break;
                    }
                    Line::Run(_) => return Err("a history has one run".into()),
                }
            }
            reports.complete(end.as_ref()).map(Some)
        });
        (Writer { lines }, Written(checked))
    }

    /// Creates a history and replaces an existing file.
    pub fn create(path: &Path, run: Run) -> Result<(Self, Written), Failure> {
        let shown = path.display().to_string();
        let file = File::create(path).map_err(|error| format!("cannot write {shown}: {error}"))?;
        let (lines, mut waiting) = mpsc::channel::<Line>(LINES_WAITING_MAX);
        let written = tokio::task::spawn_blocking(move || {
            let mut file = BufWriter::new(file);
            write(&mut file, &Line::Run(run))?;
            while let Some(line) = waiting.blocking_recv() {
                write(&mut file, &line)?;
                if matches!(line, Line::End(_)) {
                    break;
                }
            }
            file.flush().map_err(|error| format!("cannot write {shown}: {error}"))?;
            Ok(None)
        });
        Ok((Writer { lines }, Written(written)))
    }

    /// Writes a line. If the thread has failed, [`Written::finish`] returns the error.
    pub async fn write(&self, line: Line) {
        let _ = self.lines.send(line).await;
    }
}

impl Written {
    /// Waits until all lines are on disk, or else in these reports. Requires that [`Line::End`] has been
    /// sent to the writer.
    pub async fn finish(self) -> Result<Option<BookingReports>, Failure> {
        self.0.await?
    }
}

fn write(file: &mut impl Write, line: &Line) -> Result<(), Failure> {
    serde_json::to_writer(&mut *file, line)?;
    Ok(file.write_all(b"\n")?)
}

/// Reads a history line by line.
pub struct Reader {
    lines: BufReader<File>,
    path: PathBuf,
    number: u64,
}

impl Reader {
    /// Opens a history; what was run.
    pub fn open(path: &Path) -> Result<(Self, Run), Failure> {
        let file =
            File::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let mut reader = Reader { lines: BufReader::new(file), path: path.to_owned(), number: 0 };
        match reader.next()? {
            Some(Line::Run(run)) => Ok((reader, run)),
            _ => Err(reader.wrong("a history begins with its run")),
        }
    }

    /// The next line.
    pub fn next(&mut self) -> Result<Option<Line>, Failure> {
        use std::io::Read;
        let mut text = String::new();
        let read = (&mut self.lines).take(LINE_BYTES_MAX as u64).read_line(&mut text)?;
        self.number += 1;
        if read == 0 {
            return Ok(None);
        }
        serde_json::from_str(&text).map(Some).map_err(|error| self.wrong(error))
    }

    fn wrong(&self, reason: impl std::fmt::Display) -> Failure {
        format!("{}:{}: {reason}", self.path.display(), self.number).into()
    }
}
