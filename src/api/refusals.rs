//! Refusals of the sale in the API's words: the one place where they meet.

use std::fmt;

use crate::domain::event::{CancelPolicy, Cancellation};
use crate::domain::time::iso8601;
use crate::domain::{BookingId, Quantity, SeatId, SeatState};
use crate::sale::SaleError;
use crate::sale::error::AdmissionFault;

use crate::http::params::event_unknown;
use crate::http::problem::{Code, Problem, TRY_AGAIN};

/// Bytes reserved for what names up to ten seats.
const DETAIL_BYTES_EXPECTED: usize = 96;
/// When to try again after a dependency failed, seconds.
const RETRY_UNAVAILABLE_SECONDS: u32 = 1;
/// When to try again while an event is being loaded, seconds.
const RETRY_LOADING_SECONDS: u32 = 2;
/// When to try again while the archive is behind, seconds.
const RETRY_LOG_FULL_SECONDS: u32 = 5;
/// When to try again while another operation is under way, seconds.
const RETRY_IN_FLIGHT_SECONDS: u32 = 1;
/// Longest wait that we name before a sale begins, seconds.
const RETRY_NOT_ON_SALE_SECONDS_MAX: i64 = 3_600;

impl From<SaleError> for Problem {
    fn from(error: SaleError) -> Self {
        use SaleError as E;
        match error {
            E::Invalid(reason) => Problem::new(Code::ValidationFailed, reason),
            E::EventUnknown(event) => event_unknown(event.0),
            E::SeatsUnknown { event, seats } => Problem::new(
                Code::SeatsUnknown,
                format!(
                    "{} not in event {event}; GET /api/v1/events/{event}/seats lists what is",
                    Subject(seats.iter().copied())
                ),
            )
            .with("seats", seats.iter().map(|seat| seat.0).collect()),
            E::BookingUnknown(booking) => {
                let detail =
                    format!("You have no booking {booking}; GET /api/v1/bookings lists yours");
                Problem::new(Code::BookingUnknown, detail)
            }
            E::EventNotLoaded(event) => Problem::new(
                Code::EventNotLoaded,
                format!("Event {event} is being loaded; try again in a moment"),
            )
            .retry_after(RETRY_LOADING_SECONDS),
            E::EventUnloaded(event) => Problem::new(
                Code::EventUnloaded,
                format!(
                    "Event {event} is over and its seats are no longer shown; its bookings are. An \
                     operator can bring it back: holdfastctl event load {event}"
                ),
            ),
            E::EventState { event, reason } => {
                Problem::new(Code::EventState, format!("Not now for event {event}: {reason}"))
            }
            E::EventClosed(event) => {
                Problem::new(Code::EventClosed, format!("The sale of event {event} has ended"))
            }
            E::EventPaused(event) => {
                Problem::new(Code::EventPaused, format!("The sale of event {event} is paused"))
            }
            E::NotOnSale { event, on_sale_at_ms, now_ms } => {
                let at = iso8601(on_sale_at_ms);
                // Rounded up, so that whoever obeys does not come early.
                let wait = (on_sale_at_ms - now_ms + 999) / 1_000;
                Problem::new(Code::NotOnSale, format!("Event {event} goes on sale at {at}"))
                    .with("on_sale_at", at.into())
                    .retry_after(wait.clamp(1, RETRY_NOT_ON_SALE_SECONDS_MAX) as u32)
            }
            E::SessionRequired(event) => Problem::new(
                Code::WaitingRoomRequired,
                format!(
                    "Event {event} has a waiting room: POST /api/v1/events/{event}/waiting-room/join, \
                     wait to be admitted, and send the token as X-Waiting-Room-Token"
                ),
            ),
            E::AdmissionInvalid(fault) => admission_invalid(fault),
            E::RoomOff(event) => Problem::new(
                Code::WaitingRoomOff,
                format!("Event {event} has no waiting room now; book without one"),
            ),
            E::RoomRejects(event) => Problem::new(
                Code::WaitingRoomClosed,
                format!("The waiting room of event {event} lets nobody in at the moment"),
            ),
            E::SoldOut(event) => {
                Problem::new(Code::SoldOut, format!("Every seat of event {event} is sold"))
            }
            E::UserLimit { has, max } => Problem::new(
                Code::UserLimit,
                format!("One user may have {max} seats of this event; you have {has}"),
            )
            .with("seats_held", has.into())
            .with("max_seats_per_user", max.into()),
            E::SeatsUnavailable(states) => seats_unavailable(states),
            E::TooFewSeats(wanted) => too_few_seats(&wanted),
            E::OrphanSeats(seats) => Problem::new(
                Code::OrphanSeats,
                format!("{} left alone by this choice; choose others", would_be(&seats)),
            )
            .with("seats", seats.iter().map(|seat| seat.0).collect()),
            E::SectionUnknown { event, section } => {
                let detail = format!(
                    "is no section of event {event}: {section:?}; GET /api/v1/events/{event} \
                     lists its sections"
                );
                Problem::field("section", detail).recoded(Code::SectionUnknown)
            }
            E::IdempotencyMismatch => Problem::new(
                Code::IdempotencyKeyReused,
                "This idempotency key was sent with another request; send a new key",
            ),
            E::InFlight => Problem::new(Code::InFlight, "Operation in progress, please wait")
                .retry_after(RETRY_IN_FLIGHT_SECONDS),
            E::LogFull => Problem::new(
                Code::BookingLogFull,
                "No new bookings and no extensions for a moment: the archive is catching up",
            )
            .retry_after(RETRY_LOG_FULL_SECONDS),
            E::Unavailable { dependency, reason, unknown } => {
                unavailable(dependency, &reason, unknown)
            }
            E::Internal(cause) => Problem::internal(cause),
            error => of_booking(error),
        }
    }
}

