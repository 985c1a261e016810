//! Holding seats: pre-check a request, run `hold.lua`, and translate its reply.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::catalogue::Catalogue;
use super::compensation::Compensation;
use super::error::AdmissionFault;
use super::selection::CheckedSelection;
use super::{BookingView, HoldRequest, Sale, SaleError, SeatRequest, unix_now_ms};
use crate::domain::activity::Refusal;
use crate::domain::booking::format_seats;
use crate::domain::idempotency::{Scope, derived_digest, explicit_digest};
use crate::domain::{BookingId, Event, EventId};
use crate::redis::{HoldCall, HoldReply, RedisError, ScriptReply, Timed, new_nonce};

/// Most calls of one request that decided nothing: the event had to be refreshed, or the booking id was
/// taken.
const TRIES_MAX: u32 = 3;
/// Most calls of one request that search for seats: twenty scan a million, the others release overdue
/// holds on the way.
const SCANS_MAX: u32 = 40;

/// The result of a check without I/O.
pub enum Precheck {
    /// The request may be granted.
    HoldPlan(HoldPlan),
    /// The event is not in this process' cache: [`Sale::plan_hold`] reads it.
    EventNotCached(HoldRequest),
}

/// A hold that passed the pre-check.
pub struct HoldPlan {
    pub(super) request: HoldRequest,
    pub(super) event: Arc<Event>,
    pub(super) selection: CheckedSelection,
}

impl HoldPlan {
    /// Its event.
    pub fn event(&self) -> EventId {
        self.event.id
    }

    /// Describes the selected seats, for the record of admin acts.
    pub fn selection_text(&self) -> String {
        match &self.request.seats {
            SeatRequest::Named(seats) => format!("seats {}", format_seats(seats)),
            SeatRequest::Quantity(quantity) => match &quantity.section {
                Some(section) => format!("{} seats of {section:?}", quantity.seats),
                None => format!("{} seats", quantity.seats),
            },
        }
    }

    /// Sets the trace context.
    pub fn with_trace(mut self, trace: String) -> Self {
        self.request.trace = trace;
        self
    }
}

impl Sale {
    /// Checks a request against its event's layout and against the live view, without I/O.
    ///
    /// # Errors
    /// If it cannot be granted.
    pub fn precheck(&self, request: HoldRequest) -> Result<Precheck, SaleError> {
        let check = |event: &Arc<Event>| self.check(event, &request);
        match self.inner.catalogue.with(request.event, check).transpose()? {
            Some((event, selection)) => {
                Ok(Precheck::HoldPlan(HoldPlan { request, event, selection }))
            }
            None => Ok(Precheck::EventNotCached(request)),
        }
    }

    /// Checks a request like [`Sale::precheck`], and reads its event if this process has not cached it.
    ///
    /// # Errors
    /// If it cannot be granted.
    pub async fn plan_hold(&self, request: HoldRequest) -> Result<HoldPlan, SaleError> {
        match self.precheck(request)? {
            Precheck::HoldPlan(plan) => Ok(plan),
            Precheck::EventNotCached(request) => {
                let event = self.known_event(request.event).await?;
                let (event, selection) = self.check(&event, &request)?;
                Ok(HoldPlan { request, event, selection })
            }
        }
    }

    /// Clones the event only if the request passes: a refusal does not touch the reference count that
    /// all threads share.
    fn check(
        &self,
        event: &Arc<Event>,
        request: &HoldRequest,
    ) -> Result<(Arc<Event>, CheckedSelection), SaleError> {
        let now = Instant::now();
        self.inner.waiting_room.note_attempt(event.id, now);
        let selection = CheckedSelection::new(event, &request.seats, request.seats_max())?;
        match self.inner.refuse_from_view(event, request, &selection, now) {
            None => Ok((event.clone(), selection)),
            Some(refusal) => Err(refusal),
        }
    }

    /// Holds all the seats of a plan, or none. A repeated request returns its booking while that
    /// lives.
    ///
    /// # Errors
    /// If the seats are not held, or it is unknown whether they are.
    pub async fn hold(&self, plan: HoldPlan) -> Result<BookingView, SaleError> {
        let HoldPlan { request, event, selection } = plan;
        let (id, grant) = (event.id, self.inner.recent_grants.guard(event.id, &request.user));
        // Boxed: the future is large, and so are those that await it.
        let result = Box::pin(self.hold_in_redis(&request, event, selection)).await;
        if !matches!(result, Ok(_) | Err(SaleError::Unavailable { unknown: true, .. })) {
            grant.refused();
        }
        // An outage refuses nobody.
        if let Err(error) = &result
            && !matches!(error, SaleError::Unavailable { .. } | SaleError::Internal(_))
        {
            self.inner.live.note_refusal(Some(id), refusal_of(error));
        }
        result
    }

