//! Impossible histories are detected; similar possible ones are not.

use holdfast::domain::Outcome;
use serde_json::json;

use super::*;
use crate::history::{BookingState, Call, Operation, Run, SoldEvent};

const HOLD_TTL_MS: u64 = 5_000;
const MS: u64 = 1_000_000;

/// Builds a history from calls at times in ms.
struct Scene {
    reports: BookingReports,
}

fn id(n: u8) -> String {
    format!("00000000-0000-8000-8000-{n:012}")
}

fn state(n: u8, user: &str, status: &str, seats: &[u32]) -> BookingState {
    BookingState {
        id: id(n),
        event: None,
        user: user.to_owned(),
        status: status.to_owned(),
        version: 1,
        amount: 100,
        seats: seats.to_vec(),
    }
}

fn call(operation: Operation, user: &str, at: (u64, u64)) -> Call {
    Call {
        event: 1,
        buyer: 0,
        bot: false,
        user: user.to_owned(),
        address: "10.0.0.1".to_owned(),
        operation,
        key: None,
        resend: 0,
        due_ns: at.0 * MS,
        sent_ns: Some(at.0 * MS),
        answered_ns: at.1 * MS,
        request: None,
        about: None,
        status: None,
        error: None,
        replayed: false,
        booking: None,
    }
}

impl Scene {
    fn new() -> Self {
        let run = Run {
            format: crate::history::FORMAT,
            events: [1, 2]
                .map(|event| SoldEvent { event, total_seats: 10, hold_ttl_ms: HOLD_TTL_MS })
                .into(),
            exclusive: true,
            began_unix_ms: 0,
        };
        Scene { reports: BookingReports::new(run) }
    }

    fn add(mut self, call: Call) -> Self {
        self.reports.add(&call);
        self
    }

    /// Adds a granted hold, sent and answered at these ms.
    fn held(self, n: u8, user: &str, seats: &[u32], at: (u64, u64)) -> Self {
        let call = Call {
            request: Some(json!({ "event_id": 1, "seat_ids": seats })),
            status: Some(201),
            booking: Some(state(n, user, "HOLD", seats)),
            ..call(Operation::Hold, user, at)
        };
        self.add(call)
    }

    /// Adds a response with this status of a booking.
    fn reported(self, operation: Operation, n: u8, status: &str, at: (u64, u64)) -> Self {
        let booking = self.reports.bookings[&id(n)].booking.clone();
        let call = Call {
            about: Some(id(n)),
            status: Some(200),
            booking: Some(BookingState { status: status.to_owned(), ..booking.clone() }),
            ..call(operation, &booking.user, at)
        };
        self.add(call)
    }

    fn finish(mut self) -> BookingReports {
        self.reports.finish();
        self.reports
    }

    fn problems(self) -> Vec<String> {
        against_itself(&self.finish())
    }
}

#[track_caller]
fn expect(problems: Vec<String>, expected: &str) {
    assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
}

#[test]
fn seat_confirmed_twice_is_a_double_sale() {
    let scene = Scene::new()
        .held(1, "ann", &[1, 2], (0, 10))
        .reported(Operation::Confirm, 1, "CONFIRMED", (20, 30))
        .held(2, "bob", &[2, 3], (40, 50))
        .reported(Operation::Confirm, 2, "CONFIRMED", (60, 70));
    expect(scene.problems(), "DOUBLE SALE of seat 2");
}

#[test]
fn seat_returned_and_sold_again_is_no_double_sale() {
    let scene = Scene::new()
        .held(1, "ann", &[1], (0, 10))
        .reported(Operation::Confirm, 1, "CONFIRMED", (20, 30))
        .reported(Operation::Cancel, 1, "CANCELLED", (40, 60))
        .held(2, "bob", &[1], (45, 55))
        .reported(Operation::Confirm, 2, "CONFIRMED", (60, 70));
    assert_eq!(scene.problems(), [""; 0]);
    // Granted to Bob before Ann sent the cancellation.
    let scene = Scene::new()
        .held(1, "ann", &[1], (0, 10))
        .reported(Operation::Confirm, 1, "CONFIRMED", (20, 30))
        .held(2, "bob", &[1], (35, 39))
        .reported(Operation::Cancel, 1, "CANCELLED", (40, 60));
    expect(scene.problems(), "seat 1 of event 1 was given to booking");
}

#[test]
fn second_hold_before_the_first_lapses_is_a_contradiction() {
    let at = |sent, answered| {
        let scene = Scene::new().held(1, "ann", &[4], (0, 10));
        scene.held(2, "bob", &[4], (sent, answered)).problems()
    };
    expect(at(20, 30), "seat 4 of event 1 was given to booking");
    expect(at(4_800, 4_900), "seat 4 of event 1 was given to booking");
    // Answered after Ann's may have lapsed, or possibly decided before Ann's.
    assert_eq!(at(4_900, 5_001), [""; 0]);
    assert_eq!(at(5, 30), [""; 0]);
}

