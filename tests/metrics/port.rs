//! The API's port for monitoring.

use holdfast::config::Config;

use super::*;

/// A name that leads to this machine and is not one of ours.
const REBOUND: &str = "evil.example";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_port_serves_metrics_and_health_and_the_public_one_no_metrics() {
    let place = Place::shared();
    let api = Api::program(&place, &[("HOLDFAST_METRICS_PUBLIC", "false")]).await;
    let monitoring = api.monitoring();
    let text = monitoring.get("/metrics").send().await;
    assert_eq!(text.status, 200);
    assert!(text.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert!(text.text().contains("holdfast_build_info{"), "{}", text.text());
    api.get("/metrics").send().await.problem(404, "route_unknown");
    eventually("it is ready", PATIENCE, async || {
        monitoring.get("/health").send().await.status == 200
    })
    .await;
    for path in ["/health", "/health/ready"] {
        let health = monitoring.get(path).send().await.json(200);
        assert_eq!(health["service"], "holdfast-api");
    }
    assert_eq!(monitoring.get("/health/live").send().await.json(200)["status"], "ok");
    // Nothing else is there.
    for path in ["/", "/api/v1/events", "/console"] {
        assert_eq!(monitoring.get(path).send().await.status, 404, "{path}");
    }
    // A page of another site cannot read metrics by a name that leads here.
    let rebound = monitoring.get("/metrics").header("Host", REBOUND).send().await;
    assert_eq!(rebound.json(403)["error"], "host_forbidden");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn public_port_serves_metrics_where_that_is_set() {
    let api = Api::here(Config { metrics_public: true, ..Place::shared().config() }).await;
    let text = api.get("/metrics").send().await.text();
    assert!(text.contains("holdfast_build_info{"), "{text}");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn monitoring_survives_a_panic_of_its_server() {
    let api = Api::here(Place::shared().config()).await;
    let monitoring = api.monitoring();
    assert_eq!(monitoring.get("/health/live").send().await.status, 200);
    api.supervisor().inject_panic("monitoring");
    eventually("it is back", PATIENCE, async || {
        let restarts = api.supervisor().restarts("monitoring");
        let reply = monitoring.get("/health/live").try_send().await;
        restarts == 1 && reply.is_ok_and(|reply| reply.status == 200)
    })
    .await;
    api.stop().await;
}
