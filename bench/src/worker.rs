//! How fast the worker drains a prepared booking log, as a ratio to raw unordered bulk writes of the
//! same documents by the same driver on the same MongoDB, in alternating rounds.
//!
//! The log is that of a sale: all bookings are held, then each is paid for. The worker archives and
//! settles them, which appends one more entry each. The raw writes are those that the documents need,
//! without the worker's checks, their order and Redis: every ledger document and claim is inserted,
//! every booking is inserted when it is held, and updated when it is paid for, decided and settled.

use std::error::Error;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use holdfast::config::Config;
use holdfast::domain::{Booking, Event, SeatId};
use holdfast::lifecycle::shutdown_channel;
use holdfast::redis::{ConfirmBeginReply, ScriptReply, WORKER_GROUP, new_nonce};
use holdfast::sale::{HoldRequest, NewEvent, Sale, SeatRequest};
use holdfast::start::Services;
use holdfast::telemetry::Metrics;
use holdfast::{start, worker};
use mongodb::bson::{Document, doc};
use mongodb::{Client, Database};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::decisions::median;
use super::stage::rows_of_a_hundred;

/// The least ratio.
const TARGET: f64 = 0.6;
/// Entries of one booking: held, being paid, sold, confirmed.
const ENTRIES_OF_A_BOOKING: u32 = 4;
/// Concurrent calls while the log is prepared.
const CALLS_AT_ONCE: usize = 32;
/// Operations of one raw write.
const WRITE_OPERATIONS: usize = 1_000;
/// How often the drain's progress is read, and for how long at most.
const POLL: Duration = Duration::from_millis(10);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(120);
/// How long background tasks may take to end.
const TASKS_END_TIMEOUT: Duration = Duration::from_secs(10);
/// A lease that does not lapse meanwhile, ms.
const LEASE_MS: i64 = 600_000;

/// A MongoDB-compatible server that is several times faster than the one `make run` starts; it is used
/// as well where it is installed.
const FAST: &str = "secantusd-rs";

/// The command line's options.
#[derive(Clone, clap::Args)]
pub struct Options {
    /// Redis to measure on; its keys below unique prefixes are left behind
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    redis_url: String,
    /// MongoDB to measure on; its own databases are left behind
    #[arg(long, default_value = "mongodb://127.0.0.1:27017")]
    mongodb_url: String,
    /// Bookings of one round
    #[arg(long, default_value_t = 500)]
    bookings: u32,
    /// Rounds
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// What MongoDB is, for the report
    #[arg(long, default_value = "MongoDB")]
    name: String,
    /// A file that is to have the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Entries a second.
#[derive(Clone, Copy)]
struct Round {
    worker: f64,
    raw: f64,
}

/// Runs the comparisons and prints them; the last line is the result as JSON.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let mut reports = vec![compare(&options).await?];
    match FastServer::start().await? {
        Some(server) => {
            let fast = Options {
                mongodb_url: server.url.clone(),
                name: FAST.to_owned(),
                ..options.clone()
            };
            reports.push(compare(&fast).await?);
        }
        None => println!("{FAST} is not on PATH: not measured there"),
    }
    let json = json!({ "compared": reports });
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{json:#}\n"))?;
    }
    println!("{json}");
    Ok(())
}

async fn compare(options: &Options) -> Result<Value, Box<dyn Error>> {
    let mut rounds = Vec::new();
    // The first round meets cold servers and is left out.
    for round in 0..=options.rounds {
        let found = measure(options).await?;
        let Round { worker, raw } = found;
        eprintln!("round {round} of {}: worker {worker:.0}, raw {raw:.0}", options.rounds);
        if round > 0 {
            rounds.push(found);
        }
    }
    Ok(report(options, &rounds))
}

fn report(options: &Options, rounds: &[Round]) -> Value {
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    let (worker, raw) = (of(|one| one.worker), of(|one| one.raw));
    let ratio = of(|one| one.worker / one.raw);
    println!("{} bookings a round on {}", options.bookings, options.name);
    println!("entries archived and settled by a worker, a second   {worker:>10.0}");
    println!("entries' documents in raw bulk writes, a second      {raw:>10.0}");
    println!(
        "ratio                                                {ratio:>10.2}  (at least {TARGET})"
    );
    json!({
        "mongodb": options.name, "bookings": options.bookings, "rounds": rounds.len(),
        "worker_entries_a_second": worker, "raw_entries_a_second": raw,
        "ratio": ratio, "ratio_target": TARGET,
    })
}

