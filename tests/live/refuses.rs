//! What is refused from the view, and what goes to Redis although the view speaks against it.

use std::time::{Duration, Instant};

use holdfast::domain::{Booking, BookingId, EventId, EventStatus, Quantity, SeatId, SeatState};
use holdfast::redis::{BlockAction, Settlement, new_nonce};
use holdfast::sale::{
    BlockRequest, BlockSelection, BookingView, EventChange, HoldRequest, SaleError, SeatRequest,
};

use super::{fresh, view_equals_redis};
use crate::on_one_redis;
use crate::support::eventually;
use crate::support::servers::{Flavor, available, shared_mongodb, shared_redis};
use crate::support::world::{World, impatient};

/// One of the servers, where which one it is does not matter.
fn flavor() -> Flavor {
    if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey }
}

async fn world() -> World {
    World::with(shared_redis(flavor()), shared_mongodb(), impatient()).await
}

async fn so_many(
    world: &World,
    user: &str,
    event: EventId,
    seats: u32,
) -> Result<BookingView, SaleError> {
    let quantity = Quantity { seats, section: None, together: true, max_price: None };
    let wanted = SeatRequest::Quantity(quantity);
    let request = HoldRequest { seats: wanted, ..request(user, event, &[]) };
    world.sale.hold(world.sale.plan_hold(request).await?).await
}

fn request(user: &str, event: EventId, seats: &[u32]) -> HoldRequest {
    HoldRequest {
        user: user.parse().unwrap(),
        event,
        seats: SeatRequest::Named(seats.iter().copied().map(SeatId).collect()),
        key: None,
        room_number: 0,
        exempt: false,
        trace: String::new(),
    }
}

/// Has the view know what Redis knows, and users who were granted something seen by it.
async fn in_view(world: &World, event: EventId) {
    let live = world.sale.live();
    fresh(live, event).await;
    view_equals_redis(world, live, event).await;
}

/// Waits until whoever was granted something is not let pass for it any more.
async fn forgotten(world: &World, event: EventId, user: &str, seats: &[u32]) {
    eventually("a grant is not recent", super::PATIENCE, async || {
        fresh(world.sale.live(), event).await;
        let before = world.refused_here();
        assert!(world.hold(user, event, seats, None).await.is_err());
        world.refused_here() > before
    })
    .await;
}

on_one_redis!(a_taken_seat_is_refused_without_redis, async |flavor| {
    let world = World::with(shared_redis(flavor), shared_mongodb(), impatient()).await;
    let event = world.event(10).await;
    let held = world.hold("ann", event, &[1, 2], Some("k")).await.unwrap();
    in_view(&world, event).await;
    let refused = world.hold("eve", event, &[2, 3], None).await;
    let Err(SaleError::SeatsUnavailable(states)) = refused else { panic!("{refused:?}") };
    assert_eq!(states, [(SeatId(2), SeatState::Hold), (SeatId(3), SeatState::Available)]);
    assert_eq!(world.refused_here(), 1);
    // Her own seats are never a reason: the request finds its answer.
    let again = world.hold("ann", event, &[1, 2], Some("k")).await.unwrap();
    assert!(again.replayed && again.booking.id == held.booking.id);
    assert_eq!(world.refused_here(), 1);
    world.stop().await;
});

#[tokio::test]
async fn who_has_something_finds_the_answer_of_a_request_without_seats() {
    let world = world().await;
    let event = world.event(4).await;
    let held = so_many(&world, "ann", event, 3).await.unwrap();
    in_view(&world, event).await;
    // One seat is left.
    let refused = so_many(&world, "eve", event, 2).await;
    assert!(matches!(refused, Err(SaleError::TooFewSeats(_))), "{refused:?}");
    assert_eq!(world.refused_here(), 1);
    let again = so_many(&world, "ann", event, 3).await.unwrap();
    assert_eq!((again.replayed, again.booking.id), (true, held.booking.id));
    assert!(so_many(&world, "eve", event, 1).await.is_ok());
    assert_eq!(world.refused_here(), 1);
    world.stop().await;
}

