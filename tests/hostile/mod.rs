//! Clients that attack the server itself: they leave answers unread, send their requests as slowly
//! as they can, flood the log, or guess admin keys. Each test is an attack over sockets.

mod failed_keys;
mod log_floods;
mod slow_readers;
mod slow_requests;
mod unread_answers;

use std::time::Duration;

/// Bound of what the server does within a second or so.
const BOUND: Duration = Duration::from_secs(60);

/// A request without a body.
fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: t\r\nAccept: */*\r\n\r\n")
}
