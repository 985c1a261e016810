//! The use cases of a sale, shared by the API, the worker and `holdfastctl`.
//!
//! Guarantees of each: a refused request has no later effect; an operation reported as done is in
//! the booking log; a booking is reported CONFIRMED only after the archive has decided so.

mod activity;
pub mod archiving;
mod audit;
mod block_seats;
pub mod booking_report;
mod bookings;
mod cancel;
mod catalogue;
pub mod checks;
mod coalescing_cache;
mod compensation;
mod confirm;
pub mod control;
pub mod dead_letters;
mod dependencies;
mod deployment;
pub mod error;
mod event_index;
mod event_list;
mod events;
pub mod export;
mod extend;
mod hold;
pub mod lag;
pub mod ledger;
mod load;
mod losses;
mod monitoring;
pub mod opening;
mod overview;
mod paying;
pub mod policy;
mod precheck;
pub mod replay;
pub mod report;
mod request_key;
pub mod restore;
pub mod rules_in_effect;
pub mod search;
mod seats;
mod selection;
mod socket_tickets;
pub mod trace_report;
pub mod types;
mod unload;
pub mod verify;
pub mod waiting_room;
mod warming;
mod webhooks;
pub mod workers;

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
pub use activity::{Pace, RefusalTotals, Series, pace};
pub use audit::{Audit, AuditEntry, AuditPosition, NewAuditEntry, RecordedAct};
pub use audit::{audit_cursor, audit_position};
pub use block_seats::{ArchivedBlock, BlockPosition, BlockRequest, BlockSelection};
pub use cancel::{CancelPolicy, Cancellations};
use catalogue::Catalogue;
pub use coalescing_cache::CoalescingCache;
use compensation::CompensationQueue;
pub use dependencies::{BreakerStates, Breakers, Dependencies, Readiness};
pub use deployment::Deployment;
pub use error::SaleError;
pub use event_index::{EventFilter, EventsFrom};
pub use event_list::EventPage;
pub use events::Events;
pub use hold::{HoldPlan, Precheck};
pub use load::LoadResult;
pub use monitoring::{EventTotals, KnownTotals};
pub use overview::{EventOverview, RoomOverview, SectionCounts};
pub use paying::{
    CheckOptions, DifferenceKind, MarkPaid, MarkedPaid, MendedPayment, MoneyTotals,
    PaymentDifference, PaymentService, PaymentsReport, ReconcileResult, WaitReason,
};
use precheck::RecentGrants;
pub use precheck::VIEW_REFUSALS;
pub use report::{SalesReport, Sold};
pub use search::{FoundBooking, FoundSeat, SearchHits};
use seats::SeatReads;
pub use seats::{LatestSeats, STALE_MAX};
pub use types::*;
pub use unload::UnloadResult;
use waiting_room::{RoomStore, WaitingRoom};
use warming::WarmUp;
pub use webhooks::WebhookResult;

/// The operator's rules for a sale.
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
    /// The maximum number of confirmation attempts of one booking.
    pub confirm_attempts_max: i64,
    /// Capacity of the compensation queue: so many undo operations, and as many payments.
    pub unfinished_max: usize,
    /// Length of a partition's booking log at which holds stop.
    pub log_entries_max: u64,
    /// How long an admission token is valid, ms.
    pub token_ttl_ms: i64,
    /// Settings of waiting rooms without settings of their own.
    pub room_defaults: RoomSettings,
    /// The maximum number of Redis count queries per event and second while the event's live view
    /// is not fresh.
    pub count_queries_per_second: u32,
    /// Name of the worker's consumer group, used to read how far the archive is complete
    /// (`as_of`). Settling from here acknowledges nothing.
    pub worker_group: String,
}

