//! What clients can have written to the log: nothing at the usual level, and little at any.

use serde_json::Value;

use super::BOUND;
use crate::support::api::{Api, Place};
use crate::support::eventually;

const CONNECTIONS: usize = 500;

const GARBAGE: [&str; 5] = [
    "hello\r\n\r\n",
    "GET / HTTP/9.9\r\n\r\n",
    "GET / HTTP/1.1\r\nBad Header\r\n\r\n",
    "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "POST /api/v1/bookings?user_id=a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
     Transfer-Encoding: chunked\r\n\r\nzz\r\n",
];

#[tokio::test]
async fn garbage_is_counted_and_not_logged() {
    let api = Api::program(&Place::shared(), &[]).await;
    for number in 0..CONNECTIONS {
        let mut connection = api.raw(GARBAGE[number % GARBAGE.len()].as_bytes()).await;
        assert_eq!(connection.answer(BOUND).await.status, 400);
    }
    let errors = api.process().log_lines();
    let errors: Vec<&Value> = errors.iter().filter(|line| line["level"] == "error").collect();
    assert!(errors.is_empty(), "{} lines, as {}", errors.len(), errors[0]);
    // But a bad chunk, which is the request's error and not the connection's.
    let broken = CONNECTIONS - CONNECTIONS / GARBAGE.len();
    eventually("all are counted", BOUND, async || {
        api.metric("holdfast_connection_errors_total").await >= broken as f64
    })
    .await;
}

#[tokio::test]
async fn garbage_is_logged_at_debug_at_a_bounded_rate() {
    let settings = [("HOLDFAST_LOG_LEVEL", "info,actix_http=debug")];
    let api = Api::program(&Place::shared(), &settings).await;
    for number in 0..CONNECTIONS {
        let mut connection = api.raw(GARBAGE[number % GARBAGE.len()].as_bytes()).await;
        assert_eq!(connection.answer(BOUND).await.status, 400);
    }
    let caused = |line: &&Value| {
        line["target"].as_str().is_some_and(|target| target.starts_with("actix_http"))
    };
    api.process().log_line("one is logged", |line| caused(&line)).await;
    let lines = api.process().log_lines();
    let lines: Vec<&Value> = lines.iter().filter(caused).collect();
    assert!(lines.len() < CONNECTIONS / 5, "{} lines", lines.len());
    assert!(lines.iter().all(|line| line["level"] != "error"), "{:?}", lines.first());
}

#[tokio::test]
async fn broken_websockets_are_not_logged() {
    let api = Api::program(&Place::shared(), &[]).await;
    let event = api.event(crate::support::api::places(2)).await;
    // Reserved bits and an unknown opcode; a continuation of nothing; no mask.
    for frame in [&[0xff, 0x80, 0, 0, 0, 0][..], &[0x80, 0x80, 0, 0, 0, 0], &[0x81, 0x01, b'x']] {
        for _ in 0..20 {
            let mut socket = api.raw_socket(event).await;
            socket.send(frame).await;
            assert!(socket.closes(BOUND).await);
        }
    }
    let lines = api.process().log_lines();
    let errors: Vec<&Value> = lines.iter().filter(|line| line["level"] == "error").collect();
    assert!(errors.is_empty(), "{} lines, as {}", errors.len(), errors[0]);
}
