//! One connection that notices when Redis has gone silent.
//!
//! The client library looks at the age of the last *write*, so a link that died under traffic is
//! never given up by it. Here the clock starts with the first call that has no answer yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::prelude::ClientState;

/// A connection with calls but without answers for this long is made anew.
const SILENT_MAX: Duration = Duration::from_millis(1_000);

/// Nothing is unanswered.
const ANSWERED: u64 = 0;

pub(super) struct Connection {
    pub(super) client: Client,
    origin: Instant,
    /// When the oldest call without an answer was sent, ms after `origin`; `ANSWERED` if none is.
    silent_since_ms: AtomicU64,
    renewing: Arc<AtomicBool>,
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

    /// Whether a call may be sent.
    pub(super) fn is_up(&self) -> bool {
        self.client.state() == ClientState::Connected && !self.renewing.load(Ordering::Relaxed)
    }

    /// A call is being sent.
    pub(super) fn note_sent(&self) {
        // Two first calls at once: either's time will do.
        if self.silent_since_ms.load(Ordering::Relaxed) == ANSWERED {
            self.silent_since_ms.store(self.now_ms(), Ordering::Relaxed);
        }
    }

    /// An answer came, of whatever kind.
    pub(super) fn note_answered(&self) {
        self.silent_since_ms.store(ANSWERED, Ordering::Relaxed);
    }

    /// A call was given up: after too long a silence the connection is made anew.
    pub(super) fn note_given_up(&self) {
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
        tracing::warn!(silent_ms, "redis is silent; connecting anew");
        tokio::spawn(async move {
            // Tries for ever, as the reconnection policy says; ends early if the client is quit.
            let renewed = client.force_reconnection().await;
            renewing.store(false, Ordering::Relaxed);
            tracing::info!(?renewed, "connected to redis anew");
        });
    }

    fn now_ms(&self) -> u64 {
        // Never `ANSWERED`.
        self.origin.elapsed().as_millis() as u64 + 1
    }
}
