//! Granted holds of one seat against what they cannot do without: in Redis a script with the same durable
//! effects and no checks beyond the seat's, in the API a bare actix-web handler. Processor time of each
//! in alternating rounds of one run; and the rate and the latencies of grants over HTTP.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fred::clients::{Client, Pool};
use fred::interfaces::ClientLike;
use fred::types::config::Config;
use fred::types::{ClusterHash, CustomCommand, InfoKind, Value};
use futures_util::future::try_join_all;
use holdfast::domain::{Layout, SeatId, Section};
use holdfast::redis::SeatSelection;
use serde_json::json;

use super::bare::BOOKINGS;
use super::beside::{self, Bare, How, address, api_cpu_seconds, post, until};
use super::decisions::median;
use super::load::{Load, Outcome, Requests};
use super::stage::{self, PRICE, must_be};

/// Calls of the script, and of the floor, in one round.
pub const CALLS: u32 = 20_000;
/// Calls under way at once, and connections over HTTP.
const CONCURRENCY: usize = 64;
/// Seats of each event, and requests of each round over HTTP: more than are sent.
const SEATS: u32 = 120_000;
/// Connections to Redis, as an API process has them.
const CLIENTS: usize = 2;
/// Bytes of a grant's response body, near enough.
const BODY_BYTES: &str = "600";
/// Required ratios.
const SCRIPT_TARGET: f64 = 1.6;
const WHOLE_TARGET: f64 = 2.0;

/// What a grant cannot do without: it reads the event, the idempotency record and the seat, and writes
/// the seat's byte, the booking, its deadline, the user's count, the record, and a log entry of one field.
const FLOOR: &str = "#!lua
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local event = redis.call('HGET', KEYS[1], 'settings')
if redis.call('GET', KEYS[2]) then return { 'replayed' } end
if redis.call('GETRANGE', KEYS[3], ARGV[1], ARGV[1]) ~= 'a' then return { 'taken' } end
local record = ARGV[2] .. now
redis.call('SETRANGE', KEYS[3], ARGV[1], 'h')
redis.call('HSET', KEYS[4], ARGV[3], record)
redis.call('ZADD', KEYS[5], now + 300000, ARGV[3])
redis.call('HINCRBY', KEYS[6], ARGV[4], 1)
redis.call('SET', KEYS[2], ARGV[3], 'PX', 600000)
redis.call('XADD', KEYS[7], '*', 'entry', record)
return { 'ok', now, record }
";

/// The command line's options.
#[derive(clap::Args)]
pub struct Options {
    /// Address of an API process, such as http://127.0.0.1:8000
    #[arg(long)]
    url: String,
    /// The API's Redis
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    redis_url: String,
    #[command(flatten)]
    how: How,
    /// A file that is to have the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// The floor's script and its keys.
pub struct Floor {
    pool: Pool,
    sha: String,
    prefix: String,
}

/// The figures of all rounds; processor time in microseconds a call.
#[derive(Default)]
struct Figures {
    floor: Vec<f64>,
    script: Vec<f64>,
    bare: Vec<f64>,
    /// Of a grant over HTTP: Redis, with what the tail and the worker read meanwhile.
    redis: Vec<f64>,
    api: Vec<f64>,
    /// As fast as the connections can.
    full: Vec<Outcome>,
    /// At half that rate, whether responses come or not.
    half: Vec<Outcome>,
}

/// Runs the comparison and prints it; the last line is the result as JSON.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let redis = Client::new(Config::from_url(&options.redis_url)?, None, None, None);
    redis.init().await?;
    let arguments = ["refusal", "--body-bytes", BODY_BYTES].map(str::to_owned);
    let bare = Bare::start(&arguments, &options.how).await?;
    let mut figures = Figures::default();
    for round in 0..options.how.rounds {
        figures.scripts(&options, &redis).await?;
        figures.http(&options, &redis, &bare, round).await?;
        eprint!("\rround {} of {}", round + 1, options.how.rounds);
    }
    eprintln!();
    let json = figures.print();
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{json:#}\n"))?;
    }
    println!("{json}");
    Ok(())
}

