//! `health`: ready, not ready, and unavailable.

use serde_json::Value;

use super::Shop;
use crate::support::api::{Api, Place};
use crate::support::eventually;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

#[tokio::test]
async fn health_shows_whether_a_program_is_ready() {
    let shop = Shop::any().await;
    let api = Api::program(&Place::shared(), &[("HOLDFAST_SHUTDOWN_NOTICE_MS", "30000")]).await;
    let address = api.address().to_owned();
    let listens = [("HOLDFAST_LISTEN", address.as_str())];
    eventually("it is warm", PATIENCE, async || {
        let health = shop.ctl_with("health api --json", &listens).await;
        let is_ready = health.code == 0 && health.stdout.contains("\"ok\"");
        let health_report: Value = serde_json::from_str(&health.stdout).unwrap();
        assert_eq!(health_report["ready"], health.code == 0, "{health:?}");
        assert_eq!(health_report["answer"]["service"], "holdfast-api");
        is_ready && health_report["answer"]["status"] == "ok"
    })
    .await;

    // The wildcard address means this machine.
    let anywhere = address.replace("127.0.0.1", "0.0.0.0");
    let key = format!("ops:{}", "ab".repeat(32));
    let secret = format!("k1:{}", "cd".repeat(32));
    let listens_anywhere = [
        ("HOLDFAST_LISTEN", anywhere.as_str()),
        ("HOLDFAST_ADMIN_KEYS_SHA256", &key),
        ("HOLDFAST_IDENTITY_PROXIES", "10.0.0.0/8"),
        ("HOLDFAST_TOKEN_SECRETS", &secret),
    ];
    let text = shop.ctl_with("health api", &listens_anywhere).await;
    assert!(text.code == 0 && text.stdout.starts_with(&format!("{address} is ready")), "{text:?}");

    // It still answers, and reports that it is ending.
    api.process().terminate();
    api.process()
        .log_line("it ends", |line| {
            line["message"].as_str().is_some_and(|m| m.starts_with("SIGTERM"))
        })
        .await;
    let health = shop.ctl_with("health api --json", &listens).await.json(1);
    assert_eq!(health["answer"]["status"], "ending");

    let nobody = [("HOLDFAST_WORKER_LISTEN", "127.0.0.1:1")];
    let refused = shop.ctl_with("health worker", &nobody).await;
    assert!(refused.refusal().contains("127.0.0.1:1 does not answer"), "{refused:?}");
}
