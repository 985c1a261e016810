//! An event and a booking for unit tests.

use std::sync::Arc;

use crate::domain::layout::Row;
use crate::domain::{
    Booking, BookingId, Event, EventId, EventStatus, Inventory, Layout, LoadState, SeatId, Section,
    Status,
};
use crate::sale::{BookingView, SeatMap};

/// Event 7: stalls of rows A and B with two seats each at 5000, a floor of three at 2000.
pub fn event() -> Arc<Event> {
    let rows = ["A", "B"].map(|row| Row { row: row.into(), seats: 2 }).to_vec();
    let stalls = Section { name: "Stalls".into(), price: 5_000, rows: Some(rows), capacity: None };
    let floor = Section { name: "Floor".into(), price: 2_000, rows: None, capacity: Some(3) };
    Arc::new(Event {
        id: EventId(7),
        name: "Gala".into(),
        description: String::new(),
        venue: "Hall".into(),
        currency: "EUR".into(),
        starts_at_ms: None,
        on_sale_at_ms: Some(5_000),
        off_sale_at_ms: Some(20_000),
        hold_ttl_ms: 300_000,
        max_hold_ms: 900_000,
        max_seats_per_user: 10,
        orphan_rule: crate::domain::OrphanRule::Off,
        cancel_policy: Default::default(),
        status: EventStatus::OnSale,
        revision: 1,
        edits: 0,
        load_state: LoadState::Opened,
        generation: 1,
        layout_version: 1,
        seat_names_have_section: true,
        layout: Arc::new(Layout::new(vec![stalls, floor]).unwrap()),
        created_at_ms: 1,
    })
}

/// Seat 2 held, seat 3 sold, the floor's last ticket blocked.
pub fn seat_map() -> SeatMap {
    SeatMap {
        event: event(),
        inventory: Inventory::from_bytes(b"1AhBaAax".to_vec()).unwrap(),
        generation: 3,
        version: 17,
        now_ms: 10_000,
    }
}

/// Ann's hold on seat 2, just made.
pub fn booking_view() -> BookingView {
    let booking = Booking {
        id: BookingId::new(EventId(7), 1, 2),
        status: Status::Hold,
        version: 1,
        user: "ann".parse().unwrap(),
        seats: vec![SeatId(2)],
        amount: 5_000,
        currency: "EUR".into(),
        created_ms: 1,
        deadline_ms: 300_001,
        nonce: String::new(),
        lease: 0,
        lease_until_ms: 0,
        payment: String::new(),
        paid_ms: 0,
        confirmed_ms: 0,
        ended_ms: 0,
        idempotency: String::new(),
        fingerprint: String::new(),
        trace: String::new(),
    };
    let (replayed, left_alone, archived) = (false, Vec::new(), false);
    BookingView { booking, event: event(), replayed, left_alone, archived, now_ms: 1 }
}
