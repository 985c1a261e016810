//! Event streams.

use holdfast::config::Config;

use super::api_with;
use crate::support::eventually;
use crate::support::sockets::BOUND;

/// The lines of a body sent in chunks, one event each.
fn lines(read: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(read).lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn stream_begins_with_retry_and_sends_heartbeats() {
    let settings = |config| Config { socket_ping_interval_ms: 100, ..config };
    let (api, event) = api_with(settings).await;
    let path = format!("/api/v1/events/{event}/stream");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 3-17\r\n\r\n");
    let mut stream = api.raw(request.as_bytes()).await;
    let response = stream.answer(BOUND).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("text/event-stream"));
    assert_eq!(response.header("cache-control"), Some("no-store, no-transform"));
    let beat = |read: &[u8]| read.windows(4).filter(|four| four == b": \n\n").count() >= 2;
    let read = lines(&stream.until(BOUND, beat).await);
    let retry = read.iter().find_map(|line| line.strip_prefix("retry: ")).expect("when to retry");
    assert!((1_000..5_000).contains(&retry.parse::<u32>().unwrap()));
    assert!(read.contains(&"event: connected".to_owned()), "{read:?}");
    let data = read.iter().find_map(|line| line.strip_prefix("data: ")).expect("data");
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!((&data["type"], &data["event_id"]), (&"connected".into(), &event.into()));
    // The heartbeat detects a client that is gone.
    let open = r#"holdfast_sockets_open{kind="sse"}"#;
    assert_eq!(api.labelled_metric(open).await, 1.0);
    drop(stream);
    eventually("its permit is returned", BOUND, async || api.labelled_metric(open).await == 0.0)
        .await;
    let gone = r#"holdfast_sockets_ended_total{kind="sse",reason="gone"}"#;
    assert_eq!(api.labelled_metric(gone).await, 1.0);
    api.stop().await;
}

#[tokio::test]
async fn stream_with_invalid_token_or_event_is_refused() {
    let (api, event) = api_with(|config| config).await;
    let path = format!("/api/v1/events/{event}/stream");
    let with_token = format!("{path}?waiting_room_token=v1.x.y.z");
    api.get(&with_token).send().await.problem(403, "waiting_room_token_invalid");
    let in_header = api.get(&path).header("X-Waiting-Room-Token", "v1.x.y.z").send().await;
    in_header.problem(403, "waiting_room_token_invalid");
    let unknown = format!("/api/v1/events/{}/stream", event + 1_000);
    api.get(&unknown).send().await.problem(404, "event_unknown");
    api.get("/api/v1/events/x/stream").send().await.problem(400, "invalid_parameter");
    // HEAD opens no stream.
    let head = api.ask(reqwest::Method::HEAD, &path).send().await;
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(api.metric("holdfast_sockets_open").await, 0.0);
    api.stop().await;
}
