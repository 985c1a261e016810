//! What a hold, its refusal, an unchanged seat map and an archived log entry cost as a deployment grows:
//! seats and bookings of an event, events, people in a waiting room. Processor time of each process, over
//! HTTP, in alternating rounds; the smallest and the largest side by side.
//!
//! Only the waiting room is measured on Redis alone: with a room, each hold needs a session, and what grows
//! is the queue before it.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use holdfast::archive::Archive;
use holdfast::config::ConfigArgs;
use holdfast::redis::{Engine, WORKER_GROUP};
use holdfast::start;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use super::beside::{self, address};
use super::booked::{booked_event, sections};
use super::decisions::median;
use super::processes::{since, times};
use super::queue::room_of;

/// The most that a figure may grow, as a ratio.
const RATIO_TARGET: f64 = 1.1;
/// Seats of the small event, and of each large one.
const SEATS_SMALL: u32 = 100;
const SEATS_LARGE: u32 = 1_000_000;
/// Seats of the booked event that are left free, for holds.
const SEATS_FREE: u32 = 1_000;
/// Further events.
const EVENTS: u32 = 1_000;
/// Callers at once.
const CALLERS: u32 = 32;
/// How long the archive and a new event may take.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);
/// The processes whose time counts, and what the table calls them.
const PROCESSES: [(&str, &str); 3] =
    [("redis-server", "Redis"), ("holdfast-api", "API"), ("holdfast-worker", "worker")];

/// The command line's options.
#[derive(clap::Args)]
pub struct Options {
    /// Address of an API process, such as http://127.0.0.1:8000
    #[arg(long)]
    url: String,
    /// Length of one round, ms
    #[arg(long, default_value_t = 1_000)]
    round_ms: u64,
    /// Rounds of each kind
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// People in the long queue
    #[arg(long, default_value_t = 1_000_000)]
    waiting: u64,
    /// A file that is to have the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What one caller repeats.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A hold of one seat, given back.
    Hold,
    /// A hold of a seat that another user has.
    Refusal,
    /// A seat map that the client has.
    SeatMap,
}

const KINDS: [(Kind, &str); 3] = [
    (Kind::Hold, "hold and cancel"),
    (Kind::Refusal, "refused hold"),
    (Kind::SeatMap, "seat map, 304"),
];

/// An event to call upon.
#[derive(Clone, Copy)]
struct Target {
    event: u64,
    seats: u32,
}

impl Target {
    /// The seat that refused callers want: below those of the callers who hold.
    fn wanted(self) -> u32 {
        self.seats - CALLERS
    }
}

/// Processor time of one operation, µs, by kind and process.
type Figures = BTreeMap<(Kind, &'static str), Vec<f64>>;

struct Bench {
    options: Options,
    http: Client,
    engine: Engine,
    archive: Archive,
    redis_url: String,
}

/// Runs the comparison and prints it; the last line is the result as JSON.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let config = options.config.load()?;
    let bench = Bench {
        http: Client::builder().pool_max_idle_per_host(CALLERS as usize).build()?,
        engine: start::existing_engine(&config).await?,
        archive: start::existing_archive(&config).await?,
        redis_url: config.redis_url.expose().to_owned(),
        options,
    };
    let mut rows = Vec::new();
    let small = bench.create(SEATS_SMALL).await?;
    let few_events = bench.compare(&[small]).await?.remove(0);
    let large = bench.create(SEATS_LARGE).await?;
    let booked = bench.create_booked().await?;
    let by_event = bench.compare(&[small, large, booked]).await?;
    rows.extend(table("seats: 100 and 1,000,000", &by_event[0], &by_event[1]));
    rows.extend(table("bookings: none and 999,000", &by_event[1], &by_event[2]));
    let events = (0..EVENTS).map(|_| bench.create(SEATS_SMALL));
    stream::iter(events).buffer_unordered(CALLERS as usize).try_collect::<Vec<Target>>().await?;
    let many_events = bench.compare(&[small]).await?.remove(0);
    rows.extend(table("events: 1 and 1,000", &few_events, &many_events));
    rows.extend(waiting(&bench).await?);
    let json = json!({ "ratio_target": RATIO_TARGET, "rows": rows });
    if let Some(path) = &bench.options.json {
        std::fs::write(path, format!("{json:#}\n"))?;
    }
    println!("{json}");
    Ok(())
}

