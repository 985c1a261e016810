//! Holds refused from the live view, and holds that Redis decides although the view shows them to be
//! impossible.

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

/// A server for tests that need no particular one.
fn flavor() -> Flavor {
    if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey }
}

async fn world() -> World {
    World::with(shared_redis(flavor()), shared_mongodb(), impatient()).await
}

async fn hold_quantity(
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

/// Waits until the view shows what Redis holds.
async fn view_is_current(world: &World, event: EventId) {
    let live = world.sale.live();
    fresh(live, event).await;
    view_equals_redis(world, live, event).await;
}

/// Waits until a user's grants are no longer recent, so that the view refuses the user.
async fn grant_is_not_recent(world: &World, event: EventId, user: &str, seats: &[u32]) {
    eventually("a grant is not recent", super::PATIENCE, async || {
        fresh(world.sale.live(), event).await;
        let before = world.refused_from_view();
        assert!(world.hold(user, event, seats, None).await.is_err());
        world.refused_from_view() > before
    })
    .await;
}

on_one_redis!(taken_seat_is_refused_without_redis, async |flavor| {
    let world = World::with(shared_redis(flavor), shared_mongodb(), impatient()).await;
    let event = world.event(10).await;
    let held = world.hold("ann", event, &[1, 2], Some("k")).await.unwrap();
    view_is_current(&world, event).await;
    let refused = world.hold("eve", event, &[2, 3], None).await;
    let Err(SaleError::SeatsUnavailable(states)) = refused else { panic!("{refused:?}") };
    assert_eq!(states, [(SeatId(2), SeatState::Hold), (SeatId(3), SeatState::Available)]);
    assert_eq!(world.refused_from_view(), 1);
    // A request for the caller's own seats passes and finds its booking.
    let again = world.hold("ann", event, &[1, 2], Some("k")).await.unwrap();
    assert!(again.replayed && again.booking.id == held.booking.id);
    assert_eq!(world.refused_from_view(), 1);
    world.stop().await;
});

#[tokio::test]
async fn repeated_request_by_quantity_finds_its_booking() {
    let world = world().await;
    let event = world.event(4).await;
    let held = hold_quantity(&world, "ann", event, 3).await.unwrap();
    view_is_current(&world, event).await;
    // One seat is left.
    let refused = hold_quantity(&world, "eve", event, 2).await;
    assert!(matches!(refused, Err(SaleError::TooFewSeats(_))), "{refused:?}");
    assert_eq!(world.refused_from_view(), 1);
    let again = hold_quantity(&world, "ann", event, 3).await.unwrap();
    assert_eq!((again.replayed, again.booking.id), (true, held.booking.id));
    assert!(hold_quantity(&world, "eve", event, 1).await.is_ok());
    assert_eq!(world.refused_from_view(), 1);
    world.stop().await;
}

#[tokio::test]
async fn event_not_on_sale_is_refused_without_redis() {
    let world = world().await;
    let event = world.event(4).await;
    let held = world.hold("ann", event, &[1], None).await.unwrap();
    let live = world.sale.live();
    let change = async |change: EventChange| {
        world.sale.change_event(event, change).await.unwrap();
        view_is_current(&world, event).await;
        world.hold("eve", event, &[2], None).await
    };
    let status = |status| EventChange { status: Some(status), ..EventChange::default() };
    let paused = change(status(EventStatus::Paused)).await;
    assert!(matches!(paused, Err(SaleError::EventPaused(_))), "{paused:?}");
    // Redis decides for callers with seats: the request may have been granted before.
    let again = world.hold("ann", event, &[1], None).await.unwrap();
    assert_eq!((again.replayed, again.booking.id), (true, held.booking.id));
    assert_eq!(world.refused_from_view(), 1);
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
    assert_eq!(world.refused_from_view(), 3);
    let closed = change(status(EventStatus::Closed)).await;
    assert!(matches!(closed, Err(SaleError::EventClosed(_))), "{closed:?}");
    assert_eq!(world.refused_from_view(), 4);
    world.stop().await;
}

#[tokio::test]
async fn sale_begins_without_new_log_entries() {
    let world = world().await;
    let event = world.event(4).await;
    view_is_current(&world, event).await;
    let (now_ms, _) = world.sale.live().redis_now_ms(event).unwrap();
    let soon = EventChange { on_sale_at_ms: Some(now_ms + 1_500), ..EventChange::default() };
    world.sale.change_event(event, soon).await.unwrap();
    view_is_current(&world, event).await;
    eventually("it is on sale", super::PATIENCE, async || {
        world.hold("eve", event, &[2], None).await.is_ok()
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn lapsed_hold_refuses_nobody_before_its_release() {
    let world = world().await;
    let event = world.event_of(2, Some(2)).await;
    world.hold("ann", event, &[1, 2], None).await.unwrap();
    view_is_current(&world, event).await;
    let refused = hold_quantity(&world, "eve", event, 1).await;
    assert!(matches!(refused, Err(SaleError::TooFewSeats(_))), "{refused:?}");
    assert!(world.hold("eve", event, &[1], None).await.is_err());
    assert_eq!(world.refused_from_view(), 2);
    // No worker releases it.
    eventually("the seat is held", super::PATIENCE, async || {
        world.hold("eve", event, &[1], None).await.is_ok()
    })
    .await;
    assert!(hold_quantity(&world, "fay", event, 1).await.is_ok());
    world.stop().await;
}

#[tokio::test]
async fn stale_view_refuses_nothing() {
    let world = world().await;
    let event = world.event(4).await;
    let held = world.hold("ann", event, &[1], None).await.unwrap();
    view_is_current(&world, event).await;
    let live = world.sale.live();
    grant_is_not_recent(&world, event, "eve", &[1]).await;
    live.pause_tails(true);
    eventually("the view is stale", super::PATIENCE, async || live.fresh(event).is_none()).await;
    let before = world.refused_from_view();
    let refused = world.hold("eve", event, &[1], None).await;
    assert!(matches!(refused, Err(SaleError::SeatsUnavailable(_))));
    world.sale.cancel(&held.booking.user, held.booking.id).await.unwrap();
    assert!(world.hold("eve", event, &[1], None).await.is_ok(), "decided by Redis");
    let refused = world.hold("fay", event, &[1], None).await;
    assert!(matches!(refused, Err(SaleError::SeatsUnavailable(_))));
    assert_eq!(world.refused_from_view(), before);
    eventually("the view is reported stale", super::PATIENCE, async || {
        live.fresh(event);
        live.state().is_stale
    })
    .await;
    live.pause_tails(false);
    view_is_current(&world, event).await;
    eventually("the view is fresh", super::PATIENCE, async || {
        live.fresh(event).is_some() && !live.state().is_stale
    })
    .await;
    grant_is_not_recent(&world, event, "gus", &[1]).await;
    world.stop().await;
}

#[tokio::test]
async fn recent_grant_is_replayed_before_the_view_shows_it() {
    let world = world().await;
    let event = world.event(4).await;
    view_is_current(&world, event).await;
    let live = world.sale.live();
    let mut round = 0;
    // Repeated if the view became stale meanwhile on a slow machine.
    eventually(
        "others are refused the seat that the caller is granted",
        super::PATIENCE,
        async || {
            round += 1;
            let (ann, bob) = (format!("ann{round}"), format!("bob{round}"));
            // The seat is still free: the pre-check passes.
            fresh(live, event).await;
            let Ok(plan) = world.sale.plan_hold(request(&ann, event, &[1])).await else {
                return false;
            };
            let Ok(bobs) = world.hold(&bob, event, &[1], None).await else { return false };
            view_is_current(&world, event).await;
            // From here on the view shows the seat as Bob's.
            live.pause_tails(true);
            tail_is_stopped(&world, event).await;
            world.sale.cancel(&bobs.booking.user, bobs.booking.id).await.unwrap();
            let hers = world.sale.hold(plan).await.unwrap().booking;
            let mut refused = 0;
            for n in 0..20 {
                let before = world.refused_from_view();
                let other = world.hold(&format!("eve{round}-{n}"), event, &[1], None).await;
                assert!(matches!(other, Err(SaleError::SeatsUnavailable(_))), "{other:?}");
                refused += world.refused_from_view() - before;
                let again = world.hold(&ann, event, &[1], None).await.unwrap();
                assert_eq!((again.replayed, again.booking.id), (true, hers.id));
            }
            live.pause_tails(false);
            world.sale.cancel(&hers.user, hers.id).await.unwrap();
            view_is_current(&world, event).await;
            refused > 0
        },
    )
    .await;
    world.stop().await;
}

/// Waits until the paused tail has delivered its last entry: a read in progress ends with the next
/// one.
async fn tail_is_stopped(world: &World, event: EventId) {
    let version = || world.sale.live().slot(event).view().map(|view| view.version());
    eventually("the tail is stopped", super::PATIENCE, async || {
        let before = version();
        let held = world.hold("still", event, &[4], None).await.unwrap().booking;
        world.sale.cancel(&held.user, held.id).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        version() == before
    })
    .await;
}

#[tokio::test]
async fn completed_change_is_visible_to_the_pre_check() {
    // The view stays fresh long enough for a busy machine.
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
    // From here on the view receives one more entry, which the tail is already waiting for.
    let stop_tail = async |seat: u32| {
        view_is_current(&world, event).await;
        live.pause_tails(true);
        first.hold("cid", event, &[seat], None).await
    };
    status(EventStatus::Paused).await;
    view_is_current(&world, event).await;
    let refused = world.hold("eve", event, &[2], None).await;
    assert!(matches!(refused, Err(SaleError::EventPaused(_))), "{refused:?}");
    live.pause_tails(true);
    // The one more entry.
    house(BlockAction::Block).await;
    status(EventStatus::OnSale).await;
    world.hold("eve", event, &[2], None).await.unwrap();
    live.pause_tails(false);

    stop_tail(7).await.unwrap();
    let refused = world.hold("bob", event, &[3], None).await;
    assert!(matches!(refused, Err(SaleError::SeatsUnavailable(_))), "{refused:?}");
    house(BlockAction::Release).await;
    world.hold("bob", event, &[3], None).await.unwrap();
    live.pause_tails(false);
    world.stop().await;
    first.stop().await;
}

#[tokio::test]
async fn booking_without_its_seats_still_answers_its_request() {
    let world = World::prompt(shared_redis(flavor()), shared_mongodb(), impatient()).await;
    let event = world.event(4).await;
    let hers = world.hold("ann", event, &[1], None).await.unwrap().booking;
    let another = world.event(4).await;
    let his = world.hold("cid", another, &[2, 3], None).await.unwrap().booking;
    let known = world.archive.event(event).await.unwrap().unwrap();
    let nonce = new_nonce();
    let begun = world.engine.confirm_begin(&known, hers.id, &hers.user, &nonce, 600_000, 9);
    assert_eq!(begun.await.unwrap().code(), "ok");
    // The archive has another sale of the seat, which Redis had lost.
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
    view_is_current(&world, event).await;
    grant_is_not_recent(&world, event, "eve", &[1]).await;
    // Longer than the grant counts as recent.
    let recent = Duration::from_millis(2 * world.engine.settings().timeout_ms + 1_000);
    let until = Instant::now() + recent * 2;
    while Instant::now() < until {
        fresh(world.sale.live(), event).await;
        // Without repeating the request: that would be a new grant.
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
