use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use super::*;
use crate::domain::entry::Link;
use crate::domain::layout::{Layout, Section};
use crate::domain::{BookingId, Status, Transition};

const SEATS: u32 = 3_000;

fn view() -> View {
    let floor = Section { name: "Floor".into(), price: 1, rows: None, capacity: Some(SEATS) };
    let inventory = Inventory::free(&Layout::new(vec![floor]).unwrap());
    View::new(ViewInit {
        event: EventId(1),
        generation: 1,
        version: 0,
        now_ms: 0,
        status: EventStatus::OnSale,
        on_sale_at_ms: 0,
        off_sale_at_ms: 0,
        fold: Fold::new(inventory.seats()),
        inventory,
        at: LogId::default(),
    })
}

/// The next entry: a hold of these seats, or its end.
fn entry(version: u64, booking: u64, kind: Kind, seats: Vec<SeatId>) -> Entry {
    let status = if kind == Kind::Hold { Status::Hold } else { Status::Cancelled };
    Entry {
        id: LogId { ms: version, seq: 0 },
        kind,
        event: Some(EventId(1)),
        generation: 1,
        event_version: version,
        time_ms: 1,
        transition: Some(Transition {
            booking: BookingId::new(EventId(1), 1, booking),
            user: "ann".parse().unwrap(),
            seats,
            status,
            version: 1,
            amount: 0,
            currency: "EUR".into(),
            created_ms: 1,
            deadline_ms: 1_000,
            lease: 0,
            payment: String::new(),
            paid_ms: 0,
            confirmed_ms: 0,
            idempotency: String::new(),
            fingerprint: String::new(),
            trace: String::new(),
        }),
        house: None,
        detail: String::new(),
        link: Link { tag: String::new(), prev_id: LogId::default(), prev_tag: String::new() },
    }
}

#[test]
fn consistent_count_sees_a_single_version() {
    let (view, hashes) = (Arc::new(view()), Hashes::default());
    // One seat is free at any time: the last, or the first of all.
    let (first, last) = (SeatId(1), SeatId(SEATS));
    let rest = (2..SEATS).map(SeatId).collect();
    view.apply(&entry(1, 1, Kind::Hold, rest), &hashes).unwrap();
    view.apply(&entry(2, 2, Kind::Hold, vec![first]), &hashes).unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = thread::spawn({
        let (view, is_over) = (view.clone(), is_over.clone());
        move || {
            let (mut counted, mut moved) = (0, 0);
            while counted < 1_000 || !is_over.load(Ordering::Relaxed) {
                match view.read_consistent(|| view.free_between(first, last)) {
                    Some(free) => counted += usize::from(free == 1 || free == 2),
                    None => moved += 1,
                }
                let none = view.read_consistent(|| view.free_between(first, last) == 0);
                assert_ne!(none, Some(true), "after {counted} counts, {moved} discarded");
            }
        }
    });
    for round in 0..20_000 {
        let (free, taken) = if round % 2 == 0 { (first, last) } else { (last, first) };
        let version = 3 + round * 2;
        let cancelled = entry(version, 2 + round, Kind::Cancelled, vec![free]);
        view.apply(&cancelled, &hashes).unwrap();
        let held = entry(version + 1, 3 + round, Kind::Hold, vec![taken]);
        view.apply(&held, &hashes).unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    reader.join().unwrap();
}
