//! Requests to upgrade a connection: they are answered like others, whatever comes of it.

use super::api_with;
use crate::support::http::Reply;
use crate::support::sockets::BOUND;

/// The answer to a request to upgrade, after which the connection ends.
async fn asked(api: &crate::support::api::Api, line: &str) -> Reply {
    let head = format!(
        "{line} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let mut raw = api.raw(head.as_bytes()).await;
    let answer = raw.answer(BOUND).await;
    assert!(raw.closes(BOUND).await, "{line}");
    answer
}

#[tokio::test]
async fn what_is_no_socket_is_answered_and_closed() {
    let (api, event) = api_with(|config| config).await;
    let plain = api.get(&format!("/api/v1/events/{event}")).send().await;
    let upgraded = asked(&api, &format!("GET /api/v1/events/{event}")).await;
    assert_eq!(upgraded.json(200), plain.json(200));
    assert_eq!(upgraded.header("connection"), Some("close"));
    let map = api.get(&format!("/api/v1/events/{event}/seats")).send().await;
    let upgraded = asked(&api, &format!("GET /api/v1/events/{event}/seats")).await;
    assert_eq!(upgraded.json(200), map.json(200));
    let head = asked(&api, &format!("HEAD /ws/events/{event}")).await;
    assert!(head.status >= 400, "{}", head.status);
    asked(&api, "GET /nowhere").await.problem(404, "route_unknown");
    asked(&api, "GET /ws/events/0").await.problem(404, "event_unknown");
    asked(&api, "DELETE /ws/events/1").await.problem(405, "method_not_allowed");
    api.stop().await;
}

#[tokio::test]
async fn what_comes_behind_the_handshake_is_heard() {
    let (api, event) = api_with(|config| config).await;
    let head = api.handshake(event);
    // A ping in the same packet, masked with zeros.
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(&[0x89, 0x82, 0, 0, 0, 0, b'h', b'i']);
    // Behind another request, which is answered first.
    let before = format!("GET /api/v1/events/{event} HTTP/1.1\r\nHost: h\r\n\r\n");
    bytes.splice(0..0, before.into_bytes());
    let mut raw = api.raw(&bytes).await;
    assert_eq!(raw.answer(BOUND).await.json(200)["id"], event);
    assert_eq!(raw.answer(BOUND).await.status, 101);
    raw.until(BOUND, |read| read.windows(4).any(|four| four == [0x8a, 2, b'h', b'i'])).await;
    api.stop().await;
}