/// Refusals that lie in the state of the booking itself.
fn of_booking(error: SaleError) -> Problem {
    use SaleError as E;
    match error {
        E::BookingExpired(booking) => Problem::new(
            Code::BookingExpired,
            format!("Booking {booking} has expired; make a new one"),
        ),
        E::BookingCancelled(booking) => {
            Problem::new(Code::BookingCancelled, format!("Booking {booking} is cancelled"))
        }
        E::BookingConfirming(booking) => Problem::new(
            Code::BookingConfirming,
            format!("Booking {booking} is being confirmed; wait for the outcome"),
        )
        .retry_after(RETRY_IN_FLIGHT_SECONDS),
        E::BookingConfirmed(booking) => {
            Problem::new(Code::BookingConfirmed, format!("Booking {booking} is confirmed already"))
        }
        E::CancellationClosed { booking, policy } => cancellation_closed(booking, policy),
        E::SaleVoided(booking) => Problem::new(
            Code::SaleVoided,
            format!("The sale of booking {booking} could not be kept; the money goes back"),
        ),
        E::PaymentDeclined(reason) => Problem::new(
            Code::PaymentDeclined,
            format!("The payment was declined: {reason}; the seats are still held"),
        ),
        E::PaymentImpossible(reason) => Problem::new(
            Code::PaymentNotPossible,
            format!(
                "The payment provider does not take this payment, whatever it is paid with: \
                 {reason}; the seats are still held"
            ),
        ),
        E::AmountMismatch { expected, got } => Problem::field(
            "amount",
            format_args!(
                "must be {expected} (the currency's minor unit), the booking's; got {got}"
            ),
        )
        .recoded(Code::AmountMismatch)
        .with("total_amount", expected.into()),
        E::AttemptsExhausted(booking) => Problem::new(
            Code::AttemptsExhausted,
            format!("Booking {booking} has used up its payment attempts"),
        ),
        E::HoldCapReached(until_ms) => {
            let until = iso8601(until_ms);
            Problem::new(Code::HoldCapReached, format!("The hold ends at {until} at the latest"))
                .with("hold_expires_at", until.into())
        }
        other => Problem::internal(format!("no words for {other:?}")),
    }
}

/// Which fault it is stands in `reason`.
fn admission_invalid(fault: AdmissionFault) -> Problem {
    use AdmissionFault as F;
    let detail = match fault {
        F::Altered => "This is no admission token of ours; send the one that joining gave",
        F::Expired => "This admission token has expired; join again",
        F::OtherDeployment => "This admission token is another deployment's; join here",
        F::OtherEvent => "This admission token is for another event; join this one",
        F::OtherUser => "This admission token is another user's; join yourself",
        F::GivenUp => "You left the waiting room with this token; join again",
        F::Lapsed => "Your turn came and passed; join again",
        F::SessionEnded => "The session of this admission token is over; join again",
        F::Superseded => "You have a newer admission token; send that one",
    };
    Problem::new(Code::WaitingRoomTokenInvalid, detail).with("reason", fault.as_str().into())
}

