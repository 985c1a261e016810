//! A room is switched on and off, by hand and by itself; the draw of those who came early.

use std::collections::BTreeMap;

use fred::util::sha1_hash;
use holdfast::domain::{DrawState, EventStatus, Floors, RoomSettings, Surge};
use holdfast::redis::{RoomClaimReply, RoomJoinReply, RoomPlace};

use super::room::{ANY, COMMITMENT, KEEP_MS, Room, of, refused, session, waits};
use crate::on_each_redis;
use crate::support::engine::START_MS;

on_each_redis!(revisions_rise_and_a_room_that_is_off_is_kept_for_a_while, async |flavor| {
    let mut room = Room::new(flavor, 20, of(1)).await;
    assert_eq!(room.join("ann").await, 1);
    room.change(|room| room.max_concurrent = 9).await;
    room.revision -= 1;
    room.settings.max_concurrent = 1;
    assert!(!room.configure(Floors { joined: 7, served: 0 }).await, "the same revision");
    let state = room.look().await;
    assert_eq!((state.revision, state.max_concurrent), (room.revision, 9));
    assert_eq!(state.floors.joined, 7, "floors count all the same");

    let [books, numbers, ..] = room.keys();
    let ttl = async |room: &Room, key: &str| room.raw("PTTL", &[key]).await.as_i64().unwrap();
    assert_eq!(ttl(&room, &books).await, -1);
    room.change(|room| room.on = false).await;
    for key in [&books, &numbers] {
        let left_ms = ttl(&room, key).await;
        assert!((KEEP_MS as i64 - 60_000..=KEEP_MS as i64).contains(&left_ms), "{left_ms}");
    }
    assert_eq!(room.try_join("bob").await, RoomJoinReply::RoomOff);
    assert_eq!(room.look().await.method, None);
    room.change(|room| room.on = true).await;
    for key in [&books, &numbers] {
        assert_eq!(ttl(&room, key).await, -1);
    }
    assert_eq!(room.join("ann").await, 1);
});

/// On at ten a second for three seconds, off below four for five.
fn by_surge() -> RoomSettings {
    let surge = Surge {
        automatic: true,
        on_per_second: 10,
        on_after_ms: 3_000,
        off_per_second: 4,
        off_after_ms: 5_000,
    };
    RoomSettings { on: false, surge, ..of(2) }
}

/// Seconds with these numbers of attempts, reported by two processes; whether the room is on after
/// each.
async fn seconds(room: &mut Room, attempts: &[u64]) -> Vec<bool> {
    let mut on = Vec::new();
    for attempts in attempts {
        room.look_with(attempts / 2, 0).await;
        room.advance(500).await;
        room.look_with(attempts - attempts / 2, 0).await;
        room.advance(500).await;
        on.push(room.look().await.method.is_some());
    }
    on
}

on_each_redis!(a_surge_switches_a_room_on_and_calm_off, async |flavor| {
    let mut room = Room::new(flavor, 20, by_surge()).await;
    room.stage.expect("ok", room.hold("ann", 0, 1).await);
    let f = false;
    // Two seconds are no surge, nor are three with a pause, nor ones just below.
    assert_eq!(seconds(&mut room, &[10, 10, 9, 10, 99, 0, 9, 9, 9, 9]).await, [f; 10]);
    assert_eq!(seconds(&mut room, &[10, 11, 10]).await, [f, f, true]);
    assert!(room.look().await.by_surge);
    room.stage.expect("session_required", room.hold("bob", 0, 2).await);

    // Between the bounds it stays as it is.
    assert_eq!(seconds(&mut room, &[4; 8]).await, [true; 8]);
    // Calm, but somebody waits.
    assert_eq!(room.join("bob").await, 1);
    assert_eq!(seconds(&mut room, &[0; 8]).await, [true; 8]);
    assert_eq!(room.admit().await, 1);
    session(room.claim("bob", 1).await);
    // Calm long enough, after it was disturbed once.
    assert_eq!(seconds(&mut room, &[3, 3, 3, 4, 3, 3, 3, 3]).await, [true; 8]);
    let calm = seconds(&mut room, &[3, 3]).await;
    assert_eq!(calm.last(), Some(&false), "{calm:?}");
    room.stage.expect("ok", room.hold("joe", 0, 2).await);
    // Off, it takes another surge; a look that comes late tells of none.
    room.look_with(50, 0).await;
    room.advance(4_000).await;
    assert_eq!(seconds(&mut room, &[50]).await, [false]);
});

