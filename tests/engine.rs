//! Each transition on a real Redis, with the clock in the test's hand.

use holdfast::domain::{BookingId, SeatState, Status};
use holdfast::redis::{
    AbortMode, Detail, ExpireReply, HoldReply, NotAfter, OpenEventReply, SeatSelection, new_nonce,
};

mod limits;
mod loading;
mod memory;
mod own_connections;
mod own_keys;
mod quantity;
mod requests;
mod retention;
mod settlement;
mod waiting_room;

use crate::on_each_redis;
use crate::support::engine::{PLENTY, START_MS, Stage, small_event};

const FREE: &str = "AaaAaaaaAaaa";

on_each_redis!(hold_takes_all_or_none, async |flavor| {
    let stage = Stage::new(flavor).await;
    let held = stage.expect("ok", stage.hold("ann", &[2, 3, 4]).await);
    let booking = held.into_booking().unwrap();
    assert_eq!(booking.status, Status::Hold);
    assert_eq!(booking.amount, 15_000);
    assert_eq!(booking.deadline_ms, START_MS + 60_000);
    assert_eq!(stage.seats().await, "AhhHaaaaAaaa");

    let refused = stage.expect("seats_unavailable", stage.hold("bob", &[4, 5]).await);
    let HoldReply::SeatsUnavailable { states } = refused.reply else { panic!("no states") };
    assert_eq!(
        states.iter().map(|s| s.1).collect::<Vec<_>>(),
        [SeatState::Hold, SeatState::Available]
    );
    assert_eq!(stage.seats().await, "AhhHaaaaAaaa");
    let snapshot = stage.snapshot().await;
    assert_eq!(snapshot.available, 9);
    assert_eq!(snapshot.users, [("ann".to_owned(), 3)]);
    assert_eq!(stage.kinds().await, ["hold"]);
});

on_each_redis!(a_hold_lapses_by_itself, async |flavor| {
    let stage = Stage::new(flavor).await;
    let first = stage.expect("ok", stage.hold("ann", &[1]).await).into_booking().unwrap();
    stage.set_clock(START_MS + 59_999).await;
    stage.expect("seats_unavailable", stage.hold("bob", &[1]).await);
    stage.set_clock(START_MS + 60_000).await;
    let second = stage.expect("ok", stage.hold("bob", &[1]).await).into_booking().unwrap();
    assert_ne!(first.id, second.id);
    let gone = stage.engine.get_booking(first.id).await.unwrap().into_booking().unwrap();
    assert_eq!((gone.status, gone.ended_ms), (Status::Expired, START_MS + 60_000));
    assert_eq!(stage.kinds().await, ["hold", "expired", "hold"]);
});

