//! `raise_generation` and `restore_bookings` on a Redis whose clock the test sets.

use holdfast::domain::BookingId;
use holdfast::redis::{NotAfter, RaiseGenerationReply, RestoreBookingsReply, Timed, new_nonce};

use crate::on_each_redis;
use crate::support::engine::{START_MS, Stage};

use super::*;

/// A booking of the archive that Redis lacks.
fn unknown(stage: &Stage, random: u64, seats: &[u32], status: Status) -> Booking {
    Booking {
        id: BookingId::new(stage.event.id, START_MS as u64, random),
        status,
        version: 2,
        user: stage.user("lost"),
        seats: seats.iter().copied().map(SeatId).collect(),
        amount: 5_000,
        currency: "EUR".into(),
        created_ms: START_MS,
        deadline_ms: START_MS + 60_000,
        nonce: String::new(),
        lease: 1,
        lease_until_ms: 0,
        payment: String::new(),
        paid_ms: 0,
        confirmed_ms: 0,
        ended_ms: 0,
        idempotency: "digest".into(),
        fingerprint: "print".into(),
        trace: String::new(),
    }
}

async fn restore(stage: &Stage, bookings: &[Booking]) -> Timed<RestoreBookingsReply> {
    let (event, generation) = (stage.event.id, stage.event.generation);
    let until = NotAfter(i64::MAX);
    stage.engine.restore_bookings(event, generation, "", bookings, until).await.unwrap()
}

async fn booking(stage: &Stage, id: BookingId) -> Booking {
    stage.engine.get_booking(id).await.unwrap().into_booking().unwrap()
}

on_each_redis!(older_generation_is_refused_after_raising_it, async |flavor| {
    let mut stage = Stage::new(flavor).await;
    let held = stage.expect("ok", stage.hold("ann", &[1]).await).into_booking().unwrap();
    let raised = stage.engine.raise_generation(stage.event.id, 3).await.unwrap();
    stage.expect("ok", raised);
    let raised = stage.engine.raise_generation(stage.event.id, 3).await.unwrap();
    stage.expect("ok", raised);
    assert_eq!(stage.kinds().await, ["hold", "opened"], "repeating it has no effect");
    let lower = stage.engine.raise_generation(stage.event.id, 2).await.unwrap();
    assert_eq!(lower.reply, RaiseGenerationReply::GenerationMismatch { generation: 3 });
    stage.expect("generation_mismatch", stage.hold("bob", &[2]).await);
    stage.event.generation = 3;
    stage.expect("ok", stage.hold("bob", &[2]).await);
    assert_eq!(booking(&stage, held.id).await.status, Status::Hold);
});

on_each_redis!(payments_get_seats_before_holds, async |flavor| {
    let stage = Stage::new(flavor).await;
    let displaced = stage.hold("ann", &[1, 2]).await.into_booking().unwrap();
    let begun = stage.hold("bob", &[4]).await.into_booking().unwrap();
    let call = stage.engine.confirm_begin(&stage.event, begun.id, &begun.user, "n", 60_000, 9);
    stage.expect("ok", call.await.unwrap());
    // One seat is held by another booking, one is being paid for by another.
    let lost = unknown(&stage, 7, &[2, 4, 5], Status::Confirming);
    let answer = stage.expect("ok", restore(&stage, std::slice::from_ref(&lost)).await);
    assert_eq!(answer.reply, RestoreBookingsReply::Restored { restored: 1, ended: 0 });
    assert_eq!(stage.seats().await, "AhaHhaaaAaaa");
    assert_eq!(booking(&stage, displaced.id).await.status, Status::Cancelled);
    assert_eq!(booking(&stage, begun.id).await.status, Status::Confirming);
    let restored = booking(&stage, lost.id).await;
    assert_eq!((restored.status, restored.lease, restored.version), (Status::Confirming, 1, 3));
    assert_eq!(restored.lease_until_ms, START_MS, "it has lapsed");
    let users = stage.snapshot().await.users;
    assert!(users.contains(&("lost".to_owned(), 3)), "{users:?}");
    // Repeating it has no effect.
    let answer = restore(&stage, std::slice::from_ref(&lost)).await;
    assert_eq!(answer.reply, RestoreBookingsReply::Restored { restored: 0, ended: 0 });
    // It cannot be paid: it does not have all its seats.
    let taken = stage
        .engine
        .confirm_begin(&stage.event, lost.id, &lost.user, "m", 60_000, 9)
        .await
        .unwrap();
    assert_eq!(taken.code(), "booking_cancelled");
    assert_eq!(stage.seats().await, "AaaHaaaaAaaa");
});