    /// Runs `hold.lua` until it has decided.
    async fn hold_in_redis(
        &self,
        request: &HoldRequest,
        mut event: Arc<Event>,
        mut selection: CheckedSelection,
    ) -> Result<BookingView, SaleError> {
        let scope = Scope::Hold(event.id);
        let fingerprint = selection.fingerprint(event.id);
        let (idempotency, replay_window_ms) = match &request.key {
            Some(key) => (explicit_digest(&request.user, scope, key), 0),
            None => {
                let digest = derived_digest(&request.user, scope, &fingerprint);
                (digest, selection.derived_replay_window_ms())
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
                selection: selection.as_argument(),
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
                    selection.resume_at(position);
                    scans += 1;
                }
                HoldReply::GenerationMismatch { .. } | HoldReply::LayoutMismatch => {
                    event = self.newer_event(&event).await?;
                    selection = CheckedSelection::new(&event, &request.seats, request.seats_max())?;
                    tries += 1;
                }
                // The call waited too long for Redis and changed nothing.
                HoldReply::TooLate if began.elapsed() > patience => break,
                // Another booking has this id, or Redis' clock was set.
                HoldReply::IdTaken | HoldReply::TooLate => tries += 1,
                HoldReply::EventNotLoaded => {
                    return Err(match self.inner.events.not_loaded(event.id).await {
                        // Only closed events are unloaded.
                        SaleError::EventUnloaded(id) => SaleError::EventClosed(id),
                        other => other,
                    });
                }
                decision => return decide(decision, now_ms, event, &selection),
            }
        }
        Err(SaleError::Unavailable {
            dependency: "redis",
            reason: format!("undecided after {tries} tries and {scans} scans"),
            unknown: false,
        })
    }

    /// Runs `hold.lua` once. If the reply is lost, or the client disconnects before it arrives (this
    /// future is dropped then), the hold is undone unless a retry finds it.
    async fn hold_once(&self, call: &HoldCall<'_>) -> Result<Timed<HoldReply>, SaleError> {
        let engine = &self.inner.engine;
        let partition = engine.keys().partition_of(call.event);
        let not_after = match engine.not_after(partition).await {
            Ok(not_after) => not_after,
            // Only a read of Redis' clock was sent.
            Err(error) => return Err(RedisError::NotRun(error.to_string()).into()),
        };
        let compensation = self.inner.compensations.compensate_on_drop(Compensation::Hold {
            event: call.event,
            idempotency: call.idempotency.to_owned(),
            nonce: call.nonce.to_owned(),
            not_before: not_after,
        });
        let reply = engine.hold(call, not_after).await;
        if matches!(reply, Ok(_) | Err(RedisError::NotRun(_))) {
            compensation.disarm();
        }
        Ok(reply?)
    }

    /// Returns the event from MongoDB, if it is newer than the one that Redis refused.
    pub(super) async fn newer_event(&self, event: &Arc<Event>) -> Result<Arc<Event>, SaleError> {
        newer_event(&self.inner.catalogue, event, &|newer| self.report_behind(newer)).await
    }
}

/// The event as MongoDB has it, where Redis names another generation.
///
/// # Errors
/// If MongoDB has the same one: then Redis has lost data and must be restored, which is reported.
pub(super) async fn newer_event(
    catalogue: &Catalogue,
    event: &Arc<Event>,
    report_behind: &(dyn Fn(&Event) + Send + Sync),
) -> Result<Arc<Event>, SaleError> {
    let newer = catalogue.refresh(event.id).await?;
    let newer = newer.ok_or(SaleError::EventUnknown(event.id))?;
    if newer.generation == event.generation && newer.layout_version == event.layout_version {
        report_behind(&newer);
        return Err(SaleError::EventNotLoaded(event.id));
    }
    Ok(newer)
}

/// The kind of a refusal by Redis, as it is counted for operators.
fn refusal_of(error: &SaleError) -> Refusal {
    match error {
        SaleError::SeatsUnavailable(_) => Refusal::RedisSeats,
        SaleError::TooFewSeats(_) => Refusal::RedisTooFew,
        SaleError::EventClosed(_) => Refusal::RedisClosed,
        SaleError::EventPaused(_) => Refusal::RedisPaused,
        SaleError::NotOnSale { .. } => Refusal::RedisNotOnSale,
        SaleError::UserLimit { .. } => Refusal::RedisUserLimit,
        SaleError::OrphanSeats(_) => Refusal::RedisOrphans,
        SaleError::SessionRequired(_) => Refusal::RoomRequired,
        SaleError::AdmissionInvalid(_) => Refusal::RoomToken,
        _ => Refusal::RedisOther,
    }
}

/// Converts the script's decision to a booking or a refusal.
fn decide(
    reply: HoldReply,
    now_ms: i64,
    event: Arc<Event>,
    selection: &CheckedSelection,
) -> Result<BookingView, SaleError> {
    let id = event.id;
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
        HoldReply::UserLimit { has, max } => SaleError::UserLimit { has, max },
        HoldReply::SeatsUnavailable { states } => SaleError::SeatsUnavailable(states),
        HoldReply::TooFewSeats => selection.too_few(),
        HoldReply::OrphanSeats { seats } => SaleError::OrphanSeats(seats),
        HoldReply::LogFull => SaleError::LogFull,
        undecided @ (HoldReply::MoreToScan { .. }
        | HoldReply::LayoutMismatch
        | HoldReply::IdTaken
        | HoldReply::TooLate
        | HoldReply::EventNotLoaded
        | HoldReply::GenerationMismatch { .. }) => {
            SaleError::Internal(format!("{} decides nothing", undecided.code()))
        }
    })
}
