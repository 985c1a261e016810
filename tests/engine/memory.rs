//! What still runs at the log's limit and at Redis' memory limit: what finishes or undoes something,
//! within bounds. What begins something, or could be repeated for ever, is refused.

use std::fmt::Debug;

use holdfast::redis::{RedisError, WORKER_GROUP, new_nonce};

use crate::on_each_redis;
use crate::support::Flavor;
use crate::support::engine::{PLENTY, Stage};
use crate::support::servers::private_redis;

/// Calls that would fill the log if nothing stopped them.
const CALLS: usize = 20;

on_each_redis!(beats_and_extensions_stop_at_the_limit_of_the_log, async |flavor| {
    let stage = Stage::new(flavor).await;
    let (engine, partition) = (&stage.engine, stage.partition());
    let held = stage.hold("ann", &[1]).await.into_booking().unwrap();
    let entries = stage.log().await.len() as u64;
    for _ in 0..CALLS {
        let beat = engine.beat(partition, 0, entries + 1).await.unwrap();
        let (nonce, max) = (new_nonce(), entries + 1);
        let extended = engine.extend(&stage.event, held.id, &held.user, &nonce, max).await.unwrap();
        let codes = [beat.code(), extended.code()];
        assert!(codes.iter().all(|code| matches!(*code, "ok" | "log_full")), "{codes:?}");
    }
    assert_eq!(stage.log().await.len() as u64, entries + 1);
    // What is held can be paid for and given up.
    let begun = engine.confirm_begin(&stage.event, held.id, &held.user, "n", 30_000, 3).await;
    stage.expect("ok", begun.unwrap());
});

async fn is_refused<R: Debug>(call: impl Future<Output = Result<R, RedisError>>) {
    match call.await {
        Err(RedisError::NotRun(why)) => assert!(why.contains("OOM"), "{why}"),
        other => panic!("{other:?}"),
    }
}

on_each_redis!(beats_and_extensions_stop_at_the_memory_limit, async |flavor| {
    if flavor == Flavor::Cluster {
        return;
    }
    let redis = private_redis(flavor);
    let stage = Stage::on(&redis).await;
    let (engine, event, ann) = (&stage.engine, &stage.event, stage.user("ann"));
    let paid = stage.hold("ann", &[1]).await.into_booking().unwrap();
    let given_up = stage.hold("ann", &[2]).await.into_booking().unwrap();
    engine.ensure_group(stage.partition(), WORKER_GROUP).await.unwrap();
    let entries = stage.log().await.len();
    redis.command(&["CONFIG", "SET", "maxmemory", "1mb"]);
    redis.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);

    for _ in 0..CALLS {
        is_refused(engine.beat(stage.partition(), 0, PLENTY)).await;
        is_refused(engine.extend(event, paid.id, &ann, &new_nonce(), PLENTY)).await;
    }
    assert_eq!(stage.log().await.len(), entries);
    stage.expect("ok", engine.cancel(event, given_up.id, &ann).await.unwrap());
    let begun = engine.confirm_begin(event, paid.id, &ann, "n", 30_000, 3).await;
    stage.expect("ok", begun.unwrap());
    let sold = engine.confirm_commit(1, paid.id, 1, "pay").await;
    stage.expect("ok", sold.unwrap());
});
