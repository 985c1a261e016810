//! Bookings that ended leave Redis: which, when, and what is left of them.

use holdfast::domain::{Booking, BookingId, Status};
use holdfast::redis::{Detail, ForgetReply, Settlement, new_nonce};

use crate::on_each_redis;
use crate::support::engine::{START_MS, Stage};

/// How long ended bookings are kept here, ms.
const KEEP_MS: i64 = 10_000;

impl Stage {
    /// The ids in the index of ended bookings.
    async fn indexed(&self) -> Vec<String> {
        let page = self.engine.ended_page(self.event.id, Default::default()).await.unwrap();
        let mut ids: Vec<String> = page.items.into_iter().map(|(id, _)| id).collect();
        ids.sort();
        ids
    }

    /// Asks for these to be forgotten; how many were.
    async fn forget(&self, bookings: &[(BookingId, u64)]) -> u64 {
        let answer = self.engine.forget(self.event.id, 1, KEEP_MS, bookings).await.unwrap();
        match answer.reply {
            ForgetReply::Dropped { forgotten } => forgotten,
            other => panic!("{other:?}"),
        }
    }

    async fn held(&self, user: &str, seats: &[u32]) -> Booking {
        self.expect("ok", self.hold(user, seats).await).into_booking().unwrap()
    }

    /// Holds, pays and commits; the archive has not judged it.
    async fn committed(&self, user: &str, seats: &[u32]) -> Booking {
        let (engine, event, id) = (&self.engine, &self.event, self.held(user, seats).await.id);
        let user = self.user(user);
        engine.confirm_begin(event, id, &user, &new_nonce(), 30_000, 3).await.unwrap();
        engine.confirm_commit(1, id, 1, "pay").await.unwrap().into_booking().unwrap()
    }

    async fn settle(&self, booking: &Booking, outcome: &str) -> Booking {
        let call =
            Settlement { generation: 1, outcome, valid_until: None, acknowledge: None, booking };
        let answer = self.engine.settle(&call).await.unwrap();
        self.expect("ok", answer).into_booking().unwrap()
    }
}

on_each_redis!(long_ended_bookings_are_dropped, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (engine, event, ann) = (&stage.engine, &stage.event, stage.user("ann"));
    let cancelled = stage.held("ann", &[1]).await;
    let cancelled = engine.cancel(event, cancelled.id, &ann).await.unwrap().into_booking().unwrap();
    let voided = stage.committed("bob", &[2]).await;
    let voided = stage.settle(&voided, "refund").await;
    let sold = stage.committed("bob", &[3]).await;
    let sold = stage.settle(&sold, "sold").await;
    let expired = stage.held("eve", &[4]).await;
    stage.set_clock(START_MS + 60_000).await;
    let expired = engine.get_booking(expired.id).await.unwrap().into_booking().unwrap();
    assert_eq!(expired.status, Status::Expired);
    let before = stage.snapshot().await;

    let all = [&cancelled, &voided, &sold, &expired].map(|b| (b.id, b.version));
    // Their end counts, not their age: one ended just now.
    stage.set_clock(START_MS + 60_000 + KEEP_MS - 1).await;
    assert_eq!(stage.forget(&all).await, 2);
    assert_eq!(stage.indexed().await, [expired.id.to_string()]);
    stage.set_clock(START_MS + 60_000 + KEEP_MS).await;
    assert_eq!(stage.forget(&all).await, 1);
    assert!(stage.indexed().await.is_empty());

    for gone in [&cancelled, &voided, &expired] {
        let answer = engine.get_booking(gone.id).await.unwrap();
        stage.expect("booking_unknown", answer);
    }
    // Nothing else moved: neither seats, nor counters, nor the log.
    let after = stage.snapshot().await;
    assert_eq!(after.bookings.iter().map(|b| b.id).collect::<Vec<_>>(), [sold.id]);
    assert_eq!(stage.seats().await, "AabAaaaaAaaa");
    let rest = |s: &holdfast::redis::EventSnapshot| {
        (s.version, s.available, s.link.clone(), s.holders.clone(), s.users.clone())
    };
    assert_eq!(rest(&after), rest(&before));
});

on_each_redis!(only_archived_version_is_dropped, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (engine, event) = (&stage.engine, &stage.event);
    let held = stage.held("ann", &[1]).await;
    let ended = engine.cancel(event, held.id, &held.user).await.unwrap().into_booking().unwrap();
    stage.set_clock(START_MS + KEEP_MS).await;
    assert_eq!(stage.forget(&[(ended.id, ended.version - 1)]).await, 0);
    assert_eq!(stage.forget(&[(ended.id, ended.version + 1)]).await, 0);
    let stale = engine.forget(event.id, 2, KEEP_MS, &[(ended.id, ended.version)]).await.unwrap();
    stage.expect("generation_mismatch", stale);
    assert_eq!(stage.indexed().await, [ended.id.to_string()]);
    assert_eq!(stage.forget(&[(ended.id, ended.version)]).await, 1);
});

