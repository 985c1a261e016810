//! The comparison itself, apart from all reading: what must hold between an event's snapshot in
//! Redis and its bookings and claims in the archive, once the archive has caught up.

use std::collections::HashMap;

use crate::archive::{ArchivedBooking, Claim, EventHead};
use crate::domain::{Booking, BookingId, Inventory, LoadState, Outcome, SeatId, SeatState, Status};
use crate::redis::Snapshot;

/// What is known of one event.
pub struct Facts<'a> {
    /// The catalogue's part.
    pub head: &'a EventHead,
    /// Redis' part; `None` if Redis does not have the event.
    pub snapshot: Option<&'a Snapshot>,
    /// All its archived bookings.
    pub bookings: &'a [ArchivedBooking],
    /// All its claims.
    pub claims: &'a [Claim],
}

/// Everything that differs, in words.
pub fn compare(facts: &Facts<'_>) -> Vec<String> {
    let mut problems = Vec::new();
    let archived: HashMap<BookingId, &ArchivedBooking> =
        facts.bookings.iter().map(|archived| (archived.booking.id, archived)).collect();
    check_claims(facts, &archived, &mut problems);
    match facts.snapshot {
        Some(snapshot) => {
            check_redis(facts.head, snapshot, &mut problems);
            check_both(snapshot, &archived, &mut problems);
        }
        None if facts.head.load_state == LoadState::Opened => {
            problems.push("Redis does not have this event".to_owned());
        }
        None => {}
    }
    problems.sort();
    problems
}

/// The archive in itself: one sold booking a seat, which owns the claim; no claim without owner.
fn check_claims(
    facts: &Facts<'_>,
    archived: &HashMap<BookingId, &ArchivedBooking>,
    problems: &mut Vec<String>,
) {
    let owners: HashMap<SeatId, BookingId> =
        facts.claims.iter().map(|claim| (claim.seat, claim.owner)).collect();
    let mut sold: HashMap<SeatId, BookingId> = HashMap::new();
    for one in facts.bookings.iter().filter(|one| one.outcome == Some(Outcome::Sold)) {
        for seat in &one.booking.seats {
            if let Some(other) = sold.insert(*seat, one.booking.id) {
                problems
                    .push(format!("DOUBLE SALE of seat {seat}: {other} and {}", one.booking.id));
            }
            if owners.get(seat) != Some(&one.booking.id) {
                problems.push(format!("sold {} does not own the claim on {seat}", one.booking.id));
            }
        }
    }
    for (seat, owner) in owners {
        match archived.get(&owner) {
            Some(one) if one.outcome.is_none() => {
                problems.push(format!("dangling claim on {seat}: {owner} is undecided"));
            }
            Some(one) if !one.booking.seats.contains(&seat) => {
                problems.push(format!("stray claim on {seat}: {owner} did not ask for it"));
            }
            Some(_) => {}
            None => problems.push(format!("dangling claim on {seat}: {owner} is not archived")),
        }
    }
}

/// Redis in itself: bytes, holders, bookings, users and counters agree.
fn check_redis(head: &EventHead, snapshot: &Snapshot, problems: &mut Vec<String>) {
    let Some(inventory) = &snapshot.inventory else {
        problems.push("Redis has the event without its inventory".to_owned());
        return;
    };
    if inventory.seats() != head.total_seats {
        problems.push(format!("{} seats in Redis, not {}", inventory.seats(), head.total_seats));
    }
    let free = i64::from(inventory.totals().available);
    if snapshot.available != free {
        problems.push(format!("{free} seats are free, the counter says {}", snapshot.available));
    }
    check_seats(inventory, snapshot, problems);
    let mut users: HashMap<&str, i64> = HashMap::new();
    for booking in snapshot.bookings.iter().filter(|booking| booking.status.is_live()) {
        *users.entry(booking.user.as_str()).or_default() += booking.seats.len() as i64;
    }
    for (user, count) in &snapshot.users {
        let real = users.remove(user.as_str()).unwrap_or(0);
        if real != *count {
            problems.push(format!("user {user} has {real} seats, the counter says {count}"));
        }
    }
    for (user, real) in users {
        problems.push(format!("user {user} has {real} seats, the counter says none"));
    }
}

/// Every taken seat belongs to a live booking that says so, and the other way round.
fn check_seats(inventory: &Inventory, snapshot: &Snapshot, problems: &mut Vec<String>) {
    let mut expected: HashMap<SeatId, (SeatState, BookingId)> = HashMap::new();
    for booking in snapshot.bookings.iter().filter(|booking| booking.status.is_live()) {
        for seat in &booking.seats {
            if let Some((_, other)) = expected.insert(*seat, (seat_state(booking), booking.id)) {
                problems
                    .push(format!("seat {seat} is in two live bookings: {other}, {}", booking.id));
            }
        }
    }
    let holders: HashMap<SeatId, BookingId> = snapshot.holders.iter().copied().collect();
    for seat in (1..=inventory.seats()).map(SeatId) {
        let state = inventory.state(seat);
        let wanted = expected.get(&seat);
        let agrees = match (state, wanted) {
            (Some(SeatState::Available | SeatState::Blocked), None) => true,
            (Some(state), Some((wanted, _))) => state == *wanted,
            _ => false,
        };
        if !agrees {
            let word = state.map_or("nothing", SeatState::word);
            problems.push(format!("seat {seat} is {word}; its booking: {wanted:?}"));
        }
        if holders.get(&seat) != wanted.map(|(_, booking)| booking) {
            problems
                .push(format!("seat {seat} is held by {:?}, not {wanted:?}", holders.get(&seat)));
        }
    }
}

