//! Tasks that panic, return, begin badly and end late.

use std::sync::atomic::AtomicU32;

use super::*;
use crate::shutdown;

/// How long anything may take on a busy machine.
const BOUND: Duration = Duration::from_secs(60);
/// Long enough for a busy machine to see a task fail, and short enough to wait for.
const PACE: Pace = Pace {
    pause_min: Duration::from_millis(1),
    pause_max: Duration::from_millis(40),
    steady_after: Duration::from_secs(1),
};

async fn comes(holds: impl Fn() -> bool) {
    let comes = async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(BOUND, comes).await.unwrap();
}

struct Stage {
    trigger: shutdown::Trigger,
    shutdown: Shutdown,
    metrics: Metrics,
    supervisor: Supervisor,
    begun: Arc<AtomicU32>,
}

impl Stage {
    fn new() -> Self {
        let (trigger, shutdown) = shutdown::channel();
        let metrics = Metrics::new("test");
        let supervisor = Supervisor::paced(&metrics, PACE);
        Stage { trigger, shutdown, metrics, supervisor, begun: Arc::default() }
    }

    /// Counts its beginnings, and then does what `acts` says of each, from 0.
    fn spawn<F>(&self, acts: impl Fn(u32) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let begun = self.begun.clone();
        let begin = move || acts(begun.fetch_add(1, Ordering::SeqCst));
        self.supervisor.spawn("clumsy", &self.shutdown, begin);
    }

    async fn begins(&self, times: u32) {
        comes(|| self.begun.load(Ordering::SeqCst) >= times).await;
    }

    fn up(&self) -> i64 {
        self.metrics.task_up.with_label_values(&["clumsy"]).get()
    }
}

#[tokio::test]
async fn panicked_task_is_restarted_counted_and_failing_until_steady() {
    let stage = Stage::new();
    let shutdown = stage.shutdown.clone();
    stage.spawn(move |turn| {
        let shutdown = shutdown.clone();
        async move {
            assert!(turn >= 2, "clumsy");
            shutdown.requested().await;
        }
    });
    assert_eq!((stage.up(), stage.supervisor.failing()), (1, vec![]));
    stage.begins(3).await;
    assert_eq!(stage.supervisor.restarts("clumsy"), 2);
    let counted = stage.metrics.task_restarts.with_label_values(&["clumsy"]).get();
    assert_eq!((counted, stage.up()), (2, 0));
    assert_eq!(stage.supervisor.failing(), ["clumsy"]);
    comes(|| stage.supervisor.failing().is_empty()).await;
    assert_eq!((stage.up(), stage.supervisor.restarts("clumsy")), (1, 2));
    stage.trigger.request();
    assert!(stage.supervisor.finish(BOUND).await);
    assert_eq!(stage.begun.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn task_that_returns_early_is_restarted_with_growing_pauses() {
    let stage = Stage::new();
    stage.spawn(|_| async {});
    let began = std::time::Instant::now();
    stage.begins(15).await;
    // 1, 2, 4, 8, 16, 32 and then 40 ms, half of each at the least.
    assert!(began.elapsed() >= Duration::from_millis(190), "{:?}", began.elapsed());
    assert_eq!(stage.supervisor.failing(), ["clumsy"]);
    stage.trigger.request();
    assert!(stage.supervisor.finish(BOUND).await);
}

#[tokio::test]
async fn panic_of_a_beginning_and_of_a_destructor_is_caught() {
    struct Clumsy;
    impl Drop for Clumsy {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "a destructor panics");
        }
    }
    let stage = Stage::new();
    let shutdown = stage.shutdown.clone();
    stage.spawn(move |turn| {
        assert!(turn != 0, "cannot begin");
        let shutdown = shutdown.clone();
        async move {
            let _clumsy = (turn == 1).then(|| Clumsy);
            if turn > 1 {
                shutdown.requested().await;
            }
        }
    });
    stage.begins(3).await;
    assert_eq!(stage.supervisor.restarts("clumsy"), 2);
    stage.trigger.request();
    assert!(stage.supervisor.finish(BOUND).await);
}

#[tokio::test]
async fn injected_panic_hits_all_tasks_of_the_name_at_once() {
    let stage = Stage::new();
    for _ in 0..2 {
        stage.spawn(|_| std::future::pending());
    }
    stage.begins(2).await;
    stage.supervisor.inject_panic("clumsy");
    stage.begins(4).await;
    assert_eq!(stage.supervisor.restarts("clumsy"), 2);
}

#[tokio::test]
async fn task_until_done_is_restarted_after_a_panic_alone() {
    let stage = Stage::new();
    let begun = stage.begun.clone();
    let work = stage.supervisor.until_done("work", move || {
        let turn = begun.fetch_add(1, Ordering::SeqCst);
        async move { assert!(turn >= 1, "clumsy") }
    });
    timeout(BOUND, work).await.unwrap();
    assert_eq!(stage.begun.load(Ordering::SeqCst), 2);
    assert_eq!(stage.supervisor.failing(), Vec::<&str>::new(), "what is over does not fail");
}

#[tokio::test]
async fn end_is_awaited_for_a_bounded_time_and_forced() {
    let stage = Stage::new();
    let kept = Arc::new(());
    let held = Arc::downgrade(&kept);
    stage.spawn(move |_| {
        let kept = kept.clone();
        async move {
            std::future::pending::<()>().await;
            drop(kept);
        }
    });
    stage.begins(1).await;
    stage.trigger.request();
    assert!(!stage.supervisor.finish(Duration::from_millis(50)).await);
    comes(|| held.strong_count() == 0).await;
}
