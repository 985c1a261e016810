//! The console's routes, below `/api/v1/admin`.

mod bookings;
mod checks;
mod log;
mod overview;
mod report;
mod settings;

use std::time::Duration;

use holdfast::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{Api, Place};
use crate::support::eventually;
use crate::support::http::{Ask, Client, Reply};

/// printf %s open-sesame | sha256sum
const SESAME: &str = "ops:d7ecdf25eaf3deba0f2628771dbdd22d4138ab6cf38f91ed02a2ca0dec7c8ab7";
const KEY: &str = "open-sesame";

/// A server with an admin key.
async fn keyed(place: &Place) -> Api {
    let keys = vec![SESAME.parse().unwrap()];
    Api::here(Config { admin_keys_sha256: keys, ..place.config() }).await
}

/// Sends a request with the key.
async fn ops(ask: Ask) -> Reply {
    ask.header("X-Admin-Key", KEY).send().await
}

/// Reads a route of the console.
async fn read(api: &Client, path: &str) -> Value {
    ops(api.get(&format!("/api/v1/admin/{path}"))).await.json(200)
}

/// Creates an event.
async fn event(api: &Client, body: Value) -> u64 {
    ops(api.post("/api/v1/events").json(body)).await.json(201)["id"].as_u64().unwrap()
}

/// Holds seats and pays for them; the booking.
async fn sold(api: &Client, user: &str, event: u64, seats: &[u32]) -> Value {
    let booking = api.held(user, event, seats).await;
    eventually("it is sold", Duration::from_secs(60), async || {
        let reply = api.act(user, &booking, "confirm").await;
        reply.status == 200 && reply.json(200)["status"] == "CONFIRMED"
    })
    .await;
    booking
}

/// Every route of the console; of event 4000000000, which there is none of, and of a booking likewise.
const ROUTES: [(Method, &str); 17] = [
    (Method::GET, "whoami"),
    (Method::GET, "overview"),
    (Method::GET, "events/4000000000/bookings"),
    (Method::GET, "search"),
    (Method::GET, "bookings/019b3c5e-0a4c-8f00-8000-000040e1f2a3"),
    (Method::GET, "events/4000000000/log"),
    (Method::GET, "events/4000000000/report"),
    (Method::GET, "events/4000000000/demand"),
    (Method::POST, "checks/verify"),
    (Method::POST, "checks/reconcile"),
    (Method::GET, "limits"),
    (Method::PATCH, "limits"),
    (Method::GET, "access"),
    (Method::GET, "dead-letters"),
    (Method::POST, "dead-letters/3:1-0/replay"),
    (Method::GET, "audit"),
    (Method::GET, "waiting-rooms"),
];

#[tokio::test]
async fn each_route_wants_the_right_key() {
    let api = keyed(&Place::shared()).await;
    let document = api.get("/openapi.json").send().await.json(200);
    let paths = document["paths"].as_object().unwrap().iter();
    let admin = paths.filter(|(path, _)| path.starts_with("/api/v1/admin/"));
    let documented: usize = admin.map(|(_, methods)| methods.as_object().unwrap().len()).sum();
    assert_eq!(documented, ROUTES.len(), "the list has every route");
    for (method, path) in ROUTES {
        let path = format!("/api/v1/admin/{path}");
        let ask = || match method {
            Method::GET => api.get(&path),
            _ => api.ask(method.clone(), &path).json(json!({})),
        };
        ask().send().await.problem(401, "admin_key_missing");
        ask().header("X-Admin-Key", "open").send().await.problem(403, "admin_key_wrong");
        let bearer = ask().header("Authorization", &format!("Bearer {KEY}")).send().await;
        assert!(![401, 403].contains(&bearer.status), "{path}: {}", bearer.status);
        assert_eq!(bearer.header("cache-control"), Some("no-store"), "{path}");
        let misspelt = api.ask(method.clone(), &format!("{path}?evnt=1"));
        ops(misspelt).await.problem(400, "invalid_parameter");
    }
    api.stop().await;
}

#[tokio::test]
async fn server_says_who_its_admin_is_and_what_it_is() {
    let place = Place::shared();
    let api = keyed(&place).await;
    let known = read(&api, "whoami").await;
    let facts = ["name", "is_open", "is_development", "payment_provider", "is_payment_simulated"];
    assert_eq!(
        facts.map(|name| known[name].clone()),
        [json!("ops"), json!(false), json!(false), json!("simulated"), json!(true)]
    );
    assert!(super::is_time(&known["now"]), "{known}");
    api.stop().await;
    let open = Api::here(place.config()).await;
    let known = open.get("/api/v1/admin/whoami").send().await.json(200);
    assert_eq!(
        facts.map(|name| known[name].clone())[..3],
        [json!("loopback"), json!(true), json!(true)]
    );
    let forwarded = open.get("/api/v1/admin/whoami").header("X-Forwarded-For", "10.1.1.1");
    forwarded.send().await.problem(401, "admin_key_missing");
    open.stop().await;
}
