//! `top`: the whole deployment in a terminal, refreshed every second.

mod frame;
mod screen;

use std::collections::HashMap;
use std::io::{IsTerminal, stdout};
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::config::Config;
use crate::domain::{EventId, Floors, Method};
use crate::redis::Engine;
use crate::sale::control::{ControlStore, ProcessRecord};
use crate::sale::{Pace, pace};

use super::failure::Failure;
use super::output::Output;
use super::status::{Status, StatusReader};
use screen::{Key, Screen};

/// Columns and lines where standard output is no terminal.
const PLAIN: (u16, u16) = (100, 50);

/// Watch the deployment live in a terminal
///
/// Every event on sale with its seats, takings and pace (holds granted and requests refused per second,
/// over all API processes, as of the last five seconds), its waiting room; the booking log, Redis,
/// MongoDB, workers and API processes; and what needs attention. `q` ends it, the space bar pauses it.
/// Where standard output is no terminal, or with --once or --json, it prints one frame.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl top
  holdfastctl top --events 30 --interval 5
  holdfastctl top --json | jq .pace")]
pub(super) struct Arguments {
    /// How many events on sale to show, newest first
    #[arg(long, value_name = "N", default_value_t = 12,
          value_parser = clap::value_parser!(u32).range(1..=100))]
    events: u32,
    /// Time between two frames
    #[arg(long, value_name = "SECONDS", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..=60))]
    interval: u64,
    /// Print one frame and end
    #[arg(long)]
    once: bool,
}

/// What one frame shows.
#[derive(Serialize)]
struct Frame {
    at: String,
    #[serde(flatten)]
    status: Status,
    /// The pace and the waiting room of each event that is shown, by its id.
    pace: HashMap<u32, EventPace>,
    /// The running API and worker processes; absent while MongoDB is unavailable.
    processes: Option<Vec<ProcessLine>>,
}

/// How an event's sale goes.
#[derive(Clone, Copy, Default, Serialize)]
struct EventPace {
    holds_per_second: f64,
    refusals_per_second: f64,
    /// Whether its waiting room is on.
    has_room: bool,
    queue: u64,
    sessions: u32,
}

#[derive(Serialize)]
struct ProcessLine {
    name: String,
    version: String,
    uptime_seconds: f64,
    log_level: String,
    /// Until when it logs otherwise than its settings say.
    log_level_until_ms: Option<i64>,
    /// Circuit breakers that are not closed.
    breakers: Vec<String>,
    /// Whether it refused the last reload.
    has_refused_reload: bool,
}

impl Arguments {
    pub(super) async fn run(self, config: &Config, output: &Output) -> Result<ExitCode, Failure> {
        let mut reader = StatusReader::new(config, self.events).with_takings();
        if output.json {
            return output.text(&serde_json::to_string_pretty(&Frame::read(&mut reader).await?)?);
        }
        if self.once || !stdout().is_terminal() {
            return output.text(&Frame::read(&mut reader).await?.text(PLAIN.0, PLAIN.1));
        }
        let mut screen = Screen::open()?;
        let mut is_paused = false;
        let mut frame = Frame::read(&mut reader).await?;
        loop {
            screen.show(|columns, lines| frame.text(columns, lines), is_paused)?;
            match screen.key_within(Duration::from_secs(self.interval)).await {
                Some(Key::Quit) => return Ok(ExitCode::SUCCESS),
                Some(Key::Pause) => is_paused = !is_paused,
                None if is_paused => {}
                None => frame = Frame::read(&mut reader).await?,
            }
        }
    }
}

impl Frame {
    async fn read(reader: &mut StatusReader<'_>) -> Result<Self, Failure> {
        let status = reader.read().await?;
        let mut paces = HashMap::new();
        if let Some(engine) = reader.engine() {
            for event in status.events_on_sale() {
                // What Redis does not answer shows as nothing; `status` says why.
                let pace = EventPace::read(engine, EventId(event.id)).await.unwrap_or_default();
                paces.insert(event.id, pace);
            }
        }
        let processes = match reader.archive() {
            Some(archive) => ControlStore::new(archive.clone()).running().await.ok(),
            None => None,
        };
        let now = jiff::Timestamp::now();
        let lines = |records: Vec<ProcessRecord>| {
            records.into_iter().map(|one| ProcessLine::of(one, now.as_millisecond())).collect()
        };
        let at = crate::domain::time::iso8601(now.as_millisecond());
        Ok(Frame { at, status, pace: paces, processes: processes.map(lines) })
    }
}

impl EventPace {
    async fn read(engine: &Engine, event: EventId) -> Result<Self, Failure> {
        let (pace, room) =
            tokio::join!(pace(engine, event), engine.room_look(event, 0, 0, Floors::default()));
        let Pace { holds_per_second, refusals_per_second } = pace?;
        let room = room?;
        Ok(EventPace {
            holds_per_second,
            refusals_per_second,
            has_room: room.method.is_some_and(|method| method != Method::Passthrough),
            queue: room.queue_size(),
            sessions: room.live,
        })
    }
}

impl ProcessLine {
    fn of(record: ProcessRecord, now_ms: i64) -> Self {
        ProcessLine {
            name: record.name,
            version: record.version,
            uptime_seconds: (now_ms - record.started_ms) as f64 / 1_000.0,
            log_level: record.log_level,
            log_level_until_ms: record.log_level_until_ms,
            breakers: record.breakers,
            has_refused_reload: record.reload.is_some_and(|answer| !answer.is_done),
        }
    }
}
