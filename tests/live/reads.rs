//! Reads while the view cannot be used.

use std::time::Duration;

use holdfast::domain::{EventId, SeatState};
use holdfast::live::LiveSettings;
use holdfast::redis::scripts::ClockSource;
use holdfast::sale::{LatestSeats, SeatMap};

use super::watch::{Watch, engine, wide_event};
use super::{PATIENCE, fresh};
use crate::support::engine::Stage;
use crate::support::servers::{Flavor, available, shared_mongodb, shared_redis};
use crate::support::world::World;
use crate::support::{eventually, unique_name};

/// The newest seats, and whether they are from the view.
async fn newest(world: &World, event: EventId) -> (SeatMap, bool) {
    let known = world.sale.known_event(event).await.unwrap();
    match world.sale.latest_seats(known, None).await.unwrap() {
        LatestSeats::Seats(map, is_from_view) => (map, is_from_view),
        LatestSeats::Unchanged | LatestSeats::Stale(..) => panic!("no version was given"),
    }
}

async fn world() -> World {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    World::new(shared_redis(flavor), shared_mongodb()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_view_is_bypassed_for_redis() {
    let world = world().await;
    let event = world.event(10).await;
    let live = world.sale.live();
    fresh(live, event).await;
    assert!(newest(&world, event).await.1, "from the view");
    live.pause_tails(true);
    world.hold("ann", event, &[3], None).await.unwrap();
    let is_stale = async || live.fresh(event).is_none();
    eventually("the view is too old", PATIENCE, is_stale).await;
    let (map, is_from_view) = newest(&world, event).await;
    assert!(!is_from_view);
    assert_eq!(map.inventory.state(holdfast::domain::SeatId(3)), Some(SeatState::Hold));
    let (version, known) = ((map.generation, map.version), map.event.clone());
    let again = world.sale.latest_seats(known, Some(version)).await.unwrap();
    assert!(matches!(again, LatestSeats::Unchanged));
    // So are the counts of the event.
    assert_eq!(world.sale.event(event).await.unwrap().available_seats, Some(9));

    live.pause_tails(false);
    fresh(live, event).await;
    let (after, is_from_view) = newest(&world, event).await;
    assert!(is_from_view);
    assert_eq!((after.version, &after.inventory), (map.version, &map.inventory));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_holds_are_shown_as_free_without_a_sweeper() {
    let world = world().await;
    let event = world.event_of(10, Some(1)).await;
    fresh(world.sale.live(), event).await;
    world.hold("ann", event, &[3, 4], None).await.unwrap();
    let free = async || {
        let (map, is_from_view) = newest(&world, event).await;
        is_from_view.then(|| map.totals().available)
    };
    eventually("the hold is shown", PATIENCE, async || free().await == Some(8)).await;
    eventually("its end is shown", PATIENCE, async || free().await == Some(10)).await;
    world.hold("bob", event, &[3], None).await.unwrap();
    let counted = async || world.sale.event(event).await.unwrap().available_seats;
    eventually("the hold is counted", PATIENCE, async || counted().await == Some(9)).await;
    tokio::time::timeout(PATIENCE, async {
        while counted().await != Some(10) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("its end is counted");
    world.stop().await;
}

/// Without a worker the log is not trimmed, and stale views serve nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_log_gets_no_beats_and_its_view_becomes_stale() {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    let engine = engine(shared_redis(flavor), unique_name(), ClockSource::Redis).await;
    let stage = Stage { engine, event: wide_event(1, 10) };
    stage.load_and_open().await;
    let entries = stage.log().await.len() as u64 + 3;
    let watch =
        Watch::with(stage, LiveSettings { log_entries_max: entries, ..LiveSettings::default() });
    let (live, event) = (&watch.live, watch.stage.event.id);
    fresh(live, event).await;
    eventually("there are no more beats", PATIENCE, async || {
        live.fresh(event).is_none() && live.state().is_stale
    })
    .await;
    assert_eq!(watch.stage.log().await.len() as u64, entries);
    watch.stop().await;
}
