//! Holds by quantity on a real Redis: what is chosen, and what never is.

use std::sync::Arc;

use holdfast::domain::layout::{Layout, Row, Section};
use holdfast::domain::seat_request::{matching_sections, neighbours};
use holdfast::domain::{BookingId, Event, Inventory, OrphanRule, Quantity, SeatId, SeatState};
use holdfast::redis::{
    BlockAction, BlockCall, HoldCall, HoldReply, ScanBounds, SeatSelection, Timed, new_nonce,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::on_each_redis;
use crate::support::engine::{START_MS, Stage, small_event};
use crate::support::servers::Flavor;

const WIDE: ScanBounds = ScanBounds { seats_max: 50_000, runs_max: 2_000 };
/// Calls in search of one booking.
const CALLS_MAX: usize = 200;

fn any(seats: u32) -> Quantity {
    Quantity { seats, section: None, together: true, max_price: None }
}

fn of(section: &str, seats: u32) -> Quantity {
    Quantity { section: Some(section.into()), ..any(seats) }
}

fn split(wanted: Quantity) -> Quantity {
    Quantity { together: false, ..wanted }
}

/// Asks as the sale does, call by call, and says how many calls it took.
async fn ask(
    stage: &Stage,
    user: &str,
    wanted: &Quantity,
    bounds: ScanBounds,
) -> (Timed<HoldReply>, usize) {
    let all = matching_sections(&stage.event.layout, wanted);
    let (mut rest, mut found, mut resumed) = (all.clone(), Vec::new(), false);
    for calls in 1..=CALLS_MAX {
        let nonce = new_nonce();
        let call = HoldCall {
            event: stage.event.id,
            generation: stage.event.generation,
            layout_version: stage.event.layout_version,
            currency: &stage.event.currency,
            booking: BookingId::new(stage.event.id, START_MS as u64, rand::random()),
            user: &stage.user(user),
            nonce: &nonce,
            selection: SeatSelection::Quantity {
                seats: wanted.seats,
                split: !wanted.together,
                places: &rest,
                found: &found,
                resumed,
                bounds,
            },
            idempotency: &nonce,
            fingerprint: "f",
            trace: "",
            idempotency_ttl_ms: 60_000,
            replay_window_ms: 0,
            log_entries_max: 1_000_000,
            room_number: 0,
            exempt: false,
        };
        let not_after = stage.engine.not_after(stage.partition()).await.unwrap();
        let answer = stage.engine.hold(&call, not_after).await.unwrap();
        let HoldReply::MoreToScan { position } = &answer.reply else { return (answer, calls) };
        match position.section {
            Some(section) => {
                rest = rest[section..].to_vec();
                rest[0].first = position.seat;
                (found, resumed) = (position.found.clone(), true);
            }
            None => (rest, found, resumed) = (all.clone(), Vec::new(), false),
        }
    }
    panic!("no end after {CALLS_MAX} calls");
}

async fn seats_of(stage: &Stage, wanted: Quantity) -> Vec<u32> {
    let user = new_nonce();
    let (answer, _) = ask(stage, &user, &wanted, WIDE).await;
    match answer.code() {
        "ok" => answer.booking().unwrap().seats.iter().map(|seat| seat.0).collect(),
        "too_few_seats" => Vec::new(),
        other => panic!("{other:?}"),
    }
}

/// An event of one stage whose inventory is as given: capitals begin rows, as in Redis.
async fn stage_with(flavor: Flavor, event: Event, bytes: &str) -> Stage {
    let stage = Stage::unopened(flavor, event).await;
    let inventory = Inventory::from_bytes(format!("1{bytes}").into_bytes()).unwrap();
    stage.open_with(&inventory).await;
    stage
}

on_each_redis!(quantity_gets_first_leftmost_seats_without_orphans, async |flavor| {
    for (bytes, wanted, expected) in [
        ("AaaAaaaaAaaa", any(2), vec![4, 5]), // row A would keep one alone
        ("AaaAaaaaAaaa", any(3), vec![1, 2, 3]),
        ("AaaAaaaaAaaa", any(1), vec![1]),    // leaves two
        ("AhaAaaaaAaaa", any(1), vec![1]),    // takes a single one
        ("HaaHhhhhAhhh", any(1), vec![9]),    // the place on the floor rather than one of a pair
        ("HaaHhhhhHhhh", any(1), vec![2]),    // no other choice
        ("HhaAaahhHhhh", any(2), vec![4, 5]), // seat 3 and seat 4 are in different rows
        ("AaaHhhhhHhhh", any(2), vec![1, 2]),
        ("AhaAhahaHhhh", any(2), vec![]),
        ("AhaAhahaHhah", any(2), vec![]),
        ("AhaAhahaHhaa", any(2), vec![11, 12]),
        ("AhaAhahaHaha", any(2), vec![10, 12]), // general admission need not be adjacent
        ("AhaAhahaHaha", split(any(2)), vec![10, 12]), // one piece before two
        ("AhaAhahaHhhh", split(any(2)), vec![1, 3]),
        ("HhhAahaaHhhh", split(any(3)), vec![4, 5, 7]), // the rest leaves one alone either way
        ("HhaAahaaHhhh", split(any(3)), vec![3, 4, 5]), // the rest takes the single seat
        ("HhhAhahaHhhh", split(any(4)), vec![]),
        ("BxxHhaaaAaaa", of("Floor", 4), vec![9, 10, 11, 12]),
        ("AaaAaaaaHaah", of("Floor", 3), vec![]),
        ("AaaAaaaaAaaa", Quantity { max_price: Some(2_000), ..any(2) }, vec![9, 10]),
    ] {
        let stage = stage_with(flavor, small_event(1), bytes).await;
        assert_eq!(seats_of(&stage, wanted.clone()).await, expected, "{bytes} {wanted:?}");
    }
});

on_each_redis!(quantity_costs_its_sections_price, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (answer, _) = ask(&stage, "ann", &of("Floor", 3), WIDE).await;
    let held = stage.expect("ok", answer).into_booking().unwrap();
    assert_eq!((held.amount, held.seats.len()), (6_000, 3));
    assert_eq!(stage.snapshot().await.available, 9);
    let (answer, _) = ask(&stage, "ann", &of("Stalls", 2), WIDE).await;
    stage.expect("user_limit", answer);
});

