//! The waiting room's scripts on a real Redis: cases here and in the modules beside, random sequences
//! against a model in `random`.

mod books;
mod guard;
mod losses;
mod model;
mod moving;
mod mutants;
mod promises;
mod random;
mod room;
mod switching;
mod world;

use holdfast::domain::{EventId, EventStatus, Floors, RoomSettings};
use holdfast::redis::{RoomClaimReply, RoomJoinReply};

use crate::on_each_redis;
use crate::support::engine::START_MS;
use room::{ANY, Room, of, owed, refused, session, waits};

const SEATS: u32 = 100;

on_each_redis!(places_are_served_in_order, async |flavor| {
    let mut room = Room::new(flavor, SEATS, of(2)).await;
    for (number, user) in ["ann", "bob", "eve", "joe"].into_iter().enumerate() {
        assert_eq!(room.join(user).await, number as u64 + 1);
        assert_eq!(room.join(user).await, number as u64 + 1, "once while it lives");
    }
    waits(room.claim("ann", 1).await);
    assert_eq!((room.admit().await, room.admit_next().await), (2, 0));
    waits(room.claim("eve", 3).await);
    let ends_ms = session(room.claim("bob", 2).await);
    assert_eq!(ends_ms, room.now_ms + 10_000);
    assert_eq!(session(room.claim("bob", 2).await), ends_ms, "claimed again");
    // Ann does not come: her place is another's at the end of the claim window.
    room.set_clock(START_MS + 1_999).await;
    assert_eq!(room.admit().await, 0);
    room.set_clock(START_MS + 2_000).await;
    refused(RoomClaimReply::PlaceLapsed, room.claim("ann", 1).await);
    assert_eq!(room.admit().await, 1);
    session(room.claim("eve", 3).await);
    assert_eq!(room.join("ann").await, 5, "behind everybody");

    room.set_clock(ends_ms - 1).await;
    session(room.claim("bob", 2).await);
    assert_eq!((room.look().await.live, room.admit().await), (2, 0));
    room.set_clock(ends_ms).await;
    refused(RoomClaimReply::SessionEnded, room.claim("bob", 2).await);
    assert_eq!((room.look().await.live, room.admit().await), (1, 1));
    waits(room.claim("ann", 5).await);
    session(room.claim("joe", 4).await);
    assert_eq!(room.join("bob").await, 6, "a session that is over was the number's last use");
    refused(RoomClaimReply::NumberSuperseded, room.claim("bob", 2).await);
});

on_each_redis!(leavers_place_is_skipped, async |flavor| {
    let mut room = Room::new(flavor, SEATS, of(2)).await;
    let users: Vec<String> = (1..=60).map(|user| format!("u{user}")).collect();
    for user in &users {
        room.join(user).await;
    }
    // Both kinds: many in a row, and one before the last.
    for number in (3..=50).chain([52]) {
        assert!(room.leave(&users[number - 1], number as u64).await);
        assert!(!room.leave(&users[number - 1], number as u64).await, "once");
    }
    let state = room.look_with(0, 46).await;
    assert_eq!((state.left_waiting, state.left_total), (49, 49));
    assert_eq!(state.leavers, [49, 50, 52]);
    assert_eq!(room.admit().await, 2);
    // A place that was served is free at once, and so is a session.
    assert!(room.leave("u1", 1).await);
    session(room.claim("u2", 2).await);
    assert!(room.leave("u2", 2).await);
    refused(RoomClaimReply::PlaceGivenUp, room.claim("u2", 2).await);
    assert_eq!((room.look().await.floors.served, room.admit_next().await), (50, 2));
    assert_eq!(
        room.look().await.floors.served,
        53,
        "it cost one look, and those behind are passed"
    );
    for number in [51, 53] {
        session(room.claim(&format!("u{number}"), number).await);
    }
    assert_eq!(room.look().await.left_waiting, 0);
    // A user who returns is last in line.
    assert_eq!(room.join("u1").await, 61);
});

on_each_redis!(lapsed_batches_do_not_block_admission, async |flavor| {
    let fast = RoomSettings { claim_ms: 100, session_ms: 150, ..of(1) };
    let mut room = Room::new(flavor, SEATS, fast).await;
    // More batches in a minute than the books keep.
    for number in 1..=150 {
        let user = format!("u{number}");
        assert_eq!(room.join(&user).await, number);
        assert_eq!(room.admit().await, 1, "{number}");
        session(room.claim(&user, number).await);
        room.advance(200).await;
    }
});

on_each_redis!(cap_per_minute_holds_in_any_minute, async |flavor| {
    let mut room = Room::new(flavor, SEATS, RoomSettings { per_minute: 3, ..of(50) }).await;
    for user in 1..=9 {
        room.join(&format!("u{user}")).await;
    }
    room.leave("u1", 1).await;
    assert_eq!(room.admit().await, 3);
    // What lapses, is claimed or is given back was opened all the same.
    session(room.claim("u2", 2).await);
    room.leave("u3", 3).await;
    for at_ms in [1_000, 30_000, 59_999] {
        room.set_clock(START_MS + at_ms).await;
        assert_eq!(room.admit().await, 0);
    }
    room.set_clock(START_MS + 60_000).await;
    assert_eq!(room.admit().await, 3);
    room.change(|room| room.per_minute = 4).await;
    assert_eq!((room.admit_next().await, room.admit_next().await), (1, 0));
});