on_each_redis!(automatic_room_follows_operators_settings, async |flavor| {
    let mut room = Room::new(flavor, 20, by_surge()).await;
    assert_eq!(seconds(&mut room, &[50; 3]).await, [false, false, true]);
    room.change(|room| room.surge.automatic = false).await;
    assert_eq!(room.look().await.method, None);
    room.change(|room| room.on = true).await;
    let state = room.look().await;
    assert!(state.method.is_some() && !state.by_surge);
});

/// Joins, and keeps the hash of the joins as the archive's check computes it.
async fn gather(room: &Room, hash: &mut String, users: &[&str]) {
    for user in users {
        let number = room.join(user).await;
        assert_eq!(room.join(user).await, number, "a join that is repeated counts once");
        *hash = sha1_hash(&format!("{hash}:{number}:{}", sha1_hash(user)));
    }
}

async fn drawn(room: &Room) -> Option<(u64, String)> {
    room.engine().room_draw(room.id()).await.unwrap()
}

/// The last to join is the first.
const JOINERS: u64 = 4;

async fn claim_drawn(room: &Room, user: &str, number: u64) -> RoomClaimReply {
    room.claim_at(user, number, JOINERS + 1 - number, Floors::default()).await
}

on_each_redis!(the_draw_takes_effect_once_it_is_fixed, async |flavor| {
    let mut room = Room::new(flavor, 20, of(2)).await;
    room.stage.event.on_sale_at_ms = Some(START_MS + 5_000);
    room.stage.event.revision += 1;
    let updated = room.engine().update_event(&room.stage.event).await.unwrap();
    room.stage.expect("ok", updated);
    assert_eq!(drawn(&room).await, None, "nobody gathers");
    room.draw = DrawState::Gathering;
    room.change(|_| ()).await;

    let mut hash = COMMITMENT.to_owned();
    gather(&room, &mut hash, &["ann", "bob", "eve"]).await;
    // Who leaves before there are places is passed over by nobody's place.
    assert!(room.leave("bob", 2).await);
    assert_eq!(room.look().await.left_waiting, 0);
    gather(&room, &mut hash, &["joe"]).await;
    assert_eq!((drawn(&room).await, room.admit_next().await), (None, 0));
    room.set_clock(START_MS + 5_000).await;
    let frozen = Some((JOINERS, hash));
    assert_eq!(drawn(&room).await, frozen);

    // A user who joins now comes after them, and does not change the draw; nor does a change of
    // settings, or a second look.
    assert_eq!(room.join("late").await, 5);
    room.change(|_| ()).await;
    room.advance(1_000).await;
    assert_eq!(drawn(&room).await, frozen);
    assert_eq!(room.look().await.draw, DrawState::Frozen);
    assert_eq!(room.admit_next().await, 0);
    waits(claim_drawn(&room, "joe", 4).await);

    (room.draw, room.draw_joined) = (DrawState::Fixed, JOINERS);
    room.change(|_| ()).await;
    assert_eq!((drawn(&room).await, room.admit_next().await), (None, 2));
    // Callers that can compute their places send them.
    assert_eq!(room.try_join("joe").await, RoomJoinReply::PlaceNeeded { number: 4 });
    waits(claim_drawn(&room, "ann", 1).await);
    session(claim_drawn(&room, "joe", 4).await);
    session(claim_drawn(&room, "eve", 3).await);
    assert_eq!(room.join("joe").await, 4);
    let ann = room.stage.user("ann");
    let place = Some((1, JOINERS));
    let again = room.engine().room_join(room.id(), &ann, place, Floors::default()).await.unwrap();
    assert!(matches!(again, RoomJoinReply::Replayed { number: 1, .. }), "{again:?}");
    assert_eq!(room.join("late").await, 5);

    room.advance(10_000).await;
    assert_eq!(room.admit().await, 2);
    session(claim_drawn(&room, "ann", 1).await);
    refused(RoomClaimReply::PlaceGivenUp, claim_drawn(&room, "bob", 2).await);
    room.advance(2_000).await;
    assert_eq!(room.admit().await, 1);
    session(room.claim("late", 5).await);
});

