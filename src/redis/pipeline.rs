//! A connection of one HTTP thread to one Redis, driven by that thread's own runtime.
//!
//! Commands that the thread's requests send in one turn of its event loop are written at once, and
//! their replies wake no other thread. (The client library writes each script call by itself.) It
//! only sends commands whose reply comes at once, and only while it is connected: meanwhile, callers
//! use the library's connections, which also find the server that Sentinels name.
//!
//! INVARIANT: replies come in the order of commands, so `waiting` has one place for each command that
//! was written and not answered. A command is written once, and never after its caller has given up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use fred::error::{Error, ErrorKind};
use fred::types::Value;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::dial::{Dialer, Stream};
use super::resp::{Reply, take_reply, write_command};

/// Commands that may wait to be written; the calls in flight are bounded to fewer.
const QUEUE_MAX: usize = 8_192;
/// Commands that are written at once.
const BATCH_MAX: usize = 256;
/// Room for what is read at once, at first.
const READ_BYTES: usize = 16 * 1_024;
/// A connection that owes replies and sends nothing for this long is replaced.
const SILENT_MAX: Duration = Duration::from_millis(1_000);
/// How often that is checked.
const SILENT_INTERVAL: Duration = Duration::from_millis(250);
/// Bound of one attempt to connect, with its login.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_000);
/// Pause between two attempts, doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// Error replies of a server that takes no writes any more: the next connection may lead to another.
const SERVER_CHANGED: [&str; 3] = ["READONLY", "MASTERDOWN", "CLUSTERDOWN"];

/// The connection. It ends when this is dropped.
pub(super) struct Pipeline {
    queue: mpsc::Sender<Request>,
    is_up: Arc<AtomicBool>,
    closed: CancellationToken,
    timeout: Duration,
}

/// A command to be sent, and who waits for its reply.
struct Request {
    command: Vec<u8>,
    reply: oneshot::Sender<Result<Value, Error>>,
}

impl Pipeline {
    /// Connects in the background, with retries, on this thread's runtime. A command waits at most
    /// `timeout` for its reply.
    pub(super) fn open(dialer: Dialer, timeout: Duration) -> Self {
        let (queue, requests) = mpsc::channel(QUEUE_MAX);
        let (is_up, closed) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        let driver = Driver { dialer, requests, is_up: is_up.clone() };
        tokio::spawn(closed.clone().run_until_cancelled_owned(driver.run()));
        Pipeline { queue, is_up, closed, timeout }
    }

    /// Whether a command may be sent.
    pub(super) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// Sends one command once, and waits for its reply.
    pub(super) async fn send(&self, name: &str, args: &[Value]) -> Result<Value, Error> {
        let mut command = Vec::with_capacity(64 + 40 * args.len());
        write_command(&mut command, name, args).map_err(|error| not_sent(error.to_string()))?;
        let (reply, replied) = oneshot::channel();
        let queued = self.queue.try_send(Request { command, reply });
        queued.map_err(|_| not_sent("the connection is closed, or its queue is full"))?;
        match timeout(self.timeout, replied).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) => Err(Error::new(ErrorKind::Canceled, "the connection was closed")),
            Err(_) => Err(Error::new(ErrorKind::Timeout, "no reply in time")),
        }
    }

    /// Closes the connection.
    pub(super) fn close(&self) {
        self.is_up.store(false, Ordering::Relaxed);
        self.closed.cancel();
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

/// The error of a command that was surely not sent.
fn not_sent(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Backpressure, why)
}

/// The error of a command that was sent, and whose reply will not come.
fn lost(why: &str) -> Error {
    Error::new(ErrorKind::IO, format!("the connection ended: {why}"))
}

/// The task behind a [`Pipeline`].
struct Driver {
    dialer: Dialer,
    requests: mpsc::Receiver<Request>,
    is_up: Arc<AtomicBool>,
}

