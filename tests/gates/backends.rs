//! Automated clients that something vouches for: a shop's backend passes, a bot behind a proxy does
//! not.

use std::time::Duration;

use serde_json::{Value, json};

use super::crowd::EACH;
use crate::support::api::{Api, Place, places};
use crate::support::http::{Ask, Client, Reply};
use crate::support::tokens::{AUDIENCE, SECRET, claims_but, hs256, secret_file, token};

const EVENTS: &str = "/api/v1/events";
const AGENTS: [&str; 6] = [
    "python-requests/2.32.3",
    "Go-http-client/1.1",
    "Java/21.0.2",
    "python-httpx/0.27.0",
    "Python/3.12 aiohttp/3.9.5",
    "curl/8.5.0",
];
/// printf %s open-sesame | sha256sum
const KEY: &str = "open-sesame";
const KEY_HASH: &str = "ops:d7ecdf25eaf3deba0f2628771dbdd22d4138ab6cf38f91ed02a2ca0dec7c8ab7";
const PROXY: (&str, &str) = ("HOLDFAST_TRUSTED_PROXIES", "127.0.0.1");
/// How long a server may take.
const SOON: Duration = Duration::from_secs(60);

async fn with_tokens(more: &[(&str, &str)]) -> Api {
    let secret = secret_file(SECRET);
    let mut settings = vec![
        EACH,
        // The same callers send many requests here.
        ("HOLDFAST_LIMIT_RULES", r#"[{name="per_address",mode="observe"}]"#),
        ("HOLDFAST_AUTH", "jwt"),
        ("HOLDFAST_JWT_KEY_FILES", &secret),
        ("HOLDFAST_JWT_AUDIENCE", AUDIENCE),
    ];
    settings.extend(more);
    Api::program(&Place::shared(), &settings).await
}

fn refused(reply: &Reply) {
    reply.problem(403, "automated_access");
}

/// A request with these lines and no others: neither `Accept` nor `User-Agent` is added.
async fn bare(api: &Client, lines: &str) -> Reply {
    let request =
        format!("GET {EVENTS} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n");
    api.raw(request.as_bytes()).await.answer(SOON).await
}

fn forwarded(ask: Ask) -> Ask {
    ask.header("X-Forwarded-For", "203.0.113.9")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backend_behind_no_proxy_header_is_not_judged_by_its_agent() {
    let api = with_tokens(&[PROXY, ("HOLDFAST_ADMIN_KEYS_SHA256", KEY_HASH)]).await;
    let created = api.post(EVENTS).header("X-Admin-Key", KEY).json(places(20)).send().await;
    let event = created.json(201)["id"].as_u64().unwrap();
    for (seat, agent) in (1..).zip(AGENTS) {
        api.get(EVENTS).header("User-Agent", agent).send().await.json(200);
        let body = json!({ "event_id": event, "seat_ids": [seat] });
        let hold = api.post("/api/v1/bookings").token(&token("ann")).header("User-Agent", agent);
        hold.json(body).send().await.json(201);
    }
    assert_eq!(bare(&api, "").await.status, 200, "neither Accept nor User-Agent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwarded_requests_are_judged_by_their_agent() {
    let api = with_tokens(&[PROXY]).await;
    for agent in AGENTS {
        refused(&forwarded(api.get(EVENTS)).header("User-Agent", agent).send().await);
        let ask = forwarded(api.get(EVENTS)).token(&token("ann"));
        refused(&ask.header("User-Agent", agent).send().await);
    }
    // Proxies mark forwarded requests in more than one way.
    for name in ["X-Real-IP", "Via", "Forwarded", "X-Forwarded-Proto"] {
        let ask = api.get(EVENTS).header("User-Agent", AGENTS[0]).header(name, "203.0.113.9");
        refused(&ask.send().await);
    }
    refused(&bare(&api, "X-Forwarded-For: 203.0.113.9\r\n").await);
    forwarded(api.get(EVENTS)).header("User-Agent", "Mozilla/5.0").send().await.json(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_naming_a_user_vouches_for_the_program() {
    let gateway = ("HOLDFAST_IDENTITY_PROXIES", PROXY.1);
    let api = Api::program(&Place::shared(), &[EACH, PROXY, gateway]).await;
    for agent in AGENTS {
        let named = forwarded(api.get(EVENTS)).user("ann").header("User-Agent", agent);
        named.send().await.json(200);
        refused(&forwarded(api.get(EVENTS)).header("User-Agent", agent).send().await);
    }
    let lines = "X-Forwarded-For: 203.0.113.9\r\nX-User-Id: ann\r\n";
    assert_eq!(bare(&api, lines).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_with_a_backend_mark_vouches_for_the_program() {
    // From this machine, which is no trusted proxy.
    let api = with_tokens(&[]).await;
    let with = |name: &str, value: Value| hs256(SECRET, &claims_but("shop", name, value));
    let marked = [
        with("scope", json!("openid holdfast:backend")),
        with("roles", json!(["user", "holdfast:backend"])),
    ];
    let unmarked = [token("ann"), with("scope", json!("openid")), with("name", json!("backend"))];
    for agent in AGENTS {
        // The second time the token is cached.
        for token in marked.iter().chain(&marked) {
            let ask = api.get(EVENTS).token(token).header("User-Agent", agent);
            ask.send().await.json(200);
        }
        for token in unmarked.iter().chain(&unmarked) {
            refused(&api.get(EVENTS).token(token).header("User-Agent", agent).send().await);
        }
        refused(&api.get(EVENTS).header("User-Agent", agent).send().await);
    }
    let own = [("HOLDFAST_JWT_BACKEND_CLAIMS", "realm_access.roles=shop")];
    let api = with_tokens(&own).await;
    let ask = |token: &str| api.get(EVENTS).token(token).header("User-Agent", AGENTS[0]);
    ask(&with("realm_access", json!({ "roles": ["shop"] }))).send().await.json(200);
    refused(&ask(&marked[0]).send().await);
}
