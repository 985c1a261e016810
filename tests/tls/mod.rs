//! TLS to Redis, Sentinels, a Cluster and MongoDB, with certificates made by the test.

mod mongodb;
mod redis;
mod refusals;
mod reload;
mod sentinel;
mod servers;

use std::sync::Arc;
use std::time::Duration;

use holdfast::config::Config;
use holdfast::redis::scripts::{ClockSource, Scripts};
use holdfast::redis::{Engine, RedisError};
use holdfast::start;

use crate::support::api::Api;
use crate::support::engine::NoObserver;
use crate::support::eventually;

/// Bound of a start that is refused.
const REFUSED: Duration = Duration::from_secs(60);
/// Bound of what a program or a server does in the background.
const DONE: Duration = Duration::from_secs(60);

/// Waits until HTTP threads have connections of their own, which are not the client library's.
async fn thread_connections_come_up(api: &Api) {
    eventually("HTTP threads have connections of their own", DONE, async || {
        api.metric("holdfast_redis_thread_connections").await >= 1.0
    })
    .await;
}

/// Connects once with these settings.
async fn connect(config: &Config) -> Result<Engine, RedisError> {
    let settings = start::redis_settings(config).unwrap_or_else(|error| panic!("{error}"));
    Engine::connect(settings, Scripts::embedded(ClockSource::Redis), Arc::new(NoObserver)).await
}

/// The same, until it succeeds: servers are busy at times.
async fn connected(config: &Config) -> Engine {
    let mut last = None;
    for _ in 0..10 {
        match connect(config).await {
            Ok(engine) => return engine,
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    panic!("{last:?}");
}
