//! Panics and restarted tasks, in a worker that the test serves itself.

use std::net::TcpListener;
use std::sync::Arc;

use holdfast::config::Config;
use holdfast::lifecycle::shutdown_channel;
use holdfast::telemetry::Metrics;
use holdfast::{start, worker};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panics_of_both_programs_are_counted() {
    let place = Place::shared();
    let faults = [("HOLDFAST_API_FAULT_POINT", "after_charge:panic:2")];
    let api = Api::program(&place, &faults).await;
    let fault = ("HOLDFAST_WORKER_FAULT_POINT", "after_read:panic");
    let worker = Worker::start(&place, &[fault]).await;
    let event = api.client().patient().event(places(2)).await;
    // The worker panics at the first sale, the API at the second payment.
    for (user, seat) in [("ann", 1), ("bob", 2)] {
        is(&api.monitoring(), "holdfast_panics_total", 0.0).await;
        let held = api.held(user, event, &[seat]).await;
        api.act(user, &held, "confirm").await;
        is(&worker.client, "holdfast_panics_total", 1.0).await;
    }
    is(&api.monitoring(), "holdfast_panics_total", 1.0).await;
    // The worker goes on.
    shows(&worker.client, "holdfast_worker_entries_total", |entries| entries >= 2.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_task_of_a_worker_is_shown() {
    let config = Arc::new(Config { metrics_public: false, ..Place::shared().config() });
    let metrics = Metrics::new(worker::SERVICE);
    let services = start::connect(&config, &metrics).await.unwrap();
    let supervisor = services.supervisor.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()));
    let (trigger, shutdown) = shutdown_channel();
    let served = tokio::spawn(worker::run(listener, config, services, metrics, shutdown));
    is(&client, r#"holdfast_task_up{task="sweep"}"#, 1.0).await;
    is(&client, r#"holdfast_task_restarts_total{task="sweep"}"#, 0.0).await;
    eventually("it panics", PATIENCE, async || {
        supervisor.inject_panic("sweep");
        supervisor.restarts("sweep") > 0
    })
    .await;
    is(&client, r#"holdfast_task_up{task="sweep"}"#, 0.0).await;
    let restarts = supervisor.restarts("sweep") as f64;
    is(&client, r#"holdfast_task_restarts_total{task="sweep"}"#, restarts).await;
    is(&client, r#"holdfast_worker_task_restarts_total{task="sweep"}"#, restarts).await;
    is(&client, r#"holdfast_task_up{task="sweep"}"#, 1.0).await;
    let build = format!(
        r#"holdfast_build_info{{service="holdfast-worker",version="{}"}}"#,
        env!("CARGO_PKG_VERSION")
    );
    is(&client, &build, 1.0).await;
    trigger.request();
    served.await.unwrap().unwrap();
}
