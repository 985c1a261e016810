//! The sale's times are moved while people wait, gather or are in.

use holdfast::domain::DrawState;
use holdfast::redis::{RoomClaimReply, RoomJoinReply};

use super::room::{Room, of, refused, session, waits};
use crate::on_each_redis;
use crate::support::engine::START_MS;

const HOUR_MS: i64 = 3_600_000;
/// More than any claim window or session of these tests.
const LATER_MS: i64 = START_MS + HOUR_MS;

/// Four in line of a room for three: the first has a session, the others of them an open place.
async fn with_one_in(room: &Room) -> i64 {
    for number in 1..=4 {
        assert_eq!(room.join(&format!("u{number}")).await, number);
    }
    assert_eq!(room.admit().await, 3);
    session(room.claim("u1", 1).await)
}

on_each_redis!(postponed_sale_keeps_sessions_and_open_places, async |flavor| {
    let mut room = Room::new(flavor, 20, of(3)).await;
    let ends_ms = with_one_in(&room).await;
    room.advance(1_500).await;
    room.move_sale(LATER_MS, None).await;
    // Nothing is sold or opened, and nobody's time passes.
    for at_ms in [START_MS + 2_000, START_MS + 20_000, LATER_MS - 1] {
        room.set_clock(at_ms).await;
        room.stage.expect("not_on_sale", room.hold("u1", 1, 1).await);
        assert_eq!(room.admit().await, 0);
        let told_ms = session(room.claim("u1", 1).await);
        assert_eq!(told_ms, ends_ms + LATER_MS - START_MS - 1_500, "the end, by Redis' clock");
        let state = room.look().await;
        assert_eq!((state.live, state.unclaimed), (1, 2));
        assert_eq!((state.on_sale_at_ms, state.is_over), (LATER_MS, false));
    }
    // An open place can be claimed meanwhile, and its session waits, too.
    let second_ms = session(room.claim("u2", 2).await);
    assert_eq!(second_ms, LATER_MS + 10_000);
    // Half a second of the claim window and 8.5 of the session were left.
    room.set_clock(LATER_MS + 499).await;
    session(room.claim("u3", 3).await);
    room.stage.expect("ok", room.hold("u1", 1, 1).await);
    room.set_clock(LATER_MS + 8_499).await;
    session(room.claim("u1", 1).await);
    room.set_clock(LATER_MS + 8_500).await;
    refused(RoomClaimReply::SessionEnded, room.claim("u1", 1).await);
    room.stage.expect("session_required", room.hold("u1", 1, 2).await);
    assert_eq!(room.admit().await, 1);
    session(room.claim("u4", 4).await);
});

on_each_redis!(open_place_lapses_after_the_sale_goes_on, async |flavor| {
    let mut room = Room::new(flavor, 20, of(3)).await;
    with_one_in(&room).await;
    room.move_sale(LATER_MS, None).await;
    room.set_clock(LATER_MS + 2_000).await;
    refused(RoomClaimReply::PlaceLapsed, room.claim("u2", 2).await);
});

on_each_redis!(sale_postponed_twice_keeps_sessions_and_places, async |flavor| {
    let mut room = Room::new(flavor, 20, of(3)).await;
    with_one_in(&room).await;
    let left_ms = async |room: &Room| session(room.claim("u1", 1).await) - room.now_ms;
    room.move_sale(LATER_MS, None).await;
    room.set_clock(START_MS + 60_000).await;
    room.move_sale(LATER_MS * 2, None).await;
    assert_eq!(left_ms(&room).await, 10_000 + LATER_MS * 2 - room.now_ms);
    // It goes on at once.
    room.set_clock(START_MS + 90_000).await;
    room.move_sale(1, None).await;
    assert_eq!(left_ms(&room).await, 10_000);
    room.advance(4_000).await;
    assert_eq!(left_ms(&room).await, 6_000);
    room.stage.expect("ok", room.hold("u1", 1, 1).await);
    // A second time; now it goes on as it was announced, and later its times are moved once more.
    let next_ms = room.now_ms + HOUR_MS;
    room.move_sale(next_ms, None).await;
    room.set_clock(next_ms + 1_000).await;
    assert_eq!(left_ms(&room).await, 5_000);
    room.move_sale(next_ms - 1, Some(next_ms + HOUR_MS)).await;
    assert_eq!(left_ms(&room).await, 5_000);
    room.move_sale(next_ms + HOUR_MS / 2, None).await;
    room.set_clock(next_ms + HOUR_MS / 2).await;
    assert_eq!(left_ms(&room).await, 5_000);
    room.advance(5_000).await;
    refused(RoomClaimReply::SessionEnded, room.claim("u1", 1).await);
});

