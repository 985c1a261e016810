//! Coalesces concurrent lookups: at most N per second per event, shared by all requests.
//!
//! One request looks up; the others get the last result, or wait for the new one. Failures are shared
//! as well, so that an unavailable dependency gets no more calls than usual. A lookup runs in a task of
//! its own and goes on when its caller disconnects: a client cannot start more lookups by sending and
//! aborting requests.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::SaleError;
use crate::copy_on_write::CopyOnWriteMap;
use crate::domain::EventId;

/// Events with a cached result.
const EVENTS_MAX: usize = 10_000;
/// How old a result may be that is returned while another request looks up.
const STALE_WHILE_LOOKING_UP: Duration = Duration::from_secs(1);
/// How long a request waits for a lookup.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Resolution of the time of last use: writing it for each request would contend between threads.
const USED_STEP_MS: u64 = 50;

/// The last result of each event.
pub struct CoalescingCache<T> {
    interval: Duration,
    origin: Instant,
    entries: CopyOnWriteMap<EventId, Arc<Entry<T>>>,
}

/// One event.
struct Entry<T> {
    last: ArcSwapOption<Lookup<T>>,
    /// Results of lookups that began before this are invalid; µs after [`CoalescingCache::origin`].
    invalid_before_us: AtomicU64,
    /// Held by the lookup under way.
    lookup: Arc<Mutex<()>>,
    /// ms after [`CoalescingCache::origin`], in steps of [`USED_STEP_MS`].
    used_at_ms: AtomicU64,
}

/// A completed lookup.
struct Lookup<T> {
    began: Instant,
    ended: Instant,
    result: Result<T, SaleError>,
}

impl<T: Clone + Send + Sync + 'static> CoalescingCache<T> {
    /// A cache with at most so many lookups per second and event.
    pub fn new(per_second: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        CoalescingCache { interval, origin: Instant::now(), entries: CopyOnWriteMap::default() }
    }

    /// How long a result is fresh.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// The last result, or what `look_up` returns now; it gets the previous value. The caller makes sure
    /// that the event exists.
    ///
    /// # Errors
    /// The error of the lookup, whichever request began it; or that it took too long.
    pub async fn get<F>(
        &self,
        event: EventId,
        look_up: impl FnOnce(Option<T>) -> F + Send + 'static,
    ) -> Result<T, SaleError>
    where
        F: Future<Output = Result<T, SaleError>> + Send + 'static,
    {
        let entry = self.entry(event);
        entry.note_used(self.at_ms(Instant::now()));
        let is_fresh = |last: &Lookup<T>| last.began.elapsed() < self.interval;
        if let Some(result) = self.last_if(&entry, is_fresh) {
            return result;
        }
        let requested = Instant::now();
        let guard = match entry.lookup.clone().try_lock_owned() {
            Ok(guard) => guard,
            Err(_) => {
                let is_usable = |last: &Lookup<T>| {
                    last.began.elapsed() < STALE_WHILE_LOOKING_UP && last.result.is_ok()
                };
                if let Some(result) = self.last_if(&entry, is_usable) {
                    return result;
                }
                let lock = tokio::time::timeout(WAIT_MAX, entry.lookup.clone().lock_owned());
                lock.await.map_err(|_| timed_out())?
            }
        };
        // A lookup that ended while this request waited serves it, however slow it was.
        let is_new = |last: &Lookup<T>| last.ended >= requested || is_fresh(last);
        if let Some(result) = self.last_if(&entry, is_new) {
            return result;
        }
        let task = tokio::spawn(Box::pin(entry.run(guard, look_up)));
        match tokio::time::timeout(WAIT_MAX, task).await {
            Ok(Ok(result)) => result,
            // The panic hook has logged it.
            Ok(Err(error)) => Err(SaleError::Internal(format!("a lookup ended: {error}"))),
            Err(_) => Err(timed_out()),
        }
    }

    /// Calls `read` with the value that [`CoalescingCache::get`] would return at once; `None` if there is
    /// none, or the last lookup failed.
    pub fn get_if_fresh<R>(&self, event: EventId, read: impl FnOnce(&T) -> R) -> Option<R> {
        let now = Instant::now();
        let read = self.entries.with(event, |entry| {
            let last = entry.last.load();
            let last = last.as_ref()?;
            let is_fresh = now.saturating_duration_since(last.began) < self.interval;
            let is_usable = is_fresh && self.is_valid(entry, last);
            let value = last.result.as_ref().ok().filter(|_| is_usable)?;
            entry.note_used(self.at_ms(now));
            Some(read(value))
        });
        read.flatten()
    }

    /// Invalidates an event's result, also that of a lookup under way: later calls return only what was
    /// looked up after this. For callers that changed the event.
    pub fn invalidate(&self, event: EventId) {
        self.entries.with(event, |entry| {
            // The current microsecond belongs to the time before the change.
            let now_us = self.at_us(Instant::now()) + 1;
            entry.invalid_before_us.fetch_max(now_us, Ordering::Release);
        });
    }

    /// The last result if it is valid and fulfils a condition.
    fn last_if(
        &self,
        entry: &Entry<T>,
        is_usable: impl FnOnce(&Lookup<T>) -> bool,
    ) -> Option<Result<T, SaleError>> {
        let last = entry.last.load();
        let last = last.as_ref().filter(|last| is_usable(last) && self.is_valid(entry, last))?;
        Some(last.result.clone())
    }

    fn is_valid(&self, entry: &Entry<T>, last: &Lookup<T>) -> bool {
        let invalid_before_us = entry.invalid_before_us.load(Ordering::Acquire);
        invalid_before_us == 0 || self.at_us(last.began) >= invalid_before_us
    }

    /// The last value, however old.
    pub fn peek(&self, event: EventId) -> Option<T> {
        let value = self.entries.with(event, |entry| entry.value());
        value.flatten()
    }

    /// Removes events that were not used for so long.
    pub fn evict_idle(&self, idle: Duration) {
        let now_ms = self.at_ms(Instant::now());
        self.entries.change(|entries| {
            entries.retain(|_, entry| {
                let used_at_ms = entry.used_at_ms.load(Ordering::Relaxed);
                Duration::from_millis(now_ms.saturating_sub(used_at_ms)) < idle
            });
            entries.shrink_to_fit();
        });
    }

    fn entry(&self, event: EventId) -> Arc<Entry<T>> {
        if let Some(entry) = self.entries.get(event) {
            return entry;
        }
        self.entries.change(|entries| {
            if entries.len() >= EVENTS_MAX {
                entries.clear();
            }
            entries.entry(event).or_insert_with(|| Arc::new(Entry::new())).clone()
        })
    }

    fn at_us(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.origin).as_micros() as u64
    }

    fn at_ms(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.origin).as_millis() as u64
    }
}

