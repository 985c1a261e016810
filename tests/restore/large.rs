//! Restore of an event with many bookings: read in pages, placed in bounded calls.

use holdfast::domain::{BookingId, Entry, LogId};
use holdfast::sale::restore::NoProgress;

use super::*;
use crate::support::entries::{entry, sold_life};
use crate::support::servers::available;

/// Sold bookings and holds: more than a page of each.
const SOLD: u32 = 1_150;
const HELD: u32 = 1_050;
/// Entries stored at once, few enough for a slow server.
const BATCH: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_restored() {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    let place = Place::new(flavor).await;
    let world = &place.world;
    let event = world.event(SOLD + HELD).await;
    let partition = world.partition(event);
    let deadline_ms = world.engine.redis_time_ms(partition).await.unwrap() + 600_000;
    let id = |seat: u32| BookingId::new(event, u64::from(seat), u64::from(seat));
    let sold = (1..=SOLD).flat_map(|seat| sold_life(id(seat), &[seat]).split_off(2));
    let held = (SOLD + 1..=SOLD + HELD).map(|seat| {
        let mut held = entry(id(seat), &[seat], Kind::Hold, 1);
        let transition = held.transition.as_mut().unwrap();
        transition.deadline_ms = deadline_ms;
        transition.user = format!("u{seat}").parse().unwrap();
        held
    });
    let entries: Vec<(_, Entry)> = sold
        .chain(held)
        .zip(1..)
        .map(|(one, seq)| (partition, Entry { id: LogId { ms: 1, seq }, ..one }))
        .collect();
    for chunk in entries.chunks(BATCH) {
        let stored = world.archive.store(chunk).await.unwrap();
        assert!(stored.failed.is_empty(), "{:?}", stored.failed);
    }

    place.flush();
    let restored = place.restorer().restore(event, &NoProgress).await.unwrap().unwrap();
    assert_eq!((restored.sold, restored.live, restored.ended), (SOLD.into(), HELD.into(), 0));
    let expected = "b".repeat(SOLD as usize) + &"h".repeat(HELD as usize);
    assert_eq!(place.seats(event).await.to_lowercase(), expected);
    // Merging an unchanged event has no effect.
    let merged = place.restorer().restore(event, &NoProgress).await.unwrap().unwrap();
    assert!(merged.merged);
    assert_eq!((merged.sold, merged.undone, merged.ended), (0, 0, 0));
    place.world.stop().await;
}
