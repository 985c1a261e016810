//! A thread that serves requests has a connection to Redis of its own, which writes what is sent in
//! one turn at once.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use holdfast::redis::serve_requests_here;

use crate::support::engine::Stage;
use crate::support::eventually;
use crate::support::proxy::Proxy;
use crate::support::servers::{Flavor, Server, available, private_redis};

const CALLS: usize = 64;
const BOUND: Duration = Duration::from_secs(20);

fn reads(redis: &Server) -> u64 {
    let info = redis.command_lines(&["INFO", "stats"]);
    let reads = info.iter().find_map(|line| line.strip_prefix("total_reads_processed:"));
    reads.expect("Redis counts its reads").trim().parse().unwrap()
}

/// Makes many calls in one turn until Redis reads them in a few parts.
async fn calls_are_read_together(stage: &Stage, redis: &Server) {
    let began = Instant::now();
    loop {
        let before = reads(redis);
        let calls = join_all((0..CALLS).map(|_| stage.engine.ping())).await;
        let after = reads(redis) - before;
        if calls.iter().all(Result::is_ok) && after < CALLS as u64 / 4 {
            return;
        }
        assert!(began.elapsed() < BOUND, "{after} reads for {CALLS} calls: {:?}", calls[0]);
        // Lets the connections' tasks run.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn each_node_of_a_cluster_gets_one() {
    let redis = private_redis(Flavor::Cluster);
    let stage = Stage::on(&redis).await;
    serve_requests_here();
    eventually("the connection is up", BOUND, async || {
        stage.engine.ping().await.unwrap();
        stage.engine.thread_connections() >= 1
    })
    .await;
    stage.expect("ok", stage.hold("ann", &[2, 3]).await);
    stage.engine.close().await;
    assert_eq!(stage.engine.thread_connections(), 0);
}

#[tokio::test]
async fn calls_of_one_turn_are_written_at_once_and_again_after_a_cut() {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    let redis = private_redis(flavor);
    let proxy = Proxy::to(redis.port());
    let redis = redis.reached_at(proxy.url());
    let stage = Stage::on(&redis).await;
    serve_requests_here();
    calls_are_read_together(&stage, &redis).await;
    stage.expect("ok", stage.hold("ann", &[2, 3]).await);
    stage.expect("seats_unavailable", stage.hold("bob", &[3]).await);
    proxy.redirect(Some(redis.port()));
    calls_are_read_together(&stage, &redis).await;
    // A script that Redis has lost is sent again.
    assert_eq!(redis.command(&["SCRIPT", "FLUSH"]), "+OK");
    stage.expect("ok", stage.hold("bob", &[4]).await);
}
