//! Sends requests whose responses may be grants, refusals or failures, and counts them: each
//! request once, by whichever connection is free.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::load::{Connection, Failure, Requests};

/// Threads that send.
const THREADS: usize = 2;
/// How long a response may take. One that takes longer is a failure.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// What a timer may be late by: Tokio's are accurate to a millisecond. That much is not counted for
/// the server.
const TIMER_LATENESS: Duration = Duration::from_millis(2);
/// Pause of a connection that was refused or broke.
const RECONNECT_PAUSE: Duration = Duration::from_millis(10);

/// A load.
#[derive(Clone)]
pub struct Drive {
    /// The server.
    pub address: SocketAddr,
    /// The requests.
    pub requests: Arc<Requests>,
    /// Whether they are sent again after the last; otherwise the load ends with it.
    pub repeats: bool,
    /// Connections, all threads together.
    pub connections: usize,
    /// Requests a second, whether or not responses come (open loop); `None`: each connection sends
    /// its next request once it has its response.
    pub rate: Option<f64>,
    /// When the last request is sent at the latest.
    pub time: Duration,
}

/// What came of a load.
#[derive(Default)]
pub struct Seen {
    /// How long grants took, ascending: in an open loop from the moment at which they were due.
    pub granted: Vec<Duration>,
    /// The same of refusals.
    pub refused: Vec<Duration>,
    /// Responses that are neither, broken connections, and responses that never came.
    pub failed: u64,
    /// Responses, grants and refusals, that came before the load's time was over.
    pub in_time: u64,
    /// Which requests were granted.
    pub winners: Vec<usize>,
    /// From the first request to the last response, seconds.
    pub seconds: f64,
    /// One failure, as an example.
    pub failure: Option<String>,
}

impl Seen {
    /// Number of responses, and of failures.
    pub fn total(&self) -> u64 {
        (self.granted.len() + self.refused.len()) as u64 + self.failed
    }

    /// Grants a second.
    pub fn grants_per_second(&self) -> f64 {
        self.granted.len() as f64 / self.seconds
    }

    /// Refusals a second.
    pub fn refusals_per_second(&self) -> f64 {
        self.refused.len() as f64 / self.seconds
    }

    /// The latency of all responses that this share of them does not exceed, ms.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        let mut all: Vec<Duration> = [&self.granted[..], &self.refused[..]].concat();
        all.sort_unstable();
        percentile_ms(&all, share)
    }

    /// The same of grants.
    pub fn grants_percentile_ms(&self, share: f64) -> f64 {
        percentile_ms(&self.granted, share)
    }

    fn add(&mut self, other: Seen) {
        self.granted.extend(other.granted);
        self.refused.extend(other.refused);
        self.winners.extend(other.winners);
        self.failed += other.failed;
        self.in_time += other.in_time;
        self.failure = self.failure.take().or(other.failure);
    }
}

fn percentile_ms(ascending: &[Duration], share: f64) -> f64 {
    let at = (ascending.len() as f64 * share) as usize;
    let at = at.min(ascending.len().saturating_sub(1));
    ascending.get(at).copied().unwrap_or_default().as_secs_f64() * 1e3
}

impl Drive {
    /// Sends.
    ///
    /// # Errors
    /// If the connections cannot be opened.
    pub async fn run(&self) -> Result<Seen, Box<dyn Error>> {
        let next = Arc::new(AtomicUsize::new(0));
        // All connections are open before the first request is due.
        let gate = Arc::new(std::sync::Barrier::new(THREADS));
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (drive, next, gate) = (self.clone(), next.clone(), gate.clone());
                tokio::task::spawn_blocking(move || drive.run_thread(thread, &next, &gate))
            })
            .collect();
        let mut seen = Seen::default();
        for thread in threads {
            let part = thread.await?.map_err(|failure| failure.to_string())?;
            seen.seconds = seen.seconds.max(part.seconds);
            seen.add(part);
        }
        seen.granted.sort_unstable();
        seen.refused.sort_unstable();
        Ok(seen)
    }

    fn run_thread(
        self,
        thread: usize,
        next: &Arc<AtomicUsize>,
        gate: &std::sync::Barrier,
    ) -> Result<Seen, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move {
            let mut connections = Vec::new();
            let mut opened = Ok(());
            for _ in (thread..self.connections).step_by(THREADS) {
                match Connection::open(self.address).await {
                    Ok(connection) => connections.push(connection),
                    Err(failure) => opened = Err(failure),
                }
            }
            // Passed in any case: the other thread waits here.
            gate.wait();
            opened?;
            let began = Instant::now();
            let mut tasks = JoinSet::new();
            for connection in connections {
                tasks.spawn(self.clone().run_connection(connection, next.clone(), began));
            }
            let mut seen = Seen::default();
            while let Some(done) = tasks.join_next().await {
                seen.add(done?);
            }
            seen.seconds = began.elapsed().as_secs_f64();
            Ok(seen)
        })
    }

    async fn run_connection(
        self,
        connection: Connection,
        next: Arc<AtomicUsize>,
        began: Instant,
    ) -> Seen {
        let (mut seen, mut connection) = (Seen::default(), Some(connection));
        let count = self.requests.batches(1);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if !self.repeats && number >= count {
                return seen;
            }
            let Some(from) = self.due(number, began).await else { return seen };
            let request = self.requests.batch(number % count, 1);
            let status = self.send(&mut connection, request).await;
            if matches!(status, Ok(201 | 409)) && began.elapsed() <= self.time {
                seen.in_time += 1;
            }
            match status {
                Ok(201) => {
                    seen.granted.push(from.elapsed());
                    seen.winners.push(number % count);
                }
                Ok(409) => seen.refused.push(from.elapsed()),
                Ok(status) => {
                    seen.failed += 1;
                    seen.failure.get_or_insert_with(|| format!("status {status}"));
                }
                Err(failure) => {
                    seen.failed += 1;
                    seen.failure.get_or_insert_with(|| failure.to_string());
                    connection = None;
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                }
            }
        }
    }

    /// Waits until a request is due; returns when its latency begins, or `None` at the end of the
    /// load.
    async fn due(&self, number: usize, began: Instant) -> Option<Instant> {
        let now = Instant::now();
        let due = match self.rate {
            Some(rate) => began + Duration::from_secs_f64(number as f64 / rate),
            None => now,
        };
        if due >= began + self.time {
            return None;
        }
        if due <= now {
            return Some(due);
        }
        tokio::time::sleep_until(due.into()).await;
        Some(Instant::now().min(due + TIMER_LATENESS))
    }

    async fn send(
        &self,
        connection: &mut Option<Connection>,
        request: &[u8],
    ) -> Result<u16, Failure> {
        let open = match connection {
            Some(open) => open,
            none => none.insert(Connection::open(self.address).await?),
        };
        open.status_of(request, RESPONSE_TIMEOUT).await
    }
}
