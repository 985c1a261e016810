//! Calls whose reply was lost, finished behind the caller's back: holds and leases that nobody
//! learnt of are undone, paid sales are committed.
//!
//! Interleavings that matter, for a hold (the others are alike):
//! - the call never ran and its `not_after` has passed: `abort` finds nothing;
//! - it ran before we gave up: `abort` finds it under its nonce and undoes it;
//! - it runs after we gave up: it cannot, `not_after` has passed, and `abort` waits for that
//!   (`too_early`);
//! - a retry found it and told its caller: `abort` takes the lost attempt off, the hold stays.
//!
//! Each call is a task that tries, waits, and tries again, so one that cannot be finished yet
//! keeps no other waiting. How many there are is bounded, for paid sales apart from the rest;
//! what does not fit is ended by its deadline or its lease.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::SaleObserver;
use super::catalogue::Catalogue;
use crate::domain::{BookingId, EventId};
use crate::redis::{AbortMode, Answer, Code, Engine, NotAfter, RedisError};

/// Tries under way at the same time.
const TRIES_AT_ONCE_MAX: usize = 64;
/// Pause before the second try of one call, doubled up to the other.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(400);
/// How long one call is tried.
const TRIED_FOR_MAX: Duration = Duration::from_secs(600);
/// How long the end of the process waits for calls to be finished.
const END_WAIT_MAX: Duration = Duration::from_secs(3);

/// A call to finish.
#[derive(Clone, Debug)]
pub(super) enum Call {
    /// A hold to undo.
    Hold { event: EventId, idempotency: String, nonce: String, not_before: NotAfter },
    /// A confirmation's begin to undo.
    Begin { booking: BookingId, nonce: String, not_before: NotAfter },
    /// A paid sale to commit.
    Commit { booking: BookingId, lease: u64, payment: String },
}

/// Finishes calls. Cheap to clone.
#[derive(Clone)]
pub(super) struct Unfinished {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    catalogue: Catalogue,
    observer: Arc<dyn SaleObserver>,
    /// Where the tasks run: calls are also given up on threads that end with their request.
    runtime: Handle,
    capacity: usize,
    undos: Arc<Semaphore>,
    commits: Arc<Semaphore>,
    tries: Semaphore,
    stop: watch::Receiver<bool>,
}

/// Finishes a call when dropped, unless its answer came.
pub(super) struct UnlessAnswered {
    unfinished: Unfinished,
    call: Option<Call>,
}

impl UnlessAnswered {
    /// There is nothing to finish.
    pub(super) fn answered(mut self) {
        self.call = None;
    }
}

impl Drop for UnlessAnswered {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.unfinished.finish(call);
        }
    }
}

impl Unfinished {
    /// At most `capacity` calls to undo, and as many to commit, are kept. The task ends after
    /// `stop`, when all are finished or `END_WAIT_MAX` is over.
    pub(super) fn start(
        engine: Engine,
        catalogue: Catalogue,
        capacity: usize,
        observer: Arc<dyn SaleObserver>,
        stop: watch::Receiver<bool>,
    ) -> (Self, JoinHandle<()>) {
        let inner = Inner {
            engine,
            catalogue,
            observer,
            runtime: Handle::current(),
            capacity,
            undos: Arc::new(Semaphore::new(capacity)),
            commits: Arc::new(Semaphore::new(capacity)),
            tries: Semaphore::new(TRIES_AT_ONCE_MAX),
            stop,
        };
        let unfinished = Unfinished { inner: Arc::new(inner) };
        let ending = unfinished.clone();
        (unfinished, tokio::spawn(async move { ending.end().await }))
    }

    /// Finishes the call if it is not answered: when the guard is dropped.
    pub(super) fn unless_answered(&self, call: Call) -> UnlessAnswered {
        UnlessAnswered { unfinished: self.clone(), call: Some(call) }
    }

