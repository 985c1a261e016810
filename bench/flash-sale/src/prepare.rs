//! Before the crowd comes: the event is created, or looked up, and its map is read.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyper::Method;
use serde_json::{Value, json};

use crate::Failure;
use crate::client::{Client, HttpRequest, Target};
use crate::history::{FORMAT, Run, SoldEvent, Writer, Written};
use crate::options::RunOptions;
use crate::plan::Crowd;
use crate::seats::SeatMap;
use crate::shop::{EventOnSale, Shop};
use crate::tally::Tally;

/// Seats of a row of the new event.
const ROW_SEATS: u32 = 50;
/// From the last preparation to the sale's beginning: time to send the first buyers out.
const OPENS_AFTER: Duration = Duration::from_millis(500);
/// Attempts to read what a busy server does not serve at the moment or limits, and the pause between
/// two without `Retry-After`.
const READ_TRIES_MAX: u32 = 5;
const READ_PAUSE: Duration = Duration::from_secs(1);
/// The longest wait for a waiting room to be on, seconds.
const ROOM_SECONDS_MAX: f64 = 10.0;

/// Names of the run's events.
const NAMES: [&str; 2] = ["Flash sale", "Quiet sale"];

/// The sale as buyers will find it, and the thread that writes its history.
pub async fn open(options: RunOptions, crowd: Crowd) -> Result<(Shop, Written), Failure> {
    let client = Client::new(Target {
        urls: options.url.clone(),
        in_flight_max: options.in_flight as usize,
        timeout: Duration::from_millis(options.timeout_ms),
    })?;
    let mut events = vec![on_sale(&client, &options, options.seats, NAMES[0]).await?];
    if let Some(seats) = options.quiet.seats {
        events.push(on_sale(&client, &options, seats, NAMES[1]).await?);
    }
    if let Some(limit) = options.room.limit {
        enable_room(&client, &options, events[0].id, limit).await?;
        events[0].has_room = true;
    }
    let unix = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let sold = |one: &EventOnSale| SoldEvent {
        event: one.id,
        total_seats: one.total_seats,
        hold_ttl_ms: one.hold_ttl_ms,
    };
    let run = Run {
        format: FORMAT,
        events: events.iter().map(sold).collect(),
        exclusive: options.event.is_none(),
        began_unix_ms: (unix + OPENS_AFTER).as_millis() as u64,
    };
    // Another run's users and keys are others, whatever the event.
    let name = format!("s{:x}", run.began_unix_ms);
    let began_unix_ms = run.began_unix_ms;
    let (history, written) = match options.keeps_history() {
        true => Writer::create(&options.history, run)?,
        false => Writer::checking(run),
    };
    let shop = Shop {
        client,
        crowd,
        tally: Tally::new(events.len()),
        events,
        history,
        began: Instant::now() + OPENS_AFTER,
        began_unix_ms,
        last_answer_ns: AtomicU64::new(0),
        name,
        options,
    };
    Ok((shop, written))
}

/// Creates an event, or looks the one of the options up, and reads its map.
async fn on_sale(
    client: &Client,
    options: &RunOptions,
    seats: u32,
    name: &str,
) -> Result<EventOnSale, Failure> {
    let request = match options.event {
        Some(id) => request(Method::GET, format!("/api/v1/events/{id}")),
        None => HttpRequest {
            body: Some(new_event(options, seats, name)),
            headers: admin_key(options),
            ..request(Method::POST, "/api/v1/events".to_owned())
        },
    };
    let event: Value = serde_json::from_slice(&answered(client, &request).await?)?;
    let number = |name: &str| {
        let value = event[name].as_u64();
        value.ok_or_else(|| format!("the event has no `{name}`: {event}"))
    };
    let (id, total_seats) = (number("id")? as u32, number("total_seats")? as u32);
    let status = event["status"].as_str().unwrap_or_default();
    if status != "ON_SALE" {
        return Err(format!("event {id} is {status}, not ON_SALE").into());
    }
    let seats = HttpRequest {
        raw: true,
        ..self::request(Method::GET, format!("/api/v1/events/{id}/seats"))
    };
    let reply = answered(client, &seats).await?;
    Ok(EventOnSale {
        id,
        name: event["name"].as_str().unwrap_or(name).to_owned(),
        total_seats,
        hold_ttl_ms: number("hold_ttl_seconds")? * 1_000,
        map: SeatMap::read(&reply, total_seats).ok_or("the seat map cannot be read")?,
        has_room: false,
    })
}

