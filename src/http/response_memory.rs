//! The memory that unfinished responses keep, of one process: one bound for all of it
//! (`http_response_bytes_max`), and the clients that are ended to stay below it.
//!
//! Counted are bodies (one that many clients share, once), the seats that streamed bodies are made
//! of, and what connections have buffered. Nothing that is new is admitted beyond the bound; before
//! it is refused, the slowest readers are ended. What must be counted without being asked for (a
//! connection's buffer) may exceed the bound by what it is.
//!
//! | may happen between | then |
//! |---|---|
//! | a reader is ended, and its connection is not dropped yet | its bytes still count; a request for room waits a moment |
//! | a reader is ended that shares its body with others | nothing is freed by it; the next slowest is ended, until there is room or no slow reader |
//! | two want the same room | one reserves it, the other looks again |

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use prometheus::{IntCounter, IntGauge};

use crate::config::Config;
use crate::telemetry::Metrics;

/// How long a response has to have waited for its client before it is ended for others' sake.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// How long a body waits for room.
const ROOM_WAIT: Duration = Duration::from_secs(2);
/// How often it looks.
const ROOM_STEP: Duration = Duration::from_millis(20);
/// How often readers are ended for the sake of what is counted without being asked for.
const FORCED_INTERVAL_MS: u64 = 100;

/// The memory of one server's responses.
pub struct ResponseMemory {
    bytes: AtomicUsize,
    bytes_max: usize,
    readers: Mutex<HashMap<u64, Arc<SlowReader>>>,
    next_reader: AtomicU64,
    created: Instant,
    /// When readers were last ended for what was not asked for, ms since `created`.
    forced_at_ms: AtomicU64,
    gauge: IntGauge,
    ended: IntCounter,
    refused: IntCounter,
}

/// Bytes that count until this is dropped.
pub struct Charge {
    memory: Arc<ResponseMemory>,
    bytes: usize,
}

/// A client that a response waits for.
#[derive(Default)]
pub struct SlowReader {
    /// Since when, and how fast it was since: written by its connection.
    state: Mutex<Option<Slowness>>,
    is_ended: AtomicBool,
    waker: AtomicWaker,
}

#[derive(Clone, Copy)]
struct Slowness {
    waits_since: Instant,
    waited_before: Duration,
    bytes_per_second: u64,
    pinned_bytes: usize,
}

/// A client in the list of those who may be ended; leaves it when dropped.
pub struct Listed {
    memory: Arc<ResponseMemory>,
    id: u64,
    reader: Arc<SlowReader>,
}

impl ResponseMemory {
    /// Nothing is kept yet.
    pub fn new(config: &Config, metrics: &Metrics) -> Self {
        ResponseMemory {
            bytes: AtomicUsize::new(0),
            bytes_max: config.http_response_bytes_max,
            readers: Mutex::default(),
            next_reader: AtomicU64::new(0),
            created: Instant::now(),
            forced_at_ms: AtomicU64::new(0),
            gauge: metrics.response_bytes.clone(),
            ended: metrics.responses_cut_off.with_label_values(&["memory"]),
            refused: metrics.responses_refused.clone(),
        }
    }

    /// Bytes that are kept now.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Shows how much is kept.
    pub fn show(&self) {
        self.gauge.set(i64::try_from(self.bytes()).unwrap_or(i64::MAX));
    }

    /// Counts these bytes if there is room for them.
    pub fn try_charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let fits = |kept: usize| kept.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        let order = Ordering::Relaxed;
        self.bytes.fetch_update(order, order, fits).ok()?;
        Some(Charge { memory: self.clone(), bytes })
    }

    /// The same; if there is none, the slowest readers are ended.
    pub fn charge_or_make_room(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let charge = self.try_charge(bytes);
        if charge.is_none() {
            self.end_slowest(bytes);
        }
        charge
    }

    /// The same, which waits a moment for what they keep.
    pub async fn charge_when_free(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let until = Instant::now() + ROOM_WAIT;
        loop {
            if let Some(charge) = self.charge_or_make_room(bytes) {
                return Some(charge);
            }
            if bytes > self.bytes_max || Instant::now() >= until || !self.has_slow_readers() {
                return None;
            }
            tokio::time::sleep(ROOM_STEP).await;
        }
    }

    /// Counts these bytes, which are there already.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        let mut charge = Charge { memory: self.clone(), bytes: 0 };
        charge.resize(bytes);
        charge
    }

    /// Counts a response that is refused for want of room.
    pub fn note_refused(&self) {
        self.refused.inc();
    }

    /// Ends the slowest readers, until what they keep would make room for so many bytes.
    fn end_slowest(&self, bytes: usize) {
        let now = Instant::now();
        let excess = self.bytes().saturating_add(bytes).saturating_sub(self.bytes_max);
        let readers = self.lock();
        let slow = readers.values().filter_map(|reader| Some((reader.slowness(now)?, reader)));
        let mut slow: Vec<_> = slow.collect();
        slow.sort_by_key(|((per_second, waited, _), _)| (*per_second, std::cmp::Reverse(*waited)));
        let mut freed = 0_usize;
        for ((_, _, pinned), reader) in slow {
            if freed >= excess {
                break;
            }
            freed = freed.saturating_add(pinned);
            reader.end();
            self.ended.inc();
        }
    }

    fn has_slow_readers(&self) -> bool {
        let now = Instant::now();
        // Those that are ended and not gone yet are worth waiting for.
        let is_slow = |one: &Arc<SlowReader>| one.is_ended() || one.slowness(now).is_some();
        self.lock().values().any(is_slow)
    }

    /// What was not asked for exceeds the bound: seldom looked at, as many may say so at once.
    fn note_excess(&self) {
        let now_ms = u64::try_from(self.created.elapsed().as_millis()).unwrap_or(u64::MAX);
        let before = self.forced_at_ms.load(Ordering::Relaxed);
        let order = Ordering::Relaxed;
        if now_ms >= before.saturating_add(FORCED_INTERVAL_MS)
            && self.forced_at_ms.compare_exchange(before, now_ms, order, order).is_ok()
        {
            self.end_slowest(0);
        }
    }

    /// Puts a client on the list of those who may be ended.
    pub fn list(self: &Arc<Self>) -> Listed {
        let id = self.next_reader.fetch_add(1, Ordering::Relaxed);
        let reader = Arc::<SlowReader>::default();
        self.lock().insert(id, reader.clone());
        Listed { memory: self.clone(), id, reader }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<SlowReader>>> {
        // Nothing panics while it is held.
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for ResponseMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("ResponseMemory");
        shown.field("bytes", &self.bytes()).field("bytes_max", &self.bytes_max);
        shown.finish_non_exhaustive()
    }
}

