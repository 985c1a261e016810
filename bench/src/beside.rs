//! Compares two servers under the same load: a bare one ([`super::bare`]) and the API. Both run as
//! processes on this machine, as does the load generator. Rounds alternate, so that a noisy machine
//! affects both alike; the result is the median of the rounds' ratios.

use std::error::Error;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::cost::metrics;
use super::decisions::median;
use super::load::{Answer, Load, Requests, exchange};
use super::wrk::{self, Wrk};

/// Versions of the browsers that users have.
const BROWSERS: usize = 20;
/// How long an event may take to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
const OPEN_RETRY: Duration = Duration::from_millis(100);
/// Of the clock in /proc, on Linux.
const TICKS_A_SECOND: f64 = 100.0;

/// The load and the number of rounds.
#[derive(clap::Args)]
pub struct How {
    /// The load generator: `wrk`, `own`, or `auto`: wrk where it is installed
    #[arg(long, default_value = "auto")]
    generator: String,
    /// Connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Threads that send
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Length of one round, seconds
    #[arg(long, default_value_t = 3)]
    pub round_seconds: u64,
    /// Rounds of each server and case
    #[arg(long, default_value_t = 7)]
    pub rounds: usize,
    /// Threads of the bare server; 0: as many as actix-web chooses, as the API does
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

impl How {
    /// The load that these send.
    pub fn load(&self, address: SocketAddr, requests: &Arc<Requests>, case: &Case) -> Load {
        Load {
            address,
            requests: requests.clone(),
            depth: case.depth,
            connections: self.connections,
            threads: self.threads,
            status: case.status,
            refusal: None,
            interval: None,
        }
    }

    /// Which generator it is.
    pub async fn generator(&self) -> &'static str {
        match self.generator.as_str() {
            "wrk" => "wrk",
            "own" => "own",
            _ if wrk::is_installed().await => "wrk",
            _ => "own",
        }
    }

    /// Returns the conditions of the measurement as JSON.
    pub async fn json(&self) -> Value {
        json!({
            "generator": self.generator().await,
            "connections": self.connections,
            "threads": self.threads,
            "round_seconds": self.round_seconds,
        })
    }

    /// Measures both under the same load, in alternating rounds.
    ///
    /// # Errors
    /// If a server sends another response than expected, or none.
    pub async fn compare(
        &self,
        case: Case,
        requests: &Arc<Requests>,
        bare: &Bare,
        api: SocketAddr,
    ) -> Result<Compared, Box<dyn Error>> {
        let pair = [bare.address, api].map(|address| self.load(address, requests, &case));
        let rounds = self.rounds(&case.name, &pair, bare).await?;
        let compared = Compared { case, rounds };
        compared.print();
        Ok(compared)
    }

    async fn rounds(
        &self,
        name: &str,
        pair: &[Load; 2],
        bare: &Bare,
    ) -> Result<Vec<Round>, Box<dyn Error>> {
        let wrk = match self.generator().await {
            "wrk" => Some(Wrk::new(&pair[0])?),
            _ => None,
        };
        let time = Duration::from_secs(self.round_seconds);
        let mut rounds = Vec::new();
        // One more than is counted: the first warms both up.
        for round in 0..=self.rounds {
            let mut found = Round::default();
            // Who is first takes turns, too.
            for turn in 0..2 {
                let who = (round + turn) % 2;
                let (cpu, began) = (cpu_seconds(who, pair, bare).await?, Instant::now());
                let rate = match &wrk {
                    Some(wrk) => wrk.run(&pair[who], time).await?,
                    None => pair[who].run(time).await?,
                };
                let answers = rate * began.elapsed().as_secs_f64();
                let cpu = cpu_seconds(who, pair, bare).await? - cpu;
                (found.rates[who], found.cpu_us[who]) = (rate, cpu * 1e6 / answers);
            }
            eprint!("\r{name}: round {round} of {}", self.rounds);
            if round > 0 {
                rounds.push(found);
            }
        }
        eprint!("\r{:60}\r", "");
        Ok(rounds)
    }
}

/// Prints the heading above the lines of [`Compared`].
pub fn print_heading(what: &str) {
    let what = format!("{what} a second");
    println!(
        "{what:<26} {:>12} {:>12} {:>8} {:>8}   processor time of an answer",
        "bare", "holdfast", "ratio", "at least"
    );
}

/// One comparison.
pub struct Case {
    pub name: String,
    /// Requests sent at once on a connection.
    pub depth: usize,
    /// The expected status of every response.
    pub status: u16,
    /// The required ratio, if there is one.
    pub target: Option<f64>,
}

/// The rounds of one comparison.
pub struct Compared {
    case: Case,
    rounds: Vec<Round>,
}

/// The figures of one round, for one server.
#[derive(Clone, Copy, Default, Serialize)]
struct Round {
    /// Responses a second.
    rates: [f64; 2],
    /// The server's processor time for each response, µs: comparable on a busy machine, too.
    cpu_us: [f64; 2],
}

