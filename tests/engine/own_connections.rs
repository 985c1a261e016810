//! A thread that serves requests has a connection to Redis of its own. (Its own tests, in
//! `src/redis/pipeline.rs`, play the other end.)

use std::time::Duration;

use holdfast::redis::serve_requests_here;

use crate::support::engine::Stage;
use crate::support::eventually;
use crate::support::proxy::Proxy;
use crate::support::servers::{Flavor, available, private_redis};

const BOUND: Duration = Duration::from_secs(20);

/// Calls Redis until this thread's own connection is up.
async fn own_connection_comes_up(stage: &Stage) {
    eventually("the thread's own connection is up", BOUND, async || {
        // After a cut the first calls fail.
        stage.engine.ping().await.is_ok() && stage.engine.thread_connections() == 1
    })
    .await;
}

#[tokio::test]
async fn each_node_of_a_cluster_gets_one() {
    let redis = private_redis(Flavor::Cluster);
    let stage = Stage::on(&redis).await;
    serve_requests_here();
    own_connection_comes_up(&stage).await;
    stage.expect("ok", stage.hold("ann", &[2, 3]).await);
    stage.engine.close().await;
    assert_eq!(stage.engine.thread_connections(), 0);
}

#[tokio::test]
async fn scripts_run_over_it_and_it_comes_back_after_a_cut() {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    let redis = private_redis(flavor);
    let proxy = Proxy::to(redis.port());
    let redis = redis.reached_at(proxy.url());
    let stage = Stage::on(&redis).await;
    assert_eq!(stage.engine.thread_connections(), 0);
    serve_requests_here();
    own_connection_comes_up(&stage).await;
    stage.expect("ok", stage.hold("ann", &[2, 3]).await);
    stage.expect("seats_unavailable", stage.hold("bob", &[3]).await);
    proxy.redirect(Some(redis.port()));
    own_connection_comes_up(&stage).await;
    // A script that Redis has lost is sent again.
    assert_eq!(redis.command(&["SCRIPT", "FLUSH"]), "+OK");
    stage.expect("ok", stage.hold("bob", &[4]).await);
}
