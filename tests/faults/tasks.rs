//! Each background task panics in turn: it is restarted, counted, shown in readiness, and its work
//! continues.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use holdfast::config::Config;
use holdfast::lifecycle::{STEADY_AFTER, Supervisor, shutdown_channel};
use holdfast::telemetry::Metrics;
use holdfast::{start, worker};
use serde_json::json;

use crate::support::api::{Api, Place, places};
use crate::support::eventually;
use crate::support::followers::{Follower, Subscription};
use crate::support::http::Client;
use crate::support::servers::{Flavor, shared_mongodb, shared_redis};
use crate::support::world::{World, impatient};

/// Bound of every wait on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Seats of an event.
const SEATS: u32 = 100;

/// The tasks of an API process without replicas.
const API_TASKS: [&str; 16] = [
    "activity",
    "event_channel",
    "event_gauges",
    "limits_cleanup",
    "limits_flush",
    "live_freshness",
    "live_keeper",
    "live_tail",
    "mongodb_check",
    "monitoring",
    "policy",
    "redis_check",
    "seat_map_cleanup",
    "unfinished_calls",
    "waiting_rooms",
    "warming",
];
/// The tasks of a worker.
const WORKER_TASKS: [&str; 12] = [
    "admit",
    "drain",
    "mend",
    "mongodb_check",
    "reclaim",
    "reconcile",
    "redis_check",
    "repair",
    "retain",
    "sweep",
    "trim",
    "watch",
];

/// Makes a task panic and waits until the restart is counted.
async fn inject_panic(supervisor: &Supervisor, name: &str) {
    let before = supervisor.restarts(name);
    eventually(name, PATIENCE, async || {
        // A task that is just starting does not receive it yet.
        supervisor.inject_panic(name);
        supervisor.restarts(name) > before
    })
    .await;
    assert!(supervisor.failing().contains(&name), "{name} is failing");
}

/// Checks that the process reports this task as failing and continues to serve.
async fn reports_failure(client: &Client, name: &str) {
    let body = client.get("/health/ready").send().await.json(200);
    assert_eq!(body["status"], "degraded", "{body}");
    let failing = body["failing_tasks"].as_array().unwrap();
    assert!(failing.contains(&json!(name)), "{body}");
    let up = format!("holdfast_task_up{{task=\"{name}\"}}");
    assert_eq!(client.labelled_metric(&up).await, 0.0);
    let restarts = format!("holdfast_task_restarts_total{{task=\"{name}\"}}");
    assert!(client.labelled_metric(&restarts).await >= 1.0);
}

/// Waits until all tasks run steadily again.
async fn recovers(client: &Client) {
    let bound = PATIENCE + STEADY_AFTER;
    eventually("no task is failing", bound, async || {
        client.get("/health/ready").send().await.json(200)["status"] == "ok"
    })
    .await;
    let text = client.get("/metrics").send().await.text();
    assert!(!text.lines().any(|l| l.starts_with("holdfast_task_up") && l.ends_with(" 0")));
}

/// A client's view of the API's tasks.
struct Stage {
    api: Api,
    event: u64,
    follower: Follower,
    subscription: Subscription,
    next_seat: u32,
}

impl Stage {
    async fn new(config: Config) -> Self {
        let api = Api::here(config).await.patient();
        let event = api.event(places(SEATS)).await;
        let subscription = Subscription::Socket(api.socket(event).await);
        Stage { api, event, follower: Follower::default(), subscription, next_seat: 1 }
    }

    /// Checks that a subscriber receives a hold, and that another hold of its seat is refused from the view.
    async fn works(&mut self) {
        let seat = self.next_seat;
        self.next_seat += 1;
        self.api.held(&format!("u{seat}"), self.event, &[seat]).await;
        while self.follower.bytes_at(seat as usize) != Some(b'h') {
            self.follower.apply(&self.subscription.next_message().await);
        }
        let mut stranger = 0;
        let refused_from_view = "holdfast_refused_from_view_total";
        let before = self.api.metric(refused_from_view).await;
        eventually("it is refused from the view", PATIENCE, async || {
            stranger += 1;
            let user = format!("s{seat}-{stranger}");
            self.api.hold(&user, self.event, &[seat]).await.problem(409, "seats_unavailable");
            self.api.metric(refused_from_view).await > before
        })
        .await;
        // Local counts of refused requests are flushed to Redis.
        let notes = "holdfast_limiter_entries{kind=\"notes\"}";
        eventually("notes are flushed", PATIENCE, async || {
            self.api.labelled_metric(notes).await == 0.0
        })
        .await;
        // A new event gets a view and a channel.
        let new = self.api.event(places(SEATS)).await;
        let (mut subscription, mut follower) =
            (Subscription::Socket(self.api.socket(new).await), Follower::default());
        while follower.at().is_none() {
            follower.apply(&subscription.next_message().await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_of_the_api_is_restarted_and_its_work_continues() {
    let place = Place::shared();
    let mut stage = Stage::new(place.config()).await;
    let is_ready = async || stage.api.get("/health/ready").send().await.status == 200;
    eventually("it is ready", PATIENCE, is_ready).await;
    stage.works().await;
    assert_eq!(stage.api.supervisor().names(), API_TASKS, "a new task must be tested here, too");
    for name in API_TASKS {
        inject_panic(stage.api.supervisor(), name).await;
        reports_failure(&stage.api, name).await;
        stage.works().await;
    }
    // Once more, all at the same time: each was restarted.
    for name in API_TASKS {
        inject_panic(stage.api.supervisor(), name).await;
    }
    stage.works().await;
    recovers(&stage.api).await;
    stage.works().await;
    stage.api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_of_the_worker_is_restarted_and_nothing_is_lost() {
    let (redis, mongodb) = (shared_redis(Flavor::Valkey), shared_mongodb());
    let world = World::with(redis, mongodb, impatient()).await;
    let settings = world.engine.settings();
    let config = Arc::new(Config {
        worker_listen: ([127, 0, 0, 1], 0).into(),
        redis_url: settings.address.expose().into(),
        redis_namespace: settings.namespace.clone(),
        partitions: settings.partitions,
        mongodb_url: mongodb.url().as_str().into(),
        mongodb_database: settings.namespace.clone(),
        redis_timeout_ms: 900,
        worker_consumer: "here".into(),
        worker_reclaim_idle_ms: 20_000,
        ..Config::default()
    });
    let listener = TcpListener::bind(config.worker_listen).unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()));
    let metrics = Metrics::new(worker::SERVICE);
    let services = start::connect(&config, &metrics).await.unwrap();
    let supervisor = services.supervisor.clone();
    let (trigger, ending) = shutdown_channel();
    let working = tokio::spawn(worker::run(listener, config, services, metrics, ending));
    eventually("all tasks have started", PATIENCE, async || supervisor.names() == WORKER_TASKS)
        .await;

    let event = world.free_event(SEATS).await;
    let mut sold = Vec::new();
    for (number, name) in (0..).zip(WORKER_TASKS) {
        let first = number * 5 + 1;
        sold.extend(world.sell(event, first..=first + 1).await);
        inject_panic(&supervisor, name).await;
        reports_failure(&client, name).await;
        sold.extend(world.sell(event, first + 2..=first + 4).await);
    }
    for name in WORKER_TASKS {
        inject_panic(&supervisor, name).await;
    }
    world.all_confirmed(&sold, PATIENCE).await;
    world.archive_is_exact(event).await;
    recovers(&client).await;
    trigger.request();
    working.await.unwrap().unwrap();
    world.stop().await;
}
