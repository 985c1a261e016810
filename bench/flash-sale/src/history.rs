//! The history of a run: one JSON object a line, first the run, then every call with its answer in
//! the order in which answers came, last how it ended. `README.md` documents the lines.
//!
//! All times are nanoseconds of one monotonic clock, from the sale's beginning.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::Failure;

/// Version of the format, raised by any change that an older reader would misread.
pub const FORMAT: u32 = 1;
/// Lines that wait to be written; then answers wait for the disk.
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
    /// One call and its answer.
    Call(Call),
    /// The last: who finds it has all.
    End(End),
}

/// What was run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// [`FORMAT`].
    pub format: u32,
    /// The event.
    pub event: u32,
    /// How many seats it has.
    pub total_seats: u32,
    /// How long its holds last, ms.
    pub hold_ttl_ms: u64,
    /// Whether nobody else buys from it.
    pub exclusive: bool,
    /// When time 0 was, Unix ms.
    pub began_unix_ms: u64,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Reads the seat map.
    Map,
    /// Asks for seats.
    Hold,
    /// Pays.
    Confirm,
    /// Looks at a booking.
    Look,
    /// Gives a booking up.
    Cancel,
}

/// One call and its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// Which buyer.
    pub buyer: u32,
    /// As which user.
    pub user: String,
    /// From which address.
    pub address: String,
    /// What for.
    pub operation: Operation,
    /// Idempotency key, if it has one.
    pub key: Option<String>,
    /// Which sending of the same request this is, from 0.
    pub resend: u32,
    /// When it was due.
    pub due_ns: u64,
    /// When it was sent; `null` if it never was.
    pub sent_ns: Option<u64>,
    /// When the answer was there, or was given up.
    pub answered_ns: u64,
    /// The body sent.
    pub request: Option<Value>,
    /// The booking it is about, if any.
    pub about: Option<String>,
    /// HTTP status; `null` if there was no answer.
    pub status: Option<u16>,
    /// The answer's error code, or why there is none.
    pub error: Option<String>,
    /// Whether the server said that this is an earlier answer.
    pub replayed: bool,
    /// The booking answered, if one was.
    pub booking: Option<Told>,
}

/// What an answer says about a booking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its id.
    pub id: String,
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

impl Told {
    /// Reads a booking out of an answer's body; `None` if that is none.
    pub fn read(body: &Value) -> Option<Self> {
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let seats = body["seats"].as_array()?.iter();
        let seats = seats.map(|seat| u32::try_from(seat["seat_id"].as_u64()?).ok());
        let mut seats: Vec<u32> = seats.collect::<Option<_>>()?;
        seats.sort_unstable();
        Some(Told {
            id: text("id")?,
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
    /// When the last buyer was done.
    pub ended_ns: u64,
}

/// Writes lines on a thread of its own.
#[derive(Clone)]
pub struct Writer {
    lines: mpsc::Sender<Line>,
}

/// The writing thread.
pub struct Written(JoinHandle<Result<(), Failure>>);

impl Writer {
    /// Begins a history, in place of any that is there.
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
            file.flush().map_err(|error| format!("cannot write {shown}: {error}").into())
        });
        Ok((Writer { lines }, Written(written)))
    }

    /// Writes a line. If the thread has failed, [`Written::finish`] says why.
    pub async fn write(&self, line: Line) {
        let _ = self.lines.send(line).await;
    }
}

impl Written {
    /// Waits until all is on disk: the last line, [`Line::End`], has been given to the writer.
    pub async fn finish(self) -> Result<(), Failure> {
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
            Some(Line::Run(run)) if run.format == FORMAT => Ok((reader, run)),
            Some(Line::Run(run)) => Err(reader
                .wrong(format!("format {}, and this program reads format {FORMAT}", run.format))),
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