on_each_redis!(overdue_holds_are_found_again, async |flavor| {
    let mut event = small_event(1);
    let floor = Section { name: "Floor".into(), price: 1, rows: None, capacity: Some(200) };
    event.layout = Arc::new(Layout::new(vec![floor]).unwrap());
    let stage = Stage::with_event(flavor, event).await;
    for n in 0..200 {
        let (answer, _) = ask(&stage, &format!("u{n}"), &any(1), WIDE).await;
        stage.expect("ok", answer);
    }
    let (answer, calls) = ask(&stage, "late", &any(2), WIDE).await;
    stage.expect("too_few_seats", answer);
    assert_eq!(calls, 1);
    stage.set_clock(START_MS + 60_000).await;
    // More than one call releases are in the way of this one.
    let (answer, _) = ask(&stage, "late", &any(4), WIDE).await;
    stage.expect("ok", answer);
    // A user's own overdue hold, behind more others than one call releases, is not counted.
    let (answer, _) = ask(&stage, "u199", &any(4), WIDE).await;
    stage.expect("ok", answer);
});

on_each_redis!(a_released_seat_is_found_below_the_mark, async |flavor| {
    let mut event = small_event(1);
    event.max_seats_per_user = 5_000;
    let section = |name: &str, capacity| Section {
        name: name.into(),
        price: 1,
        rows: None,
        capacity: Some(capacity),
    };
    event.layout = Arc::new(Layout::new(vec![section("A", 700), section("B", 700)]).unwrap());
    let stage = Stage::with_event(flavor, event).await;
    let mut held = Vec::new();
    for _ in 0..140 {
        let (answer, _) = ask(&stage, "ann", &any(10), WIDE).await;
        held.push(stage.expect("ok", answer).into_booking().unwrap());
    }
    assert_eq!(seats_of(&stage, any(1)).await, [0; 0]);
    // The middle of each section: the mark has passed it.
    for index in [100, 35] {
        let booking = &held[index];
        let answer = stage.engine.cancel(&stage.event, booking.id, &booking.user).await.unwrap();
        stage.expect("ok", answer);
        let expected: Vec<u32> = booking.seats.iter().map(|seat| seat.0).collect();
        assert_eq!(seats_of(&stage, any(10)).await, expected);
    }
});

