//! A thousand events on sale: a process that starts is ready soon, serves all of them from memory, and
//! recovers after a restart of Redis and after a failover.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use holdfast::domain::layout::Section;
use holdfast::sale::{Events, NewEvent};
use holdfast::start;
use serde_json::Value;

use super::{PATIENCE, writes_at_once};
use crate::support::api::{Api, Place, places};
use crate::support::followers::{Follower, Subscription};
use crate::support::proxy::Proxy;
use crate::support::servers::{Flavor, available, private_redis, shared_mongodb};
use crate::support::world::answered;
use crate::support::{eventually, long_or};

/// Open events before the process starts.
fn event_count() -> usize {
    long_or(1_000, 300)
}

/// Seats of each.
const SEATS: u32 = 200;
/// Events created at the same time.
const MADE_AT_ONCE: usize = 4;
/// The longest time from the process' start until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// The bound of its memory once all views are built, bytes: some 70 MB in a debug build.
const MEMORY_MAX: f64 = 200e6;
/// Events of one page of a list.
const PAGE: u64 = 100;
/// Redis calls per page: all are beats, none fetches an event's counts.
const PAGE_CALLS_MAX: f64 = 60.0;

fn event(number: usize) -> NewEvent {
    let floor = Section { name: "Floor".into(), price: 100, rows: None, capacity: Some(SEATS) };
    NewEvent {
        name: format!("Event {number}"),
        description: None,
        venue: None,
        currency: None,
        starts_at_ms: None,
        on_sale_at_ms: None,
        off_sale_at_ms: None,
        hold_ttl_seconds: None,
        max_hold_seconds: None,
        max_seats_per_user: None,
        orphan_rule: None,
        cancel_policy: Default::default(),
        sections: vec![floor],
    }
}

/// Puts events on sale; returns their ids.
async fn put_on_sale(place: &Place) -> Vec<u64> {
    let (engine, archive) = place.services().await;
    let events = Events::new(engine.clone(), archive, start::sale_settings(&place.config()));
    let create = async |number| answered(async || events.create(event(number)).await).await;
    let made = stream::iter(0..event_count()).map(create);
    let views: Vec<_> = made.buffer_unordered(MADE_AT_ONCE).collect().await;
    engine.close().await;
    views.into_iter().map(|view| u64::from(view.unwrap().event.id.0)).collect()
}

async fn is_ready(api: &Api) -> bool {
    let reply = api.get("/health/ready").send().await;
    reply.status == 200 && reply.json(200)["status"] == "ok"
}

/// Asserts that every event is listed with free seats counted from memory.
async fn check_list(api: &Api, held: u64) {
    let mut listed = 0;
    let mut free = 0;
    for page in 1..=(event_count() as u64).div_ceil(PAGE) {
        let path = format!("/api/v1/events?page={page}&page_size={PAGE}");
        let mut list = Value::Null;
        // The first request finds the views of quiet partitions stale, which starts the beats.
        eventually("a page is counted from memory", PATIENCE, async || {
            let calls = api.metric("holdfast_script_replies_total").await;
            list = api.get(&path).send().await.json(200);
            api.metric("holdfast_script_replies_total").await - calls < PAGE_CALLS_MAX
        })
        .await;
        let events = list["events"].as_array().unwrap();
        listed += events.len();
        free += events.iter().map(|one| one["available_seats"].as_u64().unwrap()).sum::<u64>();
    }
    assert!(listed >= event_count(), "{listed} are listed");
    assert_eq!(free, listed as u64 * u64::from(SEATS) - held);
}

/// Asserts that a client that follows an event receives a hold of it.
async fn check_follower(api: &Api, event: u64, user: &str, seat: u32) -> Value {
    let (mut subscription, mut follower) =
        (Subscription::Socket(api.socket(event).await), Follower::default());
    while follower.at().is_none() {
        follower.apply(&subscription.next_message().await);
    }
    let booking = api.held(user, event, &[seat]).await;
    while follower.bytes_at(seat as usize) != Some(b'h') {
        follower.apply(&subscription.next_message().await);
    }
    booking
}

/// Waits until the process is ready again after Redis is back, and follows the log.
async fn wait_for_recovery(api: &Api, event: u64, user: &str, seat: u32) {
    eventually("it is ready again", PATIENCE, async || is_ready(api).await).await;
    let held = async || api.hold(user, event, &[seat]).await.status == 201;
    eventually("seats are sold again", PATIENCE, held).await;
    check_follower(api, event, &format!("{user}2"), seat + 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousand_open_events_are_served_from_memory() {
    if !available(Flavor::Redis) {
        return;
    }
    let (primary, replica) = (private_redis(Flavor::Redis), private_redis(Flavor::Redis));
    writes_at_once(&primary);
    let proxy = Proxy::to(primary.port());
    let redis = primary.reached_at(proxy.url());
    let place = Place::new(&redis, shared_mongodb());
    let events = put_on_sale(&place).await;

    let began = Instant::now();
    let api = Api::program(&place, &[]).await.patient();
    eventually("it is ready", PATIENCE, async || is_ready(&api).await).await;
    let took = began.elapsed();
    let memory = api.metric("process_resident_memory_bytes").await;
    println!("ready after {took:?} with {:.0} MB", memory / 1e6);
    assert!(took < READY_WITHIN, "ready after {took:?}");
    assert!(memory < MEMORY_MAX, "{memory} bytes");
    assert_eq!(api.metric("holdfast_panics_total").await, 0.0);
    assert!(api.metric("holdfast_live_views").await >= event_count() as f64);
    assert_eq!(api.metric("holdfast_live_missing").await, 0.0);
    check_list(&api, 0).await;
    check_follower(&api, events[event_count() / 2], "ann", 1).await;
    check_list(&api, 1).await;
    let late = api.event(places(SEATS)).await;
    check_follower(&api, late, "ann", 1).await;

    redis.kill();
    tokio::task::block_in_place(|| redis.restart());
    wait_for_recovery(&api, events[0], "bob", 1).await;
    wait_for_recovery(&api, late, "bob", 5).await;

    redis.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    assert_eq!(replica.command(&["REPLICAOF", "127.0.0.1", &redis.port().to_string()]), "+OK");
    let follows = async || {
        let info = replica.command_lines(&["INFO", "replication"]);
        info.iter().any(|line| line == "master_link_status:up")
    };
    eventually("the replica follows", PATIENCE, follows).await;
    proxy.redirect(None);
    assert_eq!(replica.command(&["REPLICAOF", "NO", "ONE"]), "+OK");
    proxy.redirect(Some(replica.port()));
    wait_for_recovery(&api, events[1], "cid", 1).await;
    wait_for_recovery(&api, late, "cid", 9).await;
    assert_eq!(api.metric("holdfast_panics_total").await, 0.0);
    assert_eq!(api.metric("holdfast_live_changes_total{what=\"differs\"}").await, 0.0);
}
