//! The settings of identity and of TLS to Redis take effect.

use serde_json::json;

use super::{DONE, Reloaded, api_with, jwt_settings, settings_file};
use crate::support::api::{Api, Place, places};
use crate::support::eventually;
use crate::support::tokens::{self as jwt, RSA, SECRET, key_file, secret_file};

/// What the tests of this file prove; those of TLS are proven in `tests/tls`.
pub const PROVEN: [&str; 9] = [
    "jwt_algorithm",
    "jwt_key_files",
    "jwt_audience",
    "jwt_issuer",
    "jwt_backend_claims",
    "jwt_leeway_seconds",
    "redis_tls_ca_file",
    "redis_tls_cert_file",
    "redis_tls_key_file",
];

async fn status(api: &Api, token: &str) -> u16 {
    api.get("/api/v1/bookings")
        .header("Accept", "*/*")
        .header("User-Agent", "Mozilla/5.0")
        .token(token)
        .send()
        .await
        .status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_tokens_take_effect() {
    let secret = secret_file(SECRET);
    let file = settings_file(&jwt_settings(&[&secret], "limits = \"each\""));
    let place = Place::shared();
    let api = api_with(&place, &file).await;
    let running = Reloaded { process: api.process(), file };
    let event = api.event(places(2)).await;
    let (token, of_rsa) = (jwt::token("ann"), jwt::rs256(RSA, &jwt::claims("ann")));
    let hs256 = |name: &str, value| jwt::hs256(SECRET, &jwt::claims_but("ann", name, value));

    assert_eq!((status(&api, &token).await, status(&api, &of_rsa).await), (200, 401));
    let public = key_file("rs256-public.pem");
    running.adopt(&jwt_settings(&[&public], "jwt_algorithm = \"RS256\"")).await;
    assert_eq!((status(&api, &token).await, status(&api, &of_rsa).await), (401, 200));
    running.adopt(&jwt_settings(&[&secret], "")).await;

    let other = hs256("iss", json!("https://other.example"));
    assert_eq!(status(&api, &other).await, 200);
    let issuer = format!("jwt_issuer = \"{}\"", jwt::ISSUER);
    running.adopt(&jwt_settings(&[&secret], &issuer)).await;
    assert_eq!((status(&api, &other).await, status(&api, &token).await), (401, 200));

    let late = hs256("exp", json!(jwt::now_seconds() - 100));
    assert_eq!(status(&api, &late).await, 401);
    running.adopt(&jwt_settings(&[&secret], "jwt_leeway_seconds = 600")).await;
    assert_eq!(status(&api, &late).await, 200);

    let other = hs256("aud", json!("another"));
    assert_eq!(status(&api, &other).await, 401);
    running.adopt(&jwt_settings(&[&secret], "").replace(jwt::AUDIENCE, "another")).await;
    assert_eq!((status(&api, &other).await, status(&api, &token).await), (200, 401));

    let shop = hs256("roles", json!(["shop"]));
    let is_bot = async || {
        let body = json!({ "event_id": event, "seat_ids": [1] });
        let ask = api.post("/api/v1/bookings").token(&shop).header("User-Agent", "curl/8");
        let reply = ask.header("Accept", "*/*").json(body).send().await;
        reply.text().contains("automated_access")
    };
    running.adopt(&jwt_settings(&[&secret], "limits = \"each\"")).await;
    assert!(is_bot().await);
    let claims = "limits = \"each\"\njwt_backend_claims = [\"roles=shop\"]";
    running.adopt(&jwt_settings(&[&secret], claims)).await;
    assert!(!is_bot().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hang_ups_in_quick_succession_end_with_the_newest_settings() {
    let secret = secret_file(SECRET);
    let file = settings_file(&jwt_settings(&[&secret], "docs_enabled = true"));
    let place = Place::shared();
    let api = api_with(&place, &file).await;
    for number in 0..10 {
        let text = format!("docs_enabled = {}", number % 2 == 0);
        std::fs::write(&file, jwt_settings(&[&secret], &text)).unwrap();
        api.process().hang_up();
    }
    eventually("the last one counts", DONE, async || api.get("/docs").send().await.status == 404)
        .await;
}