impl Driver {
    async fn run(mut self) {
        let mut pause = PAUSE_MIN;
        loop {
            match timeout(CONNECT_TIMEOUT, self.dialer.connect()).await {
                Ok(Ok(stream)) => {
                    self.is_up.store(true, Ordering::Relaxed);
                    let mut exchange = Exchange::new(stream);
                    let why = exchange.run(&mut self.requests).await;
                    self.is_up.store(false, Ordering::Relaxed);
                    exchange.end(&why);
                    tracing::debug!(why, "a connection of an HTTP thread to redis ended");
                    if exchange.has_answered {
                        pause = PAUSE_MIN;
                    }
                }
                Ok(Err(error)) => tracing::debug!(%error, "an HTTP thread cannot connect to redis"),
                Err(_) => tracing::debug!("an HTTP thread's connection to redis takes too long"),
            }
            // Queued before the connection was marked as gone.
            while let Ok(request) = self.requests.try_recv() {
                // A caller that has given up needs no answer.
                let _ = request.reply.send(Err(not_sent("not connected")));
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// What goes on over one connection.
struct Exchange {
    stream: Stream,
    output: BytesMut,
    input: BytesMut,
    /// One place for each command that was written and not answered.
    waiting: VecDeque<oneshot::Sender<Result<Value, Error>>>,
    /// When something was read last, or the first of the waiting was written.
    heard_at: Instant,
    has_answered: bool,
}

impl Exchange {
    fn new(stream: Stream) -> Self {
        Exchange {
            stream,
            output: BytesMut::new(),
            input: BytesMut::with_capacity(READ_BYTES),
            waiting: VecDeque::new(),
            heard_at: Instant::now(),
            has_answered: false,
        }
    }

    /// Writes commands and hands out replies until the connection ends; returns why it did.
    async fn run(&mut self, requests: &mut mpsc::Receiver<Request>) -> String {
        let (mut batch, mut silence) = (Vec::with_capacity(BATCH_MAX), interval(SILENT_INTERVAL));
        let mut has_unwritten = false;
        loop {
            let Exchange { stream, output, input, waiting, heard_at, .. } = self;
            let Stream { reader, writer } = stream;
            tokio::select! {
                biased;
                written = write_all(writer, output), if has_unwritten => match written {
                    Ok(()) => has_unwritten = false,
                    Err(error) => return error.to_string(),
                },
                count = requests.recv_many(&mut batch, BATCH_MAX), if !has_unwritten => {
                    if count == 0 {
                        return "closed".to_owned();
                    }
                    if waiting.is_empty() {
                        *heard_at = Instant::now();
                    }
                    for Request { command, reply } in batch.drain(..) {
                        if !reply.is_closed() {
                            output.extend_from_slice(&command);
                            waiting.push_back(reply);
                        }
                    }
                    has_unwritten = true;
                },
                read = reader.read_buf(input) => match read {
                    Ok(0) => return "closed by redis".to_owned(),
                    Ok(_) => {
                        *heard_at = Instant::now();
                        if let Err(why) = self.hand_out() {
                            return why;
                        }
                    }
                    Err(error) => return error.to_string(),
                },
                _ = silence.tick(), if !waiting.is_empty() => {
                    if heard_at.elapsed() > SILENT_MAX {
                        return "silent for too long".to_owned();
                    }
                },
            }
        }
    }

    /// Gives what was read to those who wait.
    fn hand_out(&mut self) -> Result<(), String> {
        loop {
            let reply = match take_reply(&mut self.input) {
                Ok(Some(reply)) => reply,
                Ok(None) => {
                    // A long reply is read in ever larger parts, so that it is not looked through often.
                    self.input.reserve(READ_BYTES.max(self.input.len()));
                    return Ok(());
                }
                Err(error) => return Err(error.to_string()),
            };
            let waiting = self.waiting.pop_front().ok_or("a reply to no command")?;
            self.has_answered = true;
            // A caller that has given up needs no reply.
            match reply {
                Reply::Value(value) => drop(waiting.send(Ok(value))),
                Reply::Error(text) => {
                    let has_changed = SERVER_CHANGED.iter().any(|prefix| text.starts_with(prefix));
                    let why = text.clone();
                    drop(waiting.send(Err(Error::new(ErrorKind::Unknown, text))));
                    if has_changed {
                        return Err(why);
                    }
                }
            }
        }
    }

    /// Tells all who wait that no reply will come.
    fn end(&mut self, why: &str) {
        for waiting in self.waiting.drain(..) {
            // A caller that has given up needs no answer.
            let _ = waiting.send(Err(lost(why)));
        }
    }
}

/// Writes all of it, and flushes. Dropped and called again, it goes on where it was.
async fn write_all(
    writer: &mut (impl AsyncWrite + Unpin),
    output: &mut BytesMut,
) -> std::io::Result<()> {
    writer.write_all_buf(output).await?;
    writer.flush().await
}
