//! The use cases of a sale: what the API, the worker and the operator's tool ask for.
//!
//! Each promises: what is refused does not happen later; what is answered as done is in the
//! booking log; a booking is told to be CONFIRMED only once the archive says so.

pub mod archiving;
mod audit;
pub mod booking_report;
mod bookings;
mod catalogue;
mod choice;
mod coalescing_cache;
mod compensation;
mod confirm;
mod dependencies;
pub mod error;
mod event_index;
mod event_list;
mod events;
pub mod export;
mod hold;
mod house;
mod load;
mod losses;
pub mod opening;
mod paying;
pub mod policy;
mod precheck;
pub mod replay;
mod request_key;
pub mod restore;
mod seats;
pub mod types;
mod unload;
pub mod verify;
pub mod waiting_room;
mod warming;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::archive::{Archive, ArchiveError};
use crate::domain::admission_token::TokenKeys;
use crate::domain::{Chargeable, Event, RoomSettings};
use crate::faults::Faults;
use crate::lifecycle::Shutdown;
use crate::lifecycle::Supervisor;
use crate::live::{Live, LiveObserver, LiveSettings, Settlements};
use crate::payments::Provider;
use crate::redis::{Engine, RedisError};

pub use crate::archive::BookingsFrom;
pub use audit::{Act, ActPosition, Audit, Begun, NewAct};
use catalogue::Catalogue;
pub use coalescing_cache::CoalescingCache;
use compensation::CompensationQueue;
pub use dependencies::{Dependencies, Readiness};
pub use error::SaleError;
pub use event_index::{EventFilter, EventsFrom};
pub use event_list::EventPage;
pub use events::Events;
pub use hold::{HoldPlan, Precheck};
pub use house::{ArchivedBlock, BlockPosition, BlockRequest, HouseSeats};
pub use load::Loading;
pub use paying::{
    CheckOptions, Difference, Mended, MoneyTotals, PaymentService, PaymentsReport, Reconciled, Wait,
};
use precheck::RecentGrants;
pub use precheck::{HOPELESS, LocalRefusal};
pub use seats::Newest;
use seats::Reads;
pub use types::*;
pub use unload::Unloading;
use waiting_room::{RoomStore, WaitingRoom};
use warming::Warmth;
pub use webhooks::WebhookResult;

/// The rules of a sale that operators set.
#[derive(Clone, Debug)]
pub struct SaleSettings {
    /// How long a hold lasts unless the event says otherwise, ms.
    pub hold_ttl_ms: i64,
    /// How long a hold can last with extensions unless the event says otherwise, ms.
    pub max_hold_ms: i64,
    /// Seats one user can hold and own unless the event says otherwise.
    pub max_seats_per_user: u32,
    /// Currency of events that name none.
    pub currency: String,
    /// What the payment provider can charge.
    pub chargeable: Chargeable,
    /// How long an idempotency record lives, ms.
    pub idempotency_ttl_ms: i64,
    /// How long a confirmation waits for the archive before it answers 202.
    pub confirm_wait: Duration,
    /// How long a confirmation keeps its lease, ms.
    pub confirm_lease_ms: i64,
    /// How long a booking that ended stays in Redis, seconds.
    pub ended_keep_seconds: u64,
    /// How often a booking's confirmation can begin.
    pub confirm_attempts_max: i64,
    /// CompensationQueue calls that are kept: so many to undo, and as many payments.
    pub unfinished_max: usize,
    /// Length of a partition's booking log at which holds stop.
    pub log_entries_max: u64,
    /// How long an admission token is valid, ms.
    pub token_ttl_ms: i64,
    /// The settings of waiting rooms that nobody set anything for.
    pub room_defaults: RoomSettings,
    /// How often a second Redis is asked for an event's counts, at the most, where its view is not
    /// fresh.
    pub looks_per_second: u32,
    /// Name of the worker's consumer group: settling acknowledges nothing from here, but the
    /// archive's completeness (`as_of`) is read off it.
    pub worker_group: String,
}

/// Told of what the sale does; metrics hang here.
pub trait SaleObserver: Send + Sync {
    /// A call's outcome is unknown; whether it could be queued to be finished.
    fn unknown_outcome(&self, queued: bool);
    /// The queue of unfinished calls now has this length.
    fn unfinished(&self, length: usize);
    /// Something became of a payment: `charged`, `declined`, `impossible`, `not_done`, `unknown`, `abandoned`,
    /// `cancelled`, `committed_late`, `late_refunded`, `refund_pending`, `refund_failed`, `refunded`.
    fn payment(&self, what: &'static str);
    /// A request to hold seats was refused from the live view.
    fn refused_here(&self, _: LocalRefusal) {}
}

/// A sale's use cases. Cheap to clone.
#[derive(Clone)]
pub struct Sale {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    archive: Archive,
    events: Events,
    catalogue: Catalogue,
    payments: PaymentService,
    /// Places for webhooks.
    notices: Arc<Semaphore>,
    faults: Arc<Faults>,
    settlements: Settlements,
    live: Live,
    reads: Reads,
    recent: RecentGrants,
    warmth: Warmth,
    reports: losses::Reports,
    observer: Arc<dyn SaleObserver>,
    unfinished: CompensationQueue,
    waiting_room: WaitingRoom,
    dependencies: Dependencies,
    supervisor: Supervisor,
    settings: SaleSettings,
}

/// What a sale works with.
pub struct Parts {
    /// Redis.
    pub engine: Engine,
    /// MongoDB.
    pub archive: Archive,
    /// Who moves the money.
    pub provider: Arc<dyn Provider>,
    /// What admission tokens are signed with.
    pub keys: TokenKeys,
    /// Its rules.
    pub settings: SaleSettings,
    /// How views are kept.
    pub live: LiveSettings,
    /// Who keeps its background tasks running.
    pub supervisor: Supervisor,
}

/// Told of what a sale does.
pub struct Observers {
    /// Of what it could not finish at once, and of payments.
    pub sale: Arc<dyn SaleObserver>,
    /// Of its views.
    pub live: Arc<dyn LiveObserver>,
}

/// How far the live view is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveReadiness {
    /// The views of open sales are being built.
    Warming,
    /// It can be used.
    Fresh,
    /// It stays too old to be used: everything is asked of Redis.
    Stale,
}

