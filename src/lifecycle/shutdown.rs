//! Orderly shutdown: one request, seen by every loop and server that must stop.
//!
//! A loop or server holds a [`Shutdown`] and ends when it is requested; the [`Trigger`] requests it.
//! Dropping the trigger also requests shutdown, so no task outlives the code that can stop it.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a process that received a second signal.
const EXIT_INTERRUPTED: i32 = 130;

/// Requests shutdown, explicitly or when dropped.
#[derive(Debug)]
pub struct Trigger(CancellationToken);

/// Signals that shutdown is requested. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(CancellationToken);

/// Creates a connected pair.
pub fn shutdown_channel() -> (Trigger, Shutdown) {
    let token = CancellationToken::new();
    (Trigger(token.clone()), Shutdown(token))
}

impl Trigger {
    /// Requests shutdown. Idempotent.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Requests shutdown at the first SIGTERM or SIGINT; a second signal ends the process at once.
    ///
    /// # Errors
    /// If the process cannot listen to signals.
    pub fn on_signals(self) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            // Runs as long as the process and owns nothing that needs cleaning up.
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                if self.0.is_cancelled() {
                    tracing::warn!("second {name}: exiting at once");
                    std::process::exit(EXIT_INTERRUPTED);
                }
                tracing::info!("{name}: shutting down after the work in progress");
                self.request();
            }
        });
        Ok(())
    }
}

impl Drop for Trigger {
    fn drop(&mut self) {
        self.request();
    }
}

impl Shutdown {
    /// Whether shutdown is requested.
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Sleeps between two rounds of a task; returns false as soon as shutdown is requested.
    pub async fn sleep_or_shutdown(&self, pause: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => !self.is_requested(),
            () = self.requested() => false,
        }
    }

    /// Waits until shutdown is requested.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn request_reaches_every_clone() {
        let (trigger, shutdown) = shutdown_channel();
        let other = shutdown.clone();
        assert!(!other.is_requested());
        trigger.request();
        other.requested().await;
        assert!(shutdown.is_requested());
    }

    #[tokio::test]
    async fn dropped_trigger_requests_shutdown() {
        let (trigger, shutdown) = shutdown_channel();
        drop(trigger);
        shutdown.requested().await;
        assert!(shutdown.is_requested());
    }
}
