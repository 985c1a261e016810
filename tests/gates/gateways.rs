//! Sources that may name users: gateways by their header and callers on this machine directly, but
//! not load balancers.

use serde_json::json;

use super::crowd::BROWSER;
use crate::support::api::{Api, Place, places};
use crate::support::http::{Ask, Client};

/// Proxies on this machine: one forwards addresses, the other names users, too.
const BALANCER: &str = "127.0.0.5";
const GATEWAY: &str = "127.0.0.6";
const PROXIES: [(&str, &str); 2] = [
    ("HOLDFAST_TRUSTED_PROXIES", "127.0.0.5, 127.0.0.6"),
    ("HOLDFAST_IDENTITY_PROXIES", "127.0.0.6"),
];
const BOOKINGS: &str = "/api/v1/bookings";
/// Headers by which proxies mark forwarded requests.
const FORWARDING: [(&str, &str); 7] = [
    ("Via", "1.1 proxy"),
    ("X-Real-IP", "203.0.113.9"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Forwarded-Host", "tickets.example"),
    ("X-Forwarded-Proto", "https"),
    ("Forwarded", "for=127.0.0.1"),
    ("CF-Connecting-IP", "127.0.0.1"),
];

fn forwarded(ask: Ask) -> Ask {
    ask.header("X-Forwarded-For", "203.0.113.9").header(BROWSER.0, BROWSER.1)
}

/// A booking that Ann makes through the gateway.
async fn held_by_ann(api: &Api, gateway: &Client) -> String {
    let event = api.event(places(4)).await;
    let body = json!({ "event_id": event, "seat_ids": [1] });
    let held = forwarded(gateway.post(BOOKINGS).user("ann")).json(body).send().await.json(201);
    held["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn parameter_behind_a_gateway_names_no_user() {
    let api = Api::program(&Place::shared(), &PROXIES).await;
    let gateway = api.from(GATEWAY);
    let booking = format!("{BOOKINGS}/{}", held_by_ann(&api, &gateway).await);
    // The gateway has removed the client's X-User-Id, as documented, and signed no one in.
    let list = forwarded(gateway.get(&format!("{BOOKINGS}?user_id=ann"))).send().await;
    list.problem(401, "identity_untrusted");
    let delete = gateway.ask(reqwest::Method::DELETE, &format!("{booking}?user_id=ann"));
    forwarded(delete).send().await.problem(401, "identity_untrusted");
    for path in ["/api/v1/events/1/stream?user%5Fid=ann", "/ws/events/1?user_id=ann"] {
        forwarded(gateway.get(path)).send().await.problem(401, "identity_untrusted");
    }
    // It has signed Eve in.
    let other = forwarded(gateway.get(&format!("{BOOKINGS}?user_id=ann")).user("eve"));
    other.send().await.problem(400, "identity_conflict");
    // The same for a request that it forwards unmarked.
    let silent = gateway.get(&format!("{BOOKINGS}?user_id=ann"));
    silent.send().await.problem(401, "identity_untrusted");
    let seen = forwarded(gateway.get(&booking).user("ann")).send().await.json(200);
    assert_eq!(seen["status"], "HOLD", "{seen}");
}

#[tokio::test]
async fn load_balancer_names_no_user() {
    let api = Api::program(&Place::shared(), &PROXIES).await;
    let booking = format!("{BOOKINGS}/{}", held_by_ann(&api, &api.from(GATEWAY)).await);
    let balancer = api.from(BALANCER);
    for ask in [
        forwarded(balancer.get(&booking).user("ann")),
        forwarded(balancer.get(&format!("{booking}?user_id=ann"))),
        balancer.get(&booking).user("ann"),
        balancer.get(&format!("{booking}?user_id=ann")),
    ] {
        ask.send().await.problem(401, "identity_untrusted");
    }
    // Its addresses are trusted: two clients have limits of their own.
    forwarded(balancer.get("/api/v1/events")).send().await.json(200);
}

#[tokio::test]
async fn forwarded_request_on_this_machine_is_anonymous() {
    let api = Api::program(&Place::shared(), &[]).await;
    for (name, value) in FORWARDING {
        let create = api.post("/api/v1/events").json(places(1)).header(name, value).send().await;
        assert_eq!(create.status, 401, "{name}: {}", create.text());
        create.problem(401, "admin_key_missing");
        let list = api.get(&format!("{BOOKINGS}?user_id=ann")).header(name, value).send().await;
        assert_eq!(list.status, 401, "{name}: {}", list.text());
        list.problem(401, "identity_untrusted");
        let list = api.get(BOOKINGS).user("ann").header(name, value).send().await;
        list.problem(401, "identity_untrusted");
    }
    // Without such a header direct requests still name users.
    api.event(places(1)).await;
    api.get(&format!("{BOOKINGS}?user_id=ann")).send().await.json(200);
    api.get(BOOKINGS).user("ann").send().await.json(200);
}

#[tokio::test]
async fn named_proxy_on_this_machine_is_no_admin_without_a_key() {
    let api = Api::program(&Place::shared(), &PROXIES).await;
    for proxy in [BALANCER, GATEWAY] {
        let create = api.from(proxy).post("/api/v1/events").json(places(1)).send().await;
        create.problem(401, "admin_key_missing");
    }
    api.event(places(1)).await;
}
