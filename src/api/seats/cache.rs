//! The newest version of each event's seat map, and its bodies: encoded once, shared by all requests.
//!
//! An event's seats are looked up at most `seat_map_renders_per_second` times a second. The
//! representations that several requests wanted are encoded before a new version replaces the last,
//! so that no request waits for them; others are encoded on the first request. A version without
//! requests is evicted. Bodies that do not fit into memory are streamed, as are those of very large
//! events.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use futures_util::FutureExt;
use prometheus::IntCounter;
use prometheus::core::Atomic;
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::domain::{Event, EventId};
use crate::http::outgoing::{STREAM_BYTES, no_room};
use crate::http::problem::Problem;
use crate::http::response_memory::{Charge, ResponseMemory};
use crate::lifecycle::Shutdown;
use crate::sale::{CoalescingCache, LatestSeats, STALE_MAX, Sale, SaleError, SeatMap};
use crate::telemetry::Metrics;
use crate::telemetry::striped::{Striped, StripedCounter};

use super::body::{BodyTotals, Content, Representation, encode};
use super::counted::CountedSeats;
use super::json::{JsonChunks, SeatSelection};
use super::selection::{effective, fixed_selection, selection};
use super::version::{PendingBody, SeatMapVersion};

/// Seats from which on a map is streamed to each client instead of kept: some 28 MB of JSON.
const SHARED_SEATS_MAX: u32 = 200_000;
/// How long a version without requests is kept.
const IDLE: Duration = Duration::from_secs(30);
/// The same while memory is short.
const IDLE_WHEN_FULL: Duration = Duration::from_secs(1);
/// Interval of the eviction of idle versions.
const EVICTION_INTERVAL: Duration = Duration::from_secs(5);
/// Bodies encoded at the same time; each occupies a processor.
const CONCURRENT_ENCODES: usize = 2;
/// How long a request waits for a body.
const ENCODE_WAIT: Duration = Duration::from_secs(10);

/// The seat maps of one server.
pub struct SeatMapCache {
    versions: CoalescingCache<Arc<SeatMapVersion>>,
    totals: Arc<BodyTotals>,
    encode_permits: Arc<Semaphore>,
    metrics: CacheMetrics,
    /// Responses from an existing body, and those that had to wait for one.
    hits: Striped,
    misses: Striped,
}

/// The body of a response.
pub enum Body {
    /// Shared by all requests.
    Whole(Bytes),
    /// Encoded while it is sent, with its memory charge.
    Streamed(JsonChunks, Charge),
}

struct CacheMetrics {
    encodes: HashMap<&'static str, IntCounter>,
    shared: StripedCounter,
    rendered: StripedCounter,
    streamed: StripedCounter,
    not_modified: StripedCounter,
    from_view: IntCounter,
    from_redis: IntCounter,
    unchanged: IntCounter,
}

/// The contents and hit counts of the cache.
pub struct CacheStats {
    /// Bodies with seats.
    pub maps: usize,
    /// Bodies with counts.
    pub availability: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Responses from an existing body, or without one.
    pub hits: u64,
    /// Responses for which a body was encoded.
    pub misses: u64,
}

impl SeatMapCache {
    /// An empty cache.
    pub fn new(config: &Config, memory: Arc<ResponseMemory>, metrics: &Metrics) -> Self {
        SeatMapCache {
            versions: CoalescingCache::new(config.seat_map_renders_per_second),
            totals: Arc::new(BodyTotals::new(memory)),
            encode_permits: Arc::new(Semaphore::new(CONCURRENT_ENCODES)),
            metrics: CacheMetrics::new(metrics),
            hits: Striped::default(),
            misses: Striped::default(),
        }
    }

    /// The newest version of an event's seats, at most an interval old.
    ///
    /// # Errors
    /// If neither the live view nor Redis has the seats.
    pub async fn newest(
        self: &Arc<Self>,
        sale: &Sale,
        event: &Arc<Event>,
    ) -> Result<Arc<SeatMapVersion>, SaleError> {
        let look_up = {
            let (cache, sale, event) = (self.clone(), sale.clone(), event.clone());
            move |previous| async move { cache.look_up(&sale, event, previous).await }
        };
        self.versions.get(event.id, look_up).await
    }

    /// Calls `read` with the version that [`SeatMapCache::newest`] would return at once, without cloning
    /// its `Arc`; `None` if a lookup is due.
    pub fn get_if_fresh<R>(
        &self,
        event: EventId,
        read: impl FnOnce(&SeatMapVersion) -> R,
    ) -> Option<R> {
        self.versions.get_if_fresh(event, |version| read(version))
    }

    /// Invalidates an event's seats after this process changed them: later requests look them up
    /// again.
    pub fn invalidate(&self, event: EventId) {
        self.versions.invalidate(event);
    }

