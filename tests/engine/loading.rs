//! A closed event leaves Redis and comes back: what the scripts do, and what they refuse.

use holdfast::domain::{Booking, BookingId, EventStatus, Inventory, SeatId, Status};
use holdfast::redis::{
    LoadBookingsReply, NotAfter, OpenEventReply, Settlement, Timed, UnloadEventReply, new_nonce,
};

use crate::on_each_redis;
use crate::support::engine::{START_MS, Stage};

const FOREVER: NotAfter = NotAfter(i64::MAX / 2);

impl Stage {
    /// Sells seats, settled.
    async fn sold(&self, user: &str, seats: &[u32]) -> Booking {
        let (engine, event) = (&self.engine, &self.event);
        let held = self.expect("ok", self.hold(user, seats).await).into_booking().unwrap();
        let (id, user) = (held.id, held.user);
        engine.confirm_begin(event, id, &user, &new_nonce(), 30_000, 3).await.unwrap();
        let generation = event.generation;
        let booking = engine.confirm_commit(generation, id, 1, "pay").await.unwrap();
        let booking = booking.into_booking().unwrap();
        let call = Settlement {
            generation,
            outcome: "sold",
            valid_until: None,
            acknowledge: None,
            booking: &booking,
        };
        self.expect("ok", engine.settle(&call).await.unwrap()).into_booking().unwrap()
    }

    async fn set_status(&mut self, status: EventStatus) {
        self.event.revision += 1;
        self.event.status = status;
        self.expect("ok", self.engine.update_event(&self.event).await.unwrap());
    }

    async fn unload_at(&self, version: u64, not_after: NotAfter) -> Timed<UnloadEventReply> {
        let (id, generation) = (self.event.id, self.event.generation);
        self.engine.unload_event(id, generation, version, not_after).await.unwrap()
    }

    /// Takes the event out and makes it `loading` in the next generation; the load's token.
    async fn reloading(&mut self) -> String {
        let version = self.snapshot().await.version;
        self.expect("ok", self.unload_at(version, FOREVER).await);
        self.event.generation += 1;
        self.load().await
    }

    async fn place(
        &self,
        token: &str,
        sold: &[Booking],
        blocked: &[u32],
    ) -> Timed<LoadBookingsReply> {
        let blocked: Vec<SeatId> = blocked.iter().copied().map(SeatId).collect();
        self.engine.load_bookings(&self.event, token, sold, &blocked).await.unwrap()
    }
}

on_each_redis!(closed_event_is_unloaded_whole, async |flavor| {
    let mut stage = Stage::new(flavor).await;
    stage.sold("ann", &[1, 2]).await;
    let held = stage.hold("bob", &[3]).await.into_booking().unwrap();
    stage.engine.cancel(&stage.event, held.id, &held.user).await.unwrap();
    stage.set_status(EventStatus::Closed).await;
    let before = stage.snapshot().await;
    stage.expect("ok", stage.unload_at(before.version, FOREVER).await);

    let keys = stage.engine.keys().event_keys(stage.event.id);
    for key in keys[..8].iter().chain(&keys[10..]) {
        assert_eq!(stage.raw(&["EXISTS", key]).await, ":0", "{key}");
    }
    assert!(stage.engine.loaded_events(&[stage.partition()]).await.unwrap().is_empty());
    let last = stage.log().await.pop().unwrap().entry.unwrap();
    assert_eq!((last.kind.as_str(), last.event_version), ("unloaded", before.version + 1));
    assert_eq!((last.event, last.generation), (Some(stage.event.id), 1));
    let link = stage.engine.link(stage.partition()).await.unwrap().unwrap();
    assert_eq!(link.0, last.id);
    stage.expect("event_not_loaded", stage.hold("ann", &[5]).await);
    stage.expect("event_not_loaded", stage.unload_at(before.version, FOREVER).await);
});

on_each_redis!(open_or_busy_event_is_not_unloaded, async |flavor| {
    let mut stage = Stage::new(flavor).await;
    let (ann, bob) = (stage.user("ann"), stage.user("bob"));
    let first = stage.hold("ann", &[1]).await.into_booking().unwrap();
    let version = async |stage: &Stage| stage.snapshot().await.version;
    let open = version(&stage).await;
    stage.expect("not_closed", stage.unload_at(open, FOREVER).await);

    let second = stage.hold("bob", &[2]).await.into_booking().unwrap();
    stage.set_status(EventStatus::Closed).await;
    let begun = stage.engine.confirm_begin(&stage.event, second.id, &bob, "n", 30_000, 3).await;
    stage.expect("ok", begun.unwrap());
    let now = version(&stage).await;
    let moved = stage.expect("event_moved", stage.unload_at(now - 1, FOREVER).await);
    assert_eq!(moved.reply, UnloadEventReply::EventMoved { event_version: now });
    let in_use = stage.expect("in_use", stage.unload_at(now, FOREVER).await);
    assert_eq!(in_use.reply, UnloadEventReply::InUse { holds: 1, confirmations: 1 });
    stage.engine.cancel(&stage.event, first.id, &ann).await.unwrap();
    let now = version(&stage).await;
    let in_use = stage.expect("in_use", stage.unload_at(now, FOREVER).await);
    assert_eq!(in_use.reply, UnloadEventReply::InUse { holds: 0, confirmations: 1 });

    let abort = holdfast::redis::AbortMode::Lease(1);
    stage.engine.confirm_abort(1, second.id, &abort).await.unwrap();
    stage.engine.cancel(&stage.event, second.id, &bob).await.unwrap();
    let now = version(&stage).await;
    stage.expect("too_late", stage.unload_at(now, NotAfter(START_MS - 1)).await);
    stage.event.generation = 2;
    stage.expect("generation_mismatch", stage.unload_at(now, FOREVER).await);
    stage.event.generation = 1;
    stage.expect("ok", stage.unload_at(now, FOREVER).await);
});