#[tokio::test]
async fn what_is_not_for_sale_is_refused_without_redis() {
    let world = world().await;
    let event = world.event(4).await;
    let held = world.hold("ann", event, &[1], None).await.unwrap();
    let live = world.sale.live();
    let change = async |change: EventChange| {
        world.sale.change_event(event, change).await.unwrap();
        in_view(&world, event).await;
        world.hold("eve", event, &[2], None).await
    };
    let status = |status| EventChange { status: Some(status), ..EventChange::default() };
    let paused = change(status(EventStatus::Paused)).await;
    assert!(matches!(paused, Err(SaleError::EventPaused(_))), "{paused:?}");
    // Whoever has something is answered by Redis: her request may have been granted before.
    let again = world.hold("ann", event, &[1], None).await.unwrap();
    assert_eq!((again.replayed, again.booking.id), (true, held.booking.id));
    assert_eq!(world.refused_here(), 1);
    let (now_ms, _) = live.redis_now_ms(event).unwrap();
    let later = EventChange {
        status: Some(EventStatus::OnSale),
        on_sale_at_ms: Some(now_ms + 3_600_000),
        ..EventChange::default()
    };
    let scheduled = change(later).await;
    assert!(matches!(scheduled, Err(SaleError::NotOnSale { .. })), "{scheduled:?}");
    let (on_sale_at_ms, off_sale_at_ms) = (Some(now_ms - 9_000), Some(now_ms - 1));
    let over =
        change(EventChange { on_sale_at_ms, off_sale_at_ms, ..EventChange::default() }).await;
    assert!(matches!(over, Err(SaleError::EventClosed(_))), "{over:?}");
    assert_eq!(world.refused_here(), 3);
    let closed = change(status(EventStatus::Closed)).await;
    assert!(matches!(closed, Err(SaleError::EventClosed(_))), "{closed:?}");
    assert_eq!(world.refused_here(), 4);
    world.stop().await;
}