on_each_redis!(named_seats_follow_the_orphan_rule, async |flavor| {
    for (rule, bytes, seats, code, alone) in [
        (OrphanRule::Enforce, "AaaAaaaaAaaa", vec![2], "orphan_seats", vec![1, 3]),
        (OrphanRule::Enforce, "AaaAaaaaAaaa", vec![1], "ok", vec![]),
        (OrphanRule::Enforce, "AaaAaaaaAaaa", vec![1, 2], "orphan_seats", vec![3]),
        (OrphanRule::Enforce, "AaaAaaaaAaaa", vec![4, 6], "orphan_seats", vec![5]),
        (OrphanRule::Enforce, "AaaAahaaAaaa", vec![4], "orphan_seats", vec![5]),
        (OrphanRule::Enforce, "AaaAaaaaAaaa", vec![10], "ok", vec![]),
        (OrphanRule::Enforce, "AaaAaaaaAaaa", vec![2, 5, 10], "orphan_seats", vec![1, 3, 4]),
        (OrphanRule::Warn, "AaaAaaaaAaaa", vec![2], "ok", vec![1, 3]),
        (OrphanRule::Off, "AaaAaaaaAaaa", vec![2], "ok", vec![]),
    ] {
        let event = Event { orphan_rule: rule, ..small_event(1) };
        let stage = stage_with(flavor, event, bytes).await;
        let answer = named(&stage, &seats).await;
        let left_alone = match &answer.reply {
            HoldReply::OrphanSeats { seats } | HoldReply::Held { left_alone: seats, .. } => {
                seats.clone()
            }
            _ => Vec::new(),
        };
        assert_eq!(answer.code(), code, "{rule:?} {bytes} {seats:?}");
        assert_eq!(
            left_alone.iter().map(|seat| seat.0).collect::<Vec<_>>(),
            alone,
            "{bytes} {seats:?}"
        );
    }
});

on_each_redis!(orphan_rule_ends_near_the_end_of_a_sale, async |flavor| {
    let event = Event { orphan_rule: OrphanRule::Enforce, ..wide_event(&[&[20]]) };
    let stage = Stage::with_event(flavor, event).await;
    for first in [1, 9] {
        let seats: Vec<u32> = (first..first + 8).collect();
        stage.expect("ok", named(&stage, &seats).await);
    }
    // 17 to 20 are free, a fifth of all; then 19 and 20, a tenth; then less.
    stage.expect("orphan_seats", named(&stage, &[18]).await);
    stage.expect("ok", named(&stage, &[17, 18]).await);
    stage.expect("orphan_seats", named(&stage, &[20]).await);
    let block = BlockCall {
        event: &stage.event,
        action: BlockAction::Block,
        seats: &[SeatId(19)],
        actor: "ann",
        reason: "test",
    };
    stage.expect("ok", stage.engine.block(&block).await.unwrap());
    stage.expect("ok", named(&stage, &[20]).await);
});

/// Holds these seats by name, under the event's orphan rule.
async fn named(stage: &Stage, seats: &[u32]) -> Timed<HoldReply> {
    let seats: Vec<SeatId> = seats.iter().copied().map(SeatId).collect();
    let nonce = new_nonce();
    let call = HoldCall {
        event: stage.event.id,
        generation: stage.event.generation,
        layout_version: stage.event.layout_version,
        currency: &stage.event.currency,
        booking: BookingId::new(stage.event.id, START_MS as u64, rand::random()),
        user: &stage.user(&nonce),
        nonce: &nonce,
        selection: SeatSelection::Named {
            seats: &seats,
            amount: 1,
            orphan_rule: stage.event.orphan_rule,
            neighbours: &neighbours(&stage.event.layout, &seats),
        },
        idempotency: &nonce,
        fingerprint: "f",
        trace: "",
        idempotency_ttl_ms: 60_000,
        replay_window_ms: 0,
        log_entries_max: 1_000_000,
        room_number: 0,
        exempt: false,
    };
    let not_after = stage.engine.not_after(stage.partition()).await.unwrap();
    stage.engine.hold(&call, not_after).await.unwrap()
}

/// An event with these rows in each section.
fn wide_event(sections: &[&[u32]]) -> Event {
    let section = |(n, rows): (usize, &&[u32])| Section {
        name: format!("S{n}"),
        price: 100,
        rows: Some(
            rows.iter()
                .enumerate()
                .map(|(n, seats)| Row { row: format!("R{n}"), seats: *seats })
                .collect(),
        ),
        capacity: None,
    };
    let layout = Layout::new(sections.iter().enumerate().map(section).collect()).unwrap();
    Event { layout: Arc::new(layout), max_seats_per_user: 10, ..small_event(1) }
}

/// The runs of free seats of an inventory: first seat and length, never beyond a row's end.
fn runs(layout: &Layout, free: &dyn Fn(u32) -> bool) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    let mut last_row = None;
    for seat in layout.seats() {
        let row = Some((seat.section, seat.row));
        let id = seat.id.0;
        if free(id) {
            match runs.last_mut() {
                Some((first, length)) if *first + *length == id && row == last_row => *length += 1,
                _ => runs.push((id, 1)),
            }
        }
        last_row = row;
    }
    runs
}

