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
//! The queue is bounded; what does not fit is ended by its deadline or its lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{info, warn};

use super::SaleObserver;
use super::catalogue::Catalogue;
use crate::domain::{BookingId, EventId};
use crate::redis::{AbortMode, Answer, Code, Engine, NotAfter, RedisError};

/// Calls finished at the same time.
const AT_ONCE_MAX: usize = 64;
/// Pause between two tries of one call.
const PAUSE: Duration = Duration::from_millis(50);
/// How long one call is tried; a hold's or a lease's own end comes about as soon.
const TRIED_FOR_MAX: Duration = Duration::from_secs(600);

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

/// The queue. Cheap to clone.
#[derive(Clone)]
pub(super) struct Unfinished {
    queue: mpsc::Sender<Call>,
    length: Arc<AtomicUsize>,
    observer: Arc<dyn SaleObserver>,
}

impl Unfinished {
    pub(super) fn start(
        engine: Engine,
        catalogue: Catalogue,
        capacity: usize,
        observer: Arc<dyn SaleObserver>,
        stop: watch::Receiver<bool>,
    ) -> (Self, JoinHandle<()>) {
        let (queue, calls) = mpsc::channel(capacity.max(1));
        let length = Arc::new(AtomicUsize::new(0));
        let unfinished = Unfinished { queue, length, observer };
        let finisher = Finisher { engine, catalogue, unfinished: unfinished.clone() };
        (unfinished, tokio::spawn(finisher.run(calls, stop)))
    }

    /// Queues a call; if the queue is full, the call's own deadline has to do.
    pub(super) fn finish(&self, call: Call) {
        self.changed(1);
        let queued = self.queue.try_send(call);
        if let Err(error) = &queued {
            self.changed(-1);
            warn!(%error, "an unfinished call is left to its deadline");
        }
        self.observer.unknown_outcome(queued.is_ok());
    }

    fn changed(&self, by: isize) {
        let before = self.length.fetch_add(by as usize, Ordering::Relaxed);
        self.observer.unfinished(before.wrapping_add_signed(by));
    }
}

#[derive(Clone)]
struct Finisher {
    engine: Engine,
    catalogue: Catalogue,
    unfinished: Unfinished,
}

impl Finisher {
    async fn run(self, mut calls: mpsc::Receiver<Call>, mut stop: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(AT_ONCE_MAX));
        let mut running = JoinSet::new();
        loop {
            let call = tokio::select! {
                call = calls.recv() => call,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let (Some(call), Ok(place)) = (call, places.clone().acquire_owned().await) else {
                break;
            };
            let finisher = self.clone();
            running.spawn(async move {
                finisher.finish(call).await;
                drop(place);
            });
            while running.try_join_next().is_some() {}
        }
    }

    async fn finish(&self, call: Call) {
        let began = Instant::now();
        while began.elapsed() < TRIED_FOR_MAX {
            match self.try_once(&call).await {
                Ok(code) if is_final(code) => {
                    info!(?call, code = code.word(), "an unfinished call is finished");
                    break;
                }
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
        self.unfinished.changed(-1);
    }

    async fn try_once(&self, call: &Call) -> Result<Code, RedisError> {
        let event = match call {
            Call::Hold { event, .. } => *event,
            Call::Begin { booking, .. } | Call::Commit { booking, .. } => booking.event(),
        };
        let known = self.catalogue.get(event).await.ok().flatten();
        let Some(known) = known else { return Ok(Code::TooLate) };
        let answer = self.call(call, known.generation).await?;
        if answer.code == Code::GenerationMismatch {
            // What was lost with the older generation needs no undoing; what was restored does.
            return Ok(self.call(call, answer.number(0) as u64).await?.code);
        }
        Ok(answer.code)
    }

    async fn call(&self, call: &Call, generation: u64) -> Result<Answer, RedisError> {
        match call {
            Call::Hold { event, idempotency, nonce, not_before } => {
                self.engine.abort(*event, generation, idempotency, nonce, *not_before).await
            }
            Call::Begin { booking, nonce, not_before } => {
                let mode = AbortMode::Nonce { nonce: nonce.clone(), not_before: *not_before };
                self.engine.confirm_abort(generation, *booking, &mode).await
            }
            Call::Commit { booking, lease, payment } => {
                self.engine.confirm_commit(generation, *booking, *lease, payment).await
            }
        }
    }
}

/// Whether trying again could change anything.
fn is_final(code: Code) -> bool {
    !matches!(
        code,
        Code::TooLate | Code::TooEarly | Code::EventNotLoaded | Code::GenerationMismatch
    )
}
