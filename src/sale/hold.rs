//! `hold`, the hot path: from a request for seats to the script's decision, top to bottom.

use std::sync::Arc;

use super::unfinished::Call;
use super::{BookingView, HoldRequest, Sale, SaleError, unix_now_ms};
use crate::domain::idempotency::{Scope, derived_digest, explicit_digest, seats_fingerprint};
use crate::domain::limits::SEATS_PER_BOOKING_MAX;
use crate::domain::{BookingId, Event, SeatId};
use crate::redis::{Answer, Body, Code, HoldCall, RedisError, new_nonce};

/// Calls of one request: the first, and again after a refreshed event or a taken booking id.
const TRIES_MAX: u32 = 3;

impl Sale {
    /// Holds the named seats, all or none. The same request again is answered with its booking
    /// while that lives.
    pub async fn hold(&self, request: HoldRequest) -> Result<BookingView, SaleError> {
        let mut event = self.known_event(request.event).await?;
        let seats = checked_seats(&event, &request.seats)?;
        let amount = event
            .layout
            .amount(&seats)
            .ok_or_else(|| SaleError::Internal("a checked seat has no price".into()))?;
        let scope = Scope::Hold(event.id);
        let fingerprint = seats_fingerprint(event.id, &seats);
        let idempotency = match &request.key {
            Some(key) => explicit_digest(&request.user, scope, key),
            None => derived_digest(&request.user, scope, &fingerprint),
        };
        let settings = &self.inner.settings;
        for _ in 0..TRIES_MAX {
            let nonce = new_nonce();
            let call = HoldCall {
                event: &event,
                booking: BookingId::new(event.id, unix_now_ms() as u64, rand::random()),
                user: &request.user,
                nonce: &nonce,
                seats: &seats,
                amount,
                idempotency: &idempotency,
                fingerprint: &fingerprint,
                trace: &request.trace,
                idempotency_ttl_ms: settings.idempotency_ttl_ms,
                replay_window_ms: 0,
                log_entries_max: settings.log_entries_max,
            };
            let answer = self.hold_once(&call).await?;
            match answer.code {
                Code::GenerationMismatch | Code::LayoutMismatch => {
                    event = self.newer_event(&event).await?;
                }
                // Another booking has this id, or Redis' clock was set: once more.
                Code::IdTaken | Code::TooLate => {}
                _ => return decided(answer, &event),
            }
        }
        Err(SaleError::Unavailable {
            dependency: "redis",
            reason: "no call of this request came in time".into(),
            unknown: false,
        })
    }

    /// One call. If its reply is lost, or its caller hangs up before it comes (this future is
    /// dropped then), the hold is undone unless a retry finds it.
    async fn hold_once(&self, call: &HoldCall<'_>) -> Result<Answer, SaleError> {
        let engine = &self.inner.engine;
        let partition = engine.keys().partition_of(call.event.id);
        let not_after = match engine.not_after(partition).await {
            Ok(not_after) => not_after,
            // Nothing was sent but a question for the time.
            Err(error) => return Err(RedisError::NotRun(error.to_string()).into()),
        };
        let lost = self.inner.unfinished.unless_answered(Call::Hold {
            event: call.event.id,
            idempotency: call.idempotency.to_owned(),
            nonce: call.nonce.to_owned(),
            not_before: not_after,
        });
        let answer = engine.hold(call, not_after).await;
        if matches!(answer, Ok(_) | Err(RedisError::NotRun(_))) {
            lost.answered();
        }
        Ok(answer?)
    }

    /// The event as MongoDB has it, if that is newer than what Redis just refused.
    pub(super) async fn newer_event(&self, event: &Arc<Event>) -> Result<Arc<Event>, SaleError> {
        let newer = self.inner.catalogue.refresh(event.id).await?;
        let newer = newer.ok_or(SaleError::EventUnknown(event.id))?;
        if newer.generation == event.generation && newer.layout_version == event.layout_version {
            // Redis is behind MongoDB, not we: it lost data and has to be restored.
            return Err(SaleError::EventNotLoaded(event.id));
        }
        Ok(newer)
    }
}

/// The seats in ascending order, if they can be one booking.
fn checked_seats(event: &Event, seats: &[SeatId]) -> Result<Vec<SeatId>, SaleError> {
    if seats.is_empty() || seats.len() > SEATS_PER_BOOKING_MAX {
        let text =
            format!("`seat_ids` must name 1 to {SEATS_PER_BOOKING_MAX} seats, not {}", seats.len());
        return Err(SaleError::Invalid(text));
    }
    let mut sorted = seats.to_vec();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(SaleError::Invalid(format!("`seat_ids` names seat {} twice", pair[0])));
    }
    let unknown: Vec<SeatId> =
        sorted.iter().copied().filter(|seat| event.layout.seat(*seat).is_none()).collect();
    if !unknown.is_empty() {
        return Err(SaleError::SeatsUnknown { event: event.id, seats: unknown });
    }
    Ok(sorted)
}

/// The script's decision in the sale's words.
fn decided(answer: Answer, event: &Arc<Event>) -> Result<BookingView, SaleError> {
    let (code, now_ms) = (answer.code, answer.now_ms);
    match code {
        Code::Ok | Code::Replayed => {
            let booking = answer.into_booking()?;
            let replayed = code == Code::Replayed;
            Ok(BookingView { booking, event: event.clone(), replayed, now_ms })
        }
        Code::IdempotencyMismatch => Err(SaleError::IdempotencyMismatch),
        Code::EventNotLoaded => Err(SaleError::EventNotLoaded(event.id)),
        Code::EventClosed => Err(SaleError::EventClosed(event.id)),
        Code::EventPaused => Err(SaleError::EventPaused(event.id)),
        Code::NotOnSale => {
            Err(SaleError::NotOnSale { event: event.id, on_sale_at_ms: answer.number(0), now_ms })
        }
        Code::SeatUnknown => Err(SaleError::SeatsUnknown {
            event: event.id,
            seats: vec![SeatId(answer.number(0) as u32)],
        }),
        Code::LogFull => Err(SaleError::LogFull),
        Code::UserLimit => {
            Err(SaleError::UserLimit { has: answer.number(0) as u32, max: answer.number(1) as u32 })
        }
        Code::SeatsUnavailable => match answer.body {
            Body::SeatStates(states) => Err(SaleError::SeatsUnavailable(states)),
            other => Err(SaleError::Internal(format!("refused without states: {other:?}"))),
        },
        other => Err(SaleError::Internal(format!("hold answered {}", other.word()))),
    }
}
