//! Before the crowd comes: the event is created, or looked up, and its map is read.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyper::Method;
use serde_json::{Value, json};

use crate::Failure;
use crate::client::{Client, HttpRequest, Target};
use crate::history::{FORMAT, Run, Writer, Written};
use crate::options::RunOptions;
use crate::seats::SeatMap;
use crate::shop::Shop;
use crate::tally::Tally;

/// Seats of a row of the new event.
const ROW_SEATS: u32 = 50;
/// From the last preparation to the sale's beginning: time to send the first buyers out.
const OPENS_AFTER: Duration = Duration::from_millis(500);

/// The sale as buyers will find it, and the thread that writes its history.
pub async fn open(options: RunOptions) -> Result<(Shop, Written), Failure> {
    let client = Client::new(Target {
        urls: options.url.clone(),
        in_flight_max: options.in_flight as usize,
        timeout: Duration::from_millis(options.timeout_ms),
    })?;
    let event = event(&client, &options).await?;
    let number = |name: &str| {
        let value = event[name].as_u64();
        value.ok_or_else(|| format!("the event has no `{name}`: {event}"))
    };
    let (id, total) = (number("id")? as u32, number("total_seats")? as u32);
    let status = event["status"].as_str().unwrap_or_default();
    if status != "ON_SALE" {
        return Err(format!("event {id} is {status}, not ON_SALE").into());
    }
    let request =
        HttpRequest { raw: true, ..request(Method::GET, format!("/api/v1/events/{id}/seats")) };
    let reply = answered(&client, &request).await?;
    let map = SeatMap::read(&reply, total).ok_or("the seat map cannot be read")?;
    let unix = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let run = Run {
        format: FORMAT,
        event: id,
        total_seats: total,
        hold_ttl_ms: number("hold_ttl_seconds")? * 1_000,
        exclusive: options.event.is_none(),
        began_unix_ms: (unix + OPENS_AFTER).as_millis() as u64,
    };
    // Another run's users and keys are others, whatever the event.
    let name = format!("s{:x}", run.began_unix_ms);
    let (history, written) = Writer::create(&options.history, run)?;
    let shop = Shop {
        client,
        event: id,
        total_seats: total,
        map,
        tally: Tally::new(),
        history,
        began: Instant::now() + OPENS_AFTER,
        last_answer_ns: AtomicU64::new(0),
        name,
        options,
    };
    Ok((shop, written))
}

async fn event(client: &Client, options: &RunOptions) -> Result<Value, Failure> {
    let request = match options.event {
        Some(id) => request(Method::GET, format!("/api/v1/events/{id}")),
        None => HttpRequest {
            body: Some(new_event(options)),
            headers: options.admin_key.iter().map(|key| ("x-admin-key", key.clone())).collect(),
            ..request(Method::POST, "/api/v1/events".to_owned())
        },
    };
    Ok(serde_json::from_slice(&answered(client, &request).await?)?)
}

/// Two blocks of rows, and a fifth of the places as general admission.
fn new_event(options: &RunOptions) -> Value {
    let floor = options.seats / 5;
    let seated = options.seats - floor;
    let stalls = seated / 2;
    let rows = |seats: u32| -> Value {
        let full = (0..seats / ROW_SEATS).map(|_| ROW_SEATS);
        let rest = Some(seats % ROW_SEATS).filter(|rest| *rest > 0);
        let row = |(n, seats)| json!({ "row": format!("R{}", n + 1), "seats": seats });
        full.chain(rest).enumerate().map(row).collect()
    };
    json!({
        "name": "Flash sale",
        "venue": "Load test",
        "currency": "EUR",
        "hold_ttl_seconds": options.hold_ttl_seconds,
        "max_hold_seconds": options.hold_ttl_seconds,
        "sections": [
            { "name": "Stalls", "price": 9_000, "rows": rows(stalls) },
            { "name": "Circle", "price": 6_000, "rows": rows(seated - stalls) },
            { "name": "Floor", "price": 4_000, "capacity": floor },
        ],
    })
}

/// How many seats are held now.
pub async fn held_seats(shop: &Shop) -> Result<u64, Failure> {
    let path = format!("/api/v1/events/{}/availability", shop.event);
    let body: Value =
        serde_json::from_slice(&answered(&shop.client, &request(Method::GET, path)).await?)?;
    Ok(body["held_seats"].as_u64().ok_or("availability has no `held_seats`")?)
}

fn request(method: Method, path: String) -> HttpRequest {
    HttpRequest { method, path, headers: Vec::new(), raw: false, body: None }
}

async fn answered(client: &Client, request: &HttpRequest) -> Result<Vec<u8>, Failure> {
    let what = || format!("{} {}", request.method, request.path);
    match client.call(request).await.reply {
        Ok(reply) if reply.status < 300 => Ok(reply.body.to_vec()),
        Ok(reply) => {
            let detail = reply.json()["detail"].as_str().unwrap_or_default().to_owned();
            Err(format!("{}: {} {detail}", what(), reply.status).into())
        }
        Err(none) => Err(format!("{}: {}; is the API at --url?", what(), none.as_str()).into()),
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
        for seats in [10, 77, 200, 5_000] {
            let seats_flag = seats.to_string();
            let cli = Cli::try_parse_from(["run", "--seats", &seats_flag]).unwrap();
            let event = new_event(&cli.options);
            let sections = event["sections"].as_array().unwrap();
            let count = |section: &Value| match section["rows"].as_array() {
                Some(rows) => rows.iter().map(|row| row["seats"].as_u64().unwrap()).sum(),
                None => section["capacity"].as_u64().unwrap(),
            };
            assert_eq!(sections.iter().map(count).sum::<u64>(), seats);
            assert!(sections.iter().all(|section| count(section) > 0), "{event}");
        }
    }
}
