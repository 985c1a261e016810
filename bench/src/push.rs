//! Open WebSockets by the thousand: what each takes of the API's memory (its resident memory as
//! `/metrics` tells it, before the first and once all are open), and how soon all of them know of a
//! change (from just before the hold is asked for until a client has read it).
//!
//! Some clients are slow and one never reads; the others are measured beside them. Clients also
//! check that each is told every version once: what it hears must begin where it was.

mod crowd;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crowd::{ClientMessage, Crowd};

/// Seats of a row.
const SEATS_PER_ROW: usize = 100;
/// Resident memory is at rest when it moved by less than this share.
const MEMORY_AT_REST: f64 = 0.002;
/// Time between two looks at it.
const MEMORY_LOOK_EVERY: Duration = Duration::from_secs(2);
/// Looks at most.
const MEMORY_LOOKS_MAX: u32 = 30;
/// How long a change may take to reach everybody who reads.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(20);
/// Seconds of processor time that the API has used.
const CPU: &str = "process_cpu_seconds_total";
/// Bytes that a socket may take.
const BYTES_TARGET: f64 = 10_240.0;
/// Within how long 95 % must know.
const TOLD_TARGET_MS: f64 = 200.0;

/// What to measure with.
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

/// Opens the sockets, changes seats, and prints what it took; the last line is the same as JSON.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let api = Api { http: Client::builder().no_proxy().build()?, url: options.url.clone() };
    let event = api.event(options.seats, options.changes).await?;
    let memory_before = api.memory_at_rest().await?;
    let crowd = Crowd::open(&options, event).await?;
    let memory_open = api.memory_at_rest().await?;
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
    let memory_after = api.memory_at_rest().await?;
    let bytes_after = (memory_after - memory_before) / f64::from(options.clients);
    println!("bytes a socket, after the changes    {bytes_after:>10.0}  (at most {BYTES_TARGET})");
    let mut result = json!({
        "clients": options.clients, "slow": options.slow, "stuck": options.stuck,
        "seats": options.seats, "bytes_a_socket": bytes_a_socket,
        "bytes_a_socket_after": bytes_after, "bytes_target": BYTES_TARGET,
        "changes": options.changes, "told_target_ms": TOLD_TARGET_MS,
    });
    if !changes.is_empty() {
        told(&changes, &mut result);
        let cpu_ms = 1_000.0 * cpu_used / changes.len() as f64;
        println!("API's processor time a change, ms    {cpu_ms:>10.1}");
        result["cpu_ms_a_change"] = cpu_ms.into();
    }
    let ended = crowd.ended();
    let gaps = crowd.gaps();
    let open = api.metric("holdfast_sockets_open{kind=\"websocket\"}").await?;
    println!("sockets that ended, gaps told        {ended:>10} {gaps}");
    result["ended"] = ended.into();
    result["gaps"] = gaps.into();
    result["open"] = open.into();
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{result:#}\n"))?;
    }
    println!("{result}");
    if let Some(wrong) = crowd.wrong() {
        return Err(format!("a client was told what does not follow: {wrong}").into());
    }
    Ok(())
}

/// How long one change took, ms.
struct Change {
    /// Until the hold was answered.
    answered_ms: f64,
    /// Until half of all clients knew.
    half_ms: f64,
    /// Until 95 % of all clients knew.
    most_ms: f64,
    /// Until all who read knew.
    all_ms: f64,
}

/// Holds a seat, and waits until all who read know.
async fn change(api: &Api, crowd: &Crowd, event: u64, seat: u32) -> Result<Change, Box<dyn Error>> {
    let mut heard = crowd.expect(seat);
    let began = Instant::now();
    let path = format!("/api/v1/bookings?user_id=bench-{seat}");
    let body = json!({ "event_id": event, "seat_ids": [seat] });
    api.ok(api.http.post(api.at(&path)).json(&body)).await?;
    let answered = began.elapsed();
    let all = tokio::time::timeout(CHANGE_TIMEOUT, heard.all()).await;
    let ClientMessage { times, of } = heard.so_far();
    if all.is_err() {
        return Err(format!("seat {seat}: only {} of {} clients were told", times.len(), of).into());
    }
    let ms = |at: &Instant| at.duration_since(began).as_secs_f64() * 1_000.0;
    // Those who read; the slow are counted as not told.
    let nth = |share: f64| ((f64::from(crowd.clients) * share).ceil() as usize).min(times.len());
    Ok(Change {
        answered_ms: answered.as_secs_f64() * 1_000.0,
        half_ms: ms(&times[nth(0.5) - 1]),
        most_ms: ms(&times[nth(0.95) - 1]),
        all_ms: ms(&times[times.len() - 1]),
    })
}

/// Prints how long the changes took, and adds it to the result.
fn told(changes: &[Change], result: &mut Value) {
    type Part = (&'static str, &'static str, fn(&Change) -> f64);
    let parts: [Part; 4] = [
        ("hold answered", "answered_ms", |change| change.answered_ms),
        ("50% told", "half_told_ms", |change| change.half_ms),
        ("95% told", "most_told_ms", |change| change.most_ms),
        ("all told who read", "all_told_ms", |change| change.all_ms),
    ];
    println!("\nms after a hold was asked for            median      worst");
    for (label, key, part) in parts {
        let mut times: Vec<f64> = changes.iter().map(part).collect();
        times.sort_by(f64::total_cmp);
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        println!("{label:<36} {median:>10.1} {worst:>10.1}");
        result[key] = json!({ "median": median, "worst": worst });
    }
    let late = changes.iter().filter(|change| change.most_ms > TOLD_TARGET_MS).count();
    println!("changes that took 95% over {TOLD_TARGET_MS} ms    {late:>10}");
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

    /// The answer, which must be a success.
    async fn ok(&self, request: RequestBuilder) -> Result<Value, Box<dyn Error>> {
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        match status.is_success() {
            true => Ok(serde_json::from_str(&text)?),
            false => Err(format!("{status}: {text}").into()),
        }
    }

    /// A new event on sale.
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

    /// A value of `/metrics`, of this name and these labels.
    async fn metric(&self, name: &str) -> Result<f64, Box<dyn Error>> {
        let text = self.http.get(self.at("/metrics")).send().await?.text().await?;
        // The process' own label stands between.
        let (name, label) = name.split_once('{').unwrap_or((name, ""));
        let label = label.trim_end_matches('}');
        let line = text.lines().find(|line| line.starts_with(name) && line.contains(label));
        let value = line.and_then(|line| line.rsplit(' ').next());
        Ok(value.ok_or_else(|| format!("no metric {name}"))?.parse()?)
    }

    /// The process' resident memory once it is at rest, bytes.
    async fn memory_at_rest(&self) -> Result<f64, Box<dyn Error>> {
        let mut before = self.memory().await?;
        for _ in 0..MEMORY_LOOKS_MAX {
            tokio::time::sleep(MEMORY_LOOK_EVERY).await;
            let now = self.memory().await?;
            if (now - before).abs() < before * MEMORY_AT_REST {
                return Ok(now);
            }
            before = now;
        }
        Err("the API's memory does not come to rest".into())
    }

    async fn memory(&self) -> Result<f64, Box<dyn Error>> {
        self.metric("process_resident_memory_bytes").await
    }
}
