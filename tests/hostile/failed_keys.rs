//! Guessed admin keys are logged, and limited in every mode of the limits.

use serde_json::Value;

use crate::support::api::{Api, Place};
use crate::support::eventually;

/// printf %s open-sesame | sha256sum
const SESAME: &str = "ops:d7ecdf25eaf3deba0f2628771dbdd22d4138ab6cf38f91ed02a2ca0dec7c8ab7";
const GUESSES: usize = 300;

#[tokio::test]
async fn wrong_admin_keys_are_limited_with_limits_off_and_leave_a_trace() {
    let settings = [("HOLDFAST_LIMITS", "off"), ("HOLDFAST_ADMIN_KEYS_SHA256", SESAME)];
    let api = Api::program(&Place::shared(), &settings).await;
    // Keys can be guessed at any route that checks one.
    let routes = [
        ("/api/v1/events/1/sales.csv", "X-Admin-Key"),
        ("/api/v1/bookings", "X-Admin-Key"),
        ("/api/v1/events/1/blocks", "Authorization"),
    ];
    let mut limited = 0;
    for guess in 0..GUESSES {
        let (path, header) = routes[guess % routes.len()];
        let key = format!("Bearer guess-{guess}");
        let key = if header == "Authorization" { &key } else { &key[7..] };
        let reply = api.get(path).header(header, key).send().await;
        match reply.status {
            403 => {}
            429 => {
                assert!(reply.header("retry-after").is_some());
                limited += 1;
            }
            other => panic!("{path}: {other}"),
        }
    }
    assert!(limited > GUESSES / 2, "{limited} of {GUESSES}");
    // Over the limit even the right key is refused.
    let right = api.get(routes[0].0).header("X-Admin-Key", "open-sesame").send().await;
    right.problem(429, "rate_limit_exceeded");
    let is_warning = |line: &Value| line["level"] == "warn" && line["address"] == "127.0.0.1";
    let line = api.process().log_line("a wrong key is logged", is_warning).await;
    assert!(!line.to_string().contains("guess-"), "{line}");
    let lines = api.process().log_lines().into_iter().filter(is_warning).count();
    assert!((1..=30).contains(&lines), "{lines} lines");
    // After a while it is accepted again.
    eventually("the right key works", super::BOUND, async || {
        let reply = api.get("/api/v1/events/1/blocks").header("X-Admin-Key", "open-sesame");
        reply.send().await.status == 404
    })
    .await;
}
