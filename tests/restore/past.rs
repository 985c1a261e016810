//! A Redis in a past state: its file was cut, or a primary was replaced by one that had less. What
//! the archive decided stands, what it knows as live comes back, and what was sold twice meanwhile
//! is refunded.

use super::*;
use crate::on_one_redis;
use crate::support::proxy::Proxy;
use crate::support::servers::available;

/// What was done before the past ends, and is done again by nobody.
struct Before {
    kept: Booking,
    paying: BookingView,
    regretted: Booking,
    given_up: Booking,
    quiet: Booking,
}

/// What is lost.
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
        let regretted = self.buy("cid", event, &[5]).await;
        let given_up = world.hold("gus", event, &[11], None).await.unwrap().booking;
        let quiet = world.hold("hal", event, &[13], None).await.unwrap().booking;
        self.block(event, BlockAction::Block, 9).await;
        world.verified().await;
        Before { kept, paying, regretted, given_up, quiet }
    }

    async fn lost(&self, event: EventId, before: &Before) -> Lost {
        let world = &self.world;
        let sold = self.buy("dan", event, &[6, 7]).await;
        let paid = self.pay(&before.paying).await;
        world.sale.cancel(&before.regretted.user, before.regretted.id).await.unwrap();
        let resold = self.buy("eve", event, &[5]).await;
        let last = self.buy("lou", event, &[15]).await;
        let held = world.hold("fay", event, &[10], Some("fays")).await.unwrap().booking;
        let given_up = &before.given_up;
        world.sale.cancel(&given_up.user, given_up.id).await.unwrap();
        self.block(event, BlockAction::Release, 9).await;
        self.block(event, BlockAction::Block, 12).await;
        world.verified().await;
        Lost { sold, paid, resold, last, held }
    }

    /// Everybody has what the archive gave them.
    async fn is_mended(&self, event: EventId, before: &Before, lost: &Lost) {
        let world = &self.world;
        for sold in [&before.kept, &lost.sold, &lost.paid, &lost.resold, &lost.last] {
            assert_eq!(world.status(sold.id).await, Some(Status::Confirmed));
            let (now, then) = (self.read(sold).await, seen(sold));
            let receipt = |b: &Booking| (b.payment.clone(), b.amount, b.paid_ms, b.seats.clone());
            assert_eq!(receipt(&now), receipt(&then));
        }
        assert_eq!(world.status(before.regretted.id).await, Some(Status::Cancelled));
        // Redis has the last word on what nobody sold: the holder's giving up was lost.
        assert_eq!(world.status(before.given_up.id).await, Some(Status::Hold));
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

    /// The past is there, and the sale goes on in it: a seat that was sold is sold once more.
    async fn goes_on_in_the_past(&self, event: EventId, watcher: &WorkerProcess) -> Booking {
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
        eventually("a fork is met", SOON, forks).await;
        assert_eq!(watcher.metric("holdfast_restores_total").await, 0.0);
        let displaced = held.expect("eventually() saw it").booking;
        assert_eq!(world.status(displaced.id).await, Some(Status::Hold));
        displaced
    }

    async fn mended_by_a_worker(
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
        self.is_mended(event, before, lost).await;
        let merged = r#"holdfast_restores_total{result="merged"}"#;
        let done = worker.metric(merged).await;
        assert!(done >= 1.0);
        // The log goes on from here: nothing is repaired again.
        self.buy("kim", event, &[20]).await;
        self.world.verified().await;
        assert_eq!(worker.metric(merged).await, done);
        assert!(worker.stop());
    }
}

on_one_redis!(writes_that_a_file_lost_come_back, async |flavor| {
    let place = Place::new(flavor).await;
    let watcher = place.watcher().await;
    let event = place.world.event(20).await;
    let before = place.before(event).await;
    let saved = place.redis.saved_writes();
    let lost = place.lost(event, &before).await;
    place.redis.kill();
    place.redis.put_back_writes(&saved);
    place.redis.restart();
    // It read what was lost, and meets what follows: it knows a fork by its links.
    let displaced = place.goes_on_in_the_past(event, &watcher).await;
    assert!(watcher.stop());
    place.mended_by_a_worker(event, &before, &lost, &displaced).await;
    place.world.stop().await;
});

/// A primary goes on writing after its replica has taken over; then everybody comes to the replica.
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
    let displaced = place.goes_on_in_the_past(event, &watcher).await;
    assert!(watcher.stop());
    place.mended_by_a_worker(event, &before, &lost, &displaced).await;
    place.world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_of_a_primary_that_lost_a_failover_come_back_redis() {
    failover(Flavor::Redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_of_a_primary_that_lost_a_failover_come_back_valkey() {
    failover(Flavor::Valkey).await;
}

on_one_redis!(the_mark_alone_tells_of_a_cut, async |flavor| {
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
    // Nobody who read the lost entries is left, and nothing new is written.
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
