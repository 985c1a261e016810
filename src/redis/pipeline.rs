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
use std::time::Duration;

use bytes::BytesMut;
use fred::error::{Error, ErrorKind};
use fred::types::Value;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval, sleep, timeout};
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

    /// Whether its task has ended although nobody closed it.
    pub(super) fn has_panicked(&self) -> bool {
        self.queue.is_closed() && !self.closed.is_cancelled()
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

/// However the task ends, by a panic too: without it callers use the shared connections.
impl Drop for Driver {
    fn drop(&mut self) {
        self.is_up.store(false, Ordering::Relaxed);
    }
}

impl Driver {
    async fn run(mut self) {
        let mut pause = PAUSE_MIN;
        loop {
            match timeout(CONNECT_TIMEOUT, self.dialer.connect()).await {
                Ok(Ok(stream)) => {
                    self.is_up.store(true, Ordering::Relaxed);
                    let mut exchange = Exchange::new(stream, SILENT_MAX);
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
    silent_max: Duration,
    has_answered: bool,
}

impl Exchange {
    fn new(stream: Stream, silent_max: Duration) -> Self {
        Exchange {
            stream,
            output: BytesMut::new(),
            input: BytesMut::with_capacity(READ_BYTES),
            waiting: VecDeque::new(),
            heard_at: Instant::now(),
            silent_max,
            has_answered: false,
        }
    }

    /// Writes commands and hands out replies until the connection ends; returns why it did.
    async fn run(&mut self, requests: &mut mpsc::Receiver<Request>) -> String {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut silence = interval(self.silent_max / 4);
        let mut has_unwritten = false;
        loop {
            let Exchange { stream, output, input, waiting, heard_at, silent_max, .. } = self;
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
                    if heard_at.elapsed() > *silent_max {
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

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex, split};
    use tokio::task::JoinHandle;

    use super::super::address::RedisAddress;
    use super::super::dial::Transport;
    use super::super::error::RedisError;
    use super::*;

    /// Long enough for every other test.
    const SILENT: Duration = Duration::from_secs(2);

    /// A connection whose other end the test plays.
    struct Played {
        queue: mpsc::Sender<Request>,
        redis: DuplexStream,
        end: JoinHandle<(bool, String)>,
    }

    type Replied = oneshot::Receiver<Result<Value, Error>>;

    impl Played {
        fn start() -> Self {
            let (here, redis) = duplex(4_096);
            let (reader, writer) = split(Box::new(here) as Box<dyn Transport>);
            let (queue, mut requests) = mpsc::channel(QUEUE_MAX);
            let end = tokio::spawn(async move {
                let mut exchange = Exchange::new(Stream { reader, writer }, SILENT);
                let why = exchange.run(&mut requests).await;
                exchange.end(&why);
                (exchange.has_answered, why)
            });
            Played { queue, redis, end }
        }

        fn send(&self, command: &str) -> Replied {
            let (reply, replied) = oneshot::channel();
            let request = Request { command: command.into(), reply };
            assert!(self.queue.try_send(request).is_ok());
            replied
        }

        /// Waits until exactly this was written, and nothing else with it.
        async fn has_written(&mut self, expected: &str) {
            let mut read = vec![0; 4_096];
            let count = self.redis.read(&mut read).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&read[..count]), expected);
        }

        async fn replies(&mut self, text: &str) {
            self.redis.write_all(text.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn commands_of_one_turn_are_written_at_once_and_answered_in_order() {
        let mut played = Played::start();
        let replies = ["a", "b", "c"].map(|command| played.send(command));
        played.has_written("abc").await;
        // In two parts, and an error reply is its own command's alone.
        played.replies(":1\r\n-ERR no\r\n$5\r\nth").await;
        let later = played.send("d");
        played.has_written("d").await;
        played.replies("ree\r\n:4\r\n").await;
        let [one, two, three] = replies;
        assert_eq!(one.await.unwrap().unwrap(), 1.into());
        assert_eq!(two.await.unwrap().unwrap_err().details(), "ERR no");
        assert_eq!(three.await.unwrap().unwrap(), "three".into());
        assert_eq!(later.await.unwrap().unwrap(), 4.into());
    }

    #[tokio::test]
    async fn command_whose_caller_has_given_up_is_not_written() {
        let mut played = Played::start();
        drop(played.send("a"));
        let kept = played.send("b");
        played.has_written("b").await;
        played.replies(":2\r\n").await;
        assert_eq!(kept.await.unwrap().unwrap(), 2.into());
    }

    #[tokio::test]
    async fn reply_of_a_caller_that_has_given_up_goes_to_nobody_else() {
        let mut played = Played::start();
        let given_up = played.send("a");
        played.has_written("a").await;
        drop(given_up);
        let kept = played.send("b");
        played.has_written("b").await;
        played.replies(":1\r\n:2\r\n").await;
        assert_eq!(kept.await.unwrap().unwrap(), 2.into());
    }

    #[tokio::test]
    async fn outcome_of_a_written_command_is_unknown_once_the_connection_ends() {
        let mut played = Played::start();
        let waiting = played.send("a");
        played.has_written("a").await;
        drop(played.redis);
        let error = RedisError::from(waiting.await.unwrap().unwrap_err());
        assert!(matches!(error, RedisError::Unknown(_)), "{error:?}");
    }

    #[tokio::test]
    async fn connection_to_a_server_that_takes_no_writes_any_more_ends() {
        let mut played = Played::start();
        let (refused, behind) = (played.send("a"), played.send("b"));
        played.has_written("ab").await;
        played.replies("-READONLY You can't write against a read only replica.\r\n").await;
        assert!(refused.await.unwrap().unwrap_err().details().starts_with("READONLY"));
        let error = RedisError::from(behind.await.unwrap().unwrap_err());
        assert!(matches!(error, RedisError::Unknown(_)), "{error:?}");
        assert!(played.end.await.unwrap().1.starts_with("READONLY"));
    }

    #[tokio::test]
    async fn connection_that_owes_a_reply_and_is_silent_ends() {
        let mut played = Played::start();
        let sent = Instant::now();
        let waiting = played.send("a");
        played.has_written("a").await;
        assert!(waiting.await.unwrap().is_err());
        assert!(sent.elapsed() >= SILENT);
        assert_eq!(played.end.await.unwrap().1, "silent for too long");
    }

    #[tokio::test]
    async fn connection_whose_task_ends_is_not_up() {
        let address = RedisAddress::try_from("redis://127.0.0.1:1").unwrap();
        let (queue, requests) = mpsc::channel(QUEUE_MAX);
        let is_up = Arc::new(AtomicBool::new(true));
        let dialer = Dialer::new(&address, None, fred::clients::Client::default());
        let driver = Driver { dialer, requests, is_up: is_up.clone() };
        let closed = CancellationToken::new();
        let pipeline = Pipeline { queue, is_up, closed, timeout: SILENT };
        assert!(pipeline.is_up() && !pipeline.has_panicked());
        let panics = tokio::spawn(async move {
            let _driver = driver;
            panic!("as a defect would");
        });
        assert!(panics.await.is_err());
        assert!(!pipeline.is_up() && pipeline.has_panicked());
    }

    #[tokio::test]
    async fn reply_that_no_command_waits_for_ends_the_connection() {
        let mut played = Played::start();
        played.replies("+OK\r\n").await;
        assert_eq!(played.end.await.unwrap().1, "a reply to no command");
    }
}
