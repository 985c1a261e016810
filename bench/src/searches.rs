//! What a search for seats costs Redis, by Redis' own count (`SLOWLOG`): best available in houses
//! that are nearly sold, and in some that are unkind to a search. Redis logs the commands inside a
//! script as well, so what is quicker than `LOGGED_FROM_US` is left out of the log and counted as
//! that.

use std::error::Error;

use fred::prelude::{Builder, ClientLike, Config, SlowlogInterface};
use fred::types::{CustomCommand, Value};
use holdfast::domain::seat_request::matching_sections;
use holdfast::domain::{Inventory, Layout, Quantity, SeatState};
use holdfast::redis::scripts::{ClockSource, Script, Scripts};

use super::stage::{Stage, quantity, rows_of_a_hundred};

/// Rows of a hundred seats: 50,000.
const ROWS: u32 = 500;
/// What is quicker is not logged, µs.
const LOGGED_FROM_US: i64 = 20;
/// Entries of the slow log kept for each search: the script's, and those of its commands.
const ENTRIES_A_SEARCH: i64 = 32;
/// What the 99th percentile must stay below, µs of Redis time.
const P99_TARGET_US: i64 = 1_000;

/// The command line's options.
#[derive(clap::Args)]
pub struct Options {
    /// Redis to measure on; its keys below a unique prefix are left behind, and its
    /// slow log is used
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    redis_url: String,
    /// Searches of each house
    #[arg(long, default_value_t = 2_000)]
    searches: i64,
}

/// A house: its name and whether seat `n` of it is free at the beginning.
type House = (&'static str, fn(u32) -> bool);

const HOUSES: [House; 5] = [
    ("three in a hundred free, anywhere", |_| rand::random_range(0..100) < 3),
    ("thirty in a hundred free, anywhere", |_| rand::random_range(0..100) < 30),
    ("ten free at the far end", |seat| seat > ROWS * 100 - 10),
    ("every other seat free", |seat| seat % 2 == 0),
    ("pairs with one sold between", |seat| seat % 3 != 0),
];

/// Runs the searches and prints their time; the last line is the same as JSON.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let redis = Builder::from_config(Config::from_url(&options.redis_url)?).build()?;
    redis.init().await?;
    let mut shown = Vec::new();
    println!(
        "{:<36} {:>8} {:>8} {:>8} {:>8}",
        "µs of Redis a search", "p50", "p99", "max", "granted"
    );
    for (name, free) in HOUSES {
        let stage = open(&options.redis_url, free).await?;
        configure(&redis, "slowlog-log-slower-than", LOGGED_FROM_US).await?;
        configure(&redis, "slowlog-max-len", options.searches * ENTRIES_A_SEARCH).await?;
        let _: () = redis.slowlog_reset().await?;
        let granted = search(&stage, options.searches).await?;
        let mut times = times_of(&redis, Script::Hold).await?;
        let quicker = (options.searches as usize).saturating_sub(times.len());
        times.extend(std::iter::repeat_n(LOGGED_FROM_US, quicker));
        times.sort_unstable();
        let at = |share: usize| times.get((times.len() * share / 100).min(times.len() - 1));
        let (p50, p99, max) = (at(50).copied(), at(99).copied(), times.last().copied());
        let (Some(p50), Some(p99), Some(max)) = (p50, p99, max) else {
            return Err("Redis logged no search".into());
        };
        println!("{name:<36} {p50:>8} {p99:>8} {max:>8} {granted:>8}");
        shown.push(serde_json::json!({
            "house": name, "searches": times.len(), "granted": granted,
            "p50_us": p50, "p99_us": p99, "max_us": max, "within_target": p99 < P99_TARGET_US,
        }));
    }
    configure(&redis, "slowlog-log-slower-than", 10_000).await?;
    configure(&redis, "slowlog-max-len", 128).await?;
    println!("{}", serde_json::json!({ "target_p99_us": P99_TARGET_US, "houses": shown }));
    Ok(())
}

async fn open(url: &str, free: fn(u32) -> bool) -> Result<Stage, Box<dyn Error>> {
    let layout = Layout::new(vec![rows_of_a_hundred("House", ROWS)])?;
    let mut bytes = Inventory::free(&layout).as_bytes().to_vec();
    for (seat, byte) in (0..).zip(bytes.iter_mut()).skip(1) {
        if !free(seat) {
            *byte = SeatState::Booked.byte(byte.is_ascii_uppercase());
        }
    }
    Stage::open(url, layout, Some(Inventory::from_bytes(bytes)?)).await
}

/// One to four seats, side by side or not, given back at once so that the house stays as it is.
/// One search at a time: this measures work, not waiting.
async fn search(stage: &Stage, searches: i64) -> Result<u64, Box<dyn Error>> {
    let mut granted = 0;
    for n in 0..searches {
        let seats = (n % 4 + 1) as u32;
        let together = n % 8 < 4;
        let wanted = Quantity { seats, section: None, together, max_price: None };
        let places = matching_sections(&stage.event.layout, &wanted);
        let answer = stage.hold(&format!("u{n}"), quantity(seats, !together, &places)).await?;
        match answer.code() {
            "ok" => {
                granted += 1;
                stage.cancel(&answer.into_booking()?).await?;
            }
            "too_few_seats" => {}
            other => return Err(format!("a search answered {other}").into()),
        }
    }
    Ok(granted)
}

/// How long each call of a script took, µs, by the slow log.
async fn times_of(
    redis: &fred::clients::Client,
    script: Script,
) -> Result<Vec<i64>, Box<dyn Error>> {
    let scripts = Scripts::embedded(ClockSource::Redis);
    let assembled = scripts.get(script);
    let log: Vec<Value> = redis.slowlog_get(Some(-1)).await?;
    let mut times = Vec::new();
    for entry in log {
        // [id, Unix time, µs, [command, SHA1 or text, ...], ...]
        let fields = entry.into_array();
        let (Some(micros), Some(Value::Array(words))) = (fields.get(2), fields.get(3)) else {
            return Err(format!("an entry of the slow log: {fields:?}").into());
        };
        let is_ours =
            words.get(1).and_then(Value::as_str).is_some_and(|sha| *sha == assembled.sha1);
        if is_ours {
            times.push(micros.as_i64().ok_or("a time of the slow log")?);
        }
    }
    Ok(times)
}

async fn configure(
    redis: &fred::clients::Client,
    name: &str,
    value: i64,
) -> Result<(), Box<dyn Error>> {
    let command = CustomCommand::new_static("CONFIG", None::<u16>, false);
    let args = vec!["SET".to_owned(), name.to_owned(), value.to_string()];
    let _: Value = redis.custom(command, args).await?;
    Ok(())
}