on_each_redis!(hold_gets_all_its_seats_or_ends, async |flavor| {
    let stage = Stage::new(flavor).await;
    stage.hold("ann", &[1]).await;
    let whole = unknown(&stage, 1, &[2, 3], Status::Hold);
    let torn = unknown(&stage, 2, &[1, 5], Status::Hold);
    let mut overdue = unknown(&stage, 3, &[6], Status::Hold);
    overdue.deadline_ms = START_MS;
    let all = [whole.clone(), torn.clone(), overdue.clone()];
    let answer = stage.expect("ok", restore(&stage, &all).await);
    assert_eq!(answer.reply, RestoreBookingsReply::Restored { restored: 1, ended: 2 });
    assert_eq!(stage.seats().await, "HhhAaaaaAaaa");
    assert_eq!(booking(&stage, torn.id).await.status, Status::Cancelled);
    assert_eq!(booking(&stage, overdue.id).await.status, Status::Expired);
    assert_eq!(stage.kinds().await, ["hold", "restored", "cancelled", "expired"]);
    let answer = restore(&stage, &all).await;
    let unchanged = RestoreBookingsReply::Restored { restored: 0, ended: 0 };
    assert_eq!(answer.reply, unchanged, "repeating it has no effect");
    // It expires at its deadline.
    stage.set_clock(whole.deadline_ms).await;
    assert_eq!(booking(&stage, whole.id).await.status, Status::Expired);
    assert_eq!(stage.seats().await, "HaaAaaaaAaaa", "ann's is left to the sweeper");
    assert_eq!(stage.snapshot().await.users, [("ann".to_owned(), 1)]);
});

on_each_redis!(existing_booking_gets_the_higher_lease_and_version, async |flavor| {
    let stage = Stage::new(flavor).await;
    let held = stage.hold("ann", &[1]).await.into_booking().unwrap();
    let wanted = Booking { status: Status::Confirming, lease: 4, version: 5, ..held.clone() };
    stage.expect("ok", restore(&stage, &[wanted]).await);
    let now = booking(&stage, held.id).await;
    assert_eq!((now.status, now.lease, now.version), (Status::Confirming, 4, 6));
    assert_eq!(stage.snapshot().await.next_deadline_ms, None);
    // A lower lease has no effect; a hold that was cancelled in the archive stays a hold.
    let older = Booking { status: Status::Confirming, lease: 2, version: 3, ..held };
    let answer = restore(&stage, &[older]).await;
    assert_eq!(answer.reply, RestoreBookingsReply::Restored { restored: 0, ended: 0 });
    let stays = stage.hold("bob", &[2]).await.into_booking().unwrap();
    let lost = Booking { version: 7, deadline_ms: stays.deadline_ms + 9, ..stays.clone() };
    restore(&stage, &[lost]).await;
    let now = booking(&stage, stays.id).await;
    assert_eq!((now.status, now.version), (Status::Hold, 8));
    assert_eq!(now.deadline_ms, stays.deadline_ms + 9, "an extension was lost");
    assert_eq!(stage.snapshot().await.next_deadline_ms, Some(now.deadline_ms));
    // A booking that expired since gets its seat again while it is free.
    let expired = stage.hold("cid", &[3]).await.into_booking().unwrap();
    stage.set_clock(expired.deadline_ms).await;
    assert_eq!(booking(&stage, expired.id).await.status, Status::Expired);
    let wanted = Booking { status: Status::Confirming, lease: 1, ..expired.clone() };
    restore(&stage, std::slice::from_ref(&wanted)).await;
    assert_eq!(booking(&stage, expired.id).await.status, Status::Confirming);
    assert!(stage.seats().await.to_lowercase().starts_with("hhh"));
});

on_each_redis!(only_the_named_load_is_written, async |flavor| {
    let stage = Stage::unopened(flavor, crate::support::engine::small_event(1)).await;
    let one = unknown(&stage, 1, &[1], Status::Hold);
    let until = NotAfter(i64::MAX);
    let call = async |token: &str, generation: u64| {
        let (event, one) = (stage.event.id, std::slice::from_ref(&one));
        let answer = stage.engine.restore_bookings(event, generation, token, one, until).await;
        answer.unwrap().code()
    };
    assert_eq!(call("", 1).await, "event_not_loaded");
    let token = stage.load().await;
    assert_eq!(call("", 1).await, "event_not_loaded", "it is not open");
    assert_eq!(call(&new_nonce(), 1).await, "event_not_loaded", "another load");
    assert_eq!(call(&token, 2).await, "generation_mismatch");
    assert_eq!(call(&token, 1).await, "ok");
    stage.expect("ok", stage.engine.open_event(&stage.event, &token).await.unwrap());
    assert_eq!(call(&token, 1).await, "event_not_loaded", "the load is over");
    assert!(stage.seats().await.starts_with('H'));
    let late = stage
        .engine
        .restore_bookings(stage.event.id, 1, "", std::slice::from_ref(&one), NotAfter(START_MS - 1))
        .await
        .unwrap();
    assert_eq!(late.code(), "too_late");
});
