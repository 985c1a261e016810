//! Who may create and change events.

use holdfast::config::Config;
use serde_json::{Value, json};

use crate::support::api::{Api, Place, places, shared_api};
use crate::support::http::{Client, Reply};

/// printf %s open-sesame | sha256sum
const SESAME: &str = "ops:d7ecdf25eaf3deba0f2628771dbdd22d4138ab6cf38f91ed02a2ca0dec7c8ab7";

async fn create(api: &Client, headers: &[(&str, &str)]) -> Reply {
    let ask = api.post("/api/v1/events").json(places(1));
    headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value)).send().await
}

#[tokio::test]
async fn with_a_key_configured_admin_calls_need_it() {
    let keys = vec![SESAME.parse().unwrap()];
    let config = Config { admin_keys_sha256: keys, ..Place::shared().config() };
    let api = Api::here(config).await;
    let refused = create(&api, &[]).await;
    refused.problem(401, "admin_key_missing");
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    for wrong in [("X-Admin-Key", "open"), ("Authorization", "Bearer open")] {
        create(&api, &[wrong]).await.problem(403, "admin_key_wrong");
    }
    // Another scheme shows no key at all.
    create(&api, &[("Authorization", "Basic open-sesame")]).await.problem(401, "admin_key_missing");
    for right in [("X-Admin-Key", "open-sesame"), ("Authorization", "Bearer open-sesame")] {
        create(&api, &[right]).await.json(201);
    }
    let patch = async |key: &str, body: Value| {
        let ask = api.ask(reqwest::Method::PATCH, "/api/v1/events/1").json(body);
        ask.header("X-Admin-Key", key).send().await
    };
    patch("x", json!({ "status": "PAUSED" })).await.problem(403, "admin_key_wrong");
    assert_eq!(patch("open-sesame", json!({ "status": "PAUSED" })).await.json(200)["id"], 1);
    // Buyers need no key.
    api.get("/api/v1/events/1").send().await.json(200);
    let refused = r#"holdfast_gate_verdicts_total{gate="admin",verdict="refused"}"#;
    assert_eq!(api.labelled_metric(refused).await, 5.0);
    api.stop().await;
}

#[tokio::test]
async fn without_a_key_a_forwarded_call_is_not_local() {
    let api = shared_api().await;
    create(&api, &[]).await.json(201);
    for forwarded in [("X-Forwarded-For", "127.0.0.1"), ("Forwarded", "for=127.0.0.1")] {
        create(&api, &[forwarded]).await.problem(401, "admin_key_missing");
    }
}
