//! Bounds: the number of sockets, the messages that they may send, and how long they may be silent.

use holdfast::config::Config;
use holdfast::config::values::Auth;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::api_with;
use crate::support::eventually;
use crate::support::http::Client;
use crate::support::sockets::BOUND;
use crate::support::tokens::{self, AUDIENCE};

const OPEN: &str = r#"holdfast_sockets_open{kind="websocket"}"#;

/// Settings with tokens: they make connections from this machine count.
fn counted(config: Config) -> Config {
    Config {
        auth: Auth::Jwt,
        jwt_key_files: vec![tokens::secret_file(tokens::SECRET).into()],
        jwt_audience: AUDIENCE.into(),
        ..config
    }
}

#[tokio::test]
async fn sockets_are_bounded_in_total() {
    let (api, event) = api_with(|config| Config { sockets_max: 2, ..config }).await;
    let first = api.socket(event).await;
    let stream = format!("/api/v1/events/{event}/stream");
    let mut second =
        api.raw(format!("GET {stream} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await;
    second.until(BOUND, |read| read.ends_with(b"\n\n\r\n")).await;
    let refused = api.try_socket(event, &[]).await.err();
    assert_eq!(refused, Some((503, "service_unavailable".to_owned())));
    // Not by the patient client, which would retry.
    let refused = Client::new(&format!("http://{}", api.address())).get(&stream).send().await;
    refused.problem(503, "service_unavailable");
    assert_eq!(refused.header("retry-after"), Some("5"));
    // Requests that open no socket are served.
    api.get(&format!("/api/v1/events/{event}")).send().await.json(200);
    drop(first);
    eventually("the permit is returned", BOUND, async || api.labelled_metric(OPEN).await == 0.0)
        .await;
    api.socket(event).await;
    let total = api.labelled_metric(r#"holdfast_sockets_refused_total{reason="total"}"#).await;
    assert_eq!(total, 2.0);
    api.stop().await;
}

#[tokio::test]
async fn sockets_are_bounded_per_address() {
    let settings = |config| Config { sockets_per_address_max: 1, ..counted(config) };
    let (api, event) = api_with(settings).await;
    let first = api.socket(event).await;
    let refused = api.try_socket(event, &[]).await.err();
    assert_eq!(refused, Some((429, "too_many_connections".to_owned())));
    drop(first);
    eventually("the permit is returned", BOUND, async || api.labelled_metric(OPEN).await == 0.0)
        .await;
    api.socket(event).await;
    api.stop().await;
}

#[tokio::test]
async fn client_that_sends_too_much_is_closed() {
    let (api, event) = api_with(|config| config).await;
    let mut loud = api.socket(event).await;
    for _ in 0..200 {
        if !loud.say(r#"{"type":"ping"}"#).await {
            break;
        }
    }
    let (code, reason) = loud.closed().await;
    assert_eq!((code, reason.as_str()), (CloseCode::Policy, "too many messages"));
    api.stop().await;
}

#[tokio::test]
async fn client_without_pongs_is_closed_and_others_are_served() {
    let (api, event) = api_with(|config| Config {
        socket_ping_interval_ms: 200,
        socket_idle_timeout_ms: 2_000,
        ..config
    })
    .await;
    let mut honest = api.socket(event).await;
    // It never reads, so it sends no pongs.
    let mut stuck = api.raw_socket(event).await;
    assert_eq!(api.labelled_metric(OPEN).await, 2.0);
    // The other one sends pongs by reading, for longer than the stuck one lasts.
    let idle = r#"holdfast_sockets_ended_total{kind="websocket",reason="idle"}"#;
    eventually("the stuck one is dropped", BOUND, async || {
        honest.pinged().await;
        api.labelled_metric(idle).await == 1.0
    })
    .await;
    let policy = u16::from(CloseCode::Policy).to_be_bytes();
    let sent = stuck.until(BOUND, |read| read.windows(2).any(|two| two == policy)).await;
    assert!(String::from_utf8_lossy(&sent).contains("no answer to pings"));
    honest.say(r#"{"type":"ping"}"#).await;
    assert_eq!(honest.json().await["type"], "pong");
    assert_eq!(api.labelled_metric(OPEN).await, 1.0);
    api.stop().await;
}

#[tokio::test]
async fn socket_counts_as_connection_of_its_address() {
    // One connection is the HTTP client's own.
    let settings = |config| Config { http_connections_per_address_max: 2, ..counted(config) };
    let (api, event) = api_with(settings).await;
    let first = api.socket(event).await;
    let refused = api.try_socket(event, &[]).await.err();
    assert_eq!(refused, Some((429, "too_many_connections".to_owned())));
    drop(first);
    eventually("its connection no longer counts", BOUND, async || {
        api.try_socket(event, &[]).await.is_ok()
    })
    .await;
    api.stop().await;
}