on_each_redis!(an_event_comes_back_with_what_was_sold, async |flavor| {
    let mut stage = Stage::new(flavor).await;
    let (one, two) = (stage.sold("ann", &[1, 4]).await, stage.sold("bob", &[9]).await);
    let sold = [one, two];
    stage.set_status(EventStatus::Closed).await;
    let token = stage.reloading().await;
    let placed = stage.place(&token, &sold, &[]).await;
    assert_eq!(placed.reply, LoadBookingsReply::Placed { placed: 2 });
    // House seats, one of which was sold; and all of it once more.
    for _ in 0..2 {
        stage.expect("ok", stage.place(&token, &[], &[1, 2, 12]).await);
        stage.expect("ok", stage.place(&token, &sold, &[]).await);
    }
    let loading = stage.snapshot().await;
    assert!(!loading.open);
    stage.expect("event_not_loaded", stage.hold("eve", &[5]).await);
    stage.expect("ok", stage.engine.open_event(&stage.event, &token).await.unwrap());

    assert_eq!(stage.seats().await, "BxaBaaaaBaax");
    let snapshot = stage.snapshot().await;
    assert_eq!((snapshot.available, snapshot.generation, snapshot.version), (7, 2, 1));
    let mut holders: Vec<(u32, BookingId)> =
        snapshot.holders.iter().map(|(seat, id)| (seat.0, *id)).collect();
    holders.sort();
    assert_eq!(holders, [(1, sold[0].id), (4, sold[0].id), (9, sold[1].id)]);
    let mut users = snapshot.users.clone();
    users.sort();
    assert_eq!(users, [("ann".to_owned(), 2), ("bob".to_owned(), 1)]);
    for booking in &sold {
        let back = stage.engine.get_booking(booking.id).await.unwrap().into_booking().unwrap();
        assert_eq!(&back, booking);
    }
    // Nothing is placed any more once it is open.
    stage.expect("event_not_loaded", stage.place(&token, &sold, &[3]).await);

    // Closed as it left; resumed, a free seat is sold and a sold one is not.
    stage.expect("event_closed", stage.hold("eve", &[5]).await);
    stage.set_status(EventStatus::OnSale).await;
    stage.expect("ok", stage.hold("eve", &[5]).await);
    stage.expect("seats_unavailable", stage.hold("eve", &[4]).await);
    stage.expect("seats_unavailable", stage.hold("eve", &[2]).await);
    // Their limit counts what came back.
    stage.expect("user_limit", stage.hold("ann", &[6, 7, 8]).await);
    let cancelled = Settlement {
        generation: 2,
        outcome: "cancelled",
        valid_until: None,
        acknowledge: None,
        booking: &sold[1],
    };
    stage.expect("ok", stage.engine.settle(&cancelled).await.unwrap());
    assert_eq!(stage.seats().await, "BxaBhaaaAaax");
});

on_each_redis!(a_seat_of_two_bookings_is_not_placed, async |flavor| {
    let mut stage = Stage::new(flavor).await;
    let sold = stage.sold("ann", &[1]).await;
    stage.set_status(EventStatus::Closed).await;
    let token = stage.reloading().await;
    let rival = Booking {
        id: BookingId::new(stage.event.id, 9, 9),
        seats: vec![SeatId(1), SeatId(5)],
        ..sold.clone()
    };
    // In one call, and after the other was placed: nothing of such a call is written.
    let both = [sold.clone(), rival.clone()];
    let lost = stage.expect("seats_lost", stage.place(&token, &both, &[]).await);
    assert_eq!(lost.reply, LoadBookingsReply::SeatsLost { seat: SeatId(1) });
    assert_eq!(stage.seats().await, "AaaAaaaaAaaa");
    stage.expect("ok", stage.place(&token, &[sold], &[]).await);
    stage.expect("seats_lost", stage.place(&token, &[rival], &[7]).await);
    assert_eq!(stage.seats().await, "BaaAaaaaAaaa");
    assert_eq!(stage.snapshot().await.available, 11);
});

on_each_redis!(an_overtaken_load_is_refused, async |flavor| {
    let mut stage = Stage::new(flavor).await;
    let sold = stage.sold("ann", &[1]).await;
    stage.set_status(EventStatus::Closed).await;
    let first = stage.reloading().await;
    stage.expect("ok", stage.place(&first, &[], &[2]).await);
    stage.event.generation = 3;
    let second = stage.load().await;
    assert_ne!(first, second);
    assert_eq!(stage.seats().await, "AaaAaaaaAaaa", "it begins anew");

    stage.event.generation = 2;
    let late = stage.place(&first, std::slice::from_ref(&sold), &[]).await;
    stage.expect("generation_mismatch", late);
    let late = stage.engine.open_event(&stage.event, &first).await.unwrap();
    stage.expect("generation_mismatch", late);
    let inventory = Inventory::free(&stage.event.layout);
    let late = stage.engine.load_event(&stage.event, &inventory).await.unwrap();
    assert!(matches!(late, OpenEventReply::GenerationMismatch { .. }), "{late:?}");
    stage.event.generation = 3;
    let other_token = stage.place(&first, std::slice::from_ref(&sold), &[]).await;
    stage.expect("event_not_loaded", other_token);
    stage.expect("ok", stage.place(&second, &[sold], &[]).await);
    stage.expect("ok", stage.engine.open_event(&stage.event, &second).await.unwrap());
    assert_eq!(stage.seats().await, "BaaAaaaaAaaa");
    let status = stage.snapshot().await.bookings[0].status;
    assert_eq!(status, Status::Confirmed);
});
