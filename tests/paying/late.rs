//! Payments after the end of the hold: the same seats if they are free, else a refund.

use holdfast::domain::{BookingId, EventId, IntentState, Status};
use holdfast::sale::{BookingView, ReconcileResult, SaleSettings};

use super::{SETTLED, books_agree};
use crate::on_one_redis;
use crate::support::eventually;
use crate::support::servers::{shared_mongodb, shared_redis};
use crate::support::worker::WorkerSpec;
use crate::support::world::{World, impatient};

/// Settings without a wait for the archive, and with short leases.
fn quick() -> SaleSettings {
    SaleSettings { confirm_lease_ms: 2_000, ..impatient() }
}

/// A paid booking whose hold has ended.
async fn lapsed_and_paid(world: &World, event: EventId) -> BookingView {
    let held = world.hold("ann", event, &[1, 2], None).await.unwrap();
    world.charge_unseen(&held.booking).await;
    is(world, held.booking.id, Status::Expired).await;
    held
}

async fn is(world: &World, id: BookingId, status: Status) {
    let what = format!("it is {}", status.as_str());
    eventually(&what, SETTLED, async || world.status(id).await == Some(status)).await;
}

on_one_redis!(late_payment_gets_its_seats, async |flavor| {
    let world = World::with(shared_redis(flavor), shared_mongodb(), quick()).await;
    let event = world.event_of(4, Some(1)).await;
    let paid = lapsed_and_paid(&world, event).await;
    let worker = WorkerSpec::new(&world, shared_mongodb()).start().await;
    is(&world, paid.booking.id, Status::Confirmed).await;
    let again = world.sale.payments().reconcile(paid.booking.id).await.unwrap();
    assert_eq!(again, ReconcileResult::Done(IntentState::Sold));
    let totals = books_agree(&world.archive, &[u64::from(event.0)]).await;
    assert_eq!((totals.sold, totals.refunded), (200, 0));
    assert_eq!(world.free(event).await, Some(2));
    world.verified().await;
    assert!(worker.stop());
    world.stop().await;
});

on_one_redis!(late_payment_without_its_seats_is_refunded, async |flavor| {
    let world = World::with(shared_redis(flavor), shared_mongodb(), quick()).await;
    let event = world.event_of(4, Some(1)).await;
    let paid = lapsed_and_paid(&world, event).await;
    // A held seat suffices: nobody loses a seat to a late payment.
    let bobs = world.hold("bob", event, &[2], None).await.unwrap();
    let reconciled = world.sale.payments().reconcile(paid.booking.id).await.unwrap();
    assert_eq!(reconciled, ReconcileResult::Done(IntentState::Refunded));
    assert_eq!(world.status(paid.booking.id).await, Some(Status::Voided));
    let worker = WorkerSpec::new(&world, shared_mongodb()).start().await;
    let totals = books_agree(&world.archive, &[u64::from(event.0)]).await;
    assert_eq!((totals.charged, totals.refunded), (200, 200));
    is(&world, bobs.booking.id, Status::Expired).await;
    world.verified().await;
    assert!(worker.stop());
    world.stop().await;
});

on_one_redis!(cancelled_booking_with_a_late_payment_stays_cancelled, async |flavor| {
    let world = World::with(shared_redis(flavor), shared_mongodb(), quick()).await;
    let event = world.event(4).await;
    let held = world.hold("ann", event, &[1], None).await.unwrap();
    world.charge_unseen(&held.booking).await;
    world.sale.cancel(&held.booking.user, held.booking.id).await.unwrap();
    let reconciled = world.sale.payments().reconcile(held.booking.id).await.unwrap();
    assert_eq!(reconciled, ReconcileResult::Done(IntentState::Refunded));
    assert_eq!(world.free(event).await, Some(4));
    let worker = WorkerSpec::new(&world, shared_mongodb()).start().await;
    books_agree(&world.archive, &[u64::from(event.0)]).await;
    world.verified().await;
    assert!(worker.stop());
    world.stop().await;
});

on_one_redis!(late_payment_is_settled_after_a_kill_at_any_step, async |flavor| {
    for step in ["after_commit", "after_refund_decided", "after_refund"] {
        let world = World::with(shared_redis(flavor), shared_mongodb(), quick()).await;
        let event = world.event_of(4, Some(2)).await;
        let paid = lapsed_and_paid(&world, event).await;
        if step != "after_commit" {
            world.sell(event, 1..=1).await;
        }
        let point = format!("{step}:kill");
        let spec = || WorkerSpec::new(&world, shared_mongodb());
        let mut first = spec().with("worker_fault_point", &point).start().await;
        eventually(&point, SETTLED, async || first.has_ended()).await;
        let second = spec().start().await;
        let end = if step == "after_commit" { Status::Confirmed } else { Status::Voided };
        is(&world, paid.booking.id, end).await;
        let totals = books_agree(&world.archive, &[u64::from(event.0)]).await;
        let (charged, refunded) = if step == "after_commit" { (200, 0) } else { (300, 200) };
        assert_eq!((totals.charged, totals.refunded), (charged, refunded), "{step}");
        world.verified().await;
        assert!(second.stop());
        world.stop().await;
    }
});
