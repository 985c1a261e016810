//! A sale without HTTP: the use cases on real servers, as a process of the API would run them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use holdfast::archive::{Archive, ArchiveConfig};
use holdfast::domain::{BookingId, EventId, Section, Status};
use holdfast::payments::AlwaysYes;
use holdfast::redis::Engine;
use holdfast::redis::scripts::ClockSource;
use holdfast::sale::{
    BookingView, ConfirmRequest, Confirmed, HoldRequest, NewEvent, Sale, SaleError, SaleObserver,
    SaleSettings,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::engine::{NoObserver, settings};
use super::servers::Server;
use super::unique_name;

/// How many calls wait to be finished.
#[derive(Default)]
pub struct UnfinishedCount(AtomicUsize);

impl SaleObserver for UnfinishedCount {
    fn unknown_outcome(&self, queued: bool) {
        assert!(queued, "the queue of unfinished calls is full");
    }
    fn unfinished(&self, length: usize) {
        self.0.store(length, Ordering::SeqCst);
    }
}

/// One process's worth of a sale.
pub struct World {
    pub sale: Sale,
    pub engine: Engine,
    pub archive: Archive,
    pub unfinished: Arc<UnfinishedCount>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl World {
    /// A sale on these servers under a name of its own.
    pub async fn new(redis: &Server, mongodb: &Server) -> Self {
        World::with(redis, mongodb, sale_settings()).await
    }

    /// The same with other rules.
    pub async fn with(redis: &Server, mongodb: &Server, rules: SaleSettings) -> Self {
        let name = unique_name();
        let mut settings = settings(redis.url(), name.clone());
        settings.timeout_ms = 400;
        let engine =
            Engine::connect(settings, ClockSource::Redis, Arc::new(NoObserver)).await.unwrap();
        let config = ArchiveConfig { url: mongodb.url(), database: name, op_timeout_ms: 5_000 };
        let archive = Archive::connect(&config).await.unwrap();
        archive.prepare(engine.keys().partitions()).await.unwrap();
        let unfinished = Arc::new(UnfinishedCount::default());
        let (stop, stopped) = watch::channel(false);
        let (sale, tasks) = Sale::start(
            engine.clone(),
            archive.clone(),
            Arc::new(AlwaysYes),
            rules,
            unfinished.clone(),
            stopped,
        );
        World { sale, engine, archive, unfinished, stop, tasks }
    }

    /// Calls that wait to be finished.
    pub fn unfinished(&self) -> usize {
        self.unfinished.0.load(Ordering::SeqCst)
    }

    /// An event of so many places, without rows.
    pub async fn event(&self, capacity: u32) -> EventId {
        let sections = vec![Section {
            name: "Floor".into(),
            price: 100,
            rows: None,
            capacity: Some(capacity),
        }];
        let new = NewEvent {
            name: "Test".into(),
            description: None,
            venue: None,
            currency: None,
            starts_at_ms: None,
            on_sale_at_ms: None,
            hold_ttl_seconds: None,
            max_hold_seconds: None,
            max_seats_per_user: None,
            sections,
        };
        self.sale.create_event(new).await.unwrap().event.id
    }

    /// A hold, under this key if there is one.
    pub async fn hold(
        &self,
        user: &str,
        event: EventId,
        seats: &[u32],
        key: Option<&str>,
    ) -> Result<BookingView, SaleError> {
        let request = HoldRequest {
            user: user.parse().unwrap(),
            event,
            seats: seats.iter().copied().map(holdfast::domain::SeatId).collect(),
            key: key.map(str::to_owned),
            trace: String::new(),
        };
        self.sale.hold(request).await
    }

    /// Pays for a hold.
    pub async fn confirm(&self, held: &BookingView) -> Result<Confirmed, SaleError> {
        let request = ConfirmRequest {
            user: held.booking.user.clone(),
            booking: held.booking.id,
            payment_method: "card_ok".into(),
            amount: None,
            key: None,
        };
        self.sale.confirm(request).await
    }

    /// A booking's state in Redis.
    pub async fn status(&self, booking: BookingId) -> Option<Status> {
        let answer = self.engine.get_booking(booking).await.ok()?;
        answer.booking().map(|booking| booking.status)
    }

    /// Free seats by Redis.
    pub async fn free(&self, event: EventId) -> Option<u32> {
        self.sale.event(event).await.ok()?.available_seats
    }

    /// Ends the background tasks and waits for them.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

pub fn sale_settings() -> SaleSettings {
    SaleSettings {
        hold_ttl_ms: 300_000,
        max_hold_ms: 900_000,
        max_seats_per_user: 10,
        currency: "EUR".into(),
        idempotency_ttl_ms: 86_400_000,
        confirm_wait: Duration::from_secs(5),
        confirm_lease_ms: 60_000,
        confirm_attempts_max: 10,
        unfinished_max: 10_000,
        log_entries_max: 1_000_000,
        worker_group: "archive".into(),
    }
}
