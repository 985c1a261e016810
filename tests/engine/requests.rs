//! A request finds its booking as long as Redis has that one as held, being paid for or sold, however
//! long ago the request's idempotency record ended.

use holdfast::domain::{Booking, EventStatus};
use holdfast::redis::{
    AbortMode, HoldCall, HoldReply, NotAfter, SeatSelection, Settlement, Timed, new_nonce,
};

use crate::on_each_redis;
use crate::support::engine::{PLENTY, START_MS, Stage, small_event};

const DIGEST: &str = "request";
const FOREVER: NotAfter = NotAfter(i64::MAX / 2);

impl Stage {
    /// The same request, whose idempotency record has ended meanwhile.
    async fn repeat_later(&self) -> Timed<HoldReply> {
        let key = self.engine.keys().idempotency(self.event.id, DIGEST);
        self.raw(&["DEL", &key]).await;
        self.hold_as("ann", &[1, 2], DIGEST, &new_nonce()).await
    }

    async fn finds(&self, booking: &Booking) {
        let again = self.expect("replayed", self.repeat_later().await);
        assert_eq!(again.into_booking().unwrap().id, booking.id);
    }

    async fn begun(&self, booking: &Booking) -> Booking {
        let (user, nonce) = (&booking.user, new_nonce());
        let begun = self.engine.confirm_begin(&self.event, booking.id, user, &nonce, 30_000, 9);
        self.expect("ok", begun.await.unwrap()).into_booking().unwrap()
    }

    async fn settled(&self, outcome: &str, booking: &Booking) -> Booking {
        let generation = self.event.generation;
        let (valid_until, acknowledge) = (None, None);
        let call = Settlement { generation, outcome, valid_until, acknowledge, booking };
        self.expect("ok", self.engine.settle(&call).await.unwrap()).into_booking().unwrap()
    }

    /// Ann's booking of the request, sold.
    async fn sold_request(&self) -> Booking {
        let held = self.hold_as("ann", &[1, 2], DIGEST, &new_nonce()).await;
        let held = self.expect("ok", held).into_booking().unwrap();
        let lease = self.begun(&held).await.lease;
        let committed = self.engine.confirm_commit(1, held.id, lease, "pay").await.unwrap();
        self.settled("sold", &committed.into_booking().unwrap()).await
    }

    async fn requests_kept(&self) -> String {
        self.raw(&["HLEN", &self.engine.keys().requests(self.event.id)]).await
    }
}

on_each_redis!(request_whose_record_ended_finds_its_paid_and_sold_booking, async |flavor| {
    let stage = Stage::new(flavor).await;
    let held = stage.hold_as("ann", &[1, 2], DIGEST, &new_nonce()).await.into_booking().unwrap();
    stage.begun(&held).await;
    stage.finds(&held).await;
    let committed = stage.engine.confirm_commit(1, held.id, 1, "pay").await.unwrap();
    stage.finds(&held).await;
    stage.settled("sold", &committed.into_booking().unwrap()).await;
    stage.finds(&held).await;
    // Another request under that key is refused as long.
    let key = stage.engine.keys().idempotency(stage.event.id, DIGEST);
    stage.raw(&["DEL", &key]).await;
    let other = stage.hold_as("ann", &[5], DIGEST, &new_nonce()).await;
    stage.expect("idempotency_mismatch", other);
});

on_each_redis!(request_of_a_booking_that_ended_is_decided_anew, async |flavor| {
    let stage = Stage::new(flavor).await;
    let sold = stage.sold_request().await;
    stage.settled("cancelled", &sold).await;
    assert_eq!(stage.requests_kept().await, ":0");
    let second = stage.expect("ok", stage.repeat_later().await).into_booking().unwrap();
    assert_ne!(second.id, sold.id);
    // A payment that is declined leaves the hold, which its record outlasts.
    let lease = stage.begun(&second).await.lease;
    stage.engine.confirm_abort(1, second.id, &AbortMode::Lease(lease)).await.unwrap();
    assert_eq!(stage.requests_kept().await, ":0");
});

on_each_redis!(record_outlasts_the_longest_hold_of_its_event, async |flavor| {
    let mut event = small_event(1);
    event.max_hold_ms = 86_400_000;
    let stage = Stage::with_event(flavor, event).await;
    let user = stage.user("ann");
    let call = HoldCall {
        event: stage.event.id,
        generation: stage.event.generation,
        layout_version: stage.event.layout_version,
        currency: &stage.event.currency,
        booking: holdfast::domain::BookingId::new(stage.event.id, START_MS as u64, 1),
        user: &user,
        nonce: "n",
        selection: SeatSelection::named(&[holdfast::domain::SeatId(1)], 5_000),
        idempotency: DIGEST,
        fingerprint: "f",
        trace: "",
        idempotency_ttl_ms: 1_000,
        replay_window_ms: 0,
        log_entries_max: PLENTY,
        room_number: 0,
        exempt: false,
    };
    stage.expect("ok", stage.engine.hold(&call, FOREVER).await.unwrap());
    let key = stage.engine.keys().idempotency(stage.event.id, DIGEST);
    let left = stage.raw(&["PTTL", &key]).await;
    let left_ms: i64 = left.trim_start_matches(':').parse().unwrap();
    assert!(left_ms > stage.event.max_hold_ms / 2, "{left_ms} ms");
});

on_each_redis!(request_of_a_sold_booking_finds_it_after_a_load, async |flavor| {
    let mut stage = Stage::new(flavor).await;
    let sold = stage.sold_request().await;
    stage.event.revision += 1;
    stage.event.status = EventStatus::Closed;
    stage.expect("ok", stage.engine.update_event(&stage.event).await.unwrap());
    let version = stage.snapshot().await.version;
    let unloaded = stage.engine.unload_event(stage.event.id, 1, version, FOREVER).await;
    stage.expect("ok", unloaded.unwrap());
    assert_eq!(stage.requests_kept().await, ":0");

    stage.event.generation += 1;
    let token = stage.load().await;
    let sales = std::slice::from_ref(&sold);
    let placed = stage.engine.load_bookings(&stage.event, &token, sales, &[]).await;
    stage.expect("ok", placed.unwrap());
    stage.expect("ok", stage.engine.open_event(&stage.event, &token).await.unwrap());
    stage.finds(&sold).await;
});
