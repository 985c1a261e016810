//! What the archive decided comes into Redis, also into one that has lost its memory.

use holdfast::domain::{Booking, BookingId, SeatId, Status};
use holdfast::redis::{AbortMode, Settlement, new_nonce};

use crate::on_each_redis;
use crate::support::engine::{START_MS, Stage};

on_each_redis!(settle_follows_the_archive, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (engine, event, ann) = (&stage.engine, &stage.event, stage.user("ann"));
    let sell = async |seats: &[u32]| {
        let id = stage.hold("ann", seats).await.into_booking().unwrap().id;
        engine.confirm_begin(event, id, &ann, &new_nonce(), 30_000, 3).await.unwrap();
        engine.confirm_commit(1, id, 1, "pay").await.unwrap().into_booking().unwrap()
    };
    let settle = async |booking: &_, outcome, generation| {
        let call =
            Settlement { generation, outcome, valid_until: None, acknowledge: None, booking };
        engine.settle(&call).await.unwrap()
    };
    let kept = sell(&[1]).await;
    stage.expect("generation_mismatch", settle(&kept, "sold", 2).await);
    // It is confirmed when the archive has it confirmed.
    let known = Booking { confirmed_ms: kept.paid_ms, ..kept.clone() };
    let confirmed = stage.expect("ok", settle(&known, "sold", 1).await).into_booking().unwrap();
    assert_eq!((confirmed.status, confirmed.confirmed_ms), (Status::Confirmed, kept.paid_ms));
    let again = stage.expect("ok", settle(&kept, "sold", 1).await).into_booking().unwrap();
    assert_eq!(again.version, confirmed.version);
    stage.expect("is_confirmed", engine.cancel(event, kept.id, &ann).await.unwrap());

    let refused = sell(&[2]).await;
    let voided = stage.expect("ok", settle(&refused, "refund", 1).await);
    assert_eq!(voided.into_booking().unwrap().status, Status::Voided);
    assert_eq!(stage.seats().await, "BaaAaaaaAaaa");

    // Cancelled by the archive, resold, and only then a late `sold`: it takes nothing back.
    stage.expect("ok", settle(&kept, "cancelled", 1).await);
    stage.expect("ok", stage.hold("bob", &[1]).await);
    let late = settle(&kept, "sold", 1).await;
    let late = stage.expect("settled_otherwise", late).into_booking().unwrap();
    assert_eq!(late.status, Status::Cancelled);
    assert_eq!(stage.seats().await, "HaaAaaaaAaaa");
    let users = stage.snapshot().await.users;
    assert_eq!(users, [("bob".to_owned(), 1)]);
});

on_each_redis!(settle_writes_a_lost_sale_anew, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (engine, event, ann) = (&stage.engine, &stage.event, stage.user("ann"));
    let id = stage.hold("ann", &[1, 2]).await.into_booking().unwrap().id;
    engine.confirm_begin(event, id, &ann, "n1", 30_000, 3).await.unwrap();
    let sold = engine.confirm_commit(1, id, 1, "pay").await.unwrap().into_booking().unwrap();
    // Redis forgets the sale; others hold and pay for its seats meanwhile.
    let key = engine.keys().event_keys(event.id)[0].clone();
    stage.raw(&["DEL", &key]).await;
    stage.load_and_open().await;
    let held = stage.hold("bob", &[2, 3]).await.into_booking().unwrap();
    let paying = stage.hold("eve", &[1]).await.into_booking().unwrap();
    let eve = stage.user("eve");
    engine.confirm_begin(event, paying.id, &eve, "n2", 30_000, 3).await.unwrap();

    let call = Settlement {
        generation: 1,
        outcome: "sold",
        valid_until: None,
        acknowledge: None,
        booking: &sold,
    };
    let settled = stage.expect("ok", engine.settle(&call).await.unwrap());
    let settled = settled.into_booking().unwrap();
    assert_eq!((settled.status, settled.paid_ms), (Status::Confirmed, sold.paid_ms));
    assert_eq!(stage.seats().await, "BbaAaaaaAaaa");
    let displaced = engine.get_booking(held.id).await.unwrap().into_booking().unwrap();
    assert_eq!(displaced.status, Status::Cancelled);
    // Paid for all the same: the archive will make it a refund, and no seat moves.
    let commit = engine.confirm_commit(1, paying.id, 1, "pay2").await.unwrap();
    let lost = stage.expect("ok", commit).into_booking().unwrap();
    assert_eq!(stage.seats().await, "BbaAaaaaAaaa");
    let call = Settlement {
        generation: 1,
        outcome: "refund",
        valid_until: None,
        acknowledge: None,
        booking: &lost,
    };
    stage.expect("ok", engine.settle(&call).await.unwrap());
    assert_eq!(stage.seats().await, "BbaAaaaaAaaa");
    let snapshot = stage.snapshot().await;
    assert_eq!(snapshot.available, 10);
    assert_eq!(snapshot.holders.len(), 2);
    assert_eq!(snapshot.users, [("ann".to_owned(), 2)]);
});