on_each_redis!(lower_maximum_evicts_no_session, async |flavor| {
    let mut room = Room::new(flavor, SEATS, of(3)).await;
    for user in 1..=6 {
        room.join(&format!("u{user}")).await;
    }
    assert_eq!(room.admit().await, 3);
    let ends_ms = session(room.claim("u1", 1).await);
    session(room.claim("u2", 2).await);
    room.change(|room| room.max_concurrent = 1).await;
    session(room.claim("u3", 3).await);
    assert_eq!((room.look().await.live, room.admit_next().await), (3, 0));
    assert!(room.leave("u2", 2).await && room.leave("u3", 3).await);
    assert_eq!(room.admit_next().await, 0);
    room.set_clock(ends_ms).await;
    assert_eq!(room.admit().await, 1);
});

on_each_redis!(places_never_exceed_seats, async |flavor| {
    let mut room = Room::new(flavor, 3, of(50)).await;
    for user in 1..=9 {
        room.join(&format!("u{user}")).await;
    }
    assert_eq!(room.admit().await, 3);
    let mut held = Vec::new();
    for number in 1..=3 {
        let user = format!("u{number}");
        session(room.claim(&user, number).await);
        let hold = room.stage.expect("ok", room.hold(&user, number, number as u32).await);
        held.push(hold.into_booking().unwrap());
    }
    // All is held: nobody else is let in, yet it is not sold out.
    room.advance(20_000).await;
    assert_eq!(room.admit().await, 0);
    assert!(!room.look().await.is_sold_out);
    room.join("late").await;
    let first = held.remove(0);
    let given_up = room.engine().cancel(&room.stage.event, first.id, &first.user).await.unwrap();
    room.stage.expect("ok", given_up);
    assert_eq!((room.admit().await, room.admit_next().await), (1, 0));
    session(room.claim("u4", 4).await);
    let last = room.stage.expect("ok", room.hold("u4", 4, 1).await).into_booking().unwrap();
    for booking in held.iter().chain([&last]) {
        room.sell(booking.id, booking.user.as_str()).await;
    }
    let state = room.look().await;
    assert!(state.is_sold_out && state.seats_free == 0);
    assert_eq!(room.try_join("new").await, RoomJoinReply::SoldOut);
    assert_eq!(room.join("u5").await, 5, "who waits keeps the number");
    waits(room.claim("u5", 5).await);
    assert_eq!(room.admit_next().await, 0);
});

on_each_redis!(closed_or_unloaded_event_refuses_joins, async |flavor| {
    let mut room = Room::new(flavor, SEATS, of(1)).await;
    room.join("ann").await;
    for (status, is_given) in [(EventStatus::Paused, true), (EventStatus::Closed, false)] {
        room.stage.event.revision += 1;
        room.stage.event.status = status;
        let updated = room.engine().update_event(&room.stage.event).await.unwrap();
        room.stage.expect("ok", updated);
        let joined = room.try_join("bob").await;
        match is_given {
            true => assert!(matches!(joined, RoomJoinReply::Given { .. }), "{joined:?}"),
            false => assert_eq!(joined, RoomJoinReply::EventClosed),
        }
        assert_eq!(room.admit_next().await, 0, "nobody is served");
    }
    let id = EventId(9);
    let (user, none) = (room.stage.user("ann"), Floors::default());
    let joined = room.engine().room_join(id, &user, None, none).await.unwrap();
    assert_eq!(joined, RoomJoinReply::EventNotLoaded);
    let admitted = room.engine().room_admit(id, &room.settings, ANY, none).await.unwrap();
    assert_eq!(admitted, None);
});

on_each_redis!(clock_set_back_does_not_block_admission, async |flavor| {
    let mut room = Room::new(flavor, SEATS, RoomSettings { per_minute: 2, ..of(2) }).await;
    for user in 1..=6 {
        room.join(&format!("u{user}")).await;
    }
    assert_eq!(room.admit().await, 2);
    let hour_ms = 3_600_000;
    room.set_clock(START_MS - hour_ms).await;
    // Both are still open, as from now.
    assert_eq!(room.admit().await, 0);
    session(room.claim("u1", 1).await);
    room.set_clock(START_MS - hour_ms + 2_000).await;
    refused(RoomClaimReply::PlaceLapsed, room.claim("u2", 2).await);
    room.set_clock(START_MS - hour_ms + 60_000).await;
    assert_eq!(room.admit().await, 2);
    // What has lapsed does not come back.
    room.set_clock(START_MS - hour_ms + 62_000).await;
    assert_eq!(room.admit().await, 0);
    room.set_clock(START_MS - hour_ms + 61_000).await;
    assert_eq!(owed(room.claim("u3", 3).await), 0);
    assert_eq!(room.look().await.live, 0);
});

on_each_redis!(many_admitters_and_claimants_at_once, async |flavor| {
    let room = Room::new(flavor, SEATS, of(7)).await;
    let users: Vec<String> = (1..=40).map(|user| format!("u{user}")).collect();
    for user in &users {
        room.join(user).await;
    }
    let admits = futures_util::future::join_all((0..8).map(|_| room.admit())).await;
    assert_eq!(admits.iter().sum::<u64>(), 7);
    let claims = users
        .iter()
        .zip(1..)
        .flat_map(|(user, number)| [room.claim(user, number), room.claim(user, number)]);
    let claims = futures_util::future::join_all(claims).await;
    let sessions = claims.iter().filter(|claim| matches!(claim, RoomClaimReply::Session { .. }));
    assert_eq!(sessions.count(), 14, "two answers to each of seven");
    assert_eq!(room.look().await.live, 7);
});
