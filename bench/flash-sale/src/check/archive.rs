//! Compares a history with the archive: every booking reported CONFIRMED is archived as sold with
//! its seats and price, and no other booking is.

use std::collections::{HashMap, HashSet};

use holdfast::domain::Outcome;

use super::reports::{BookingReport, BookingReports};

/// A booking in the archive.
#[derive(Clone, Debug)]
pub struct Archived {
    /// Its id.
    pub id: String,
    /// Its owner.
    pub user: String,
    /// Its seats, ascending.
    pub seats: Vec<u32>,
    /// Its price.
    pub amount: i64,
    /// The archive's decision on its sale, if there is one.
    pub outcome: Option<Outcome>,
}

/// Returns the contradictions between a history, the archive's bookings of one of its events and, if
/// given, the number of that event's seats sold in Redis.
pub fn against_archive(
    reports: &BookingReports,
    event: u32,
    archived: &[Archived],
    sold_in_redis: Option<u64>,
) -> Vec<String> {
    let by_id: HashMap<String, &Archived> =
        archived.iter().map(|one| (one.id.clone(), one)).collect();
    let mut problems = Vec::new();
    let of_event = reports.bookings.iter().filter(|(_, report)| report.event == event);
    let mut ids: Vec<&String> = of_event.map(|(id, _)| id).collect();
    ids.sort_unstable();
    for id in ids {
        let report = &reports.bookings[id];
        match by_id.get(id) {
            None => {
                problems.push(format!("LOST booking {id} of {}: not archived", report.booking.user))
            }
            Some(found) => problems.extend(compare(id, report, found)),
        }
    }
    if reports.run.exclusive {
        problems.extend(unreported(reports, archived));
    }
    let sold = archived.iter().filter(|one| one.outcome == Some(Outcome::Sold));
    let seats: Vec<u32> = sold.flat_map(|one| one.seats.iter().copied()).collect();
    let different: HashSet<u32> = seats.iter().copied().collect();
    if different.len() != seats.len() {
        let twice = seats.len() - different.len();
        problems.push(format!("DOUBLE SALE: {twice} seats have two sold bookings in the archive"));
    }
    if let Some(in_redis) = sold_in_redis
        && in_redis != seats.len() as u64
    {
        let archived = seats.len();
        problems.push(format!("{archived} seats are sold in the archive, {in_redis} in Redis"));
    }
    problems
}

fn compare(id: &str, report: &BookingReport, found: &Archived) -> Vec<String> {
    let mut problems = Vec::new();
    let archived = (&found.user, &found.seats, found.amount);
    let reported = (&report.booking.user, &report.booking.seats, report.booking.amount);
    if archived != reported {
        let states = format!("is {archived:?} in the archive, and was reported as {reported:?}");
        problems.push(format!("booking {id} {states}"));
    }
    let outcome = found.outcome.map_or("none", Outcome::as_str);
    let wrong = match (report.confirmed_ns, report.cancel_sent_ns, found.outcome) {
        (Some(_), None, Some(Outcome::Sold)) => false,
        (Some(_), Some(_), Some(Outcome::Sold)) => report.cancelled_ns.is_some(),
        (Some(_), Some(_), Some(Outcome::Cancelled)) => false,
        (Some(_), ..) => true,
        // Never reported CONFIRMED: may still be sold if a payment's response was lost or late.
        (None, _, Some(Outcome::Sold)) => {
            report.pay_sent_ns.is_none()
                || report.voided_ns.is_some()
                || report.cancelled_ns.is_some()
        }
        (None, ..) => false,
    };
    if wrong {
        let reported = last_reported(report);
        let user = &report.booking.user;
        problems
            .push(format!("booking {id} of {user}: reported {reported}, in the archive {outcome}"));
    }
    problems
}

fn last_reported(report: &BookingReport) -> &'static str {
    match (report.confirmed_ns, report.cancelled_ns, report.voided_ns) {
        (_, Some(_), _) => "CANCELLED",
        (_, _, Some(_)) => "VOIDED",
        (Some(_), ..) => "CONFIRMED",
        (None, None, None) if report.pay_sent_ns.is_none() => "HOLD, never paid",
        (None, None, None) => "HOLD, paid",
    }
}

/// Returns the decided bookings that no response reported. A hold whose response was lost may be
/// archived, but nobody can pay for a booking that no response has named.
fn unreported(reports: &BookingReports, archived: &[Archived]) -> Vec<String> {
    let unknown = archived
        .iter()
        .filter(|one| one.outcome.is_some() && !reports.bookings.contains_key(&one.id));
    let problem = |one: &Archived| {
        let (id, user) = (&one.id, &one.user);
        format!("booking {id} of {user} was decided in the archive, and no response reported it")
    };
    unknown.map(problem).collect()
}
