//! Pages of other sites, in a browser on the machine of a server that needs no key from local callers, can
//! only read public data.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::support::api::{Api, Place, places};
use crate::support::eventually;
use crate::support::http::{Ask, Client, Reply};
use crate::support::servers::free_port;

/// Timeout of a process' start.
const READY: Duration = Duration::from_secs(60);
const EVIL: &str = "https://evil.example";
/// Headers that browsers add to a page's requests to another site; old browsers add only `Origin`.
const MARKS: [&[(&str, &str)]; 4] = [
    &[("Origin", EVIL)],
    &[("Origin", EVIL), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")],
    &[("Origin", "null")],
    &[("Sec-Fetch-Site", "cross-site")],
];
/// A name of the attacker's that resolves to this machine (DNS rebinding).
const REBOUND: &str = "rebound.evil.example:8000";

fn marked(ask: Ask, marks: &[(&str, &str)]) -> Ask {
    marks.iter().fold(ask, |ask, (name, value)| ask.header(name, value))
}

/// A request without a preflight: a method of forms, with a text body or none.
fn simple(api: &Client, path: &str, marks: &[(&str, &str)]) -> Ask {
    marked(api.post(path), marks).header("Content-Type", "text/plain")
}

async fn status_of(api: &Client, booking: &str) -> String {
    let seen = api.get(&format!("/api/v1/bookings/{booking}")).user("ann").send().await.json(200);
    seen["status"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn page_of_another_site_changes_nothing() {
    let api = Api::program(&Place::shared(), &[("HOLDFAST_CONFIRM_WAIT_MS", "0")]).await;
    eventually("it is ready", READY, async || api.get("/health").send().await.status == 200).await;
    let event = api.event(places(4)).await;
    let booking = api.held("ann", event, &[1]).await["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/bookings/{booking}");
    let event_path = format!("/api/v1/events/{event}");
    let room = format!("{event_path}/waiting-room");
    for marks in MARKS {
        for path in [
            format!("{room}/enable"),
            format!("{room}/join?user_id=ann"),
            format!("{path}/confirm?user_id=ann"),
            format!("{path}/extend?user_id=ann"),
            format!("{path}/cancel?user_id=ann"),
            format!("{event_path}/blocks"),
            "/api/v1/bookings?user_id=ann".to_owned(),
        ] {
            let refused = simple(&api, &path, marks).send().await;
            assert_eq!(refused.status, 403, "{path} {marks:?}: {}", refused.text());
            refused.problem(403, "origin_forbidden");
        }
        for (method, path) in [
            (Method::DELETE, format!("{path}?user_id=ann")),
            (Method::PATCH, event_path.clone()),
            // Private responses are refused.
            (Method::GET, "/api/v1/bookings?user_id=ann".to_owned()),
            (Method::GET, format!("{event_path}/sales.csv")),
            (Method::GET, format!("{event_path}/stream?user_id=ann")),
        ] {
            let ask = marked(api.ask(method, &path), marks).json(json!({ "name": "Evil" }));
            ask.send().await.problem(403, "origin_forbidden");
        }
        for path in ["/api/v1/events", &event_path, "/docs/", "/health"] {
            let read = marked(api.get(path), marks).send().await;
            assert_eq!(read.status, 200, "{path} {marks:?}");
        }
    }
    assert_eq!(status_of(&api, &booking).await, "HOLD");
    let shown = api.get(&event_path).send().await.json(200);
    assert_eq!(shown["name"], "Places", "{shown}");
    // Requests without these headers, and those of the server's own page, are permitted.
    api.post(&format!("{room}/enable")).send().await.json(200);
    let own = format!("http://{}", api.address());
    let own = [("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin")];
    marked(api.post(&format!("{room}/disable")), &own).send().await.json(200);
    api.post(&format!("{path}/extend?user_id=ann")).send().await.json(200);
}

async fn rebound(api: &Client, method: Method, path: &str) -> Reply {
    let origin = format!("http://{REBOUND}");
    let ask = api.ask(method, path).header("Host", REBOUND).header("Origin", &origin);
    ask.header("Sec-Fetch-Site", "same-origin").json(json!({ "name": "Evil" })).send().await
}

#[tokio::test]
async fn rebound_name_reads_and_changes_nothing() {
    let api = Api::program(&Place::shared(), &[]).await;
    let event = api.event(places(4)).await;
    let event_path = format!("/api/v1/events/{event}");
    for (method, path) in [
        (Method::GET, format!("{event_path}/sales.csv")),
        (Method::GET, "/metrics".to_owned()),
        (Method::GET, "/cache/stats".to_owned()),
        (Method::GET, "/api/v1/bookings?user_id=ann".to_owned()),
        (Method::GET, format!("{event_path}/stream")),
        (Method::GET, event_path.clone()),
        (Method::PATCH, event_path.clone()),
        (Method::POST, format!("{event_path}/waiting-room/enable")),
        (Method::GET, "/no/such/page".to_owned()),
    ] {
        let refused = rebound(&api, method, &path).await;
        assert_eq!(refused.status, 403, "{path}: {}", refused.text());
        refused.problem(403, "host_forbidden");
    }
    let socket =
        api.try_socket(event, &[("host", REBOUND), ("origin", "http://rebound.evil.example:8000")]);
    assert_eq!(socket.await.err(), Some((403, "host_forbidden".to_owned())));
    let foreign = api.try_socket(event, &[("origin", EVIL)]).await.err();
    assert_eq!(foreign, Some((403, "origin_forbidden".to_owned())));
    let shown = api.get(&event_path).send().await.json(200);
    assert_eq!(shown["name"], "Places", "{shown}");
    // Probes and this machine's own names are permitted.
    api.get("/health/live").header("Host", "10.1.2.3:8000").send().await.json(200);
    for own in ["localhost", "localhost:8000", "127.0.0.1", "[::1]:8000"] {
        assert_eq!(api.get("/metrics").header("Host", own).send().await.status, 200, "{own}");
    }
}

#[tokio::test]
async fn named_hosts_and_sites_are_allowed() {
    let settings = [
        ("HOLDFAST_ALLOWED_HOSTS", "shop.test"),
        ("HOLDFAST_CORS_ORIGINS", "https://pages.test"),
        ("HOLDFAST_TRUSTED_PROXIES", "127.0.0.5"),
    ];
    let api = Api::program(&Place::shared(), &settings).await;
    let create = || api.post("/api/v1/events").json(places(1));
    let page = create().header("Host", "shop.test:8000").header("Origin", "https://pages.test");
    page.send().await.json(201);
    let own = create().header("Host", "shop.test:8000").header("Origin", "http://shop.test:8000");
    own.send().await.json(201);
    create().header("Origin", EVIL).send().await.problem(403, "origin_forbidden");
    // If it is set, it applies to requests of proxies, too.
    let proxied = api.from("127.0.0.5");
    let ask = |host: &str| proxied.get("/api/v1/events").header("Host", host);
    ask("tickets.example").send().await.problem(403, "host_forbidden");
    ask("shop.test").send().await.json(200);
}

#[tokio::test]
async fn worker_metrics_refuse_rebound_names() {
    let listen = format!("127.0.0.1:{}", free_port());
    let place = Place::shared();
    let _worker = place.worker_at_work(&[("HOLDFAST_WORKER_LISTEN", &listen)]).await;
    let worker = Client::new(&format!("http://{listen}"));
    let refused = worker.get("/metrics").header("Host", REBOUND).send().await;
    assert_eq!(refused.json(403)["error"], "host_forbidden");
    assert_eq!(worker.get("/metrics").send().await.status, 200);
    assert_eq!(worker.get("/health/live").header("Host", REBOUND).send().await.status, 200);
}
