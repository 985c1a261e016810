//! Each refusal of the sale as a problem document.

use serde_json::json;

use super::*;
use crate::domain::{BookingId, EventId};

#[test]
fn every_refusal_has_code_and_detail() {
    let event = EventId(7);
    let booking = BookingId::new(event, 1, 2);
    let taken = |ids: &[u32]| ids.iter().map(|id| (SeatId(*id), SeatState::Hold)).collect();
    use SaleError as E;
    let cases: Vec<(E, Code, &str)> = vec![
        (E::Invalid("do so".into()), Code::ValidationFailed, "do so"),
        (E::EventUnknown(event), Code::EventUnknown, "There is no event 7"),
        (
            E::SeatsUnknown { event, seats: vec![SeatId(9)] },
            Code::SeatsUnknown,
            "Seat 9 is not in event 7",
        ),
        (E::BookingUnknown(booking), Code::BookingUnknown, "You have no booking 0000"),
        (E::EventNotLoaded(event), Code::EventNotLoaded, "Event 7 is being loaded"),
        (E::EventUnloaded(event), Code::EventUnloaded, "holdfastctl event load 7"),
        (
            E::EventState { event, reason: "load it first".into() },
            Code::EventState,
            "Not now for event 7: load it first",
        ),
        (E::EventClosed(event), Code::EventClosed, "has ended"),
        (E::EventPaused(event), Code::EventPaused, "is paused"),
        (
            E::NotOnSale { event, on_sale_at_ms: 1_500, now_ms: 0 },
            Code::NotOnSale,
            "Event 7 goes on sale at 1970-01-01T00:00:01.500Z",
        ),
        (E::SessionRequired(event), Code::WaitingRoomRequired, "events/7/waiting-room/join"),
        (E::AdmissionInvalid(AdmissionFault::GivenUp), Code::WaitingRoomTokenInvalid, "You left"),
        (E::TicketInvalid(TicketFault::Used), Code::TicketInvalid, "was used before"),
        (E::RoomOff(event), Code::WaitingRoomOff, "without one"),
        (E::RoomRejects(event), Code::WaitingRoomClosed, "lets nobody in"),
        (E::SoldOut(event), Code::SoldOut, "Every seat of event 7"),
        (E::UserLimit { has: 3, max: 4 }, Code::UserLimit, "may have 4 seats"),
        (
            E::SeatsUnavailable(taken(&[210, 211, 212])),
            Code::SeatsUnavailable,
            "Seats 210, 211, 212 are not available",
        ),
        (E::SeatsUnavailable(taken(&[210])), Code::SeatsUnavailable, "Seat 210 is not available"),
        (
            E::TooFewSeats(Quantity {
                seats: 3,
                section: Some("Stalls".into()),
                together: true,
                max_price: None,
            }),
            Code::SeatsUnavailable,
            "There are no 3 free seats side by side in section Stalls",
        ),
        (
            E::OrphanSeats(vec![SeatId(4)]),
            Code::OrphanSeats,
            "Seat 4 would be left alone by this choice",
        ),
        (
            E::SectionUnknown { event, section: "Balcony".into() },
            Code::SectionUnknown,
            "`section` is no section of event 7: \"Balcony\"",
        ),
        (E::IdempotencyMismatch, Code::IdempotencyKeyReused, "send a new key"),
        (E::InFlight, Code::InFlight, "Operation in progress, please wait"),
        (E::BookingExpired(booking), Code::BookingExpired, "has expired"),
        (E::BookingCancelled(booking), Code::BookingCancelled, "is cancelled"),
        (E::BookingConfirming(booking), Code::BookingConfirming, "is being confirmed"),
        (E::BookingConfirmed(booking), Code::BookingConfirmed, "is confirmed"),
        (E::SaleVoided(booking), Code::SaleVoided, "the money is refunded"),
        (
            E::PaymentImpossible("too small".into()),
            Code::PaymentNotPossible,
            "too small; the seats",
        ),
        (E::PaymentDeclined("no funds".into()), Code::PaymentDeclined, "declined: no funds"),
        (
            E::AmountMismatch { expected: 5, got: 6 },
            Code::AmountMismatch,
            "`amount` must be 5 (the currency's minor unit), the booking's; got 6",
        ),
        (E::AttemptsExhausted(booking), Code::AttemptsExhausted, "attempts"),
        (E::HoldCapReached(0), Code::HoldCapReached, "1970-01-01T00:00:00.000Z"),
        (E::LogFull, Code::BookingLogFull, "catching up"),
        (E::Internal("secret".into()), Code::Internal, "on our side"),
    ];
    for (error, code, detail) in cases {
        let shown = format!("{error:?}");
        let problem = Problem::from(error);
        assert_eq!(problem.code, code, "{shown}");
        assert!(problem.detail.contains(detail), "{shown}: {}", problem.detail);
        let retried = problem.code.status().as_u16() == 503;
        assert!(!retried || problem.retry_after_seconds.is_some(), "{shown}");
    }
}

#[test]
fn unavailable_seats_detail_names_taken_seats_and_member_lists_all() {
    let states = vec![(SeatId(1), SeatState::Available), (SeatId(2), SeatState::Booked)];
    let problem = Problem::from(SaleError::SeatsUnavailable(states));
    assert_eq!(problem.detail, "Seat 2 is not available");
    let body = futures_util::FutureExt::now_or_never(actix_web::body::to_bytes(
        problem.render(None).into_body(),
    ));
    let body: serde_json::Value = serde_json::from_slice(&body.unwrap().unwrap()).unwrap();
    let expected = json!([{"id": 1, "status": "AVAILABLE"}, {"id": 2, "status": "BOOKED"}]);
    assert_eq!(body["seats"], expected);
}

#[test]
fn unavailable_dependency_reason_is_only_logged() {
    for (unknown, code) in [(true, Code::OutcomeUnknown), (false, Code::ServiceUnavailable)] {
        let reason = "10.0.0.3 refused".to_owned();
        let problem =
            Problem::from(SaleError::Unavailable { dependency: "redis", reason, unknown });
        assert_eq!((problem.code, problem.retry_after_seconds), (code, Some(1)));
        assert!(!problem.detail.contains("10.0.0.3"));
        assert_eq!(problem.cause.as_deref(), Some("redis: 10.0.0.3 refused"));
    }
}