#[tokio::test]
async fn a_sale_begins_although_the_view_has_read_nothing_since() {
    let world = world().await;
    let event = world.event(4).await;
    in_view(&world, event).await;
    let (now_ms, _) = world.sale.live().redis_now_ms(event).unwrap();
    let soon = EventChange { on_sale_at_ms: Some(now_ms + 1_500), ..EventChange::default() };
    world.sale.change_event(event, soon).await.unwrap();
    in_view(&world, event).await;
    eventually("it is on sale", super::PATIENCE, async || {
        world.hold("eve", event, &[2], None).await.is_ok()
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn a_hold_that_lapsed_is_no_reason_though_nobody_released_it() {
    let world = world().await;
    let event = world.event_of(2, Some(2)).await;
    world.hold("ann", event, &[1, 2], None).await.unwrap();
    in_view(&world, event).await;
    let refused = so_many(&world, "eve", event, 1).await;
    assert!(matches!(refused, Err(SaleError::TooFewSeats(_))), "{refused:?}");
    assert!(world.hold("eve", event, &[1], None).await.is_err());
    assert_eq!(world.refused_here(), 2);
    // There is no worker here.
    eventually("the seat is hers", super::PATIENCE, async || {
        world.hold("eve", event, &[1], None).await.is_ok()
    })
    .await;
    assert!(so_many(&world, "fay", event, 1).await.is_ok());
    world.stop().await;
}

#[tokio::test]
async fn a_stale_view_refuses_nothing() {
    let world = world().await;
    let event = world.event(4).await;
    let held = world.hold("ann", event, &[1], None).await.unwrap();
    in_view(&world, event).await;
    let live = world.sale.live();
    forgotten(&world, event, "eve", &[1]).await;
    live.pause_tails(true);
    eventually("the view is stale", super::PATIENCE, async || live.fresh(event).is_none()).await;
    let before = world.refused_here();
    let refused = world.hold("eve", event, &[1], None).await;
    assert!(matches!(refused, Err(SaleError::SeatsUnavailable(_))));
    world.sale.cancel(&held.booking.user, held.booking.id).await.unwrap();
    assert!(world.hold("eve", event, &[1], None).await.is_ok(), "by Redis' word");
    let refused = world.hold("fay", event, &[1], None).await;
    assert!(matches!(refused, Err(SaleError::SeatsUnavailable(_))));
    assert_eq!(world.refused_here(), before);
    eventually("it is known", super::PATIENCE, async || {
        live.fresh(event);
        live.state().is_stale
    })
    .await;
    live.pause_tails(false);
    in_view(&world, event).await;
    eventually("it is fresh", super::PATIENCE, async || {
        live.fresh(event).is_some() && !live.state().is_stale
    })
    .await;
    forgotten(&world, event, "gus", &[1]).await;
    world.stop().await;
}

#[tokio::test]
async fn who_was_granted_a_seat_is_answered_before_the_view_knows() {
    let world = world().await;
    let event = world.event(4).await;
    in_view(&world, event).await;
    let live = world.sale.live();
    let mut round = 0;
    // Again, where the machine was so slow that the view grew stale meanwhile.
    eventually("a stranger is refused what she is told to have", super::PATIENCE, async || {
        round += 1;
        let (ann, bob) = (format!("ann{round}"), format!("bob{round}"));
        // Nobody has the seat yet: she is not refused here.
        fresh(live, event).await;
        let Ok(weighed) = world.sale.plan_hold(request(&ann, event, &[1])).await else {
            return false;
        };
        let Ok(bobs) = world.hold(&bob, event, &[1], None).await else { return false };
        in_view(&world, event).await;
        // From here on the view tells that the seat is Bob's.
        live.pause_tails(true);
        stands_still(&world, event).await;
        world.sale.cancel(&bobs.booking.user, bobs.booking.id).await.unwrap();
        let hers = world.sale.hold(weighed).await.unwrap().booking;
        let mut refused = 0;
        for n in 0..20 {
            let before = world.refused_here();
            let stranger = world.hold(&format!("eve{round}-{n}"), event, &[1], None).await;
            assert!(matches!(stranger, Err(SaleError::SeatsUnavailable(_))), "{stranger:?}");
            refused += world.refused_here() - before;
            let again = world.hold(&ann, event, &[1], None).await.unwrap();
            assert_eq!((again.replayed, again.booking.id), (true, hers.id));
        }
        live.pause_tails(false);
        world.sale.cancel(&hers.user, hers.id).await.unwrap();
        in_view(&world, event).await;
        refused > 0
    })
    .await;
    world.stop().await;
}

/// Waits until the tail, which is held up, brings nothing more: a read that was under way ends with
/// the next entry.
async fn stands_still(world: &World, event: EventId) {
    let version = || world.sale.live().slot(event).view().map(|view| view.version());
    eventually("the tail stands still", super::PATIENCE, async || {
        let before = version();
        let held = world.hold("still", event, &[4], None).await.unwrap().booking;
        world.sale.cancel(&held.user, held.id).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        version() == before
    })
    .await;
}

#[tokio::test]
async fn answered_change_is_not_refused_by_the_view_of_before() {
    // A view that stays fresh for as long as a busy machine needs.
    let first = world().await;
    let (redis, mongodb) = (shared_redis(flavor()), shared_mongodb());
    let world = first.beside(redis, mongodb, Duration::from_secs(6)).await;
    let event = world.event(8).await;
    let live = world.sale.live();
    let status = async |status| {
        let change = EventChange { status: Some(status), ..EventChange::default() };
        world.sale.change_event(event, change).await.unwrap();
    };
    let house = async |action| {
        let (seats, actor) = (BlockSelection::Named(vec![SeatId(3)]), "ann".to_owned());
        let request = BlockRequest { event, action, seats, actor, reason: "camera".into() };
        assert_eq!(world.sale.block(&request).await.unwrap(), 1);
    };
    // From here on the view learns of one entry more, which the tail is waiting for.
    let stands_still = async |seat: u32| {
        in_view(&world, event).await;
        live.pause_tails(true);
        first.hold("cid", event, &[seat], None).await
    };
    status(EventStatus::Paused).await;
    in_view(&world, event).await;
    let refused = world.hold("eve", event, &[2], None).await;
    assert!(matches!(refused, Err(SaleError::EventPaused(_))), "{refused:?}");
    live.pause_tails(true);
    // The one entry more.
    house(BlockAction::Block).await;
    status(EventStatus::OnSale).await;
    world.hold("eve", event, &[2], None).await.unwrap();
    live.pause_tails(false);

    stands_still(7).await.unwrap();
    let refused = world.hold("bob", event, &[3], None).await;
    assert!(matches!(refused, Err(SaleError::SeatsUnavailable(_))), "{refused:?}");
    house(BlockAction::Release).await;
    world.hold("bob", event, &[3], None).await.unwrap();
    live.pause_tails(false);
    world.stop().await;
    first.stop().await;
}

#[tokio::test]
async fn a_booking_answers_for_as_long_as_it_lives_also_without_its_seat() {
    let world = World::prompt(shared_redis(flavor()), shared_mongodb(), impatient()).await;
    let event = world.event(4).await;
    let hers = world.hold("ann", event, &[1], None).await.unwrap().booking;
    let another = world.event(4).await;
    let his = world.hold("cid", another, &[2, 3], None).await.unwrap().booking;
    let known = world.archive.event(event).await.unwrap().unwrap();
    let nonce = new_nonce();
    let begun = world.engine.confirm_begin(&known, hers.id, &hers.user, &nonce, 600_000, 9);
    assert_eq!(begun.await.unwrap().code(), "ok");
    // The archive says that somebody had bought it, whom Redis had forgotten.
    let sold = Booking {
        id: BookingId::new(event, 1, 1),
        user: "bob".parse().unwrap(),
        payment: "paid".into(),
        paid_ms: 1,
        ..hers.clone()
    };
    let (outcome, tell_until, acknowledge) = ("sold", None, None);
    let call =
        Settlement { generation: 1, outcome, valid_until: tell_until, acknowledge, booking: &sold };
    assert_eq!(world.engine.settle(&call).await.unwrap().code(), "ok");
    in_view(&world, event).await;
    forgotten(&world, event, "eve", &[1]).await;
    // As long as she is let pass for what she was granted lately, and longer.
    let recent = Duration::from_millis(2 * world.engine.settings().timeout_ms + 1_000);
    let until = Instant::now() + recent * 2;
    while Instant::now() < until {
        fresh(world.sale.live(), event).await;
        // Not by asking again: that would be a grant of now.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (user, event, seats, booking) in
        [("cid", another, &[2, 3][..], his.id), ("ann", event, &[1], hers.id)]
    {
        fresh(world.sale.live(), event).await;
        let again = world.hold(user, event, seats, None).await.unwrap();
        assert_eq!((again.replayed, again.booking.id), (true, booking));
    }
    world.stop().await;
}
