//! Supervision of long-lived background tasks.
//!
//! A task that panics, or returns before shutdown is requested, is restarted after a pause that
//! doubles with each further failure. Each such end is logged and counted. The task is *failing*
//! from its end until it has run for [`STEADY_AFTER`], which readiness and metrics show.
//!
//! A task is passed as a function that starts it, so each start creates the task's state anew.
//! State that outlives a start must be usable after a panic at any point:
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
use crate::lifecycle::Shutdown;
use crate::telemetry::Metrics;

/// How long a restarted task must run before it no longer counts as failing.
pub const STEADY_AFTER: Duration = Duration::from_secs(10);
/// The restart schedule.
const RESTARTS: RestartSchedule = RestartSchedule {
    pause_min: Duration::from_millis(100),
    pause_max: Duration::from_secs(30),
    steady_after: STEADY_AFTER,
};

#[derive(Clone, Copy)]
struct RestartSchedule {
    /// Pauses before a restart: the first, and the longest.
    pause_min: Duration,
    pause_max: Duration,
    steady_after: Duration,
}

/// Restarts the background tasks of one process. Cheap to clone.
#[derive(Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

struct Inner {
    metrics: Metrics,
    runtime: Handle,
    schedule: RestartSchedule,
    /// By name. Bounded: names are literals in the code.
    tasks: Mutex<BTreeMap<&'static str, Arc<TaskGroup>>>,
    running: Mutex<JoinSet<()>>,
}

/// All tasks of one name: some names have one task a lane or event.
struct TaskGroup {
    name: &'static str,
    /// How many tasks of the group are failing.
    failing: AtomicUsize,
    up: IntGauge,
    restarts: [IntCounter; 2],
    /// Makes all running tasks of the group panic; for tests.
    panics: Notify,
}

/// When a task may return without being restarted.
enum Lifetime {
    /// After shutdown is requested.
    UntilShutdown(Shutdown),
    /// Whenever its work is done.
    UntilDone,
}

impl Supervisor {
    /// A supervisor without tasks. Must be called within the runtime that runs the tasks.
    pub fn new(metrics: &Metrics) -> Self {
        Supervisor::with_schedule(metrics, RESTARTS)
    }

    fn with_schedule(metrics: &Metrics, schedule: RestartSchedule) -> Self {
        let inner = Inner {
            metrics: metrics.clone(),
            runtime: Handle::current(),
            schedule,
            tasks: Mutex::default(),
            running: Mutex::default(),
        };
        Supervisor { inner: Arc::new(inner) }
    }

    /// Spawns the task that `start` creates and restarts it until shutdown is requested. The task
    /// must return then, and not before.
    pub fn spawn<F>(
        &self,
        name: &'static str,
        shutdown: &Shutdown,
        start: impl Fn() -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let lifetime = Lifetime::UntilShutdown(shutdown.clone());
        let supervised = supervise(self.group(name), self.inner.schedule, lifetime, start);
        let mut running = lock(&self.inner.running);
        while running.try_join_next().is_some() {}
        running.spawn_on(supervised, &self.inner.runtime);
    }

    /// Runs the task that `start` creates until it returns; restarts it only after a panic. The
    /// caller polls or spawns the future.
    pub fn until_done<F>(
        &self,
        name: &'static str,
        start: impl Fn() -> F + Send + Sync + 'static,
    ) -> impl Future<Output = ()> + Send + 'static
    where
        F: Future<Output = ()> + Send + 'static,
    {
        supervise(self.group(name), self.inner.schedule, Lifetime::UntilDone, start)
    }

