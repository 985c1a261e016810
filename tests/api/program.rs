//! The program itself: its log, its shutdown, and its errors at start.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::is_time;
use crate::support::api::{Api, Place, places};
use crate::support::eventually;
use crate::support::process::Process;

const PROGRAM: &str = env!("CARGO_BIN_EXE_holdfast-api");
/// Timeout of an ordinary response.
const ANSWER: Duration = Duration::from_secs(5);
/// Timeout of a failed start: the longest wait for an unavailable service.
const REFUSED_START: Duration = Duration::from_secs(30);
const LOG_FIELDS: [&str; 5] = ["timestamp", "level", "service", "message", "target"];

#[tokio::test]
async fn booking_changes_are_logged_with_their_trace() {
    let api = Api::program(&Place::shared(), &[("HOLDFAST_CONFIRM_WAIT_MS", "0")]).await;
    let event = api.event(places(5)).await;
    let body = json!({ "event_id": event, "seat_ids": [1] });
    let held = api.post("/api/v1/bookings").user("ann").json(body).send().await;
    let booking = held.json(201);
    api.act("ann", &booking, "extend").await.json(200);
    let cancelled = api.act("ann", &booking, "cancel").await;
    for (reply, message) in [(&held, "booking created"), (&cancelled, "booking cancelled")] {
        let has_message = |line: &Value| line["message"] == message;
        let line = api.process().log_line(message, has_message).await;
        assert_eq!(line["trace_id"].as_str(), reply.header("x-trace-id"));
        let expected = [
            ("event_id", json!(event)),
            ("user_id", "ann".into()),
            ("booking_id", booking["id"].clone()),
            ("service", "holdfast-api".into()),
            ("level", "info".into()),
        ];
        for (name, value) in expected {
            assert_eq!(line[name], value, "{line}");
        }
        assert!(line["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{line}");
    }
    for line in api.process().log_lines() {
        let fields = line.as_object().unwrap();
        assert!(LOG_FIELDS.iter().all(|name| fields.contains_key(*name)), "{line}");
        let is_plain = |value: &Value| !value.is_object() && !value.is_null();
        assert!(is_time(&line["timestamp"]) && fields.values().all(is_plain), "{line}");
    }
}

#[tokio::test]
async fn sigterm_finishes_requests_in_progress() {
    let settings = [("HOLDFAST_SHUTDOWN_NOTICE_MS", "1500")];
    let api = Api::program(&Place::shared(), &settings).await;
    let event = api.event(places(5)).await;
    let body = json!({ "event_id": event, "seat_ids": [1] }).to_string();
    let head = format!(
        "POST /api/v1/bookings?user_id=ann HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // Half of a request arrives before SIGTERM, the other half after.
    let (begin, end) = body.split_at(10);
    let mut in_progress = api.raw(format!("{head}{begin}").as_bytes()).await;
    eventually("it is in progress", ANSWER, async || {
        api.metric("holdfast_http_in_flight").await == 2.0
    })
    .await;
    // It serves before it is ready.
    eventually("it is ready", ANSWER, async || api.get("/health/ready").send().await.status == 200)
        .await;
    // Taken before, as the process may receive the signal at once.
    let terminated = Instant::now();
    api.process().terminate();
    let mut ending = None;
    eventually("readiness turns 503", Duration::from_secs(1), async || {
        let ready = api.get("/health/ready").send().await;
        ending = (ready.status == 503).then(|| ready.json(503)["status"].clone());
        ending.is_some()
    })
    .await;
    assert_eq!(ending, Some(json!("ending")));
    // New requests are still served while load balancers notice. Each ends its connection, so that a
    // proxy keeps none that the process is about to close.
    for path in ["/api/v1/events".to_owned(), format!("/api/v1/events/{event}/seats")] {
        let served = api.get(&path).send().await;
        served.json(200);
        assert_eq!(served.header("connection"), Some("close"), "{path}");
    }
    eventually("no new connection is accepted", ANSWER, async || {
        let fresh = crate::support::http::Client::new(&format!("http://{}", api.address()));
        fresh.get("/health/live").try_send().await.is_err()
    })
    .await;
    let waited = terminated.elapsed();
    assert!(waited >= Duration::from_millis(1_500), "{waited:?}");
    assert_eq!(api.process().exited(), None, "a request is still in progress");
    in_progress.send(end.as_bytes()).await;
    let answer = in_progress.answer(ANSWER).await;
    assert_eq!(answer.json(201)["status"], "HOLD");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(api.process().ended(ANSWER).await.success());
    let last = api.process().log_lines().pop().unwrap();
    assert_eq!(last["message"], "ended in order");
}

/// Starts the program with these settings, and checks its error.
async fn refused(place: &Place, settings: &[(&str, &str)], expected: &[&str]) {
    let program = Process::start(PROGRAM, &place.environment(settings));
    let status = program.ended(REFUSED_START).await;
    let error = program.error_text();
    assert_eq!(status.code(), Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "one line: {error}");
    let line: Value = serde_json::from_str(&error).expect("a line of the log");
    assert_eq!((&line["level"], &line["service"]), (&json!("error"), &json!("holdfast-api")));
    let message = line["message"].as_str().unwrap();
    for text in expected {
        assert!(message.contains(text), "{text}: {error}");
    }
    assert!(program.log_lines().iter().all(|line| line["message"] != "serving"));
}

#[tokio::test]
async fn failed_start_is_told_in_the_chosen_format() {
    let place = Place::shared();
    let many = ("HOLDFAST_PARTITIONS", "many");
    let program =
        Process::start(PROGRAM, &place.environment(&[many, ("HOLDFAST_LOG_FORMAT", "text")]));
    assert_eq!(program.ended(REFUSED_START).await.code(), Some(1));
    let error = program.error_text();
    assert!(error.starts_with("holdfast-api: HOLDFAST_PARTITIONS=\"many\": "), "{error}");
}

#[tokio::test]
async fn start_without_a_service_names_it() {
    let place = Place::shared();
    let nowhere = "127.0.0.1:1";
    let redis = format!("redis://:secret@{nowhere}");
    let no_wait = ("HOLDFAST_START_WAIT_SECONDS", "0");
    let away = [("HOLDFAST_REDIS_URL", redis.as_str()), no_wait];
    refused(&place, &away, &[nowhere, "Start Redis, or set HOLDFAST_REDIS_URL"]).await;
    let mongodb = format!("mongodb://{nowhere}");
    let prompt = ("HOLDFAST_MONGODB_TIMEOUT_MS", "500");
    let away = [("HOLDFAST_MONGODB_URL", mongodb.as_str()), prompt, no_wait];
    refused(&place, &away, &[nowhere, "Start MongoDB, or set HOLDFAST_MONGODB_URL"]).await;
}

#[tokio::test]
async fn start_with_wrong_settings_says_why() {
    let place = Place::shared();
    let open = ("HOLDFAST_LISTEN", "0.0.0.0:0");
    let secret = format!("k1:{}", "cd".repeat(32));
    let secret = ("HOLDFAST_TOKEN_SECRETS", secret.as_str());
    let keyless = [open, ("HOLDFAST_IDENTITY_PROXIES", "10.0.0.1"), secret];
    refused(&place, &keyless, &["open to the network", "HOLDFAST_ADMIN_KEYS_SHA256"]).await;
    let key = format!("ops:{}", "ab".repeat(32));
    let key = ("HOLDFAST_ADMIN_KEYS_SHA256", key.as_str());
    let none = ("HOLDFAST_TOKEN_SECRETS", "");
    let forgeable = [open, ("HOLDFAST_IDENTITY_PROXIES", "10.0.0.1"), key, none];
    refused(&place, &forgeable, &["open to the network", "HOLDFAST_TOKEN_SECRETS"]).await;
    let short = [("HOLDFAST_TOKEN_SECRETS", "k1:hunter2")];
    refused(&place, &short, &["token_secrets", "7 bytes; it needs 32 at least"]).await;
    let credulous = [open, key, secret];
    refused(&place, &credulous, &["open to the network", "identity_proxies"]).await;
    let balancer = ("HOLDFAST_TRUSTED_PROXIES", "10.0.0.1");
    let balanced = [open, key, secret, balancer];
    refused(&place, &balanced, &["trusts nobody there", "identity_proxies"]).await;
    let local_balancer = [("HOLDFAST_TRUSTED_PROXIES", "127.0.0.0/8")];
    refused(&place, &local_balancer, &["trusts nobody", "identity_proxies"]).await;
    let anybody = [open, key, secret, ("HOLDFAST_IDENTITY_PROXIES", "0.0.0.0/0")];
    refused(&place, &anybody, &["identity_proxies: 0.0.0.0/0", "anybody could be anybody"]).await;
    let every_site = [("HOLDFAST_CORS_ORIGINS", "*")];
    refused(&place, &every_site, &["cors_origins = \"*\"", "name the sites"]).await;
    let unsigned = [
        ("HOLDFAST_AUTH", "jwt"),
        ("HOLDFAST_JWT_AUDIENCE", "tickets"),
        ("HOLDFAST_JWT_KEY_FILES", "/no/such/file"),
    ];
    refused(&place, &unsigned, &["jwt_key_files: /no/such/file: cannot be read"]).await;
    let misspelt = [("HOLDFAST_LISTENS", "x")];
    refused(&place, &misspelt, &["HOLDFAST_LISTENS", "did you mean HOLDFAST_LISTEN?"]).await;
    let many = [("HOLDFAST_PARTITIONS", "many")];
    refused(&place, &many, &["HOLDFAST_PARTITIONS=\"many\"", "not a whole number"]).await;

    let api = Api::program(&place, &[]).await;
    let taken = [("HOLDFAST_LISTEN", api.address())];
    refused(&place, &taken, &["cannot listen on", api.address()]).await;
    let other = [("HOLDFAST_PARTITIONS", "4")];
    refused(&place, &other, &["16", "4", "partitions"]).await;
}
