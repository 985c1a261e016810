//! Several concurrent repairers beside a running sale.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use holdfast::sale::restore::NoProgress;

use super::*;
use crate::on_one_redis;

/// Buyers of one sale.
const BUYERS: u32 = 8;
/// Seats of each event.
const SEATS: u32 = 60;

/// Buys one seat after the other, ignoring errors, until `stop` is set; returns the confirmed bookings.
async fn buyer(world: &World, number: u32, event: EventId, stop: Arc<AtomicBool>) -> Vec<Booking> {
    let (mut bought, mut seat) = (Vec::new(), number);
    while !stop.load(Ordering::SeqCst) && bought.len() < 9 {
        seat = seat % SEATS + 1;
        let held = world.hold(&format!("buyer-{number}"), event, &[seat], None).await;
        if let Ok(held) = held
            && let Ok(Confirmed::Settled(view)) = world.confirm(&held).await
        {
            bought.push(view.booking);
        }
        tokio::task::yield_now().await;
    }
    bought
}

on_one_redis!(sale_continues_during_concurrent_repairs, async |flavor| {
    let place = Place::new(flavor).await;
    let world = &place.world;
    let workers = [place.worker().await, place.worker().await];
    let events = [world.event(SEATS).await, world.event(SEATS).await, world.event(SEATS).await];
    let stop = Arc::new(AtomicBool::new(false));
    let buyers = events.iter().flat_map(|event| {
        let stop = &stop;
        (0..BUYERS).map(move |number| buyer(world, number, *event, stop.clone()))
    });
    let breaking = async {
        let has_sold_some = async || {
            let mut sold = usize::MAX;
            for event in events {
                sold = sold.min(place.seats(event).await.matches(['b', 'B']).count());
            }
            sold >= 5
        };
        eventually("the sale is running", REPAIRED, has_sold_some).await;
        place.flush();
        let restorer = place.restorer();
        for event in events {
            // Concurrently with the workers; the later one takes over, or leaves it.
            let _another_may_win = restorer.restore(event, &NoProgress).await;
        }
        for event in events {
            place.restored(event, 2).await;
        }
        // The sale continues.
        let before = world.entries(events[0]).await.len();
        let moves = async || world.entries(events[0]).await.len() > before;
        eventually("the event sells", SOON, moves).await;
        stop.store(true, Ordering::SeqCst);
    };
    let (bought, ()) = tokio::join!(join_all(buyers), breaking);
    world.verified().await;
    let mut seats = HashMap::new();
    for booking in bought.iter().flatten() {
        assert_eq!(world.status(booking.id).await, Some(Status::Confirmed), "{booking:?}");
        for seat in &booking.seats {
            // A repeated request for a seat returns the same booking.
            let owner = *seats.entry((booking.id.event(), *seat)).or_insert(booking.id);
            assert_eq!(owner, booking.id, "seat {seat} is sold twice");
        }
    }
    assert!(!seats.is_empty(), "nobody bought anything");
    assert!(workers.into_iter().all(WorkerProcess::stop));
    place.world.stop().await;
});
