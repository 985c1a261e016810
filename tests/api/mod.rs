//! The API over HTTP: shapes, idempotency, ownership, admin rules, operations, start and shutdown of the
//! program.

mod admin;
mod attacks;
mod blocks;
mod bookings;
mod box_office;
mod cancellation;
mod console;
mod events;
mod hardening;
mod idempotency;
mod identity;
mod lists;
mod live_reads;
mod operations;
mod other_sites;
mod preflights;
mod program;
mod quantity;
mod receipts;
mod retention;
mod sale_times;
mod sales;
mod seats;
mod unloaded;

use serde_json::Value;

/// Whether a value is a time as the API writes times: ISO 8601 in UTC with milliseconds.
fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| {
        text.len() == "2026-03-01T18:00:00.000Z".len()
            && text.ends_with('Z')
            && text.parse::<jiff::Timestamp>().is_ok()
    })
}

/// The names of an object's fields, sorted.
fn names(value: &Value) -> Vec<&str> {
    let fields = value.as_object().expect("an object").keys();
    let mut names: Vec<&str> = fields.map(String::as_str).collect();
    names.sort_unstable();
    names
}
