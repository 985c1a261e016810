//! What is sold: the events of the sequences, as the engine and as the model take them.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast::domain::event::LoadState;
use holdfast::domain::layout::{Row, Section};
use holdfast::domain::{Event, EventId, EventStatus, Layout, SeatId};

use super::START_MS;
use super::operations::{Hall, Setting};
use super::sale::{self, EventState, Operated};

/// The event that a sequence sells.
pub fn event(id: EventId, setting: Setting) -> Event {
    let row = |row: &str, seats| Row { row: row.into(), seats };
    let rows = |name: &str, price, rows: Vec<Row>| Section {
        name: name.into(),
        price,
        rows: Some(rows),
        capacity: None,
    };
    let floor =
        |price, places| Section { name: "Floor".into(), price, rows: None, capacity: Some(places) };
    let sections = match setting.hall {
        Hall::Small => {
            vec![rows("Stalls", 5_000, vec![row("A", 3), row("B", 5)]), floor(2_000, 4)]
        }
        Hall::Wide => vec![
            rows("Stalls", 5_000, vec![row("A", 10), row("B", 7), row("C", 11)]),
            floor(2_000, 12),
            rows("Balcony", 3_000, vec![row("A", 8)]),
        ],
    };
    Event {
        id,
        name: "Model".into(),
        description: String::new(),
        venue: String::new(),
        currency: "EUR".into(),
        starts_at_ms: None,
        on_sale_at_ms: None,
        off_sale_at_ms: None,
        hold_ttl_ms: 60_000,
        max_hold_ms: i64::from(setting.max_hold_s) * 1_000,
        max_seats_per_user: u32::from(setting.per_user),
        orphan_rule: setting.orphan_rule,
        cancel_policy: Default::default(),
        status: EventStatus::OnSale,
        revision: 1,
        edits: 0,
        load_state: LoadState::New,
        generation: 1,
        layout_version: 1,
        seat_names_have_section: true,
        layout: Arc::new(Layout::new(sections).unwrap()),
        created_at_ms: START_MS,
    }
}

/// The event as a load brings it into Redis.
pub fn fresh(event: &Event) -> EventState {
    let (mut sections, mut row_starts, mut next) = (Vec::new(), BTreeSet::new(), 1);
    for section in event.layout.sections() {
        let first = SeatId(next);
        let rows = section.rows.iter().flatten().map(|row| row.seats);
        for seats in rows.chain(section.capacity) {
            row_starts.insert(SeatId(next));
            next += seats;
        }
        sections.push(sale::Section {
            name: section.name.clone(),
            first,
            last: SeatId(next - 1),
            price: section.price,
            rows: section.rows.is_some(),
        });
    }
    EventState {
        id: event.id,
        open: false,
        generation: event.generation,
        version: 0,
        operated: Operated {
            revision: event.revision,
            status: event.status,
            on_sale_at_ms: event.on_sale_at_ms.unwrap_or(0),
            off_sale_at_ms: event.off_sale_at_ms.unwrap_or(0),
        },
        layout_version: event.layout_version,
        hold_ttl_ms: event.hold_ttl_ms,
        max_hold_ms: event.max_hold_ms,
        per_user: i64::from(event.max_seats_per_user),
        currency: event.currency.clone(),
        total: next - 1,
        row_starts,
        sections,
        orphan_rule: event.orphan_rule,
        bookings: Default::default(),
        holders: Default::default(),
        blocked: Default::default(),
        requests: Default::default(),
        opened_with: Default::default(),
    }
}
