//! `hold`, the hot path: from a request for seats to the script's decision, top to bottom.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::choice::Choice;
use super::compensation::Compensation;
use super::error::AdmissionFault;
use super::precheck::LocalCheck;
use super::{BookingView, HoldRequest, Sale, SaleError, SeatRequest, unix_now_ms};
use crate::domain::booking::format_seats;
use crate::domain::idempotency::{Scope, derived_digest, explicit_digest};
use crate::domain::{BookingId, Event, EventId};
use crate::redis::{HoldCall, HoldReply, RedisError, ScriptReply, Timed, new_nonce};

/// Calls of one request that decided nothing: the event was refreshed, or a booking id was taken.
const TRIES_MAX: u32 = 3;
/// Calls of one request in search of seats: twenty scan a million, the others are for overdue
/// holds released on the way.
const SCANS_MAX: u32 = 40;

/// What is known of a request at once.
pub enum Precheck {
    /// It may be granted.
    HoldPlan(HoldPlan),
    /// Its event is not in memory: [`Sale::plan_hold`] asks for it.
    Unknown(HoldRequest),
}

/// A request to hold seats, checked against its event and not hopeless.
pub struct HoldPlan {
    pub(super) request: HoldRequest,
    pub(super) event: Arc<Event>,
    pub(super) choice: Choice,
}

impl HoldPlan {
    /// For which event it is.
    pub fn event(&self) -> EventId {
        self.event.id
    }

    /// Which seats it is for, for the record of admin acts.
    pub fn wanted_text(&self) -> String {
        match &self.request.seats {
            SeatRequest::Named(seats) => format!("seats {}", format_seats(seats)),
            SeatRequest::Quantity(quantity) => match &quantity.section {
                Some(section) => format!("{} seats of {section:?}", quantity.seats),
                None => format!("{} seats", quantity.seats),
            },
        }
    }

    /// Names the trace under which it is done.
    pub fn traced(mut self, trace: String) -> Self {
        self.request.trace = trace;
        self
    }
}

impl Sale {
    /// Checks a request, and refuses it if it is hopeless by what this process knows ([`refusal`]).
    /// Asks nobody, once the event is in memory.
    ///
    /// [`refusal`]: super::precheck
    ///
    /// # Errors
    /// If it cannot be granted.
    pub async fn plan_hold(&self, request: HoldRequest) -> Result<HoldPlan, SaleError> {
        match self.precheck(request)? {
            Precheck::HoldPlan(plan) => Ok(plan),
            Precheck::Unknown(request) => {
                let event = self.known_event(request.event).await?;
                let (event, choice) = self.judge(&event, &request)?;
                Ok(HoldPlan { request, event, choice })
            }
        }
    }

    /// The same, of an event that is in memory.
    ///
    /// # Errors
    /// If it cannot be granted.
    pub fn precheck(&self, request: HoldRequest) -> Result<Precheck, SaleError> {
        let judged = self.inner.catalogue.with(request.event, |event| self.judge(event, &request));
        match judged.transpose()? {
            Some((event, choice)) => Ok(Precheck::HoldPlan(HoldPlan { request, event, choice })),
            None => Ok(Precheck::Unknown(request)),
        }
    }

    /// Whether a request fits its event and is not hopeless. Who is refused becomes no owner of
    /// the event: threads would have to pass that count among them.
    fn judge(
        &self,
        event: &Arc<Event>,
        request: &HoldRequest,
    ) -> Result<(Arc<Event>, Choice), SaleError> {
        let (inner, now) = (&self.inner, Instant::now());
        inner.waiting_room.note_attempt(event.id, now);
        let choice = Choice::new(event, &request.seats, request.seats_max())?;
        let (live, recent, rooms) = (&inner.live, &inner.recent, &inner.waiting_room);
        let case = LocalCheck { live, recent, rooms, request, event, choice: &choice, now };
        match case.judge() {
            None => Ok((event.clone(), choice)),
            Some((why, refusal)) => {
                inner.observer.refused_here(why);
                Err(refusal)
            }
        }
    }

    /// Holds seats, all that are asked for or none. The same request again is answered with its
    /// booking while that lives.
    pub async fn hold(&self, plan: HoldPlan) -> Result<BookingView, SaleError> {
        let (event, user) = (plan.event.id, plan.request.user.clone());
        let may_have = self.inner.recent.unless_refused(event, &user);
        // Boxed: it is large, and those who wait for it are deep.
        let held = Box::pin(self.hold_in_redis(plan)).await;
        if !matches!(held, Ok(_) | Err(SaleError::Unavailable { unknown: true, .. })) {
            may_have.refused();
        }
        held
    }

