//! Refused holds a second of a whole server, as a ratio to a bare actix-web handler that reads
//! the same JSON and answers as many bytes ([`super::bare`]); and what a refusal costs Redis and
//! MongoDB.
//!
//! Both servers run as processes of their own on this machine, as does the load. Rounds take
//! turns, so that a noisy machine hits both alike; the ratio is the median of the rounds' own.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::bare::BOOKINGS;
use super::cost::{Counters, metrics};
use super::decisions::median;
use super::load::{Answer, Load, Requests, exchange};
use super::wrk::{self, Wrk};

/// Users who ask in turn.
const USERS: usize = 10_000;
/// Seats that are asked for, and held by somebody else.
const SEATS: [u32; 3] = [1, 2, 3];
/// Requests sent at once on a connection, and the least ratio that is good enough.
const DEPTHS: [(usize, f64); 2] = [(1, 0.9), (16, 0.8)];
/// Versions of the browsers that users have.
const BROWSERS: usize = 20;
/// Of the clock in /proc, on Linux.
const TICKS_A_SECOND: f64 = 100.0;
/// How long the event may take to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
const OPEN_RETRY: Duration = Duration::from_millis(100);

/// What to measure with.
#[derive(clap::Args)]
pub struct Options {
    /// Address of an API process, such as http://127.0.0.1:8000
    #[arg(long)]
    url: String,
    /// The API's Redis, whose commands are counted
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    redis_url: String,
    /// The API's MongoDB, whose operations are counted
    #[arg(long, default_value = "mongodb://127.0.0.1:27017")]
    mongodb_url: String,
    /// Who sends: `wrk`, `own`, or `auto`: wrk where it is installed
    #[arg(long, default_value = "auto")]
    generator: String,
    /// Connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Threads that send
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Length of one round, seconds
    #[arg(long, default_value_t = 3)]
    round_seconds: u64,
    /// Rounds of each server and depth
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Length of the run whose commands are counted, seconds
    #[arg(long, default_value_t = 10)]
    count_seconds: u64,
    /// A file that is to have the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Threads of the bare server; 0: as many as actix-web chooses, as the API does
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// Runs the comparison and prints it; the last line is the same as JSON.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let api = address(&options.url)?;
    let event = taken_event(api).await?;
    let requests = Arc::new(Requests::new((0..USERS).map(|user| refused_hold(event, user))));
    let sample = one_refusal(api, &refused_hold(event, 0)).await?;
    let bare = Bare::start(sample.body.len(), options.workers).await?;
    let generator = match options.generator.as_str() {
        "wrk" => "wrk",
        "own" => "own",
        _ if wrk::is_installed().await => "wrk",
        _ => "own",
    };
    let load = |address, depth| Load {
        address,
        requests: requests.clone(),
        depth,
        connections: options.connections,
        threads: options.threads,
        status: 409,
    };
    let mut compared = Vec::new();
    println!("{HEADING}");
    for (depth, target) in DEPTHS {
        let pair = [load(bare.address, depth), load(api, depth)];
        let rounds = rounds(&pair, &bare, generator, &options).await?;
        let one = Compared { depth, target, rounds };
        one.print();
        compared.push(one);
    }
    let counters = Counters::connect(&options.redis_url, &options.mongodb_url).await?;
    let cost = counters.of(&load(api, 1), options.count_seconds).await?;
    cost.print();
    let json = json!({
        "generator": generator,
        "connections": options.connections,
        "users": USERS,
        "answer_bytes": sample.head.len() + sample.body.len(),
        "body_bytes": sample.body.len(),
        "compared": compared.iter().map(Compared::json).collect::<Vec<_>>(),
        "cost": cost.json(),
    });
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{json:#}\n"))?;
    }
    println!("{json}");
    Ok(())
}

const HEADING: &str = "\
refused holds a second             bare     holdfast    ratio at least   processor time of an answer";

/// One depth's rounds.
struct Compared {
    depth: usize,
    target: f64,
    rounds: Vec<Round>,
}

/// What one round found, of the bare server and of Holdfast.
#[derive(Clone, Copy, Default, Serialize)]
struct Round {
    /// Answers a second.
    rates: [f64; 2],
    /// What an answer took of the server's processor time, µs: of use on a machine that is busy
    /// with other work.
    cpu_us: [f64; 2],
}

impl Compared {
    fn median_of(&self, number: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(number).collect())
    }

    fn rates(&self) -> [f64; 2] {
        [0, 1].map(|who| self.median_of(|round| round.rates[who]))
    }

    fn cpu_us(&self) -> [f64; 2] {
        [0, 1].map(|who| self.median_of(|round| round.cpu_us[who]))
    }

    fn ratio(&self) -> f64 {
        self.median_of(|round| round.rates[1] / round.rates[0])
    }

    fn print(&self) {
        let ([bare, ours], [bare_us, ours_us]) = (self.rates(), self.cpu_us());
        let name = format!("{} at once on a connection", self.depth);
        println!(
            "{name:<26} {bare:>12.0} {ours:>12.0} {:>8.3} {:>8.2}   {bare_us:.2} and {ours_us:.2} µs",
            self.ratio(),
            self.target
        );
    }

    fn json(&self) -> Value {
        let [bare, ours] = self.rates();
        json!({
            "depth": self.depth,
            "bare_per_second": bare,
            "holdfast_per_second": ours,
            "cpu_us": self.cpu_us(),
            "ratio": self.ratio(),
            "ratio_target": self.target,
            "rounds": self.rounds,
        })
    }
}