async fn measure(options: &Options) -> Result<Round, Box<dyn Error>> {
    let config = config(options);
    let metrics = Metrics::new("holdfast-bench");
    let (trigger, shutdown) = shutdown_channel();
    let services = start::connect(&config, &metrics).await?;
    let sale = start::sale(&services, &config, &metrics, &shutdown)?;
    prepare(&sale, &services, options.bookings).await?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let working = tokio::spawn(worker::run(
        listener,
        config.clone(),
        start::connect(&config, &metrics).await?,
        metrics.clone(),
        shutdown,
    ));
    let drained = drained(&services).await;
    trigger.request();
    working.await??;
    services.supervisor.finish(TASKS_END_TIMEOUT).await;
    let drained = drained?;
    let written = raw_writes(options, &config, &metrics).await?;
    let entries = f64::from(options.bookings * ENTRIES_OF_A_BOOKING);
    Ok(Round { worker: entries / drained.as_secs_f64(), raw: entries / written.as_secs_f64() })
}

fn config(options: &Options) -> Arc<Config> {
    let name = format!("bench_{}", new_nonce());
    Arc::new(Config {
        redis_url: options.redis_url.as_str().into(),
        redis_namespace: name.clone(),
        mongodb_url: options.mongodb_url.as_str().into(),
        mongodb_database: name,
        max_seats_per_user: 1_000_000,
        worker_consumer: "bench".to_owned(),
        ..Config::default()
    })
}

/// The fast server, with data of its own; it ends when dropped.
struct FastServer {
    url: String,
    _process: Child,
    _data: DataFolder,
}

/// A folder that is removed when dropped.
struct DataFolder(PathBuf);

