//! The clients: WebSockets with no more to each than a connection and where it is. One thread serves
//! them all, so that the API has the rest of the machine.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, Semaphore};

use super::Options;

/// Connections that are being opened at once.
const OPENING_MAX: usize = 256;
/// How long opening all may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(300);
/// Clients of one local address: the system has some 28,000 ports for each.
const CLIENTS_PER_ADDRESS: u32 = 20_000;
/// What the system keeps for a client that does not read, bytes.
const SLOW_BUFFER_BYTES: u32 = 4_096;
/// What a slow client reads at once, and how often.
const SLOW_READ: (usize, Duration) = (256, Duration::from_secs(1));
/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;

/// All clients of a run.
pub struct Crowd {
    /// How many.
    pub clients: u32,
    /// How long it took until all were open and had the seat map.
    pub opened_in: Duration,
    told: Arc<Told>,
}

/// What the clients were told.
struct Told {
    /// How many are open and have the seat map.
    ready: AtomicU32,
    /// The seat whose change is awaited.
    seat: AtomicU32,
    /// When it was heard by those who read, and how many these are.
    heard: Mutex<Vec<Instant>>,
    readers: u32,
    changed: Notify,
    ended: AtomicU64,
    gaps: AtomicU64,
    wrong: Mutex<Option<String>>,
}

/// Who has heard of a change.
pub struct ClientMessage {
    /// When, in order.
    pub times: Vec<Instant>,
    /// Of how many who read.
    pub of: u32,
}

/// One change that is waited for.
pub struct Expected {
    told: Arc<Told>,
}

#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Reads,
    Slow,
    Stuck,
}

