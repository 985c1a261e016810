//! The table of the sale's refusals: the error code, detail and members of each [`SaleError`].

use crate::domain::event::{CancelPolicy, Cancellation};
use crate::domain::time::iso8601;
use crate::domain::{BookingId, EventId, Quantity, SeatId, SeatState};
use crate::sale::SaleError;
use crate::sale::error::{AdmissionFault, TicketFault};

use crate::http::params::event_unknown;
use crate::http::problem::{Code, Problem, TRY_AGAIN};

/// Bytes reserved for a sentence about seats; ten seats fit.
const DETAIL_BYTES_EXPECTED: usize = 96;
/// `Retry-After` when a dependency failed, seconds.
const RETRY_UNAVAILABLE_SECONDS: u32 = 1;
/// `Retry-After` while an event is being loaded, seconds.
const RETRY_LOADING_SECONDS: u32 = 2;
/// `Retry-After` while the archive is behind, seconds.
const RETRY_LOG_FULL_SECONDS: u32 = 5;
/// `Retry-After` while another operation is in progress, seconds.
const RETRY_IN_FLIGHT_SECONDS: u32 = 1;
/// Longest `Retry-After` before a sale begins, seconds.
const RETRY_NOT_ON_SALE_SECONDS_MAX: i64 = 3_600;

impl From<SaleError> for Problem {
    fn from(error: SaleError) -> Self {
        use SaleError as E;
        match error {
            E::Invalid(reason) => Problem::new(Code::ValidationFailed, reason),
            E::EventUnknown(event) => event_unknown(event.0),
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
                not_on_sale(event, on_sale_at_ms, now_ms)
            }
            E::SessionRequired(event) => Problem::new(
                Code::WaitingRoomRequired,
                format!(
                    "Event {event} has a waiting room: POST /api/v1/events/{event}/waiting-room/join, \
                     wait to be admitted, and send the token as X-Waiting-Room-Token"
                ),
            ),
            E::AdmissionInvalid(fault) => admission_invalid(fault),
            E::TicketInvalid(fault) => ticket_invalid(fault),
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
            E::SectionUnknown { event, section } => {
                let detail = format!(
                    "is no section of event {event}: {section:?}; GET /api/v1/events/{event} \
                     lists its sections"
                );
                Problem::field("section", detail).with_code(Code::SectionUnknown)
            }
            E::SeatsUnknown { event, seats } => seats_unknown(event, &seats),
            E::SeatsUnavailable(states) => seats_unavailable(states),
            E::TooFewSeats(wanted) => too_few_seats(&wanted),
            E::OrphanSeats(seats) => orphan_seats(&seats),
            E::UserLimit { has, max } => Problem::new(
                Code::UserLimit,
                format!("One user may have {max} seats of this event; you have {has}"),
            )
            .with("seats_held", has.into())
            .with("max_seats_per_user", max.into()),
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
            E::BookingUnknown(booking) => Problem::new(
                Code::BookingUnknown,
                format!("You have no booking {booking}; GET /api/v1/bookings lists yours"),
            ),
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
            E::BookingConfirmed(booking) => Problem::new(
                Code::BookingConfirmed,
                format!("Booking {booking} is confirmed already"),
            ),
            E::CancellationClosed { booking, policy } => cancellation_closed(booking, policy),
            E::SaleVoided(booking) => Problem::new(
                Code::SaleVoided,
                format!("The sale of booking {booking} was voided; the money is refunded"),
            ),
            E::PaymentDeclined(reason) => Problem::new(
                Code::PaymentDeclined,
                format!("The payment was declined: {reason}; the seats are still held"),
            ),
            E::PaymentImpossible(reason) => Problem::new(
                Code::PaymentNotPossible,
                format!(
                    "The payment provider does not accept this payment with any payment method: \
                     {reason}; the seats are still held"
                ),
            ),
            E::AmountMismatch { expected, got } => Problem::field(
                "amount",
                format_args!(
                    "must be {expected} (the currency's minor unit), the booking's; got {got}"
                ),
            )
            .with_code(Code::AmountMismatch)
            .with("total_amount", expected.into()),
            E::AttemptsExhausted(booking) => Problem::new(
                Code::AttemptsExhausted,
                format!("Booking {booking} has no payment attempts left"),
            ),
            E::HoldCapReached(until_ms) => {
                let until = iso8601(until_ms);
                let detail = format!("The hold cannot last longer than {until}");
                Problem::new(Code::HoldCapReached, detail).with("hold_expires_at", until.into())
            }
            E::Unavailable { dependency, reason, unknown } => {
                unavailable(dependency, &reason, unknown)
            }
            E::Internal(cause) => Problem::internal(cause),
        }
    }
}

