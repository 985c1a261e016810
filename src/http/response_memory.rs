//! Bounds the memory of one process's unfinished responses (`http_response_bytes_max`) and, to stay
//! below the bound, disconnects the slowest readers.
//!
//! The bound counts bodies (a body shared by many clients counts once), the seats that streamed bodies
//! are made from, and the write buffers of connections. A new response beyond the bound is refused;
//! before that, the slowest readers are disconnected. Write buffers exist before they are counted, so
//! they may exceed the bound.
//!
//! | may happen between the steps | then |
//! |---|---|
//! | a reader is marked as ended, and its connection is not dropped yet | its bytes still count; a request for room waits a moment |
//! | an ended reader shares its body with others | this frees nothing; the next slowest is ended, until there is room or no slow reader is left |
//! | two responses need the same room | one reserves it, the other tries again |

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use prometheus::{IntCounter, IntGauge};

use crate::config::Config;
use crate::telemetry::Metrics;

/// How long a response must have waited for its client before the client may be disconnected.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// How long a body waits for room, at most.
const ROOM_WAIT: Duration = Duration::from_secs(2);
/// Interval between two attempts to reserve room.
const ROOM_STEP: Duration = Duration::from_millis(20);
/// Least interval between two disconnections caused by write buffers, ms.
const FORCED_INTERVAL_MS: u64 = 100;

/// The memory of one server's unfinished responses.
pub struct ResponseMemory {
    bytes: AtomicUsize,
    bytes_max: usize,
    readers: Mutex<HashMap<u64, Arc<SlowReader>>>,
    next_reader: AtomicU64,
    created: Instant,
    /// When write buffers last caused a disconnection, ms since `created`.
    forced_at_ms: AtomicU64,
    gauge: IntGauge,
    ended: IntCounter,
    refused: IntCounter,
}

/// Bytes that count towards the bound until this is dropped.
pub struct Charge {
    memory: Arc<ResponseMemory>,
    bytes: usize,
}

/// A client that has not yet read its response.
#[derive(Default)]
pub struct SlowReader {
    /// Written by its connection; `None` while no response waits for it.
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

/// A registered [`SlowReader`], removed when dropped.
pub struct Listed {
    memory: Arc<ResponseMemory>,
    id: u64,
    reader: Arc<SlowReader>,
}

impl ResponseMemory {
    /// No responses, with the bound of the settings.
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

    /// Bytes that count now.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Updates the gauge.
    pub fn show(&self) {
        self.gauge.set(i64::try_from(self.bytes()).unwrap_or(i64::MAX));
    }

    /// Reserves these bytes if they fit.
    pub fn try_charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let fits = |kept: usize| kept.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        let order = Ordering::Relaxed;
        self.bytes.fetch_update(order, order, fits).ok()?;
        Some(Charge { memory: self.clone(), bytes })
    }

    /// Reserves these bytes if they fit; otherwise ends the slowest readers, for a later attempt.
    pub fn charge_or_make_room(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let charge = self.try_charge(bytes);
        if charge.is_none() {
            self.end_slowest(bytes);
        }
        charge
    }

    /// Reserves these bytes, waiting for at most [`ROOM_WAIT`] while slow readers are disconnected.
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

    /// Counts bytes that are allocated already, whether or not they fit.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        let mut charge = Charge { memory: self.clone(), bytes: 0 };
        charge.resize(bytes);
        charge
    }

    /// Counts a response that is refused because it does not fit.
    pub fn note_refused(&self) {
        self.refused.inc();
    }

    /// Ends the slowest readers, until the bytes they pin make room for so many bytes.
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
        // Readers that are ended and not yet dropped will free their bytes soon.
        let is_slow = |one: &Arc<SlowReader>| one.is_ended() || one.slowness(now).is_some();
        self.lock().values().any(is_slow)
    }

    /// Ends slow readers because write buffers exceed the bound; rate-limited, as many connections may
    /// call it at once.
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

    /// Registers a client that may be ended.
    pub fn list(self: &Arc<Self>) -> Listed {
        let id = self.next_reader.fetch_add(1, Ordering::Relaxed);
        let reader = Arc::<SlowReader>::default();
        self.lock().insert(id, reader.clone());
        Listed { memory: self.clone(), id, reader }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<SlowReader>>> {
        // No code panics while it is held.
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
    /// Changes the number of bytes.
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
    /// Its throughput, how long its response has waited, and the bytes that it pins; `None` if it is not
    /// slow, or ended already.
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
    /// Records that its response waits: for so long until now, at that throughput.
    pub fn wait(&self, waited: Duration, bytes_per_second: u64, pinned_bytes: usize) {
        let waits_since = Instant::now();
        let state = Slowness { waits_since, waited_before: waited, bytes_per_second, pinned_bytes };
        *self.reader.lock() = Some(state);
    }

    /// Records that its response does not wait.
    pub fn resume(&self) {
        *self.reader.lock() = None;
    }

    /// Whether its connection has to end; if not, the task is woken when it has to.
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
    fn bytes_count_until_the_charge_is_dropped() {
        let memory = memory(100);
        let mut charge = memory.try_charge(60).unwrap();
        assert!(memory.try_charge(41).is_none());
        charge.resize(50);
        let rest = memory.try_charge(50).unwrap();
        assert_eq!(memory.bytes(), 100);
        // Allocated bytes count beyond the bound.
        let buffer = memory.charge(7);
        assert_eq!(memory.bytes(), 107);
        drop((charge, rest, buffer));
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn slowest_readers_end_first_until_there_is_room() {
        let memory = memory(100);
        let _full = memory.try_charge(100).unwrap();
        let [slow, slower, fast] = [(); 3].map(|()| memory.list());
        slow.wait(SLOW_AFTER, 500, 30);
        slower.wait(SLOW_AFTER, 20, 30);
        fast.wait(Duration::ZERO, 1, 30);
        let waker = futures_util::task::noop_waker();
        let context = std::task::Context::from_waker(&waker);
        let ended = || [&slow, &slower, &fast].map(|one| one.is_ended(&context));
        assert!(memory.charge_or_make_room(30).is_none());
        assert_eq!(ended(), [false, true, false]);
        assert!(memory.charge_or_make_room(60).is_none());
        assert_eq!(ended(), [true, true, false], "a fast reader stays");
    }

    #[tokio::test]
    async fn charge_waits_for_bytes_of_an_ended_reader() {
        let memory = memory(100);
        let full = memory.try_charge(100).unwrap();
        let slow = memory.list();
        slow.wait(SLOW_AFTER, 0, 100);
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
        assert!(memory.charge_when_free(30).await.is_none(), "no reader is slow");
    }
}