    /// A body that is complete.
    pub fn complete_body(
        &self,
        version: &SeatMapVersion,
        representation: &Representation,
    ) -> Option<Bytes> {
        let body = version.body(representation)?;
        let bytes = body.peek()?.clone()?;
        self.metrics.shared.inc();
        self.hits.inc_by(1);
        Some(bytes)
    }

    /// The newest version after the current one has expired: for clients that have seen a newer one.
    ///
    /// # Errors
    /// As [`SeatMapCache::newest`].
    pub async fn next(
        self: &Arc<Self>,
        sale: &Sale,
        event: &Arc<Event>,
    ) -> Result<Arc<SeatMapVersion>, SaleError> {
        tokio::time::sleep(self.versions.interval()).await;
        self.newest(sale, event).await
    }

    async fn look_up(
        self: Arc<Self>,
        sale: &Sale,
        event: Arc<Event>,
        previous: Option<Arc<SeatMapVersion>>,
    ) -> Result<Arc<SeatMapVersion>, SaleError> {
        let known = previous.as_ref().map(|version| version.number());
        let (map, is_from_view) = match (sale.latest_seats(event, known).await?, &previous) {
            (LatestSeats::Seats(map, is_from_view), _) => (map, is_from_view),
            (LatestSeats::Unchanged, Some(version)) => {
                self.metrics.unchanged.inc();
                version.note_newest();
                version.reset_requests();
                return Ok(version.clone());
            }
            (LatestSeats::Stale(None, away_for), Some(version)) => {
                version.note_stale(away_for);
                return still_known(version);
            }
            (LatestSeats::Stale(Some(map), away_for), _) => {
                let version = self.version_of(map).await?;
                version.note_stale(away_for);
                return Ok(version);
            }
            (LatestSeats::Unchanged | LatestSeats::Stale(None, _), None) => {
                let reason = "seats are unchanged since no version".to_owned();
                return Err(SaleError::Internal(reason));
            }
        };
        if is_from_view { &self.metrics.from_view } else { &self.metrics.from_redis }.inc();
        let version = self.version_of(map).await?;
        for representation in previous.iter().flat_map(|previous| previous.popular()) {
            // While memory is short, the next request waits for some.
            let Some(charge) = self.try_charge(&version, &representation) else { continue };
            let selection = fixed_selection(&representation);
            let body = self.start_encode(&version, &representation, selection, charge);
            if let Some(body) = body {
                body.await;
            }
        }
        Ok(version)
    }

    async fn version_of(&self, map: SeatMap) -> Result<Arc<SeatMapVersion>, SaleError> {
        // Counting a million seats takes a millisecond or two.
        let counted = tokio::task::spawn_blocking(move || CountedSeats::new(map)).await;
        let seats = counted.map_err(|error| SaleError::Internal(format!("counting: {error}")))?;
        Ok(Arc::new(SeatMapVersion::new(seats.charged(self.totals.memory()))))
    }

    /// A body of a version. A list of changes is the whole map if the changes are unknown.
    ///
    /// # Errors
    /// If encoding failed, or took too long.
    pub async fn body(
        &self,
        sale: &Sale,
        version: &SeatMapVersion,
        representation: &Representation,
    ) -> Result<Body, Problem> {
        if let Some(body) = version.body(representation) {
            return self.wait_for_body(body, true).await;
        }
        let selection = selection(sale, version, representation);
        let representation = &effective(representation, &selection);
        if let Some(body) = version.body(representation) {
            return self.wait_for_body(body, true).await;
        }
        let body = match self.charge(version, representation).await {
            Some(charge) => self.start_encode(version, representation, selection.clone(), charge),
            None => None,
        };
        if let Some(body) = body {
            return self.wait_for_body(body, false).await;
        }
        let memory = self.totals.memory();
        let charge = memory.charge_or_make_room(STREAM_BYTES).ok_or_else(|| no_room(memory))?;
        self.metrics.streamed.inc();
        self.misses.inc_by(1);
        let seats = &version.seats;
        Ok(match selection {
            Some(selection) => {
                let chunks = JsonChunks::new(seats.clone(), selection, representation.detail);
                Body::Streamed(chunks, charge)
            }
            None => Body::Whole(encode(seats, representation, None, &self.totals, charge)),
        })
    }

    async fn wait_for_body(&self, body: PendingBody, existed: bool) -> Result<Body, Problem> {
        let (responses, count) = match existed {
            true => (&self.metrics.shared, &self.hits),
            false => (&self.metrics.rendered, &self.misses),
        };
        responses.inc();
        count.inc_by(1);
        if let Some(Some(bytes)) = body.peek() {
            return Ok(Body::Whole(bytes.clone()));
        }
        match tokio::time::timeout(ENCODE_WAIT, body).await {
            Ok(Some(bytes)) => Ok(Body::Whole(bytes)),
            Ok(None) => Err(Problem::internal("a body was not encoded")),
            Err(_) => Err(Problem::from(SaleError::Unavailable {
                dependency: "processor",
                reason: format!("a body was not encoded within {ENCODE_WAIT:?}"),
                unknown: false,
            })),
        }
    }