/// Random houses, random scan bounds: whatever is chosen is free, in one row, and leaves no seat
/// alone that the scan could have spared; and seats are refused only where there are none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_choice_crosses_a_row_or_leaves_a_seat_alone_without_need() {
    const CASES: u32 = 1_500;
    let house = (
        prop::collection::vec(prop::collection::vec(1u32..9, 1..5), 1..4),
        any_bytes(),
        1u32..6,
        any_bool(),
        prop_oneof![Just(50_000u32), 3u32..30],
    );
    let mut runner = TestRunner::new(Config { cases: CASES, ..Config::default() });
    let runtime = tokio::runtime::Handle::current();
    let judge = |(rows, taken, quantity, together, seats_max): (
        Vec<Vec<u32>>,
        Vec<bool>,
        u32,
        bool,
        u32,
    )| {
        let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        let event = wide_event(&rows);
        let mut bytes = Inventory::free(&event.layout).as_bytes().to_vec();
        for (byte, taken) in bytes[1..].iter_mut().zip(taken.iter().cycle()) {
            if *taken {
                *byte = SeatState::Booked.byte(byte.is_ascii_uppercase());
            }
        }
        let inventory = Inventory::from_bytes(bytes).unwrap();
        let wanted = Quantity { together, ..any(quantity) };
        let bounds = ScanBounds { seats_max, runs_max: 2_000 };
        runtime.block_on(judge_choice(event, inventory, wanted, bounds))
    };
    let judged = tokio::task::block_in_place(|| runner.run(&house, judge));
    judged.unwrap_or_else(|error| panic!("{error}"));
}

fn any_bytes() -> impl Strategy<Value = Vec<bool>> {
    // Mostly sold, half sold, and mostly free houses.
    prop_oneof![Just(0.85), Just(0.5), Just(0.2)]
        .prop_flat_map(|sold| prop::collection::vec(prop::bool::weighted(sold), 1..60))
}

fn any_bool() -> impl Strategy<Value = bool> {
    prop::bool::ANY
}

async fn judge_choice(
    event: Event,
    inventory: Inventory,
    wanted: Quantity,
    bounds: ScanBounds,
) -> Result<(), TestCaseError> {
    let stage = Stage::unopened(Flavor::Valkey, event).await;
    stage.open_with(&inventory).await;
    let layout = &stage.event.layout;
    let free = |seat: u32| inventory.state(SeatId(seat)) == Some(SeatState::Available);
    let before = runs(layout, &free);
    let (answer, _) = ask(&stage, "ann", &wanted, bounds).await;
    let n = wanted.seats;
    let whole = bounds.seats_max >= layout.total_seats();
    let Some(booking) = answer.booking() else {
        prop_assert_eq!(answer.code(), "too_few_seats");
        let possible = match wanted.together {
            true => before.iter().any(|(_, length)| *length >= n),
            false => layout.section_ranges().iter().any(|(_, first, count)| {
                (first.0..first.0 + count).filter(|seat| free(*seat)).count() as u32 >= n
            }),
        };
        prop_assert!(!possible, "{before:?}");
        return Ok(());
    };
    let chosen: Vec<u32> = booking.seats.iter().map(|seat| seat.0).collect();
    prop_assert_eq!(chosen.len() as u32, n);
    prop_assert!(chosen.iter().all(|seat| free(*seat)), "{chosen:?}");
    prop_assert!(chosen.is_sorted());
    let section = |seat: u32| layout.seat(SeatId(seat)).unwrap().section.to_owned();
    prop_assert!(chosen.iter().all(|seat| section(*seat) == section(chosen[0])));

    let in_one_run = before
        .iter()
        .any(|(first, length)| *first <= chosen[0] && chosen[n as usize - 1] < first + length);
    let one_piece = chosen[n as usize - 1] - chosen[0] == n - 1 && in_one_run;
    if wanted.together {
        prop_assert!(one_piece, "{chosen:?} of {before:?}");
    }
    let enough = before.iter().filter(|(_, length)| *length >= n);
    let clean = enough.clone().find(|(_, length)| *length != n + 1);
    if whole && (wanted.together || one_piece) {
        let expected = clean.or(enough.clone().next()).map(|run| run.0);
        prop_assert_eq!(Some(chosen[0]), expected, "{:?} of {:?}", &chosen, &before);
    }
    if whole && !wanted.together && !one_piece {
        prop_assert_eq!(enough.count(), 0, "one piece was there: {:?}", &before);
        // As few pieces as any section needs.
        let pieces = |section: &str| {
            let of_section =
                |run: &&(u32, u32)| layout.seat(SeatId(run.0)).unwrap().section == section;
            let mut lengths: Vec<u32> = before.iter().filter(of_section).map(|r| r.1).collect();
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            let mut sum = 0;
            lengths.iter().position(|length| {
                sum += length;
                sum >= n
            })
        };
        let fewest = layout.sections().iter().filter_map(|s| pieces(&s.name)).min().unwrap() + 1;
        let used = before.iter().filter(|(first, length)| {
            chosen.iter().any(|seat| (*first..first + length).contains(seat))
        });
        prop_assert_eq!(used.count(), fewest, "{:?} of {:?}", &chosen, &before);
    }
    Ok(())
}
