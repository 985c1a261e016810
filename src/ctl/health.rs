//! `health`: queries the readiness of the API or the worker of this machine. For containers and
//! supervisors: it needs no curl, and neither Redis nor MongoDB.

use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::config::Config;

use super::failure::Failure;
use super::output::CommandResult;

/// Timeout of the request: shorter than the usual timeout of a caller.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum length of a response, bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Maximum length of a response's head, bytes.
const HEAD_BYTES_MAX: u64 = 16 * 1024;

/// Query whether the API or the worker of this machine is ready
///
/// Requests /health/ready at the configured address (`listen`, `worker_listen`), on the loopback
/// address if that is "anywhere" (0.0.0.0).
///
/// Exits with 0 if it is ready, 1 if it is not, 2 if it does not answer.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl health api
  HOLDFAST_WORKER_LISTEN=127.0.0.1:9001 holdfastctl health worker --json")]
pub(super) struct Arguments {
    /// The program
    #[arg(value_enum)]
    program: Program,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Program {
    /// holdfast-api
    Api,
    /// holdfast-worker
    Worker,
}

/// The readiness of a program.
#[derive(Serialize)]
pub(super) struct Health {
    ready: bool,
    address: String,
    /// The body of its response.
    answer: Value,
}

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<Health, Failure> {
        let mut address = match self.program {
            Program::Api => config.listen,
            Program::Worker => config.worker_listen,
        };
        address = reachable(address);
        let (status, body) = get(address, "/health/ready", ANSWER_BYTES_MAX).await?;
        let answer = serde_json::from_str(&body).unwrap_or(Value::Null);
        Ok(Health { ready: status == 200, address: address.to_string(), answer })
    }
}

/// The address of a process of this machine that listens on this one.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    if !listen.ip().is_unspecified() {
        return listen;
    }
    let loopback = if listen.is_ipv6() { "::1" } else { "127.0.0.1" };
    SocketAddr::new(loopback.parse().unwrap_or(listen.ip()), listen.port())
}

/// Requests a page; returns the status and at most so many bytes of the body.
///
/// # Errors
/// If there is no answer in time, or it is no HTTP.
pub(super) async fn get(
    address: SocketAddr,
    path: &str,
    bytes_max: u64,
) -> Result<(u16, String), Failure> {
    let away = |reason: String| Failure::new(format!("{address} does not answer: {reason}"));
    let response = tokio::time::timeout(ANSWER_TIMEOUT, request(address, path, bytes_max)).await;
    let text = match response {
        Ok(text) => text.map_err(|error| away(error.to_string()))?,
        Err(_) => return Err(away(format!("not within {} s", ANSWER_TIMEOUT.as_secs()))),
    };
    read(&text).ok_or_else(|| away("that is no HTTP".to_owned()))
}

/// Returns the whole response; the server closes the connection after it.
async fn request(address: SocketAddr, path: &str, bytes_max: u64) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(bytes_max + HEAD_BYTES_MAX).read_to_end(&mut bytes).await?;
    // A bound may cut a character.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Parses status and body.
fn read(text: &str) -> Option<(u16, String)> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

impl CommandResult for Health {
    fn text(&self) -> String {
        let state = if self.ready { "ready" } else { "NOT READY" };
        format!("{} is {state}: {}", self.address, self.answer)
    }

    fn has_problems(&self) -> bool {
        !self.ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_parsed() {
        let (status, body) = read("HTTP/1.0 503 X\r\na: b\r\n\r\n{\"status\":\"ending\"}").unwrap();
        assert_eq!((status, body.as_str()), (503, "{\"status\":\"ending\"}"));
        assert_eq!(read("HTTP/1.1 200 OK\r\n\r\nfine"), Some((200, "fine".to_owned())));
        for bad in ["", "HTTP/1.1 200 OK", "+PONG\r\n\r\n", "HTTP/1.1 x\r\n\r\n"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
