//! Requests to upgrade a connection: they are answered like others, whatever comes of it.

use super::api_with;
use crate::support::api::Api;
use crate::support::http::Reply;
use crate::support::sockets::BOUND;

/// The head of a request to upgrade.
fn asking(line: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Its answer, after which the connection ends.
async fn asked(api: &Api, line: &str) -> Reply {
    let mut raw = api.raw(asking(line).as_bytes()).await;
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
    // One of unknown length, which the end of the connection ends.
    let head = asking(&format!("GET /api/v1/events/{event}/seats"));
    let mut raw = api.raw(head.as_bytes()).await;
    let read = raw.until(BOUND, |read| read.ends_with(b"}]}")).await;
    let text = String::from_utf8_lossy(&read).to_ascii_lowercase();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("connection: close") && !head.contains("transfer-encoding"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["seats"].as_array().map(Vec::len), Some(4));
    assert!(raw.closes(BOUND).await);
    // Its answer has no body, whatever its length says.
    let mut raw = api.raw(asking(&format!("HEAD /ws/events/{event}")).as_bytes()).await;
    let read = raw.until(BOUND, |read| read.ends_with(b"\r\n\r\n")).await;
    assert!(read.starts_with(b"HTTP/1.1 426 "), "{}", String::from_utf8_lossy(&read));
    assert!(raw.closes(BOUND).await);
    asked(&api, "GET /nowhere").await.problem(404, "route_unknown");
    asked(&api, "GET /ws/events/0").await.problem(404, "event_unknown");
    asked(&api, "DELETE /ws/events/1").await.problem(405, "method_not_allowed");
    api.stop().await;
}

#[tokio::test]
async fn what_comes_behind_the_handshake_is_heard() {
    let (api, event) = api_with(|config| config).await;
    let is_pong = |read: &[u8]| read.windows(4).any(|four| four == [0x8a, 2, b'h', b'i']);
    // Masked with zeros.
    let ping = [0x89, 0x82, 0, 0, 0, 0, b'h', b'i'];
    let handshake = asking(&format!("GET /ws/events/{event}"));
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