impl Drop for DataFolder {
    fn drop(&mut self) {
        // What remains is in the system's folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl FastServer {
    /// Starts it; `None` if it is not installed.
    async fn start() -> Result<Option<Self>, Box<dyn Error>> {
        // Free when it is asked for.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let data = DataFolder(std::env::temp_dir().join(format!("bench-{}", new_nonce())));
        std::fs::create_dir_all(&data.0)?;
        let mut command = Command::new(FAST);
        command.args(["--port", &port.to_string(), "--storage-path"]).arg(&data.0);
        command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let process = match command.spawn() {
            Ok(process) => process,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let url = format!("mongodb://127.0.0.1:{port}");
        let client = Client::with_uri_str(&url).await?;
        // Bounded by the driver's own time for finding a server.
        client.database("admin").run_command(doc! { "ping": 1 }).await?;
        Ok(Some(FastServer { url, _process: process, _data: data }))
    }
}

/// Writes the log: every booking is held, then every one paid for.
async fn prepare(sale: &Sale, services: &Services, bookings: u32) -> Result<(), Box<dyn Error>> {
    let event = sale.create_event(event(bookings)).await?.event;
    let event: &Event = &event;
    let holds = (1..=bookings).map(|seat| async move { hold(sale, event, seat).await });
    let held: Vec<Booking> = stream::iter(holds).buffered(CALLS_AT_ONCE).try_collect().await?;
    let payments = held.iter().map(|booking| pay(services, event, booking));
    stream::iter(payments).buffered(CALLS_AT_ONCE).try_collect::<Vec<()>>().await?;
    Ok(())
}

async fn hold(sale: &Sale, event: &Event, seat: u32) -> Result<Booking, Box<dyn Error>> {
    let hold = HoldRequest {
        user: format!("buyer-{seat}").parse()?,
        event: event.id,
        seats: SeatRequest::Named(vec![SeatId(seat)]),
        key: None,
        room_number: 0,
        exempt: false,
        trace: String::new(),
    };
    Ok(sale.hold(sale.plan_hold(hold).await?).await?.booking)
}

async fn pay(services: &Services, event: &Event, held: &Booking) -> Result<(), Box<dyn Error>> {
    let (engine, nonce) = (&services.engine, new_nonce());
    let begun =
        engine.confirm_begin(event, held.id, &held.user, nonce.as_str(), LEASE_MS, 10).await?;
    let ConfirmBeginReply::Leased { booking } = begun.reply else {
        return Err(format!("not leased: {:?}", begun.reply).into());
    };
    let payment = format!("sim_{}_{}_{}", booking.id, booking.amount, booking.currency);
    let committed =
        engine.confirm_commit(event.generation, booking.id, booking.lease, &payment).await?;
    super::stage::must_be(committed.reply.code(), "ok")
}

/// The time from the first delivery to the last acknowledgement.
async fn drained(services: &Services) -> Result<Duration, Box<dyn Error>> {
    let (engine, mut began) = (&services.engine, None::<Instant>);
    let until = Instant::now() + DRAIN_TIMEOUT;
    while Instant::now() < until {
        let (mut all, mut any) = (true, false);
        for partition in engine.keys().all_partitions() {
            let state = engine.log_state(partition, WORKER_GROUP).await?;
            all &= state.is_caught_up();
            any |= state.delivered.is_some_and(|delivered| delivered.ms > 0);
        }
        match began {
            Some(began) if all => return Ok(began.elapsed()),
            None if any => began = Some(Instant::now()),
            _ => {}
        }
        tokio::time::sleep(POLL).await;
    }
    Err("the log was not drained in time".into())
}

/// Writes the documents that the worker has written, raw, into a database with the same indexes.
async fn raw_writes(
    options: &Options,
    drained: &Config,
    metrics: &Metrics,
) -> Result<Duration, Box<dyn Error>> {
    let raw = self::config(options);
    // Creates the indexes.
    drop(start::connect(&raw, metrics).await?);
    let client = Client::with_uri_str(&options.mongodb_url).await?;
    let from = client.database(&drained.mongodb_database);
    let to = client.database(&raw.mongodb_database);
    let [ledger, bookings, claims] = [
        documents(&from, "transitions").await?,
        documents(&from, "bookings").await?,
        documents(&from, "claims").await?,
    ];
    let expected = (options.bookings * ENTRIES_OF_A_BOOKING) as usize;
    if (ledger.len(), bookings.len()) < (expected, options.bookings as usize) {
        return Err(format!("{} ledger documents of {expected}", ledger.len()).into());
    }
    let update = |set: fn(&Document) -> Document| -> Vec<Document> {
        let one = |booking: &Document| doc! { "q": { "_id": booking.get("_id").cloned() }, "u": { "$set": set(booking) } };
        bookings.iter().map(one).collect()
    };
    let paid = update(|booking| {
        let mut fields = booking.clone();
        for name in ["_id", "outcome", "confirmed_ms"] {
            fields.remove(name);
        }
        fields
    });
    let decided = update(|_| doc! { "outcome": "sold", "status": "CONFIRMED" });
    let settled = update(|booking| doc! { "confirmed_ms": booking.get("confirmed_ms").cloned() });
    let began = Instant::now();
    let at_once = drained.worker_batches_in_flight as usize;
    let commands = [
        commands("insert", "transitions", "documents", ledger),
        commands("insert", "bookings", "documents", bookings),
        commands("insert", "claims", "documents", claims),
    ];
    write(&to, commands.concat(), at_once).await?;
    // After the documents they change.
    for updates in [paid, decided, settled] {
        write(&to, commands_of_updates(updates), at_once).await?;
    }
    Ok(began.elapsed())
}

async fn documents(from: &Database, name: &str) -> Result<Vec<Document>, Box<dyn Error>> {
    Ok(from.collection(name).find(doc! {}).await?.try_collect().await?)
}

fn commands_of_updates(updates: Vec<Document>) -> Vec<Document> {
    commands("update", "bookings", "updates", updates)
}

fn commands(verb: &str, collection: &str, list: &str, operations: Vec<Document>) -> Vec<Document> {
    let command = |chunk: &[Document]| {
        doc! {
            verb: collection, list: chunk.to_vec(), "ordered": false,
            "writeConcern": { "w": "majority", "j": true },
        }
    };
    operations.chunks(WRITE_OPERATIONS).map(command).collect()
}

async fn write(
    to: &Database,
    commands: Vec<Document>,
    at_once: usize,
) -> Result<(), Box<dyn Error>> {
    let writes = commands.into_iter().map(|command| to.run_command(command).into_future());
    let replies: Vec<Document> =
        stream::iter(writes).buffer_unordered(at_once).try_collect().await?;
    match replies.iter().find(|reply| reply.contains_key("writeErrors")) {
        Some(reply) => Err(format!("a raw write failed: {reply}").into()),
        None => Ok(()),
    }
}

fn event(seats: u32) -> NewEvent {
    NewEvent {
        name: "Benchmark".into(),
        description: None,
        venue: None,
        currency: None,
        starts_at_ms: None,
        on_sale_at_ms: None,
        off_sale_at_ms: None,
        hold_ttl_seconds: None,
        max_hold_seconds: None,
        max_seats_per_user: Some(10),
        orphan_rule: None,
        cancel_policy: Default::default(),
        sections: vec![rows_of_a_hundred("Floor", seats.div_ceil(100))],
    }
}