/// Receives the sale's events, for metrics.
pub trait SaleObserver: Send + Sync {
    /// A call's outcome is unknown; `queued` says whether its compensation was queued.
    fn unknown_outcome(&self, queued: bool);
    /// The compensation queue now has this length.
    fn unfinished(&self, length: usize);
    /// A payment took a step: `charged`, `declined`, `impossible`, `not_done`, `unknown`,
    /// `abandoned`, `cancelled`, `committed_late`, `late_refunded`, `refund_pending`,
    /// `refund_failed`, `refunded`, `refunded_outside`, `marked_paid`.
    fn payment(&self, what: &'static str);
    /// A hold was refused from the live view, for one of [`VIEW_REFUSALS`].
    fn refused_from_view(&self, _reason: &'static str) {}
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
    /// Bounds the webhooks handled at the same time.
    webhook_permits: Arc<Semaphore>,
    faults: Arc<Faults>,
    settlements: Settlements,
    live: Live,
    reads: SeatReads,
    recent_grants: RecentGrants,
    warm_up: WarmUp,
    loss_reports: losses::LossReports,
    observer: Arc<dyn SaleObserver>,
    compensations: CompensationQueue,
    waiting_room: WaitingRoom,
    dependencies: Dependencies,
    deployment: deployment::DeploymentReads,
    checks: checks::CheckSlot,
    /// Held by the one report that is being made.
    reports: tokio::sync::Mutex<()>,
    supervisor: Supervisor,
    settings: SaleSettings,
}

/// The services and settings of a sale.
pub struct Parts {
    /// Redis.
    pub engine: Engine,
    /// MongoDB.
    pub archive: Archive,
    /// The payment provider.
    pub provider: Arc<dyn Provider>,
    /// The keys that sign admission tokens.
    pub keys: TokenKeys,
    /// The sale's rules.
    pub settings: SaleSettings,
    /// Settings of the live view.
    pub live: LiveSettings,
    /// Supervises the background tasks.
    pub supervisor: Supervisor,
}

/// The observers of a sale.
pub struct Observers {
    /// Observes compensations and payments.
    pub sale: Arc<dyn SaleObserver>,
    /// Observes the live views.
    pub live: Arc<dyn LiveObserver>,
}

/// The live view's readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveReadiness {
    /// The views of open sales are being built.
    Warming,
    /// The view is usable.
    Fresh,
    /// The view is too old to be used; all reads go to Redis.
    Stale,
}

impl Sale {
    /// Starts a sale with its background tasks (the tail, the compensation queue, health checks),
    /// which end when shutdown is requested.
    pub fn start(
        parts: Parts,
        observers: Observers,
        faults: Arc<Faults>,
        shutdown: &Shutdown,
    ) -> Self {
        let Parts { engine, archive, provider, keys, settings, live, supervisor } = parts;
        let observer = observers.sale;
        // A view older than `staleness` is not used, so a fresh one includes every entry of that
        // age. A call can still run until its timeout.
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
        let warm_up =
            WarmUp::start(catalogue.clone(), archive.clone(), live.clone(), &supervisor, shutdown);
        let payments = PaymentService::new(
            engine.clone(),
            archive.clone(),
            provider,
            &settings,
            observer.clone(),
            faults.clone(),
        );
        let compensations = CompensationQueue::start(
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
        let (counted, followed, stop) = (engine.clone(), live.clone(), shutdown.clone());
        supervisor.spawn("activity", shutdown, move || {
            activity::keep_written(counted.clone(), followed.clone(), stop.clone())
        });
        let dependencies = Dependencies::start(&engine, &archive, &supervisor, shutdown);
        let partitions = engine.keys().partitions();
        let inner = Inner {
            engine,
            archive,
            events,
            catalogue,
            payments,
            webhook_permits: webhooks::permits(),
            faults,
            settlements,
            live,
            reads: SeatReads::new(settings.count_queries_per_second, partitions),
            recent_grants: RecentGrants::new(unseen_for),
            warm_up,
            loss_reports: losses::LossReports::default(),
            observer,
            compensations,
            waiting_room,
            dependencies,
            deployment: deployment::DeploymentReads::default(),
            checks: checks::CheckSlot::default(),
            reports: tokio::sync::Mutex::default(),
            supervisor,
            settings,
        };
        Sale { inner: Arc::new(inner) }
    }

    /// The last known health of the dependencies.
    pub fn dependencies(&self) -> &Dependencies {
        &self.inner.dependencies
    }

    /// The live view's readiness.
    pub fn live_readiness(&self) -> LiveReadiness {
        match (self.inner.warm_up.is_done(), self.inner.live.state().is_stale) {
            (false, _) => LiveReadiness::Warming,
            (true, true) => LiveReadiness::Stale,
            (true, false) => LiveReadiness::Fresh,
        }
    }

    /// The payment service.
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

    /// The supervisor of the sale's background tasks; callers may add theirs.
    pub fn supervisor(&self) -> &Supervisor {
        &self.inner.supervisor
    }

    /// The store of operators' changes to limits and access lists.
    pub fn policy(&self) -> policy::PolicyStore {
        policy::PolicyStore::new(Some(self.inner.engine.clone()), self.inner.archive.clone())
    }

    /// The audit log of admin acts.
    pub fn audit(&self) -> Audit {
        Audit::new(self.inner.archive.clone())
    }

    /// An event of the catalogue, or `EventUnknown`.
    pub async fn known_event(&self, id: crate::domain::EventId) -> Result<Arc<Event>, SaleError> {
        self.inner.catalogue.get(id).await?.ok_or(SaleError::EventUnknown(id))
    }
}

/// This process' clock, Unix ms. INVARIANT: it decides nothing.
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
