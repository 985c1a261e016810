//! A second loss during the repair of the first.

use super::*;
use crate::on_one_redis;

on_one_redis!(log_is_not_accepted_while_an_event_of_its_partition_is_loading, async |flavor| {
    let place = Place::new(flavor).await;
    let mut workers = place.workers(1).await;
    let event = place.world.event(10).await;
    let partition = place.world.partition(event);
    let loading = loop {
        let other = place.world.event(10).await;
        if place.world.partition(other) == partition {
            break other;
        }
    };
    place.buy("ann", loading, &[1]).await;
    place.buy("ann", event, &[1]).await;
    place.world.verified().await;
    let copy = place.redis.saved_writes();
    let sold = place.buy("bob", event, &[2]).await;
    place.world.verified().await;
    let crash = Crash { workers: 1, dying: 1, api_dies: false };
    // Another process loads the other event and shows its progress.
    let facts = place.world.archive.load_facts(loading).await.unwrap().unwrap();
    let generation = place.world.archive.begin_load(loading, &facts).await.unwrap().unwrap();
    let archive = place.world.archive.clone();
    let beating = tokio::spawn(async move {
        while archive.beat_load(loading, generation).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let place = place.fall_back(&copy, crash, &mut workers).await;
    place.becomes(&sold, Status::Confirmed).await;
    place.restored(event, 2).await;
    let is_broken = async || {
        let broken = place.restorer().check_logs().await.unwrap().broken;
        broken.iter().any(|log| log.partition == partition)
    };
    // Long enough for several checks of the worker.
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        assert!(is_broken().await, "the log is accepted");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    beating.abort();
    eventually("the log is accepted", REPAIRED, async || !is_broken().await).await;
    place.restored(loading, 2).await;
    place.end(workers).await;
});