    /// Finishes a call; if there are too many, its own deadline has to do.
    pub(super) fn finish(&self, call: Call) {
        let places = match call {
            Call::Commit { .. } => &self.inner.commits,
            Call::Hold { .. } | Call::Begin { .. } => &self.inner.undos,
        };
        let place = places.clone().try_acquire_owned();
        self.inner.observer.unknown_outcome(place.is_ok());
        match place {
            Ok(place) => {
                let unfinished = self.clone();
                self.inner.runtime.spawn(async move { unfinished.run(call, place).await });
            }
            Err(_) => warn!(?call, "too many unfinished calls; this one is left to its deadline"),
        }
        self.tell_length();
    }

    /// Calls that are not finished.
    fn length(&self) -> usize {
        let free = |places: &Semaphore| places.available_permits();
        2 * self.inner.capacity - free(&self.inner.undos) - free(&self.inner.commits)
    }

    fn tell_length(&self) {
        self.inner.observer.unfinished(self.length());
    }

    async fn run(&self, call: Call, place: OwnedSemaphorePermit) {
        let began = Instant::now();
        let mut pause = PAUSE_MIN;
        let mut stop = self.inner.stop.clone();
        while began.elapsed() < TRIED_FOR_MAX {
            match self.try_once(&call).await {
                Ok(code) if is_final(code) => {
                    tell_end(&call, code);
                    break;
                }
                _ => {}
            }
            let stopping = *stop.borrow();
            // Told to stop, it does not wait longer than the shortest pause.
            tokio::select! {
                () = tokio::time::sleep(if stopping { PAUSE_MIN } else { pause }) => {}
                _ = stop.changed(), if !stopping => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        drop(place);
        self.tell_length();
    }

    async fn end(&self) {
        let mut stop = self.inner.stop.clone();
        // A sender that is gone means the same.
        let _ = stop.wait_for(|stop| *stop).await;
        let all = self.inner.capacity as u32;
        let finished = async {
            // Their closing is no news here: nobody closes them.
            let _ = self.inner.commits.acquire_many(all).await;
            let _ = self.inner.undos.acquire_many(all).await;
        };
        if tokio::time::timeout(END_WAIT_MAX, finished).await.is_err() {
            warn!(calls = self.length(), "ended with unfinished calls; deadlines end them");
        }
    }

    async fn try_once(&self, call: &Call) -> Result<Code, RedisError> {
        let event = match call {
            Call::Hold { event, .. } => *event,
            Call::Begin { booking, .. } | Call::Commit { booking, .. } => booking.event(),
        };
        let known = self.inner.catalogue.get(event).await.ok().flatten();
        let Some(known) = known else { return Ok(Code::EventNotLoaded) };
        let _turn = self.inner.tries.acquire().await;
        let answer = self.call(call, known.generation).await?;
        if answer.code == Code::GenerationMismatch {
            // What was lost with the older generation needs no undoing; what was restored does.
            return Ok(self.call(call, answer.number(0) as u64).await?.code);
        }
        Ok(answer.code)
    }

    async fn call(&self, call: &Call, generation: u64) -> Result<Answer, RedisError> {
        let engine = &self.inner.engine;
        match call {
            Call::Hold { event, idempotency, nonce, not_before } => {
                engine.abort(*event, generation, idempotency, nonce, *not_before).await
            }
            Call::Begin { booking, nonce, not_before } => {
                let mode = AbortMode::Nonce { nonce: nonce.clone(), not_before: *not_before };
                engine.confirm_abort(generation, *booking, &mode).await
            }
            Call::Commit { booking, lease, payment } => {
                engine.confirm_commit(generation, *booking, *lease, payment).await
            }
        }
    }
}

/// Whether trying again could not change anything.
fn is_final(code: Code) -> bool {
    !matches!(
        code,
        Code::TooLate | Code::TooEarly | Code::EventNotLoaded | Code::GenerationMismatch
    )
}

fn tell_end(call: &Call, code: Code) {
    match (call, code) {
        (Call::Commit { booking, .. }, code) if code != Code::Ok => {
            error!(booking_id = %booking, code = code.word(), "a paid sale could not be committed");
        }
        _ => info!(?call, code = code.word(), "an unfinished call is finished"),
    }
}
