//! A Redis in a past state: its file was truncated, or a failover lost writes. The archive's decisions
//! are kept, its live bookings are restored, and seats sold twice meanwhile are refunded.

use super::*;
use crate::on_one_redis;
use crate::support::proxy::Proxy;
use crate::support::servers::available;

/// Bookings made before the saved state.
struct Before {
    kept: Booking,
    paying: BookingView,
    cancelled_sale: Booking,
    cancelled_hold: Booking,
    quiet: Booking,
}

/// Bookings made after the saved state, which Redis loses.
struct Lost {
    sold: Booking,
    paid: Booking,
    resold: Booking,
    last: Booking,
    held: Booking,
}

impl Place {
    async fn before(&self, event: EventId) -> Before {
        let world = &self.world;
        let kept = self.buy("ann", event, &[1, 2]).await;
        let paying = world.hold("bob", event, &[3], Some("bobs")).await.unwrap();
        let cancelled_sale = self.buy("cid", event, &[5]).await;
        let cancelled_hold = world.hold("gus", event, &[11], None).await.unwrap().booking;
        let quiet = world.hold("hal", event, &[13], None).await.unwrap().booking;
        self.block(event, BlockAction::Block, 9).await;
        world.verified().await;
        Before { kept, paying, cancelled_sale, cancelled_hold, quiet }
    }

    async fn lost(&self, event: EventId, before: &Before) -> Lost {
        let world = &self.world;
        let sold = self.buy("dan", event, &[6, 7]).await;
        let paid = self.pay(&before.paying).await;
        world.sale.cancel(&before.cancelled_sale.user, before.cancelled_sale.id).await.unwrap();
        let resold = self.buy("eve", event, &[5]).await;
        let last = self.buy("lou", event, &[15]).await;
        let held = world.hold("fay", event, &[10], Some("fays")).await.unwrap().booking;
        let cancelled_hold = &before.cancelled_hold;
        world.sale.cancel(&cancelled_hold.user, cancelled_hold.id).await.unwrap();
        self.block(event, BlockAction::Release, 9).await;
        self.block(event, BlockAction::Block, 12).await;
        world.verified().await;
        Lost { sold, paid, resold, last, held }
    }

    /// Checks that every booking has its archived state.
    async fn is_restored(&self, event: EventId, before: &Before, lost: &Lost) {
        let world = &self.world;
        for sold in [&before.kept, &lost.sold, &lost.paid, &lost.resold, &lost.last] {
            assert_eq!(world.status(sold.id).await, Some(Status::Confirmed));
            let (now, then) = (self.read(sold).await, as_owner_sees(sold));
            let receipt = |b: &Booking| (b.payment.clone(), b.amount, b.paid_ms, b.seats.clone());
            assert_eq!(receipt(&now), receipt(&then));
        }
        assert_eq!(world.status(before.cancelled_sale.id).await, Some(Status::Cancelled));
        // For unsold bookings Redis decides: the cancellation of the hold was lost.
        assert_eq!(world.status(before.cancelled_hold.id).await, Some(Status::Hold));
        assert_eq!(world.status(before.quiet.id).await, Some(Status::Hold));
        assert_eq!(world.status(lost.held.id).await, Some(Status::Hold));
        for (user, seats, key, booking) in
            [("fay", [10], "fays", lost.held.id), ("bob", [3], "bobs", lost.paid.id)]
        {
            let again = world.hold(user, event, &seats, Some(key)).await.unwrap();
            assert_eq!((again.replayed, again.booking.id), (true, booking), "{user}");
        }
        world.verified().await;
    }

    /// Continues the sale in the past state: a sold seat is sold again.
    async fn continue_in_the_past(&self, event: EventId, watcher: &WorkerProcess) -> Booking {
        let world = &self.world;
        let mut held = None;
        eventually("redis sells again", SOON, async || {
            held = world.hold("zed", event, &[15, 16], None).await.ok();
            held.is_some()
        })
        .await;
        let rival = world.hold("ivy", event, &[7], None).await.unwrap();
        let refused = world.confirm(&rival).await.unwrap_err();
        assert_eq!(refused, SaleError::SaleVoided(rival.booking.id));
        let forks = async || watcher.metric("holdfast_log_forks_total").await >= 1.0;
        eventually("a fork is found", SOON, forks).await;
        assert_eq!(watcher.metric("holdfast_restores_total").await, 0.0);
        let displaced = held.expect("eventually() saw it").booking;
        assert_eq!(world.status(displaced.id).await, Some(Status::Hold));
        displaced
    }

