//! A sale without HTTP: the use cases on real servers, as a process of the API would run them.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use holdfast::archive::{Archive, ArchiveConfig, SimulatedPayment};
use holdfast::domain::admission_token::{DeploymentTag, TokenKeys};
use holdfast::domain::{
    Booking, BookingId, Entry, EventId, Intent, IntentState, Kind, LogId, Partition, SeatId,
    Section, Status,
};
use holdfast::faults::Faults;
use holdfast::lifecycle::{Supervisor, Trigger, shutdown_channel};
use holdfast::live::LiveSettings;
use holdfast::payments::{Charge, PaymentOrder, Provider, Simulated, SimulatedSettings};
use holdfast::redis::scripts::{ClockSource, Scripts};
use holdfast::redis::{Detail, Engine};
use holdfast::sale::{
    BookingView, ConfirmRequest, Confirmed, HoldRequest, NewEvent, Observers, Parts, Sale,
    SaleError, SaleSettings, SeatRequest,
};
use holdfast::telemetry::Metrics;
use mongodb::Database;
use mongodb::bson::{Document, doc};

use super::consistency::{AGREEMENT, wait_until_consistent};
use super::counts::Counts;
use super::engine::{NoObserver, settings};
use super::servers::Server;
use super::{eventually, unique_name};

/// Sales of [`World::sell`] under way at a time.
const BUYERS_AT_ONCE: usize = 16;
/// How often [`answered`] asks, and how long it waits between two asks.
const ASKS_MAX: u32 = 120;
const REPEAT_PAUSE: Duration = Duration::from_millis(250);

/// How long the background tasks may take to end on a busy machine.
const END_BOUND: Duration = Duration::from_secs(60);

/// One process's worth of a sale.
pub struct World {
    pub sale: Sale,
    pub engine: Engine,
    pub archive: Archive,
    pub counts: Arc<Counts>,
    database: Database,
    trigger: Trigger,
}

/// How long calls may take.
#[derive(Clone, Copy)]
struct Bounds {
    redis_ms: u64,
    mongodb_ms: u64,
}

/// Machines are busy at times, which is rarely what is tested.
const PATIENT: Bounds = Bounds { redis_ms: 2_000, mongodb_ms: 20_000 };

impl World {
    /// A sale on these servers under a name of its own.
    pub async fn new(redis: &Server, mongodb: &Server) -> Self {
        World::with(redis, mongodb, sale_settings()).await
    }

    /// The same with other rules.
    pub async fn with(redis: &Server, mongodb: &Server, rules: SaleSettings) -> Self {
        World::bounded(redis, mongodb, rules, PATIENT).await
    }

    /// A sale without views whose calls of Redis may take long: for tests of what takes many of them.
    pub async fn patient(redis: &Server, mongodb: &Server) -> Self {
        let bounds = Bounds { redis_ms: 5_000, ..PATIENT };
        let live = LiveSettings { seats_max: 0, ..LiveSettings::default() };
        World::named(unique_name(), redis, mongodb, sale_settings(), bounds, live).await
    }

    /// A sale that gives up on its services soon: for tests of what it does then.
    pub async fn prompt(redis: &Server, mongodb: &Server, rules: SaleSettings) -> Self {
        World::bounded(redis, mongodb, rules, Bounds { redis_ms: 400, mongodb_ms: 5_000 }).await
    }

    /// A sale that asks Redis for everything: for tests that count the log's entries, which a view
    /// would have beat.
    pub async fn without_views(redis: &Server, mongodb: &Server, rules: SaleSettings) -> Self {
        let live = LiveSettings { seats_max: 0, ..LiveSettings::default() };
        World::named(unique_name(), redis, mongodb, rules, PATIENT, live).await
    }

    async fn bounded(
        redis: &Server,
        mongodb: &Server,
        rules: SaleSettings,
        bounds: Bounds,
    ) -> Self {
        World::named(unique_name(), redis, mongodb, rules, bounds, LiveSettings::default()).await
    }

    /// Another process of the same sale, with bounds of its own, that sees views grow stale so soon.
    pub async fn beside(&self, redis: &Server, mongodb: &Server, staleness: Duration) -> World {
        let name = self.engine.settings().namespace.clone();
        let bounds = Bounds { redis_ms: self.engine.settings().timeout_ms, ..PATIENT };
        let live = LiveSettings { staleness, ..LiveSettings::default() };
        World::named(name, redis, mongodb, impatient(), bounds, live).await
    }

    /// This process ends, and another of the same sale takes its place, with an empty memory.
    pub async fn started_anew(mut self, redis: &Server, mongodb: &Server) -> World {
        self.start_anew(redis, mongodb, sale_settings()).await;
        self
    }

    /// The same in place, under these rules.
    pub async fn start_anew(&mut self, redis: &Server, mongodb: &Server, rules: SaleSettings) {
        let name = self.engine.settings().namespace.clone();
        let bounds = Bounds { redis_ms: self.engine.settings().timeout_ms, ..PATIENT };
        let live = LiveSettings { seats_max: 0, ..LiveSettings::default() };
        let new = World::named(name, redis, mongodb, rules, bounds, live).await;
        std::mem::replace(self, new).stop().await;
    }

