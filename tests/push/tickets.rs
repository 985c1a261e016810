//! Tickets: with tokens, a browser's socket shows a ticket, which opens one socket of one event within its
//! time, whichever process it reaches.

use holdfast::config::Config;
use holdfast::config::values::Auth;
use holdfast::domain::EventId;
use holdfast::domain::socket_ticket::{SocketTicket, TICKET_TTL_MS};
use serde_json::Value;

use crate::support::api::{Api, Place, places};
use crate::support::eventually;
use crate::support::http::Client;
use crate::support::sockets::BOUND;
use crate::support::tokens::{self, AUDIENCE};

/// Settings with tokens.
fn with_tokens(config: Config) -> Config {
    Config {
        auth: Auth::Jwt,
        jwt_key_files: vec![tokens::secret_file(tokens::SECRET).into()],
        jwt_audience: AUDIENCE.into(),
        ..config
    }
}

async fn start(place: &Place) -> Api {
    Api::here(with_tokens(place.config())).await.patient()
}

fn path(event: u64) -> String {
    format!("/api/v1/events/{event}/socket-ticket")
}

/// A ticket as a query.
async fn ticket(api: &Client, event: u64, user: &str) -> String {
    let reply = api.post(&path(event)).token(&tokens::token(user)).send().await.json(201);
    assert_eq!(reply["expires_in_seconds"], TICKET_TTL_MS / 1_000);
    format!("?ticket={}", reply["ticket"].as_str().unwrap())
}

fn invalid<T>(refused: Result<T, (u16, String)>) {
    assert_eq!(refused.err(), Some((401, "ticket_invalid".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticket_opens_one_socket_of_one_event_in_one_of_all_processes() {
    let place = Place::shared();
    let (one, other) = (start(&place).await, start(&place).await);
    let event = one.event(places(4)).await;
    let another = one.event(places(4)).await;
    let query = ticket(&one, event, "ann").await;
    invalid(one.try_socket_with(another, &query, &[]).await);
    // A refusal that has nothing to do with the ticket does not use it up.
    let evil = one.try_socket_with(event, &query, &[("origin", "https://evil.example")]).await;
    assert_eq!(evil.err(), Some((403, "origin_forbidden".to_owned())));
    other.socket_with(event, &query, &[]).await;
    invalid(other.try_socket_with(event, &query, &[]).await);
    invalid(one.try_socket_with(event, &query, &[]).await);
    let stream = format!("/api/v1/events/{event}/stream{query}");
    one.get(&stream).send().await.problem(401, "ticket_invalid");
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ticket_used_by_many_at_once_opens_one_socket() {
    let place = Place::shared();
    let api = start(&place).await;
    let event = api.event(places(4)).await;
    let query = ticket(&api, event, "ann").await;
    let attempts = (0..20).map(|_| api.try_socket_with(event, &query, &[]));
    let opened = futures_util::future::join_all(attempts).await;
    assert_eq!(opened.iter().filter(|opened| opened.is_ok()).count(), 1);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_socket_leaves_its_ticket_unused() {
    let place = Place::shared();
    let config = Config { sockets_per_address_max: 1, ..with_tokens(place.config()) };
    let api = Api::here(config).await.patient();
    let event = api.event(places(4)).await;
    let first = api.socket_with(event, &ticket(&api, event, "ann").await, &[]).await;
    let query = ticket(&api, event, "ann").await;
    let refused = api.try_socket_with(event, &query, &[]).await;
    assert_eq!(refused.err().map(|(status, _)| status), Some(429));
    drop(first);
    eventually("the same ticket opens one when there is room", BOUND, async || {
        api.try_socket_with(event, &query, &[]).await.is_ok()
    })
    .await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_of_the_ticket_is_told_of_expired_holds() {
    let place = Place::shared();
    let api = start(&place).await;
    let _worker = place.worker_at_work(&[]).await;
    let mut body = places(4);
    body["hold_ttl_seconds"] = 1.into();
    let event = api.event(body).await;
    let mut socket = api.socket_with(event, &ticket(&api, event, "ann").await, &[]).await;
    let mut stream = api.stream_with(event, &ticket(&api, event, "ann").await, &[]).await;
    let mut strangers = api.socket_with(event, &ticket(&api, event, "bob").await, &[]).await;
    let hold = serde_json::json!({ "event_id": event, "seat_ids": [1] });
    let request = api.post("/api/v1/bookings").token(&tokens::token("ann")).json(hold);
    let held = request.send().await.json(201);
    let told = |message: &Value| {
        (message["type"] == "booking_expired").then(|| message["booking_id"].clone())
    };
    loop {
        if let Some(booking) = told(&socket.next_message().await) {
            assert_eq!(booking, held["id"]);
            break;
        }
    }
    while told(&stream.next_message().await).is_none() {}
    strangers.say(r#"{"type":"ping"}"#).await;
    loop {
        let message = strangers.next_message().await;
        assert!(told(&message).is_none());
        if message["type"] == "pong" {
            break;
        }
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticket_is_given_to_proven_users_and_refused_when_wrong() {
    let place = Place::shared();
    let api = start(&place).await;
    let event = api.event(places(4)).await;
    api.post(&path(event)).send().await.problem(401, "identity_missing");
    api.post(&path(event)).token("forged").send().await.problem(401, "token_invalid");
    let ann = tokens::token("ann");
    api.post(&path(4_000_000_000)).token(&ann).send().await.problem(404, "event_unknown");
    for wrong in ["", "t1.a.b.c", "x"] {
        invalid(api.try_socket_with(event, &format!("?ticket={wrong}"), &[]).await);
    }
    let keys = place.token_keys().await;
    let issued_ms = jiff::Timestamp::now().as_millisecond() - TICKET_TTL_MS;
    let old = SocketTicket::new(EventId(event as u32), "ann".parse().unwrap(), issued_ms);
    let query = format!("?ticket={}", old.sign(&keys));
    invalid(api.try_socket_with(event, &query, &[]).await);
    // Beside a token of another user it is a mistake, and not used up.
    let bearer = format!("Bearer {}", tokens::token("bob"));
    let query = ticket(&api, event, "ann").await;
    let refused = api.try_socket_with(event, &query, &[("authorization", &bearer)]).await;
    assert_eq!(refused.err(), Some((400, "identity_conflict".to_owned())));
    api.socket_with(event, &query, &[]).await;
    api.stop().await;
}
