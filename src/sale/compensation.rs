//! Compensates calls whose reply was lost: holds and leases that no client learnt of are undone,
//! payments are reconciled until they are sold or surely not made.
//!
//! Interleavings for a hold (the others are alike):
//! - the call never ran and its `not_after` has passed: `abort` finds nothing;
//! - it ran before we gave up: `abort` finds it under its nonce and undoes it;
//! - it cannot run later: `not_after` has passed by the time `abort` accepts (`too_early` before);
//! - a retry found it and returned it to the client: `abort` removes the lost attempt, the hold
//!   remains.
//!
//! Each compensation is a task that tries, waits and retries, so one that cannot finish yet does
//! not delay the others. Their number is bounded, separately for payments; a call beyond the bound
//! ends by its deadline or lease, and a payment by the worker's reconciler.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{info, warn};

use super::SaleObserver;
use super::catalogue::Catalogue;
use super::paying::PaymentService;
use crate::domain::{BookingId, EventId};
use crate::lifecycle::Shutdown;
use crate::lifecycle::Supervisor;
use crate::redis::{
    AbortMode, AbortReply, ConfirmAbortReply, Engine, NotAfter, RedisError, ScriptReply,
};
use crate::telemetry::warn_repeated;

/// Attempts running at the same time.
const TRIES_AT_ONCE_MAX: usize = 64;
/// Pause before the second attempt, doubled up to `PAUSE_MAX`.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(400);
/// The maximum pause for a payment: each attempt costs a request to the provider.
const PAYMENT_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long one compensation is retried.
const TRIED_FOR_MAX: Duration = Duration::from_secs(600);
/// How long shutdown waits for the queue to drain.
const END_WAIT_MAX: Duration = Duration::from_secs(3);

/// A call to compensate.
#[derive(Clone, Debug)]
pub(super) enum Compensation {
    /// Undoes a hold.
    Hold { event: EventId, idempotency: String, nonce: String, not_before: NotAfter },
    /// Undoes the begin of a confirmation.
    Begin { booking: BookingId, nonce: String, not_before: NotAfter },
    /// Reconciles a payment that was sent and may have been made.
    Payment { booking: BookingId },
}

/// A bounded set of compensations in progress. Cheap to clone.
#[derive(Clone)]
pub(super) struct CompensationQueue {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    catalogue: Catalogue,
    payment_service: PaymentService,
    observer: Arc<dyn SaleObserver>,
    /// Runs the tasks: a compensation may be queued on a thread that ends with its request.
    runtime: Handle,
    capacity: usize,
    undos: Arc<Semaphore>,
    payments: Arc<Semaphore>,
    tries: Semaphore,
    shutdown: Shutdown,
}

/// Queues a compensation when dropped, unless disarmed.
pub(super) struct CompensateOnDrop {
    queue: CompensationQueue,
    compensation: Option<Compensation>,
}

impl CompensateOnDrop {
    /// Cancels the compensation: the call's reply arrived.
    pub(super) fn disarm(mut self) {
        self.compensation = None;
    }
}

impl Drop for CompensateOnDrop {
    fn drop(&mut self) {
        if let Some(compensation) = self.compensation.take() {
            self.queue.enqueue(compensation);
        }
    }
}

impl CompensationQueue {
    /// Starts a queue for at most `capacity` calls to undo and as many payments. Its task ends
    /// after shutdown is requested, when the queue is empty or after `END_WAIT_MAX`.
    pub(super) fn start(
        engine: Engine,
        catalogue: Catalogue,
        payment_service: PaymentService,
        capacity: usize,
        observer: Arc<dyn SaleObserver>,
        supervisor: &Supervisor,
        shutdown: &Shutdown,
    ) -> Self {
        let inner = Inner {
            engine,
            catalogue,
            payment_service,
            observer,
            runtime: Handle::current(),
            capacity,
            undos: Arc::new(Semaphore::new(capacity)),
            payments: Arc::new(Semaphore::new(capacity)),
            tries: Semaphore::new(TRIES_AT_ONCE_MAX),
            shutdown: shutdown.clone(),
        };
        let queue = CompensationQueue { inner: Arc::new(inner) };
        let ending = queue.clone();
        supervisor.spawn("unfinished_calls", shutdown, move || ending.clone().drain());
        queue
    }

    /// Returns a guard that queues the compensation unless disarmed.
    pub(super) fn compensate_on_drop(&self, compensation: Compensation) -> CompensateOnDrop {
        CompensateOnDrop { queue: self.clone(), compensation: Some(compensation) }
    }

    /// Starts a compensation. If the queue is full, the call ends by its own deadline.
    pub(super) fn enqueue(&self, compensation: Compensation) {
        let permits = match compensation {
            Compensation::Payment { .. } => &self.inner.payments,
            Compensation::Hold { .. } | Compensation::Begin { .. } => &self.inner.undos,
        };
        let permit = permits.clone().try_acquire_owned();
        self.inner.observer.unknown_outcome(permit.is_ok());
        match permit {
            Ok(permit) => {
                let queue = self.clone();
                self.inner.runtime.spawn(async move { queue.run(compensation, permit).await });
            }
            Err(_) => {
                warn_repeated!(
                    ?compensation,
                    "the compensation queue is full: this call ends by its deadline"
                )
            }
        }
        self.report_length();
    }