on_each_redis!(drawn_places_of_leavers_are_skipped, async |flavor| {
    let mut room = Room::new(flavor, 20, of(2)).await;
    room.draw = DrawState::Gathering;
    room.change(|_| ()).await;
    gather(&room, &mut COMMITMENT.to_owned(), &["ann", "bob", "eve", "joe"]).await;
    assert_eq!(drawn(&room).await.map(|drawn| drawn.0), Some(JOINERS));
    (room.draw, room.draw_joined) = (DrawState::Fixed, JOINERS);
    room.change(|_| ()).await;
    // Place 2 is Eve's.
    let eve = room.stage.user("eve");
    let place = RoomPlace { user: &eve, number: 3, place: 2, issued_ms: START_MS };
    assert!(room.engine().room_leave(room.id(), place, Floors::default()).await.unwrap().0);
    assert_eq!((room.admit().await, room.look().await.floors.served), (2, 3));
    session(claim_drawn(&room, "joe", 4).await);
    session(claim_drawn(&room, "bob", 2).await);
    waits(claim_drawn(&room, "ann", 1).await);
});

on_each_redis!(lost_draw_is_restored, async |flavor| {
    let mut room = Room::new(flavor, 20, of(2)).await;
    room.draw = DrawState::Gathering;
    room.change(|_| ()).await;
    gather(&room, &mut COMMITMENT.to_owned(), &["ann", "bob", "eve", "joe"]).await;
    assert_eq!(drawn(&room).await.map(|drawn| drawn.0), Some(JOINERS));
    // The archive has recorded it when Redis forgets, and nobody remembers any floor.
    room.forget().await;
    (room.draw, room.draw_joined) = (DrawState::Fixed, JOINERS);
    assert!(room.configure(Floors::default()).await);
    assert_eq!(room.join("new").await, 5, "those in the draw have their numbers");
    assert_eq!(room.admit().await, 2);
    let users: BTreeMap<u64, &str> = [(4, "joe"), (3, "eve"), (2, "bob"), (1, "ann")].into();
    waits(claim_drawn(&room, users[&1], 1).await);
    for number in [4, 3] {
        session(claim_drawn(&room, users[&number], number).await);
    }
});

on_each_redis!(no_place_is_served_before_the_sale_or_beyond_the_bound, async |flavor| {
    let mut room = Room::new(flavor, 20, of(5)).await;
    room.join("ann").await;
    room.join("bob").await;
    let event = &mut room.stage.event;
    (event.on_sale_at_ms, event.revision) = (Some(START_MS + 5_000), event.revision + 1);
    event.status = EventStatus::OnSale;
    let updated = room.engine().update_event(&room.stage.event).await.unwrap();
    room.stage.expect("ok", updated);
    room.set_clock(START_MS + 4_999).await;
    assert_eq!(room.admit().await, 0);
    room.set_clock(START_MS + 5_000).await;
    for (most, opened) in [(0, 0), (1, 1), (1, 0), (ANY, 1)] {
        room.advance(200).await;
        let floors = Floors::default();
        let admitted = room.engine().room_admit(room.id(), &room.settings, most, floors).await;
        assert_eq!(admitted.unwrap().unwrap().opened, opened, "at most {most} in");
    }
});