on_each_redis!(refusals_come_in_their_order, async |flavor| {
    let mut stage = Stage::new(flavor).await;
    let id = BookingId::new(stage.event.id, 1, 1);
    let late = stage.hold_call("ann", &[1], "d", "n", id, NotAfter(START_MS - 1)).await;
    stage.expect("too_late", late);
    stage.expect("seat_unknown", stage.hold("ann", &[13]).await);
    stage.expect("user_limit", stage.hold("ann", &[1, 2, 3, 4, 5]).await);

    stage.event.layout_version = 2;
    stage.expect("layout_mismatch", stage.hold("ann", &[1]).await);
    stage.event.layout_version = 1;
    stage.event.generation = 2;
    let stale = stage.expect("generation_mismatch", stage.hold("ann", &[1]).await);
    assert_eq!(stale.reply, HoldReply::GenerationMismatch { generation: 1 });
    stage.event.generation = 1;

    for (revision, status, code) in [
        (2, holdfast::domain::EventStatus::Paused, "event_paused"),
        (3, holdfast::domain::EventStatus::Closed, "event_closed"),
        (4, holdfast::domain::EventStatus::OnSale, "not_on_sale"),
    ] {
        (stage.event.revision, stage.event.status) = (revision, status);
        stage.event.on_sale_at_ms = Some(START_MS + 1);
        stage.expect("ok", stage.engine.update_event(&stage.event).await.unwrap());
        stage.expect(code, stage.hold("ann", &[1]).await);
        let again = stage.engine.update_event(&stage.event).await.unwrap();
        stage.expect("stale_revision", again);
    }
    stage.set_clock(START_MS + 1).await;
    let held = stage.expect("ok", stage.hold("ann", &[1]).await).into_booking().unwrap();

    // The sale ends at its end by Redis' clock; what is held can be paid, and found.
    (stage.event.revision, stage.event.off_sale_at_ms) = (5, Some(START_MS + 1_000));
    stage.expect("ok", stage.engine.update_event(&stage.event).await.unwrap());
    stage.set_clock(START_MS + 999).await;
    stage.expect("ok", stage.hold_as("bob", &[2], "bobs", "n").await);
    stage.set_clock(START_MS + 1_000).await;
    stage.expect("event_closed", stage.hold("ann", &[3]).await);
    stage.expect("replayed", stage.hold_as("bob", &[2], "bobs", "m").await);
    let user = stage.user("ann");
    let begun =
        stage.engine.confirm_begin(&stage.event, held.id, &user, &new_nonce(), 30_000, 3).await;
    let lease = stage.expect("ok", begun.unwrap()).into_booking().unwrap().lease;
    let paid = stage.engine.confirm_commit(stage.event.generation, held.id, lease, "pay").await;
    stage.expect("ok", paid.unwrap());
    // Paused or not, what is over is over; a later end opens it again.
    (stage.event.revision, stage.event.status) = (6, holdfast::domain::EventStatus::Paused);
    stage.expect("ok", stage.engine.update_event(&stage.event).await.unwrap());
    stage.expect("event_closed", stage.hold("ann", &[3]).await);
    (stage.event.revision, stage.event.status) = (7, holdfast::domain::EventStatus::OnSale);
    stage.event.off_sale_at_ms = None;
    stage.expect("ok", stage.engine.update_event(&stage.event).await.unwrap());
    stage.expect("ok", stage.hold("ann", &[3]).await);

    let other = Stage { engine: stage.engine.clone(), event: small_event(5) };
    other.set_clock(START_MS).await;
    stage.expect("event_not_loaded", other.hold("ann", &[1]).await);
});

on_each_redis!(the_same_request_is_replayed_while_its_booking_lives, async |flavor| {
    let stage = Stage::new(flavor).await;
    let first = stage.expect("ok", stage.hold_as("ann", &[1, 2], "key", "n1").await);
    let again = stage.expect("replayed", stage.hold_as("ann", &[2, 1], "key", "n2").await);
    let (first, again) = (first.into_booking().unwrap(), again.into_booking().unwrap());
    assert_eq!((first.id, first.version), (again.id, again.version));
    stage.expect("idempotency_mismatch", stage.hold_as("ann", &[3], "key", "n3").await);
    stage.set_clock(START_MS + 60_000).await;
    let anew = stage.expect("ok", stage.hold_as("ann", &[1, 2], "key", "n4").await);
    assert_ne!(anew.into_booking().unwrap().id, first.id);
    assert_eq!(stage.kinds().await, ["hold", "expired", "hold"]);
});

on_each_redis!(a_call_that_runs_twice_writes_once, async |flavor| {
    let stage = Stage::new(flavor).await;
    let id = BookingId::new(stage.event.id, 1, 1);
    let forever = NotAfter(i64::MAX / 2);
    stage.expect("ok", stage.hold_call("ann", &[1], "d1", "n", id, forever).await);
    stage.expect("replayed", stage.hold_call("ann", &[1], "d1", "n", id, forever).await);
    // The same id from somebody else, or for something else, is a collision.
    stage.expect("id_taken", stage.hold_call("bob", &[5], "d3", "n", id, forever).await);
    stage.expect("id_taken", stage.hold_call("ann", &[2], "d4", "n", id, forever).await);
    // Also when the booking has ended since.
    stage.engine.cancel(&stage.event, id, &stage.user("ann")).await.unwrap();
    let ended = stage.hold_call("ann", &[1], "d1", "n", id, forever).await;
    let ended = stage.expect("replayed", ended).into_booking().unwrap();
    assert_eq!(ended.status, Status::Cancelled);
    assert_eq!(stage.kinds().await, ["hold", "cancelled"]);
});