#[test]
fn second_hold_after_a_cancellation_is_allowed() {
    let scene = Scene::new().held(1, "ann", &[4], (0, 10)).held(2, "bob", &[4], (21, 40)).reported(
        Operation::Cancel,
        1,
        "CANCELLED",
        (20, 50),
    );
    assert_eq!(scene.problems(), [""; 0]);
}

#[test]
fn seat_of_another_event_is_another_seat() {
    let scene = |event| {
        let other = Call {
            event,
            request: Some(json!({ "event_id": event, "seat_ids": [4] })),
            status: Some(201),
            booking: Some(state(2, "bob", "HOLD", &[4])),
            ..call(Operation::Hold, "bob", (20, 30))
        };
        let scene = Scene::new().held(1, "ann", &[4], (0, 10)).add(other);
        scene.reported(Operation::Confirm, 1, "CONFIRMED", (40, 50))
    };
    assert_eq!(scene(2).problems(), [""; 0]);
    expect(scene(1).problems(), "seat 4 of event 1 was given to booking");
    let reports = scene(2).finish();
    let sold = archived(1, "ann", &[4], Some(Outcome::Sold));
    assert_eq!(against_archive(&reports, 1, &[sold], Some(1)), [""; 0]);
    expect(against_archive(&reports, 2, &[], Some(0)), "LOST booking");
}

#[test]
fn one_key_has_one_booking_and_one_booking_one_owner() {
    let keyed = |n, answered| Call {
        key: Some("k".to_owned()),
        request: Some(json!({ "event_id": 1, "seat_ids": [n] })),
        ..call(Operation::Hold, "ann", (0, answered))
    };
    let same = |n, booking| Call {
        request: Some(json!({ "event_id": 1, "seat_ids": [1] })),
        booking: Some(booking),
        ..keyed(n, 10)
    };
    let scene = Scene::new().add(same(1, state(1, "ann", "HOLD", &[1])));
    let problems = scene.add(same(1, state(2, "ann", "HOLD", &[1]))).problems();
    assert!(problems.iter().any(|p| p.contains("key k was answered with")), "{problems:?}");
    let scene = Scene::new().add(same(1, state(1, "bob", "HOLD", &[1])));
    expect(scene.problems(), "ann got booking");
    let other = Call { booking: Some(state(1, "ann", "HOLD", &[2])), ..keyed(1, 10) };
    expect(Scene::new().add(other).problems(), "has seats [2], the request was");
}

#[test]
fn confirmed_stays_confirmed() {
    let scene = Scene::new()
        .held(1, "ann", &[1], (0, 10))
        .reported(Operation::Confirm, 1, "CONFIRMED", (20, 30))
        .reported(Operation::Look, 1, "EXPIRED", (40, 50));
    expect(scene.problems(), "was CONFIRMED, and later EXPIRED");
}

fn archived(n: u8, user: &str, seats: &[u32], outcome: Option<Outcome>) -> Archived {
    Archived { id: id(n), user: user.to_owned(), seats: seats.to_vec(), amount: 100, outcome }
}

fn sold_to_ann() -> BookingReports {
    Scene::new()
        .held(1, "ann", &[1, 2], (0, 10))
        .reported(Operation::Confirm, 1, "CONFIRMED", (20, 30))
        .finish()
}

#[test]
fn confirmed_booking_must_be_archived_as_sold() {
    let reports = sold_to_ann();
    let sold = archived(1, "ann", &[1, 2], Some(Outcome::Sold));
    assert_eq!(against_archive(&reports, 1, std::slice::from_ref(&sold), Some(2)), [""; 0]);
    expect(against_archive(&reports, 1, &[], Some(0)), "LOST booking");
    let held = archived(1, "ann", &[1, 2], None);
    expect(
        against_archive(&reports, 1, &[held], Some(0)),
        "reported CONFIRMED, in the archive none",
    );
    let other = archived(1, "ann", &[1, 3], Some(Outcome::Sold));
    expect(against_archive(&reports, 1, &[other], Some(2)), "and was reported as");
    expect(against_archive(&reports, 1, &[sold], Some(3)), "2 seats are sold in the archive, 3 in");
}

#[test]
fn archived_sale_must_have_been_reported() {
    let mut reports = sold_to_ann();
    let sold = archived(1, "ann", &[1, 2], Some(Outcome::Sold));
    let eve = archived(2, "eve", &[3], Some(Outcome::Sold));
    let both = [sold.clone(), eve];
    expect(against_archive(&reports, 1, &both, Some(3)), "no response reported it");
    reports.run.exclusive = false;
    assert_eq!(against_archive(&reports, 1, &both, Some(3)), [""; 0]);
    let twice = archived(2, "eve", &[2], Some(Outcome::Sold));
    expect(against_archive(&reports, 1, &[sold, twice], Some(3)), "DOUBLE SALE: 1 seats");
}

