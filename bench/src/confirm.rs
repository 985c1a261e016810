//! The duration of a confirmation, as a ratio to one write with majority and journal: both measured
//! in turn, in one run, on the same MongoDB.

use std::error::Error;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast::config::Config;
use holdfast::domain::SeatId;
use holdfast::lifecycle::shutdown_channel;
use holdfast::redis::new_nonce;
use holdfast::sale::{ConfirmRequest, Confirmed, HoldRequest, NewEvent, Sale, SeatRequest};
use holdfast::telemetry::Metrics;
use holdfast::{start, worker};
use mongodb::Client;
use mongodb::bson::doc;
use mongodb::options::{Acknowledgment, InsertOneOptions, WriteConcern};

use super::decisions::median;
use super::stage::rows_of_a_hundred;

/// Rows of a hundred seats: more than rounds.
const ROWS: u32 = 100;
/// The most that a confirmation's median may be, as a ratio.
const RATIO_TARGET: f64 = 5.0;
/// The sequential writes between `confirm` and its receipt. Writes in one line are concurrent.
const WRITES_IN_A_ROW: [&str; 4] = [
    "the intent (API)",
    "the charge in the simulated provider's books (a real one has its own)",
    "ledger, booking and claims (worker)",
    "the outcome (worker)",
];
/// How long the archive may take to confirm.
const CONFIRM_WAIT_MS: u64 = 20_000;

/// The command line's options.
#[derive(clap::Args)]
pub struct Options {
    /// Redis to measure on; its keys below a unique prefix are left behind
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    redis_url: String,
    /// MongoDB to measure on; its own database is left behind
    #[arg(long, default_value = "mongodb://127.0.0.1:27017")]
    mongodb_url: String,
    /// Confirmations, and as many single writes
    #[arg(long, default_value_t = 300)]
    rounds: u32,
}

/// Runs the comparison and prints it; the last line is the result as JSON.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let name = format!("bench_{}", new_nonce());
    let config = Arc::new(Config {
        redis_url: options.redis_url.as_str().into(),
        redis_namespace: name.clone(),
        mongodb_url: options.mongodb_url.as_str().into(),
        mongodb_database: name,
        confirm_wait_ms: CONFIRM_WAIT_MS,
        max_seats_per_user: 1_000_000,
        worker_consumer: "bench".to_owned(),
        ..Config::default()
    });
    let metrics = Metrics::new("holdfast-bench");
    let (trigger, shutdown) = shutdown_channel();
    let services = start::connect(&config, &metrics).await?;
    let sale = start::sale(&services, &config, &metrics, &shutdown)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let working = tokio::spawn(worker::run(
        listener,
        config.clone(),
        start::connect(&config, &metrics).await?,
        metrics,
        shutdown,
    ));
    let measured = measure(&sale, &config, options.rounds).await;
    trigger.request();
    working.await??;
    services.supervisor.finish(TASKS_END_TIMEOUT).await;
    print(measured?);
    Ok(())
}

/// How long the sale's background tasks may take to end.
const TASKS_END_TIMEOUT: Duration = Duration::from_secs(10);

/// Median times, seconds.
struct Measured {
    confirm: f64,
    write: f64,
}

async fn measure(sale: &Sale, config: &Config, rounds: u32) -> Result<Measured, Box<dyn Error>> {
    let event = sale.create_event(event()).await?.event.id;
    let books = Client::with_uri_str(config.mongodb_url.expose()).await?;
    let books = books.database(&config.mongodb_database).collection("single_writes");
    let majority = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
    let durable = InsertOneOptions::builder().write_concern(majority).build();
    let (mut confirms, mut writes) = (Vec::new(), Vec::new());
    // The first round meets cold connections and is left out.
    for round in 0..=rounds {
        let hold = HoldRequest {
            user: "buyer".parse()?,
            event,
            seats: SeatRequest::Named(vec![SeatId(round + 1)]),
            key: None,
            room_number: 0,
            exempt: false,
            trace: String::new(),
        };
        let held = sale.hold(sale.plan_hold(hold).await?).await?.booking;
        let request = ConfirmRequest {
            user: held.user.clone(),
            booking: held.id,
            payment_method: "card_ok".to_owned(),
            amount: None,
            key: None,
        };
        let began = Instant::now();
        let confirmed = sale.confirm(request).await?;
        let took = began.elapsed();
        let Confirmed::Settled(_) = confirmed else {
            return Err("the archive did not confirm in time: is the machine overloaded?".into());
        };
        let began = Instant::now();
        books.insert_one(doc! { "round": i64::from(round) }).with_options(durable.clone()).await?;
        if round > 0 {
            confirms.push(took.as_secs_f64());
            writes.push(began.elapsed().as_secs_f64());
        }
        if round % 10 == 0 {
            eprint!("\rround {round} of {rounds}");
        }
    }
    eprintln!();
    Ok(Measured { confirm: median(confirms), write: median(writes) })
}

fn print(Measured { confirm, write }: Measured) {
    let ratio = confirm / write;
    let ms = |seconds: f64| Duration::from_secs_f64(seconds).as_secs_f64() * 1_000.0;
    println!("a confirmation, from `confirm` to its receipt   {:8.2} ms", ms(confirm));
    println!("one write that a majority has journalled        {:8.2} ms", ms(write));
    println!(
        "ratio                                           {ratio:8.2}  (at most {RATIO_TARGET})"
    );
    println!("writes that lie one after another on its way: {}", WRITES_IN_A_ROW.len());
    for (index, write) in WRITES_IN_A_ROW.iter().enumerate() {
        println!("  {}. {write}", index + 1);
    }
    let json = serde_json::json!({
        "confirm_ms": ms(confirm), "write_ms": ms(write), "ratio": ratio,
        "ratio_target": RATIO_TARGET, "writes_in_a_row": WRITES_IN_A_ROW.len(),
    });
    println!("{json}");
}

fn event() -> NewEvent {
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
        max_seats_per_user: Some(1_000_000),
        orphan_rule: None,
        cancel_policy: Default::default(),
        sections: vec![rows_of_a_hundred("Floor", ROWS)],
    }
}
