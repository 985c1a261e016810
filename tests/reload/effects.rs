//! Each setting that a reload changes takes effect.

use std::collections::BTreeSet;

use holdfast::config::Config;
use serde_json::{Value, json};

use super::{KEY, KEY_SHA256, Reloaded, api_with, settings_file};
use crate::support::api::{Api, Place, places};

/// What the test below proves.
const TRUSTED: [&str; 20] = [
    "docs_enabled",
    "public_availability",
    "seat_map_max_age_seconds",
    "cors_origins",
    "cors_extra_headers",
    "payment_webhook_secret",
    "admin_keys_sha256",
    "admin_key_failures_per_minute",
    "trusted_proxies",
    "identity_proxies",
    "proxy_header",
    "allowed_hosts",
    "profile",
    "limits",
    "limit_rules",
    "bot_mode",
    "bot_user_agents",
    "bot_required_headers",
    "token_secrets",
    "log_level",
];

#[test]
fn every_reloadable_setting_is_proven_to_take_effect() {
    let proven = [&TRUSTED[..], &super::tokens::PROVEN, &super::worker::PROVEN].concat();
    let reloadable: BTreeSet<&str> = Config::reloadable().into_iter().collect();
    assert_eq!(proven.len(), proven.iter().collect::<BTreeSet<_>>().len());
    assert_eq!(proven.into_iter().collect::<BTreeSet<&str>>(), reloadable);
}

/// Settings that are there throughout.
const BASE: &str = "token_secrets = [\"k1:0123456789abcdef0123456789abcdef\"]\nlimits = \"each\"\n";

