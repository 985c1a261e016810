//! The archive: the data in MongoDB, which decides every sale.
//!
//! Guarantees:
//!
//! * Every operation is idempotent: after a lost reply, by two workers at once, late, in any order.
//!   Nothing is keyed by log ids alone.
//! * `bookings.outcome` moves only none → `sold` → `cancelled` or none → `refund`, each by
//!   compare-and-set; a sold booking owns a claim on each of its seats (`trial`, `trial_runner`).
//! * A booking's state moves only to a greater `(generation, version)`, and never against an
//!   outcome (`fold`, `store`).
//! * One unreadable or unstorable entry fails alone.
//! * A write succeeds only when a majority has journalled it; reads are majority reads from the
//!   primary. There are no transactions: a standalone server is enough.
//!
//! | collection | `_id` | holds |
//! |---|---|---|
//! | `meta` | `deployment` | number of partitions, format |
//! | `counters` | `event` | the last event id |
//! | `events` | event id | the catalogue with layouts |
//! | `bookings` | booking id | newest state, outcome |
//! | `claims` | `event:seat` | the booking that owns the seat |
//! | `intents` | booking id | the booking's payment intent and refund |
//! | `gate_policy` | `live` | operators' changes to limits, bot rules and access lists |
//! | `control` | `control` | what operators ask of all processes at run time |
//! | `processes` | process | the running processes, and what they answered |
//! | `waiting_rooms` | event id | settings of its waiting room; its draw |
//! | `waiting_room_floors` | event id | highest number given, highest place served |
//! | `log_marks` | partition | an archived entry of its booking log |
//! | `log_heads` | `partition:reader` | the newest entry that a reader of the log archived |
//! | `transitions` | `booking:version:log id` | the ledger: every log entry |
//! | `webhooks` | provider's event id | handled webhooks, for 30 days |
//! | `audit` | its own | admin actions and their results |
//! | `simulated_payments` | booking id | payments of the simulated provider |

mod address;
mod audit;
mod blocks;
mod bookings;
mod control;
mod deadline;
mod deployment;
mod documents;
mod error;
mod events;
mod fold;
mod gateway;
mod grouped;
mod heads;
mod history;
mod intents;
mod loading;
mod marks;
mod policy;
mod pool;
mod simulated;
mod states;
mod store;
mod traces;
mod trial;
mod trial_runner;
mod verify;
mod waiting_rooms;
mod webhooks;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::options::{
    Acknowledgment, ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};

pub use address::{MongodbFault, check as check_url, is_insecure, tls_files};
pub use audit::{AUDIT_ENTRIES_MAX, AuditEntry, AuditId, AuditPosition, NewAuditEntry};
pub use blocks::{ArchivedBlock, BlockPosition};
pub use bookings::BookingsFrom;
pub use control::{Control, LogOverride, ProcessRecord, ReloadAnswer, ReloadRequest};
pub use deployment::ServerInfo;
pub use documents::{ArchivedBooking, EventHead, StoredStamp, transition_id};
pub use error::{ArchiveError, Refusal};
pub use heads::LogHead;
pub use history::{BookingFilter, LedgerEntry};
pub use intents::IntentFilter;
pub use loading::{LoadFacts, UnloadAttempt, WatchedEvent};
pub use marks::LogMark;
pub use policy::StoredPolicy;
pub use pool::PoolState;
pub use simulated::{SimulatedObject, SimulatedPayment, SimulatedPayments, SimulatedState};
pub use store::{DecidedSale, NoObserver, StoreObserver, StoreStep, StoredBatch};
pub use traces::TraceQuery;
pub use verify::Claim;
pub use waiting_rooms::{FixedDraw, StoredDraw, StoredRoom};

use crate::circuit_breaker::BreakerReport;
use crate::secrets::{ServiceUrl, mask_url};
use gateway::{Gateway, Verb};
use grouped::GroupedWrites;
use pool::PoolCounts;

/// Bound of a connection attempt and of a heartbeat of the driver's monitor.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval of heartbeats. A frozen server is detected after this plus the time above.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Connections to one server; further operations wait for one within their own bound.
const CONNECTIONS_MAX: u32 = 32;

/// How to reach the archive.
#[derive(Clone)]
pub struct ArchiveConfig {
    /// `mongodb://…`
    pub url: String,
    /// Name of the database.
    pub database: String,
    /// How long one operation may take, ms.
    pub op_timeout_ms: u64,
}

impl fmt::Debug for ArchiveConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = mask_url(&self.url);
        write!(f, "ArchiveConfig({url:?}, {:?}, {} ms)", self.database, self.op_timeout_ms)
    }
}

/// The archive. Cheap to clone; all clones share one pool of connections.
#[derive(Clone, Debug)]
pub struct Archive {
    gateway: Gateway,
    /// First intents of bookings.
    intent_inserts: GroupedWrites,
    pool: Arc<PoolCounts>,
}

impl Archive {
    /// The same archive for callers that must not wait while MongoDB does not respond: their operations
    /// are refused at once, except for a few, until those succeed again.
    pub fn promptly(&self) -> Self {
        Archive { gateway: self.gateway.promptly(), ..self.clone() }
    }

    /// The same archive for what has to be tried whether or not MongoDB responds: what follows a decision.
    pub fn patiently(&self) -> Self {
        Archive { gateway: self.gateway.patiently(), ..self.clone() }
    }

    /// Whether an operation of [`Archive::promptly`] would be refused now.
    pub fn refuses(&self) -> bool {
        self.gateway.circuit_breaker().refuses(Instant::now())
    }

    /// The state and the counts of the circuit breaker that [`Archive::promptly`] obeys.
    pub fn breaker(&self) -> BreakerReport {
        self.gateway.breaker()
    }

    /// Parses the configuration. The driver connects in the background: MongoDB need not run yet.
    pub async fn connect(config: &ArchiveConfig) -> Result<Self, ArchiveError> {
        let shown = ServiceUrl::from(config.url.as_str());
        let url = |error: mongodb::error::Error| Refusal::Url(address::reason(&error, &shown));
        let op_timeout = Duration::from_millis(config.op_timeout_ms);
        let mut options = ClientOptions::parse(&config.url).await.map_err(url)?;
        options.app_name.get_or_insert_with(|| "holdfast".to_owned());
        options.connect_timeout = Some(CONNECT_TIMEOUT);
        options.heartbeat_freq = Some(HEARTBEAT);
        options.max_pool_size.get_or_insert(CONNECTIONS_MAX);
        // Below the operation's own bound, so that the error names the driver's reason.
        options.server_selection_timeout = Some(op_timeout / 2);
        let majority = WriteConcern::builder().w(Acknowledgment::Majority).journal(true);
        options.write_concern = Some(majority.w_timeout(op_timeout).build());
        options.read_concern = Some(ReadConcern::majority());
        options.selection_criteria =
            Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        let pool = Arc::new(PoolCounts::default());
        options.cmap_event_handler = Some(pool.handler());
        let client = Client::with_options(options).map_err(url)?;
        let gateway = Gateway::new(client.database(&config.database), op_timeout);
        let intent_inserts = GroupedWrites::new(Verb::Insert, documents::INTENTS);
        Ok(Archive { gateway, intent_inserts, pool })
    }

    /// The pool of connections.
    pub fn pool(&self) -> PoolState {
        self.pool.state()
    }
}
