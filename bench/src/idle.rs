//! What a deployment costs Redis while nothing happens: commands a second by kind, by Redis' own
//! counts (`INFO commandstats`, where commands of scripts count as well). Counted twice: right after a
//! sale was in use, and once it has been left alone.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use fred::interfaces::ClientLike;
use fred::types::InfoKind;
use fred::types::config::Config;
use serde_json::{Value, json};

use super::bare::BOOKINGS;
use super::beside::{self, address, post, send, until};

/// The most commands a second.
const TARGET: f64 = 50.0;
/// How long after its last request a deployment counts as left alone: views are kept fresh for 5 s,
/// and memory of rooms for 60 s.
const LEFT_ALONE_AFTER: Duration = Duration::from_secs(60);
/// Holds before the first count: one is granted, the others are refused.
const HOLDS: usize = 20;

/// The command line's options.
#[derive(clap::Args)]
pub struct Options {
    /// Address of an API process, such as http://127.0.0.1:8000
    #[arg(long)]
    url: String,
    /// The deployment's Redis; nothing else may use it
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    redis_url: String,
    /// Length of each count, seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// A file that is to have the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Counts and prints; the last line is the result as JSON.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let redis = fred::clients::Client::new(Config::from_url(&options.redis_url)?, None, None, None);
    redis.init().await?;
    use_sale(&options.url).await?;
    let time = Duration::from_secs(options.seconds);
    let after_use = count(&redis, time).await?;
    tokio::time::sleep(LEFT_ALONE_AFTER.saturating_sub(time)).await;
    let left_alone = count(&redis, time).await?;
    let mut report = serde_json::Map::new();
    for (name, key, counts) in [
        ("right after a sale was in use", "after_use", &after_use),
        ("left alone for a minute", "left_alone", &left_alone),
    ] {
        report.insert(key.to_owned(), print(name, counts, options.seconds));
    }
    let json = json!({ "seconds": options.seconds, "target": TARGET, "idle": report });
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{json:#}\n"))?;
    }
    println!("{json}");
    Ok(())
}

/// Creates an event, has one hold granted and the others refused.
async fn use_sale(url: &str) -> Result<(), Box<dyn Error>> {
    let api = address(url)?;
    let event = json!({
        "name": "Idle",
        "currency": "EUR",
        "sections": [{ "name": "Floor", "price": 100, "capacity": 1_000 }],
    });
    let event = beside::event(api, &event).await?;
    let seats = json!({ "event_id": event, "seat_ids": [1, 2, 3] });
    until(api, &post(BOOKINGS, "owner", 0, &seats), 201).await?;
    for user in 1..HOLDS {
        send(api, &post(BOOKINGS, &format!("user-{user:05}"), user, &seats)).await?;
    }
    Ok(())
}

/// The commands of so long a time, by name.
async fn count(
    redis: &fred::clients::Client,
    time: Duration,
) -> Result<BTreeMap<String, u64>, Box<dyn Error>> {
    let before = commands(redis).await?;
    tokio::time::sleep(time).await;
    let mut counts = commands(redis).await?;
    for (name, count) in &mut counts {
        *count -= before.get(name).copied().unwrap_or_default();
    }
    // The first reading.
    counts.entry("info".to_owned()).and_modify(|count| *count = count.saturating_sub(1));
    counts.retain(|_, count| *count > 0);
    Ok(counts)
}

async fn commands(redis: &fred::clients::Client) -> Result<BTreeMap<String, u64>, Box<dyn Error>> {
    let stats: String = redis.info(Some(InfoKind::CommandStats)).await?;
    let lines = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    });
    Ok(lines.collect())
}

fn print(name: &str, counts: &BTreeMap<String, u64>, seconds: u64) -> Value {
    let a_second = |count: u64| count as f64 / seconds as f64;
    let total = a_second(counts.values().sum());
    println!("\nRedis commands a second, {name}: {total:.1} (at most {TARGET})");
    let mut rows: Vec<(&String, &u64)> = counts.iter().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.1));
    for (command, count) in rows {
        println!("  {command:<20}{:>8.2}", a_second(*count));
    }
    json!({ "commands_a_second": total, "commands": counts })
}