impl Sale {
    /// A sale with its background tasks (the tail, the finisher of unfinished calls), which end
    /// when shutdown is requested.
    pub fn start(
        parts: Parts,
        observers: Observers,
        faults: Arc<Faults>,
        shutdown: &Shutdown,
    ) -> Self {
        let Parts { engine, archive, provider, keys, settings, live, supervisor } = parts;
        let observer = observers.sale;
        // An entry of now is read before it is this old, or the view is not used. What may run yet
        // does so before its call is given up.
        let unseen_for = live.staleness + Duration::from_millis(engine.settings().timeout_ms * 2);
        let settlements = Settlements::default();
        let events = Events::new(engine.clone(), archive.clone(), settings.clone());
        let catalogue = events.catalogue.clone();
        let live = Live::start(
            engine.clone(),
            live,
            settlements.clone(),
            observers.live,
            &supervisor,
            shutdown,
        );
        let warmth =
            Warmth::start(catalogue.clone(), archive.clone(), live.clone(), &supervisor, shutdown);
        let payments = PaymentService::new(
            engine.clone(),
            archive.clone(),
            provider,
            &settings,
            observer.clone(),
            faults.clone(),
        );
        let unfinished = CompensationQueue::start(
            engine.clone(),
            catalogue.clone(),
            payments.clone(),
            settings.unfinished_max,
            observer.clone(),
            &supervisor,
            shutdown,
        );
        let store = RoomStore::of(&engine, &archive, &settings);
        let waiting_room = WaitingRoom::start(
            engine.clone(),
            store,
            catalogue.clone(),
            keys,
            &supervisor,
            shutdown,
        );
        let dependencies = Dependencies::start(&engine, &archive, &supervisor, shutdown);
        let partitions = engine.keys().partitions();
        let inner = Inner {
            engine,
            archive,
            events,
            catalogue,
            payments,
            notices: webhooks::places(),
            faults,
            settlements,
            live,
            reads: Reads::new(settings.looks_per_second, partitions),
            recent: RecentGrants::new(unseen_for),
            warmth,
            reports: losses::Reports::default(),
            observer,
            unfinished,
            waiting_room,
            dependencies,
            supervisor,
            settings,
        };
        Sale { inner: Arc::new(inner) }
    }

    /// Whether the dependencies answer, as is known.
    pub fn dependencies(&self) -> &Dependencies {
        &self.inner.dependencies
    }

    /// How far the live view is.
    pub fn live_readiness(&self) -> LiveReadiness {
        match (self.inner.warmth.is_reached(), self.inner.live.state().is_stale) {
            (false, _) => LiveReadiness::Warming,
            (true, true) => LiveReadiness::Stale,
            (true, false) => LiveReadiness::Fresh,
        }
    }

    /// Who sees to bookings' money.
    pub fn payments(&self) -> &PaymentService {
        &self.inner.payments
    }

    /// The live view.
    pub fn live(&self) -> &Live {
        &self.inner.live
    }

    /// The waiting rooms.
    pub fn waiting_room(&self) -> &WaitingRoom {
        &self.inner.waiting_room
    }

    /// Who keeps its background tasks running, and those that others add.
    pub fn supervisor(&self) -> &Supervisor {
        &self.inner.supervisor
    }

    /// The record of admin acts.
    pub fn audit(&self) -> Audit {
        Audit::new(self.inner.archive.clone())
    }

    /// How many Redis calls are under way.
    pub fn redis_in_flight(&self) -> usize {
        self.inner.engine.in_flight()
    }

    /// An event of the catalogue, or `EventUnknown`.
    pub async fn known_event(&self, id: crate::domain::EventId) -> Result<Arc<Event>, SaleError> {
        self.inner.catalogue.get(id).await?.ok_or(SaleError::EventUnknown(id))
    }
}

/// Our own clock, Unix ms: for what decides nothing.
fn unix_now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

impl From<RedisError> for SaleError {
    fn from(error: RedisError) -> Self {
        let unknown = !matches!(error, RedisError::NotRun(_));
        SaleError::Unavailable { dependency: "redis", reason: error.to_string(), unknown }
    }
}

impl From<ArchiveError> for SaleError {
    fn from(error: ArchiveError) -> Self {
        if let ArchiveError::Invalid(text) = error {
            return SaleError::Invalid(text);
        }
        let unknown = !matches!(error, ArchiveError::NotRun(_));
        SaleError::Unavailable { dependency: "mongodb", reason: error.to_string(), unknown }
    }
}
