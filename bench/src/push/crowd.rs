//! The clients: WebSockets with a position in the update stream and little other state. One thread
//! serves all of them, which leaves the rest of the machine to the API.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, Semaphore};

use super::Options;

/// Most connections that are being opened at once.
const OPENING_MAX: usize = 256;
/// Bound of opening all clients.
const OPEN_TIMEOUT: Duration = Duration::from_secs(300);
/// Clients of one local address, which has about 28,000 ports.
const CLIENTS_PER_ADDRESS: u32 = 20_000;
/// Receive buffer of a client that does not read, bytes.
const SLOW_BUFFER_BYTES: u32 = 4_096;
/// Bytes and interval of a slow client's reads.
const SLOW_READ: (usize, Duration) = (256, Duration::from_secs(1));
/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;

/// All clients of a run.
pub struct Crowd {
    /// Number of clients.
    pub clients: u32,
    /// Time until all were open and had the seat map.
    pub opened_in: Duration,
    received: Arc<Received>,
}

/// What the clients have received, shared by all of them.
struct Received {
    /// Clients that are open and have the seat map.
    ready: AtomicU32,
    /// The seat whose change is measured.
    seat: AtomicU32,
    /// When each reader received it.
    times: Mutex<Vec<Instant>>,
    /// Clients that read without delay.
    readers: u32,
    changed: Notify,
    ended: AtomicU64,
    gaps: AtomicU64,
    violation: Mutex<Option<String>>,
}

/// The delivery of a change so far.
pub struct Delivery {
    /// When each reader received it, in order.
    pub times: Vec<Instant>,
    /// Number of readers.
    pub readers: u32,
}

/// A change whose delivery is measured.
pub struct ExpectedChange {
    received: Arc<Received>,
}

#[derive(Clone, Copy, PartialEq)]
enum ReadMode {
    Prompt,
    Slow,
    Stuck,
}