fn seat_state(booking: &Booking) -> SeatState {
    match booking.status {
        Status::Committed | Status::Confirmed => SeatState::Booked,
        _ => SeatState::Hold,
    }
}

/// Every booking is in both, in the same state. Ended ones leave Redis in time.
fn check_both(
    snapshot: &Snapshot,
    archived: &HashMap<BookingId, &ArchivedBooking>,
    problems: &mut Vec<String>,
) {
    let mut in_redis: HashMap<BookingId, &Booking> = HashMap::new();
    for booking in &snapshot.bookings {
        in_redis.insert(booking.id, booking);
        let Some(one) = archived.get(&booking.id) else {
            problems.push(format!("LOST {} ({:?}) is not archived", booking.id, booking.status));
            continue;
        };
        let (here, there) = (booking, &one.booking);
        if (here.status, here.version) != (there.status, there.version) {
            problems.push(format!(
                "{} is {:?} version {} in Redis, {:?} version {} in the archive",
                here.id, here.status, here.version, there.status, there.version
            ));
        }
        if (&here.user, &here.seats, here.amount) != (&there.user, &there.seats, there.amount) {
            problems.push(format!("{} differs in user, seats or amount", here.id));
        }
    }
    for one in archived.values() {
        let id = one.booking.id;
        if one.booking.status.is_live() && !in_redis.contains_key(&id) {
            problems.push(format!("STRAY {id} ({:?}) is not in Redis", one.booking.status));
        }
    }
}

#[cfg(test)]
mod tests {
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

    struct World {
        head: EventHead,
        snapshot: Snapshot,
        bookings: Vec<ArchivedBooking>,
        claims: Vec<Claim>,
    }

    /// Three seats: one sold, one held, one free. Everything agrees.
    fn world() -> World {
        let (sold, held) = (booking(1, Status::Confirmed, &[1]), booking(2, Status::Hold, &[2]));
        let archived = |booking: &Booking, outcome| ArchivedBooking {
            booking: booking.clone(),
            outcome,
            generation: 1,
            cancel_unsettled_ms: None,
        };
        World {
            head: EventHead {
                id: EventId(1),
                name: "E".into(),
                status: EventStatus::OnSale,
                on_sale_at_ms: None,
                revision: 1,
                load_state: LoadState::Opened,
                generation: 1,
                total_seats: 3,
                created_at_ms: 1,
            },
            bookings: vec![archived(&sold, Some(Outcome::Sold)), archived(&held, None)],
            claims: vec![Claim { seat: SeatId(1), owner: sold.id }],
            snapshot: Snapshot {
                now_ms: 1,
                open: true,
                generation: 1,
                version: 9,
                revision: 1,
                available: 1,
                next_deadline_ms: Some(2),
                link: None,
                inventory: Some(Inventory::from_bytes(b"1Bha".to_vec()).unwrap()),
                holders: vec![(SeatId(1), sold.id), (SeatId(2), held.id)],
                users: vec![("ann".into(), 2)],
                bookings: vec![sold, held],
            },
        }
    }

    fn problems(world: &World) -> String {
        let World { head, snapshot, bookings, claims } = world;
        compare(&Facts { head, snapshot: Some(snapshot), bookings, claims }).join("; ")
    }

    #[test]
    fn agreement_is_clean() {
        assert_eq!(problems(&world()), "");
    }

    #[test]
    fn each_difference_is_told() {
        type Break = fn(&mut World);
        let cases: [(&str, Break); 12] = [
            ("DOUBLE SALE of seat 1", |w| {
                let mut twin = w.bookings[0].clone();
                twin.booking.id = booking(3, Status::Confirmed, &[]).id;
                w.bookings.push(twin);
            }),
            ("does not own the claim", |w| w.claims.clear()),
            ("is undecided", |w| {
                w.claims.push(Claim { seat: SeatId(2), owner: w.snapshot.bookings[1].id });
            }),
            ("is not archived", |w| {
                w.claims.push(Claim { seat: SeatId(3), owner: booking(9, Status::Hold, &[]).id });
            }),
            ("did not ask for it", |w| {
                w.claims.push(Claim { seat: SeatId(3), owner: w.snapshot.bookings[0].id });
            }),
            ("LOST", |w| drop(w.bookings.pop())),
            ("STRAY", |w| drop(w.snapshot.bookings.pop())),
            ("version 4 in Redis", |w| w.bookings[1].booking.version = 3),
            ("the counter says 2", |w| w.snapshot.available = 2),
            ("user ann has 2 seats", |w| w.snapshot.users.clear()),
            ("seat 3 is HOLD", |w| {
                w.snapshot.inventory = Some(Inventory::from_bytes(b"1Bhh".to_vec()).unwrap());
            }),
            ("seat 2 is held by None", |w| w.snapshot.holders.truncate(1)),
        ];
        for (expected, break_it) in cases {
            let mut world = world();
            break_it(&mut world);
            let told = problems(&world);
            assert!(told.contains(expected), "{expected:?} not in {told:?}");
        }
    }

    #[test]
    fn a_lost_event_is_told() {
        let World { head, bookings, claims, .. } = world();
        let facts = Facts { head: &head, snapshot: None, bookings: &bookings, claims: &claims };
        assert_eq!(compare(&facts), ["Redis does not have this event"]);
    }
}
