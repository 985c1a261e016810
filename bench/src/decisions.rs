//! Decisions a second through the engine, as ratios to the `clock` script, which does nothing but
//! answer: the rest of its cost is connection, protocol and script call.
//!
//! The three kinds of call take turns in short rounds, so that a noisy machine hits all alike;
//! the median round counts.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdfast::domain::{Layout, SeatId, Section};
use holdfast::redis::SeatSelection;

use super::stage::{self, PRICE, must_be};

/// Seats of the event: a granted hold takes one of them for good.
const SEATS: u32 = 1_000_000;
/// Seats that are taken before the rounds: refused holds ask for these.
const TAKEN: u32 = 3;

/// The command line's options.
#[derive(clap::Args)]
pub struct Options {
    /// Redis to measure on; its keys below a unique prefix are left behind
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    redis_url: String,
    /// Calls under way at once
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Length of one round, ms
    #[arg(long, default_value_t = 500)]
    round_ms: u64,
    /// Rounds of each kind
    #[arg(long, default_value_t = 7)]
    rounds: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Clock,
    Refused,
    Granted,
}

const KINDS: [(Kind, &str); 3] = [
    (Kind::Clock, "script that does nothing"),
    (Kind::Refused, "3-seat hold, refused"),
    (Kind::Granted, "1-seat hold, granted"),
];

struct Stage {
    on: stage::Stage,
    next_seat: AtomicU64,
}

/// Runs the comparison and prints it; the last line is the result as JSON.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let stage = Arc::new(Stage::open(&options.redis_url).await?);
    let mut rates: [Vec<f64>; KINDS.len()] = Default::default();
    for round in 0..options.rounds {
        for (index, (kind, _)) in KINDS.iter().enumerate() {
            rates[index].push(stage.round(*kind, &options).await?);
        }
        eprint!("\rround {} of {}", round + 1, options.rounds);
    }
    eprintln!();
    let medians = rates.map(median);
    println!("{:<26} {:>10} {:>8}", "", "per second", "ratio");
    for ((_, name), rate) in KINDS.iter().zip(medians) {
        println!("{name:<26} {rate:>10.0} {:>8.2}", rate / medians[0]);
    }
    let json = serde_json::json!({
        "concurrency": options.concurrency,
        "clock_per_second": medians[0],
        "refused_per_second": medians[1],
        "granted_per_second": medians[2],
        "refused_ratio": medians[1] / medians[0],
        "granted_ratio": medians[2] / medians[0],
    });
    println!("{json}");
    Ok(())
}

/// The middle one; of an even number, the mean of the two in the middle. 0 of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => (at(middle.saturating_sub(1)) + at(middle)) / 2.0,
        _ => at(middle),
    }
}

impl Stage {
    async fn open(url: &str) -> Result<Self, Box<dyn Error>> {
        let floor =
            Section { name: "Floor".into(), price: PRICE, rows: None, capacity: Some(SEATS) };
        let on = stage::Stage::open(url, Layout::new(vec![floor])?, None).await?;
        let next_seat = AtomicU64::new(u64::from(TAKEN) + 1);
        let stage = Stage { on, next_seat };
        stage.hold("owner", &[SeatId(1), SeatId(2), SeatId(3)], "ok").await?;
        Ok(stage)
    }

    /// Calls a second of one kind, in one round.
    async fn round(self: &Arc<Self>, kind: Kind, options: &Options) -> Result<f64, Box<dyn Error>> {
        let began = Instant::now();
        let until = began + Duration::from_millis(options.round_ms);
        let callers = (0..options.concurrency).map(|caller| {
            let stage = self.clone();
            tokio::spawn(async move {
                let mut calls = 0_u64;
                while Instant::now() < until {
                    stage.call(kind, caller, calls).await.map_err(|error| error.to_string())?;
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

    async fn call(&self, kind: Kind, caller: usize, call: u64) -> Result<(), Box<dyn Error>> {
        match kind {
            Kind::Clock => self.on.engine.redis_time_ms(self.on.partition).await.map(drop)?,
            Kind::Refused => {
                let user = format!("u{caller}-{call}");
                self.hold(&user, &[SeatId(1), SeatId(2), SeatId(3)], "seats_unavailable").await?;
            }
            Kind::Granted => {
                let seat = self.next_seat.fetch_add(1, Ordering::Relaxed);
                let seat = SeatId(u32::try_from(seat)?);
                self.hold(&format!("u{caller}-{call}-{seat}"), &[seat], "ok").await?;
            }
        }
        Ok(())
    }

    async fn hold(&self, user: &str, seats: &[SeatId], want: &str) -> Result<(), Box<dyn Error>> {
        must_be(self.on.hold(user, SeatSelection::named(seats, PRICE)).await?.code(), want)
    }
}
