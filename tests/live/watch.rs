//! Live views without a sale: an engine, one event, and the tail of its log.

use std::sync::Arc;
use std::time::Duration;

use holdfast::domain::layout::Section;
use holdfast::domain::{Event, Inventory, Layout};
use holdfast::lifecycle::{Supervisor, Trigger, shutdown_channel};
use holdfast::live::{Live, LiveSettings, Settlements};
use holdfast::redis::scripts::{ClockSource, Scripts};
use holdfast::redis::{Engine, OpenEventReply};
use holdfast::telemetry::Metrics;

use super::{PATIENCE, agrees};
use crate::support::counts::Counts;
use crate::support::engine::{NoObserver, Stage, settings, small_event};
use crate::support::servers::Server;
use crate::support::{eventually, unique_name};

/// The views of one process.
pub struct Watch {
    pub stage: Stage,
    pub live: Live,
    pub counts: Arc<Counts>,
    pub supervisor: Supervisor,
    trigger: Trigger,
}

/// An event of so many seats without a limit per user.
pub fn wide_event(id: u32, capacity: u32) -> Event {
    let floor = Section { name: "Floor".into(), price: 100, rows: None, capacity: Some(capacity) };
    let layout = Arc::new(Layout::new(vec![floor]).unwrap());
    Event { layout, max_seats_per_user: capacity, hold_ttl_ms: 600_000, ..small_event(id) }
}

/// An engine in a namespace.
pub async fn engine(redis: &Server, namespace: String, clock: ClockSource) -> Engine {
    let scripts = Scripts::embedded(clock);
    Engine::connect(settings(redis.url(), namespace), scripts, Arc::new(NoObserver)).await.unwrap()
}

impl Watch {
    /// Loads and opens an event, and follows it.
    pub async fn new(redis: &Server, event: Event) -> Self {
        let engine = engine(redis, unique_name(), ClockSource::Redis).await;
        let stage = Stage { engine, event };
        stage.load_and_open().await;
        Watch::of(stage)
    }

    /// Follows a loaded event.
    pub fn of(stage: Stage) -> Self {
        let settings =
            LiveSettings { staleness: Duration::from_secs(1), ..LiveSettings::default() };
        Watch::with(stage, settings)
    }

    /// Follows a loaded event with these settings.
    pub fn with(stage: Stage, settings: LiveSettings) -> Self {
        let counts = Arc::new(Counts::default());
        let (trigger, shutdown) = shutdown_channel();
        let supervisor = Supervisor::new(&Metrics::new("test"));
        let live = Live::start(
            stage.engine.clone(),
            settings,
            Settlements::default(),
            counts.clone(),
            &supervisor,
            &shutdown,
        );
        Watch { stage, live, counts, supervisor, trigger }
    }

    /// The views of another process.
    pub fn another(&self) -> Self {
        Watch::of(Stage { engine: self.stage.engine.clone(), event: self.stage.event.clone() })
    }

    /// Waits until the view equals what Redis holds.
    pub async fn agrees(&self) {
        agrees(&self.stage.engine, &self.live, self.stage.event.id).await;
    }

    /// Waits until this life-cycle event happened more often than before.
    pub async fn wait_for(&self, what: &'static str, before: usize) {
        eventually(what, PATIENCE, async || self.counts.views(what) > before).await;
    }

    /// Loads the event in this generation.
    pub async fn load(&mut self, generation: u64, inventory: &Inventory) {
        self.stage.event.generation = generation;
        let (engine, event) = (&self.stage.engine, &self.stage.event);
        let OpenEventReply::Done { token } = engine.load_event(event, inventory).await.unwrap()
        else {
            panic!("it is loaded already");
        };
        let opened = engine.open_event(event, &token).await.unwrap();
        assert_eq!(opened.code(), "ok");
    }

    /// Ends the tasks and waits for them.
    pub async fn stop(self) {
        self.trigger.request();
        assert!(self.supervisor.finish(PATIENCE).await);
    }
}