impl Figures {
    /// The floor's script and `hold`, each on new keys.
    async fn scripts(&mut self, options: &Options, redis: &Client) -> Result<(), Box<dyn Error>> {
        let each = |seconds: f64| seconds * 1e6 / f64::from(CALLS);
        let floor = Floor::new(&options.redis_url).await?;
        let before = redis_cpu_seconds(redis).await?;
        floor.calls().await?;
        self.floor.push(each(redis_cpu_seconds(redis).await? - before));
        let stage = grants_stage(&options.redis_url).await?;
        let before = redis_cpu_seconds(redis).await?;
        script_calls(&stage).await?;
        self.script.push(each(redis_cpu_seconds(redis).await? - before));
        Ok(())
    }

    /// The bare handler, and grants over HTTP.
    async fn http(
        &mut self,
        options: &Options,
        redis: &Client,
        bare: &Bare,
        round: usize,
    ) -> Result<(), Box<dyn Error>> {
        let (api, time) = (address(&options.url)?, Duration::from_secs(options.how.round_seconds));
        let load = grants_load(api, 2 * round).await?;
        let bare_load = Load { address: bare.address, status: 409, ..load.clone() };
        let before = bare.cpu_seconds()?;
        let outcome = bare_load.run_timed(time).await?;
        self.bare.push((bare.cpu_seconds()? - before) * 1e6 / outcome.latencies.len() as f64);

        let before = (redis_cpu_seconds(redis).await?, api_cpu_seconds(api).await?);
        let outcome = load.run_timed(time).await?;
        let after = (redis_cpu_seconds(redis).await?, api_cpu_seconds(api).await?);
        let grants = outcome.latencies.len() as f64;
        self.redis.push((after.0 - before.0) * 1e6 / grants);
        self.api.push((after.1 - before.1) * 1e6 / grants);

        let interval = CONCURRENCY as f64 * 2.0 / outcome.per_second;
        self.full.push(outcome);
        let load = grants_load(api, 2 * round + 1).await?;
        let half = Load { interval: Some(Duration::from_secs_f64(interval)), ..load };
        self.half.push(half.run_timed(time).await?);
        Ok(())
    }

    /// Prints the medians; returns them as JSON.
    fn print(&self) -> serde_json::Value {
        let [floor, script, bare, redis, api] =
            [&self.floor, &self.script, &self.bare, &self.redis, &self.api]
                .map(|f| median(f.clone()));
        let (script_ratio, whole_ratio) = (script / floor, (redis + api) / (floor + bare));
        println!("processor time of a grant, us      floor      now    ratio  at most");
        println!(
            "Redis, the script alone         {floor:>8.1} {script:>8.1} {script_ratio:>8.2} {SCRIPT_TARGET:>8.1}"
        );
        println!(
            "Redis and API over HTTP         {:>8.1} {:>8.1} {whole_ratio:>8.2} {WHOLE_TARGET:>8.1}",
            floor + bare,
            redis + api
        );
        println!("  of it Redis {redis:.1}, with what the tail and the worker read; API {api:.1}");
        let ms = |outcomes: &[Outcome], share: f64| {
            let ms = |outcome: &Outcome| outcome.percentile(share).as_secs_f64() * 1e3;
            median(outcomes.iter().map(ms).collect())
        };
        let rate = median(self.full.iter().map(|outcome| outcome.per_second).collect());
        let [p50, p99] = [0.5, 0.99].map(|share| ms(&self.full, share));
        let [half_p50, half_p99] = [0.5, 0.99].map(|share| ms(&self.half, share));
        println!("{CONCURRENCY} connections: {rate:.0} a second, p50 {p50:.1} ms, p99 {p99:.1} ms");
        println!("half that rate, open loop: p50 {half_p50:.1} ms, p99 {half_p99:.1} ms");
        json!({
            "cpu_us": { "floor": floor, "script": script, "bare": bare, "redis": redis, "api": api },
            "script_ratio": script_ratio,
            "script_ratio_target": SCRIPT_TARGET,
            "whole_ratio": whole_ratio,
            "whole_ratio_target": WHOLE_TARGET,
            "per_second": rate,
            "p50_ms": p50,
            "p99_ms": p99,
            "half_rate_p50_ms": half_p50,
            "half_rate_p99_ms": half_p99,
        })
    }
}

async fn redis_cpu_seconds(redis: &Client) -> Result<f64, Box<dyn Error>> {
    let info: String = redis.info(Some(InfoKind::Cpu)).await?;
    let of =
        |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.parse::<f64>().ok());
    let used = of("used_cpu_user:").zip(of("used_cpu_sys:"));
    let (user, system) = used.ok_or("INFO cpu is not as expected")?;
    Ok(user + system)
}

