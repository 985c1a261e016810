//! Upgrade requests: they are answered like others, also by routes that do not upgrade.

use super::api_with;
use crate::support::api::Api;
use crate::support::http::Reply;
use crate::support::sockets::BOUND;

/// The head of an upgrade request.
fn upgrade_head(line: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Sends an upgrade request; returns the response, after which the connection closes.
async fn upgrade(api: &Api, line: &str) -> Reply {
    let mut raw = api.raw(upgrade_head(line).as_bytes()).await;
    let answer = raw.answer(BOUND).await;
    assert!(raw.closes(BOUND).await, "{line}");
    answer
}

#[tokio::test]
async fn upgrade_of_other_routes_is_answered_and_closed() {
    let (api, event) = api_with(|config| config).await;
    let plain = api.get(&format!("/api/v1/events/{event}")).send().await;
    let upgraded = upgrade(&api, &format!("GET /api/v1/events/{event}")).await;
    assert_eq!(upgraded.json(200), plain.json(200));
    assert_eq!(upgraded.header("connection"), Some("close"));
    // A response of unknown length, which ends with the connection.
    let head = upgrade_head(&format!("GET /api/v1/events/{event}/seats"));
    let mut raw = api.raw(head.as_bytes()).await;
    let read = raw.until(BOUND, |read| read.ends_with(b"}]}")).await;
    let text = String::from_utf8_lossy(&read).to_ascii_lowercase();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("connection: close") && !head.contains("transfer-encoding"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["seats"].as_array().map(Vec::len), Some(4));
    assert!(raw.closes(BOUND).await);
    // A response to HEAD has no body, whatever its length.
    let mut raw = api.raw(upgrade_head(&format!("HEAD /ws/events/{event}")).as_bytes()).await;
    let read = raw.until(BOUND, |read| read.ends_with(b"\r\n\r\n")).await;
    assert!(read.starts_with(b"HTTP/1.1 426 "), "{}", String::from_utf8_lossy(&read));
    assert!(raw.closes(BOUND).await);
    upgrade(&api, "GET /nowhere").await.problem(404, "route_unknown");
    upgrade(&api, "GET /ws/events/0").await.problem(404, "event_unknown");
    upgrade(&api, "DELETE /ws/events/1").await.problem(405, "method_not_allowed");
    api.stop().await;
}

#[tokio::test]
async fn frame_sent_with_the_handshake_is_read() {
    let (api, event) = api_with(|config| config).await;
    let is_pong = |read: &[u8]| read.windows(4).any(|four| four == [0x8a, 2, b'h', b'i']);
    // Masked with zeros.
    let ping = [0x89, 0x82, 0, 0, 0, 0, b'h', b'i'];
    let handshake = upgrade_head(&format!("GET /ws/events/{event}"));
    let mut raw = api.raw(&[handshake.as_bytes(), &ping].concat()).await;
    assert_eq!(raw.answer(BOUND).await.status, 101);
    raw.until(BOUND, is_pong).await;
    // Behind another request, which is answered first.
    let before = format!("GET /api/v1/events/{event} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut raw = api.raw((before + &handshake).as_bytes()).await;
    assert_eq!(raw.answer(BOUND).await.json(200)["id"], event);
    assert_eq!(raw.answer(BOUND).await.status, 101);
    raw.send(&ping).await;
    raw.until(BOUND, is_pong).await;
    api.stop().await;
}
