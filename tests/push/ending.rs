//! Shutdown ends all sockets, without waiting for their clients.

use std::time::{Duration, Instant};

use holdfast::config::Config;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::api_with;
use crate::support::sockets::BOUND;

/// How long requests under way may take; sockets must end earlier.
const SHUTDOWN_SECONDS: u64 = 60;

#[tokio::test]
async fn sockets_end_at_shutdown() {
    let settings = |config| Config { shutdown_seconds: SHUTDOWN_SECONDS, ..config };
    let (api, event) = api_with(settings).await;
    let mut socket = api.socket(event).await;
    let stream = format!("GET /api/v1/events/{event}/stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut stream = api.raw(stream.as_bytes()).await;
    stream.until(BOUND, |read| read.ends_with(b"\n\n\r\n")).await;
    // One whose client does not read.
    let _stuck = api.raw_socket(event).await;
    let began = Instant::now();
    let stopped = tokio::spawn(api.stop());
    let (code, reason) = socket.closed().await;
    assert_eq!((code, reason.as_str()), (CloseCode::Away, "the server ends; connect again"));
    // The last, empty chunk: the response is complete.
    stream.until(BOUND, |read| read.ends_with(b"0\r\n\r\n")).await;
    assert!(stream.closes(BOUND).await);
    stopped.await.unwrap();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(SHUTDOWN_SECONDS / 2), "{took:?}");
}
