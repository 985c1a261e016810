//! The limits of the machine, for the headline figures to be read beside: what loopback and the load
//! generator alone can do, a bare actix-web handler, Redis with a script that does nothing and with the
//! script that a grant cannot do without, MongoDB with raw bulk writes. All in one run.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fred::clients::Pool;
use fred::interfaces::ClientLike;
use fred::types::config::Config;
use fred::types::{ClusterHash, CustomCommand, Value as RedisValue};
use futures_util::future::try_join_all;
use holdfast::redis::new_nonce;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use super::bare::BOOKINGS;
use super::beside::{Bare, Case, How, post};
use super::decisions::median;
use super::grants::{CALLS, Floor};
use super::load::Requests;
use super::wrk::Wrk;

/// Bytes of an answer's body: as a refusal of Holdfast has, near enough.
const BODY_BYTES: &str = "420";
/// Requests sent at once on a connection.
const DEPTHS: [usize; 2] = [1, 16];
/// Users that take turns.
const USERS: usize = 10_000;
/// Calls of Redis under way at once, and connections for them, as an API process has.
const CALLERS: usize = 64;
const CLIENTS: usize = 2;
/// Documents of one bulk write, writes under way at once, and writes of a round.
const WRITE_DOCUMENTS: usize = 1_000;
const WRITES_AT_ONCE: usize = 4;
const WRITES: usize = 32;
/// A document's text, so that it has as many bytes as one of the ledger, near enough.
const DOCUMENT_TEXT_BYTES: usize = 350;

/// The command line's options.
#[derive(clap::Args)]
pub struct Options {
    /// Redis to measure on; its keys below a unique prefix are left behind
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    redis_url: String,
    /// MongoDB to measure on; a database of its own is dropped at the end
    #[arg(long, default_value = "mongodb://127.0.0.1:27017")]
    mongodb_url: String,
    #[command(flatten)]
    how: How,
    /// A file that is to have the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One limit: what it is, and its rates a second in each round.
struct Limit {
    name: String,
    rates: Vec<f64>,
}

/// Runs the measurements and prints their medians; the last line is the result as JSON.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let how = &options.how;
    let mut limits = Vec::new();
    for kind in ["loopback", "refusal"] {
        let arguments = [kind, "--body-bytes", BODY_BYTES].map(str::to_owned);
        let server = Bare::start(&arguments, how).await?;
        for depth in DEPTHS {
            limits.push(http(how, &server, kind, depth).await?);
        }
    }
    let redis = Redis::connect(&options.redis_url).await?;
    let mut nothing = Limit::new("Redis, a script that does nothing: calls");
    let mut floor = Limit::new("Redis, the script that a grant cannot do without: calls");
    let mut writes = Limit::new("MongoDB, bulk inserts (majority, journal): documents");
    for round in 0..how.rounds {
        nothing.rates.push(redis.nothing(Duration::from_secs(how.round_seconds)).await?);
        floor.rates.push(floor_rate(&options.redis_url).await?);
        writes.rates.push(bulk_writes(&options.mongodb_url).await?);
        eprint!("\rround {} of {}", round + 1, how.rounds);
    }
    eprintln!();
    limits.extend([nothing, floor, writes]);
    for limit in &limits {
        println!("{:<72} {:>10.0} a second", limit.name, limit.median());
    }
    let json = json!({
        "how": how.json().await,
        "limits": limits.iter().map(Limit::json).collect::<Vec<_>>(),
    });
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{json:#}\n"))?;
    }
    println!("{json}");
    Ok(())
}

impl Limit {
    fn new(name: impl Into<String>) -> Self {
        Limit { name: name.into(), rates: Vec::new() }
    }

    fn median(&self) -> f64 {
        median(self.rates.clone())
    }

    fn json(&self) -> Value {
        json!({ "name": self.name, "per_second": self.median(), "rounds": self.rates })
    }
}

