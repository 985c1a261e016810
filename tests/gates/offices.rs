//! Many people behind one address: identified users are limited by user, and the address by a bound
//! that no office reaches.

use futures_util::future::join_all;

use super::crowd::{BROWSER, EACH};
use crate::support::api::{Api, Place, places};
use crate::support::http::{Ask, Reply};
use crate::support::tokens::{AUDIENCE, OTHER_SECRET, SECRET, claims, hs256, secret_file, token};

const EVENTS: &str = "/api/v1/events";
const OFFICE: (&str, &str) = ("X-Forwarded-For", "203.0.113.50");
/// A trusted proxy on this machine.
const PROXY: (&str, &str) = ("HOLDFAST_TRUSTED_PROXIES", "127.0.0.1");
/// A bound on one address that a test can reach.
const NARROW: &str = r#"[{name="per_address_total",per_second=1,burst=30}]"#;

async fn with_users() -> Api {
    let gateway = ("HOLDFAST_IDENTITY_PROXIES", PROXY.1);
    Api::program(&Place::shared(), &[EACH, PROXY, gateway]).await
}

async fn with_tokens(rules: &str) -> Api {
    let secret = secret_file(SECRET);
    let mut settings = vec![
        EACH,
        PROXY,
        ("HOLDFAST_AUTH", "jwt"),
        ("HOLDFAST_JWT_KEY_FILES", &secret),
        ("HOLDFAST_JWT_AUDIENCE", AUDIENCE),
        ("HOLDFAST_ADMIN_KEYS_SHA256", KEY_HASH),
    ];
    if !rules.is_empty() {
        settings.push(("HOLDFAST_LIMIT_RULES", rules));
    }
    Api::program(&Place::shared(), &settings).await
}

/// The admin key of these servers, and a wrong one.
const KEY: &str = "open-sesame";
const KEY_HASH: &str = "ops:d7ecdf25eaf3deba0f2628771dbdd22d4138ab6cf38f91ed02a2ca0dec7c8ab7";
const WRONG_KEY: &str = "open-barley";

fn from_office(ask: Ask) -> Ask {
    ask.header(OFFICE.0, OFFICE.1).header(BROWSER.0, BROWSER.1)
}

async fn statuses(asks: impl Iterator<Item = Ask>) -> Vec<Reply> {
    join_all(asks.map(|ask| from_office(ask).send())).await
}

/// The rules that refused some of them.
fn refused_by(replies: &[Reply]) -> Vec<String> {
    let refused = replies.iter().filter(|reply| reply.status == 429);
    let mut rules: Vec<String> =
        refused.map(|reply| reply.json(429)["rule"].as_str().unwrap().to_owned()).collect();
    rules.sort();
    rules.dedup();
    rules
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn office_of_named_users_is_not_limited() {
    let api = with_users().await;
    let asks = (0..60).map(|n| api.get(EVENTS).user(&format!("clerk-{n}")));
    let replies = statuses(asks).await;
    assert!(replies.iter().all(|reply| reply.status == 200), "{:?}", refused_by(&replies));
    // A single user, and anonymous requests, are.
    let replies = statuses((0..60).map(|_| api.get(EVENTS).user("hasty"))).await;
    assert_eq!(refused_by(&replies), ["per_address"]);
    let replies = statuses((0..60).map(|_| api.get(EVENTS))).await;
    assert_eq!(refused_by(&replies), ["per_address"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn office_with_tokens_is_not_limited_and_forged_tokens_are() {
    let api = with_tokens("").await;
    let asks = (0..60).map(|n| api.get(EVENTS).token(&token(&format!("clerk-{n}"))));
    let replies = statuses(asks).await;
    assert!(replies.iter().all(|reply| reply.status == 200), "{:?}", refused_by(&replies));
    // An invalid token counts as a request of its address.
    let forged = hs256(OTHER_SECRET, &claims("ann"));
    let replies = statuses((0..60).map(|_| api.get(EVENTS).token(&forged))).await;
    assert!(replies.iter().any(|reply| reply.status == 401));
    assert_eq!(refused_by(&replies), ["per_address"]);
    // That does not limit users with valid tokens.
    let reply = from_office(api.get(EVENTS).token(&token("late"))).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn address_bound_holds_for_all_its_users() {
    let api = with_tokens(NARROW).await;
    let asks = (0..90).map(|n| api.get(EVENTS).token(&token(&format!("clerk-{n}"))));
    let replies = statuses(asks).await;
    assert_eq!(refused_by(&replies), ["per_address_total"]);
    assert!(replies.iter().filter(|reply| reply.status == 200).count() >= 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trusted_proxys_own_requests_have_no_address_bound() {
    let api = with_tokens(NARROW).await;
    let asks = (0..90).map(|n| api.get(EVENTS).token(&token(&format!("clerk-{n}"))));
    let replies = join_all(asks.map(|ask| ask.header(BROWSER.0, BROWSER.1).send())).await;
    assert!(replies.iter().all(|reply| reply.status == 200), "{:?}", refused_by(&replies));
}

/// Waiters show the room's token alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn office_in_a_waiting_room_is_limited_by_token() {
    let api = with_tokens("").await;
    let created = api.post(EVENTS).header("X-Admin-Key", KEY).json(places(10)).send().await;
    let event = created.json(201)["id"].as_u64().unwrap();
    let room = |rest: &str| format!("{EVENTS}/{event}/waiting-room/{rest}");
    let enable = api.post(&room("enable?max_concurrent=1")).header("X-Admin-Key", KEY);
    enable.send().await.json(200);
    let mut tokens = Vec::new();
    for n in 0..30 {
        let join = api.post(&room("join")).token(&token(&format!("clerk-{n}")));
        let joined = from_office(join).send().await.json(200);
        tokens.push(joined["token"].as_str().unwrap().to_owned());
    }
    for _ in 0..2 {
        let status = room("status");
        let polls = tokens.iter().map(|one| api.get(&status).header("X-Waiting-Room-Token", one));
        let replies = statuses(polls).await;
        assert!(replies.iter().all(|reply| reply.status == 200), "{:?}", refused_by(&replies));
    }
    // A single token, and an invalid one, are.
    for token in [tokens[0].as_str(), "v1.nonsense"] {
        let polls = (0..60).map(|_| api.get(&room("status")).header("X-Waiting-Room-Token", token));
        assert_eq!(refused_by(&statuses(polls).await), ["per_address"], "{token}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn box_office_is_not_limited_and_key_guessing_is() {
    let api = with_tokens("").await;
    let list =
        |key: &'static str| api.get("/api/v1/bookings").user("ann").header("X-Admin-Key", key);
    let replies = statuses((0..60).map(|_| list(KEY))).await;
    assert!(replies.iter().all(|reply| reply.status == 200), "{:?}", refused_by(&replies));
    let replies = statuses((0..60).map(|_| list(WRONG_KEY))).await;
    assert!(replies.iter().any(|reply| reply.status == 403));
    assert_eq!(refused_by(&replies), ["per_address"]);
    // The same on the routes of admins.
    let blocks = |key: &'static str| api.get("/api/v1/events/1/blocks").header("X-Admin-Key", key);
    let replies = statuses((0..60).map(|_| blocks(KEY))).await;
    assert!(replies.iter().all(|reply| reply.status == 404), "{:?}", refused_by(&replies));
    let replies = statuses((0..60).map(|_| blocks(WRONG_KEY))).await;
    assert_eq!(refused_by(&replies), ["admin_key_failures", "per_address"]);
    // Others' guesses do not keep out admins at another address.
    assert_eq!(from_office(blocks(KEY)).send().await.status, 404);
}
