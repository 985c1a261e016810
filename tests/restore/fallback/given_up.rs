//! Cancelled holds and blocked seats stay so across a fork of the log.

use holdfast::domain::Outcome;

use super::*;
use crate::on_one_redis;

on_one_redis!(newer_block_outlasts_a_lost_release, async |flavor| {
    let place = Place::new(flavor).await;
    let worker = place.worker().await;
    let event = place.world.event(20).await;
    for seat in [9, 10] {
        place.block(event, BlockAction::Block, seat).await;
    }
    place.world.verified().await;
    let copy = place.redis.saved_writes();
    // Higher versions of the event than the fork will have.
    for seat in 1..=4 {
        place.buy("ann", event, &[seat]).await;
    }
    place.block(event, BlockAction::Release, 9).await;
    place.block(event, BlockAction::Release, 10).await;
    place.world.verified().await;
    drop(worker);
    let crash = Crash { api_dies: false, ..ALL_DIE };
    let place = place.fall_back(&copy, crash, &mut Vec::new()).await;
    // In the fork seat 9 is released and blocked again; the last entry of seat 10 is the lost release.
    place.block(event, BlockAction::Release, 9).await;
    place.block(event, BlockAction::Block, 9).await;
    let workers = place.workers(1).await;
    place.restored(event, 2).await;
    place.world.verified().await;
    let blocked = place.world.archive.blocked_seats(event).await.unwrap();
    assert_eq!(blocked.into_iter().collect::<Vec<_>>(), [SeatId(9)]);
    assert_eq!(place.seats(event).await.to_lowercase(), "bbbbaaaaxaaaaaaaaaaa");
    place.end(workers).await;
});

on_one_redis!(cancelled_and_removed_hold_is_not_sold_by_a_late_payment, async |flavor| {
    let place = Place::new(flavor).await;
    let world = &place.world;
    let worker = place.worker().await;
    let event = world.event(5).await;
    let held = world.hold("ann", event, &[1], None).await.unwrap().booking;
    world.sale.cancel(&held.user, held.id).await.unwrap();
    let archived = async || {
        let archived = world.archive.booking(held.id).await.unwrap();
        archived.is_some_and(|one| one.booking.status == Status::Cancelled)
    };
    eventually("it is archived", SOON, archived).await;
    assert!(worker.stop());
    // As the retention removes it later, or a rebuilt event lacks it.
    let keys = world.engine.keys();
    let id = held.id.to_string();
    place.redis.command(&["HDEL", &keys.bookings(event), &id]);
    place.redis.command(&["ZREM", &keys.ended(event), &id]);
    world.charge_unseen(&held).await;
    let workers = place.workers(1).await;
    eventually("its payment is refunded", REPAIRED, async || {
        let _the_worker_may_be_quicker = world.sale.payments().reconcile(held.id).await;
        let archived = world.archive.booking(held.id).await.unwrap().unwrap();
        archived.outcome.is_some()
    })
    .await;
    let archived = world.archive.booking(held.id).await.unwrap().unwrap();
    assert_eq!(archived.outcome, Some(Outcome::Refund));
    assert_eq!(world.free(event).await, Some(5));
    place.end(workers).await;
});