    async fn restored_by_a_worker(
        &self,
        event: EventId,
        before: &Before,
        lost: &Lost,
        displaced: &Booking,
    ) {
        let worker = self.worker().await;
        self.restored(event, 2).await;
        assert_eq!(self.world.status(displaced.id).await, Some(Status::Cancelled));
        assert_eq!(self.seats(event).await.to_lowercase(), "bbbabbbaahhxhabaaaaa");
        self.is_restored(event, before, lost).await;
        let merged = r#"holdfast_restores_total{result="merged"}"#;
        let mut done = 0.0;
        eventually("the restore is counted", SOON, async || {
            done = worker.metric(merged).await;
            done >= 1.0
        })
        .await;
        // The log is accepted: nothing is repaired again.
        self.buy("kim", event, &[20]).await;
        self.world.verified().await;
        assert_eq!(worker.metric(merged).await, done);
        assert!(worker.stop());
    }
}

on_one_redis!(writes_lost_by_a_truncated_file_are_restored, async |flavor| {
    let place = Place::new(flavor).await;
    let watcher = place.watcher().await;
    let event = place.world.event(20).await;
    let before = place.before(event).await;
    let saved = place.redis.saved_writes();
    let lost = place.lost(event, &before).await;
    place.redis.kill();
    place.redis.put_back_writes(&saved);
    place.redis.restart();
    // It read the lost entries and now reads the following ones: it detects the fork by the chain.
    let displaced = place.continue_in_the_past(event, &watcher).await;
    assert!(watcher.stop());
    place.restored_by_a_worker(event, &before, &lost, &displaced).await;
    place.world.stop().await;
});

/// A primary continues writing after its replica has taken over; then all clients switch to the replica.
async fn failover(flavor: Flavor) {
    if !available(flavor) {
        return;
    }
    let primary = private_redis(flavor);
    let replica = private_redis(flavor);
    let proxy = Proxy::to(primary.port());
    let redis = primary.reached_at(proxy.url());
    let world = World::patient(&redis, shared_mongodb()).await;
    let place = Place { redis, world };
    let port = place.redis.port().to_string();
    assert_eq!(replica.command(&["REPLICAOF", "127.0.0.1", &port]), "+OK");
    let watcher = place.watcher().await;
    let event = place.world.event(20).await;
    let before = place.before(event).await;
    let link = place.world.engine.keys().link(place.world.partition(event));
    eventually("the replica has it", SOON, async || {
        let newest = |server: &Server| server.command_value(&["GET", &link]);
        replica.command(&["EXISTS", &link]) == ":1" && newest(&replica) == newest(&place.redis)
    })
    .await;
    assert_eq!(replica.command(&["REPLICAOF", "NO", "ONE"]), "+OK");
    let lost = place.lost(event, &before).await;
    proxy.redirect(Some(replica.port()));
    let displaced = place.continue_in_the_past(event, &watcher).await;
    assert!(watcher.stop());
    place.restored_by_a_worker(event, &before, &lost, &displaced).await;
    place.world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_lost_by_a_failover_are_restored_redis() {
    failover(Flavor::Redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_lost_by_a_failover_are_restored_valkey() {
    failover(Flavor::Valkey).await;
}

on_one_redis!(mark_detects_a_truncated_log, async |flavor| {
    let place = Place::new(flavor).await;
    let world = &place.world;
    let worker = place.worker().await;
    let event = world.event(20).await;
    place.buy("ann", event, &[1]).await;
    world.verified().await;
    let saved = place.redis.saved_writes();
    let sold = place.buy("bob", event, &[2]).await;
    world.verified().await;
    let partition = world.partition(event);
    let newest = world.engine.link(partition).await.unwrap().unwrap();
    eventually("the mark has moved", SOON, async || {
        let marks = world.archive.log_marks().await.unwrap();
        marks.get(&partition).is_some_and(|mark| (mark.id, &mark.tag) == (newest.0, &newest.1))
    })
    .await;
    // No process that read the lost entries is left, and nothing new is written.
    assert!(worker.stop());
    place.redis.kill();
    place.redis.put_back_writes(&saved);
    place.redis.restart();
    let worker = place.worker().await;
    place.restored(event, 2).await;
    assert_eq!(place.seats(event).await.to_lowercase(), format!("bb{}", "a".repeat(18)));
    assert_eq!(world.status(sold.id).await, Some(Status::Confirmed));
    world.verified().await;
    assert!(worker.stop());
    place.world.stop().await;
});
