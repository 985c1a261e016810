//! Calls whose reply was lost, finished behind the caller's back: holds and leases that nobody
//! learnt of are undone, payments are looked after until they are sold or surely not made.
//!
//! Interleavings that matter, for a hold (the others are alike):
//! - the call never ran and its `not_after` has passed: `abort` finds nothing;
//! - it ran before we gave up: `abort` finds it under its nonce and undoes it;
//! - it runs after we gave up: it cannot, `not_after` has passed, and `abort` waits for that
//!   (`too_early`);
//! - a retry found it and told its caller: `abort` takes the lost attempt off, the hold stays.
//!
//! Each call is a task that tries, waits, and tries again, so one that cannot be finished yet
//! keeps no other waiting. How many there are is bounded, for payments apart from the rest; what does
//! not fit is ended by its deadline or its lease, and a payment by the worker's reconciler.

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

/// Tries under way at the same time.
const TRIES_AT_ONCE_MAX: usize = 64;
/// Pause before the second try of one call, doubled up to the other.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(400);
/// The same for a payment, which costs its provider a question each time.
const PAYMENT_PAUSE_MAX: Duration = Duration::from_secs(5);
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
    /// A payment that was sent, and may have been made, to find out and to commit.
    Payment { booking: BookingId },
}

/// Finishes calls. Cheap to clone.
#[derive(Clone)]
pub(super) struct CompensationQueue {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    catalogue: Catalogue,
    payment_service: PaymentService,
    observer: Arc<dyn SaleObserver>,
    /// Where the tasks run: calls are also given up on threads that end with their request.
    runtime: Handle,
    capacity: usize,
    undos: Arc<Semaphore>,
    payments: Arc<Semaphore>,
    tries: Semaphore,
    shutdown: Shutdown,
}

/// Finishes a call when dropped, unless its answer came.
pub(super) struct UnlessAnswered {
    unfinished: CompensationQueue,
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

impl CompensationQueue {
    /// At most `capacity` calls to undo, and as many payments, are kept. Its task ends after
    /// shutdown is requested, when all are finished or `END_WAIT_MAX` is over.
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
        let unfinished = CompensationQueue { inner: Arc::new(inner) };
        let ending = unfinished.clone();
        supervisor.spawn("unfinished_calls", shutdown, move || ending.clone().end());
        unfinished
    }

    /// Finishes the call if it is not answered: when the guard is dropped.
    pub(super) fn unless_answered(&self, call: Call) -> UnlessAnswered {
        UnlessAnswered { unfinished: self.clone(), call: Some(call) }
    }

    /// Finishes a call; if there are too many, its own deadline has to do.
    pub(super) fn finish(&self, call: Call) {
        let places = match call {
            Call::Payment { .. } => &self.inner.payments,
            Call::Hold { .. } | Call::Begin { .. } => &self.inner.undos,
        };
        let place = places.clone().try_acquire_owned();
        self.inner.observer.unknown_outcome(place.is_ok());
        match place {
            Ok(place) => {
                let unfinished = self.clone();
                self.inner.runtime.spawn(async move { unfinished.run(call, place).await });
            }
            Err(_) => {
                warn_repeated!(?call, "too many unfinished calls; this one is left to its deadline")
            }
        }
        self.tell_length();
    }

    /// Calls that are not finished.
    fn length(&self) -> usize {
        let free = |places: &Semaphore| places.available_permits();
        2 * self.inner.capacity - free(&self.inner.undos) - free(&self.inner.payments)
    }

    fn tell_length(&self) {
        self.inner.observer.unfinished(self.length());
    }

    async fn run(&self, call: Call, place: OwnedSemaphorePermit) {
        let began = Instant::now();
        let mut pause = PAUSE_MIN;
        let pause_max = match call {
            Call::Payment { .. } => PAYMENT_PAUSE_MAX,
            Call::Hold { .. } | Call::Begin { .. } => PAUSE_MAX,
        };
        let shutdown = &self.inner.shutdown;
        while began.elapsed() < TRIED_FOR_MAX {
            // The panic hook has logged and counted a panic: a try that failed, like others.
            let tried = AssertUnwindSafe(self.try_once(&call)).catch_unwind();
            if tried.await.unwrap_or(false) {
                break;
            }
            let stopping = shutdown.is_requested();
            // At shutdown it does not wait longer than the shortest pause.
            tokio::select! {
                () = tokio::time::sleep(if stopping { PAUSE_MIN } else { pause }) => {}
                () = shutdown.requested(), if !stopping => {}
            }
            pause = (pause * 2).min(pause_max);
        }
        drop(place);
        self.tell_length();
    }

    async fn end(self) {
        self.inner.shutdown.requested().await;
        let all = self.inner.capacity as u32;
        let finished = async {
            // Their closing is no news here: nobody closes them.
            let _ = self.inner.payments.acquire_many(all).await;
            let _ = self.inner.undos.acquire_many(all).await;
        };
        if tokio::time::timeout(END_WAIT_MAX, finished).await.is_err() {
            warn!(calls = self.length(), "ended with unfinished calls; deadlines end them");
        }
    }

    /// One try; whether another could not change anything.
    async fn try_once(&self, call: &Call) -> bool {
        let _turn = self.inner.tries.acquire().await;
        let ended = match call {
            Call::Payment { booking } => match self.inner.payment_service.reconcile(*booking).await
            {
                Ok(reconciled) => reconciled.is_final().then(|| reconciled.as_str()),
                Err(_) => None,
            },
            Call::Hold { event, .. } => self.undo(call, *event).await,
            Call::Begin { booking, .. } => self.undo(call, booking.event()).await,
        };
        if let Some(code) = ended {
            info!(?call, code, "an unfinished call is finished");
        }
        ended.is_some()
    }

    /// The script's reply code, if that is final.
    async fn undo(&self, call: &Call, event: EventId) -> Option<&'static str> {
        let known = self.inner.catalogue.get(event).await.ok().flatten()?;
        let mut undone = self.undo_once(call, known.generation).await.ok()?;
        if let Undone::OtherGeneration(newer) = undone {
            // What was lost with the older generation needs no undoing; what was restored does.
            undone = self.undo_once(call, newer).await.ok()?;
        }
        match undone {
            Undone::Final(code) => Some(code),
            Undone::OtherGeneration(_) | Undone::NotYet => None,
        }
    }

    async fn undo_once(&self, call: &Call, generation: u64) -> Result<Undone, RedisError> {
        let engine = &self.inner.engine;
        Ok(match call {
            Call::Hold { event, idempotency, nonce, not_before } => {
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
            Call::Begin { booking, nonce, not_before } => {
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
            Call::Payment { .. } => Undone::NotYet,
        })
    }
}

/// What one call of a script that undoes something came to.
enum Undone {
    /// Another call could not change anything; the reply's code.
    Final(&'static str),
    /// Redis has this generation of the event.
    OtherGeneration(u64),
    /// It has to be tried again later.
    NotYet,
}