fn table(name: &str, small: &Figures, large: &Figures) -> Vec<Value> {
    println!("\n{name:<34} smallest, us   largest, us   ratio (at most {RATIO_TARGET})");
    let mut rows = Vec::new();
    for (kind, kind_name) in KINDS {
        for (_, process) in PROCESSES {
            let key = (kind, process);
            let (Some(small), Some(large)) = (small.get(&key), large.get(&key)) else { continue };
            let (small, large) = (median(small.clone()), median(large.clone()));
            // A process without a part in it has background work alone.
            if small.max(large) > 1.0 {
                rows.push(row(name, &format!("{kind_name}: {process}"), small, large));
            }
        }
    }
    rows
}

fn row(name: &str, what: &str, small: f64, large: f64) -> Value {
    let ratio = large / small;
    println!("  {what:<32} {small:>12.1}  {large:>12.1}  {ratio:>6.2}");
    json!({ "growth": name, "what": what, "smallest_us": small, "largest_us": large, "ratio": ratio })
}

impl Bench {
    /// Measures these events in alternating rounds; the first round warms up and is left out.
    async fn compare(&self, targets: &[Target]) -> Result<Vec<Figures>, Box<dyn Error>> {
        let mut all: Vec<Figures> = targets.iter().map(|_| Figures::new()).collect();
        for target in targets {
            self.take_wanted_seat(*target).await?;
        }
        for round in 0..=self.options.rounds {
            for (target, figures) in targets.iter().zip(&mut all) {
                for (kind, _) in KINDS {
                    let found = self.round(*target, kind).await?;
                    for (process, time) in found.into_iter().filter(|_| round > 0) {
                        figures.entry((kind, process)).or_default().push(time);
                    }
                }
            }
            eprint!("\rround {round} of {}", self.options.rounds);
        }
        eprintln!();
        Ok(all)
    }

    /// Processor time of an operation in each process, µs.
    async fn round(
        &self,
        target: Target,
        kind: Kind,
    ) -> Result<Vec<(&'static str, f64)>, Box<dyn Error>> {
        self.caught_up().await?;
        // The map itself is not measured: of a million seats it takes a quarter of a second.
        let etag = match kind {
            Kind::SeatMap => self.etag(target).await?,
            Kind::Hold | Kind::Refusal => String::new(),
        };
        let before = times()?;
        let until = Instant::now() + Duration::from_millis(self.options.round_ms);
        let callers = (0..CALLERS).map(|caller| self.caller(target, kind, caller, &etag, until));
        let operations: u32 = try_join_all(callers).await?.iter().sum();
        self.caught_up().await?;
        let used = since(&before, &times()?);
        let each =
            |name: &str| used.get(name).copied().unwrap_or_default() * 1e6 / f64::from(operations);
        Ok(PROCESSES.iter().map(|(name, shown)| (*shown, each(name))).collect())
    }

    async fn caller(
        &self,
        target: Target,
        kind: Kind,
        caller: u32,
        etag: &str,
        until: Instant,
    ) -> Result<u32, Box<dyn Error>> {
        let mut operations = 0;
        while Instant::now() < until {
            self.once(target, kind, caller, etag).await?;
            operations += 1;
        }
        Ok(operations)
    }

    async fn once(
        &self,
        target: Target,
        kind: Kind,
        caller: u32,
        etag: &str,
    ) -> Result<(), Box<dyn Error>> {
        let user = format!("caller-{caller}");
        match kind {
            Kind::Hold => {
                // A seat of the caller's own, at the end of the event.
                let seat = target.seats - caller;
                let held = self.hold(target.event, &user, seat).await?;
                let held: Value = expect(held, StatusCode::CREATED).await?.json().await?;
                let id = held["id"].as_str().ok_or("a booking without id")?;
                let cancel = self.post(&format!("/api/v1/bookings/{id}/cancel"), &user);
                expect(cancel.send().await?, StatusCode::OK).await?.bytes().await?;
            }
            Kind::Refusal => {
                let refused = self.hold(target.event, &user, target.wanted()).await?;
                expect(refused, StatusCode::CONFLICT).await?.bytes().await?;
            }
            Kind::SeatMap => {
                let known = self.map(target).header("if-none-match", etag).send().await?;
                expect(known, StatusCode::NOT_MODIFIED).await?.bytes().await?;
            }
        }
        Ok(())
    }