on_each_redis!(abort_undoes_only_unanswered_holds, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (engine, event) = (&stage.engine, stage.event.id);
    let past = NotAfter(START_MS - 1);
    let abort =
        async |nonce: &str, before| engine.abort(event, 1, "key", nonce, before).await.unwrap();

    stage.expect("nothing", abort("n1", past).await);
    stage.hold_as("ann", &[1], "key", "n1").await;
    stage.expect("too_early", abort("n1", NotAfter(START_MS)).await);
    stage.expect("nothing", abort("nx", past).await);
    // A retry reached its caller: the lost first attempt must not undo it.
    stage.hold_as("ann", &[1], "key", "n2").await;
    stage.expect("nothing", abort("n1", past).await);
    assert_eq!(stage.snapshot().await.available, 11);
    // The retry was lost as well: nobody knows of the hold.
    stage.expect("ok", abort("n2", past).await);
    assert_eq!(stage.seats().await, FREE);

    // The first reply arrived, only the retry's was lost: the hold stays.
    stage.hold_as("bob", &[1], "key2", "n3").await;
    stage.hold_as("bob", &[1], "key2", "n4").await;
    let answer = engine.abort(event, 1, "key2", "n4", past).await.unwrap();
    stage.expect("nothing", answer);
    assert_eq!(stage.snapshot().await.available, 11);
    // A booking that its owner went on with is nobody's to undo.
    stage.hold_as("eve", &[2], "key3", "n5").await;
    let held = stage.snapshot().await.bookings.into_iter().find(|b| b.nonce == "n5").unwrap();
    stage.set_clock(START_MS + 1).await;
    engine.extend(&stage.event, held.id, &held.user, "n6", PLENTY).await.unwrap();
    let answer = engine.abort(event, 1, "key3", "n5", past).await.unwrap();
    stage.expect("nothing", answer);
});

on_each_redis!(confirm_sells_under_its_lease, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (engine, event, ann) = (&stage.engine, &stage.event, stage.user("ann"));
    let id = stage.hold("ann", &[1, 4]).await.into_booking().unwrap().id;
    let begin = async |user: &str, nonce: &str| {
        engine.confirm_begin(event, id, &stage.user(user), nonce, 30_000, 3).await.unwrap()
    };
    stage.expect("booking_unknown", begin("bob", "n0").await);
    let begun = stage.expect("ok", begin("ann", "n1").await).into_booking().unwrap();
    assert_eq!((begun.status, begun.lease), (Status::Confirming, 1));
    stage.expect("ok", begin("ann", "n1").await);
    stage.expect("in_flight", begin("ann", "n2").await);
    stage.expect("in_flight", engine.cancel(event, id, &ann).await.unwrap());

    // The deadline passes: nothing frees the seats, and a lapsed lease can be taken over.
    stage.set_clock(START_MS + 70_000).await;
    stage.expect("seats_unavailable", stage.hold("bob", &[1]).await);
    let taken = stage.expect("ok", begin("ann", "n3").await).into_booking().unwrap();
    assert_eq!(taken.lease, 2);
    let stale = engine.confirm_commit(1, id, 1, "pay").await.unwrap();
    stage.expect("lease_stale", stale);
    let sold = engine.confirm_commit(1, id, 2, "pay").await.unwrap();
    let sold = stage.expect("ok", sold).into_booking().unwrap();
    assert_eq!((sold.status, sold.paid_ms), (Status::Committed, START_MS + 70_000));
    stage.expect("ok", engine.confirm_commit(1, id, 2, "pay").await.unwrap());
    stage.expect("lease_stale", engine.confirm_commit(1, id, 2, "other").await.unwrap());
    assert_eq!(stage.seats().await, "BaaBaaaaAaaa");
    stage.expect("is_committed", begin("ann", "n4").await);
    assert_eq!(stage.kinds().await, ["hold", "confirm_begin", "confirm_begin", "sold"]);
});