on_each_redis!(archived_end_is_final, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (engine, event, ann) = (&stage.engine, &stage.event, stage.user("ann"));
    let settle = async |booking: &_, outcome| {
        let call =
            Settlement { generation: 1, outcome, valid_until: None, acknowledge: None, booking };
        engine.settle(&call).await.unwrap()
    };
    // Redis lost the commit, or has a cancelled hold in its place, or nothing at all; in each case
    // the archive says `cancelled`, and a late `sold` comes after the seat was taken by others.
    let confirming = stage.hold("ann", &[1]).await.into_booking().unwrap();
    engine.confirm_begin(event, confirming.id, &ann, "n1", 30_000, 3).await.unwrap();
    let given_up = stage.hold("ann", &[2]).await.into_booking().unwrap();
    engine.cancel(event, given_up.id, &ann).await.unwrap();
    let mut unknown = given_up.clone();
    (unknown.id, unknown.seats) = (BookingId::new(event.id, 9, 9), vec![SeatId(3)]);
    for (number, mut booking) in [confirming, given_up, unknown].into_iter().enumerate() {
        (booking.paid_ms, booking.payment) = (START_MS, "pay".into());
        stage.expect("ok", settle(&booking, "cancelled").await);
        stage.expect("ok", settle(&booking, "cancelled").await);
        let seat = booking.seats[0].0;
        stage.expect("ok", stage.hold(&format!("next{number}"), &[seat]).await);
        let late = stage.expect("settled_otherwise", settle(&booking, "sold").await);
        assert_eq!(late.booking().unwrap().status, Status::Cancelled);
    }
    assert_eq!(stage.seats().await, "HhhAaaaaAaaa");
    let ends = stage.kinds().await.into_iter().filter(|kind| *kind == "cancelled").count();
    assert_eq!(ends, 1 + 3, "each end is one entry, so that the archive learns of it");
});

on_each_redis!(a_confirmed_seat_is_never_taken_by_another_sale, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (engine, event) = (&stage.engine, &stage.event);
    let bob = stage.user("bob");
    let id = stage.hold("bob", &[1]).await.into_booking().unwrap().id;
    engine.confirm_begin(event, id, &bob, "n1", 30_000, 3).await.unwrap();
    let sold = engine.confirm_commit(1, id, 1, "pay").await.unwrap().into_booking().unwrap();
    let settle = async |booking: &_| {
        let call = Settlement {
            generation: 1,
            outcome: "sold",
            valid_until: None,
            acknowledge: None,
            booking,
        };
        engine.settle(&call).await.unwrap()
    };
    stage.expect("ok", settle(&sold).await);
    let mut rival = sold.clone();
    rival.id = BookingId::new(event.id, 9, 9);
    stage.expect("seats_lost", settle(&rival).await);
    assert_eq!(stage.snapshot().await.holders, [(SeatId(1), id)]);
});

on_each_redis!(a_hold_that_lost_a_seat_is_not_paid_for_again, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (engine, event, eve) = (&stage.engine, &stage.event, stage.user("eve"));
    let hold = async |seats: &[u32]| stage.hold("eve", seats).await.into_booking().unwrap();
    let begin = async |id, nonce: &str| {
        engine.confirm_begin(event, id, &eve, nonce, 30_000, 3).await.unwrap()
    };
    let (aborted, retaken) = (hold(&[1, 2]).await, hold(&[4, 5]).await);
    begin(aborted.id, "n1").await;
    begin(retaken.id, "n2").await;
    // The archive restores two sales that Redis had lost, each of one of these seats.
    for (number, seat) in [(7, 1), (8, 4)] {
        let mut restored = aborted.clone();
        (restored.id, restored.seats) = (BookingId::new(event.id, number, 1), vec![SeatId(seat)]);
        (restored.user, restored.paid_ms) = (stage.user("ann"), START_MS);
        let call = Settlement {
            generation: 1,
            outcome: "sold",
            valid_until: None,
            acknowledge: None,
            booking: &restored,
        };
        stage.expect("ok", engine.settle(&call).await.unwrap());
    }
    let ended = engine.confirm_abort(1, aborted.id, &AbortMode::Lease(1)).await.unwrap();
    assert_eq!(ended.into_booking().unwrap().status, Status::Cancelled);
    stage.set_clock(START_MS + 30_000).await;
    stage.expect("booking_cancelled", begin(retaken.id, "n3").await);
    assert_eq!(stage.seats().await, "BaaBaaaaAaaa");
});
