//! A million seats against a thousand: what it takes to open the event, and what a hold costs.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast::config::Config;
use holdfast::domain::seat_request::{SectionRange, matching_sections};
use holdfast::domain::{Layout, Quantity, SeatId};
use holdfast::redis::{SeatSelection, new_nonce};
use holdfast::sale::{Events, NewEvent};
use holdfast::start;

use super::decisions::median;
use super::stage::{PRICE, Stage, must_be, quantity, rows_of_a_hundred};

/// Sections of a hundred rows of a hundred seats: a million seats.
const SECTIONS: u32 = 100;
/// Rows of a hundred seats in each.
const ROWS: u32 = 100;

/// The command line's options.
#[derive(clap::Args)]
pub struct Options {
    /// Redis to measure on; its keys below a unique prefix are left behind
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    redis_url: String,
    /// MongoDB of the event that is opened; its own database is left behind
    #[arg(long, default_value = "mongodb://127.0.0.1:27017")]
    mongodb_url: String,
    /// Calls under way at once
    #[arg(long, default_value_t = 32)]
    concurrency: u32,
    /// Length of one round, ms
    #[arg(long, default_value_t = 500)]
    round_ms: u64,
    /// Rounds of each kind
    #[arg(long, default_value_t = 9)]
    rounds: usize,
}

/// Runs the comparison and prints it; the last line is the result as JSON.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let opened_seconds = open_a_million(&options).await?;
    println!("a million seats: created and on sale in {opened_seconds:.2} s");
    let big = (1..=SECTIONS).map(|n| rows_of_a_hundred(&n.to_string(), ROWS)).collect();
    let big = Arc::new(Stage::open(&options.redis_url, Layout::new(big)?, None).await?);
    let small = Layout::new(vec![rows_of_a_hundred("1", 10)])?;
    let small = Arc::new(Stage::open(&options.redis_url, small, None).await?);
    let mut times = [const { Vec::new() }; 4];
    for round in 0..options.rounds {
        for (index, (stage, by_name)) in
            [(&small, true), (&big, true), (&small, false), (&big, false)].into_iter().enumerate()
        {
            times[index].push(1.0 / rate(stage, by_name, &options).await?);
        }
        eprint!("\rround {} of {}", round + 1, options.rounds);
    }
    eprintln!();
    let [small_named, big_named, small_found, big_found] = times.map(median);
    let (named, found) = (big_named / small_named, big_found / small_found);
    println!("a hold (and its cancellation) of a million seats costs, of one of a thousand:");
    println!("  a named seat             {named:.2}");
    println!("  one of a section         {found:.2}");
    let json = serde_json::json!({
        "opened_seconds": opened_seconds, "named_ratio": named, "found_ratio": found,
        "ratio_target": 1.2, "opened_seconds_target": 5,
    });
    println!("{json}");
    Ok(())
}

/// The whole way of `POST /events`, without HTTP: MongoDB, Redis, both phases.
async fn open_a_million(options: &Options) -> Result<f64, Box<dyn Error>> {
    let name = format!("bench_{}", new_nonce());
    let config = Config {
        redis_url: options.redis_url.as_str().into(),
        redis_namespace: name.clone(),
        mongodb_url: options.mongodb_url.as_str().into(),
        mongodb_database: name,
        ..Config::default()
    };
    let engine = start::existing_engine(&config).await?;
    let archive = start::archive(&config).await?;
    let events = Events::new(engine, archive, start::sale_settings(&config));
    let sections = (1..=SECTIONS).map(|n| rows_of_a_hundred(&n.to_string(), ROWS)).collect();
    let new = NewEvent {
        name: "A million".into(),
        description: None,
        venue: None,
        currency: None,
        starts_at_ms: None,
        on_sale_at_ms: None,
        off_sale_at_ms: None,
        hold_ttl_seconds: None,
        max_hold_seconds: None,
        max_seats_per_user: None,
        orphan_rule: None,
        cancel_policy: Default::default(),
        sections,
    };
    let began = Instant::now();
    let created = events.create(new).await?;
    match created.available_seats {
        Some(1_000_000) => Ok(began.elapsed().as_secs_f64()),
        other => Err(format!("{other:?} seats are free").into()),
    }
}

/// Holds, each given back, a second.
async fn rate(stage: &Arc<Stage>, by_name: bool, options: &Options) -> Result<f64, Box<dyn Error>> {
    let began = Instant::now();
    let until = began + Duration::from_millis(options.round_ms);
    let callers = (1..=options.concurrency).map(|caller| {
        let stage = stage.clone();
        tokio::spawn(async move {
            let anywhere = Quantity { seats: 1, section: None, together: true, max_price: None };
            // The last section: everything before it lies in the way of the search.
            let place: Vec<SectionRange> =
                matching_sections(&stage.event.layout, &anywhere).pop().into_iter().collect();
            let mut calls = 0_u64;
            while Instant::now() < until {
                one(&stage, by_name, caller, &place).await.map_err(|error| error.to_string())?;
                calls += 1;
            }
            Ok::<u64, String>(calls)
        })
    });
    let mut calls = 0;
    for caller in callers.collect::<Vec<_>>() {
        calls += caller.await??;
    }
    Ok(calls as f64 / began.elapsed().as_secs_f64())
}

async fn one(
    stage: &Stage,
    by_name: bool,
    caller: u32,
    place: &[SectionRange],
) -> Result<(), Box<dyn Error>> {
    // A seat of the caller's own, at the end of the event.
    let seat = [SeatId(stage.event.layout.total_seats() - caller)];
    let wanted = match by_name {
        true => SeatSelection::named(&seat, PRICE),
        false => quantity(1, false, place),
    };
    let answer = stage.hold(&format!("u{caller}"), wanted).await?;
    must_be(answer.code(), "ok")?;
    stage.cancel(&answer.into_booking()?).await
}
