//! The data of `draw verify`: from a file, or from an API, in one bounded request.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{ACCEPT, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::domain::EventId;

use super::super::failure::Failure;

/// Timeout of the request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum length of the data, bytes: a draw has less than a thousand.
const BYTES_MAX: usize = 64 * 1024;
/// The user agent of the request.
const AGENT: &str = concat!("holdfastctl/", env!("CARGO_PKG_VERSION"));

/// Reads a file; `-` is standard input.
pub(super) fn file(path: &str) -> Result<String, Failure> {
    let text = match path {
        "-" => read(std::io::stdin().lock()),
        path => File::open(path).map_err(|error| error.to_string()).and_then(read),
    };
    text.map_err(|reason| Failure::new(format!("{path}: {reason}")))
}

fn read(source: impl Read) -> Result<String, String> {
    let mut text = String::new();
    let read = source.take(BYTES_MAX as u64 + 1).read_to_string(&mut text);
    match read.map_err(|error| error.to_string())? {
        bytes if bytes > BYTES_MAX => {
            Err(format!("longer than {BYTES_MAX} bytes: that is no draw"))
        }
        _ => Ok(text),
    }
}

/// Fetches an event's draw from an API.
pub(super) async fn api(base: &str, event: EventId) -> Result<String, Failure> {
    let base = base.trim_end_matches('/');
    let url = format!("{base}/api/v1/events/{event}/waiting-room/draw");
    let fetched = tokio::time::timeout(ANSWER_TIMEOUT, get(&url)).await;
    let text =
        fetched.unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())));
    text.map_err(|reason| Failure::new(format!("{url}: {reason}")))
}

async fn get(url: &str) -> Result<String, String> {
    if !(url.starts_with("https://") || url.starts_with("http://")) {
        return Err("give the API's address as https://tickets.example".to_owned());
    }
    let request = Request::get(url).header(USER_AGENT, AGENT).header(ACCEPT, "application/json");
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
        .map_err(|error| format!("TLS is not possible: {error}"))?
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let answer = client.request(request).await.map_err(|error| error_chain(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), BYTES_MAX).collect().await;
    let body = body.map_err(|error| error_chain(error.as_ref()))?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    if status == StatusCode::OK { Ok(text) } else { Err(format!("answered {status}")) }
}

/// Formats an error with its causes: hyper's own text alone says "client error (Connect)".
fn error_chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", error_chain(source)),
        None => error.to_string(),
    }
}