    /// The names of failing tasks.
    pub fn failing(&self) -> Vec<&'static str> {
        let tasks = lock(&self.inner.tasks);
        let failing = tasks.values().filter(|group| group.failing.load(Ordering::Relaxed) > 0);
        failing.map(|group| group.name).collect()
    }

    /// Waits at most `bound` for all spawned tasks to end and aborts the others. Returns whether
    /// all ended.
    pub async fn finish(&self, bound: Duration) -> bool {
        let mut running = std::mem::take(&mut *lock(&self.inner.running));
        let all = async { while running.join_next().await.is_some() {} };
        timeout(bound, all).await.is_ok()
    }

    /// The names of all tasks spawned so far; for tests.
    #[doc(hidden)]
    pub fn names(&self) -> Vec<&'static str> {
        lock(&self.inner.tasks).keys().copied().collect()
    }

    /// Makes the running tasks of this name panic; for tests.
    #[doc(hidden)]
    pub fn inject_panic(&self, name: &str) {
        if let Some(group) = lock(&self.inner.tasks).get(name) {
            group.panics.notify_waiters();
        }
    }

    /// How often tasks of this name ended unexpectedly.
    pub fn restarts(&self, name: &str) -> u64 {
        lock(&self.inner.tasks).get(name).map_or(0, |group| group.restarts[0].get())
    }

    fn group(&self, name: &'static str) -> Arc<TaskGroup> {
        let metrics = &self.inner.metrics;
        let new = || {
            let up = metrics.task_up.with_label_values(&[name]);
            up.set(1);
            let restarts = [&metrics.task_restarts, &metrics.worker_task_restarts];
            let restarts = restarts.map(|counter| counter.with_label_values(&[name]));
            let (failing, panics) = (AtomicUsize::new(0), Notify::new());
            Arc::new(TaskGroup { name, failing, up, restarts, panics })
        };
        lock(&self.inner.tasks).entry(name).or_insert_with(new).clone()
    }
}

/// Counts one task of a group as failing until it is dropped.
struct FailingGuard(Arc<TaskGroup>);

impl FailingGuard {
    fn new(group: &Arc<TaskGroup>) -> Self {
        group.failing.fetch_add(1, Ordering::Relaxed);
        group.up.set(0);
        FailingGuard(group.clone())
    }
}

impl Drop for FailingGuard {
    fn drop(&mut self) {
        if self.0.failing.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.up.set(1);
        }
    }
}

async fn supervise<F>(
    task: Arc<TaskGroup>,
    schedule: RestartSchedule,
    lifetime: Lifetime,
    start: impl Fn() -> F + Send + Sync + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let start = Arc::new(start);
    let new_backoff = || Backoff::new(schedule.pause_min, schedule.pause_max);
    let (mut backoff, mut failing) = (new_backoff(), None);
    loop {
        // A set of one task: it catches panics, also those of destructors, and aborts the task when
        // this future is dropped.
        let mut attempt = JoinSet::new();
        attempt.spawn(run_or_panic(task.clone(), start.clone()));
        let steady_at = Instant::now() + schedule.steady_after;
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
            // Aborted: the runtime is shutting down.
            Some(Err(_)) | None => return,
        };
        failing.get_or_insert_with(|| FailingGuard::new(&task));
        task.restarts.iter().for_each(IntCounter::inc);
        let pause = backoff.pause();
        // The panic hook has logged where it panicked.
        tracing::error!(task = task.name, ?pause, "a background task {how} and is started again");
        if !lifetime.sleep_or_shutdown(pause).await {
            return;
        }
    }
}

/// Runs the task; panics where a test injects a panic.
async fn run_or_panic<F>(task: Arc<TaskGroup>, start: Arc<impl Fn() -> F>)
where
    F: Future<Output = ()>,
{
    tokio::select! {
        biased;
        () = task.panics.notified() => panic!("injected panic in the task {}", task.name),
        () = start() => {}
    }
}

impl Lifetime {
    fn is_over(&self) -> bool {
        match self {
            Lifetime::UntilShutdown(shutdown) => shutdown.is_requested(),
            Lifetime::UntilDone => true,
        }
    }

    /// Pauses; returns false if the task must not be restarted.
    async fn sleep_or_shutdown(&self, pause: Duration) -> bool {
        match self {
            Lifetime::UntilShutdown(shutdown) => shutdown.sleep_or_shutdown(pause).await,
            Lifetime::UntilDone => {
                sleep(pause).await;
                true
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Poisoning can be ignored: no code under these locks panics halfway through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
