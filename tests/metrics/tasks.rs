//! Panics and restarted tasks, in a worker that the test serves itself.

use std::net::TcpListener;
use std::sync::Arc;

use holdfast::config::Config;
use holdfast::lifecycle::shutdown_channel;
use holdfast::telemetry::Metrics;
use holdfast::{start, worker};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panic_of_a_workers_task_is_counted_and_shown() {
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
    // Other tests of this process panic, too.
    let panics = value(&exported(&client).await, "holdfast_panics_total").unwrap();
    eventually("it panics", PATIENCE, async || {
        supervisor.inject_panic("sweep");
        supervisor.restarts("sweep") > 0
    })
    .await;
    is(&client, r#"holdfast_task_up{task="sweep"}"#, 0.0).await;
    let restarts = supervisor.restarts("sweep") as f64;
    is(&client, r#"holdfast_task_restarts_total{task="sweep"}"#, restarts).await;
    is(&client, r#"holdfast_worker_task_restarts_total{task="sweep"}"#, restarts).await;
    shows(&client, "holdfast_panics_total", |now| now >= panics + restarts).await;
    is(&client, r#"holdfast_task_up{task="sweep"}"#, 1.0).await;
    let build = format!(
        r#"holdfast_build_info{{service="holdfast-worker",version="{}"}}"#,
        env!("CARGO_PKG_VERSION")
    );
    is(&client, &build, 1.0).await;
    trigger.request();
    served.await.unwrap().unwrap();
}
