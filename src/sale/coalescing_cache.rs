//! Asked for by many, looked up for all of them: at most so often a second for each event, by one of
//! those who ask. The others get what was found last, or wait for it.
//!
//! What failed is shared as well, so that a dependency that is away is not asked more often. A
//! look-up goes on when the caller who began it hangs up: nobody can have more of them begun by
//! asking and leaving.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::SaleError;
use crate::domain::EventId;
use crate::read_mostly::ReadMostly;

/// Events that something is kept of.
const EVENTS_MAX: usize = 10_000;
/// How long what was found last is given out while somebody looks anew.
const MEANWHILE: Duration = Duration::from_secs(1);
/// How long a caller waits for a look-up.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How exactly it is known when somebody last asked: threads need not fight over that for each request.
const ASKED_STEP_MS: u64 = 50;

/// What was found last, by event.
pub struct CoalescingCache<T: Send + Sync> {
    interval: Duration,
    origin: Instant,
    turns: ReadMostly<EventId, Arc<Turn<T>>>,
}

/// One event.
struct Turn<T> {
    found: ArcSwapOption<Found<T>>,
    /// What was found by a look-up that began before this is outdated; µs after [`CoalescingCache::origin`].
    outdated_until_us: AtomicU64,
    looking: Arc<Mutex<()>>,
    /// ms after [`CoalescingCache::origin`], to [`ASKED_STEP_MS`].
    asked_at_ms: AtomicU64,
}

struct Found<T> {
    begun: Instant,
    ended: Instant,
    result: Result<T, SaleError>,
}

impl<T: Clone + Send + Sync + 'static> CoalescingCache<T> {
    /// At most so many look-ups a second for each event.
    pub fn new(per_second: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        CoalescingCache { interval, origin: Instant::now(), turns: ReadMostly::default() }
    }

    /// How long what was found is given out.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// What was found last, or what `look` finds now; it is given what was found before. The caller
    /// knows the event to exist.
    ///
    /// # Errors
    /// What `look` failed with, for whomever it looked; or that it took too long.
    pub async fn get<F>(
        &self,
        event: EventId,
        look: impl FnOnce(Option<T>) -> F + Send + 'static,
    ) -> Result<T, SaleError>
    where
        F: Future<Output = Result<T, SaleError>> + Send + 'static,
    {
        let turn = self.turn(event);
        turn.note_asked(self.at_ms(Instant::now()));
        if let Some(found) = &*turn.found.load()
            && found.begun.elapsed() < self.interval
            && self.is_current(&turn, found)
        {
            return found.result.clone();
        }
        let asked = Instant::now();
        let guard = match turn.looking.clone().try_lock_owned() {
            Ok(guard) => guard,
            Err(_) => {
                if let Some(found) = &*turn.found.load()
                    && found.begun.elapsed() < MEANWHILE
                    && found.result.is_ok()
                    && self.is_current(&turn, found)
                {
                    return found.result.clone();
                }
                let turn_comes = tokio::time::timeout(WAIT_MAX, turn.looking.clone().lock_owned());
                turn_comes.await.map_err(|_| too_slow())?
            }
        };
        if let Some(found) = &*turn.found.load()
            && (found.ended >= asked || found.begun.elapsed() < self.interval)
            && self.is_current(&turn, found)
        {
            return found.result.clone();
        }
        let looked = tokio::spawn(Box::pin(turn.look(guard, look)));
        match tokio::time::timeout(WAIT_MAX, looked).await {
            Ok(Ok(result)) => result,
            // The panic hook has logged it.
            Ok(Err(error)) => Err(SaleError::Internal(format!("a look-up ended: {error}"))),
            Err(_) => Err(too_slow()),
        }
    }

    /// Looks at what was found last, if [`CoalescingCache::get`] would give it at once, and it is no failure.
    pub fn get_if_fresh<R>(&self, event: EventId, look: impl FnOnce(&T) -> R) -> Option<R> {
        let now = Instant::now();
        let at_hand = self.turns.with(event, |turn| {
            let found = turn.found.load();
            let found = found.as_ref()?;
            let is_young = now.saturating_duration_since(found.begun) < self.interval;
            let is_shown = is_young && self.is_current(turn, found);
            let result = found.result.as_ref().ok().filter(|_| is_shown)?;
            turn.note_asked(self.at_ms(now));
            Some(look(result))
        });
        at_hand.flatten()
    }

    /// Outdates what was found so far, also by a look-up that is under way: what is given out from
    /// now on was looked up from now on. For whoever has changed the event.
    pub fn outdate(&self, event: EventId) {
        if let Some(turn) = self.turns.get(event) {
            // The microsecond of this call belongs to what was before.
            let now_us = self.at_us(Instant::now()) + 1;
            turn.outdated_until_us.fetch_max(now_us, Ordering::Release);
        }
    }

    fn is_current(&self, turn: &Turn<T>, found: &Found<T>) -> bool {
        let outdated_until_us = turn.outdated_until_us.load(Ordering::Acquire);
        outdated_until_us == 0 || self.at_us(found.begun) >= outdated_until_us
    }

    /// What was found last, whenever that was.
    pub fn peek(&self, event: EventId) -> Option<T> {
        let turn = self.turns.get(event)?;
        turn.found.load().as_ref().and_then(|found| found.result.clone().ok())
    }

    /// Forgets events that nobody asked for since so long.
    pub fn forget_idle(&self, idle: Duration) {
        let now_ms = self.at_ms(Instant::now());
        self.turns.change(|turns| {
            turns.retain(|_, turn| {
                let asked_at_ms = turn.asked_at_ms.load(Ordering::Relaxed);
                let is_kept = Duration::from_millis(now_ms.saturating_sub(asked_at_ms)) < idle;
                if !is_kept {
                    turn.forget();
                }
                is_kept
            });
            if turns.is_empty() {
                turns.shrink_to_fit();
            }
        });
    }

    fn turn(&self, event: EventId) -> Arc<Turn<T>> {
        if let Some(turn) = self.turns.get(event) {
            return turn;
        }
        self.turns.change(|turns| {
            if turns.len() >= EVENTS_MAX {
                turns.drain().for_each(|(_, turn)| turn.forget());
            }
            turns.entry(event).or_insert_with(|| Arc::new(Turn::new())).clone()
        })
    }

    fn at_us(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.origin).as_micros() as u64
    }

    fn at_ms(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.origin).as_millis() as u64
    }
}

