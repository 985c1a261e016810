//! The worker that archived the lost entries dies with Redis: no process that read them is left.

use super::*;
use crate::on_one_redis;

/// Whether owners look at their bookings meanwhile: a look that finds a loss reports it.
#[derive(Clone, Copy, PartialEq)]
enum Owners {
    Look,
    Wait,
}

/// A booking was reported as CONFIRMED; then Redis falls back to the time of the hold.
async fn confirmed_stays_confirmed(flavor: Flavor, crash: Crash, owners: Owners) {
    let place = Place::new(flavor).await;
    let mut workers = place.workers(crash.workers).await;
    let event = place.world.event(10).await;
    place.buy("ann", event, &[1]).await;
    let held = place.world.hold("bob", event, &[2], None).await.unwrap();
    place.world.verified().await;
    let copy = place.redis.saved_writes();
    let sold = place.pay(&held).await;
    let other = place.buy("cid", event, &[3]).await;
    let place = place.fall_back(&copy, crash, &mut workers).await;
    // Reported from the first answer on; in Redis, once it is repaired.
    eventually("it is repaired", REPAIRED, async || {
        if owners == Owners::Look {
            for booking in [&sold, &other] {
                let shown = place.shown(booking).await;
                assert!(
                    shown.is_none_or(|shown| shown == Status::Confirmed),
                    "{crash:?}: {shown:?}"
                );
            }
        }
        let sold = place.world.status(sold.id).await == Some(Status::Confirmed);
        sold && place.world.status(other.id).await == Some(Status::Confirmed)
    })
    .await;
    let refused = place.world.hold("eve", event, &[2], None).await;
    assert!(refused.is_err(), "{crash:?}");
    place.end(workers).await;
}

on_one_redis!(
    confirmed_booking_stays_confirmed_though_its_worker_died_with_redis,
    async |flavor| {
        let crashes = match flavor {
            Flavor::Redis => &CRASHES[..],
            Flavor::Valkey | Flavor::Cluster => &CRASHES[3..4],
        };
        for crash in crashes {
            confirmed_stays_confirmed(flavor, *crash, Owners::Look).await;
        }
    }
);

// Only the heads in the archive show this loss: no process that read the lost entries survives, and no
// request reads the bookings.
on_one_redis!(loss_is_repaired_though_nobody_asks_for_the_booking, async |flavor| {
    confirmed_stays_confirmed(flavor, CRASHES[0], Owners::Wait).await;
});

on_one_redis!(owner_of_a_lost_sale_is_answered_from_the_archive, async |flavor| {
    for api_dies in [true, false] {
        let place = Place::new(flavor).await;
        let worker = place.worker().await;
        let event = place.world.event(10).await;
        let held = [
            place.world.hold("ann", event, &[1], None).await.unwrap(),
            place.world.hold("bob", event, &[2], None).await.unwrap(),
        ];
        let copy = place.redis.saved_writes();
        let kept = place.pay(&held[0]).await;
        let cancelled_later = place.pay(&held[1]).await;
        drop(worker);
        // No worker repairs.
        let crash = Crash { api_dies, ..ALL_DIE };
        let place = place.fall_back(&copy, crash, &mut Vec::new()).await;
        let world = &place.world;
        assert_eq!(place.shown(&kept).await, Some(Status::Confirmed));
        assert_eq!(place.shown(&cancelled_later).await, Some(Status::Confirmed));
        // A cancellation meanwhile cancels the sale.
        let cancelled = world.sale.cancel(&cancelled_later.user, cancelled_later.id).await.unwrap();
        assert_eq!(cancelled.booking.status, Status::Cancelled);
        let archived = world.archive.booking(cancelled_later.id).await.unwrap().unwrap();
        assert_eq!(archived.outcome, Some(holdfast::domain::Outcome::Cancelled));
        let workers = place.workers(1).await;
        place.becomes(&kept, Status::Confirmed).await;
        place.becomes(&cancelled_later, Status::Cancelled).await;
        place.end(workers).await;
    }
});

on_one_redis!(refund_against_a_sold_owner_starts_a_repair_of_its_partition, async |flavor| {
    let place = Place::new(flavor).await;
    let world = &place.world;
    let worker = place.worker().await;
    let event = world.event(10).await;
    let (sold, other) = (place.buy("ann", event, &[1]).await, place.buy("bob", event, &[2]).await);
    world.verified().await;
    // Lost without evidence in the log.
    let keys = world.engine.keys();
    for booking in [&sold, &other] {
        let (id, seat) = (booking.id.to_string(), booking.seats[0].to_string());
        place.redis.command(&["HDEL", &keys.bookings(event), &id]);
        place.redis.command(&["HDEL", &keys.holders(event), &seat]);
        let letter = if booking.seats[0].0 == 1 { "A" } else { "a" };
        place.redis.command(&["SETRANGE", &keys.event_keys(event)[1], &seat, letter]);
        place.redis.command(&["HINCRBY", &keys.event_keys(event)[0], "available", "1"]);
        place.redis.command(&["HINCRBY", &keys.event_keys(event)[6], booking.user.as_str(), "-1"]);
    }
    let rival = world.hold("eve", event, &[1], None).await.unwrap();
    assert_eq!(world.confirm(&rival).await.unwrap_err(), SaleError::SaleVoided(rival.booking.id));
    place.becomes(&sold, Status::Confirmed).await;
    place.becomes(&other, Status::Confirmed).await;
    place.restored(event, 2).await;
    let done = async || worker.metric(r#"holdfast_restores_total{result="merged"}"#).await >= 1.0;
    eventually("a repair has ended", REPAIRED, done).await;
    place.end(vec![worker]).await;
});
