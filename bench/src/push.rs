//! Opens thousands of WebSockets. Measures the API's memory for each (its resident memory by
//! `/metrics`, before the first and with all open), and the time from just before a hold is sent
//! until clients have read the change.
//!
//! Some clients are slow and one never reads, beside those that are measured. Clients also check that
//! they get every version once: an update must begin at the client's position.

mod crowd;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crowd::{Crowd, Delivery};

/// Seats of a row.
const SEATS_PER_ROW: usize = 100;
/// Resident memory is stable when it changes by less than this share.
const MEMORY_STABLE_SHARE: f64 = 0.002;
/// Interval of memory readings.
const MEMORY_READ_INTERVAL: Duration = Duration::from_secs(2);
/// Most readings.
const MEMORY_READS_MAX: u32 = 30;
/// Bound of a change's delivery to all readers.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(20);
/// Metric of the API's processor time, seconds.
const CPU: &str = "process_cpu_seconds_total";
/// Budget of a socket, bytes.
const BYTES_TARGET: f64 = 10_240.0;
/// Budget of the delivery to 95 %.
const DELIVERY_TARGET_MS: f64 = 200.0;

/// The command line's options.
#[derive(clap::Args)]
pub struct Options {
    /// The API, with trusted callers on this machine, and with no other work
    #[arg(long, env = "API_URL", default_value = "http://127.0.0.1:8000")]
    url: String,
    /// WebSockets, in all
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=250_000))]
    clients: u32,
    /// How many of them read a few bytes a second
    #[arg(long, default_value_t = 100)]
    slow: u32,
    /// How many of them never read
    #[arg(long, default_value_t = 1)]
    stuck: u32,
    /// Seats of the event
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    seats: u32,
    /// Changes to measure; 0 for memory alone
    #[arg(long, default_value_t = 30)]
    changes: u32,
    /// Time between two changes, milliseconds
    #[arg(long, default_value_t = 1_000)]
    interval_ms: u64,
    /// Write the result there, too
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Opens the sockets, changes seats and prints the figures; the last line is the result as JSON.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let api = Api { http: Client::builder().no_proxy().build()?, url: options.url.clone() };
    let event = api.event(options.seats, options.changes).await?;
    let memory_before = api.stable_memory().await?;
    let crowd = Crowd::open(&options, event).await?;
    let memory_open = api.stable_memory().await?;
    let bytes_a_socket = (memory_open - memory_before) / f64::from(options.clients);
    println!("WebSockets                           {:>10}", options.clients);
    println!("opened in                            {:>10.1} s", crowd.opened_in.as_secs_f64());
    println!("API's memory, before                 {:>10.1} MiB", memory_before / 1_048_576.0);
    println!("API's memory, all open               {:>10.1} MiB", memory_open / 1_048_576.0);
    println!(
        "bytes a socket                       {bytes_a_socket:>10.0}  (at most {BYTES_TARGET})"
    );
    let mut changes = Vec::new();
    let cpu_before = api.metric(CPU).await?;
    for seat in 1..=options.changes {
        let change = change(&api, &crowd, event, seat).await?;
        eprint!("\rchange {seat} of {}: 95% in {:.0} ms   ", options.changes, change.most_ms);
        changes.push(change);
        tokio::time::sleep(Duration::from_millis(options.interval_ms)).await;
    }
    eprintln!();
    let cpu_used = api.metric(CPU).await? - cpu_before;
    let memory_after = api.stable_memory().await?;
    let bytes_after = (memory_after - memory_before) / f64::from(options.clients);
    println!("bytes a socket, after the changes    {bytes_after:>10.0}  (at most {BYTES_TARGET})");
    let mut result = json!({
        "clients": options.clients, "slow": options.slow, "stuck": options.stuck,
        "seats": options.seats, "bytes_a_socket": bytes_a_socket,
        "bytes_a_socket_after": bytes_after, "bytes_target": BYTES_TARGET,
        "changes": options.changes, "told_target_ms": DELIVERY_TARGET_MS,
    });
    if !changes.is_empty() {
        report_deliveries(&changes, &mut result);
        let cpu_ms = 1_000.0 * cpu_used / changes.len() as f64;
        println!("API's processor time a change, ms    {cpu_ms:>10.1}");
        result["cpu_ms_a_change"] = cpu_ms.into();
    }
    let ended = crowd.ended();
    let gaps = crowd.gaps();
    let open = api.metric("holdfast_sockets_open{kind=\"websocket\"}").await?;
    println!("sockets that ended, gaps             {ended:>10} {gaps}");
    result["ended"] = ended.into();
    result["gaps"] = gaps.into();
    result["open"] = open.into();
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{result:#}\n"))?;
    }
    println!("{result}");
    if let Some(violation) = crowd.violation() {
        return Err(format!("a client got an inconsistent message: {violation}").into());
    }
    Ok(())
}

/// Times of one change, ms.
struct Change {
    /// Until the hold's response.
    answered_ms: f64,
    /// Until half of all clients had it.
    half_ms: f64,
    /// Until 95 % of all clients had it.
    most_ms: f64,
    /// Until all readers had it.
    all_ms: f64,
}

