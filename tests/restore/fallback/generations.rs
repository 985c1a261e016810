//! A generation that Redis loses: MongoDB has an event in a later one than Redis.

use holdfast::sale::restore::NoProgress;

use super::*;
use crate::on_one_redis;
use crate::support::world::answered;

on_one_redis!(lost_generation_is_detected_and_repaired, async |flavor| {
    let place = Place::new(flavor).await;
    let event = place.world.event(10).await;
    let worker = place.worker().await;
    place.buy("ann", event, &[1]).await;
    place.world.verified().await;
    let copy = place.redis.saved_writes();
    // No worker archives the entry of the new generation, so no log shows the loss.
    assert!(worker.stop());
    place.restorer().restore(event, &NoProgress).await.unwrap().unwrap();
    let place = place.fall_back(&copy, ALL_DIE, &mut Vec::new()).await;
    let workers = place.workers(1).await;
    place.restored(event, 3).await;
    let sold = place.buy("bob", event, &[2]).await;
    place.becomes(&sold, Status::Confirmed).await;
    place.end(workers).await;
});

on_one_redis!(sale_paid_in_a_lost_generation_is_confirmed_after_the_repair, async |flavor| {
    let place = Place::new(flavor).await;
    let event = place.world.event(10).await;
    let worker = place.worker().await;
    place.buy("ann", event, &[1]).await;
    place.world.verified().await;
    let copy = place.redis.saved_writes();
    assert!(worker.stop());
    // Another process restores; this one only has the first generation, like Redis after the fall-back.
    place.restorer().restore(event, &NoProgress).await.unwrap().unwrap();
    let crash = Crash { api_dies: false, ..ALL_DIE };
    let place = place.fall_back(&copy, crash, &mut Vec::new()).await;
    let held = answered(async || place.world.hold("bob", event, &[2], None).await).await.unwrap();
    let paying = answered(async || place.world.confirm(&held).await);
    let (paid, workers) = tokio::join!(paying, place.workers(2));
    paid.unwrap();
    place.becomes(&held.booking, Status::Confirmed).await;
    place.restored(event, 3).await;
    place.end(workers).await;
});

on_one_redis!(hold_that_finds_a_lost_generation_reports_it, async |flavor| {
    let place = Place::new(flavor).await;
    let event = place.world.event(10).await;
    let copy = place.redis.saved_writes();
    place.restorer().restore(event, &NoProgress).await.unwrap().unwrap();
    let place = place.fall_back(&copy, ALL_DIE, &mut Vec::new()).await;
    not_loaded(event, place.world.hold("bob", event, &[2], None).await);
    eventually("the loss is reported", SOON, async || {
        let watched = place.world.archive.watched_events().await.unwrap();
        watched.iter().any(|one| one.id == event && one.loss_reported == Some(2))
    })
    .await;
    let workers = place.workers(1).await;
    place.restored(event, 3).await;
    place.buy("bob", event, &[2]).await;
    place.end(workers).await;
});