    async fn named(
        name: String,
        redis: &Server,
        mongodb: &Server,
        rules: SaleSettings,
        bounds: Bounds,
        live: LiveSettings,
    ) -> Self {
        let mut settings = settings(redis.url(), name.clone());
        settings.timeout_ms = bounds.redis_ms;
        let engine =
            Engine::connect(settings, Scripts::embedded(ClockSource::Redis), Arc::new(NoObserver))
                .await
                .unwrap();
        let config =
            ArchiveConfig { url: mongodb.url(), database: name, op_timeout_ms: bounds.mongodb_ms };
        let archive = Archive::connect(&config).await.unwrap();
        archive.prepare(engine.keys().partitions()).await.unwrap();
        let client = mongodb::Client::with_uri_str(&config.url).await.unwrap();
        let database = client.database(&config.database);
        let counts = Arc::new(Counts::default());
        let (trigger, shutdown) = shutdown_channel();
        let sale = Sale::start(
            Parts {
                engine: engine.clone(),
                archive: archive.clone(),
                provider: Arc::new(Simulated::new(&archive, SimulatedSettings::default())),
                keys: token_keys(),
                settings: rules,
                live,
                supervisor: Supervisor::new(&Metrics::new("test")),
            },
            Observers { sale: counts.clone(), live: counts.clone() },
            Arc::new(Faults::default()),
            &shutdown,
        );
        World { sale, engine, archive, counts, database, trigger }
    }

    /// Calls that wait to be finished.
    pub fn unfinished(&self) -> usize {
        self.counts.unfinished()
    }

    /// Requests that were refused from the live view.
    pub fn refused_from_view(&self) -> usize {
        self.counts.refusals_from_view()
    }

    /// An event of so many places, without rows.
    pub async fn event(&self, capacity: u32) -> EventId {
        self.event_of(capacity, None).await
    }

    /// The same, free of charge.
    pub async fn free_event(&self, capacity: u32) -> EventId {
        self.event_at(0, capacity, None).await
    }

    /// The same as [`World::event`], whose holds last so many seconds.
    pub async fn event_of(&self, capacity: u32, hold_ttl_seconds: Option<u32>) -> EventId {
        self.event_at(100, capacity, hold_ttl_seconds).await
    }

