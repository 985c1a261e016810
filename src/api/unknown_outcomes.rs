//! The details of `outcome_unknown`: one text per route that changes something.
//!
//! INVARIANT, for all routes: what has not happened when the response is sent does not happen later. Redis
//! runs nothing past a call's `not_after`, MongoDB no compare-and-set past its deadline (`archive/deadline.rs`).

use crate::http::problem::{Code, Problem};

/// Texts by method and route; other routes have [`OTHER`].
const OUTCOMES: [(&str, &str, &str); 18] = [
    ("POST", "/api/v1/bookings", HOLD),
    ("POST", "/api/v1/bookings/{booking_id}/confirm", CONFIRM),
    ("POST", "/api/v1/bookings/{booking_id}/pay", CONFIRM),
    ("POST", "/api/v1/bookings/{booking_id}/extend", EXTEND),
    ("POST", "/api/v1/bookings/{booking_id}/cancel", CANCEL),
    ("DELETE", "/api/v1/bookings/{booking_id}", CANCEL),
    ("POST", "/api/v1/events/{event_id}/waiting-room/join", JOIN),
    ("POST", "/api/v1/events/{event_id}/waiting-room/leave", LEAVE),
    ("POST", "/api/v1/events", CREATE),
    ("PATCH", "/api/v1/events/{event_id}", CHANGE),
    ("POST", "/api/v1/events/{event_id}/blocks", BLOCK),
    ("POST", "/api/v1/events/{event_id}/blocks/release", BLOCK),
    ("POST", "/api/v1/events/{event_id}/waiting-room/enable", SWITCH),
    ("POST", "/api/v1/events/{event_id}/waiting-room/disable", SWITCH),
    ("PATCH", "/api/v1/admin/limits", LIMITS),
    ("POST", "/api/v1/admin/checks/verify", CHECK),
    ("POST", "/api/v1/admin/checks/reconcile", CHECK),
    ("POST", "/api/v1/admin/dead-letters/{letter_id}/replay", REPLAY),
];

const HOLD: &str = "No answer in time: the seats may or may not be held. Send the same request (with the \
     same idempotency key) again to get the booking; otherwise it will be undone";
const CONFIRM: &str = "No answer in time: this request charged nothing, and the seats stay held as they were. \
     Send the same request again";
const EXTEND: &str = "No answer in time: the hold may or may not have been extended, and stays so. Read the \
     booking's hold_expires_at, or send the same request again: with an idempotency key it extends once";
const CANCEL: &str = "No answer in time: the booking may or may not be cancelled, and stays so: a \
     cancellation is not undone, and one that has not happened yet will not happen. Read the booking, or \
     send the same request again: a cancelled booking is returned unchanged";
const JOIN: &str = "No answer in time: you may or may not have a place. Send the same request again to \
     get it";
const LEAVE: &str = "No answer in time: the place may or may not be given up, and stays so. Send the same \
     request again: twice is the same as once";
const CREATE: &str = "No answer in time: the event may or may not be created, now or within moments, and is \
     not removed. Look for it in GET /api/v1/events before you send the request again: a second one creates another";
const CHANGE: &str = "No answer in time: the change may or may not be made, and stays so. Read the event, \
     or send the same request again: twice is the same as once";
const BLOCK: &str = "No answer in time: the seats may or may not be changed, all of them or none, and stay \
     so. Read the seat map, or send the same request again: twice is the same as once";
const SWITCH: &str = "No answer in time: the waiting room may or may not be changed, and stays so. Read \
     its stats, or send the same request again: twice is the same as once";
const LIMITS: &str = "No answer in time: the limits may or may not be changed, and stay so. Read them, or \
     send the same request again: twice is the same as once";
const CHECK: &str = "No answer in time: a store or the payment provider did not answer, and there is no \
     verdict. With `fix`, steps may have been taken, each safe on its own. Send the same request again";
const REPLAY: &str = "No answer in time: the entry may or may not be stored, and stays so; its letter goes \
     last. Send the same request again: twice is the same as once";
const OTHER: &str = "No answer in time: it may or may not have happened, and is not undone. Send the same \
     request again";

/// Replaces the detail of an unknown outcome by the route's text. Other problems are returned unchanged.
pub fn describe(problem: Problem, method: &str, route: &str) -> Problem {
    if problem.code != Code::OutcomeUnknown {
        return problem;
    }
    let row = OUTCOMES.iter().find(|row| (row.0, row.1) == (method, route));
    problem.with_detail(row.map_or(OTHER, |row| row.2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::router::routes;
    use crate::telemetry::Metrics;

    /// The route called by the payment provider, which repeats its requests, and the one that changes nothing.
    const OTHERS: [&str; 2] = ["/webhooks/payments", "/api/v1/events/{event_id}/socket-ticket"];

    #[test]
    fn every_changing_route_has_its_own_text() {
        let unknown = |method: &str, route: &str| {
            describe(Problem::new(Code::OutcomeUnknown, ""), method, route).detail.into_owned()
        };
        let routes = routes(&Metrics::new("test"));
        for route in routes.iter().filter(|route| route.method != "GET") {
            let detail = unknown(route.method.as_str(), &route.path);
            assert_eq!(detail == OTHER, OTHERS.contains(&route.path.as_str()), "{}", route.path);
            // Only holds are undone: nothing was paid for them.
            let is_hold = route.path == "/api/v1/bookings";
            assert_eq!(detail.contains("will be undone"), is_hold, "{}", route.path);
        }
        for (method, route, detail) in OUTCOMES {
            assert_eq!(unknown(method, route), detail);
        }
    }

    #[test]
    fn other_problems_are_unchanged() {
        let problem = describe(Problem::new(Code::ServiceUnavailable, "away"), "POST", "/");
        assert_eq!(problem.detail, "away");
    }
}
