//! The cost of listing events: no layouts, few Redis commands, and nothing of MongoDB while that is
//! unavailable.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use holdfast::config::Config;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use super::{ids, pages};
use crate::support::api::{Api, Place, places};
use crate::support::http::Client;
use crate::support::servers::{
    Server, private_mongodb, private_redis, shared_mongodb, shared_redis,
};
use crate::support::{Flavor, eventually, long_or};

const EVENTS: &str = "/api/v1/events?page_size=100";
/// Generous timeout for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Creates small events, several at a time.
async fn make_events(api: &Client, count: usize) {
    let api = &api.clone().patient();
    let made = (0..count).map(|_| async { api.event(places(3)).await });
    let made: BTreeSet<u64> = futures_util::stream::iter(made).buffer_unordered(8).collect().await;
    assert_eq!(made.len(), count);
}

/// Calls of these commands so far.
fn calls(redis: &Server, commands: &[&str]) -> u64 {
    let stats = redis.command_lines(&["INFO", "commandstats"]);
    let count = |line: &String| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        commands.contains(&name).then(|| rest.split(',').next()?.parse::<u64>().ok()).flatten()
    };
    stats.iter().filter_map(count).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listing_events_without_views_costs_at_most_one_command_per_partition() {
    let redis = private_redis(Flavor::Redis);
    let place = Place::new(&redis, shared_mongodb());
    // No event fits into the live view.
    let config = Config { live_seats_max: 0, ..place.config() };
    let partitions = u64::from(config.partitions);
    let api = Api::here(config).await;
    make_events(&api, 100).await;
    let scripts = ["evalsha", "eval"];
    let mut fewest = u64::MAX;
    for round in 0..5 {
        let before = calls(&redis, &scripts);
        let body = api.get(EVENTS).send().await.json(200);
        let events = body["events"].as_array().unwrap();
        assert_eq!(events.len(), 100);
        assert!(events.iter().all(|event| event["available_seats"] == 3), "{round}: {body}");
        fewest = fewest.min(calls(&redis, &scripts) - before);
        // The result is cached for a moment only.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // Background tasks send some commands, too: beats, waiting rooms.
    assert!(fewest <= 2 * partitions, "{fewest} commands for 100 events");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listing_events_reads_no_layouts() {
    let place = Place::new(shared_redis(Flavor::Redis), shared_mongodb());
    let config = place.config();
    let api = Api::here(config.clone()).await;
    make_events(&api, 3).await;
    let client = mongodb::Client::with_uri_str(config.mongodb_url.expose()).await.unwrap();
    let events = client.database(&config.mongodb_database).collection::<Document>("events");
    // These layouts cannot be parsed.
    let broken = doc! { "$set": { "sections": "broken" }, "$inc": { "edits": 1_i64 } };
    events.update_many(doc! {}, broken).await.unwrap();
    let fresh = Api::here(config).await;
    let listed = fresh.get(EVENTS).send().await.json(200);
    let seats = |event: &Value| event["total_seats"].as_u64();
    let seats: Vec<_> = listed["events"].as_array().unwrap().iter().map(seats).collect();
    assert_eq!(seats, [Some(3); 3]);
    fresh.stop().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_listed_without_mongodb() {
    let mongodb = private_mongodb();
    let place = Place::new(shared_redis(Flavor::Redis), &mongodb);
    let api = Api::here(place.config()).await;
    make_events(&api, 3).await;
    let held = api.held("ann", 1, &[1]).await;
    let list = async || {
        let body = api.get(EVENTS).send().await.json(200);
        let free = |event: &Value| event["available_seats"].clone();
        let free: Vec<Value> = body["events"].as_array().unwrap().iter().map(free).collect();
        (free, body)
    };
    eventually("the hold is shown", PATIENCE, async || list().await.0 == [2, 3, 3]).await;
    mongodb.kill();
    // Also once the cached list is stale, and with current counts.
    for seat in [2, 3] {
        api.held("bob", 2, &[seat]).await;
        eventually("seats follow the sale", PATIENCE, async || {
            list().await.0 == [json!(2), json!(4 - seat), json!(3)]
        })
        .await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }
    let (_, body) = list().await;
    assert_eq!((&body["total"], &body["events"][0]["name"]), (&json!(3), &json!("Places")));
    let as_of = body["as_of"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let age = jiff::Timestamp::now().duration_since(as_of);
    assert!(age > jiff::SignedDuration::from_millis(1_500), "it says how old it is: {age:?}");
    assert_eq!(held["event_id"], 1);
    mongodb.restart();
    eventually("what is read is new again", PATIENCE, async || {
        let body = api.get(EVENTS).send().await.json(200);
        body["as_of"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap() > as_of
    })
    .await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_events_are_listed_whole_and_cheaply() {
    // A page has a hundred.
    let many: usize = long_or(1_000, 300);
    let redis = private_redis(Flavor::Redis);
    let place = Place::new(&redis, shared_mongodb());
    let api = Api::here(place.config()).await;
    make_events(&api, many).await;
    let all = pages(&api, "ann", EVENTS, "events", async |_| {}).await;
    assert_eq!(ids(&all).len(), many);
    // On a busy machine each of these requests takes seconds, and so do a thousand views.
    eventually("each shows its seats", PATIENCE * 3, async || {
        let all = pages(&api, "ann", EVENTS, "events", async |_| {}).await;
        all.iter().flatten().all(|event| event["available_seats"] == 3)
    })
    .await;
    // By now its views are built, or one command per partition serves a page.
    let scripts = ["evalsha", "eval"];
    let mut fewest = u64::MAX;
    for _ in 0..5 {
        let before = calls(&redis, &scripts);
        pages(&api, "ann", EVENTS, "events", async |_| {}).await;
        fewest = fewest.min(calls(&redis, &scripts) - before);
    }
    assert!(fewest <= many as u64 * 2 / 5, "{fewest} commands for {} pages", many / 100);
    api.stop().await;
}
