//! Refused holds a second of the whole server, as a ratio to a bare actix-web handler that reads the
//! same JSON and sends as many bytes ([`super::bare`]); and the cost of a refusal in Redis and
//! MongoDB.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::bare::BOOKINGS;
use super::beside::{self, Bare, Case, Compared, How, address, post, print_heading, send, until};
use super::cost::Counters;
use super::load::{Answer, Requests};

/// Users that take turns.
const USERS: usize = 10_000;
/// Seats that are requested and already held.
const SEATS: [u32; 3] = [1, 2, 3];
/// Requests sent at once on a connection, and the required ratio.
const DEPTHS: [(usize, f64); 2] = [(1, 0.9), (16, 0.8)];

/// The command line's options.
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
    #[command(flatten)]
    how: How,
    /// Length of the run whose commands are counted, seconds
    #[arg(long, default_value_t = 10)]
    count_seconds: u64,
    /// A file that is to have the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Runs the comparison and prints it; the last line is the result as JSON.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let api = address(&options.url)?;
    let event = taken_event(api).await?;
    let requests = Arc::new(Requests::new((0..USERS).map(|user| refused_hold(event, user))));
    let sample = one_refusal(api, &refused_hold(event, 0)).await?;
    let arguments = ["refusal", "--body-bytes", &sample.body.len().to_string()];
    let how = &options.how;
    let bare = Bare::start(&arguments.map(str::to_owned), how).await?;
    let mut compared = Vec::new();
    print_heading("refused holds");
    for (depth, target) in DEPTHS {
        compared.push(how.compare(case(depth, target), &requests, &bare, api).await?);
    }
    let counters = Counters::connect(&options.redis_url, &options.mongodb_url).await?;
    let load = how.load(api, &requests, &case(1, 0.0));
    let cost = counters.of(&load, options.count_seconds).await?;
    cost.print();
    let json = json!({
        "how": how.json().await,
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

fn case(depth: usize, target: f64) -> Case {
    let name = format!("{depth} at once on a connection");
    Case { name, depth, status: 409, target: Some(target) }
}

/// Creates an event whose first seats are held during the run; returns its id.
async fn taken_event(api: SocketAddr) -> Result<u64, Box<dyn Error>> {
    let event = json!({
        "name": "Refusals",
        "currency": "EUR",
        "hold_ttl_seconds": 3_600,
        "max_hold_seconds": 3_600,
        "sections": [{ "name": "Floor", "price": 100, "capacity": 1_000 }],
    });
    let event = beside::event(api, &event).await?;
    until(api, &post(BOOKINGS, "owner", 0, &seats_of(event)), 201).await?;
    Ok(event)
}

async fn one_refusal(api: SocketAddr, request: &[u8]) -> Result<Answer, Box<dyn Error>> {
    let answer = send(api, request).await?;
    let body: Value = serde_json::from_slice(&answer.body)?;
    match body["error"].as_str() {
        Some("seats_unavailable") => Ok(answer),
        _ => Err(format!("not refused for its seats: {body}").into()),
    }
}

fn seats_of(event: u64) -> Value {
    json!({ "event_id": event, "seat_ids": SEATS })
}

fn refused_hold(event: u64, user: usize) -> Vec<u8> {
    post(BOOKINGS, &format!("user-{user:05}"), user, &seats_of(event))
}
