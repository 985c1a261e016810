//! The worker's background tasks: every handle is kept, a panic is caught, counted and followed
//! by a new start, and the end is awaited for a bounded time.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;

/// Pause before a task that panicked begins anew.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// The running tasks. Dropped, they end where they stand.
pub(super) struct Tasks {
    running: JoinSet<()>,
    metrics: Metrics,
    shutdown: Shutdown,
}

impl Tasks {
    pub fn new(metrics: Metrics, shutdown: Shutdown) -> Self {
        Tasks { running: JoinSet::new(), metrics, shutdown }
    }

    /// Runs the task that `begin` makes until it returns, which it does when told to stop.
    pub fn keep<F>(&mut self, name: &'static str, begin: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (metrics, shutdown) = (self.metrics.clone(), self.shutdown.clone());
        self.running.spawn(async move {
            // The panic hook has logged and counted the panic itself.
            while AssertUnwindSafe(begin()).catch_unwind().await.is_err() {
                metrics.task_restarts.with_label_values(&[name]).inc();
                tracing::error!(task = name, "a task panicked and begins anew");
                if !shutdown.rest(RESTART_PAUSE).await {
                    return;
                }
            }
        });
    }

    /// Waits at most `bound` for all tasks to end; says whether they did.
    pub async fn finish(mut self, bound: Duration) -> bool {
        let all = async { while self.running.join_next().await.is_some() {} };
        timeout(bound, all).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::shutdown;

    #[tokio::test]
    async fn a_task_that_panics_begins_anew() {
        let (_trigger, shutdown) = shutdown::channel();
        let metrics = Metrics::new("test");
        let mut tasks = Tasks::new(metrics.clone(), shutdown);
        let turns = Arc::new(AtomicU32::new(0));
        let counted = turns.clone();
        tasks.keep("clumsy", move || {
            let turn = counted.fetch_add(1, Ordering::SeqCst);
            async move { assert!(turn >= 1, "clumsy") }
        });
        assert!(tasks.finish(Duration::from_secs(10)).await);
        assert_eq!(turns.load(Ordering::SeqCst), 2);
        assert_eq!(metrics.task_restarts.with_label_values(&["clumsy"]).get(), 1);
    }

    #[tokio::test]
    async fn the_end_is_not_awaited_for_ever() {
        let (_trigger, shutdown) = shutdown::channel();
        let mut tasks = Tasks::new(Metrics::new("test"), shutdown);
        tasks.keep("deaf", std::future::pending);
        assert!(!tasks.finish(Duration::from_millis(50)).await);
    }
}
