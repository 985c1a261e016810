//! An event nearly all of whose seats are sold, each to a booking of its own, filled in seconds.

use std::error::Error;

use futures_util::{StreamExt, TryStreamExt, stream};
use holdfast::archive::Archive;
use holdfast::domain::{
    Booking, BookingId, Event, EventId, Inventory, Layout, SeatId, Section, Status,
};
use holdfast::redis::{Engine, LoadBookingsReply, OpenEventReply};

use super::stage::{self, rows_of_a_hundred};

/// Rows of a hundred seats in a section.
const SECTION_ROWS: u32 = 100;
/// Bookings of one call, and calls under way.
const CALL_BOOKINGS: usize = 250;
const CALLS_AT_ONCE: usize = 2;
/// Attempts of a call that a busy Redis was late for.
const ATTEMPTS: u32 = 20;

/// Opens an event as the API opens it, with bookings placed in between, as a restore places them. The
/// last `free` seats stay free.
pub async fn booked_event(
    engine: &Engine,
    archive: &Archive,
    seats: u32,
    free: u32,
) -> Result<EventId, Box<dyn Error>> {
    let id = archive.next_event_id().await?;
    let event = Event { id, ..stage::event(Layout::new(sections(seats))?) };
    let loaded = engine.load_event(&event, &Inventory::free(&event.layout)).await?;
    let OpenEventReply::Done { token } = loaded else {
        return Err(format!("the event was not loaded: {loaded:?}").into());
    };
    let sold: Vec<u32> = (1..=seats - free).collect();
    let calls = sold.chunks(CALL_BOOKINGS).map(|seats| place(engine, &event, &token, seats));
    stream::iter(calls).buffer_unordered(CALLS_AT_ONCE).try_collect::<Vec<()>>().await?;
    // Not before it is filled: processes load events that the archive has and Redis lacks.
    archive.insert_event(&event).await?;
    archive.mark_opened(id, event.generation, &token).await?;
    engine.open_event(&event, &token).await?;
    Ok(id)
}

async fn place(
    engine: &Engine,
    event: &Event,
    token: &str,
    seats: &[u32],
) -> Result<(), Box<dyn Error>> {
    let bookings = seats.iter().map(|seat| booking(event.id, *seat));
    let bookings = bookings.collect::<Result<Vec<Booking>, _>>()?;
    for _ in 0..ATTEMPTS {
        match engine.load_bookings(event, token, &bookings, &[]).await?.reply {
            LoadBookingsReply::Placed { .. } => return Ok(()),
            LoadBookingsReply::TooLate => {}
            other => return Err(format!("not placed: {other:?}").into()),
        }
    }
    Err("Redis was late too often".into())
}

/// The sections of so many seats, in rows of a hundred.
pub fn sections(seats: u32) -> Vec<Section> {
    let rows = seats / 100;
    let sections = 1..=rows.div_ceil(SECTION_ROWS);
    sections.map(|n| rows_of_a_hundred(&n.to_string(), rows.min(SECTION_ROWS))).collect()
}

fn booking(event: EventId, seat: u32) -> Result<Booking, Box<dyn Error>> {
    Ok(Booking {
        id: BookingId::new(event, 1, seat.into()),
        status: Status::Confirmed,
        version: 4,
        user: format!("buyer-{seat}").parse()?,
        seats: vec![SeatId(seat)],
        amount: stage::PRICE,
        currency: "EUR".to_owned(),
        created_ms: 1,
        deadline_ms: 1,
        nonce: String::new(),
        lease: 1,
        lease_until_ms: 0,
        payment: format!("sim_{seat}"),
        paid_ms: 1,
        confirmed_ms: 1,
        ended_ms: 0,
        idempotency: format!("key-{seat}"),
        fingerprint: "print".to_owned(),
        trace: String::new(),
    })
}
