//! Histories that cannot be, each told, beside the like that can.

use holdfast::domain::Outcome;
use serde_json::json;

use super::*;
use crate::history::{Call, Operation, Run, Told};

const HOLD_TTL_MS: u64 = 5_000;
const MS: u64 = 1_000_000;

/// A history in the making: calls at times in ms.
struct Scene {
    stories: Stories,
}

fn id(n: u8) -> String {
    format!("00000000-0000-8000-8000-{n:012}")
}

fn told(n: u8, user: &str, status: &str, seats: &[u32]) -> Told {
    Told {
        id: id(n),
        user: user.to_owned(),
        status: status.to_owned(),
        version: 1,
        amount: 100,
        seats: seats.to_vec(),
    }
}

fn call(operation: Operation, user: &str, at: (u64, u64)) -> Call {
    Call {
        buyer: 0,
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
            event: 1,
            total_seats: 10,
            hold_ttl_ms: HOLD_TTL_MS,
            exclusive: true,
            began_unix_ms: 0,
        };
        Scene { stories: Stories::new(run) }
    }

    fn add(mut self, call: Call) -> Self {
        self.stories.add(&call);
        self
    }

    /// A granted hold, sent and answered at these ms.
    fn held(self, n: u8, user: &str, seats: &[u32], at: (u64, u64)) -> Self {
        let call = Call {
            request: Some(json!({ "event_id": 1, "seat_ids": seats })),
            status: Some(201),
            booking: Some(told(n, user, "HOLD", seats)),
            ..call(Operation::Hold, user, at)
        };
        self.add(call)
    }

    /// What an answer about a booking said.
    fn said(self, operation: Operation, n: u8, status: &str, at: (u64, u64)) -> Self {
        let story = self.stories.bookings[&id(n)].told.clone();
        let call = Call {
            about: Some(id(n)),
            status: Some(200),
            booking: Some(Told { status: status.to_owned(), ..story.clone() }),
            ..call(operation, &story.user, at)
        };
        self.add(call)
    }

    fn finish(mut self) -> Stories {
        self.stories.finish();
        self.stories
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
fn a_seat_confirmed_twice_is_a_double_sale() {
    let scene = Scene::new()
        .held(1, "ann", &[1, 2], (0, 10))
        .said(Operation::Confirm, 1, "CONFIRMED", (20, 30))
        .held(2, "bob", &[2, 3], (40, 50))
        .said(Operation::Confirm, 2, "CONFIRMED", (60, 70));
    expect(scene.problems(), "DOUBLE SALE of seat 2");
}

#[test]
fn a_seat_sold_given_back_and_sold_again_is_none() {
    let scene = Scene::new()
        .held(1, "ann", &[1], (0, 10))
        .said(Operation::Confirm, 1, "CONFIRMED", (20, 30))
        .said(Operation::Cancel, 1, "CANCELLED", (40, 60))
        .held(2, "bob", &[1], (45, 55))
        .said(Operation::Confirm, 2, "CONFIRMED", (60, 70));
    assert_eq!(scene.problems(), [""; 0]);
    // Given to Bob before Ann had asked to give it back.
    let scene = Scene::new()
        .held(1, "ann", &[1], (0, 10))
        .said(Operation::Confirm, 1, "CONFIRMED", (20, 30))
        .held(2, "bob", &[1], (35, 39))
        .said(Operation::Cancel, 1, "CANCELLED", (40, 60));
    expect(scene.problems(), "seat 1 was given to booking");
}

#[test]
fn a_hold_keeps_others_out_until_it_lapses() {
    let at = |sent, answered| {
        let scene = Scene::new().held(1, "ann", &[4], (0, 10));
        scene.held(2, "bob", &[4], (sent, answered)).problems()
    };
    expect(at(20, 30), "seat 4 was given to booking");
    expect(at(4_800, 4_900), "seat 4 was given to booking");
    // Answered after it may have lapsed; or decided perhaps before Ann's.
    assert_eq!(at(4_900, 5_001), [""; 0]);
    assert_eq!(at(5, 30), [""; 0]);
}

#[test]
fn a_cancelled_hold_lets_others_in() {
    let scene = Scene::new().held(1, "ann", &[4], (0, 10)).held(2, "bob", &[4], (21, 40)).said(
        Operation::Cancel,
        1,
        "CANCELLED",
        (20, 50),
    );
    assert_eq!(scene.problems(), [""; 0]);
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
    let scene = Scene::new().add(same(1, told(1, "ann", "HOLD", &[1])));
    let problems = scene.add(same(1, told(2, "ann", "HOLD", &[1]))).problems();
    assert!(problems.iter().any(|p| p.contains("key k was answered with")), "{problems:?}");
    let scene = Scene::new().add(same(1, told(1, "bob", "HOLD", &[1])));
    expect(scene.problems(), "ann was given booking");
    let other = Call { booking: Some(told(1, "ann", "HOLD", &[2])), ..keyed(1, 10) };
    expect(Scene::new().add(other).problems(), "has seats [2], and asked was");
}

#[test]
fn confirmed_stays_confirmed() {
    let scene = Scene::new()
        .held(1, "ann", &[1], (0, 10))
        .said(Operation::Confirm, 1, "CONFIRMED", (20, 30))
        .said(Operation::Look, 1, "EXPIRED", (40, 50));
    expect(scene.problems(), "was CONFIRMED, and later EXPIRED");
}

fn archived(n: u8, user: &str, seats: &[u32], outcome: Option<Outcome>) -> Archived {
    Archived { id: id(n), user: user.to_owned(), seats: seats.to_vec(), amount: 100, outcome }
}

fn sold_to_ann() -> Stories {
    Scene::new()
        .held(1, "ann", &[1, 2], (0, 10))
        .said(Operation::Confirm, 1, "CONFIRMED", (20, 30))
        .finish()
}

#[test]
fn whoever_was_told_confirmed_is_in_the_archive() {
    let stories = sold_to_ann();
    let sold = archived(1, "ann", &[1, 2], Some(Outcome::Sold));
    assert_eq!(against_archive(&stories, std::slice::from_ref(&sold), Some(2)), [""; 0]);
    expect(against_archive(&stories, &[], Some(0)), "LOST booking");
    let held = archived(1, "ann", &[1, 2], None);
    expect(against_archive(&stories, &[held], Some(0)), "told CONFIRMED, in the archive none");
    let other = archived(1, "ann", &[1, 3], Some(Outcome::Sold));
    expect(against_archive(&stories, &[other], Some(2)), "its buyer was told");
    expect(against_archive(&stories, &[sold], Some(3)), "2 seats are sold in the archive, 3 in");
}

#[test]
fn nobody_else_is_in_the_archive() {
    let mut stories = sold_to_ann();
    let sold = archived(1, "ann", &[1, 2], Some(Outcome::Sold));
    let eve = archived(2, "eve", &[3], Some(Outcome::Sold));
    let both = [sold.clone(), eve];
    expect(against_archive(&stories, &both, Some(3)), "no buyer was told of it");
    stories.run.exclusive = false;
    assert_eq!(against_archive(&stories, &both, Some(3)), [""; 0]);
    let twice = archived(2, "eve", &[2], Some(Outcome::Sold));
    expect(against_archive(&stories, &[sold, twice], Some(3)), "DOUBLE SALE: 1 seats");
}

#[test]
fn a_lost_answer_to_a_payment_may_have_been_a_sale() {
    let paid = || Scene::new().held(1, "ann", &[1], (0, 10));
    let lost = Call { about: Some(id(1)), ..call(Operation::Confirm, "ann", (20, 90)) };
    let sold = [archived(1, "ann", &[1], Some(Outcome::Sold))];
    assert_eq!(against_archive(&paid().add(lost).finish(), &sold, Some(1)), [""; 0]);
    expect(against_archive(&paid().finish(), &sold, Some(1)), "it never paid, in the archive sold");
}