#[test]
fn payment_with_a_lost_response_may_be_a_sale() {
    let paid = || Scene::new().held(1, "ann", &[1], (0, 10));
    let lost = Call { about: Some(id(1)), ..call(Operation::Confirm, "ann", (20, 90)) };
    let sold = [archived(1, "ann", &[1], Some(Outcome::Sold))];
    assert_eq!(against_archive(&paid().add(lost).finish(), 1, &sold, Some(1)), [""; 0]);
    expect(against_archive(&paid().finish(), 1, &sold, Some(1)), "never paid, in the archive sold");
}

#[test]
fn calls_of_an_event_that_is_not_of_the_run_are_a_contradiction() {
    for event in [0, 3] {
        let hold = |n, user: &str, at| Call {
            event,
            status: Some(201),
            booking: Some(state(n, user, "HOLD", &[4])),
            ..call(Operation::Hold, user, at)
        };
        let look = Call { event, ..call(Operation::Map, "cid", (40, 50)) };
        let scene = Scene::new().add(hold(1, "ann", (0, 10))).add(hold(2, "bob", (20, 30)));
        expect(scene.add(look).problems(), &format!("calls of event {event}, which is not"));
    }
}

#[test]
fn booking_stays_of_the_event_that_was_asked_for() {
    let of = |event, status: &str| {
        Some(BookingState { event: Some(event), ..state(1, "ann", status, &[1]) })
    };
    let hold = |event| Call { booking: of(event, "HOLD"), ..call(Operation::Hold, "ann", (0, 10)) };
    assert_eq!(Scene::new().add(hold(1)).problems(), [""; 0]);
    expect(Scene::new().add(hold(2)).problems(), "is of event 2, the request was for 1");
    let look = |event, reported| Call {
        event,
        about: Some(id(1)),
        booking: of(reported, "HOLD"),
        ..call(Operation::Look, "ann", (20, 30))
    };
    assert_eq!(Scene::new().add(hold(1)).add(look(1, 1)).problems(), [""; 0]);
    for (event, reported) in [(1, 2), (2, 1), (2, 2)] {
        let problems = Scene::new().add(hold(1)).add(look(event, reported)).problems();
        expect(problems, "is of event 1, and a call of event");
    }
}

#[test]
fn reports_without_an_end_or_with_another_number_of_calls_are_refused() {
    let read = |end: Option<u64>| {
        let reports = Scene::new().held(1, "ann", &[1], (0, 10)).reports;
        reports.complete(end.map(|calls| crate::history::End { calls, ended_ns: 0 }).as_ref())
    };
    assert!(read(Some(1)).is_ok());
    assert!(read(Some(2)).unwrap_err().to_string().contains("its last line counts 2"));
    assert!(read(None).unwrap_err().to_string().contains("cut off"));
}

/// Writes a history whose calls name no event, and reads it.
fn read_unnamed(name: &str, run: serde_json::Value) -> Result<BookingReports, crate::Failure> {
    let hold = |n, user: &str, at| {
        let booking = Some(state(n, user, "HOLD", &[4]));
        let hold = Call { booking, ..call(Operation::Hold, user, at) };
        let mut line = serde_json::to_value(crate::history::Line::Call(hold)).unwrap();
        line.as_object_mut().unwrap().remove("event");
        line
    };
    let end = json!({ "line": "end", "calls": 2, "ended_ns": 0 });
    let lines = [run, hold(1, "ann", (0, 10)), hold(2, "bob", (4_000, 4_010)), end];
    let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
    let path = std::env::temp_dir().join(format!("holdfast-{}-{name}.jsonl", std::process::id()));
    std::fs::write(&path, text.join("\n") + "\n").unwrap();
    let reports = BookingReports::read(&path);
    std::fs::remove_file(&path).unwrap();
    reports
}

#[test]
fn history_of_format_1_is_checked_with_the_ttl_of_its_event() {
    let run = |ttl: u64| {
        json!({
            "line": "run", "format": 1, "event": 7, "total_seats": 10, "hold_ttl_ms": ttl,
            "exclusive": true, "began_unix_ms": 0,
        })
    };
    let overlapping = read_unnamed("overlapping", run(5_000)).unwrap();
    assert!(overlapping.bookings.values().all(|one| one.event == 7));
    expect(against_itself(&overlapping), "seat 4 was given to booking");
    let lapsed = read_unnamed("lapsed", run(3_000)).unwrap();
    assert_eq!(against_itself(&lapsed), [""; 0]);
}

#[test]
fn calls_without_an_event_and_later_formats_are_refused() {
    let run = |format: u32| {
        let event = json!({ "event": 7, "total_seats": 10, "hold_ttl_ms": 3_000 });
        json!({
            "line": "run", "format": format, "events": [event],
            "exclusive": true, "began_unix_ms": 0,
        })
    };
    let unnamed = read_unnamed("unnamed", run(2)).unwrap();
    expect(against_itself(&unnamed), "calls of event 0, which is not");
    let error = read_unnamed("later", run(3)).unwrap_err().to_string();
    assert!(error.contains("format 3"), "{error}");
}