impl Floor {
    /// Connects, and prepares an event.
    ///
    /// # Errors
    /// If Redis refuses.
    pub async fn new(url: &str) -> Result<Self, Box<dyn Error>> {
        let pool = Pool::new(Config::from_url(url)?, None, None, None, CLIENTS)?;
        pool.init().await?;
        let floor = Floor {
            pool,
            sha: String::new(),
            prefix: format!("bench_floor_{}", rand::random::<u32>()),
        };
        let sha: String = floor.command("SCRIPT", vec!["LOAD".into(), FLOOR.into()]).await?;
        let seats = "a".repeat(SEATS as usize);
        let _: String = floor.command("SET", vec![floor.key("seats").into(), seats.into()]).await?;
        let settings = vec![floor.key("event").into(), "settings".into(), "x".repeat(100).into()];
        let _: i64 = floor.command("HSET", settings).await?;
        Ok(Floor { sha, ..floor })
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{{p00}}:{name}", self.prefix)
    }

    async fn command<R: fred::types::FromValue>(
        &self,
        name: &'static str,
        args: Vec<Value>,
    ) -> Result<R, Box<dyn Error>> {
        let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
        Ok(self.pool.next().custom(command, args).await?)
    }

    /// Grants [`CALLS`] seats.
    ///
    /// # Errors
    /// If Redis refuses.
    pub async fn calls(&self) -> Result<(), Box<dyn Error>> {
        let next = AtomicU32::new(0);
        let caller = async || {
            loop {
                let seat = next.fetch_add(1, Ordering::Relaxed);
                if seat >= CALLS {
                    return Ok::<(), Box<dyn Error>>(());
                }
                let booking = holdfast::redis::new_nonce();
                let record = format!("1\tHOLD\t1\tu{seat}\t{seat}\t100\tEUR\t{:150}", booking);
                let mut args: Vec<Value> =
                    vec![self.sha.as_str().into(), 7.into(), self.key("event").into()];
                args.push(self.key(&format!("idempotency:{booking}")).into());
                args.extend(
                    ["seats", "bookings", "deadlines", "users", "log"]
                        .map(|name| self.key(name).into()),
                );
                args.extend([
                    Value::from(i64::from(seat)),
                    record.into(),
                    booking.into(),
                    format!("u{seat}").into(),
                ]);
                let reply: Vec<Value> = self.command("EVALSHA", args).await?;
                must_be(&reply[0].as_string().unwrap_or_default(), "ok")?;
            }
        };
        try_join_all((0..CONCURRENCY).map(|_| caller())).await?;
        Ok(())
    }
}

async fn grants_stage(url: &str) -> Result<stage::Stage, Box<dyn Error>> {
    let floor = Section { name: "Floor".into(), price: PRICE, rows: None, capacity: Some(SEATS) };
    stage::Stage::open(url, Layout::new(vec![floor])?, None).await
}

async fn script_calls(stage: &stage::Stage) -> Result<(), Box<dyn Error>> {
    let next = AtomicU32::new(1);
    let caller = async || {
        loop {
            let seat = next.fetch_add(1, Ordering::Relaxed);
            if seat > CALLS {
                return Ok::<(), Box<dyn Error>>(());
            }
            let reply = stage
                .hold(&format!("u{seat}"), SeatSelection::named(&[SeatId(seat)], PRICE))
                .await?;
            must_be(reply.code(), "ok")?;
        }
    };
    try_join_all((0..CONCURRENCY).map(|_| caller())).await?;
    Ok(())
}

/// An event of its own, and a request for each of its seats by a user of its own.
pub async fn grants_load(api: SocketAddr, round: usize) -> Result<Load, Box<dyn Error>> {
    let event = json!({
        "name": "Grants", "currency": "EUR", "hold_ttl_seconds": 3_600, "max_hold_seconds": 3_600,
        "sections": [{ "name": "Floor", "price": PRICE, "capacity": SEATS }],
    });
    let event = beside::event(api, &event).await?;
    let hold = |seat: u32| {
        let body = json!({ "event_id": event, "seat_ids": [seat] });
        post(BOOKINGS, &format!("g{round}-{seat}"), seat as usize, &body)
    };
    until(api, &hold(SEATS), 201).await?;
    let requests = Arc::new(Requests::new((1..SEATS).map(hold)));
    Ok(Load {
        address: api,
        requests,
        depth: 1,
        connections: CONCURRENCY,
        threads: 2,
        status: 201,
        refusal: None,
        interval: None,
    })
}
