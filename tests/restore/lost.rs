//! An emptied Redis: every event is restored from the archive.

use holdfast::domain::{BookingId, IntentState, Outcome};
use holdfast::redis::new_nonce;

use super::*;
use crate::on_one_redis;
use crate::support::engine::PLENTY;
use crate::support::entries::{entry, sold_life};

on_one_redis!(emptied_redis_is_restored_by_the_worker, async |flavor| {
    let place = Place::new(flavor).await;
    let world = &place.world;
    let watcher = place.watcher().await;
    let event = world.event(20).await;
    let sold = place.buy("ann", event, &[1, 2]).await;
    let held = world.hold("bob", event, &[3, 4], Some("again")).await.unwrap().booking;
    let cancelled = place.buy("cid", event, &[5]).await;
    world.sale.cancel(&cancelled.user, cancelled.id).await.unwrap();
    place.block(event, BlockAction::Block, 9).await;
    place.block(event, BlockAction::Block, 8).await;
    place.block(event, BlockAction::Release, 8).await;
    world.verified().await;
    let before = [place.read(&sold).await, place.read(&cancelled).await];

    place.flush();
    // The new log has an entry at once, so its newest position is as high as before.
    world.engine.beat(world.partition(event), 0, PLENTY).await.unwrap();
    not_loaded(event, world.hold("eve", event, &[7], None).await);
    not_loaded(event, world.sale.seat_map(event).await);
    assert_eq!(world.free(event).await, None);
    assert_eq!(place.read(&sold).await, before[0], "from the archive");
    // A worker with `restore_on_loss` off only reports the loss.
    let load_state = async || {
        let facts = world.archive.load_facts(event).await.unwrap().unwrap();
        (facts.generation, facts.load_state)
    };
    eventually("the loss is reported", SOON, async || watcher.log().contains("Event(EventId("))
        .await;
    assert_eq!(load_state().await, (1, LoadState::Opened));
    assert!(watcher.stop());

    let worker = place.worker().await;
    place.restored(event, 2).await;
    assert_eq!(place.seats(event).await.to_lowercase(), "bbhhaaaaxaaaaaaaaaaa");
    assert_eq!([place.read(&sold).await, place.read(&cancelled).await], before);
    world.verified().await;
    // The same request finds its hold; the user's limit counts the restored seats.
    let again = world.hold("bob", event, &[3, 4], Some("again")).await.unwrap();
    assert!(again.replayed);
    assert_eq!((again.booking.id, again.booking.deadline_ms), (held.id, held.deadline_ms));
    let refused = world.hold("bob", event, &[11, 12, 13, 14, 15, 16, 17, 18, 19], None).await;
    assert_eq!(refused.unwrap_err(), SaleError::UserLimit { has: 2, max: 10 });
    let replayed = world.hold("ann", event, &[1, 2], None).await.unwrap();
    assert_eq!((replayed.replayed, replayed.booking.id), (true, sold.id));
    // The sale continues: the hold is paid, sold seats stay sold.
    assert_eq!(place.pay(&again).await.status, Status::Confirmed);
    let refused = world.hold("eve", event, &[1], None).await.unwrap_err();
    assert!(matches!(refused, SaleError::SeatsUnavailable(_)), "{refused:?}");
    place.buy("eve", event, &[5]).await;
    world.verified().await;
    assert!(worker.metric(r#"holdfast_restores_total{result="loaded"}"#).await >= 1.0);
    assert!(worker.metric("holdfast_restore_seconds_count").await >= 1.0);
    assert!(worker.stop());
    place.world.stop().await;
});

on_one_redis!(undecided_bookings_keep_their_seats, async |flavor| {
    let place = Place::new(flavor).await;
    let world = &place.world;
    let watcher = place.watcher().await;
    let event = world.event(20).await;
    let hold = async |user: &str, seats: &[u32]| {
        world.hold(user, event, seats, None).await.unwrap().booking
    };
    // A payment in progress; an open intent whose lease in Redis is lost; a declined attempt; a plain
    // hold; and a booking that the archive has only as an intent.
    let begun = hold("ann", &[1]).await;
    let known = world.archive.event(event).await.unwrap().unwrap();
    let nonce = new_nonce();
    let call = world.engine.confirm_begin(&known, begun.id, &begun.user, &nonce, 600_000, 9);
    assert_eq!(call.await.unwrap().code(), "ok");
    let opened = hold("bob", &[2]).await;
    let declined = hold("cid", &[3]).await;
    let plain = hold("dan", &[4]).await;
    world.verified().await;
    for (booking, lease, state) in
        [(&opened, 3, IntentState::Open), (&declined, 1, IntentState::Idle)]
    {
        assert!(world.archive.insert_intent(&intent(booking, lease, state)).await.unwrap());
    }
    let mut unarchived = plain.clone();
    unarchived.id = BookingId::new(event, plain.created_ms as u64 + 1, 77);
    (unarchived.user, unarchived.seats) = ("eve".parse().unwrap(), vec![SeatId(6), SeatId(7)]);
    let open = intent(&unarchived, 1, IntentState::Open);
    assert!(world.archive.insert_intent(&open).await.unwrap());
    assert!(watcher.stop());

    place.flush();
    let restored = place.restorer().restore(event, &holdfast::sale::restore::NoProgress).await;
    let restored = restored.unwrap().unwrap();
    assert_eq!((restored.sold, restored.live, restored.ended), (0, 5, 0));
    assert_eq!(place.seats(event).await.to_lowercase(), "hhhhahhaaaaaaaaaaaaa");
    let states = async |booking: &Booking| {
        let answer = world.engine.get_booking(booking.id).await.unwrap();
        let booking = answer.into_booking().unwrap();
        (booking.status, booking.lease)
    };
    assert_eq!(states(&begun).await, (Status::Confirming, 1));
    assert_eq!(states(&opened).await, (Status::Confirming, 3));
    assert_eq!(states(&declined).await, (Status::Hold, 1));
    assert_eq!(states(&plain).await, (Status::Hold, 0));
    assert_eq!(states(&unarchived).await, (Status::Confirming, 1));
    assert_eq!(place.restored_as(&plain).await, Some(Status::Hold));
    // Their leases have lapsed: the buyer may continue the payment under a higher lease.
    let known = world.archive.event(event).await.unwrap().unwrap();
    let call = world.engine.confirm_begin(&known, opened.id, &opened.user, &nonce, 60_000, 9);
    let taken = call.await.unwrap();
    assert_eq!((taken.code(), taken.into_booking().unwrap().lease), ("ok", 4));
    let _worker = place.watcher().await;
    world.verified().await;
    place.world.stop().await;
});

on_one_redis!(paid_undecided_sale_is_decided, async |flavor| {
    let place = Place::new(flavor).await;
    let world = &place.world;
    let event = world.event(4).await;
    // Archived as paid by a worker that crashed before deciding; and one that lost its seat.
    let (first, second) = (BookingId::new(event, 1, 1), BookingId::new(event, 2, 2));
    let partition = world.partition(event);
    let states = |id, seats: &[u32]| -> Vec<_> {
        let mut life = sold_life(id, seats);
        life.truncate(3);
        life.iter_mut().for_each(|entry| {
            entry.kind = match entry.kind {
                // Stored as a state, not as a sale, so that nothing is claimed or decided.
                Kind::Sold => Kind::ConfirmAbort,
                other => other,
            }
        });
        life.into_iter().map(|entry| (partition, entry)).collect()
    };
    world.archive.store(&states(first, &[1, 2])).await.unwrap();
    world.archive.store(&states(second, &[2, 3])).await.unwrap();
    // And an overdue hold.
    let overdue = BookingId::new(event, 3, 3);
    let mut held = entry(overdue, &[4], Kind::Hold, 1);
    held.transition.as_mut().unwrap().deadline_ms = 1;
    world.archive.store(&[(partition, held)]).await.unwrap();

    place.flush();
    let restored = place.restorer().restore(event, &holdfast::sale::restore::NoProgress).await;
    let restored = restored.unwrap().unwrap();
    assert_eq!((restored.sold, restored.live, restored.ended), (1, 0, 1));
    assert_eq!(place.seats(event).await.to_lowercase(), "bbaa");
    let outcome = async |id| world.archive.booking(id).await.unwrap().unwrap().outcome;
    assert_eq!(outcome(first).await, Some(Outcome::Sold));
    assert_eq!(outcome(second).await, Some(Outcome::Refund));
    assert_eq!(world.status(first).await, Some(Status::Confirmed));
    assert_eq!(world.status(overdue).await, Some(Status::Expired));
    let _worker = place.watcher().await;
    world.verified().await;
    place.world.stop().await;
});

on_one_redis!(interrupted_repair_is_taken_over, async |flavor| {
    let place = Place::new(flavor).await;
    let world = &place.world;
    let event = world.event(10).await;
    let worker = place.worker().await;
    let sold = place.buy("ann", event, &[1, 2]).await;
    world.verified().await;
    assert!(worker.stop());
    // Crashed after raising the generation, making Redis `loading` and placing a block.
    place.flush();
    let facts = world.archive.load_facts(event).await.unwrap().unwrap();
    assert_eq!(world.archive.begin_load(event, &facts).await.unwrap(), Some(2));
    assert!(world.archive.beat_load(event, 2).await.unwrap());
    let stale = world.archive.event(event).await.unwrap().unwrap();
    let inventory = holdfast::domain::Inventory::free(&stale.layout);
    let load = world.engine.load_event(&stale, &inventory).await.unwrap();
    let holdfast::redis::OpenEventReply::Done { token } = load else { panic!("{load:?}") };
    world.engine.load_bookings(&stale, &token, &[], &[SeatId(7)]).await.unwrap();
    not_loaded(event, world.hold("eve", event, &[7], None).await);

    let worker = place.worker().await;
    place.restored(event, 3).await;
    assert_eq!(place.seats(event).await.to_lowercase(), "bbaaaaaaaa");
    // It was only suspended: it is too late at every step.
    assert!(!world.archive.beat_load(event, 2).await.unwrap());
    assert!(!world.archive.mark_loaded(event, 2, &token).await.unwrap());
    let until = holdfast::redis::NotAfter(i64::MAX);
    let late =
        world.engine.restore_bookings(event, 2, &token, &[as_owner_sees(&sold)], until).await;
    assert_eq!(late.unwrap().code(), "generation_mismatch");
    assert_eq!(place.read(&sold).await, as_owner_sees(&sold));
    world.verified().await;
    assert!(worker.stop());
    place.world.stop().await;
});

on_one_redis!(interrupted_merge_and_unfinished_load_are_taken_over, async |flavor| {
    let place = Place::new(flavor).await;
    let world = &place.world;
    let (merging, opened) = (world.event(10).await, world.event(10).await);
    let begin = async |event: EventId| {
        let facts = world.archive.load_facts(event).await.unwrap().unwrap();
        assert_eq!(world.archive.begin_load(event, &facts).await.unwrap(), Some(2));
    };
    // One process crashes during a merge; the event continues to sell.
    begin(merging).await;
    let raised = world.engine.raise_generation(merging, 2).await.unwrap();
    assert_eq!(raised.code(), "ok");
    let held = world.hold("ann", merging, &[1], None).await.unwrap().booking;
    // The other crashes after its load was recorded and before it was opened: outcomes decided
    // meanwhile must still be settled.
    place.redis.command(&["DEL", &world.engine.keys().event_keys(opened)[0]]);
    begin(opened).await;
    let event = world.archive.event(opened).await.unwrap().unwrap();
    let inventory = holdfast::domain::Inventory::free(&event.layout);
    let load = world.engine.load_event(&event, &inventory).await.unwrap();
    let holdfast::redis::OpenEventReply::Done { token } = load else { panic!("{load:?}") };
    assert!(world.archive.mark_loaded(opened, 2, &token).await.unwrap());
    let sold = BookingId::new(opened, 1, 1);
    let life: Vec<_> =
        sold_life(sold, &[4]).into_iter().map(|one| (world.partition(opened), one)).collect();
    world.archive.store(&life).await.unwrap();

    let worker = place.worker().await;
    place.restored(merging, 3).await;
    place.restored(opened, 3).await;
    let settled = async || world.status(sold).await == Some(Status::Confirmed);
    eventually("the sale is settled", SOON, settled).await;
    assert_eq!(world.status(held.id).await, Some(Status::Hold));
    world.verified().await;
    assert!(worker.stop());
    place.world.stop().await;
});
