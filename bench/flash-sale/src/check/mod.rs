//! Checks a history for contradictions: within itself, and against the archive.
//!
//! The first check relies on the server's responses alone. The responses prove that a booking owns
//! its seats for a certain span of time, whatever the network does: from the response to its hold
//! until the hold's TTL has passed since the hold was *sent*; without end once a response says
//! CONFIRMED; at most until its buyer first sends a cancellation. No other hold on one of these
//! seats may be both sent and answered within that span.

mod archive;
mod reports;

use std::collections::HashMap;

use reports::ttl_ns;

pub use archive::{Archived, against_archive};
pub use reports::{BookingReport, BookingReports};

/// Allowance for deadlines, which the server rounds to milliseconds of its own clock, ns.
pub(crate) const CLOCK_SLACK_NS: u64 = 50_000_000;

/// Returns the contradictions within a history.
pub fn against_itself(reports: &BookingReports) -> Vec<String> {
    let mut problems = reports.contradictions.clone();
    let mut by_seat: HashMap<(u32, u32), Vec<&BookingReport>> = HashMap::new();
    for report in reports.bookings.values() {
        for seat in &report.booking.seats {
            by_seat.entry((report.event, *seat)).or_default().push(report);
        }
    }
    let several = reports.run.events.len() > 1;
    let mut seats: Vec<(u32, u32)> = by_seat.keys().copied().collect();
    seats.sort_unstable();
    for (event, seat) in seats {
        let mut owners = by_seat.remove(&(event, seat)).unwrap_or_default();
        let hold_ttl_ns = ttl_ns(&reports.run, event);
        let seat = if several { format!("{seat} of event {event}") } else { seat.to_string() };
        owners.sort_by_key(|report| (report.held_ns, report.booking.id.clone()));
        for (index, first) in owners.iter().enumerate() {
            for second in &owners[index + 1..] {
                problems.extend(clash(hold_ttl_ns, &seat, first, second));
            }
        }
    }
    problems
}

/// Returns the contradiction between two bookings that both had a seat, if there is one.
fn clash(
    hold_ttl_ns: u64,
    seat: &str,
    first: &BookingReport,
    second: &BookingReport,
) -> Option<String> {
    let (a, b) = (&first.booking.id, &second.booking.id);
    let kept =
        |report: &BookingReport| report.confirmed_ns.is_some() && report.cancel_sent_ns.is_none();
    if kept(first) && kept(second) {
        return Some(format!("DOUBLE SALE of seat {seat}: bookings {a} and {b} are CONFIRMED"));
    }
    let within = |inner: &BookingReport, outer: &BookingReport| {
        let certain = outer.held_ns..certain_until(hold_ttl_ns, outer);
        inner.requested_ns >= certain.start && inner.held_ns < certain.end
    };
    let overlap = |b: &str, a: &str| {
        Some(format!("seat {seat} was given to booking {b} while booking {a} had it"))
    };
    if within(second, first) {
        overlap(b, a)
    } else if within(first, second) {
        overlap(a, b)
    } else {
        None
    }
}

/// Returns the end of the span in which a booking certainly owned its seats.
fn certain_until(hold_ttl_ns: u64, report: &BookingReport) -> u64 {
    let lapses = report.requested_ns + hold_ttl_ns;
    let end = match (report.confirmed_ns, report.voided_ns) {
        (Some(_), _) => u64::MAX,
        // The archive may have refused the sale as soon as the payment was sent.
        (None, Some(_)) => lapses.min(report.pay_sent_ns.unwrap_or(lapses)),
        (None, None) => lapses.saturating_sub(CLOCK_SLACK_NS),
    };
    end.min(report.cancel_sent_ns.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