impl Charge {
    /// It is so many bytes from now on.
    pub fn resize(&mut self, bytes: usize) {
        let counted = &self.memory.bytes;
        if bytes >= self.bytes {
            let kept = counted.fetch_add(bytes - self.bytes, Ordering::Relaxed);
            if kept + (bytes - self.bytes) > self.memory.bytes_max && bytes > self.bytes {
                self.memory.note_excess();
            }
        } else {
            counted.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.memory.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl SlowReader {
    /// How fast it is and how long it has been waited for, and what that keeps in memory; `None` if
    /// it is not slow, or ended already.
    fn slowness(&self, now: Instant) -> Option<(u64, Duration, usize)> {
        if self.is_ended() {
            return None;
        }
        let state = (*self.lock())?;
        let waited = state.waited_before + now.saturating_duration_since(state.waits_since);
        (waited >= SLOW_AFTER).then_some((state.bytes_per_second, waited, state.pinned_bytes))
    }

    fn end(&self) {
        self.is_ended.store(true, Ordering::Release);
        self.waker.wake();
    }

    fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Slowness>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listed {
    /// It waits for its client: for so long before now, at that throughput.
    pub fn waits(&self, waited: Duration, bytes_per_second: u64, pinned_bytes: usize) {
        let waits_since = Instant::now();
        let state = Slowness { waits_since, waited_before: waited, bytes_per_second, pinned_bytes };
        *self.reader.lock() = Some(state);
    }

    /// It does not wait any more.
    pub fn goes_on(&self) {
        *self.reader.lock() = None;
    }

    /// Whether it is to end, for others' sake; else its task is woken when it is.
    pub fn is_ended(&self, context: &std::task::Context<'_>) -> bool {
        self.reader.waker.register(context.waker());
        self.reader.is_ended()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.memory.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(bytes_max: usize) -> Arc<ResponseMemory> {
        let config = Config { http_response_bytes_max: bytes_max, ..Config::default() };
        Arc::new(ResponseMemory::new(&config, &Metrics::new("test")))
    }

    #[test]
    fn bytes_count_until_they_are_dropped() {
        let memory = memory(100);
        let mut charge = memory.try_charge(60).unwrap();
        assert!(memory.try_charge(41).is_none());
        charge.resize(50);
        let rest = memory.try_charge(50).unwrap();
        assert_eq!(memory.bytes(), 100);
        // What is there already is counted whatever the bound.
        let buffer = memory.charge(7);
        assert_eq!(memory.bytes(), 107);
        drop((charge, rest, buffer));
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn slowest_readers_end_first_and_no_more_than_needed() {
        let memory = memory(100);
        let _full = memory.try_charge(100).unwrap();
        let [slow, slower, brisk] = [(); 3].map(|()| memory.list());
        slow.waits(SLOW_AFTER, 500, 30);
        slower.waits(SLOW_AFTER, 20, 30);
        brisk.waits(Duration::ZERO, 1, 30);
        let waker = futures_util::task::noop_waker();
        let context = std::task::Context::from_waker(&waker);
        let ended = || [&slow, &slower, &brisk].map(|one| one.is_ended(&context));
        assert!(memory.charge_or_make_room(30).is_none());
        assert_eq!(ended(), [false, true, false]);
        assert!(memory.charge_or_make_room(60).is_none());
        assert_eq!(ended(), [true, true, false], "who is not slow stays");
    }

    #[tokio::test]
    async fn room_that_a_slow_reader_leaves_is_waited_for() {
        let memory = memory(100);
        let full = memory.try_charge(100).unwrap();
        let slow = memory.list();
        slow.waits(SLOW_AFTER, 0, 100);
        let leaves = async {
            std::future::poll_fn(|context| match slow.is_ended(context) {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            })
            .await;
            drop(full);
        };
        let (charge, ()) = tokio::join!(memory.charge_when_free(80), leaves);
        assert!(charge.is_some());
        drop(slow);
        assert!(memory.charge_when_free(30).await.is_none(), "nobody is slow");
    }
}
