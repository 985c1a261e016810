//! Who gets past a room: `hold` wants a session, a sale ends it.

use holdfast::domain::{Method, Status};

use holdfast::redis::RoomClaimReply;

use super::room::{Room, of, refused, session};
use crate::on_each_redis;

/// Ann is in, by number 1; Bob waits, by number 2.
async fn with_ann_in(flavor: crate::support::Flavor) -> Room {
    let room = Room::new(flavor, 20, of(1)).await;
    assert_eq!((room.join("ann").await, room.join("bob").await), (1, 2));
    assert_eq!(room.admit().await, 1);
    session(room.claim("ann", 1).await);
    room
}

on_each_redis!(hold_needs_the_users_own_session, async |flavor| {
    let mut room = with_ann_in(flavor).await;
    room.stage.expect("session_required", room.hold("bob", 2, 1).await);
    // Another's number, a made-up one, none: the session is Ann's, by her number.
    room.stage.expect("session_required", room.hold("bob", 1, 1).await);
    room.stage.expect("session_required", room.hold("stranger", 1, 1).await);
    for number in [0, 2] {
        room.stage.expect("number_superseded", room.hold("ann", number, 1).await);
    }
    assert_eq!(room.look().await.seats_free, 20, "nothing was taken");
    room.stage.expect("ok", room.hold("ann", 1, 1).await);

    // To the millisecond.
    room.advance(9_999).await;
    room.stage.expect("ok", room.hold("ann", 1, 2).await);
    room.advance(1).await;
    room.stage.expect("session_required", room.hold("ann", 1, 3).await);
    refused(RoomClaimReply::SessionEnded, room.claim("ann", 1).await);
    // What was held in the session outlives it.
    assert_eq!(room.look().await.seats_free, 18);
});

on_each_redis!(a_renewed_session_ends_at_its_cap, async |flavor| {
    let mut room = with_ann_in(flavor).await;
    let first_ms = session(room.claim("ann", 1).await);
    room.advance(6_000).await;
    assert_eq!(session(room.claim("ann", 1).await), first_ms, "renewals are off");
    room.change(|room| room.renews = true).await;
    assert_eq!(session(room.claim("ann", 1).await), first_ms + 6_000);
    room.advance(9_000).await;
    assert_eq!(session(room.claim("ann", 1).await), first_ms + 10_000, "the cap");
    room.change(|room| room.session_ms = 100).await;
    assert_eq!(session(room.claim("ann", 1).await), first_ms + 10_000, "never shorter");
    room.set_clock(first_ms + 10_000).await;
    room.stage.expect("session_required", room.hold("ann", 1, 3).await);
    refused(RoomClaimReply::SessionEnded, room.claim("ann", 1).await);
});

on_each_redis!(repeated_hold_is_replayed_after_the_session, async |flavor| {
    let mut room = with_ann_in(flavor).await;
    let first = room.stage.expect("ok", room.hold_as("ann", 1, 1, "key").await);
    room.advance(10_000).await;
    let again = room.stage.expect("replayed", room.hold_as("ann", 1, 1, "key").await);
    let (first, again) = (first.into_booking().unwrap(), again.into_booking().unwrap());
    assert_eq!((first.id, again.status), (again.id, Status::Hold));
    room.stage.expect("session_required", room.hold_as("ann", 1, 1, "other").await);
});

on_each_redis!(room_methods_admit_or_reject_all, async |flavor| {
    let mut room = with_ann_in(flavor).await;
    room.change(|room| room.method = Method::Reject).await;
    refused(RoomClaimReply::RoomRejects, room.claim("bob", 2).await);
    room.stage.expect("session_required", room.hold("bob", 2, 1).await);
    // Sessions that live go on.
    session(room.claim("ann", 1).await);
    room.stage.expect("ok", room.hold("ann", 1, 1).await);

    room.change(|room| room.method = Method::Passthrough).await;
    refused(RoomClaimReply::RoomOpen, room.claim("bob", 2).await);
    room.stage.expect("ok", room.hold("bob", 0, 2).await);
    room.change(|room| (room.method, room.on) = (Method::Fifo, false)).await;
    refused(RoomClaimReply::RoomOff, room.claim("bob", 2).await);
    room.stage.expect("ok", room.hold("bob", 0, 3).await);

    room.change(|room| room.on = true).await;
    room.stage.expect("session_required", room.hold("bob", 2, 4).await);
    room.stage.expect("ok", room.hold("ann", 1, 4).await);
    assert_eq!(room.join("bob").await, 2, "numbers were kept");
    assert_eq!(room.admit_next().await, 0, "Ann's session counts");
});

on_each_redis!(sale_ends_only_the_buyers_session, async |flavor| {
    let room = Room::new(flavor, 20, of(2)).await;
    room.join("ann").await;
    room.join("bob").await;
    assert_eq!(room.admit().await, 2);
    for (user, number) in [("ann", 1), ("bob", 2)] {
        session(room.claim(user, number).await);
    }
    let held = room.stage.expect("ok", room.hold("ann", 1, 1).await).into_booking().unwrap();
    room.sell(held.id, "ann").await;
    room.stage.expect("session_required", room.hold("ann", 1, 2).await);
    refused(RoomClaimReply::SessionEnded, room.claim("ann", 1).await);
    session(room.claim("bob", 2).await);
    room.stage.expect("ok", room.hold("bob", 2, 2).await);
    assert_eq!(room.look().await.live, 1);
    assert_eq!(room.join("ann").await, 3, "a user without a session joins again");
});

on_each_redis!(leaving_ends_the_session, async |flavor| {
    let mut room = with_ann_in(flavor).await;
    // By a number that is not hers any more, she gives nothing up.
    room.stage.expect("ok", room.hold("ann", 1, 1).await);
    assert!(room.leave("ann", 1).await);
    room.stage.expect("session_required", room.hold("ann", 1, 2).await);
    assert_eq!(room.join("ann").await, 3);
    assert!(!room.leave("ann", 1).await, "an older token");
    assert_eq!(room.join("ann").await, 3);
    assert_eq!(room.admit_next().await, 1);
    session(room.claim("bob", 2).await);
});
