//! Waiting rooms in the archive: exclusive changes, a draw that is fixed once, floors that only rise.

use holdfast::archive::{FixedDraw, StoredDraw, StoredRoom};
use holdfast::domain::{Floors, RoomSettings, Surge};

use super::*;

fn room(event: EventId, revision: u64) -> StoredRoom {
    StoredRoom {
        event,
        revision,
        settings: RoomSettings { on: true, ..RoomSettings::default() },
        draw: None,
        by: "ann".into(),
        at_ms: BORN_MS,
    }
}

fn draw(commitment: &str) -> StoredDraw {
    let (commitment, secret) = (commitment.to_owned(), "5ec2e7".to_owned());
    StoredDraw { commitment, secret, opened_at_ms: BORN_MS, fixed: None }
}

fn fixed(joiners: u64) -> FixedDraw {
    FixedDraw { joiners, joins_hash: format!("hash of {joiners}"), at_ms: BORN_MS + 1 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_concurrent_changes_of_a_room_is_made() {
    let archive = archive().await;
    assert_eq!(archive.stored_room(EVENT).await.unwrap(), None);
    for revision in [1, 2] {
        let tries: Vec<StoredRoom> = (0..8)
            .map(|n| StoredRoom { by: format!("operator {n}"), ..room(EVENT, revision) })
            .collect();
        let tried = tries.iter().map(|room| archive.change_room(room));
        let made = futures_util::future::try_join_all(tried).await.unwrap();
        let won: Vec<&StoredRoom> =
            tries.iter().zip(made).filter_map(|(room, made)| made.then_some(room)).collect();
        assert_eq!(won.len(), 1, "revision {revision}");
        assert_eq!(archive.stored_room(EVENT).await.unwrap().as_ref(), Some(won[0]));
    }
    for revision in [1, 2, 4] {
        assert!(!archive.change_room(&room(EVENT, revision)).await.unwrap(), "{revision}");
    }
    assert!(archive.change_room(&room(EVENT, 0)).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draw_is_opened_once_and_fixed_once() {
    let archive = archive().await;
    assert_eq!(archive.fix_draw(EVENT, &fixed(1)).await.unwrap(), None, "there is no room");
    assert!(archive.change_room(&room(EVENT, 1)).await.unwrap());
    assert_eq!(archive.fix_draw(EVENT, &fixed(1)).await.unwrap(), None, "there is no draw");
    let opened = StoredRoom { draw: Some(draw("c1")), ..room(EVENT, 2) };
    assert!(archive.change_room(&opened).await.unwrap());
    for other in [None, Some(draw("c2"))] {
        let change = StoredRoom { draw: other, ..room(EVENT, 3) };
        assert!(!archive.change_room(&change).await.unwrap(), "{change:?}");
    }

    let tries: Vec<FixedDraw> = (1..=8).map(fixed).collect();
    let tried = tries.iter().map(|fixed| archive.fix_draw(EVENT, fixed));
    let returned = futures_util::future::try_join_all(tried).await.unwrap();
    let current = archive.stored_room(EVENT).await.unwrap().unwrap().draw;
    assert!(current.as_ref().is_some_and(|draw| draw.fixed.is_some()), "{current:?}");
    assert!(returned.iter().all(|draw| *draw == current), "all get the fixed draw: {returned:?}");

    let outdated = StoredRoom { draw: Some(draw("c1")), ..room(EVENT, 3) };
    assert!(!archive.change_room(&outdated).await.unwrap(), "it would undo the draw");
    assert!(!archive.change_room(&room(EVENT, 3)).await.unwrap(), "so would this");
    let based_on_current = StoredRoom { draw: current.clone(), by: "bob".into(), ..room(EVENT, 3) };
    assert!(archive.change_room(&based_on_current).await.unwrap());
    assert_eq!(archive.stored_room(EVENT).await.unwrap(), Some(based_on_current));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_with_work_are_listed() {
    let name = unique_name();
    let archive = open(shared_mongodb(), &name, OP_TIMEOUT_MS).await;
    archive.prepare(PARTITIONS).await.unwrap();
    let off = RoomSettings::default();
    let surge = Surge { automatic: true, ..off.surge };
    let rooms = [
        room(EventId(1), 1),
        StoredRoom { settings: off.clone(), ..room(EventId(2), 1) },
        StoredRoom { settings: RoomSettings { surge, ..off.clone() }, ..room(EventId(3), 1) },
        StoredRoom { settings: off.clone(), draw: Some(draw("c")), ..room(EventId(4), 1) },
        StoredRoom { settings: off, draw: Some(draw("c")), ..room(EventId(5), 1) },
        room(EventId(6), 1),
    ];
    for room in &rooms {
        assert!(archive.change_room(room).await.unwrap());
    }
    archive.fix_draw(EventId(5), &fixed(1)).await.unwrap();
    let listed = async |after: u32, limit: u32| -> Vec<(u32, bool)> {
        let found = archive.stored_rooms_on(EventId(after), limit).await.unwrap();
        found.iter().map(|(event, room)| (event.0, room.is_ok())).collect()
    };
    assert_eq!(listed(0, 10).await, [(1, true), (3, true), (4, true), (6, true)]);
    assert_eq!(listed(1, 2).await, [(3, true), (4, true)]);

    let client = mongodb::Client::with_uri_str(&shared_mongodb().url()).await.unwrap();
    let stored = client.database(&name).collection::<mongodb::bson::Document>("waiting_rooms");
    let newer = mongodb::bson::doc! { "$set": { "format": 2 } };
    stored.update_one(mongodb::bson::doc! { "_id": 3 }, newer).await.unwrap();
    assert_eq!(listed(0, 10).await, [(1, true), (3, false), (4, true), (6, true)]);
    let error = archive.stored_room(EventId(3)).await.unwrap_err().to_string();
    assert!(error.contains("event 3") && error.contains("format 2"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floors_only_rise() {
    let archive = archive().await;
    let raise = |joined, served| archive.raise_room_floors(EVENT, Floors { joined, served });
    assert_eq!(archive.room_floors(EVENT).await.unwrap(), Floors::default());
    // Concurrently, while there is no document yet.
    futures_util::future::try_join_all((1..=16).map(|n| raise(n, 17 - n))).await.unwrap();
    assert_eq!(archive.room_floors(EVENT).await.unwrap(), Floors { joined: 16, served: 16 });
    raise(3, 20).await.unwrap();
    raise(1_000_000, 0).await.unwrap();
    let expected = Floors { joined: 1_000_000, served: 20 };
    assert_eq!(archive.room_floors(EVENT).await.unwrap(), expected);
    let other = archive.room_floors(EventId(EVENT.0 + 1)).await.unwrap();
    assert_eq!(other, Floors::default(), "another room is unaffected");
    assert!(raise(u64::MAX, 0).await.is_err());
}
