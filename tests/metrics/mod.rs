//! The metrics that processes export: where, which, and with what values.
//!
//! Each metric of the table is moved in a scenario that asserts its value (`table.rs` names the file).

mod faults;
mod port;
mod rooms;
mod sale;
mod secrets;
mod table;
mod tasks;

use std::time::Duration;

use crate::support::api::{Api, Place, places};
use crate::support::eventually;
use crate::support::http::Client;
use crate::support::process::Process;
use crate::support::servers::free_port;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A worker's program, with a client of its metrics.
struct Worker {
    process: Process,
    client: Client,
}

impl Worker {
    async fn start(place: &Place, settings: &[(&str, &str)]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let listen = [("HOLDFAST_WORKER_LISTEN", address.as_str())];
        let process = place.worker_at_work(&[&listen, settings].concat()).await;
        Worker { process, client: Client::new(&format!("http://{address}")) }
    }
}

async fn exported(process: &Client) -> String {
    process.get("/metrics").send().await.text()
}

/// The value of a series, written as Prometheus does; of a name alone the sum over its labels.
fn value(text: &str, series: &str) -> Option<f64> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(series));
    let rests = lines.filter(|rest| rest.starts_with([' ', '{']));
    let values: Vec<f64> =
        rests.map(|rest| rest.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

/// Waits until a series has such a value.
async fn shows(process: &Client, series: &str, is_right: impl Fn(f64) -> bool) {
    let mut last = None;
    let text = format!("{series} has the right value");
    eventually(&text, PATIENCE, async || {
        let found = value(&exported(process).await, series);
        if found != last {
            eprintln!("{series}: {found:?}");
            last = found;
        }
        found.is_some_and(&is_right)
    })
    .await;
}

/// Waits until a series has this value.
async fn is(process: &Client, series: &str, expected: f64) {
    shows(process, series, |value| value == expected).await;
}

/// Waits until no series has this text.
async fn vanishes(process: &Client, part: &str) {
    let text = format!("nothing is exported of {part}");
    eventually(&text, PATIENCE, async || !exported(process).await.contains(part)).await;
}