impl Crowd {
    /// Opens all clients; fails if one cannot be opened.
    pub async fn open(options: &Options, event: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let silent = options.slow + options.stuck;
        let readers =
            options.clients.checked_sub(silent).ok_or("more slow clients than clients")?;
        let received = Arc::new(Received {
            ready: AtomicU32::new(0),
            seat: AtomicU32::new(0),
            times: Mutex::default(),
            readers,
            changed: Notify::new(),
            ended: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            violation: Mutex::default(),
        });
        let authority = options.url.strip_prefix("http://").ok_or("the URL is not an http URL")?;
        let address: SocketAddr = authority.trim_end_matches('/').parse()?;
        let began = Instant::now();
        let modes = (0..options.clients).map(|n| match n {
            n if n < options.stuck => ReadMode::Stuck,
            n if n < silent => ReadMode::Slow,
            _ => ReadMode::Prompt,
        });
        let (modes, shared) = (modes.collect::<Vec<_>>(), received.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("clients".into()).spawn(move || {
            tokio::task::LocalSet::new().block_on(&runtime, serve(address, event, modes, shared));
        })?;
        let all_ready = async {
            while received.ready.load(Ordering::Acquire) < readers {
                if let Some(violation) = received.violation() {
                    return Err(violation);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        };
        tokio::time::timeout(OPEN_TIMEOUT, all_ready).await.map_err(|_| {
            format!("{} of {readers} clients are open", received.ready.load(Ordering::Acquire))
        })??;
        Ok(Crowd { clients: options.clients, opened_in: began.elapsed(), received })
    }

    /// Begins to record when clients receive a change of this seat.
    pub fn expect(&self, seat: u32) -> ExpectedChange {
        lock(&self.received.times).clear();
        self.received.seat.store(seat, Ordering::Release);
        ExpectedChange { received: self.received.clone() }
    }

    /// Returns the number of sockets that ended.
    pub fn ended(&self) -> u64 {
        self.received.ended.load(Ordering::Relaxed)
    }

    /// Returns the number of `gap` messages.
    pub fn gaps(&self) -> u64 {
        self.received.gaps.load(Ordering::Relaxed)
    }

    /// Returns the first violation of the protocol.
    pub fn violation(&self) -> Option<String> {
        self.received.violation()
    }
}

impl ExpectedChange {
    /// Waits until all readers have received the change.
    pub async fn all(&mut self) {
        while lock(&self.received.times).len() < self.received.readers as usize {
            self.received.changed.notified().await;
        }
    }

    /// Returns the delivery so far.
    pub fn so_far(&self) -> Delivery {
        Delivery { times: lock(&self.received.times).clone(), readers: self.received.readers }
    }
}

impl Received {
    fn violation(&self) -> Option<String> {
        lock(&self.violation).clone()
    }

    fn set_violation(&self, what: String) {
        lock(&self.violation).get_or_insert(what);
    }

    /// Records that a reader has received a change of these seats.
    fn record(&self, seats: &[u32]) {
        if seats.contains(&self.seat.load(Ordering::Acquire)) {
            let mut times = lock(&self.times);
            times.push(Instant::now());
            if times.len() == self.readers as usize {
                self.changed.notify_one();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs all clients until the program ends.
async fn serve(address: SocketAddr, event: u64, modes: Vec<ReadMode>, received: Arc<Received>) {
    let opening = Arc::new(Semaphore::new(OPENING_MAX));
    let mut clients = Vec::new();
    for (n, mode) in (0_u32..).zip(modes) {
        // The semaphore is never closed.
        let Ok(permit) = opening.clone().acquire_owned().await else { return };
        let received = received.clone();
        clients.push(tokio::task::spawn_local(async move {
            match open(n, mode, address, event).await {
                Ok((stream, read)) => {
                    // The permit is held until the seat map has arrived.
                    let client =
                        Client { stream, read, position: None, permit: Some(permit), received };
                    Box::pin(client.run(mode)).await;
                }
                Err(error) => received.set_violation(format!("client {n} cannot connect: {error}")),
            }
        }));
    }
    for client in clients {
        // A panic of a client has been printed.
        let _ = client.await;
    }
}

/// Connects and upgrades; also returns the bytes behind the response's head.
async fn open(
    n: u32,
    mode: ReadMode,
    address: SocketAddr,
    event: u64,
) -> io::Result<(TcpStream, Vec<u8>)> {
    let socket = TcpSocket::new_v4()?;
    if mode != ReadMode::Prompt {
        socket.set_recv_buffer_size(SLOW_BUFFER_BYTES)?;
    }
    let group = n / CLIENTS_PER_ADDRESS;
    if group > 0 && address.ip().is_loopback() {
        // Loopback has many addresses. 250,000 clients at most are 13 groups.
        let source = Ipv4Addr::new(127, 0, 1, group as u8);
        socket.bind(SocketAddr::new(IpAddr::V4(source), 0))?;
    }
    let stream = socket.connect(address).await?;
    let head = format!(
        "GET /ws/events/{event} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    write(&stream, head.as_bytes()).await?;
    let mut read = Vec::new();
    loop {
        stream.readable().await?;
        take(&stream, &mut read, READ_BYTES)?;
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            if !read.starts_with(b"HTTP/1.1 101") {
                let response = String::from_utf8_lossy(&read).into_owned();
                return Err(io::Error::other(response));
            }
            read.drain(..end + 4);
            return Ok((stream, read));
        }
    }
}

async fn write(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Prompt available bytes, at most `bytes_max`; returns false if there are none.
fn take(stream: &TcpStream, into: &mut Vec<u8>, bytes_max: usize) -> io::Result<bool> {
    // On the stack: waiting clients keep no buffer.
    let mut buffer = [0; READ_BYTES];
    match stream.try_read(&mut buffer[..bytes_max.min(READ_BYTES)]) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(count) => {
            into.extend_from_slice(&buffer[..count]);
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// One client.
struct Client {
    stream: TcpStream,
    /// Bytes of an incomplete frame.
    read: Vec<u8>,
    /// Generation and version of the last message.
    position: Option<(u64, u64)>,
    permit: Option<tokio::sync::OwnedSemaphorePermit>,
    received: Arc<Received>,
}

/// The fields of a message that clients check.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    generation: Option<u64>,
    version: Option<u64>,
    since: Option<u64>,
    #[serde(default)]
    seat_ids: Vec<u32>,
}

impl Client {
    async fn run(mut self, mode: ReadMode) {
        if mode == ReadMode::Stuck {
            self.permit = None;
            return std::future::pending().await;
        }
        if mode == ReadMode::Slow {
            self.permit = None;
        }
        let error = match self.read_all(mode).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        self.received.ended.fetch_add(1, Ordering::Relaxed);
        if mode == ReadMode::Prompt {
            self.received.set_violation(format!("a prompt reader was disconnected: {error}"));
        }
    }

    async fn read_all(&mut self, mode: ReadMode) -> io::Result<std::convert::Infallible> {
        loop {
            self.frames(mode)?;
            self.stream.readable().await?;
            match mode {
                ReadMode::Slow => {
                    take(&self.stream, &mut self.read, SLOW_READ.0)?;
                    tokio::time::sleep(SLOW_READ.1).await;
                }
                _ => while take(&self.stream, &mut self.read, READ_BYTES)? {},
            }
        }
    }

    /// Handles the complete frames that have arrived.
    fn frames(&mut self, mode: ReadMode) -> io::Result<()> {
        let mut begin = 0;
        while let Some((opcode, payload)) = frame(&self.read[begin..]) {
            let bytes = begin + payload.start..begin + payload.end;
            begin = bytes.end;
            match opcode {
                1 => self.text(bytes, mode),
                8 => return Err(io::Error::other(format!("closed: {:?}", &self.read[bytes]))),
                9 => {
                    // An empty pong, masked with zeros; skipped if the socket's buffer is full.
                    let _ = self.stream.try_write(&[0x8a, 0x80, 0, 0, 0, 0]);
                }
                _ => {}
            }
        }
        match begin == self.read.len() {
            true => self.read = Vec::new(),
            false => drop(self.read.drain(..begin)),
        }
        Ok(())
    }

    fn text(&mut self, bytes: std::ops::Range<usize>, mode: ReadMode) {
        let text = &self.read[bytes];
        let Ok(message) = serde_json::from_slice::<Message>(text) else {
            return self.received.set_violation(String::from_utf8_lossy(text).into_owned());
        };
        match message.kind {
            "connected" | "pong" => {}
            "gap" => {
                self.received.gaps.fetch_add(1, Ordering::Relaxed);
            }
            "snapshot" => {
                self.position = message.generation.zip(message.version);
                if self.permit.take().is_some() {
                    self.received.ready.fetch_add(1, Ordering::Release);
                }
            }
            "seat_update" => {
                let of_generation = |version| message.generation.zip(version);
                let (begins, ends) = (of_generation(message.since), of_generation(message.version));
                // An update begins at or before the client's position.
                if begins > self.position || ends < self.position || begins.is_none() {
                    let text = String::from_utf8_lossy(text);
                    self.received.set_violation(format!("at {:?}: {text}", self.position));
                }
                self.position = ends;
                if mode == ReadMode::Prompt {
                    self.received.record(&message.seat_ids);
                }
            }
            other => self.received.set_violation(format!("an unexpected message: {other}")),
        }
    }
}

/// Returns the opcode and the payload's range of a complete server frame.
fn frame(bytes: &[u8]) -> Option<(u8, std::ops::Range<usize>)> {
    let (head, length) = match bytes.get(1)? & 0x7f {
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        short => (2, u64::from(short)),
    };
    let end = head + usize::try_from(length).ok()?;
    (bytes.len() >= end).then(|| (bytes[0] & 0x0f, head..end))
}
