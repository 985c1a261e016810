//! An event's seats at one version, with the bodies encoded from them: each representation once,
//! shared by all requests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::web::Bytes;
use futures_util::future::{BoxFuture, Shared};

use super::body::{Content, Representation};
use super::counted::CountedSeats;

/// Bodies kept of one version: parts of the map, and as many lists of changes.
const PARTS_MAX: usize = 64;
/// Requests for a representation in one version's time from which on the next version's is encoded
/// ahead.
const PREPARE_REQUESTS_MIN: u32 = 2;

/// A body that is encoded, or being encoded; `None` if that failed.
pub type PendingBody = Shared<BoxFuture<'static, Option<Bytes>>>;

/// An event's seats at one version.
pub struct SeatMapVersion {
    /// The seats.
    pub seats: Arc<CountedSeats>,
    bodies: Mutex<HashMap<Representation, CachedBody>>,
    /// Since when Redis has not said whether it is the newest, Unix ms; 0: it has, at the last look.
    stale_since_ms: AtomicI64,
}

struct CachedBody {
    body: PendingBody,
    /// Requests since the version was last looked up and found to be the newest.
    requests: u32,
}

impl SeatMapVersion {
    /// A version without bodies.
    pub fn new(seats: CountedSeats) -> Self {
        SeatMapVersion {
            seats: Arc::new(seats),
            bodies: Mutex::default(),
            stale_since_ms: AtomicI64::new(0),
        }
    }

    /// Records that Redis has not said for so long whether it is the newest.
    pub fn note_stale(&self, away_for: Duration) {
        let away_ms = i64::try_from(away_for.as_millis()).unwrap_or(i64::MAX);
        let since_ms = unix_now_ms().saturating_sub(away_ms);
        // The earlier moment stays: an outage may begin anew before anything was verified.
        let earlier = |known: i64| (known == 0 || since_ms < known).then_some(since_ms);
        let _ = self.stale_since_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earlier);
    }

    /// Records that it is the newest.
    pub fn note_newest(&self) {
        self.stale_since_ms.store(0, Ordering::Relaxed);
    }

    /// For how many seconds Redis has not said whether it is the newest, at least 1; `None` if it has.
    pub fn stale_seconds(&self) -> Option<i64> {
        let since_ms = self.stale_since_ms.load(Ordering::Relaxed);
        (since_ms != 0).then(|| ((unix_now_ms() - since_ms) / 1_000).max(1))
    }

    /// Its generation and version.
    pub fn number(&self) -> (u64, u64) {
        (self.seats.map.generation, self.seats.map.version)
    }

    /// A body that was requested before.
    pub fn body(&self, representation: &Representation) -> Option<PendingBody> {
        let mut bodies = self.lock();
        let cached = bodies.get_mut(representation)?;
        cached.requests = cached.requests.saturating_add(1);
        Some(cached.body.clone())
    }

    /// A body; `encode` starts its encoding unless it was requested before. `None` if the version keeps
    /// as many bodies of this kind as it may.
    pub fn body_or_encode(
        &self,
        representation: &Representation,
        encode: impl FnOnce() -> PendingBody,
    ) -> Option<PendingBody> {
        let mut bodies = self.lock();
        if let Some(cached) = bodies.get_mut(representation) {
            cached.requests = cached.requests.saturating_add(1);
            return Some(cached.body.clone());
        }
        let total = self.seats.map.inventory.seats();
        let is_part = |one: &Representation| match one.content {
            Content::Map(_, count, status) => count < total || status.is_some(),
            _ => false,
        };
        let is_change = |one: &Representation| matches!(one.content, Content::Changes(..));
        let is_alike = |other: &&Representation| {
            is_part(representation) && is_part(other)
                || is_change(representation) && is_change(other)
        };
        if bodies.keys().filter(is_alike).count() >= PARTS_MAX {
            return None;
        }
        let body = encode();
        bodies.insert(representation.clone(), CachedBody { body: body.clone(), requests: 1 });
        Some(body)
    }

    /// The representations to encode ahead for the next version. Lists of changes are not among them:
    /// later requests have another `since`.
    pub fn popular(&self) -> Vec<Representation> {
        let bodies = self.lock();
        let popular = bodies.iter().filter(|(representation, cached)| {
            cached.requests >= PREPARE_REQUESTS_MIN
                && !matches!(representation.content, Content::Changes(..))
        });
        popular.map(|(representation, _)| representation.clone()).collect()
    }

    /// Counts requests anew: the version was looked up and is still the newest.
    pub fn reset_requests(&self) {
        self.lock().values_mut().for_each(|cached| cached.requests = 0);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Representation, CachedBody>> {
        // Nothing under this lock panics half-way through a change.
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unix_now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::api::fixtures;
    use crate::config::values::Detail;
    use crate::domain::{SeatId, SeatState};

    fn version() -> SeatMapVersion {
        SeatMapVersion::new(CountedSeats::new(fixtures::seat_map()))
    }

    fn representation(content: Content, gzip: bool) -> Representation {
        Representation { content, gzip, detail: Detail::Exact }
    }

    fn nothing() -> PendingBody {
        futures_util::future::ready(None).boxed().shared()
    }

    #[test]
    fn parts_and_changes_have_separate_bounds_and_the_whole_map_has_none() {
        let version = version();
        let part = |n: u32| representation(Content::Map(SeatId(1), n % 6 + 1, None), n > 5);
        for n in 0..12 {
            assert!(version.body_or_encode(&part(n), nothing).is_some());
        }
        let changes = |since| representation(Content::Changes(since, SeatId(1), 7), false);
        for since in 0..PARTS_MAX as u64 {
            assert!(version.body_or_encode(&changes(since), nothing).is_some());
        }
        assert!(version.body_or_encode(&changes(1_000), nothing).is_none(), "too many");
        assert!(version.body_or_encode(&changes(3), nothing).is_some(), "an existing one");
        let state = Some(SeatState::Hold);
        let held = representation(Content::Map(SeatId(1), 7, state), false);
        assert!(version.body_or_encode(&held, nothing).is_some());
        for content in [Content::Map(SeatId(1), 7, None), Content::Bytes, Content::Availability] {
            assert!(version.body_or_encode(&representation(content, true), nothing).is_some());
        }
    }

    #[test]
    fn representation_is_popular_after_two_requests_since_the_last_reset() {
        let version = version();
        let map = representation(Content::Bytes, true);
        let counts = representation(Content::Availability, true);
        let changes = representation(Content::Changes(1, SeatId(1), 7), false);
        for one in [&map, &map, &counts, &changes, &changes] {
            version.body_or_encode(one, nothing);
        }
        assert_eq!(version.popular(), std::slice::from_ref(&map));
        version.reset_requests();
        assert!(version.popular().is_empty());
        assert!(version.body(&counts).is_some() && version.body(&counts).is_some());
        assert_eq!(version.popular(), [counts]);
        assert!(version.body(&representation(Content::Unchanged, false)).is_none());
    }
}
