//! Supervision of long-lived background tasks.
//!
//! Promises: a task that panics, or returns before its time, is started again, after a pause that
//! doubles while it goes on failing; each such end is logged and counted; a task is *failing* from
//! its end until it has run for [`STEADY_AFTER`] since, which readiness and metrics show.
//!
//! A task is given as a function that begins it, so everything it needs is made anew at each start.
//! What outlives a start belongs to somebody else and must be usable after a panic at any point:
//! see `docs/ARCHITECTURE.md`, "Background tasks".

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{IntCounter, IntGauge};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::backoff::Backoff;
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;

/// How long a restarted task has to run before it is no longer failing.
pub const STEADY_AFTER: Duration = Duration::from_secs(10);
/// How restarts are spread.
const PACE: Pace = Pace {
    pause_min: Duration::from_millis(100),
    pause_max: Duration::from_secs(30),
    steady_after: STEADY_AFTER,
};

#[derive(Clone, Copy)]
struct Pace {
    /// Pauses before a task begins anew: the first, and the longest.
    pause_min: Duration,
    pause_max: Duration,
    steady_after: Duration,
}

/// Keeps the background tasks of one process running. Cheap to clone.
#[derive(Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

struct Inner {
    metrics: Metrics,
    runtime: Handle,
    pace: Pace,
    /// By name; as many as there are names in the code.
    tasks: Mutex<BTreeMap<&'static str, Arc<Task>>>,
    running: Mutex<JoinSet<()>>,
}

/// All tasks of one name: some run once for each lane or event.
struct Task {
    name: &'static str,
    /// How many of them are failing.
    failing: AtomicUsize,
    up: IntGauge,
    restarts: [IntCounter; 2],
    /// Has all that run now panic: for tests.
    panics: Notify,
}

/// When a task may return.
enum Lifetime {
    /// Once shutdown is requested.
    Process(Shutdown),
    /// Whenever its work is done.
    Work,
}

impl Supervisor {
    /// Supervises nothing yet. Must be called within the runtime that is to run the tasks.
    pub fn new(metrics: &Metrics) -> Self {
        Supervisor::paced(metrics, PACE)
    }

    fn paced(metrics: &Metrics, pace: Pace) -> Self {
        let inner = Inner {
            metrics: metrics.clone(),
            runtime: Handle::current(),
            pace,
            tasks: Mutex::default(),
            running: Mutex::default(),
        };
        Supervisor { inner: Arc::new(inner) }
    }

    /// Runs the task that `begin` makes until shutdown is requested. The task itself ends then, and
    /// no sooner.
    pub fn spawn<F>(
        &self,
        name: &'static str,
        shutdown: &Shutdown,
        begin: impl Fn() -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let lifetime = Lifetime::Process(shutdown.clone());
        let kept = keep(self.task(name), self.inner.pace, lifetime, begin);
        let mut running = lock(&self.inner.running);
        while running.try_join_next().is_some() {}
        running.spawn_on(kept, &self.inner.runtime);
    }

    /// Runs the task that `begin` makes until it returns; it is started again after a panic alone.
    /// Runs while it is polled: the caller spawns it.
    pub fn until_done<F>(
        &self,
        name: &'static str,
        begin: impl Fn() -> F + Send + Sync + 'static,
    ) -> impl Future<Output = ()> + Send + 'static
    where
        F: Future<Output = ()> + Send + 'static,
    {
        keep(self.task(name), self.inner.pace, Lifetime::Work, begin)
    }