impl<T: Clone + Send + Sync + 'static> Turn<T> {
    fn new() -> Self {
        Turn {
            found: ArcSwapOption::empty(),
            outdated_until_us: AtomicU64::new(0),
            looking: Arc::default(),
            asked_at_ms: AtomicU64::new(0),
        }
    }

    /// Lets go of what was found: threads that idle keep the turn itself.
    fn forget(&self) {
        self.found.store(None);
    }

    fn note_asked(&self, now_ms: u64) {
        if self.asked_at_ms.load(Ordering::Relaxed) + ASKED_STEP_MS < now_ms {
            self.asked_at_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// Looks, and keeps what was found; the guard sees to it that nobody else does meanwhile.
    async fn look<F>(
        self: Arc<Self>,
        guard: OwnedMutexGuard<()>,
        look: impl FnOnce(Option<T>) -> F + Send + 'static,
    ) -> Result<T, SaleError>
    where
        F: Future<Output = Result<T, SaleError>> + Send + 'static,
    {
        let before = self.found.load().as_ref().and_then(|found| found.result.clone().ok());
        let begun = Instant::now();
        let result = look(before).await;
        let found = Found { begun, ended: Instant::now(), result: result.clone() };
        self.found.store(Some(Arc::new(found)));
        drop(guard);
        result
    }
}

fn too_slow() -> SaleError {
    SaleError::Unavailable {
        dependency: "redis",
        reason: format!("nothing was found within {WAIT_MAX:?}"),
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
    /// Longer than any test takes, and shorter than any test waits.
    const ONE_A_SECOND: u32 = 1;

    fn counting(count: &Arc<AtomicU32>) -> impl FnOnce(Option<u32>) -> CountFuture + Send + use<> {
        let count = count.clone();
        move |_| Box::pin(async move { Ok(count.fetch_add(1, Ordering::Relaxed) + 1) })
    }
    type CountFuture = futures_util::future::BoxFuture<'static, Result<u32, SaleError>>;

    #[tokio::test]
    async fn a_crowd_is_one_look_up() {
        let (paced, count) = (CoalescingCache::new(ONE_A_SECOND), Arc::default());
        let all = join_all((0..100).map(|_| paced.get(EVENT, counting(&count)))).await;
        assert!(all.iter().all(|found| *found == Ok(1)), "{all:?}");
        assert_eq!(paced.get(EventId(2), counting(&count)).await, Ok(2), "another event");
        assert_eq!(paced.peek(EVENT), Some(1));
    }

    #[tokio::test]
    async fn it_is_looked_up_anew_after_the_interval() {
        let (paced, count) = (CoalescingCache::new(100), Arc::default());
        assert_eq!(paced.get(EVENT, counting(&count)).await, Ok(1));
        tokio::time::sleep(paced.interval()).await;
        let look = |before: Option<u32>| async move { Ok(10 * before.unwrap_or_default()) };
        assert_eq!(paced.get(EVENT, look).await, Ok(10), "knows what was found before");
    }

    #[tokio::test]
    async fn failures_are_shared_but_never_as_something_older() {
        let (paced, count) = (CoalescingCache::new(100), Arc::default());
        let fail = |_| async { Err(SaleError::LogFull) };
        assert_eq!(paced.get(EVENT, fail).await, Err(SaleError::LogFull));
        assert_eq!(paced.get(EVENT, counting(&count)).await, Err(SaleError::LogFull));
        assert_eq!(paced.peek(EVENT), None);
        tokio::time::sleep(paced.interval()).await;
        assert_eq!(paced.get(EVENT, counting(&count)).await, Ok(1));
    }

    #[tokio::test]
    async fn others_get_the_last_while_one_looks_and_a_hung_up_look_goes_on() {
        let (paced, count) = (CoalescingCache::new(100), Arc::default());
        assert_eq!(paced.get(EVENT, counting(&count)).await, Ok(1));
        tokio::time::sleep(paced.interval()).await;
        let gate = Arc::new(Semaphore::new(0));
        let waits = gate.clone();
        let slow = move |_| async move {
            let _open = waits.acquire().await;
            Ok(50)
        };
        let hung_up = tokio::time::timeout(Duration::from_millis(10), paced.get(EVENT, slow));
        assert!(hung_up.await.is_err());
        assert_eq!(paced.get(EVENT, counting(&count)).await, Ok(1), "the last, at once");
        gate.add_permits(1);
        let bound = Duration::from_secs(30);
        let comes = async {
            while paced.peek(EVENT) != Some(50) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(bound, comes).await.unwrap();
    }

    #[tokio::test]
    async fn a_slow_look_up_is_not_repeated_by_each_who_waited() {
        let (paced, count) = (CoalescingCache::new(100), Arc::new(AtomicU32::new(0)));
        let slow = || {
            let count = count.clone();
            move |_| async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(count.fetch_add(1, Ordering::Relaxed) + 1)
            }
        };
        let all = join_all((0..20).map(|_| paced.get(EVENT, slow()))).await;
        assert!(all.iter().all(|found| *found == Ok(1)), "{all:?}");
    }

    #[tokio::test]
    async fn idle_events_are_forgotten() {
        let (paced, count) = (CoalescingCache::new(100), Arc::default());
        assert_eq!(paced.get(EVENT, counting(&count)).await, Ok(1));
        paced.forget_idle(Duration::from_secs(3_600));
        assert_eq!(paced.peek(EVENT), Some(1));
        paced.forget_idle(Duration::ZERO);
        assert_eq!(paced.peek(EVENT), None);
    }

    #[tokio::test]
    async fn what_is_forgotten_is_kept_by_no_thread_that_looked() {
        let (paced, kept) = (CoalescingCache::new(ONE_A_SECOND), Arc::new(()));
        let found = kept.clone();
        paced.get(EVENT, move |_| async move { Ok(found) }).await.unwrap();
        let (looked, has_looked) = mpsc::channel();
        let (ends, end) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let paced = &paced;
            scope.spawn(move || {
                looked.send(paced.get_if_fresh(EVENT, |_| ())).unwrap();
                // Idles until all is checked.
                let _ = end.recv();
            });
            assert_eq!(has_looked.recv(), Ok(Some(())));
            paced.forget_idle(Duration::ZERO);
            assert_eq!((paced.get_if_fresh(EVENT, |_| ()), Arc::strong_count(&kept)), (None, 1));
            drop(ends);
        });
    }
}