    async fn hold_in_redis(&self, plan: HoldPlan) -> Result<BookingView, SaleError> {
        let HoldPlan { request, mut event, mut choice } = plan;
        let scope = Scope::Hold(event.id);
        let fingerprint = choice.fingerprint(event.id);
        let (idempotency, replay_window_ms) = match &request.key {
            Some(key) => (explicit_digest(&request.user, scope, key), 0),
            None => {
                let digest = derived_digest(&request.user, scope, &fingerprint);
                (digest, choice.derived_replay_window_ms())
            }
        };
        let settings = &self.inner.settings;
        let (mut tries, mut scans) = (0, 0);
        let began = Instant::now();
        let patience = Duration::from_millis(self.inner.engine.settings().timeout_ms / 2);
        while tries < TRIES_MAX && scans < SCANS_MAX {
            let nonce = new_nonce();
            let call = HoldCall {
                event: event.id,
                generation: event.generation,
                layout_version: event.layout_version,
                currency: &event.currency,
                booking: BookingId::new(event.id, unix_now_ms() as u64, rand::random()),
                user: &request.user,
                nonce: &nonce,
                selection: choice.selection(),
                idempotency: &idempotency,
                fingerprint: &fingerprint,
                trace: &request.trace,
                idempotency_ttl_ms: settings.idempotency_ttl_ms,
                replay_window_ms,
                log_entries_max: settings.log_entries_max,
                room_number: request.room_number,
                exempt: request.exempt,
            };
            let Timed { reply, now_ms } = self.hold_once(&call).await?;
            match reply {
                HoldReply::MoreToScan { position } => {
                    choice.go_on(position);
                    scans += 1;
                }
                HoldReply::GenerationMismatch { .. } | HoldReply::LayoutMismatch => {
                    event = self.newer_event(&event).await?;
                    choice = Choice::new(&event, &request.seats, request.seats_max())?;
                    tries += 1;
                }
                // It waited too long for Redis, and did nothing.
                HoldReply::TooLate if began.elapsed() > patience => break,
                // Another booking has this id, or Redis' clock was set: once more.
                HoldReply::IdTaken | HoldReply::TooLate => tries += 1,
                HoldReply::EventNotLoaded => {
                    return Err(match self.inner.events.not_loaded(event.id).await {
                        // It was closed, or it could not have been unloaded.
                        SaleError::EventUnloaded(id) => SaleError::EventClosed(id),
                        other => other,
                    });
                }
                reply => return decided(reply, now_ms, &event, &choice),
            }
        }
        Err(SaleError::Unavailable {
            dependency: "redis",
            reason: format!("undecided after {tries} tries and {scans} scans"),
            unknown: false,
        })
    }

    /// One call. If its reply is lost, or its caller hangs up before it comes (this future is
    /// dropped then), the hold is undone unless a retry finds it.
    async fn hold_once(&self, call: &HoldCall<'_>) -> Result<Timed<HoldReply>, SaleError> {
        let engine = &self.inner.engine;
        let partition = engine.keys().partition_of(call.event);
        let not_after = match engine.not_after(partition).await {
            Ok(not_after) => not_after,
            // Nothing was sent but a question for the time.
            Err(error) => return Err(RedisError::NotRun(error.to_string()).into()),
        };
        let lost = self.inner.compensations.compensate_on_drop(Compensation::Hold {
            event: call.event,
            idempotency: call.idempotency.to_owned(),
            nonce: call.nonce.to_owned(),
            not_before: not_after,
        });
        let answer = engine.hold(call, not_after).await;
        if matches!(answer, Ok(_) | Err(RedisError::NotRun(_))) {
            lost.disarm();
        }
        Ok(answer?)
    }

    /// The event as MongoDB has it, if that is newer than what Redis just refused.
    pub(super) async fn newer_event(&self, event: &Arc<Event>) -> Result<Arc<Event>, SaleError> {
        let newer = self.inner.catalogue.refresh(event.id).await?;
        let newer = newer.ok_or(SaleError::EventUnknown(event.id))?;
        if newer.generation == event.generation && newer.layout_version == event.layout_version {
            // Redis is behind MongoDB, not we: it lost data and has to be restored.
            self.report_behind(&newer);
            return Err(SaleError::EventNotLoaded(event.id));
        }
        Ok(newer)
    }
}

/// Maps the script's decision to a booking or a refusal.
fn decided(
    reply: HoldReply,
    now_ms: i64,
    event: &Arc<Event>,
    choice: &Choice,
) -> Result<BookingView, SaleError> {
    let (id, event) = (event.id, event.clone());
    Err(match reply {
        HoldReply::Held { booking, left_alone } => {
            let (replayed, archived) = (false, false);
            return Ok(BookingView { booking, event, replayed, left_alone, archived, now_ms });
        }
        HoldReply::Replayed { booking } => {
            let (replayed, left_alone, archived) = (true, Vec::new(), false);
            return Ok(BookingView { booking, event, replayed, left_alone, archived, now_ms });
        }
        HoldReply::IdempotencyMismatch => SaleError::IdempotencyMismatch,
        HoldReply::EventClosed => SaleError::EventClosed(id),
        HoldReply::EventPaused => SaleError::EventPaused(id),
        HoldReply::NotOnSale { on_sale_at_ms } => {
            SaleError::NotOnSale { event: id, on_sale_at_ms, now_ms }
        }
        HoldReply::SessionRequired => SaleError::SessionRequired(id),
        HoldReply::NumberSuperseded => SaleError::AdmissionInvalid(AdmissionFault::Superseded),
        HoldReply::SeatUnknown { seat } => SaleError::SeatsUnknown { event: id, seats: vec![seat] },
        HoldReply::LogFull => SaleError::LogFull,
        HoldReply::UserLimit { has, max } => SaleError::UserLimit { has, max },
        HoldReply::TooFewSeats => choice.too_few(),
        HoldReply::OrphanSeats { seats } => SaleError::OrphanSeats(seats),
        HoldReply::SeatsUnavailable { states } => SaleError::SeatsUnavailable(states),
        other @ (HoldReply::MoreToScan { .. }
        | HoldReply::LayoutMismatch
        | HoldReply::IdTaken
        | HoldReply::TooLate
        | HoldReply::EventNotLoaded
        | HoldReply::GenerationMismatch { .. }) => {
            SaleError::Internal(format!("{} decides nothing", other.code()))
        }
    })
}
