//! Answers probes while the program waits for its services: that it lives, and that it is not ready.
//!
//! The smallest HTTP there is, on the program's own listener, and gone before the real server
//! begins to accept. A connection that was accepted and not answered then is closed, as by any
//! restart.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::waiting::Waiting;

/// Connections at the same time.
const CONNECTIONS_MAX: usize = 64;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a connection that could not be accepted.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Answers until dropped.
pub(super) struct Probes {
    _tasks: JoinSet<()>,
}

#[derive(Serialize)]
struct Body<'a> {
    status: &'static str,
    service: &'static str,
    version: &'static str,
    waiting_for: &'a [&'static str],
}

impl Probes {
    /// Answers on a listener that is bound already, which others go on to use.
    ///
    /// # Errors
    /// If the listener cannot be shared.
    pub fn answer(
        service: &'static str,
        listener: &TcpListener,
        waiting: Waiting,
    ) -> io::Result<Self> {
        let listener = listener.try_clone()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let mut tasks = JoinSet::new();
        // Its end costs answers to probes, for as long as the program waits, and nothing else.
        tasks.spawn(async move {
            let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
            let mut open = JoinSet::new();
            loop {
                while open.try_join_next().is_some() {}
                // The semaphore is never closed.
                let Ok(place) = places.clone().acquire_owned().await else { return };
                let Ok((stream, _)) = listener.accept().await else {
                    sleep(PAUSE_AFTER_ERROR).await;
                    continue;
                };
                let waiting = waiting.clone();
                open.spawn(async move {
                    let _place = place;
                    // Who hangs up or is too slow is not answered.
                    let _ = timeout(REQUEST_TIMEOUT, serve(stream, service, &waiting)).await;
                });
            }
        });
        Ok(Probes { _tasks: tasks })
    }
}

async fn serve(mut stream: TcpStream, service: &'static str, waiting: &Waiting) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        let mut chunk = [0; 1024];
        match stream.read(&mut chunk).await? {
            0 => return Ok(()),
            read => head.extend_from_slice(&chunk[..read]),
        }
    }
    let answer = answer(&String::from_utf8_lossy(&head), service, &waiting.services());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn answer(head: &str, service: &'static str, waiting_for: &[&'static str]) -> String {
    let path = head.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let (status, body) = if path == "/health/live" {
        ("200 OK", r#"{"status":"ok"}"#.to_owned())
    } else {
        let version = env!("CARGO_PKG_VERSION");
        let body = Body { status: "starting", service, version, waiting_for };
        // Serializing these plain types cannot fail; a defect would show as an empty text.
        ("503 Service Unavailable", serde_json::to_string(&body).unwrap_or_default())
    };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nRetry-After: 1\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn liveness_is_told_apart_from_all_else() {
        let live = answer("GET /health/live?x HTTP/1.1\r\n\r\n", "holdfast-api", &["redis"]);
        assert!(live.starts_with("HTTP/1.1 200 OK\r\n") && live.ends_with(r#"{"status":"ok"}"#));
        for head in ["GET /health/ready HTTP/1.0\r\n\r\n", "POST /api/v1/events HTTP/1.1", "", "x"]
        {
            let other = answer(head, "holdfast-api", &["redis", "mongodb"]);
            assert!(other.starts_with("HTTP/1.1 503 "), "{other}");
            assert!(other.contains(r#""status":"starting""#), "{other}");
            assert!(other.ends_with(r#""waiting_for":["redis","mongodb"]}"#), "{other}");
        }
    }
}
