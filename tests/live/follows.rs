//! A view follows the booking log, version by version.

use holdfast::domain::{SeatId, SeatState};
use holdfast::sale::{BlockRequest, BlockSelection, SaleError};

use super::{fresh, view_equals_redis};
use crate::on_one_redis;
use crate::support::servers::{shared_mongodb, shared_redis};
use crate::support::world::{World, impatient};

on_one_redis!(view_follows_the_log, async |flavor| {
    let world = World::with(shared_redis(flavor), shared_mongodb(), impatient()).await;
    let event = world.event(2_000).await;
    let early = world.hold("ann", event, &[1, 2], None).await.unwrap().booking;
    let live = world.sale.live().clone();
    let view = fresh(&live, event).await;
    assert_eq!(view.available(), 1_998);
    let first = view.version();
    let ann = &early.user;
    assert_eq!(view.seats_of(live.holder(ann)), 2);
    let seat = view.seat(SeatId(1)).unwrap();
    assert_eq!(seat.holder, live.holder(ann));
    assert_eq!((seat.state, seat.deadline_ms), (SeatState::Hold, early.deadline_ms));

    world.hold("bob", event, &[1_100, 7], None).await.unwrap();
    world.sale.cancel(ann, early.id).await.unwrap();
    let refused = world.hold("eve", event, &[7], None).await;
    assert!(matches!(refused, Err(SaleError::SeatsUnavailable(_))));
    view_equals_redis(&world, &live, event).await;
    let view = fresh(&live, event).await;
    assert_eq!(view.free_between(SeatId(1), SeatId(2_000)), 1_998);
    assert_eq!(view.free_between(SeatId(2), SeatId(1_099)), 1_097);
    assert_eq!(view.free_between(SeatId(7), SeatId(7)), 0);
    let changes = view.changes_since(first).unwrap();
    let (held, free) = (SeatState::Hold, SeatState::Available);
    let expected = [(1, free), (2, free), (7, held), (1_100, held)];
    assert_eq!(changes.seats, expected.map(|(seat, state)| (SeatId(seat), state)));
    assert_eq!((changes.since, changes.version), (first, first + 2));
    assert_eq!(view.seats_of(live.holder(ann)), 0);

    let block = BlockRequest {
        event,
        action: holdfast::redis::BlockAction::Block,
        seats: BlockSelection::Named(vec![SeatId(20)]),
        actor: "op".into(),
        reason: "camera".into(),
    };
    world.sale.block(&block).await.unwrap();
    view_equals_redis(&world, &live, event).await;
    world.stop().await;
});
