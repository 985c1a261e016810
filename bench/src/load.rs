//! A load generator for HTTP/1.1: kept connections, prepared requests, responses that are counted and
//! little else, so that it takes as little as possible of the machine.
//!
//! A response with another status than expected ends the run.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Bytes that one read takes at most.
const READ_BYTES: usize = 64 * 1024;
/// Bytes of an answer at most.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long one batch of answers may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of `HTTP/1.1 409`.
const STATUS_BYTES: usize = 12;

/// The text before the length of a body, in lower case.
const LENGTH: &[u8] = b"\r\ncontent-length: ";
/// The beginning of a response without body, whatever its head says.
const NOT_MODIFIED: &[u8] = b"HTTP/1.1 304";

/// Why a connection's work ended.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Requests one after another, ready to be sent.
pub struct Requests {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Requests {
    /// Creates the sequence of these requests.
    pub fn new(requests: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for request in requests {
            bytes.extend_from_slice(&request);
            ends.push(bytes.len());
        }
        Requests { bytes, ends }
    }

    /// Returns the number of batches of this size; a remainder is not sent.
    pub fn batches(&self, depth: usize) -> usize {
        self.ends.len() / depth
    }

    /// Returns the n-th batch of this size.
    pub fn batch(&self, number: usize, depth: usize) -> &[u8] {
        let first = number * depth;
        let start = if first == 0 { 0 } else { self.ends[first - 1] };
        &self.bytes[start..self.ends[first + depth - 1]]
    }
}

/// A load.
#[derive(Clone)]
pub struct Load {
    /// The server.
    pub address: SocketAddr,
    /// The requests, sent again and again.
    pub requests: Arc<Requests>,
    /// Requests sent at once on one connection, before their responses are read.
    pub depth: usize,
    /// Connections, all threads together.
    pub connections: usize,
    /// Threads that send.
    pub threads: usize,
    /// The expected status of every response,
    pub status: u16,
    /// or this one, which is counted apart.
    pub refusal: Option<u16>,
    /// When each connection sends its next batch, whether or not responses come (open loop); `None`:
    /// once the response to the one before has come.
    pub interval: Option<Duration>,
}

/// What a load came to.
pub struct Outcome {
    /// Responses a second with the expected status.
    pub per_second: f64,
    /// How long each of their batches took from the moment at which it was due, ascending.
    pub latencies: Vec<Duration>,
    /// The same of batches with a refusal.
    pub refused: Vec<Duration>,
}

/// The latencies of batches as expected, and of those with a refusal.
type Latencies = (Vec<Duration>, Vec<Duration>);

impl Outcome {
    /// The latency that this share of the batches, 0 to 1, does not exceed.
    pub fn percentile(&self, share: f64) -> Duration {
        percentile(&self.latencies, share)
    }

    /// The same of refusals.
    pub fn refusal_percentile(&self, share: f64) -> Duration {
        percentile(&self.refused, share)
    }
}

fn percentile(ascending: &[Duration], share: f64) -> Duration {
    let at = (ascending.len() as f64 * share) as usize;
    ascending.get(at.min(ascending.len().saturating_sub(1))).copied().unwrap_or_default()
}

impl Load {
    /// Sends for so long; returns responses a second.
    ///
    /// # Errors
    /// The first unexpected response, or a broken connection.
    pub async fn run(&self, time: Duration) -> Result<f64, Box<dyn Error>> {
        Ok(self.run_timed(time).await?.per_second)
    }

    /// The same, with the latencies.
    pub async fn run_timed(&self, time: Duration) -> Result<Outcome, Box<dyn Error>> {
        let began = Instant::now();
        let threads: Vec<_> = (0..self.threads)
            .map(|thread| {
                let load = self.clone();
                tokio::task::spawn_blocking(move || load.run_thread(thread, began + time))
            })
            .collect();
        let (mut latencies, mut refused) = Latencies::default();
        for thread in threads {
            let seen = thread.await?.map_err(|failure| failure.to_string())?;
            latencies.extend(seen.0);
            refused.extend(seen.1);
        }
        let per_second = (latencies.len() * self.depth) as f64 / began.elapsed().as_secs_f64();
        latencies.sort_unstable();
        refused.sort_unstable();
        Ok(Outcome { per_second, latencies, refused })
    }

    fn run_thread(self, thread: usize, until: Instant) -> Result<Latencies, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move {
            let mut connections = JoinSet::new();
            for connection in (thread..self.connections).step_by(self.threads) {
                connections.spawn(self.clone().run_connection(connection, until));
            }
            let (mut latencies, mut refused) = Latencies::default();
            while let Some(done) = connections.join_next().await {
                let seen = done??;
                latencies.extend(seen.0);
                refused.extend(seen.1);
            }
            Ok((latencies, refused))
        })
    }

    async fn run_connection(self, connection: usize, until: Instant) -> Result<Latencies, Failure> {
        let batches = self.requests.batches(self.depth);
        // Connections begin apart, so that neighbours do not ask for the same users.
        let mut batch = connection * batches / self.connections;
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let mut scan = Scan::new(self.status, self.refusal);
        let ((mut latencies, mut refused), mut due) = (Latencies::default(), Instant::now());
        if let Some(interval) = self.interval {
            due += interval.mul_f64(connection as f64 / self.connections as f64);
        }
        while due < until {
            tokio::time::sleep_until(due.into()).await;
            stream.write_all(self.requests.batch(batch, self.depth)).await?;
            let read = scan.read(&mut stream, self.depth);
            let is_refused = tokio::time::timeout(ANSWER_TIMEOUT, read).await??;
            let now = Instant::now();
            if is_refused { &mut refused } else { &mut latencies }.push(now - due);
            due = self.interval.map_or(now, |interval| due + interval);
            batch = (batch + 1) % batches;
        }
        Ok((latencies, refused))
    }
}