    /// The names of tasks that are failing.
    pub fn failing(&self) -> Vec<&'static str> {
        let tasks = lock(&self.inner.tasks);
        let failing = tasks.values().filter(|task| task.failing.load(Ordering::Relaxed) > 0);
        failing.map(|task| task.name).collect()
    }

    /// Waits at most `bound` for all spawned tasks to end, and aborts those that do not; says
    /// whether all did.
    pub async fn finish(&self, bound: Duration) -> bool {
        let mut running = std::mem::take(&mut *lock(&self.inner.running));
        let all = async { while running.join_next().await.is_some() {} };
        timeout(bound, all).await.is_ok()
    }

    /// The names of all tasks so far: for tests.
    #[doc(hidden)]
    pub fn names(&self) -> Vec<&'static str> {
        lock(&self.inner.tasks).keys().copied().collect()
    }

    /// Has the tasks of this name panic where they are: for tests.
    #[doc(hidden)]
    pub fn inject_panic(&self, name: &str) {
        if let Some(task) = lock(&self.inner.tasks).get(name) {
            task.panics.notify_waiters();
        }
    }

    /// How often the tasks of this name ended unexpectedly.
    pub fn restarts(&self, name: &str) -> u64 {
        lock(&self.inner.tasks).get(name).map_or(0, |task| task.restarts[0].get())
    }

    fn task(&self, name: &'static str) -> Arc<Task> {
        let metrics = &self.inner.metrics;
        let new = || {
            let up = metrics.task_up.with_label_values(&[name]);
            up.set(1);
            let restarts = [&metrics.task_restarts, &metrics.worker_task_restarts];
            let restarts = restarts.map(|counter| counter.with_label_values(&[name]));
            let (failing, panics) = (AtomicUsize::new(0), Notify::new());
            Arc::new(Task { name, failing, up, restarts, panics })
        };
        lock(&self.inner.tasks).entry(name).or_insert_with(new).clone()
    }
}

/// One task of a name is failing as long as this lives.
struct Failing(Arc<Task>);

impl Failing {
    fn of(task: &Arc<Task>) -> Self {
        task.failing.fetch_add(1, Ordering::Relaxed);
        task.up.set(0);
        Failing(task.clone())
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        if self.0.failing.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.up.set(1);
        }
    }
}

async fn keep<F>(
    task: Arc<Task>,
    pace: Pace,
    lifetime: Lifetime,
    begin: impl Fn() -> F + Send + Sync + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let begin = Arc::new(begin);
    let new_backoff = || Backoff::new(pace.pause_min, pace.pause_max);
    let (mut backoff, mut failing) = (new_backoff(), None);
    loop {
        // A set of one: whatever panics in it, its destructors included, is caught, and it ends
        // with us.
        let mut attempt = JoinSet::new();
        attempt.spawn(until_injected(task.clone(), begin.clone()));
        let steady_at = Instant::now() + pace.steady_after;
        let ended = loop {
            tokio::select! {
                ended = attempt.join_next() => break ended,
                () = sleep_until(steady_at), if failing.is_some() => {
                    tracing::info!(task = task.name, "a background task runs steadily again");
                    (backoff, failing) = (new_backoff(), None);
                }
            }
        };
        let how = match ended {
            Some(Ok(())) if lifetime.is_over() => return,
            Some(Ok(())) => "returned",
            Some(Err(error)) if error.is_panic() => "panicked",
            // The runtime ends, and with it this.
            Some(Err(_)) | None => return,
        };
        failing.get_or_insert_with(|| Failing::of(&task));
        task.restarts.iter().for_each(IntCounter::inc);
        let pause = backoff.pause();
        // The place of a panic was logged by the panic hook.
        tracing::error!(task = task.name, ?pause, "a background task {how} and is started again");
        if !lifetime.sleep_or_shutdown(pause).await {
            return;
        }
    }
}

/// The task itself, or a panic where a test asks for one.
async fn until_injected<F>(task: Arc<Task>, begin: Arc<impl Fn() -> F>)
where
    F: Future<Output = ()>,
{
    tokio::select! {
        biased;
        () = task.panics.notified() => panic!("a test has the task {} panic", task.name),
        () = begin() => {}
    }
}

impl Lifetime {
    fn is_over(&self) -> bool {
        match self {
            Lifetime::Process(shutdown) => shutdown.is_requested(),
            Lifetime::Work => true,
        }
    }

    /// Pauses; false if there is nothing to start again after it.
    async fn sleep_or_shutdown(&self, pause: Duration) -> bool {
        match self {
            Lifetime::Process(shutdown) => shutdown.sleep_or_shutdown(pause).await,
            Lifetime::Work => {
                sleep(pause).await;
                true
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks panics half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