/// Switches an event's waiting room on and waits until every process has learned it.
async fn enable_room(
    client: &Client,
    options: &RunOptions,
    event: u32,
    limit: u32,
) -> Result<(), Failure> {
    let request = HttpRequest {
        body: Some(json!({
            "max_concurrent": limit,
            "session_duration": options.room.session_seconds,
        })),
        headers: admin_key(options),
        ..request(Method::POST, format!("/api/v1/events/{event}/waiting-room/enable"))
    };
    let body: Value = serde_json::from_slice(&answered(client, &request).await?)?;
    let seconds = body["effective_within_seconds"].as_f64().unwrap_or_default();
    tokio::time::sleep(Duration::from_secs_f64(seconds.clamp(0.0, ROOM_SECONDS_MAX))).await;
    Ok(())
}

/// Returns the header of the admin key, if there is one.
pub fn admin_key(options: &RunOptions) -> Vec<(&'static str, String)> {
    options.admin_key.iter().map(|key| ("x-admin-key", key.clone())).collect()
}

/// Two blocks of rows, and a fifth of the places as general admission.
fn new_event(options: &RunOptions, seats: u32, name: &str) -> Value {
    let floor = seats / 5;
    let seated = seats - floor;
    let stalls = seated / 2;
    let rows = |seats: u32| -> Value {
        let full = (0..seats / ROW_SEATS).map(|_| ROW_SEATS);
        let rest = Some(seats % ROW_SEATS).filter(|rest| *rest > 0);
        let row = |(n, seats)| json!({ "row": format!("R{}", n + 1), "seats": seats });
        full.chain(rest).enumerate().map(row).collect()
    };
    let mut event = json!({
        "name": name,
        "venue": "Load test",
        "currency": "EUR",
        "hold_ttl_seconds": options.hold_ttl_seconds,
        "max_hold_seconds": options.hold_ttl_seconds,
        "sections": [
            { "name": "Stalls", "price": 9_000, "rows": rows(stalls) },
            { "name": "Circle", "price": 6_000, "rows": rows(seated - stalls) },
            { "name": "Floor", "price": 4_000, "capacity": floor },
        ],
    });
    if let Some(most) = options.seats_per_user {
        event["max_seats_per_user"] = json!(most);
    }
    event
}

/// How many seats of all events are held now. `watcher` is the user that asks.
pub async fn held_seats(shop: &Shop, watcher: &str) -> Result<u64, Failure> {
    let mut held = 0;
    for event in &shop.events {
        let mut request = request(Method::GET, format!("/api/v1/events/{}/availability", event.id));
        request.headers = admin_key(&shop.options);
        request.headers.push(("x-user-id", watcher.to_owned()));
        let body: Value = serde_json::from_slice(&answered(&shop.client, &request).await?)?;
        held += body["held_seats"].as_u64().ok_or("availability has no `held_seats`")?;
    }
    Ok(held)
}

/// A request without headers and body.
pub fn request(method: Method, path: String) -> HttpRequest {
    HttpRequest { method, path, headers: Vec::new(), raw: false, body: None }
}

/// Returns the body of a success. A read that the server limits, or cannot serve at the moment, is
/// repeated after its `Retry-After`.
async fn answered(client: &Client, request: &HttpRequest) -> Result<Vec<u8>, Failure> {
    let what = || format!("{} {}", request.method, request.path);
    let mut tries = if request.method == Method::GET { READ_TRIES_MAX } else { 1 };
    loop {
        tries -= 1;
        match client.call(request).await.reply {
            Ok(reply) if reply.status < 300 => return Ok(reply.body.to_vec()),
            Ok(reply) if matches!(reply.status, 429 | 503) && tries > 0 => {
                tokio::time::sleep(reply.retry_after.unwrap_or(READ_PAUSE)).await;
            }
            Ok(reply) => {
                let detail = reply.json()["detail"].as_str().unwrap_or_default().to_owned();
                return Err(format!("{}: {} {detail}", what(), reply.status).into());
            }
            Err(none) => {
                let why = none.as_str();
                return Err(format!("{}: {why}; is the API at --url?", what()).into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_event_has_the_seats_that_were_asked_for() {
        use clap::Parser;
        #[derive(Parser)]
        struct Cli {
            #[command(flatten)]
            options: RunOptions,
        }
        let cli = Cli::try_parse_from(["run"]).unwrap();
        for seats in [10, 77, 200, 5_000] {
            let event = new_event(&cli.options, seats, "Sale");
            let sections = event["sections"].as_array().unwrap();
            let count = |section: &Value| match section["rows"].as_array() {
                Some(rows) => rows.iter().map(|row| row["seats"].as_u64().unwrap()).sum(),
                None => section["capacity"].as_u64().unwrap(),
            };
            assert_eq!(sections.iter().map(count).sum::<u64>(), u64::from(seats));
            assert!(sections.iter().all(|section| count(section) > 0), "{event}");
        }
    }
}