/// A kept connection whose responses may have any status.
pub struct Connection {
    stream: TcpStream,
    scan: Scan,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// If the server does not accept.
    pub async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, scan: Scan::new(0, None) })
    }

    /// Sends a request; returns the status of its response. After an error the connection is of no use.
    ///
    /// # Errors
    /// If there is no valid response in this time.
    pub async fn status_of(&mut self, request: &[u8], time: Duration) -> Result<u16, Failure> {
        let exchange = async {
            self.stream.write_all(request).await?;
            loop {
                match self.scan.layout()? {
                    Some(layout) => return Ok::<_, Failure>(layout),
                    None => self.scan.fill(&mut self.stream).await?,
                }
            }
        };
        let layout = tokio::time::timeout(time, exchange).await??;
        let digits = self.scan.buffer.get(self.scan.start..).and_then(|b| b.get(9..STATUS_BYTES));
        self.scan.start += layout.total;
        let digits = digits.ok_or("no status")?;
        Ok(std::str::from_utf8(digits)?.parse()?)
    }
}

/// One complete response.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

/// Sends one request on a connection of its own.
///
/// # Errors
/// If there is no valid response.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> Result<Answer, Failure> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request).await?;
    let mut scan = Scan::new(0, None);
    let read = async {
        loop {
            if let Some(layout) = scan.layout()? {
                return Ok::<_, Failure>(layout);
            }
            scan.fill(&mut stream).await?;
        }
    };
    let layout = tokio::time::timeout(ANSWER_TIMEOUT, read).await??;
    let bytes = &scan.buffer[..layout.total];
    let head = String::from_utf8_lossy(&bytes[..layout.head]).into_owned();
    let status = head.get(9..STATUS_BYTES).and_then(|digits| digits.parse().ok());
    let body = bytes[layout.head..].to_vec();
    Ok(Answer { status: status.ok_or("no status")?, head, body })
}

/// The ends of a response's parts, bytes from its beginning.
#[derive(Clone, Copy)]
struct Layout {
    head: usize,
    total: usize,
}

/// A response that was read to its end.
struct Last {
    layout: Layout,
    length_at: usize,
    /// `\r\ncontent-length: 300\r\n`.
    length_line: Vec<u8>,
}

/// Bytes of a connection that are not counted yet.
struct Scan {
    expected: [u8; STATUS_BYTES],
    refusal: Option<[u8; STATUS_BYTES]>,
    buffer: Vec<u8>,
    start: usize,
    /// The last response's layout, which is most often the next one's, too.
    last: Option<Last>,
}

impl Scan {
    fn new(status: u16, refusal: Option<u16>) -> Self {
        let begin = |status: u16| {
            let mut begin = *b"HTTP/1.1 000";
            begin[9..].copy_from_slice(format!("{status:03}").as_bytes());
            begin
        };
        let buffer = Vec::with_capacity(READ_BYTES);
        Scan { expected: begin(status), refusal: refusal.map(begin), buffer, start: 0, last: None }
    }

    /// Reads so many responses; returns whether one of them is a refusal.
    async fn read(&mut self, stream: &mut TcpStream, answers: usize) -> Result<bool, Failure> {
        let mut is_refused = false;
        for _ in 0..answers {
            let layout = loop {
                match self.layout()? {
                    Some(layout) => break layout,
                    None => self.fill(stream).await?,
                }
            };
            let bytes = &self.buffer[self.start..];
            if self.refusal.is_some_and(|refusal| bytes.starts_with(&refusal)) {
                is_refused = true;
            } else if !bytes.starts_with(&self.expected) {
                let shown = &bytes[..layout.total.min(1_000)];
                return Err(format!("answered {}", String::from_utf8_lossy(shown)).into());
            }
            self.start += layout.total;
        }
        Ok(is_refused)
    }

    async fn fill(&mut self, stream: &mut TcpStream) -> Result<(), Failure> {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.reserve(READ_BYTES);
        match stream.read_buf(&mut self.buffer).await? {
            0 => Err("the server closed a connection".into()),
            _ if self.buffer.len() > ANSWER_BYTES_MAX => Err("an endless answer".into()),
            _ => Ok(()),
        }
    }

    /// Returns the next response's layout, if it is complete.
    fn layout(&mut self) -> Result<Option<Layout>, Failure> {
        let bytes = &self.buffer[self.start..];
        if let Some(last) = &self.last
            && bytes.len() >= last.layout.total
            && bytes[..last.layout.head].ends_with(b"\r\n\r\n")
            && bytes[last.length_at..].starts_with(&last.length_line)
        {
            return Ok(Some(last.layout));
        }
        let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
        let head = end + 4;
        if bytes.starts_with(NOT_MODIFIED) {
            return Ok(Some(Layout { head, total: head }));
        }
        let text = bytes[..head].to_ascii_lowercase();
        let length_at = memmem::find(&text, LENGTH).ok_or("an answer without Content-Length")?;
        let line = &text[length_at..][LENGTH.len()..];
        let digits = line.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let layout = Layout { head, total: head + std::str::from_utf8(digits)?.parse::<usize>()? };
        if bytes.len() < layout.total {
            return Ok(None);
        }
        let length_line = bytes[length_at..][..LENGTH.len() + digits.len() + 2].to_vec();
        self.last = Some(Last { layout, length_at, length_line });
        Ok(Some(layout))
    }
}