    /// The tag of the newest map.
    async fn etag(&self, target: Target) -> Result<String, Box<dyn Error>> {
        let response = expect(self.map(target).send().await?, StatusCode::OK).await?;
        let tag = response.headers().get("etag").ok_or("a map without an ETag")?;
        Ok(tag.to_str()?.to_owned())
    }

    fn map(&self, target: Target) -> RequestBuilder {
        let path = format!("/api/v1/events/{}/seats", target.event);
        self.http.get(format!("{}{path}", self.options.url))
    }

    fn post(&self, path: &str, user: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.options.url)).header("x-user-id", user)
    }

    async fn hold(&self, event: u64, user: &str, seat: u32) -> Result<Response, reqwest::Error> {
        let body = json!({ "event_id": event, "seat_ids": [seat] });
        self.post("/api/v1/bookings", user).json(&body).send().await
    }

    /// Has the seat taken that refused callers want, once the event is open.
    async fn take_wanted_seat(&self, target: Target) -> Result<(), Box<dyn Error>> {
        let (seat, until) = (target.wanted(), Instant::now() + PATIENCE);
        loop {
            let status = self.hold(target.event, "owner", seat).await?.status();
            match status {
                StatusCode::CREATED | StatusCode::OK | StatusCode::CONFLICT => return Ok(()),
                _ if Instant::now() > until => {
                    return Err(format!("event {} answers {status}", target.event).into());
                }
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Waits until the archive has everything.
    async fn caught_up(&self) -> Result<(), Box<dyn Error>> {
        let until = Instant::now() + PATIENCE;
        for partition in self.engine.keys().all_partitions() {
            while !self.engine.log_state(partition, WORKER_GROUP).await?.is_caught_up() {
                if Instant::now() > until {
                    return Err("the archive did not catch up".into());
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    async fn create_booked(&self) -> Result<Target, Box<dyn Error>> {
        let id = booked_event(&self.engine, &self.archive, SEATS_LARGE, SEATS_FREE).await?;
        Ok(Target { event: id.0.into(), seats: SEATS_LARGE })
    }

    async fn create(&self, seats: u32) -> Result<Target, Box<dyn Error>> {
        let sections = json!(sections(seats));
        let body = json!({ "name": "Growth", "currency": "EUR", "sections": sections,
                           "hold_ttl_seconds": 600, "max_hold_seconds": 600 });
        let event = beside::event(address(&self.options.url)?, &body).await?;
        Ok(Target { event, seats })
    }
}

async fn expect(response: Response, status: StatusCode) -> Result<Response, Box<dyn Error>> {
    match response.status() == status {
        true => Ok(response),
        false => Err(format!("{}: {}", response.status(), response.text().await?).into()),
    }
}

/// A hold and its cancellation in Redis, with a waiting room in which one person or a million wait.
async fn waiting(bench: &Bench) -> Result<Vec<Value>, Box<dyn Error>> {
    let name = "waiting: 1 and 1,000,000";
    let rooms = [
        room_of(&bench.redis_url, 1).await?,
        room_of(&bench.redis_url, bench.options.waiting).await?,
    ];
    let mut figures = [Vec::new(), Vec::new()];
    for round in 0..=bench.options.rounds {
        for (room, figures) in rooms.iter().zip(&mut figures) {
            let before = times()?;
            let until = Instant::now() + Duration::from_millis(bench.options.round_ms);
            let holds = (1..=CALLERS).map(async |caller| {
                let mut operations = 0;
                while Instant::now() < until {
                    room.hold_and_cancel(caller).await?;
                    operations += 1;
                }
                Ok::<u32, Box<dyn Error>>(operations)
            });
            let operations: u32 = try_join_all(holds).await?.iter().sum();
            let used = since(&before, &times()?);
            let redis = used.get(PROCESSES[0].0).copied().unwrap_or_default();
            if round > 0 {
                figures.push(redis * 1e6 / f64::from(operations));
            }
        }
    }
    let [one, million] = figures.map(median);
    println!("\n{name:<34} smallest, us   largest, us   ratio (at most {RATIO_TARGET})");
    Ok(vec![row(name, "hold and cancel: Redis", one, million)])
}