fn unavailable(dependency: &str, reason: &str, unknown: bool) -> Problem {
    let problem = if unknown {
        Problem::new(
            Code::OutcomeUnknown,
            // What becomes of it depends on the operation: `unknown_outcomes` says it.
            "No answer in time: it may or may not have happened. Send the same request (with the \
             same idempotency key) again",
        )
    } else {
        Problem::new(Code::ServiceUnavailable, TRY_AGAIN)
    };
    problem.retry_after(RETRY_UNAVAILABLE_SECONDS).caused_by(format!("{dependency}: {reason}"))
}

fn cancellation_closed(booking: BookingId, policy: CancelPolicy) -> Problem {
    let event = booking.event();
    let (detail, until) = match (policy.rule, policy.until_ms.map(iso8601)) {
        (Cancellation::Allowed, Some(until)) => (
            format!(
                "Booking {booking} is confirmed; confirmed bookings of event {event} could be \
                 cancelled until {until}"
            ),
            Some(until),
        ),
        _ => (
            format!(
                "Booking {booking} is confirmed; confirmed bookings of event {event} cannot be \
                 cancelled"
            ),
            None,
        ),
    };
    Problem::new(Code::CancellationClosed, detail).with("cancel_until", until.into())
}

fn seats_unavailable(states: Vec<(SeatId, SeatState)>) -> Problem {
    let taken = states.iter().filter(|(_, state)| *state != SeatState::Available);
    let detail = not_available(taken.map(|(seat, _)| *seat));
    Problem::new(Code::SeatsUnavailable, detail).with_seats("seats", states)
}

/// `Seats 1, 2 are not available`, as [`Subject`] begins: told by the hundred thousand, so
/// written without the formatter.
fn not_available(mut taken: impl Iterator<Item = SeatId>) -> String {
    let mut detail = String::with_capacity(DETAIL_BYTES_EXPECTED);
    let (first, second) = (taken.next(), taken.next());
    detail.push_str(if second.is_some() { "Seats " } else { "Seat " });
    let mut digits = itoa::Buffer::new();
    for (n, seat) in first.into_iter().chain(second).chain(taken).enumerate() {
        detail.push_str(if n > 0 { ", " } else { "" });
        detail.push_str(digits.format(seat.0));
    }
    detail.push_str(if second.is_some() { " are" } else { " is" });
    detail.push_str(" not available");
    detail
}

fn too_few_seats(wanted: &Quantity) -> Problem {
    let place = match &wanted.section {
        Some(section) => format!("in section {section}"),
        None => "in one section".to_owned(),
    };
    let price = match wanted.max_price {
        Some(max) => format!(" for at most {max} each"),
        None => String::new(),
    };
    let detail = match (wanted.seats, wanted.together) {
        (1, _) => format!("No seat is free {place}{price}"),
        (seats, false) => format!("There are no {seats} free seats {place}{price}"),
        (seats, true) => format!(
            "There are no {seats} free seats side by side {place}{price}; with `together` false \
             they may lie apart"
        ),
    };
    Problem::new(Code::SeatsUnavailable, detail)
}

fn would_be(seats: &[SeatId]) -> String {
    match seats {
        [seat] => format!("Seat {seat} would be"),
        seats => format!("Seats {} would be", Listed(seats.iter().copied())),
    }
}

/// `1, 2, 3`.
struct Listed<I>(I);

impl<I: Iterator<Item = SeatId> + Clone> fmt::Display for Listed<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, seat) in self.0.clone().enumerate() {
            f.write_str(if index > 0 { ", " } else { "" })?;
            seat.fmt(f)?;
        }
        Ok(())
    }
}

/// `Seat 1 is` or `Seats 1, 2 are`: how a sentence about seats begins.
struct Subject<I>(I);

impl<I: Iterator<Item = SeatId> + Clone> fmt::Display for Subject<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.clone().nth(1) {
            None => write!(f, "Seat {} is", Listed(self.0.clone())),
            Some(_) => write!(f, "Seats {} are", Listed(self.0.clone())),
        }
    }
}

#[cfg(test)]
#[path = "refusals_tests.rs"]
mod tests;