    async fn event_at(&self, price: i64, capacity: u32, hold_ttl_seconds: Option<u32>) -> EventId {
        let sections =
            vec![Section { name: "Floor".into(), price, rows: None, capacity: Some(capacity) }];
        let new = NewEvent {
            name: "Test".into(),
            description: None,
            venue: None,
            currency: None,
            starts_at_ms: None,
            on_sale_at_ms: None,
            off_sale_at_ms: None,
            hold_ttl_seconds,
            max_hold_seconds: None,
            max_seats_per_user: None,
            orphan_rule: None,
            cancel_policy: Default::default(),
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
            seats: SeatRequest::Named(seats.iter().copied().map(SeatId).collect()),
            key: key.map(str::to_owned),
            room_number: 0,
            exempt: false,
            trace: String::new(),
        };
        self.sale.hold(self.sale.plan_hold(request).await?).await
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

    /// Holds and pays for each of these seats, a booking a seat; the worker need not be there.
    pub async fn sell(&self, event: EventId, seats: RangeInclusive<u32>) -> Vec<BookingView> {
        let sales = seats.map(|seat| async move {
            let user = format!("u{seat}");
            let held = answered(async || self.hold(&user, event, &[seat], None).await).await;
            let held = held.unwrap();
            answered(async || self.confirm(&held).await).await.unwrap();
            held
        });
        stream::iter(sales).buffered(BUYERS_AT_ONCE).collect().await
    }

    /// Waits until all of these are CONFIRMED in Redis.
    pub async fn all_confirmed(&self, sold: &[BookingView], bound: Duration) {
        let waiting = Mutex::new(sold.iter().map(|view| view.booking.id).collect::<Vec<_>>());
        eventually("all are CONFIRMED", bound, async || {
            let ids = waiting.lock().unwrap().clone();
            let states = join_all(ids.iter().map(|id| self.status(*id))).await;
            let rest = ids.into_iter().zip(states).filter(|(_, s)| *s != Some(Status::Confirmed));
            *waiting.lock().unwrap() = rest.map(|(id, _)| id).collect();
            waiting.lock().unwrap().is_empty()
        })
        .await;
    }

    /// A booking's state in Redis.
    pub async fn status(&self, booking: BookingId) -> Option<Status> {
        let answer = self.engine.get_booking(booking).await.ok()?;
        answer.booking().map(|booking| booking.status)
    }

    /// Where an event's entries are.
    pub fn partition(&self, event: EventId) -> Partition {
        self.engine.keys().partition_of(event)
    }

    /// All entries of an event's log that can be read.
    pub async fn entries(&self, event: EventId) -> Vec<Entry> {
        let log = self.engine.range(self.partition(event), LogId::default(), None, 100_000).await;
        let entries = log.unwrap().into_iter().filter_map(|read| read.entry.ok());
        entries.filter(|entry| entry.event == Some(event)).collect()
    }

    /// The archive has every entry, every booking and a claim on every sold seat of an event
    /// once, and nothing else. Seats of cancelled sales must have been sold again.
    pub async fn archive_is_exact(&self, event: EventId) {
        self.verified().await;
        let entries = self.entries(event).await;
        let of_event = doc! { "event": i64::from(event.0) };
        let count = async |collection: &str| {
            let collection = self.database.collection::<Document>(collection);
            collection.count_documents(of_event.clone()).await.unwrap() as usize
        };
        assert_eq!(count("transitions").await, entries.len(), "the ledger");
        let transitions = entries.iter().filter_map(|entry| entry.transition.as_ref());
        let bookings: HashSet<BookingId> = transitions.map(|one| one.booking).collect();
        assert_eq!(count("bookings").await, bookings.len(), "bookings");
        let sold = entries.iter().filter(|entry| entry.kind == Kind::Sold);
        let sold = sold.filter_map(|entry| entry.transition.as_ref());
        let sold: BTreeMap<SeatId, BookingId> =
            sold.flat_map(|one| one.seats.iter().map(|seat| (*seat, one.booking))).collect();
        let claims = self.archive.claims_of_event(event, None, 100_000).await.unwrap();
        let owned: BTreeMap<SeatId, BookingId> =
            claims.into_iter().map(|claim| (claim.seat, claim.owner)).collect();
        assert_eq!(owned, sold, "claims");
    }

    /// Waits until Redis, the log and the archive tell one story.
    pub async fn verified(&self) {
        wait_until_consistent(&self.engine, &self.archive, AGREEMENT).await;
    }

    /// What the simulated provider's books have of a booking's payment.
    pub async fn payment(&self, booking: BookingId) -> Option<SimulatedPayment> {
        self.archive.simulated_payments().find(booking).await.unwrap()
    }

    /// Charges a booking as a confirmation would whose traces in Redis a failover has lost.
    pub async fn charge_unseen(&self, booking: &Booking) {
        let provider = Simulated::new(&self.archive, SimulatedSettings::default());
        self.charge_by(&provider, booking).await;
    }

    /// The same by another provider.
    pub async fn charge_by(&self, provider: &dyn Provider, booking: &Booking) {
        let order = PaymentOrder {
            booking: booking.id,
            amount: booking.amount,
            currency: booking.currency.clone(),
        };
        let payment = provider.create(&order).await.unwrap();
        let leased = Booking { lease: 1, nonce: "lost".into(), ..booking.clone() };
        let intent = Intent::first(&leased, &payment, IntentState::Open, 0);
        assert!(self.archive.insert_intent(&intent).await.unwrap());
        let charge = Charge {
            booking: booking.id,
            attempt: 1,
            payment,
            method: "card_ok".into(),
            amount: booking.amount,
            currency: booking.currency.clone(),
        };
        provider.charge(&charge).await.unwrap();
    }

    /// Free seats by Redis.
    pub async fn free(&self, event: EventId) -> Option<u32> {
        let snapshot = self.engine.snapshot(event, Detail::Counts).await.ok()??;
        u32::try_from(snapshot.available).ok().filter(|_| snapshot.open)
    }

    /// Ends the background tasks and waits for them.
    pub async fn stop(self) {
        self.trigger.request();
        assert!(self.sale.supervisor().finish(END_BOUND).await, "all tasks end");
    }
}

/// Runs a use case, and again where a service did not respond.
pub async fn answered<T>(ask: impl AsyncFn() -> Result<T, SaleError>) -> Result<T, SaleError> {
    for _ in 1..ASKS_MAX {
        match ask().await {
            Err(SaleError::Unavailable { .. }) => tokio::time::sleep(REPEAT_PAUSE).await,
            result => return result,
        }
    }
    ask().await
}

pub fn sale_settings() -> SaleSettings {
    SaleSettings {
        hold_ttl_ms: 300_000,
        max_hold_ms: 900_000,
        max_seats_per_user: 10,
        currency: "EUR".into(),
        chargeable: holdfast::domain::Chargeable::Everything,
        idempotency_ttl_ms: 86_400_000,
        confirm_wait: Duration::from_secs(5),
        confirm_lease_ms: 60_000,
        ended_keep_seconds: 86_400,
        confirm_attempts_max: 10,
        unfinished_max: 10_000,
        log_entries_max: 1_000_000,
        token_ttl_ms: 86_400_000,
        room_defaults: Default::default(),
        count_queries_per_second: 5,
        worker_group: "archive".into(),
    }
}

/// The same, but a confirmation does not wait for the archive.
pub fn impatient() -> SaleSettings {
    SaleSettings { confirm_wait: Duration::ZERO, ..sale_settings() }
}

/// What admission tokens of tests are signed with.
pub fn token_keys() -> TokenKeys {
    let deployment = DeploymentTag::of("test", "test");
    TokenKeys::new(deployment, &[("test", b"a secret of thirty-two bytes for tests")]).unwrap()
}
