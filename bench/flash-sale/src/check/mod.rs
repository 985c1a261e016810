//! Was anybody told something that cannot be? Reads a history and holds it against itself, and
//! against the archive.
//!
//! Against itself, without trusting anything of the server's but its answers. What a buyer was
//! told makes a booking its seats' owner for a span of time that is certain, whatever the network
//! did: from the answer to its hold until the hold's time has passed since it was *sent*, or for
//! ever once it was told CONFIRMED, or until it first sent a cancellation. No other hold on one of
//! these seats may be sent and answered within that span.

mod archive;
mod story;

use std::collections::HashMap;

pub use archive::{Archived, against_archive};
pub use story::{BookingReport, Stories};

/// Deadlines are rounded to milliseconds by a clock that is not ours, ns.
pub(crate) const CLOCK_SLACK_NS: u64 = 50_000_000;

/// What contradicts within a history.
pub fn against_itself(stories: &Stories) -> Vec<String> {
    let mut problems = stories.contradictions.clone();
    let mut by_seat: HashMap<u32, Vec<&BookingReport>> = HashMap::new();
    for story in stories.bookings.values() {
        for seat in &story.told.seats {
            by_seat.entry(*seat).or_default().push(story);
        }
    }
    let mut seats: Vec<u32> = by_seat.keys().copied().collect();
    seats.sort_unstable();
    for seat in seats {
        let mut owners = by_seat.remove(&seat).unwrap_or_default();
        owners.sort_by_key(|story| (story.held_ns, story.told.id.clone()));
        for (index, first) in owners.iter().enumerate() {
            for second in &owners[index + 1..] {
                problems.extend(clash(stories.run.hold_ttl_ms, seat, first, second));
            }
        }
    }
    problems
}

/// What is wrong between two bookings that both had a seat, if anything.
fn clash(
    hold_ttl_ms: u64,
    seat: u32,
    first: &BookingReport,
    second: &BookingReport,
) -> Option<String> {
    let (a, b) = (&first.told.id, &second.told.id);
    let kept =
        |story: &BookingReport| story.confirmed_ns.is_some() && story.cancel_sent_ns.is_none();
    if kept(first) && kept(second) {
        return Some(format!("DOUBLE SALE of seat {seat}: bookings {a} and {b} are CONFIRMED"));
    }
    let within = |inner: &BookingReport, outer: &BookingReport| {
        let certain = outer.held_ns..certain_until(hold_ttl_ms, outer);
        inner.asked_ns >= certain.start && inner.held_ns < certain.end
    };
    let given = |b: &str, a: &str| {
        Some(format!("seat {seat} was given to booking {b} while booking {a} had it"))
    };
    if within(second, first) {
        given(b, a)
    } else if within(first, second) {
        given(a, b)
    } else {
        None
    }
}

/// Until when a booking surely had its seats.
fn certain_until(hold_ttl_ms: u64, story: &BookingReport) -> u64 {
    let lapses = story.asked_ns + hold_ttl_ms * 1_000_000;
    let end = match (story.confirmed_ns, story.voided_ns) {
        (Some(_), _) => u64::MAX,
        // The archive's refusal may have come as soon as the payment was asked for.
        (None, Some(_)) => lapses.min(story.pay_sent_ns.unwrap_or(lapses)),
        (None, None) => lapses.saturating_sub(CLOCK_SLACK_NS),
    };
    end.min(story.cancel_sent_ns.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