async fn rounds(
    pair: &[Load; 2],
    bare: &Bare,
    generator: &str,
    options: &Options,
) -> Result<Vec<Round>, Box<dyn Error>> {
    let wrk = match generator {
        "wrk" => Some(Wrk::new(&pair[0])?),
        _ => None,
    };
    let time = Duration::from_secs(options.round_seconds);
    let mut rounds = Vec::new();
    // One more than is counted: the first warms both up.
    for round in 0..=options.rounds {
        let mut found = Round::default();
        // Who is first takes turns, too.
        for turn in 0..2 {
            let who = (round + turn) % 2;
            let (cpu, began) = (cpu_seconds(who, pair, bare).await?, Instant::now());
            let rate = match &wrk {
                Some(wrk) => wrk.run(&pair[who], time).await?,
                None => pair[who].run(time).await?,
            };
            let answers = rate * began.elapsed().as_secs_f64();
            let cpu = cpu_seconds(who, pair, bare).await? - cpu;
            (found.rates[who], found.cpu_us[who]) = (rate, cpu * 1e6 / answers);
        }
        eprint!("\r{} at once: round {round} of {}", pair[0].depth, options.rounds);
        if round > 0 {
            rounds.push(found);
        }
    }
    eprint!("\r{:40}\r", "");
    Ok(rounds)
}

/// Processor time that a server has taken so far, seconds.
async fn cpu_seconds(who: usize, pair: &[Load; 2], bare: &Bare) -> Result<f64, Box<dyn Error>> {
    if who == 0 {
        return bare.cpu_seconds();
    }
    let metrics = metrics(pair[1].address).await?;
    let told = metrics.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
    Ok(told.ok_or("the API does not tell its processor time")?.parse()?)
}

/// The bare server, a process of this same program; it ends with this.
struct Bare {
    address: SocketAddr,
    /// Killed when this is dropped.
    child: Child,
}

impl Bare {
    fn cpu_seconds(&self) -> Result<f64, Box<dyn Error>> {
        let pid = self.child.id().ok_or("the bare server has ended")?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // After the name, which stands in brackets: state first, user and system time 12th and 13th.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok());
        let ticks = ticks(11).zip(ticks(12)).ok_or("/proc is not as expected")?;
        Ok((ticks.0 + ticks.1) / TICKS_A_SECOND)
    }

    async fn start(body_bytes: usize, workers: usize) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bare", "--body-bytes", &body_bytes.to_string()])
            .args(["--workers", &workers.to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("the bare server tells nothing")?;
        BufReader::new(stdout).read_line(&mut line).await?;
        Ok(Bare { address: SocketAddr::from(([127, 0, 0, 1], line.trim().parse()?)), child })
    }
}

fn address(url: &str) -> Result<SocketAddr, Box<dyn Error>> {
    let text = url.trim_start_matches("http://").trim_end_matches('/');
    Ok(text.parse().map_err(|_| format!("{url} is not like http://127.0.0.1:8000"))?)
}

/// An event whose first seats somebody holds for the time of the run; gives its id.
async fn taken_event(api: SocketAddr) -> Result<u64, Box<dyn Error>> {
    let event = json!({
        "name": "Refusals",
        "currency": "EUR",
        "hold_ttl_seconds": 3_600,
        "max_hold_seconds": 3_600,
        "sections": [{ "name": "Floor", "price": 100, "capacity": 1_000 }],
    });
    let made = send(api, &post("/api/v1/events", "operator", 0, &event)).await?;
    let made: Value = serde_json::from_slice(&made.body)?;
    let event = made["id"].as_u64().ok_or_else(|| format!("no event was made: {made}"))?;
    let hold = post(BOOKINGS, "owner", 0, &seats_of(event));
    let began = Instant::now();
    loop {
        let answer = send(api, &hold).await?;
        match answer.status {
            201 => return Ok(event),
            _ if began.elapsed() < OPEN_TIMEOUT => tokio::time::sleep(OPEN_RETRY).await,
            status => {
                let body = String::from_utf8_lossy(&answer.body);
                return Err(format!("the seats were not held: {status} {body}").into());
            }
        }
    }
}

async fn one_refusal(api: SocketAddr, request: &[u8]) -> Result<Answer, Box<dyn Error>> {
    let answer = send(api, request).await?;
    let body: Value = serde_json::from_slice(&answer.body)?;
    match body["error"].as_str() {
        Some("seats_unavailable") => Ok(answer),
        _ => Err(format!("not refused for its seats: {body}").into()),
    }
}

async fn send(api: SocketAddr, request: &[u8]) -> Result<Answer, Box<dyn Error>> {
    Ok(exchange(api, request).await.map_err(|error| error.to_string())?)
}

fn seats_of(event: u64) -> Value {
    json!({ "event_id": event, "seat_ids": SEATS })
}

fn refused_hold(event: u64, user: usize) -> Vec<u8> {
    post(BOOKINGS, &format!("user-{user:05}"), user, &seats_of(event))
}

/// A request as a browser's page sends it, through a gateway that names the user.
fn post(path: &str, user: &str, browser: usize, body: &Value) -> Vec<u8> {
    let (body, version) = (body.to_string(), 120 + browser % BROWSERS);
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: Mozilla/5.0 (Windows NT 10.0; \
         Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 \
         Safari/537.36\r\naccept: application/json\r\ncontent-type: application/json\r\n\
         x-user-id: {user}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