    /// The number of unfinished compensations.
    fn length(&self) -> usize {
        let free = |permits: &Semaphore| permits.available_permits();
        2 * self.inner.capacity - free(&self.inner.undos) - free(&self.inner.payments)
    }

    fn report_length(&self) {
        self.inner.observer.unfinished(self.length());
    }

    async fn run(&self, compensation: Compensation, permit: OwnedSemaphorePermit) {
        let began = Instant::now();
        let mut pause = PAUSE_MIN;
        let pause_max = match compensation {
            Compensation::Payment { .. } => PAYMENT_PAUSE_MAX,
            Compensation::Hold { .. } | Compensation::Begin { .. } => PAUSE_MAX,
        };
        let shutdown = &self.inner.shutdown;
        while began.elapsed() < TRIED_FOR_MAX {
            // A panic counts as a failed attempt; the panic hook has logged and counted it.
            let attempt = AssertUnwindSafe(self.try_once(&compensation)).catch_unwind();
            if attempt.await.unwrap_or(false) {
                break;
            }
            let stopping = shutdown.is_requested();
            // During shutdown only the shortest pause applies.
            tokio::select! {
                () = tokio::time::sleep(if stopping { PAUSE_MIN } else { pause }) => {}
                () = shutdown.requested(), if !stopping => {}
            }
            pause = (pause * 2).min(pause_max);
        }
        drop(permit);
        self.report_length();
    }

    async fn drain(self) {
        self.inner.shutdown.requested().await;
        let all = self.inner.capacity as u32;
        let finished = async {
            // These semaphores are never closed.
            let _ = self.inner.payments.acquire_many(all).await;
            let _ = self.inner.undos.acquire_many(all).await;
        };
        if tokio::time::timeout(END_WAIT_MAX, finished).await.is_err() {
            warn!(
                calls = self.length(),
                "shutdown with unfinished calls; they end by their deadlines"
            );
        }
    }

    /// Makes one attempt. Returns whether the compensation is finished.
    async fn try_once(&self, compensation: &Compensation) -> bool {
        let _permit = self.inner.tries.acquire().await;
        let ended = match compensation {
            Compensation::Payment { booking } => {
                match self.inner.payment_service.reconcile(*booking).await {
                    Ok(reconciled) => reconciled.is_final().then(|| reconciled.as_str()),
                    Err(_) => None,
                }
            }
            Compensation::Hold { event, .. } => self.undo(compensation, *event).await,
            Compensation::Begin { booking, .. } => self.undo(compensation, booking.event()).await,
        };
        if let Some(code) = ended {
            info!(?compensation, code, "a call with a lost reply is compensated");
        }
        ended.is_some()
    }

    /// Runs the undoing script. Returns its reply code if that is final.
    async fn undo(&self, compensation: &Compensation, event: EventId) -> Option<&'static str> {
        let event = self.inner.catalogue.get(event).await.ok().flatten()?;
        let mut undone = self.undo_once(compensation, event.generation).await.ok()?;
        if let Undone::OtherGeneration(newer) = undone {
            // A hold lost with the older generation needs no undoing; a restored one does.
            undone = self.undo_once(compensation, newer).await.ok()?;
        }
        match undone {
            Undone::Final(code) => Some(code),
            Undone::OtherGeneration(_) | Undone::NotYet => None,
        }
    }

    async fn undo_once(
        &self,
        compensation: &Compensation,
        generation: u64,
    ) -> Result<Undone, RedisError> {
        let engine = &self.inner.engine;
        Ok(match compensation {
            Compensation::Hold { event, idempotency, nonce, not_before } => {
                let aborted = engine.abort(*event, generation, idempotency, nonce, *not_before);
                match aborted.await?.reply {
                    AbortReply::GenerationMismatch { generation } => {
                        Undone::OtherGeneration(generation)
                    }
                    AbortReply::TooLate | AbortReply::TooEarly | AbortReply::EventNotLoaded => {
                        Undone::NotYet
                    }
                    reply => Undone::Final(reply.code()),
                }
            }
            Compensation::Begin { booking, nonce, not_before } => {
                let mode = AbortMode::Nonce { nonce: nonce.clone(), not_before: *not_before };
                match engine.confirm_abort(generation, *booking, &mode).await?.reply {
                    ConfirmAbortReply::GenerationMismatch { generation } => {
                        Undone::OtherGeneration(generation)
                    }
                    ConfirmAbortReply::TooLate
                    | ConfirmAbortReply::TooEarly
                    | ConfirmAbortReply::EventNotLoaded => Undone::NotYet,
                    reply => Undone::Final(reply.code()),
                }
            }
            // No script undoes a payment.
            Compensation::Payment { .. } => Undone::NotYet,
        })
    }
}

/// The result of one call of an undoing script.
enum Undone {
    /// Final: a further call could not change anything. The reply's code.
    Final(&'static str),
    /// Redis has this generation of the event.
    OtherGeneration(u64),
    /// It must be retried later.
    NotYet,
}
