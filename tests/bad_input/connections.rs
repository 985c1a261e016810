//! Requests that are slow, incomplete or not HTTP.

use std::time::Duration;

use holdfast::config::Config;
use tokio::io::AsyncWriteExt;

use super::Target;
use crate::support::api::{Api, Place, places};
use crate::support::eventually;

/// Longer than the timeouts under test (300 ms), shorter than the default ones.
const SOON: Duration = Duration::from_secs(20);

const POST: &str = "POST /api/v1/bookings?user_id=ann HTTP/1.1\r\nHost: localhost\r\n\
    Content-Type: application/json\r\n";

#[tokio::test]
async fn slow_body_times_out() {
    let target = Target::new(&Place::shared()).await;
    let cases = [
        ("Content-Length: 40\r\n\r\n{\"event_id\"", "x".repeat(29)),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\n{\"eve\r\n", "0\r\n\r\n".to_owned()),
    ];
    for (begin, rest) in cases {
        let mut slow = target.api.raw(format!("{POST}{begin}").as_bytes()).await;
        let answer = slow.answer(SOON).await;
        let problem = answer.problem(408, "body_timeout");
        assert!(problem["detail"].as_str().unwrap().contains("within 0.3 s"), "{problem}");
        assert_eq!(answer.header("connection"), Some("close"));
        // Late bytes are not parsed as another request.
        slow.send(rest.as_bytes()).await;
        assert!(slow.closes(SOON).await);
    }
    target.api.stop().await;
}

#[tokio::test]
async fn large_bodies_are_refused_before_they_are_read() {
    let target = Target::new(&Place::shared()).await;
    let mut declared =
        target.api.raw(format!("{POST}Content-Length: 1000000\r\n\r\n").as_bytes()).await;
    declared.answer(SOON).await.problem(413, "body_too_large");
    // Chunked bodies declare no length: the bytes received count.
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    let chunks = format!("{POST}Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}{chunk}");
    let mut chunked = target.api.raw(chunks.as_bytes()).await;
    chunked.answer(SOON).await.problem(413, "body_too_large");
    target.api.stop().await;
}

#[tokio::test]
async fn slow_head_times_out() {
    let config = Config { http_header_timeout_ms: 300, ..Place::shared().config() };
    let api = Api::here(config).await;
    let mut slow = api.raw(b"GET /health/live HTTP/1.1\r\nHost:").await;
    assert_eq!(slow.answer(SOON).await.status, 408);
    assert!(slow.closes(SOON).await);
    api.stop().await;
}

#[tokio::test]
async fn incomplete_body_holds_no_seat() {
    let target = Target::new(&Place::shared()).await;
    let whole = format!("{{\"event_id\": {}, \"seat_ids\": [1]}}", target.event);
    let request = format!("{POST}Content-Length: {}\r\n\r\n{whole}", whole.len() + 1);
    drop(target.api.raw(request.as_bytes()).await);
    let bad_chunk = format!("{POST}Transfer-Encoding: chunked\r\n\r\nzz\r\n{whole}\r\n0\r\n\r\n");
    let mut bad = target.api.raw(bad_chunk.as_bytes()).await;
    assert_eq!(bad.answer(SOON).await.status, 400);
    target.api.counts_become(target.event, (11, 1, 0)).await;
    target.api.stop().await;
}

#[tokio::test]
async fn malformed_http_is_refused_and_closed() {
    let target = Target::new(&Place::shared()).await;
    let many_headers: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let huge = "x".repeat(200 << 10);
    let cases = [
        ("hello\r\n\r\n".to_owned(), 400),
        ("GET /health/live HTTP/9.9\r\n\r\n".to_owned(), 400),
        ("GET /health/live HTTP/1.1\r\nHost: localhost\r\nBad Header\r\n\r\n".to_owned(), 400),
        (format!("{POST}Content-Length: -1\r\n\r\n"), 400),
        (format!("{POST}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400),
        (format!("GET /health/live HTTP/1.1\r\n{many_headers}\r\n"), 431),
        (format!("GET /health/live HTTP/1.1\r\nX-Huge: {huge}\r\n\r\n"), 431),
    ];
    for (bytes, status) in cases {
        let mut connection = target.api.raw(bytes.as_bytes()).await;
        let answer = connection.answer(SOON).await;
        assert_eq!(answer.status, status, "{}", &bytes[..bytes.len().min(90)]);
        assert!(connection.closes(SOON).await);
    }
    target.api.get("/health/live").send().await.json(200);
    target.api.stop().await;
}

/// A receive buffer too small for a large response.
const RECEIVE_BYTES: u32 = 4_096;

#[tokio::test]
async fn client_that_reads_nothing_is_disconnected() {
    let config = Config { http_stall_timeout_ms: 500, ..Place::shared().config() };
    let api = Api::here(config).await.patient();
    let event = api.event(places(50_000)).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(RECEIVE_BYTES).unwrap();
    let mut stuck = socket.connect(api.address().parse().unwrap()).await.unwrap();
    let request = format!("GET /api/v1/events/{event}/seats HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stuck.write_all(request.repeat(4).as_bytes()).await.unwrap();
    // It never reads. Once the server has closed the connection, its writes fail.
    eventually("it is disconnected", Duration::from_secs(30), async || {
        stuck.write_all(b"\r\n").await.is_err()
    })
    .await;
    // A client that reads gets all of it.
    let map = api.get(&format!("/api/v1/events/{event}/seats")).send().await.json(200);
    assert_eq!(map["seats"].as_array().unwrap().len(), 50_000);
    api.stop().await;
}
