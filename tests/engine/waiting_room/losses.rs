//! Redis forgets a room, or its last second; people whom it does not know any more, or too many
//! for one place, are owed one.

use holdfast::domain::Floors;
use holdfast::redis::{RoomClaimReply, RoomJoinReply};

use super::room::{Room, of, owed, refused, session, waits};
use crate::on_each_redis;

/// Eight with numbers, of whom the first four were served.
async fn with_four_served(flavor: crate::support::Flavor) -> Room {
    let room = Room::new(flavor, 50, of(4)).await;
    for user in 1..=8 {
        assert_eq!(room.join(&format!("u{user}")).await, user);
    }
    assert_eq!(room.admit().await, 4);
    room
}

async fn forget(room: &mut Room, floors: Floors) {
    room.forget().await;
    refused(RoomClaimReply::RoomOff, room.claim("u1", 1).await);
    assert!(room.configure(floors).await);
}

on_each_redis!(numbers_are_not_given_twice, async |flavor| {
    let mut room = with_four_served(flavor).await;
    forget(&mut room, Floors { joined: 8, served: 4 }).await;
    assert_eq!(room.join("new").await, 9);
    // One process remembers less, another more: it is the most that counts.
    room.stage.expect("session_required", room.hold("new", 9, 1).await);
    let user = room.stage.user("newer");
    let floors = Floors { joined: 20, served: 2 };
    let joined = room.engine().room_join(room.id(), &user, None, floors).await.unwrap();
    let floors = Floors { joined: 21, served: 4 };
    assert_eq!(joined, RoomJoinReply::Given { number: 21, floors, revision: room.revision });
    // A token is evidence as well.
    waits(room.claim("u30", 30).await);
    assert_eq!(room.join("newest").await, 31);
});

on_each_redis!(token_restores_a_lost_number, async |flavor| {
    let mut room = with_four_served(flavor).await;
    session(room.claim("u2", 2).await);
    forget(&mut room, Floors { joined: 8, served: 4 }).await;
    // The served come in some order, and the lowest numbers first into the next batch.
    assert_eq!(owed(room.claim("u3", 3).await), 0);
    assert_eq!(owed(room.claim("u1", 1).await), 0);
    assert_eq!(owed(room.claim("u3", 3).await), 1);
    assert_eq!(room.join("u3").await, 3, "who is owed a place keeps the number");
    waits(room.claim("u5", 5).await);
    room.change(|room| room.max_concurrent = 1).await;
    assert_eq!(room.admit().await, 1);
    assert_eq!(owed(room.claim("u3", 3).await), 1);
    session(room.claim("u1", 1).await);
    room.change(|room| room.max_concurrent = 4).await;
    assert_eq!(room.admit_next().await, 3);
    session(room.claim("u3", 3).await);
    for number in [5, 6] {
        session(room.claim(&format!("u{number}"), number).await);
    }
    assert_eq!(room.look().await.live, 4);
    // Redis forgot that 2 became a session; it becomes one once more, and then never again.
    room.advance(10_000).await;
    assert_eq!(owed(room.claim("u2", 2).await), 0);
    assert_eq!(room.admit().await, 3);
    session(room.claim("u2", 2).await);
    room.advance(10_000).await;
    for _ in 0..3 {
        refused(RoomClaimReply::SessionEnded, room.claim("u2", 2).await);
        room.admit_next().await;
    }
});

on_each_redis!(room_survives_loss_of_the_last_second, async |flavor| {
    let mut room = Room::new(flavor, 50, of(2)).await;
    for user in ["ann", "bob", "eve"] {
        room.join(user).await;
    }
    room.save().await;
    assert_eq!(room.admit().await, 2);
    session(room.claim("ann", 1).await);
    assert_eq!(room.join("joe").await, 4);
    room.cut().await;
    room.stage.expect("session_required", room.hold("ann", 1, 1).await);
    // No caller remembers four numbers: Dan gets Joe's.
    assert_eq!(room.join("dan").await, 4);
    // Some process remembers that two were served: they are owed their places.
    let floors = Floors { joined: 4, served: 2 };
    let claimed = room.claim_at("bob", 2, 2, floors).await;
    assert_eq!(claimed, RoomClaimReply::Owed { before_them: 0, floors });
    assert_eq!(owed(room.claim("ann", 1).await), 0);
    assert_eq!(room.admit().await, 2);
    session(room.claim("ann", 1).await);
    session(room.claim("bob", 2).await);
    // One place, two of that number: who comes second is first in the next batch.
    room.advance(10_000).await;
    assert_eq!(room.admit().await, 2);
    session(room.claim("joe", 4).await);
    session(room.claim("eve", 3).await);
    assert_eq!(owed(room.claim("dan", 4).await), 0);
    assert_eq!((room.look().await.live, room.admit_next().await), (2, 0));
    room.advance(9_000).await;
    assert_eq!(room.admit().await, 1);
    session(room.claim("dan", 4).await);
});

