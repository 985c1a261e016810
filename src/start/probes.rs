//! Answers health probes while the program waits for its services: it is alive and not ready.
//!
//! A minimal HTTP server on the program's own listeners, which ends before the real servers start to
//! accept. Connections that are accepted and not answered by then are closed, as by a restart.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Connections at the same time, to each listener.
const CONNECTIONS_MAX: usize = 64;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Bound of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a connection that could not be accepted.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// The services that the start waits for, each with the reason. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct PendingServices(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl PendingServices {
    /// The names of the pending services.
    pub fn services(&self) -> Vec<&'static str> {
        self.lock().keys().copied().collect()
    }

    pub fn insert(&self, service: &'static str, reason: String) {
        self.lock().insert(service, reason);
    }

    /// Removes a service; returns whether it was pending.
    pub fn remove(&self, service: &'static str) -> bool {
        self.lock().remove(service).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        // Poisoning can be ignored: no code under this lock panics halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers probes until dropped.
pub(super) struct StartupProbes {
    _tasks: JoinSet<()>,
}

#[derive(Serialize)]
struct Body<'a> {
    status: &'static str,
    service: &'static str,
    version: &'static str,
    waiting_for: &'a [&'static str],
}

impl StartupProbes {
    /// Answers probes on bound listeners, which the real servers use afterwards.
    ///
    /// # Errors
    /// If a listener cannot be shared.
    pub fn start(
        service: &'static str,
        listeners: &[&TcpListener],
        pending: &PendingServices,
    ) -> io::Result<Self> {
        let mut tasks = JoinSet::new();
        for listener in listeners {
            let listener = listener.try_clone()?;
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            // Not supervised: if it ends, only probes during the start stay unanswered.
            tasks.spawn(accept(listener, service, pending.clone()));
        }
        Ok(StartupProbes { _tasks: tasks })
    }
}

async fn accept(
    listener: tokio::net::TcpListener,
    service: &'static str,
    pending: PendingServices,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        // The semaphore is never closed.
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE_AFTER_ERROR).await;
            continue;
        };
        let pending = pending.clone();
        open.spawn(async move {
            let _permit = permit;
            // A client that disconnects or is too slow gets no answer.
            let _ = timeout(REQUEST_TIMEOUT, serve(stream, service, &pending)).await;
        });
    }
}

async fn serve(
    mut stream: TcpStream,
    service: &'static str,
    pending: &PendingServices,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        let mut chunk = [0; 1024];
        match stream.read(&mut chunk).await? {
            0 => return Ok(()),
            read => head.extend_from_slice(&chunk[..read]),
        }
    }
    let answer = answer(&String::from_utf8_lossy(&head), service, &pending.services());
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
        // Serializing these plain types cannot fail.
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
    fn liveness_is_200_and_everything_else_503() {
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