fn not_on_sale(event: EventId, on_sale_at_ms: i64, now_ms: i64) -> Problem {
    let on_sale_at = iso8601(on_sale_at_ms);
    // Rounded up: a client that retries after this time is not early.
    let wait_seconds = (on_sale_at_ms - now_ms + 999) / 1_000;
    Problem::new(Code::NotOnSale, format!("Event {event} goes on sale at {on_sale_at}"))
        .with("on_sale_at", on_sale_at.into())
        .retry_after(wait_seconds.clamp(1, RETRY_NOT_ON_SALE_SECONDS_MAX) as u32)
}

/// The member `reason` names the fault.
fn admission_invalid(fault: AdmissionFault) -> Problem {
    use AdmissionFault as F;
    let detail = match fault {
        F::Altered => "This is not a valid admission token; send the one from joining, unchanged",
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

fn ticket_invalid(fault: TicketFault) -> Problem {
    let what = match fault {
        TicketFault::Altered => "This is not a valid ticket",
        TicketFault::Expired => "This ticket has expired",
        TicketFault::OtherEvent => "This ticket is for another event",
        TicketFault::Used => "This ticket was used before: it opens one socket",
    };
    let detail = format!("{what}; POST /api/v1/events/{{event_id}}/socket-ticket gives a new one");
    Problem::new(Code::TicketInvalid, detail)
}

fn seats_unknown(event: EventId, seats: &[SeatId]) -> Problem {
    let rest = format!(" not in event {event}; GET /api/v1/events/{event}/seats lists its seats");
    Problem::new(Code::SeatsUnknown, seats_sentence(seats.iter().copied(), [" is", " are"], &rest))
        .with("seats", seats.iter().map(|seat| seat.0).collect())
}

fn seats_unavailable(states: Vec<(SeatId, SeatState)>) -> Problem {
    let taken = states.iter().filter(|(_, state)| *state != SeatState::Available);
    let taken = taken.map(|(seat, _)| *seat);
    let detail = seats_sentence(taken, [" is", " are"], " not available");
    Problem::new(Code::SeatsUnavailable, detail).with_seats("seats", states)
}

fn orphan_seats(seats: &[SeatId]) -> Problem {
    let rest = " would be left alone by this choice; choose others";
    Problem::new(Code::OrphanSeats, seats_sentence(seats.iter().copied(), ["", ""], rest))
        .with("seats", seats.iter().map(|seat| seat.0).collect())
}

/// `Seat 1 is ...` or `Seats 1, 2 are ...`. Written without the formatter: refusals for taken seats
/// are the most frequent response.
fn seats_sentence(
    mut seats: impl Iterator<Item = SeatId>,
    [singular, plural]: [&str; 2],
    rest: &str,
) -> String {
    let mut sentence = String::with_capacity(DETAIL_BYTES_EXPECTED);
    let (first, second) = (seats.next(), seats.next());
    let is_plural = second.is_some();
    sentence.push_str(if is_plural { "Seats " } else { "Seat " });
    let mut digits = itoa::Buffer::new();
    for (index, seat) in first.into_iter().chain(second).chain(seats).enumerate() {
        sentence.push_str(if index > 0 { ", " } else { "" });
        sentence.push_str(digits.format(seat.0));
    }
    sentence.push_str(if is_plural { plural } else { singular });
    sentence.push_str(rest);
    sentence
}

fn too_few_seats(wanted: &Quantity) -> Problem {
    let section = match &wanted.section {
        Some(section) => format!("in section {section}"),
        None => "in one section".to_owned(),
    };
    let price = match wanted.max_price {
        Some(max) => format!(" for at most {max} each"),
        None => String::new(),
    };
    let detail = match (wanted.seats, wanted.together) {
        (1, _) => format!("No seat is free {section}{price}"),
        (seats, false) => format!("There are no {seats} free seats {section}{price}"),
        (seats, true) => format!(
            "There are no {seats} free seats side by side {section}{price}; with `together` false \
             they may lie apart"
        ),
    };
    Problem::new(Code::SeatsUnavailable, detail)
}

fn cancellation_closed(booking: BookingId, policy: CancelPolicy) -> Problem {
    let event = booking.event();
    let until = match policy.rule {
        Cancellation::Allowed => policy.until_ms.map(iso8601),
        _ => None,
    };
    let bookings = format!("Booking {booking} is confirmed; confirmed bookings of event {event}");
    let detail = match &until {
        Some(until) => format!("{bookings} could be cancelled until {until}"),
        None => format!("{bookings} cannot be cancelled"),
    };
    Problem::new(Code::CancellationClosed, detail).with("cancel_until", until.into())
}

fn unavailable(dependency: &str, reason: &str, unknown: bool) -> Problem {
    let problem = if unknown {
        Problem::new(
            Code::OutcomeUnknown,
            // Replaced by the route's own text (`unknown_outcomes`).
            "No answer in time: it may or may not have happened. Send the same request (with the \
             same idempotency key) again",
        )
    } else {
        Problem::new(Code::ServiceUnavailable, TRY_AGAIN)
    };
    problem.retry_after(RETRY_UNAVAILABLE_SECONDS).caused_by(format!("{dependency}: {reason}"))
}

#[cfg(test)]
#[path = "refusals_tests.rs"]
mod tests;