impl<T: Clone + Send + Sync + 'static> Entry<T> {
    fn new() -> Self {
        Entry {
            last: ArcSwapOption::empty(),
            invalid_before_us: AtomicU64::new(0),
            lookup: Arc::default(),
            used_at_ms: AtomicU64::new(0),
        }
    }

    fn value(&self) -> Option<T> {
        self.last.load().as_ref().and_then(|last| last.result.clone().ok())
    }

    fn note_used(&self, now_ms: u64) {
        if self.used_at_ms.load(Ordering::Relaxed) + USED_STEP_MS < now_ms {
            self.used_at_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// Looks up and stores the result; the guard keeps other lookups of the event waiting.
    async fn run<F>(
        self: Arc<Self>,
        guard: OwnedMutexGuard<()>,
        look_up: impl FnOnce(Option<T>) -> F + Send + 'static,
    ) -> Result<T, SaleError>
    where
        F: Future<Output = Result<T, SaleError>> + Send + 'static,
    {
        let previous = self.value();
        let began = Instant::now();
        let result = look_up(previous).await;
        let lookup = Lookup { began, ended: Instant::now(), result: result.clone() };
        self.last.store(Some(Arc::new(lookup)));
        drop(guard);
        result
    }
}

fn timed_out() -> SaleError {
    SaleError::Unavailable {
        dependency: "redis",
        reason: format!("a lookup took longer than {WAIT_MAX:?}"),
        unknown: false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::sync::mpsc;

    use futures_util::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    const EVENT: EventId = EventId(1);
    const PER_SECOND: u32 = 1;

    fn counting(count: &Arc<AtomicU32>) -> impl FnOnce(Option<u32>) -> CountFuture + Send + use<> {
        let count = count.clone();
        move |_| Box::pin(async move { Ok(count.fetch_add(1, Ordering::Relaxed) + 1) })
    }
    type CountFuture = futures_util::future::BoxFuture<'static, Result<u32, SaleError>>;

    #[tokio::test]
    async fn concurrent_requests_share_one_lookup() {
        let (cache, count) = (CoalescingCache::new(PER_SECOND), Arc::default());
        let all = join_all((0..100).map(|_| cache.get(EVENT, counting(&count)))).await;
        assert!(all.iter().all(|found| *found == Ok(1)), "{all:?}");
        assert_eq!(cache.get(EventId(2), counting(&count)).await, Ok(2), "another event");
        assert_eq!(cache.peek(EVENT), Some(1));
    }

    #[tokio::test]
    async fn value_is_looked_up_again_after_the_interval() {
        let (cache, count) = (CoalescingCache::new(100), Arc::default());
        assert_eq!(cache.get(EVENT, counting(&count)).await, Ok(1));
        tokio::time::sleep(cache.interval()).await;
        let look_up = |previous: Option<u32>| async move { Ok(10 * previous.unwrap_or_default()) };
        assert_eq!(cache.get(EVENT, look_up).await, Ok(10), "gets the previous value");
    }

    #[tokio::test]
    async fn failure_is_shared_and_replaces_the_last_value() {
        let (cache, count) = (CoalescingCache::new(100), Arc::default());
        let fail = |_| async { Err(SaleError::LogFull) };
        assert_eq!(cache.get(EVENT, fail).await, Err(SaleError::LogFull));
        assert_eq!(cache.get(EVENT, counting(&count)).await, Err(SaleError::LogFull));
        assert_eq!(cache.peek(EVENT), None);
        tokio::time::sleep(cache.interval()).await;
        assert_eq!(cache.get(EVENT, counting(&count)).await, Ok(1));
    }

    #[tokio::test]
    async fn requests_get_the_last_value_during_a_lookup_that_outlives_its_caller() {
        let (cache, count) = (CoalescingCache::new(100), Arc::default());
        assert_eq!(cache.get(EVENT, counting(&count)).await, Ok(1));
        tokio::time::sleep(cache.interval()).await;
        let gate = Arc::new(Semaphore::new(0));
        let waits = gate.clone();
        let slow = move |_| async move {
            let _open = waits.acquire().await;
            Ok(50)
        };
        let aborted = tokio::time::timeout(Duration::from_millis(10), cache.get(EVENT, slow));
        assert!(aborted.await.is_err());
        assert_eq!(cache.get(EVENT, counting(&count)).await, Ok(1), "the last value, at once");
        gate.add_permits(1);
        let bound = Duration::from_secs(30);
        let comes = async {
            while cache.peek(EVENT) != Some(50) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(bound, comes).await.unwrap();
    }

    #[tokio::test]
    async fn slow_lookup_serves_all_requests_that_waited() {
        let (cache, count) = (CoalescingCache::new(100), Arc::new(AtomicU32::new(0)));
        let slow = || {
            let count = count.clone();
            move |_| async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(count.fetch_add(1, Ordering::Relaxed) + 1)
            }
        };
        let all = join_all((0..20).map(|_| cache.get(EVENT, slow()))).await;
        assert!(all.iter().all(|found| *found == Ok(1)), "{all:?}");
    }

    #[tokio::test]
    async fn idle_events_are_evicted() {
        let (cache, count) = (CoalescingCache::new(100), Arc::default());
        assert_eq!(cache.get(EVENT, counting(&count)).await, Ok(1));
        cache.evict_idle(Duration::from_secs(3_600));
        assert_eq!(cache.peek(EVENT), Some(1));
        cache.evict_idle(Duration::ZERO);
        assert_eq!(cache.peek(EVENT), None);
    }

    #[tokio::test]
    async fn evicted_value_is_dropped_although_another_thread_read_it() {
        let (cache, kept) = (CoalescingCache::new(PER_SECOND), Arc::new(()));
        let found = kept.clone();
        cache.get(EVENT, move |_| async move { Ok(found) }).await.unwrap();
        let (read, has_read) = mpsc::channel();
        let (ends, end) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let cache = &cache;
            scope.spawn(move || {
                read.send(cache.get_if_fresh(EVENT, |_| ())).unwrap();
                // Stays alive until the checks are done.
                let _ = end.recv();
            });
            assert_eq!(has_read.recv(), Ok(Some(())));
            cache.evict_idle(Duration::ZERO);
            assert_eq!((cache.get_if_fresh(EVENT, |_| ()), Arc::strong_count(&kept)), (None, 1));
            drop(ends);
        });
    }
}
