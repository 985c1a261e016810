//! The settings of the worker take effect.

use super::{DONE, Reloaded, settings_file};
use crate::support::api::{Api, Place, places};
use crate::support::eventually;
use crate::support::http::Client;
use crate::support::process::Process;
use crate::support::servers::{Flavor, available, free_port, private_redis, shared_mongodb};

pub const PROVEN: [&str; 2] = ["restore_on_loss", "log_keep_seconds"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_the_worker_take_effect() {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    let redis = private_redis(flavor);
    let place = Place::new(&redis, shared_mongodb());
    let file = settings_file("restore_on_loss = false\nlog_keep_seconds = 86400\n");
    let address = format!("127.0.0.1:{}", free_port());
    let settings =
        [("HOLDFAST_CONFIG", file.to_str().unwrap()), ("HOLDFAST_WORKER_LISTEN", address.as_str())];
    let worker: Process = place.worker_at_work(&settings).await;
    let running = Reloaded { process: &worker, file: file.clone() };
    let exported = Client::new(&format!("http://{address}"));
    let timestamp = "holdfast_config_last_reload_success_timestamp_seconds";
    let started = exported.metric(timestamp).await;
    running.reload("restore_on_loss = 1\n").await;
    assert_eq!(exported.metric("holdfast_config_last_reload_success").await, 0.0);
    assert_eq!(exported.metric("holdfast_config_reloads_total").await, 1.0);
    assert_eq!(exported.metric(timestamp).await, started);
    let api = Api::program(&place, &[]).await;
    let event = api.event(places(4)).await;
    let booking = api.held("ann", event, &[1]).await;
    api.act("ann", &booking, "cancel").await.json(200);

    let length = || redis.command(&["EVAL", LENGTHS, "0", &format!("{}:*:log", place.name())]);
    let is_short = || matches!(length().as_str(), ":0" | ":1");
    eventually("the log has entries", DONE, async || !is_short()).await;
    running.adopt("restore_on_loss = false\nlog_keep_seconds = 0\n").await;
    assert_eq!(exported.metric("holdfast_config_last_reload_success").await, 1.0);
    assert!(exported.metric(timestamp).await > started);
    // The newest archived entry stays.
    eventually("archived entries are removed", DONE, async || is_short()).await;

    let lose = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end";
    redis.command(&["EVAL", lose, "0", &format!("{}:*event*", place.name())]);
    let is_alarmed = async || worker.log_text().contains("redis has lost something");
    eventually("the loss is an alarm", DONE, is_alarmed).await;
    assert_eq!(api.hold("bob", event, &[2]).await.status, 503);
    running.adopt("restore_on_loss = true\nlog_keep_seconds = 0\n").await;
    eventually("the event is restored", DONE, async || {
        api.hold("cid", event, &[3]).await.status == 201
    })
    .await;
}

/// The entries of all logs.
const LENGTHS: &str = "local n = 0
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do n = n + redis.call('XLEN', key) end
return n";