impl Crowd {
    /// Opens all of them; fails if one cannot be.
    pub async fn open(options: &Options, event: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let silent = options.slow + options.stuck;
        let readers =
            options.clients.checked_sub(silent).ok_or("more slow clients than clients")?;
        let told = Arc::new(Told {
            ready: AtomicU32::new(0),
            seat: AtomicU32::new(0),
            heard: Mutex::default(),
            readers,
            changed: Notify::new(),
            ended: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            wrong: Mutex::default(),
        });
        let authority = options.url.strip_prefix("http://").ok_or("the URL is not of http")?;
        let address: SocketAddr = authority.trim_end_matches('/').parse()?;
        let began = Instant::now();
        let manners = (0..options.clients).map(|n| match n {
            n if n < options.stuck => Manner::Stuck,
            n if n < silent => Manner::Slow,
            _ => Manner::Reads,
        });
        let (manners, shared) = (manners.collect::<Vec<_>>(), told.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("clients".into()).spawn(move || {
            tokio::task::LocalSet::new().block_on(&runtime, serve(address, event, manners, shared));
        })?;
        let all_ready = async {
            while told.ready.load(Ordering::Acquire) < readers {
                if let Some(wrong) = told.wrong_now() {
                    return Err(wrong);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        };
        tokio::time::timeout(OPEN_TIMEOUT, all_ready).await.map_err(|_| {
            format!("{} of {readers} clients are open", told.ready.load(Ordering::Acquire))
        })??;
        Ok(Crowd { clients: options.clients, opened_in: began.elapsed(), told })
    }

    /// Begins to note when clients hear of this seat.
    pub fn expect(&self, seat: u32) -> Expected {
        lock(&self.told.heard).clear();
        self.told.seat.store(seat, Ordering::Release);
        Expected { told: self.told.clone() }
    }

    /// Sockets that ended.
    pub fn ended(&self) -> u64 {
        self.told.ended.load(Ordering::Relaxed)
    }

    /// How often a client was told of a gap.
    pub fn gaps(&self) -> u64 {
        self.told.gaps.load(Ordering::Relaxed)
    }

    /// The first thing that was wrong.
    pub fn wrong(&self) -> Option<String> {
        self.told.wrong_now()
    }
}

impl Expected {
    /// Waits until all who read have heard.
    pub async fn all(&mut self) {
        while lock(&self.told.heard).len() < self.told.readers as usize {
            self.told.changed.notified().await;
        }
    }

    /// Who has heard until now.
    pub fn so_far(&self) -> ClientMessage {
        ClientMessage { times: lock(&self.told.heard).clone(), of: self.told.readers }
    }
}

impl Told {
    fn wrong_now(&self) -> Option<String> {
        lock(&self.wrong).clone()
    }

    fn is_wrong(&self, what: String) {
        lock(&self.wrong).get_or_insert(what);
    }

    /// Notes that a client knows of a seat.
    fn hears(&self, seats: &[u32]) {
        if seats.contains(&self.seat.load(Ordering::Acquire)) {
            let mut heard = lock(&self.heard);
            heard.push(Instant::now());
            if heard.len() == self.readers as usize {
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
async fn serve(address: SocketAddr, event: u64, manners: Vec<Manner>, told: Arc<Told>) {
    let opening = Arc::new(Semaphore::new(OPENING_MAX));
    let mut clients = Vec::new();
    for (n, manner) in (0_u32..).zip(manners) {
        // Never closed.
        let Ok(turn) = opening.clone().acquire_owned().await else { return };
        let told = told.clone();
        clients.push(tokio::task::spawn_local(async move {
            match open(n, manner, address, event).await {
                Ok((stream, read)) => {
                    // The turn lasts until the seat map is there.
                    let client = Client { stream, read, at: None, turn: Some(turn), told };
                    Box::pin(client.lives(manner)).await;
                }
                Err(error) => told.is_wrong(format!("client {n} cannot connect: {error}")),
            }
        }));
    }
    for client in clients {
        // A panic of a client has been printed.
        let _ = client.await;
    }
}

/// Connects and shakes hands; gives what came behind the answer's head, too.
async fn open(
    n: u32,
    manner: Manner,
    address: SocketAddr,
    event: u64,
) -> io::Result<(TcpStream, Vec<u8>)> {
    let socket = TcpSocket::new_v4()?;
    if manner != Manner::Reads {
        socket.set_recv_buffer_size(SLOW_BUFFER_BYTES)?;
    }
    let group = n / CLIENTS_PER_ADDRESS;
    if group > 0 && address.ip().is_loopback() {
        // Loopback has more addresses than one. At most 250,000 clients: 13 groups.
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
                let answer = String::from_utf8_lossy(&read).into_owned();
                return Err(io::Error::other(answer));
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

/// Reads what is there, at most so many bytes; false if there was nothing.
fn take(stream: &TcpStream, into: &mut Vec<u8>, bytes_max: usize) -> io::Result<bool> {
    // Not kept by anybody who waits.
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
    /// What has come of a frame that is not whole.
    read: Vec<u8>,
    /// Where it is.
    at: Option<(u64, u64)>,
    turn: Option<tokio::sync::OwnedSemaphorePermit>,
    told: Arc<Told>,
}

/// What a client is told, as far as it matters here.
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
    async fn lives(mut self, manner: Manner) {
        if manner == Manner::Stuck {
            self.turn = None;
            return std::future::pending().await;
        }
        if manner == Manner::Slow {
            self.turn = None;
        }
        let error = match self.reads(manner).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        self.told.ended.fetch_add(1, Ordering::Relaxed);
        if manner == Manner::Reads {
            self.told.is_wrong(format!("a client that reads was cut off: {error}"));
        }
    }

    async fn reads(&mut self, manner: Manner) -> io::Result<std::convert::Infallible> {
        loop {
            self.frames(manner)?;
            self.stream.readable().await?;
            match manner {
                Manner::Slow => {
                    take(&self.stream, &mut self.read, SLOW_READ.0)?;
                    tokio::time::sleep(SLOW_READ.1).await;
                }
                _ => while take(&self.stream, &mut self.read, READ_BYTES)? {},
            }
        }
    }

    /// Takes the whole frames of what has come.
    fn frames(&mut self, manner: Manner) -> io::Result<()> {
        let mut begin = 0;
        while let Some((opcode, payload)) = frame(&self.read[begin..]) {
            let bytes = begin + payload.start..begin + payload.end;
            begin = bytes.end;
            match opcode {
                1 => self.text(bytes, manner),
                8 => return Err(io::Error::other(format!("closed: {:?}", &self.read[bytes]))),
                9 => {
                    // An empty pong, masked with zeros. A small one that does not fit is not sent.
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

    fn text(&mut self, bytes: std::ops::Range<usize>, manner: Manner) {
        let text = &self.read[bytes];
        let Ok(message) = serde_json::from_slice::<Message>(text) else {
            return self.told.is_wrong(String::from_utf8_lossy(text).into_owned());
        };
        match message.kind {
            "connected" | "pong" => {}
            "gap" => {
                self.told.gaps.fetch_add(1, Ordering::Relaxed);
            }
            "snapshot" => {
                self.at = message.generation.zip(message.version);
                if self.turn.take().is_some() {
                    self.told.ready.fetch_add(1, Ordering::Release);
                }
            }
            "seat_update" => {
                let of_generation = |version| message.generation.zip(version);
                let (begins, ends) = (of_generation(message.since), of_generation(message.version));
                // Begins where the client is, or before that.
                if begins > self.at || ends < self.at || begins.is_none() {
                    let wrong = format!("at {:?}: {}", self.at, String::from_utf8_lossy(text));
                    self.told.is_wrong(wrong);
                }
                self.at = ends;
                if manner == Manner::Reads {
                    self.told.hears(&message.seat_ids);
                }
            }
            other => self.told.is_wrong(format!("an unexpected message: {other}")),
        }
    }
}

/// The opcode and the payload's place of a whole frame of a server.
fn frame(bytes: &[u8]) -> Option<(u8, std::ops::Range<usize>)> {
    let (head, length) = match bytes.get(1)? & 0x7f {
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        short => (2, u64::from(short)),
    };
    let end = head + usize::try_from(length).ok()?;
    (bytes.len() >= end).then(|| (bytes[0] & 0x0f, head..end))
}