on_each_redis!(an_aborted_confirmation_goes_back_to_its_hold, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (engine, event, ann) = (&stage.engine, &stage.event, stage.user("ann"));
    let id = stage.hold("ann", &[1]).await.into_booking().unwrap().id;
    let begin =
        async |nonce: &str| engine.confirm_begin(event, id, &ann, nonce, 30_000, 3).await.unwrap();
    let abort = async |mode: AbortMode| engine.confirm_abort(1, id, &mode).await.unwrap();

    stage.expect("ok", begin("n1").await);
    stage.expect("nothing", abort(AbortMode::Lease(2)).await);
    let back = stage.expect("ok", abort(AbortMode::Lease(1)).await).into_booking().unwrap();
    assert_eq!((back.status, back.deadline_ms), (Status::Hold, START_MS + 60_000));
    stage.expect("lease_stale", engine.confirm_commit(1, id, 1, "pay").await.unwrap());

    stage.expect("ok", begin("n2").await);
    let nonce = |nonce: &str, not_before| AbortMode::Nonce { nonce: nonce.into(), not_before };
    stage.expect("too_early", abort(nonce("n2", NotAfter(START_MS))).await);
    stage.expect("nothing", abort(nonce("n1", NotAfter(0))).await);
    stage.expect("ok", abort(nonce("n2", NotAfter(0))).await);

    // Begun for the third and last time, and left: nothing ends it but another lease, which finds
    // it overdue.
    stage.expect("ok", begin("n3").await);
    let take_over = async || engine.confirm_takeover(1, id, "r", 5_000).await.unwrap();
    stage.expect("nothing", take_over().await);
    stage.set_clock(START_MS + 60_000).await;
    let lapsed = engine.lapsed_leases(event.id, START_MS + 60_000, 0, 10).await.unwrap();
    assert_eq!(lapsed, [id]);
    let taken = stage.expect("ok", take_over().await).into_booking().unwrap();
    assert_eq!((taken.status, taken.lease), (Status::Confirming, 4));
    stage.expect("lease_stale", engine.confirm_commit(1, id, 3, "pay").await.unwrap());
    stage.expect("ok", abort(AbortMode::Lease(4)).await);
    let gone = engine.get_booking(id).await.unwrap().into_booking().unwrap();
    assert_eq!(gone.status, Status::Expired);
    assert_eq!(stage.seats().await, FREE);
    stage.expect("booking_expired", begin("n4").await);
});

on_each_redis!(attempts_to_confirm_are_bounded, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (engine, event, ann) = (&stage.engine, &stage.event, stage.user("ann"));
    let id = stage.hold("ann", &[1]).await.into_booking().unwrap().id;
    for lease in 1..=3 {
        let begun = engine.confirm_begin(event, id, &ann, &new_nonce(), 30_000, 3).await.unwrap();
        stage.expect("ok", begun);
        engine.confirm_abort(1, id, &AbortMode::Lease(lease)).await.unwrap();
    }
    let begun = engine.confirm_begin(event, id, &ann, &new_nonce(), 30_000, 3).await.unwrap();
    stage.expect("attempts_exhausted", begun);
});

on_each_redis!(extensions_end_at_the_longest_hold, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (engine, event, ann) = (&stage.engine, &stage.event, stage.user("ann"));
    let id = stage.hold("ann", &[1]).await.into_booking().unwrap().id;
    let extend = async |nonce: &str| engine.extend(event, id, &ann, nonce, PLENTY).await.unwrap();
    for (at, nonce, deadline) in [(30_000, "n1", 90_000), (80_000, "n2", 140_000)] {
        stage.set_clock(START_MS + at).await;
        let booking = stage.expect("ok", extend(nonce).await).into_booking().unwrap();
        assert_eq!(booking.deadline_ms, START_MS + deadline);
    }
    stage.set_clock(START_MS + 130_000).await;
    stage.expect("ok", extend("n2").await);
    let last = stage.expect("ok", extend("n3").await).into_booking().unwrap();
    assert_eq!(last.deadline_ms, START_MS + 150_000);
    stage.expect("hold_cap_reached", extend("n4").await);
    stage.set_clock(START_MS + 150_000).await;
    stage.expect("booking_expired", extend("n5").await);
    assert_eq!(stage.kinds().await, ["hold", "extend", "extend", "extend", "expired"]);
});

on_each_redis!(the_log_is_one_chain, async |flavor| {
    let stage = Stage::new(flavor).await;
    for user in ["a", "b", "c"] {
        stage.hold(user, &[1, 2]).await;
        stage.set_clock(stage.snapshot().await.now_ms + 60_000).await;
    }
    stage.expect("ok", stage.engine.beat(stage.partition(), 0, PLENTY).await.unwrap());
    let log = stage.log().await;
    let entries: Vec<_> = log.iter().map(|read| read.entry.clone().unwrap()).collect();
    assert_eq!(entries.len(), 1 + 5 + 1);
    assert!(entries.windows(2).all(|pair| pair[0].is_followed_by(&pair[1])));
    let versions: Vec<u64> =
        entries.iter().filter(|e| e.event.is_some()).map(|e| e.event_version).collect();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6]);
    let link = stage.engine.link(stage.partition()).await.unwrap().unwrap();
    assert_eq!(link.0, entries.last().unwrap().id);
});