/// What a server without Holdfast answers a second.
async fn http(how: &How, server: &Bare, kind: &str, depth: usize) -> Result<Limit, Box<dyn Error>> {
    let hold = |user: usize| {
        let body = json!({ "event_id": 1, "seat_ids": [1, 2, 3] });
        post(BOOKINGS, &format!("user-{user:05}"), user, &body)
    };
    let requests = Arc::new(Requests::new((0..USERS).map(hold)));
    let what = match kind {
        "loopback" => "loopback and load generator (a server that parses nothing)",
        _ => "a bare actix-web handler that reads the JSON of a hold",
    };
    let mut limit = Limit::new(format!("{what}, {depth} at once on a connection: answers"));
    let case = Case { name: kind.to_owned(), depth, status: 409, target: None };
    let (load, time) =
        (how.load(server.address, &requests, &case), Duration::from_secs(how.round_seconds));
    let wrk = match how.generator().await {
        "wrk" => Some(Wrk::new(&load)?),
        _ => None,
    };
    // One more than is counted: the first warms up.
    for round in 0..=how.rounds {
        let rate = match &wrk {
            Some(wrk) => wrk.run(&load, time).await?,
            None => load.run(time).await?,
        };
        if round > 0 {
            limit.rates.push(rate);
        }
    }
    Ok(limit)
}

/// Connections to Redis, and a script that does nothing.
struct Redis {
    pool: Pool,
    sha: String,
}

impl Redis {
    async fn connect(url: &str) -> Result<Self, Box<dyn Error>> {
        let pool = Pool::new(Config::from_url(url)?, None, None, None, CLIENTS)?;
        pool.init().await?;
        let command = CustomCommand::new_static("SCRIPT", ClusterHash::FirstKey, false);
        let sha = pool.next().custom(command, vec!["LOAD", "return 1"]).await?;
        Ok(Redis { pool, sha })
    }

    async fn nothing(&self, time: Duration) -> Result<f64, Box<dyn Error>> {
        let (calls, began) = (AtomicU64::new(0), Instant::now());
        let caller = async || {
            let command = CustomCommand::new_static("EVALSHA", ClusterHash::FirstKey, false);
            while began.elapsed() < time {
                let arguments: Vec<RedisValue> = vec![self.sha.as_str().into(), 0.into()];
                let _: i64 = self.pool.next().custom(command.clone(), arguments).await?;
                calls.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), fred::error::Error>(())
        };
        try_join_all((0..CALLERS).map(|_| caller())).await?;
        Ok(calls.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
    }
}

async fn floor_rate(url: &str) -> Result<f64, Box<dyn Error>> {
    let floor = Floor::new(url).await?;
    let began = Instant::now();
    floor.calls().await?;
    Ok(f64::from(CALLS) / began.elapsed().as_secs_f64())
}

async fn bulk_writes(url: &str) -> Result<f64, Box<dyn Error>> {
    let client = mongodb::Client::with_uri_str(url).await?;
    let database = client.database(&format!("bench_{}", new_nonce()));
    let rate = insert(&database).await;
    database.drop().await?;
    rate
}

/// Returns the documents inserted a second.
async fn insert(database: &mongodb::Database) -> Result<f64, Box<dyn Error>> {
    // Connections are opened before time is taken.
    let pings = (0..WRITES_AT_ONCE).map(|_| database.run_command(doc! { "ping": 1 }).into_future());
    try_join_all(pings).await?;
    let text = "x".repeat(DOCUMENT_TEXT_BYTES);
    let next = AtomicU64::new(0);
    let command = |write: u64| {
        let document = |n: usize| doc! { "_id": format!("{write}-{n}"), "text": &text };
        doc! {
            "insert": "documents",
            "documents": (0..WRITE_DOCUMENTS).map(document).collect::<Vec<_>>(),
            "ordered": false,
            "writeConcern": { "w": "majority", "j": true },
        }
    };
    let began = Instant::now();
    let writer = async || {
        loop {
            let write = next.fetch_add(1, Ordering::Relaxed);
            if write >= WRITES as u64 {
                return Ok::<(), Box<dyn Error>>(());
            }
            let reply: Document = database.run_command(command(write)).await?;
            if reply.contains_key("writeErrors") || reply.contains_key("writeConcernError") {
                return Err(format!("a bulk write failed: {reply}").into());
            }
        }
    };
    try_join_all((0..WRITES_AT_ONCE).map(|_| writer())).await?;
    Ok((WRITES * WRITE_DOCUMENTS) as f64 / began.elapsed().as_secs_f64())
}
