//! Requests that never end: every head and every body has a deadline, on a connection that is kept
//! as on a new one.

use std::time::{Duration, Instant};

use holdfast::config::Config;

use super::BOUND;
use crate::support::api::{Api, Place};
use crate::support::http::Raw;

const WHOLE: &str = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// How often a slow client sends a byte: often enough for any rule about silence.
const STEP: Duration = Duration::from_millis(50);

async fn api() -> Api {
    Api::here(Config { http_header_timeout_ms: 500, ..Place::shared().config() }).await
}

/// Sends a byte every now and then until the server closes the connection.
async fn drips_until_closed(connection: &mut Raw, byte: &[u8]) {
    let dripped = async {
        while connection.try_send(byte).await.is_ok() {
            tokio::time::sleep(STEP).await;
        }
    };
    tokio::time::timeout(BOUND, dripped).await.expect("closed within the bound");
}

#[tokio::test]
async fn slow_second_head_is_given_up() {
    let api = api().await;
    let mut slow = api.raw(WHOLE.as_bytes()).await;
    assert_eq!(slow.answer(BOUND).await.status, 200);
    slow.send(b"GET /health/live HTTP/1.1\r\nX-Slow: ").await;
    assert_eq!(slow.answer(BOUND).await.status, 408);
    assert!(slow.closes(BOUND).await);
    api.stop().await;
}

#[tokio::test]
async fn dripped_second_head_is_given_up() {
    let api = api().await;
    let mut slow = api.raw(WHOLE.as_bytes()).await;
    assert_eq!(slow.answer(BOUND).await.status, 200);
    slow.send(b"GET /health/live HTTP/1.1\r\nX-Slow: ").await;
    drips_until_closed(&mut slow, b"x").await;
    api.stop().await;
}

#[tokio::test]
async fn head_begun_behind_a_request_is_given_up() {
    let api = api().await;
    let mut slow = api.raw(format!("{WHOLE}GET /health/live HT").as_bytes()).await;
    assert_eq!(slow.answer(BOUND).await.status, 200);
    assert!(slow.closes(BOUND).await);
    let mut slow = api.raw(format!("{WHOLE}GET /health/live HT").as_bytes()).await;
    assert_eq!(slow.answer(BOUND).await.status, 200);
    drips_until_closed(&mut slow, b"T").await;
    api.stop().await;
}

#[tokio::test]
async fn body_that_nobody_reads_is_given_up() {
    let config = Config { http_keep_alive_seconds: 1, ..Place::shared().config() };
    let api = Api::here(Config { http_header_timeout_ms: 500, ..config }).await;
    let head = "GET /health/live HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut slow = api.raw(head.as_bytes()).await;
    assert_eq!(slow.answer(BOUND).await.status, 200);
    drips_until_closed(&mut slow, b"1\r\nx\r\n").await;
    assert_eq!(api.metric("holdfast_requests_timed_out_total").await, 1.0);
    api.stop().await;
}

#[tokio::test]
async fn idle_connection_is_closed_without_a_word_once_keep_alive_is_over() {
    let config = Config { http_keep_alive_seconds: 2, ..Place::shared().config() };
    let api = Api::here(config).await;
    // Its body is read.
    let post = "POST /api/v1/bookings HTTP/1.1\r\nHost: localhost\r\nX-User-Id: ann\r\n\
        User-Agent: Mozilla/5.0\r\nAccept: */*\r\nContent-Length: 2\r\n\r\n{}";
    for request in [WHOLE, post] {
        let mut idle = api.raw(request.as_bytes()).await;
        idle.answer(BOUND).await;
        // Longer in total than keep-alive: each request starts it anew.
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(2_500) {
            tokio::time::sleep(STEP).await;
            idle.send(WHOLE.as_bytes()).await;
            assert_eq!(idle.answer(BOUND).await.status, 200);
        }
        assert!(idle.closes(BOUND).await, "{request}");
    }
    assert_eq!(api.metric("holdfast_requests_timed_out_total").await, 0.0);
    api.stop().await;
}

#[tokio::test]
async fn body_is_read_whether_it_comes_with_its_head_or_later() {
    let api = api().await;
    let head = "POST /api/v1/bookings HTTP/1.1\r\nHost: localhost\r\nX-User-Id: ann\r\n\
        User-Agent: Mozilla/5.0\r\nAccept: */*\r\nContent-Type: application/json\r\nContent-Length: ";
    let body = r#"{"event_id":4000000000,"seat_ids":[1]}"#;
    let head = format!("{head}{}\r\n\r\n", body.len());
    let mut kept = api.raw(format!("{head}{body}").as_bytes()).await;
    assert_eq!(kept.answer(BOUND).await.status, 404);
    kept.send(head.as_bytes()).await;
    for half in [&body[..20], &body[20..]] {
        tokio::time::sleep(STEP).await;
        kept.send(half.as_bytes()).await;
    }
    assert_eq!(kept.answer(BOUND).await.status, 404);
    // Pipelined, the last body late.
    kept.send(format!("{head}{body}").repeat(20).as_bytes()).await;
    kept.send(head.as_bytes()).await;
    for _ in 0..20 {
        assert_eq!(kept.answer(BOUND).await.status, 404);
    }
    kept.send(body.as_bytes()).await;
    assert_eq!(kept.answer(BOUND).await.status, 404);
    api.stop().await;
}

#[tokio::test]
async fn kept_connection_serves_heads_that_arrive_in_time() {
    let api = api().await;
    let mut kept = api.raw(WHOLE.as_bytes()).await;
    assert_eq!(kept.answer(BOUND).await.status, 200);
    for _ in 0..3 {
        // Longer than a head may take: the pause between two requests is none.
        tokio::time::sleep(Duration::from_millis(700)).await;
        let (begin, end) = WHOLE.split_at(20);
        kept.send(begin.as_bytes()).await;
        tokio::time::sleep(STEP).await;
        kept.send(end.as_bytes()).await;
        assert_eq!(kept.answer(BOUND).await.status, 200);
    }
    // Pipelined, whole.
    kept.send(WHOLE.repeat(40).as_bytes()).await;
    for _ in 0..40 {
        assert_eq!(kept.answer(BOUND).await.status, 200);
    }
    api.stop().await;
}
