//! Ending in order: one request to stop, seen by everything that must stop.
//!
//! Whoever runs a loop or a server holds a [`Shutdown`] and ends when it is requested; who may
//! ask for it holds the [`Trigger`]. A trigger that is dropped counts as a request, so nothing
//! outlives the one who could end it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Asks everything to stop.
#[derive(Debug)]
pub struct Trigger {
    told: watch::Sender<bool>,
    is_requested: Arc<AtomicBool>,
}

/// Tells when to stop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown {
    told: watch::Receiver<bool>,
    /// The same for who asks with every request: a channel is read under a lock.
    is_requested: Arc<AtomicBool>,
}

/// A connected pair.
pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    let is_requested = Arc::new(AtomicBool::new(false));
    let shutdown = Shutdown { told: receiver, is_requested: is_requested.clone() };
    (Trigger { told: sender, is_requested }, shutdown)
}

impl Trigger {
    /// Asks to stop. Asking again changes nothing.
    pub fn request(&self) {
        // First: whoever is woken by the channel finds it said.
        self.is_requested.store(true, Ordering::Release);
        self.told.send_replace(true);
    }

    /// Asks to stop at the first SIGTERM, SIGINT or SIGHUP; a second one ends the process at once.
    ///
    /// # Errors
    /// If the process cannot listen to signals.
    pub fn on_signals(self) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        tokio::spawn(async move {
            // Ends with the process: it owns nothing that would need to be handed back.
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                    _ = hang_up.recv() => "SIGHUP",
                };
                if self.is_requested.load(Ordering::Acquire) {
                    tracing::warn!("{name} again: ending at once");
                    std::process::exit(EXIT_INTERRUPTED);
                }
                tracing::info!("{name}: finishing what is under way");
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

/// Exit code of a process that was told twice to end.
const EXIT_INTERRUPTED: i32 = 130;

impl Shutdown {
    /// Whether to stop.
    pub fn is_requested(&self) -> bool {
        self.is_requested.load(Ordering::Acquire)
    }

    /// Pauses between two turns of a task; false as soon as it is time to stop.
    pub async fn sleep_or_shutdown(&self, pause: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => !self.is_requested(),
            () = self.requested() => false,
        }
    }

    /// The same as a plain channel that turns true.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.told.clone()
    }

    /// Returns when it is time to stop.
    pub async fn requested(&self) {
        // An error means that the trigger is gone, which counts as a request.
        let _ = self.told.clone().wait_for(|requested| *requested).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_reaches_every_clone() {
        let (trigger, shutdown) = channel();
        let other = shutdown.clone();
        assert!(!other.is_requested());
        trigger.request();
        other.requested().await;
        assert!(shutdown.is_requested());
    }

    #[tokio::test]
    async fn a_dropped_trigger_is_a_request() {
        let (trigger, shutdown) = channel();
        drop(trigger);
        shutdown.requested().await;
        assert!(shutdown.is_requested());
    }
}