on_each_redis!(older_session_does_not_serve_a_newer_number, async |flavor| {
    let room = Room::new(flavor, 50, of(1)).await;
    room.join("ann").await;
    assert_eq!(room.admit().await, 1);
    session(room.claim("ann", 1).await);
    room.save().await;
    assert!(room.leave("ann", 1).await);
    assert_eq!(room.join("ann").await, 2);
    room.cut().await;
    waits(room.claim("ann", 2).await);
    room.stage.expect("session_required", room.hold("ann", 2, 1).await);
    assert_eq!(room.look().await.live, 0);
});

/// Nine who are owed a place: numbers 11 to 19.
async fn with_nine_owed(flavor: crate::support::Flavor, at_a_time: u32) -> Room {
    let room = Room::new(flavor, 50, of(at_a_time)).await;
    let floors = Floors { joined: 30, served: 20 };
    for number in 11..=19 {
        let claimed = room.claim_at(&format!("u{number}"), number, number, floors).await;
        assert_eq!(owed(claimed), number - 11);
    }
    room
}

on_each_redis!(owed_place_lapses_unclaimed, async |flavor| {
    let mut room = with_nine_owed(flavor, 2).await;
    assert_eq!(room.admit().await, 2);
    room.advance(1_999).await;
    assert_eq!((room.look().await.unclaimed, room.look().await.owed), (2, 9));
    room.advance(1).await;
    assert_eq!(room.look().await.unclaimed, 0);
    // In any order afterwards: the turn of those two has passed, the others have theirs.
    assert_eq!(owed(room.claim("u13", 13).await), 0);
    refused(RoomClaimReply::PlaceGivenUp, room.claim("u11", 11).await);
    refused(RoomClaimReply::PlaceGivenUp, room.claim("u12", 12).await);
    assert_eq!((room.look().await.owed, room.admit().await), (7, 2));
    session(room.claim("u13", 13).await);
    assert_eq!(room.join("u11").await, 31);
});

on_each_redis!(late_owed_user_can_still_claim, async |flavor| {
    let mut room = with_nine_owed(flavor, 2).await;
    assert_eq!(room.admit().await, 2);
    // A lower number comes within the window: the place is its owner's, at once.
    session(room.claim("u3", 3).await);
    room.advance(2_000).await;
    // Another one comes after it: that window was not its own.
    assert_eq!(owed(room.claim("u4", 4).await), 0);
    refused(RoomClaimReply::PlaceGivenUp, room.claim("u11", 11).await);
    assert_eq!(owed(room.claim("u12", 12).await), 1);
    assert_eq!(room.admit().await, 1);
    session(room.claim("u4", 4).await);
});

on_each_redis!(owed_leaver_gives_up_the_open_place, async |flavor| {
    let mut room = with_nine_owed(flavor, 2).await;
    assert_eq!(room.admit().await, 2);
    room.advance(1_999).await;
    assert!(room.leave("u11", 11).await);
    assert_eq!(room.look().await.unclaimed, 1);
    // Nobody moves up for the last millisecond of a window, and lapses by it.
    assert_eq!(owed(room.claim("u13", 13).await), 1);
    assert_eq!(room.admit().await, 1, "the place is free at once");
    room.advance(1).await;
    assert_eq!(owed(room.claim("u13", 13).await), 0);
    refused(RoomClaimReply::PlaceGivenUp, room.claim("u12", 12).await);
    refused(RoomClaimReply::PlaceGivenUp, room.claim("u11", 11).await);
});

on_each_redis!(owed_users_precede_waiting_ones, async |flavor| {
    let mut room = with_nine_owed(flavor, 4).await;
    assert_eq!(room.admit().await, 4);
    for number in 11..=14 {
        session(room.claim(&format!("u{number}"), number).await);
        assert!(room.leave(&format!("u{number}"), number).await);
    }
    // All came: the next of them need not wait for the end of the window.
    assert_eq!(room.admit_next().await, 4);
    assert_eq!(room.look().await.floors.served, 20, "nobody else was served");
    for number in 15..=18 {
        session(room.claim(&format!("u{number}"), number).await);
    }
    assert!(room.leave("u18", 18).await && room.leave("u17", 17).await);
    assert_eq!(room.admit_next().await, 2);
    assert_eq!(room.look().await.floors.served, 21);
    session(room.claim("u19", 19).await);
    session(room.claim("u21", 21).await);
});