impl Compared {
    fn median_of(&self, number: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(number).collect())
    }

    fn rates(&self) -> [f64; 2] {
        [0, 1].map(|who| self.median_of(|round| round.rates[who]))
    }

    fn cpu_us(&self) -> [f64; 2] {
        [0, 1].map(|who| self.median_of(|round| round.cpu_us[who]))
    }

    fn ratio(&self) -> f64 {
        self.median_of(|round| round.rates[1] / round.rates[0])
    }

    fn print(&self) {
        let ([bare, ours], [bare_us, ours_us]) = (self.rates(), self.cpu_us());
        let target = self.case.target.map_or_else(|| "-".to_owned(), |least| format!("{least:.2}"));
        println!(
            "{:<26} {bare:>12.0} {ours:>12.0} {:>8.3} {target:>8}   {bare_us:.2} and {ours_us:.2} µs",
            self.case.name,
            self.ratio(),
        );
    }

    /// Returns the figures as JSON.
    pub fn json(&self) -> Value {
        let [bare, ours] = self.rates();
        json!({
            "case": self.case.name,
            "depth": self.case.depth,
            "bare_per_second": bare,
            "holdfast_per_second": ours,
            "cpu_us": self.cpu_us(),
            "ratio": self.ratio(),
            "ratio_target": self.case.target,
            "rounds": self.rounds,
        })
    }
}

/// Returns the processor time that a server has used, seconds.
async fn cpu_seconds(who: usize, pair: &[Load; 2], bare: &Bare) -> Result<f64, Box<dyn Error>> {
    if who == 0 { bare.cpu_seconds() } else { api_cpu_seconds(pair[1].address).await }
}

/// Returns the processor time that an API process has used, seconds.
pub async fn api_cpu_seconds(api: SocketAddr) -> Result<f64, Box<dyn Error>> {
    let metrics = metrics(api).await?;
    let seconds = metrics.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
    Ok(seconds.ok_or("the API has no metric of its processor time")?.parse()?)
}

/// The bare server: a process of this program, which is killed on drop.
pub struct Bare {
    pub address: SocketAddr,
    /// Killed when this is dropped.
    child: Child,
}

impl Bare {
    /// Returns the processor time that it has used, seconds.
    pub fn cpu_seconds(&self) -> Result<f64, Box<dyn Error>> {
        let pid = self.child.id().ok_or("the bare server has ended")?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // After the name in brackets: the state first, user and system time 12th and 13th.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok());
        let ticks = ticks(11).zip(ticks(12)).ok_or("/proc is not as expected")?;
        Ok((ticks.0 + ticks.1) / TICKS_A_SECOND)
    }

    /// Starts `bare` with these arguments.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start(arguments: &[String], how: &How) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bare", "--workers", &how.workers.to_string()])
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("the bare server tells nothing")?;
        BufReader::new(stdout).read_line(&mut line).await?;
        Ok(Bare { address: SocketAddr::from(([127, 0, 0, 1], line.trim().parse()?)), child })
    }
}

/// Returns the address in a URL.
///
/// # Errors
/// If it is not a URL of http with an address.
pub fn address(url: &str) -> Result<SocketAddr, Box<dyn Error>> {
    let text = url.trim_start_matches("http://").trim_end_matches('/');
    Ok(text.parse().map_err(|_| format!("{url} is not like http://127.0.0.1:8000"))?)
}

/// Sends one request.
///
/// # Errors
/// If there is no valid response.
pub async fn send(api: SocketAddr, request: &[u8]) -> Result<Answer, Box<dyn Error>> {
    Ok(exchange(api, request).await.map_err(|error| error.to_string())?)
}

/// Creates an event; returns its id.
///
/// # Errors
/// If the API refuses it.
pub async fn event(api: SocketAddr, event: &Value) -> Result<u64, Box<dyn Error>> {
    let made = send(api, &post("/api/v1/events", "operator", 0, event)).await?;
    let made: Value = serde_json::from_slice(&made.body)?;
    made["id"].as_u64().ok_or_else(|| format!("no event was made: {made}").into())
}

/// Repeats a request until its response has this status: an event takes a moment to open.
///
/// # Errors
/// The last response, if it takes too long.
pub async fn until(api: SocketAddr, request: &[u8], status: u16) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    loop {
        let answer = send(api, request).await?;
        if answer.status == status {
            return Ok(());
        }
        if began.elapsed() > OPEN_TIMEOUT {
            let body = String::from_utf8_lossy(&answer.body);
            return Err(format!("{} instead of {status}: {body}", answer.status).into());
        }
        tokio::time::sleep(OPEN_RETRY).await;
    }
}

/// Builds a request as a browser sends it through a gateway that sets the user id; `more` are header
/// lines with their ends.
pub fn request(head: &str, user: &str, browser: usize, more: &str, body: &str) -> Vec<u8> {
    let version = 120 + browser % BROWSERS;
    format!(
        "{head} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: Mozilla/5.0 (Windows NT 10.0; \
         Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 \
         Safari/537.36\r\n{more}x-user-id: {user}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Builds a POST of JSON.
pub fn post(path: &str, user: &str, browser: usize, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let more = format!(
        "accept: application/json\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    request(&format!("POST {path}"), user, browser, &more, &body)
}
