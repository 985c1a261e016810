//! One connection, which is replaced when Redis stays silent.
//!
//! The client library checks the age of the last *write*, so it never gives up a link that died
//! under traffic. Here the time since the oldest unanswered call counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::prelude::ClientState;
use fred::types::config::Options;
use fred::types::{ClusterHash, CustomCommand, Value};

use super::error::RedisError;
use crate::telemetry::warn_repeated;

/// A connection with unanswered calls and no reply for this long is replaced.
const SILENT_MAX: Duration = Duration::from_millis(1_000);

/// Nothing is unanswered.
const ANSWERED: u64 = 0;

pub(super) struct Connection {
    client: Client,
    origin: Instant,
    /// When the oldest call without an answer was sent, ms after `origin`; `ANSWERED` if none is.
    silent_since_ms: AtomicU64,
    renewing: Arc<AtomicBool>,
}

/// Marks a connection as being replaced, until this is dropped: a mark that stayed would disable
/// the connection for good.
struct Renewing(Arc<AtomicBool>);

impl Drop for Renewing {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Connection {
    pub(super) fn new(client: Client) -> Self {
        Connection {
            client,
            origin: Instant::now(),
            silent_since_ms: AtomicU64::new(ANSWERED),
            renewing: Arc::default(),
        }
    }

    /// The library's client.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether a call may be sent.
    pub(super) fn is_up(&self) -> bool {
        self.client.state() == ClientState::Connected && !self.renewing.load(Ordering::Relaxed)
    }

    /// Sends one command once, and waits for its reply at most so long, or as long as is usual.
    pub(super) async fn send(
        &self,
        name: &'static str,
        args: Vec<Value>,
        time_left: Option<Duration>,
    ) -> Result<Value, Error> {
        let options = Options {
            fail_fast: true,
            max_attempts: Some(1),
            timeout: time_left,
            ..Default::default()
        };
        self.note_sent();
        // Boxed: the library's future is several kilobytes, which every caller's would hold, too.
        let client = self.client.with_options(&options);
        let sent = Box::pin(client.custom(command(name), args)).await;
        self.note_result(sent)
    }

    /// Like `send`, for keys that are being moved to this node.
    pub(super) async fn send_asking(
        &self,
        name: &'static str,
        args: Vec<Value>,
    ) -> Result<Value, Error> {
        // The two are written one right after the other, so that no other command comes between.
        let pipeline = self.client.pipeline();
        pipeline.custom::<(), _>(command("ASKING"), Vec::<Value>::new()).await?;
        pipeline.custom::<(), _>(command(name), args).await?;
        self.note_sent();
        let mut replies = pipeline.try_all::<Value>().await;
        let lost = || Error::new(fred::error::ErrorKind::Protocol, "no reply after ASKING");
        self.note_result(replies.pop().unwrap_or_else(|| Err(lost())))
    }

    /// Closes the connection.
    pub(super) async fn close(&self) {
        // A client that is gone already has nothing to quit.
        let _ = self.client.quit().await;
    }

    fn note_result(&self, sent: Result<Value, Error>) -> Result<Value, Error> {
        match &sent {
            Err(error) if matches!(RedisError::from(error), RedisError::Unknown(_)) => {
                self.note_given_up();
            }
            _ => self.note_answered(),
        }
        sent
    }

    /// Records that a call is being sent.
    fn note_sent(&self) {
        // Two first calls at once: either's time will do.
        if self.silent_since_ms.load(Ordering::Relaxed) == ANSWERED {
            self.silent_since_ms.store(self.now_ms(), Ordering::Relaxed);
        }
    }

    /// Records a reply.
    fn note_answered(&self) {
        self.silent_since_ms.store(ANSWERED, Ordering::Relaxed);
    }

    /// Records that a call was given up: after too long a silence the connection is replaced.
    fn note_given_up(&self) {
        let since_ms = self.silent_since_ms.load(Ordering::Relaxed);
        let silent_ms = self.now_ms().saturating_sub(since_ms);
        if since_ms == ANSWERED || u128::from(silent_ms) < SILENT_MAX.as_millis() {
            return;
        }
        if self.renewing.swap(true, Ordering::Relaxed) {
            return;
        }
        self.note_answered();
        let (client, renewing) = (self.client.clone(), self.renewing.clone());
        warn_repeated!(silent_ms, "redis is silent; connecting anew");
        tokio::spawn(async move {
            let _renewing = Renewing(renewing);
            // Tries for ever, by the reconnection policy; ends early if the client is quit.
            let renewed = client.force_reconnection().await;
            tracing::info!(?renewed, "connected to redis anew");
        });
    }

    fn now_ms(&self) -> u64 {
        // Never `ANSWERED`.
        self.origin.elapsed().as_millis() as u64 + 1
    }
}

/// Every client is connected to one node, so a command's slot does not matter.
fn command(name: &'static str) -> CustomCommand {
    CustomCommand::new_static(name, ClusterHash::Custom(0), false)
}