on_each_redis!(turns_stay_open_after_beginning_is_brought_forward, async |flavor| {
    let mut room = Room::new(flavor, 20, of(1)).await;
    room.move_sale(LATER_MS, None).await;
    for number in 1..=2 {
        room.join(&format!("u{number}")).await;
    }
    room.advance(1_000).await;
    assert_eq!(room.admit().await, 0);
    let moved_ms = room.now_ms;
    room.move_sale(moved_ms + 5_000, None).await;
    room.set_clock(moved_ms + 5_000).await;
    assert_eq!(room.admit().await, 1);
    // A user with a pause of a minute, announced just before, comes in time.
    room.set_clock(moved_ms + 65_000).await;
    session(room.claim("u1", 1).await);
    assert!(room.leave("u1", 1).await);
    // Then claim windows are as they are set.
    room.set_clock(moved_ms + 70_000).await;
    assert_eq!(room.admit().await, 1);
    room.advance(2_000).await;
    refused(RoomClaimReply::PlaceLapsed, room.claim("u2", 2).await);
});

on_each_redis!(frozen_draw_is_returned_after_a_postponement, async |flavor| {
    let mut room = Room::new(flavor, 20, of(2)).await;
    room.move_sale(START_MS + 5_000, None).await;
    room.draw = DrawState::Gathering;
    room.change(|_| ()).await;
    for user in ["ann", "bob"] {
        room.join(user).await;
    }
    // Postponed while people gather: they go on.
    room.set_clock(START_MS + 4_999).await;
    room.move_sale(START_MS + 9_000, None).await;
    room.set_clock(START_MS + 8_999).await;
    assert_eq!(room.engine().room_draw(room.id()).await.unwrap(), None);
    room.join("eve").await;
    room.set_clock(START_MS + 9_000).await;
    let frozen = room.engine().room_draw(room.id()).await.unwrap();
    assert_eq!(frozen.as_ref().map(|frozen| frozen.0), Some(3), "nobody is left out");
    // Postponed before the archive has recorded it: it was made all the same.
    room.move_sale(LATER_MS, None).await;
    assert_eq!(room.join("late").await, 4);
    assert_eq!(room.engine().room_draw(room.id()).await.unwrap(), frozen);
    (room.draw, room.draw_joined) = (DrawState::Fixed, 3);
    room.change(|_| ()).await;
    assert_eq!(room.admit_next().await, 0);
    room.set_clock(LATER_MS).await;
    assert_eq!(room.admit().await, 2);
});

on_each_redis!(ended_sale_admits_no_user, async |flavor| {
    let mut room = Room::new(flavor, 20, of(2)).await;
    room.move_sale(1, Some(START_MS + 5_000)).await;
    for user in ["u1", "u2", "u3"] {
        room.join(user).await;
    }
    assert_eq!(room.admit().await, 2);
    session(room.claim("u1", 1).await);
    room.set_clock(START_MS + 4_999).await;
    assert!(!room.look().await.is_over);
    room.stage.expect("ok", room.hold("u1", 1, 1).await);
    room.set_clock(START_MS + 5_000).await;
    assert!(room.look().await.is_over);
    assert_eq!(room.admit().await, 0);
    assert_eq!(room.try_join("new").await, RoomJoinReply::EventClosed);
    room.stage.expect("event_closed", room.hold("u1", 1, 2).await);
    // A later end, and the line goes on where it was.
    room.move_sale(1, Some(LATER_MS)).await;
    assert!(!room.look().await.is_over);
    assert_eq!(room.join("u3").await, 3);
    assert_eq!(room.admit().await, 1);
    let claimed = room.claim("u3", 3).await;
    assert!(matches!(claimed, RoomClaimReply::Session { .. }), "{claimed:?}");
    waits(room.claim("u9", 9).await);
});