    /// Counts a response without a body.
    pub fn count_not_modified(&self) {
        self.metrics.not_modified.inc();
        self.hits.inc_by(1);
    }

    /// The contents and hit counts.
    pub fn stats(&self) -> CacheStats {
        let (maps, availability) = self.totals.bodies();
        CacheStats {
            maps,
            availability,
            bytes: self.totals.bytes(),
            hits: self.hits.get(),
            misses: self.misses.get(),
        }
    }

    /// Evicts versions without requests, until shutdown is requested.
    pub async fn evict_idle(self: Arc<Self>, metrics: Metrics, shutdown: Shutdown) {
        while shutdown.sleep_or_shutdown(EVICTION_INTERVAL).await {
            self.versions.evict_idle(IDLE);
            metrics.seat_map_bytes.set(i64::try_from(self.totals.bytes()).unwrap_or(i64::MAX));
            self.totals.memory().show();
        }
    }

    /// Memory for a body that is to be kept, if available now; idle versions are evicted and slow
    /// readers disconnected for it.
    fn try_charge(
        &self,
        version: &SeatMapVersion,
        representation: &Representation,
    ) -> Option<Charge> {
        if is_too_large(representation) {
            return None;
        }
        let bytes = representation.estimated_bytes(version.seats.map.inventory.seats());
        let memory = self.totals.memory();
        memory.try_charge(bytes).or_else(|| {
            self.versions.evict_idle(IDLE_WHEN_FULL);
            memory.charge_or_make_room(bytes)
        })
    }

    /// The same; waits a moment for disconnected readers to release theirs.
    async fn charge(
        &self,
        version: &SeatMapVersion,
        representation: &Representation,
    ) -> Option<Charge> {
        if let Some(charge) = self.try_charge(version, representation) {
            return Some(charge);
        }
        if is_too_large(representation) {
            return None;
        }
        let bytes = representation.estimated_bytes(version.seats.map.inventory.seats());
        self.totals.memory().charge_when_free(bytes).await
    }

    fn start_encode(
        &self,
        version: &SeatMapVersion,
        representation: &Representation,
        selection: Option<SeatSelection>,
        charge: Charge,
    ) -> Option<PendingBody> {
        let (seats, totals) = (version.seats.clone(), self.totals.clone());
        let (permits, owned) = (self.encode_permits.clone(), representation.clone());
        version.body_or_encode(representation, || {
            self.metrics.count_encode(representation);
            // A task of its own: a client that disconnects does not cancel it for the others.
            let work = tokio::spawn(async move {
                // The semaphore is never closed; its permits are the bound.
                let _permit = permits.acquire_owned().await.ok()?;
                let work = move || encode(&seats, &owned, selection, &totals, charge);
                tokio::task::spawn_blocking(work).await.ok()
            });
            work.map(|done| done.ok().flatten()).boxed().shared()
        })
    }
}

/// The last known version, while it is young enough to be of use.
fn still_known(version: &Arc<SeatMapVersion>) -> Result<Arc<SeatMapVersion>, SaleError> {
    let is_young = |seconds: i64| u64::try_from(seconds).is_ok_and(|s| s <= STALE_MAX.as_secs());
    if version.stale_seconds().is_none_or(is_young) {
        return Ok(version.clone());
    }
    Err(SaleError::Unavailable {
        dependency: "redis",
        reason: format!("the seats have not been known for {} s", STALE_MAX.as_secs()),
        unknown: false,
    })
}

fn is_too_large(representation: &Representation) -> bool {
    matches!(representation.content, Content::Map(_, count, _) if count > SHARED_SEATS_MAX)
}

impl CacheMetrics {
    fn new(metrics: &Metrics) -> Self {
        let encodes = &metrics.seat_map_renders;
        let responses = |how| metrics.seat_map_answers.with_label_values(&[how]);
        let lookups = |from| metrics.seat_map_looks.with_label_values(&[from]);
        let encodes =
            Representation::LABELS.map(|label| (label, encodes.with_label_values(&[label])));
        CacheMetrics {
            encodes: encodes.into(),
            shared: responses("shared"),
            rendered: responses("rendered"),
            streamed: responses("streamed"),
            not_modified: responses("not_modified"),
            from_view: lookups("view"),
            from_redis: lookups("redis"),
            unchanged: lookups("unchanged"),
        }
    }

    fn count_encode(&self, representation: &Representation) {
        if let Some(counter) = self.encodes.get(representation.as_str()) {
            counter.inc();
        }
    }
}