on_each_redis!(a_young_log_needs_no_beat, async |flavor| {
    let stage = Stage::new(flavor).await;
    let newest = stage.log().await.last().unwrap().id;
    stage.set_clock(newest.ms as i64 + 10).await;
    let beat = async |age| stage.engine.beat(stage.partition(), age, PLENTY).await.unwrap();
    stage.expect("unneeded", beat(11).await);
    stage.expect("ok", beat(10).await);
});

on_each_redis!(expire_releases_in_batches, async |flavor| {
    let stage = Stage::new(flavor).await;
    for seat in 1..=5 {
        stage.hold(&format!("u{seat}"), &[seat]).await;
    }
    stage.set_clock(START_MS + 60_000).await;
    let expire = async || stage.engine.expire(stage.event.id, 1, 3).await.unwrap();
    let first = expire().await;
    let next_deadline_ms = Some(START_MS + 60_000);
    assert_eq!(first.reply, ExpireReply::Expired { released: 3, next_deadline_ms });
    let second = expire().await;
    assert_eq!(second.reply, ExpireReply::Expired { released: 2, next_deadline_ms: None });
    assert_eq!(stage.seats().await, FREE);
});

on_each_redis!(an_open_event_is_never_overwritten, async |flavor| {
    let stage = Stage::new(flavor).await;
    stage.hold("ann", &[1]).await;
    let inventory = holdfast::domain::Inventory::free(&stage.event.layout);
    let again = stage.engine.load_event(&stage.event, &inventory).await.unwrap();
    assert_eq!(again, OpenEventReply::EventExists);
    assert_eq!(stage.seats().await, "HaaAaaaaAaaa");
    let unknown = small_event(9);
    assert_eq!(stage.engine.snapshot(unknown.id, Detail::All).await.unwrap(), None);
});

on_each_redis!(lost_script_is_sent_again, async |flavor| {
    let stage = Stage::new(flavor).await;
    assert_eq!(stage.raw(&["SCRIPT", "FLUSH"]).await, "+OK");
    stage.expect("ok", stage.hold("ann", &[1]).await);
    stage.expect("ok", stage.hold("bob", &[2]).await);
});

on_each_redis!(one_of_a_hundred_concurrent_holds_succeeds, async |flavor| {
    let stage = Stage::new(flavor).await;
    let holds = (0..100).map(|n| {
        let stage = &stage;
        async move { stage.hold(&format!("u{n}"), &[7]).await.code() }
    });
    let codes = futures_util::future::join_all(holds).await;
    assert_eq!(codes.iter().filter(|code| **code == "ok").count(), 1);
    assert_eq!(codes.iter().filter(|code| **code == "seats_unavailable").count(), 99);
});

on_each_redis!(full_log_refuses_only_holds, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (engine, event) = (&stage.engine, &stage.event);
    let held = stage.hold("ann", &[1]).await.into_booking().unwrap();
    let seats = [holdfast::domain::SeatId(2)];
    let call = holdfast::redis::HoldCall {
        event: event.id,
        generation: event.generation,
        layout_version: event.layout_version,
        currency: &event.currency,
        booking: BookingId::new(event.id, 1, 1),
        user: &stage.user("bob"),
        nonce: "n",
        selection: SeatSelection::named(&seats, 1),
        idempotency: "d",
        fingerprint: "f",
        trace: "",
        idempotency_ttl_ms: 1_000,
        replay_window_ms: 0,
        log_entries_max: 2,
        room_number: 0,
        exempt: false,
    };
    let not_after = engine.not_after(stage.partition()).await.unwrap();
    stage.expect("log_full", engine.hold(&call, not_after).await.unwrap());
    stage.expect("ok", engine.cancel(event, held.id, &held.user).await.unwrap());
});

on_each_redis!(only_the_recorded_load_goes_on_sale, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (engine, event) = (&stage.engine, &stage.event);
    let keys = engine.keys().event_keys(event.id);
    // Everything is lost; an opener that slept through it loads a free inventory once more.
    for key in &keys {
        stage.raw(&["DEL", key]).await;
    }
    let late = stage.load().await;
    assert_eq!(stage.load().await, late, "a load that is there is kept");
    let opened = engine.open_event(event, "the token MongoDB recorded").await.unwrap();
    stage.expect("event_not_loaded", opened);
    stage.expect("event_not_loaded", stage.hold("ann", &[1]).await);
    // What settles while an event is being loaded has to wait for it.
    stage.expect("ok", engine.open_event(event, &late).await.unwrap());
});