async fn code(reply: crate::support::http::Reply) -> (u16, String) {
    let body: Value = serde_json::from_str(&reply.text()).unwrap_or_default();
    (reply.status, body["error"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_pages_and_responses_take_effect() {
    let file = settings_file(BASE);
    let place = Place::shared();
    let api = api_with(&place, &file).await;
    let running = Reloaded { process: api.process(), file };
    let event = api.event(places(4)).await;
    let availability = format!("/api/v1/events/{event}/availability");
    let shown = async || api.get(&availability).send().await;

    assert_ne!(api.get("/docs").send().await.status, 404);
    running.adopt(&format!("{BASE}docs_enabled = false")).await;
    assert_eq!(api.get("/docs").send().await.status, 404);

    assert!(shown().await.json(200)["available_seats"].is_number());
    running.adopt(&format!("{BASE}public_availability = \"coarse\"")).await;
    assert!(!shown().await.json(200)["available_seats"].is_number());
    running.adopt(&format!("{BASE}seat_map_max_age_seconds = 7")).await;
    assert_eq!(shown().await.header("cache-control"), Some("public, max-age=7"));

    let site = "https://shop.example";
    let from_site = async || api.get(&availability).header("Origin", site).send().await;
    let allowed = "access-control-allow-origin";
    assert_eq!(from_site().await.header(allowed), None);
    let origins = format!("{BASE}cors_origins = [\"{site}\"]\n");
    running.adopt(&origins).await;
    assert_eq!(from_site().await.header(allowed), Some(site));
    let preflight = async || {
        let ask = api.ask(reqwest::Method::OPTIONS, "/api/v1/bookings").header("Origin", site);
        let ask = ask.header("Access-Control-Request-Method", "POST");
        ask.header("Access-Control-Request-Headers", "x-shop").send().await.status
    };
    assert_eq!(preflight().await, 400);
    running.adopt(&format!("{origins}cors_extra_headers = [\"x-shop\"]")).await;
    assert_eq!(preflight().await, 200);
    running.adopt(BASE).await;
    assert_eq!(from_site().await.header(allowed), None);

    let webhook =
        async || code(api.post("/webhooks/payments").json(json!({})).send().await).await.1;
    assert_eq!(webhook().await, "webhooks_off");
    running.adopt(&format!("{BASE}payment_webhook_secret = \"{}\"", "x".repeat(32))).await;
    assert_ne!(webhook().await, "webhooks_off");

    let ticket = async || {
        let path = format!("/api/v1/events/{event}/socket-ticket");
        let ticket = api.post(&path).user("ann").send().await;
        ticket.text()
    };
    assert!(ticket().await.contains("k1."));
    let secrets = "token_secrets = [\"k2:fedcba9876543210fedcba9876543210\", \
        \"k1:0123456789abcdef0123456789abcdef\"]\n";
    // What is to sign is known everywhere before it does.
    let line = running.reload(secrets).await;
    assert!(line["reason"].as_str().unwrap().contains("put it behind the others"), "{line}");
    let behind = "token_secrets = [\"k1:0123456789abcdef0123456789abcdef\", \
        \"k2:fedcba9876543210fedcba9876543210\"]\n";
    running.adopt(behind).await;
    assert!(ticket().await.contains("k1."));
    running.adopt(secrets).await;
    assert!(ticket().await.contains("k2."));
    // What signs now must stay.
    let line = running.reload(BASE).await;
    assert!(line["reason"].as_str().unwrap().contains("the secret that signs now"), "{line}");
    assert!(ticket().await.contains("k2."));

    let debug = || running.process.log_lines().iter().any(|line| line["level"] == "debug");
    assert!(!debug());
    running.adopt(&format!("{secrets}log_level = \"debug\"")).await;
    api.get(&availability).header("Origin", site).send().await;
    crate::support::eventually("debug lines", super::DONE, async || debug()).await;
}

/// The result of a wrong admin key from a client behind a proxy.
async fn wrong_key(api: &Api, header: &str, value: &str) -> u16 {
    let ask = api.get("/api/v1/admin/whoami").header("X-Admin-Key", "wrong");
    ask.header(header, value).send().await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_callers_take_effect() {
    let file = settings_file(BASE);
    let place = Place::shared();
    let api = api_with(&place, &file).await;
    let running = Reloaded { process: api.process(), file };

    let host =
        async || code(api.get("/api/v1/events").header("Host", "shop.test").send().await).await;
    assert_eq!(host().await.1, "host_forbidden");
    running.adopt(&format!("{BASE}allowed_hosts = [\"shop.test\"]")).await;
    assert_eq!(host().await.0, 200);

    let whoami = async || api.get("/api/v1/admin/whoami").send().await.status;
    assert_eq!(whoami().await, 200);
    let keys = format!("{BASE}admin_keys_sha256 = [\"ops:{KEY_SHA256}\"]\n");
    running.adopt(&keys).await;
    assert_eq!(whoami().await, 401);
    let with_key = api.get("/api/v1/admin/whoami").header("X-Admin-Key", KEY).send().await.status;
    assert_eq!(with_key, 200);

    // An address that an admin uses is only refused wrong keys.
    let keys = format!("{keys}admin_key_failures_per_minute = 1\n");
    running.adopt(&keys).await;
    assert_eq!(wrong_key(&api, "X-Other", "x").await, 403);
    assert_eq!(wrong_key(&api, "X-Other", "x").await, 429);

    // Without a trusted proxy, its header is not believed.
    assert_eq!(wrong_key(&api, "X-Forwarded-For", "9.9.9.1").await, 429);
    let named = async || {
        api.get("/api/v1/bookings?user_id=ann").header("Accept", "*/*").send().await.status
    };
    assert_eq!(named().await, 200);
    let proxies = "trusted_proxies = [\"127.0.0.1\"]\nidentity_proxies = [\"127.0.0.1\"]\n";
    running.adopt(&format!("{keys}{proxies}")).await;
    assert_eq!(named().await, 401, "a gateway names users by its header alone");
    for client in ["9.9.9.2", "9.9.9.3"] {
        assert_eq!(wrong_key(&api, "X-Forwarded-For", client).await, 403);
    }
    running.adopt(&format!("{keys}{proxies}proxy_header = \"forwarded\"\n")).await;
    assert_eq!(wrong_key(&api, "Forwarded", "for=9.9.9.4").await, 403);
    assert_eq!(wrong_key(&api, "Forwarded", "for=9.9.9.5").await, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_limits_and_bots_take_effect() {
    let file = settings_file(BASE);
    let place = Place::shared();
    let api = api_with(&place, &file).await;
    let running = Reloaded { process: api.process(), file };
    let event = api.event(places(4)).await;
    let hold = async |agent: &str| {
        let body = json!({ "event_id": event, "seat_ids": [1] });
        let ask = api.post("/api/v1/bookings").user("ann").header("User-Agent", agent);
        code(ask.header("Accept", "*/*").json(body).send().await).await
    };
    // Programs elsewhere are refused, by default; on this machine they are observed.
    let proxies =
        format!("{BASE}trusted_proxies = [\"127.0.0.1\"]\nidentity_proxies = [\"127.0.0.1\"]\n");
    running.adopt(&proxies).await;
    let is_bot = async |agent: &str| {
        let ask = api.get("/api/v1/events").header("User-Agent", agent);
        let ask = ask.header("Accept", "*/*").header("X-Forwarded-For", "9.9.9.9");
        code(ask.send().await).await.1 == "automated_access"
    };
    assert!(is_bot("curl/8").await && !is_bot("Mozilla/5.0").await);
    running.adopt(&format!("{proxies}bot_user_agents = [\"^shopbot\"]")).await;
    assert!(is_bot("shopbot").await && !is_bot("curl/8").await);
    running.adopt(&format!("{proxies}bot_required_headers = [\"x-shop\"]")).await;
    assert!(is_bot("Mozilla/5.0").await);
    running.adopt(&format!("{proxies}bot_mode = \"off\"")).await;
    assert!(!is_bot("curl/8").await);

    running.adopt(BASE).await;
    let profile =
        async || api.get("/api/v1/admin/limits").send().await.json(200)["profile"]["value"].clone();
    assert_eq!(profile().await, "standard");
    running.adopt(&format!("{BASE}profile = \"strict\"\n")).await;
    assert_eq!(profile().await, "strict");

    let rule = "limit_rules = [{ name = \"few\", scope = \"user\", routes = [\"hold\"], quota = 1, \
        window_seconds = 600, mode = \"enforce\" }]\n";
    running.adopt(&format!("{BASE}{rule}")).await;
    hold("Mozilla/5.0").await;
    assert_eq!(hold("Mozilla/5.0").await.0, 429);
    running.adopt(&format!("{}{rule}", BASE.replace("each", "off"))).await;
    assert_ne!(hold("Mozilla/5.0").await.0, 429);
}