on_each_redis!(index_entries_without_an_ended_booking_are_dropped, async |flavor| {
    let stage = Stage::new(flavor).await;
    let live = stage.held("ann", &[1]).await;
    let unknown = BookingId::new(stage.event.id, 7, 7);
    let key = stage.engine.keys().ended(stage.event.id);
    for id in [live.id, unknown] {
        stage.raw(&["ZADD", &key, "1", &id.to_string()]).await;
    }
    assert_eq!(stage.forget(&[(live.id, live.version), (unknown, 0)]).await, 0);
    assert!(stage.indexed().await.is_empty());
    assert_eq!(stage.seats().await, "HaaAaaaaAaaa", "the live one stays");
    let stays = stage.engine.get_booking(live.id).await.unwrap();
    stage.expect("ok", stays);
});

on_each_redis!(ended_bookings_are_listed_oldest_first, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (engine, event) = (&stage.engine, &stage.event);
    let mut ids = Vec::new();
    for number in 0..3 {
        stage.set_clock(START_MS + number * 1_000).await;
        let held = stage.held("ann", &[1]).await;
        engine.cancel(event, held.id, &held.user).await.unwrap();
        ids.push(held.id.to_string());
    }
    let listed = async |until_ms, skip, count| {
        let page = engine.ended_bookings(event.id, until_ms, skip, count).await.unwrap();
        assert!(page.iter().all(|one| matches!(&one.booking, Some(Ok(b)) if !b.status.is_live())));
        page.into_iter().map(|one| one.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(START_MS + 2_000, 0, 10).await, ids);
    assert_eq!(listed(START_MS + 1_999, 0, 10).await, ids[..2]);
    assert_eq!(listed(START_MS + 2_000, 1, 1).await, ids[1..2]);
});

on_each_redis!(settlement_after_drop_ends_the_booking_again, async |flavor| {
    let stage = Stage::new(flavor).await;
    let sold = stage.committed("ann", &[1]).await;
    stage.settle(&sold, "sold").await;
    let cancelled = stage.settle(&sold, "cancelled").await;
    stage.set_clock(START_MS + KEEP_MS).await;
    assert_eq!(stage.forget(&[(cancelled.id, cancelled.version)]).await, 1);
    stage.expect("ok", stage.hold("bob", &[1]).await);

    // The cancellation is settled once more: from the archive's facts, in the index again, and
    // nobody's seat moves.
    let again = stage.settle(&cancelled, "cancelled").await;
    assert_eq!((again.status, again.version), (Status::Cancelled, cancelled.version + 1));
    assert_eq!(again.ended_ms, START_MS + KEEP_MS);
    assert_eq!(stage.indexed().await, [again.id.to_string()]);
    assert_eq!(stage.seats().await, "HaaAaaaaAaaa");
    assert_eq!(stage.forget(&[(again.id, again.version)]).await, 0, "it has just ended");
    stage.set_clock(START_MS + 2 * KEEP_MS).await;
    assert_eq!(stage.forget(&[(again.id, again.version)]).await, 1);
});

on_each_redis!(outdated_outcome_is_not_settled, async |flavor| {
    let stage = Stage::new(flavor).await;
    let engine = &stage.engine;
    let sold = stage.committed("ann", &[1]).await;
    // A worker reads `sold`, and sleeps. The sale is cancelled, forgotten, and its seat resold.
    let tell_until = Some(holdfast::redis::NotAfter(START_MS + KEEP_MS));
    stage.settle(&sold, "sold").await;
    let cancelled = stage.settle(&sold, "cancelled").await;
    stage.set_clock(START_MS + KEEP_MS + 1).await;
    assert_eq!(stage.forget(&[(cancelled.id, cancelled.version)]).await, 1);
    stage.expect("ok", stage.hold("bob", &[1]).await);
    let late = Settlement {
        generation: 1,
        outcome: "sold",
        valid_until: tell_until,
        acknowledge: None,
        booking: &sold,
    };
    stage.expect("too_late", engine.settle(&late).await.unwrap());
    assert_eq!(stage.seats().await, "HaaAaaaaAaaa");
    let snapshot = engine.snapshot(stage.event.id, Detail::All).await.unwrap().unwrap();
    assert_eq!(snapshot.users, [("bob".to_owned(), 1)]);
});

on_each_redis!(key_of_dropped_booking_is_decided_anew, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (engine, event) = (&stage.engine, &stage.event);
    let first = stage.hold_as("ann", &[1], "key", "n1").await.into_booking().unwrap();
    let ended = engine.cancel(event, first.id, &first.user).await.unwrap().into_booking().unwrap();
    stage.set_clock(START_MS + KEEP_MS).await;
    assert_eq!(stage.forget(&[(ended.id, ended.version)]).await, 1);
    // As if it had ended and were still there: another payload is refused, the same one decided.
    stage.expect("idempotency_mismatch", stage.hold_as("ann", &[2], "key", "n2").await);
    let anew = stage.expect("ok", stage.hold_as("ann", &[1], "key", "n3").await);
    assert_ne!(anew.into_booking().unwrap().id, first.id);
    // What undoes a lost attempt of the forgotten one finds the new booking, and not its nonce.
    let past = holdfast::redis::NotAfter(START_MS);
    let abort = engine.abort(event.id, 1, "key", "n1", past).await.unwrap();
    stage.expect("nothing", abort);
});
