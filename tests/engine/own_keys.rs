//! Callers' own keys for what they do to a booking: what the scripts keep of them, and for how
//! long it counts.

use holdfast::redis::{AbortMode, Attempt, IdempotencyRecord, new_nonce};

use crate::on_each_redis;
use crate::support::engine::{PLENTY, START_MS, Stage};

const TTL_MS: i64 = 60_000;

fn attempt<'a>(nonce: &'a str, digest: &'a str, fingerprint: &'a str) -> Attempt<'a> {
    Attempt { nonce, record: Some(IdempotencyRecord { digest, fingerprint, ttl_ms: TTL_MS }) }
}

on_each_redis!(keys_are_bound_once_the_booking_is_sold, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (engine, event, ann) = (&stage.engine, &stage.event, stage.user("ann"));
    let id = stage.hold("ann", &[1]).await.into_booking().unwrap().id;
    let begin = async |key: &str, card: &str| {
        let nonce = new_nonce();
        let call = engine.confirm_begin(event, id, &ann, attempt(&nonce, key, card), 30_000, 9);
        call.await.unwrap()
    };
    // Declined: the same key may come with another card, and with the first one once more.
    stage.expect("ok", begin("k", "card1").await);
    stage.expect("in_flight", begin("k", "card2").await);
    for (lease, card) in [(1, "card2"), (2, "card1")] {
        engine.confirm_abort(1, id, &AbortMode::Lease(lease)).await.unwrap();
        stage.expect("ok", begin("k", card).await);
    }
    // Given up by its process: another request takes over, and sells.
    stage.set_clock(START_MS + 30_000).await;
    stage.expect("ok", begin("l", "card3").await);
    engine.confirm_commit(1, id, 4, "pay").await.unwrap();
    stage.expect("is_committed", begin("l", "card3").await);
    // From now on each key is bound to its last request, whichever payment it was for.
    stage.expect("idempotency_mismatch", begin("l", "card1").await);
    stage.expect("is_committed", begin("k", "card1").await);
    stage.expect("idempotency_mismatch", begin("k", "card2").await);
    stage.expect("is_committed", begin("m", "card1").await);
});

on_each_redis!(records_live_for_their_ttl, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (engine, event, ann) = (&stage.engine, &stage.event, stage.user("ann"));
    let id = stage.hold("ann", &[1]).await.into_booking().unwrap().id;
    stage.set_clock(START_MS + 1).await;
    stage.expect(
        "ok",
        engine.extend(event, id, &ann, attempt("n1", "e", ""), PLENTY).await.unwrap(),
    );
    stage.expect("ok", engine.extend(event, id, &ann, "n2", PLENTY).await.unwrap());
    let begun = engine.confirm_begin(event, id, &ann, attempt("n3", "c", "f"), 30_000, 9).await;
    stage.expect("ok", begun.unwrap());
    // An extension is remembered as long as the hold can last, which is longer here.
    for (digest, longest_ms) in [("e", event.max_hold_ms), ("c", TTL_MS)] {
        let key = engine.keys().idempotency(event.id, digest);
        // By Redis' own clock, on which all records live.
        let ttl_ms: i64 = stage.raw(&["PTTL", &key]).await.trim_start_matches(':').parse().unwrap();
        assert!((TTL_MS / 2..=longest_ms).contains(&ttl_ms), "{digest}: {ttl_ms}");
    }
    // Without a key nothing is kept.
    let none = engine.keys().idempotency(event.id, "none");
    assert_eq!(stage.raw(&["EXISTS", &none]).await.trim_start_matches(':'), "0");
});
