//! Tasks that panic, return early, fail to start and end late.

use std::sync::atomic::AtomicU32;

use super::*;
use crate::lifecycle::{Trigger, shutdown_channel};

/// Bound of every wait, generous for a busy machine.
const BOUND: Duration = Duration::from_secs(60);
/// Long enough that a busy machine observes a failing task, and short enough to wait for.
const SCHEDULE: RestartSchedule = RestartSchedule {
    pause_min: Duration::from_millis(1),
    pause_max: Duration::from_millis(40),
    steady_after: Duration::from_secs(1),
};

async fn wait_until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(BOUND, wait).await.unwrap();
}

struct Fixture {
    trigger: Trigger,
    shutdown: Shutdown,
    metrics: Metrics,
    supervisor: Supervisor,
    starts: Arc<AtomicU32>,
}

impl Fixture {
    fn new() -> Self {
        let (trigger, shutdown) = shutdown_channel();
        let metrics = Metrics::new("test");
        let supervisor = Supervisor::with_schedule(&metrics, SCHEDULE);
        Fixture { trigger, shutdown, metrics, supervisor, starts: Arc::default() }
    }

    /// Spawns a task that counts its starts and runs `task` with the number of the start, from 0.
    fn spawn<F>(&self, task: impl Fn(u32) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let starts = self.starts.clone();
        let start = move || task(starts.fetch_add(1, Ordering::SeqCst));
        self.supervisor.spawn("clumsy", &self.shutdown, start);
    }

    async fn wait_for_starts(&self, times: u32) {
        wait_until(|| self.starts.load(Ordering::SeqCst) >= times).await;
    }

    fn up(&self) -> i64 {
        self.metrics.task_up.with_label_values(&["clumsy"]).get()
    }
}

#[tokio::test]
async fn panicked_task_is_restarted_counted_and_failing_until_steady() {
    let fixture = Fixture::new();
    let shutdown = fixture.shutdown.clone();
    fixture.spawn(move |turn| {
        let shutdown = shutdown.clone();
        async move {
            assert!(turn >= 2, "clumsy");
            shutdown.requested().await;
        }
    });
    assert_eq!((fixture.up(), fixture.supervisor.failing()), (1, vec![]));
    fixture.wait_for_starts(3).await;
    assert_eq!(fixture.supervisor.restarts("clumsy"), 2);
    let counted = fixture.metrics.task_restarts.with_label_values(&["clumsy"]).get();
    assert_eq!((counted, fixture.up()), (2, 0));
    assert_eq!(fixture.supervisor.failing(), ["clumsy"]);
    wait_until(|| fixture.supervisor.failing().is_empty()).await;
    assert_eq!((fixture.up(), fixture.supervisor.restarts("clumsy")), (1, 2));
    fixture.trigger.request();
    assert!(fixture.supervisor.finish(BOUND).await);
    assert_eq!(fixture.starts.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn task_that_returns_early_is_restarted_with_growing_pauses() {
    let fixture = Fixture::new();
    fixture.spawn(|_| async {});
    let began = std::time::Instant::now();
    fixture.wait_for_starts(15).await;
    // Pauses of 1, 2, 4, 8, 16, 32 and then 40 ms, each at least half as long.
    assert!(began.elapsed() >= Duration::from_millis(190), "{:?}", began.elapsed());
    assert_eq!(fixture.supervisor.failing(), ["clumsy"]);
    fixture.trigger.request();
    assert!(fixture.supervisor.finish(BOUND).await);
}

#[tokio::test]
async fn panic_in_start_or_destructor_is_caught() {
    struct Clumsy;
    impl Drop for Clumsy {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "a destructor panics");
        }
    }
    let fixture = Fixture::new();
    let shutdown = fixture.shutdown.clone();
    fixture.spawn(move |turn| {
        assert!(turn != 0, "cannot start");
        let shutdown = shutdown.clone();
        async move {
            let _clumsy = (turn == 1).then(|| Clumsy);
            if turn > 1 {
                shutdown.requested().await;
            }
        }
    });
    fixture.wait_for_starts(3).await;
    assert_eq!(fixture.supervisor.restarts("clumsy"), 2);
    fixture.trigger.request();
    assert!(fixture.supervisor.finish(BOUND).await);
}

#[tokio::test]
async fn injected_panic_hits_all_tasks_of_the_name() {
    let fixture = Fixture::new();
    for _ in 0..2 {
        fixture.spawn(|_| std::future::pending());
    }
    fixture.wait_for_starts(2).await;
    fixture.supervisor.inject_panic("clumsy");
    fixture.wait_for_starts(4).await;
    assert_eq!(fixture.supervisor.restarts("clumsy"), 2);
}

#[tokio::test]
async fn until_done_task_is_restarted_only_after_a_panic() {
    let fixture = Fixture::new();
    let starts = fixture.starts.clone();
    let work = fixture.supervisor.until_done("work", move || {
        let turn = starts.fetch_add(1, Ordering::SeqCst);
        async move { assert!(turn >= 1, "clumsy") }
    });
    timeout(BOUND, work).await.unwrap();
    assert_eq!(fixture.starts.load(Ordering::SeqCst), 2);
    assert_eq!(fixture.supervisor.failing(), Vec::<&str>::new(), "a finished task is not failing");
}

#[tokio::test]
async fn finish_waits_a_bounded_time_and_then_aborts() {
    let fixture = Fixture::new();
    let kept = Arc::new(());
    let held = Arc::downgrade(&kept);
    fixture.spawn(move |_| {
        let kept = kept.clone();
        async move {
            std::future::pending::<()>().await;
            drop(kept);
        }
    });
    fixture.wait_for_starts(1).await;
    fixture.trigger.request();
    assert!(!fixture.supervisor.finish(Duration::from_millis(50)).await);
    wait_until(|| held.strong_count() == 0).await;
}
