//! A small consistent event, and each way to break it.

use super::*;
use crate::domain::{EventId, EventStatus};

fn booking(random: u64, status: Status, seats: &[u32]) -> Booking {
    Booking {
        id: BookingId::new(EventId(1), 1, random),
        status,
        version: 4,
        user: "ann".parse().unwrap(),
        seats: seats.iter().copied().map(SeatId).collect(),
        amount: 1,
        currency: "EUR".into(),
        created_ms: 1,
        deadline_ms: 2,
        nonce: String::new(),
        lease: 1,
        lease_until_ms: 0,
        payment: String::new(),
        paid_ms: 1,
        confirmed_ms: 1,
        ended_ms: 0,
        idempotency: String::new(),
        fingerprint: String::new(),
        trace: String::new(),
    }
}

fn archived(booking: &Booking, outcome: Option<Outcome>) -> ArchivedBooking {
    let booking = booking.clone();
    ArchivedBooking { booking, outcome, generation: 1, cancel_unsettled_ms: None }
}

fn inventory(bytes: &str) -> Option<Inventory> {
    Inventory::from_bytes(bytes.into()).ok()
}

struct World {
    head: EventHead,
    snapshot: Option<EventSnapshot>,
    bookings: Vec<Booking>,
    holders: Vec<(SeatId, BookingId)>,
    users: Vec<(&'static str, i64)>,
    ended: Vec<(String, i64)>,
    blocked: Vec<SeatId>,
    archived: Vec<ArchivedBooking>,
    claims: Vec<Claim>,
}

/// Three seats: one sold, one held, one free with a stale claim. Everything is consistent.
fn world() -> World {
    let (sold, held) = (booking(1, Status::Confirmed, &[1]), booking(2, Status::Hold, &[2]));
    let cancelled = booking(3, Status::Cancelled, &[3]);
    World {
        head: EventHead {
            id: EventId(1),
            name: "E".into(),
            status: EventStatus::OnSale,
            on_sale_at_ms: None,
            starts_at_ms: None,
            off_sale_at_ms: None,
            revision: 1,
            load_state: LoadState::Opened,
            generation: 1,
            total_seats: 3,
            created_at_ms: 1,
            cancellation: Default::default(),
            cancel_until_ms: None,
        },
        snapshot: Some(EventSnapshot {
            now_ms: 1,
            open: true,
            generation: 1,
            version: 9,
            revision: 1,
            status: "ON_SALE".to_owned(),
            on_sale_at_ms: 0,
            off_sale_at_ms: 0,
            available: 1,
            next_deadline_ms: Some(2),
            link: None,
            inventory: inventory("1Bha"),
            holders: Vec::new(),
            bookings: Vec::new(),
            users: Vec::new(),
        }),
        holders: vec![(SeatId(1), sold.id), (SeatId(2), held.id)],
        users: vec![("ann", 2)],
        ended: vec![(cancelled.id.to_string(), cancelled.ended_ms)],
        blocked: Vec::new(),
        archived: vec![
            archived(&sold, Some(Outcome::Sold)),
            archived(&held, None),
            archived(&cancelled, Some(Outcome::Cancelled)),
        ],
        claims: vec![
            Claim { seat: SeatId(1), owner: sold.id },
            Claim { seat: SeatId(3), owner: cancelled.id },
        ],
        bookings: vec![sold, held, cancelled],
    }
}

fn compared(world: &World) -> (String, bool) {
    let find = |id| world.archived.iter().find(|one| one.booking.id == id);
    let mut comparison = Comparison::new(&world.head, world.snapshot.as_ref());
    world.bookings.iter().for_each(|one| comparison.add_booking(one, find(one.id)));
    world.holders.iter().for_each(|(seat, id)| comparison.add_holder(*seat, &id.to_string()));
    world.users.iter().for_each(|(user, count)| comparison.add_user(user.to_string(), *count));
    world.ended.iter().for_each(|(id, at_ms)| comparison.add_ended(id, *at_ms));
    world.archived.iter().for_each(|one| comparison.add_archived(one));
    world.claims.iter().for_each(|claim| comparison.add_claim(claim, find(claim.owner)));
    comparison.add_blocked(world.blocked.iter().copied().collect());
    let (problems, unsettled) = comparison.end();
    (problems.shown().join("; "), unsettled)
}

fn snapshot(world: &mut World) -> &mut EventSnapshot {
    world.snapshot.as_mut().unwrap()
}

#[test]
fn consistent_event_has_no_problems() {
    assert_eq!(compared(&world()), (String::new(), false));
}

#[test]
fn repeated_records_of_overlapping_pages_make_no_problems() {
    let mut world = world();
    world.bookings.extend_from_within(..);
    world.holders.extend_from_within(..);
    world.users.extend_from_within(..);
    world.ended.extend_from_within(..);
    assert_eq!(compared(&world).0, "");
}

#[test]
fn each_difference_is_reported() {
    type Break = fn(&mut World);
    let cases: [(&str, Break); 29] = [
        ("DOUBLE SALE of seat 1", |w| {
            let twin = booking(9, Status::Confirmed, &[1]);
            w.archived.push(archived(&twin, Some(Outcome::Sold)));
        }),
        ("does not own the claim on seat 1", |w| {
            w.claims.remove(0);
        }),
        ("dangling claim on seat 2", |w| {
            w.claims.push(Claim { seat: SeatId(2), owner: w.bookings[1].id });
        }),
        ("is not archived", |w| {
            w.claims.push(Claim { seat: SeatId(3), owner: booking(9, Status::Hold, &[]).id });
        }),
        ("does not have that seat", |w| {
            w.claims.push(Claim { seat: SeatId(3), owner: w.bookings[0].id });
        }),
        ("against its outcome", |w| w.archived[0].outcome = Some(Outcome::Refund)),
        ("LOST", |w| drop(w.archived.remove(1))),
        ("STRAY", |w| drop(w.bookings.remove(1))),
        ("version 4 in Redis, HOLD version 3", |w| w.archived[1].booking.version = 3),
        ("is HOLD version 4 in Redis", |w| w.archived[1].booking.status = Status::Expired),
        ("another user, seats or amount", |w| w.archived[1].booking.amount = 2),
        ("in two live bookings", |w| w.bookings.push(booking(9, Status::Hold, &[2]))),
        ("which does not exist", |w| w.bookings[1].seats = vec![SeatId(4)]),
        ("Redis counts 2", |w| snapshot(w).available = 2),
        ("user ann has 2 seats, Redis counts 0", |w| w.users.clear()),
        ("user bob has 0 seats, Redis counts 1", |w| w.users.push(("bob", 1))),
        ("seat 3 is HOLD in Redis, no live booking", |w| snapshot(w).inventory = inventory("1Bhh")),
        ("seat 1 is AVAILABLE in Redis", |w| snapshot(w).inventory = inventory("1Aha")),
        ("2 seats in Redis, 3 in the archive", |w| snapshot(w).inventory = inventory("1Bh")),
        ("seat 2 has no holder", |w| w.holders.truncate(1)),
        ("seat 3 is held by", |w| w.holders.push((SeatId(3), w.bookings[2].id))),
        ("and is not indexed", |w| w.ended.clear()),
        ("of ended bookings names", |w| w.ended.push((w.bookings[1].id.to_string(), 0))),
        ("of ended bookings names what, which is none", |w| w.ended.push(("what".into(), 0))),
        ("ended at 7 by the index, at 0", |w| w.ended[0].1 = 7),
        ("without its inventory", |w| snapshot(w).inventory = None),
        ("seat 3 is BLOCKED in Redis, not by", |w| snapshot(w).inventory = inventory("1Bhx")),
        ("seat 3 is AVAILABLE in Redis, but the house has it", |w| w.blocked = vec![SeatId(3)]),
        ("generation 2 in Redis", |w| snapshot(w).generation = 2),
    ];
    for (expected, break_it) in cases {
        let mut world = world();
        break_it(&mut world);
        let problems = compared(&world).0;
        assert!(problems.contains(expected), "{expected:?} not in {problems:?}");
    }
}

#[test]
fn lost_event_is_one_problem_and_unopened_event_is_none() {
    let mut world = world();
    world.snapshot = None;
    world.bookings.clear();
    world.holders.clear();
    world.users.clear();
    world.ended.clear();
    assert_eq!(compared(&world).0, "Redis does not have this event");
    world.head.load_state = LoadState::New;
    assert_eq!(compared(&world).0, "");
}

#[test]
fn ended_booking_may_be_missing_in_redis() {
    let mut world = world();
    world.bookings.pop();
    world.ended.clear();
    assert_eq!(compared(&world), (String::new(), false));
}

#[test]
fn unloaded_event_is_checked_only_in_the_archive() {
    let mut world = world();
    world.head.load_state = LoadState::Unloaded;
    world.archived.remove(1);
    world.bookings.clear();
    world.holders.clear();
    world.users.clear();
    world.ended.clear();
    let left_over = world.snapshot.take();
    assert_eq!(compared(&world), (String::new(), false));
    world.snapshot = left_over;
    let (problems, unsettled) = compared(&world);
    assert!(problems.contains("still has this event") && unsettled, "{problems}");
    assert!(!problems.contains("STRAY"), "{problems}");
    world.head.load_state = LoadState::Loading;
    let (problems, unsettled) = compared(&world);
    assert!(problems.contains("is being loaded") && unsettled, "{problems}");
    // The archive's own invariants are still checked.
    world.snapshot = None;
    world.claims.remove(0);
    world.archived.push(archived(&booking(9, Status::Committed, &[3]), None));
    world.head.load_state = LoadState::Unloaded;
    let problems = compared(&world).0;
    assert!(problems.contains("does not own the claim on seat 1"), "{problems}");
    assert!(problems.contains("undecided, and its event is unloaded"), "{problems}");
}

#[test]
fn differences_in_progress_are_unsettled() {
    let cases: [fn(&mut World); 5] = [
        |w| w.ended.clear(),
        |w| drop(w.bookings.pop()),
        |w| snapshot(w).open = false,
        |w| w.head.revision = 2,
        |w| {
            w.archived[0] = archived(
                &Booking { status: Status::Cancelled, ..w.bookings[0].clone() },
                Some(Outcome::Cancelled),
            );
            w.archived[0].cancel_unsettled_ms = Some(1);
        },
    ];
    for break_it in cases {
        let mut world = world();
        break_it(&mut world);
        let (problems, unsettled) = compared(&world);
        assert!(!problems.is_empty() && unsettled, "{problems}");
    }
}