/// Holds a seat and waits until all readers have the change.
async fn change(api: &Api, crowd: &Crowd, event: u64, seat: u32) -> Result<Change, Box<dyn Error>> {
    let mut expected = crowd.expect(seat);
    let began = Instant::now();
    let path = format!("/api/v1/bookings?user_id=bench-{seat}");
    let body = json!({ "event_id": event, "seat_ids": [seat] });
    api.ok(api.http.post(api.at(&path)).json(&body)).await?;
    let answered = began.elapsed();
    let all = tokio::time::timeout(CHANGE_TIMEOUT, expected.all()).await;
    let Delivery { times, readers } = expected.so_far();
    if all.is_err() {
        return Err(format!(
            "seat {seat}: only {} of {readers} clients got the change",
            times.len()
        )
        .into());
    }
    let ms = |at: &Instant| at.duration_since(began).as_secs_f64() * 1_000.0;
    // Shares of all clients: slow ones count as not reached.
    let nth = |share: f64| ((f64::from(crowd.clients) * share).ceil() as usize).min(times.len());
    Ok(Change {
        answered_ms: answered.as_secs_f64() * 1_000.0,
        half_ms: ms(&times[nth(0.5) - 1]),
        most_ms: ms(&times[nth(0.95) - 1]),
        all_ms: ms(&times[times.len() - 1]),
    })
}

/// Prints the times of the changes and adds them to the result.
fn report_deliveries(changes: &[Change], result: &mut Value) {
    type Part = (&'static str, &'static str, fn(&Change) -> f64);
    let parts: [Part; 4] = [
        ("hold answered", "answered_ms", |change| change.answered_ms),
        ("50% reached", "half_told_ms", |change| change.half_ms),
        ("95% reached", "most_told_ms", |change| change.most_ms),
        ("all readers reached", "all_told_ms", |change| change.all_ms),
    ];
    println!("\nms after a hold was sent                 median      worst");
    for (label, key, part) in parts {
        let mut times: Vec<f64> = changes.iter().map(part).collect();
        times.sort_by(f64::total_cmp);
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        println!("{label:<36} {median:>10.1} {worst:>10.1}");
        result[key] = json!({ "median": median, "worst": worst });
    }
    let late = changes.iter().filter(|change| change.most_ms > DELIVERY_TARGET_MS).count();
    println!("changes that took 95% over {DELIVERY_TARGET_MS} ms    {late:>10}");
    result["late"] = late.into();
}

/// The API under measurement.
struct Api {
    http: Client,
    url: String,
}

impl Api {
    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Returns the body of a successful response.
    async fn ok(&self, request: RequestBuilder) -> Result<Value, Box<dyn Error>> {
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        match status.is_success() {
            true => Ok(serde_json::from_str(&text)?),
            false => Err(format!("{status}: {text}").into()),
        }
    }

    /// Creates an event on sale.
    async fn event(&self, seats: u32, held: u32) -> Result<u64, Box<dyn Error>> {
        if held > seats {
            return Err("there are fewer seats than changes".into());
        }
        let whole = seats as usize / SEATS_PER_ROW;
        let lengths = std::iter::repeat_n(SEATS_PER_ROW, whole);
        let rest = Some(seats as usize % SEATS_PER_ROW).filter(|rest| *rest > 0);
        let rows: Vec<Value> = lengths
            .chain(rest)
            .enumerate()
            .map(|(row, seats)| json!({ "row": (row + 1).to_string(), "seats": seats }))
            .collect();
        let event = json!({
            "name": "Benchmark", "currency": "EUR", "hold_ttl_seconds": 3_600,
            "max_hold_seconds": 3_600,
            "sections": [{ "name": "Floor", "price": 100, "rows": rows }],
        });
        let made = self.ok(self.http.post(self.at("/api/v1/events")).json(&event)).await?;
        made["id"].as_u64().ok_or_else(|| format!("no id: {made}").into())
    }

    /// Returns a value of `/metrics` by name and label.
    async fn metric(&self, name: &str) -> Result<f64, Box<dyn Error>> {
        let text =
            self.http.get(self.at("/metrics")).send().await?.error_for_status()?.text().await?;
        // Another label of the process may come first.
        let (name, label) = name.split_once('{').unwrap_or((name, ""));
        let label = label.trim_end_matches('}');
        let line = text.lines().find(|line| line.starts_with(name) && line.contains(label));
        let value = line.and_then(|line| line.rsplit(' ').next());
        Ok(value.ok_or_else(|| format!("no metric {name}"))?.parse()?)
    }

    /// Waits until the process' resident memory is stable; returns it, bytes.
    async fn stable_memory(&self) -> Result<f64, Box<dyn Error>> {
        let mut before = self.memory().await?;
        for _ in 0..MEMORY_READS_MAX {
            tokio::time::sleep(MEMORY_READ_INTERVAL).await;
            let now = self.memory().await?;
            if (now - before).abs() < before * MEMORY_STABLE_SHARE {
                return Ok(now);
            }
            before = now;
        }
        Err("the API's memory does not become stable".into())
    }

    async fn memory(&self) -> Result<f64, Box<dyn Error>> {
        self.metric("process_resident_memory_bytes").await
    }
}
