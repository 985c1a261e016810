//! HTTP calls of simulated buyers, with a bound on how many are under way.
//!
//! A call has a moment at which it is due. If all connections are taken it waits for one, at most
//! as long as a call may take, and that wait is part of its latency: a measurement from the moment
//! of sending would not show a server that stalls.
//!
//! hyper-util's client with its pool, rather than reqwest on top of it: on two cores shared with
//! what is measured, 7.5 against 13.5 µs of processor time a call.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use hyper::{Method, Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::Failure;

/// Most bytes of an answer's body: the seat map of a large event.
const BODY_BYTES_MAX: usize = 64 << 20;
/// How long an idle connection is kept: less than servers do, so that they are not the ones to
/// close it just when it is used.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Longest pause that a `Retry-After` is obeyed for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// The servers and the bounds of calls.
pub struct Target {
    /// Base addresses, which take turns.
    pub urls: Vec<String>,
    /// Calls under way at most.
    pub in_flight_max: usize,
    /// How long a call may take, and how long it may wait before.
    pub timeout: Duration,
}

/// An HTTP request.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// GET, POST or DELETE.
    pub method: Method,
    /// The path below the base address.
    pub path: String,
    /// Other headers.
    pub headers: Vec<(&'static str, String)>,
    /// Accept bytes rather than JSON.
    pub raw: bool,
    /// JSON to send.
    pub body: Option<Value>,
}

/// The result of a call.
#[derive(Debug)]
pub struct Exchange {
    /// When it was sent; `None` if no connection came free in time.
    pub sent: Option<Instant>,
    /// Wait for a free connection, if all were in use.
    pub waited: Option<Duration>,
    /// When the response arrived or the call was given up.
    pub answered: Instant,
    /// The response.
    pub reply: Result<Reply, NoReply>,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`, bounded.
    pub retry_after: Option<Duration>,
    /// Whether it is marked as a replay.
    pub replayed: bool,
    /// The body.
    pub body: Bytes,
}

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoReply {
    /// No connection came free in time: the bound on calls under way.
    NotSent,
    /// No response in time: the server may have done it.
    TimedOut,
    /// No connection could be made.
    NotConnected,
    /// The connection broke: the server may have done it.
    Broken,
}

impl NoReply {
    /// Returns its name in tables and histories.
    pub fn as_str(self) -> &'static str {
        match self {
            NoReply::NotSent => "not_sent",
            NoReply::TimedOut => "timed_out",
            NoReply::NotConnected => "not_connected",
            NoReply::Broken => "broken",
        }
    }
}

type Http = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The client that all buyers share.
pub struct Client {
    http: Http,
    urls: Vec<String>,
    turn: AtomicUsize,
    slots: Arc<Semaphore>,
    in_flight_max: usize,
    timeout: Duration,
}

impl Client {
    /// Creates a client of these servers. It connects on first use.
    pub fn new(target: Target) -> Result<Self, Failure> {
        let secure = target.urls.iter().any(|url| url.starts_with("https://"));
        let tls =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots(secure)?)
                .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(target.timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(target.in_flight_max)
            .build(connector);
        let trim = |url: &String| url.trim_end_matches('/').to_owned();
        Ok(Client {
            http,
            urls: target.urls.iter().map(trim).collect(),
            turn: AtomicUsize::new(0),
            slots: Arc::new(Semaphore::new(target.in_flight_max)),
            in_flight_max: target.in_flight_max,
            timeout: target.timeout,
        })
    }

    /// Returns the number of calls under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight_max - self.slots.available_permits()
    }

    /// Makes one call. Failures are part of the result.
    pub async fn call(&self, request: &HttpRequest) -> Exchange {
        let (slot, waited) = match self.slots.try_acquire() {
            Ok(slot) => (slot, None),
            Err(_) => {
                let began = Instant::now();
                let slot = tokio::time::timeout(self.timeout, self.slots.acquire()).await;
                let (answered, waited) = (Instant::now(), Some(began.elapsed()));
                let Ok(Ok(slot)) = slot else {
                    return Exchange { sent: None, waited, answered, reply: Err(NoReply::NotSent) };
                };
                (slot, waited)
            }
        };
        let sent = Instant::now();
        let reply = match tokio::time::timeout(self.timeout, self.exchange(request)).await {
            Ok(reply) => reply,
            Err(_) => Err(NoReply::TimedOut),
        };
        drop(slot);
        Exchange { sent: Some(sent), waited, answered: Instant::now(), reply }
    }

    async fn exchange(&self, request: &HttpRequest) -> Result<Reply, NoReply> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.urls.len();
        let mut builder = Request::builder()
            .method(&request.method)
            .uri(format!("{}{}", self.urls[turn], request.path))
            .header(
                ACCEPT,
                if request.raw { "application/octet-stream" } else { "application/json" },
            );
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        let body = match &request.body {
            None => Bytes::new(),
            Some(body) => {
                builder = builder.header(CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
        };
        // A path or header that cannot be sent never was.
        let request = builder.body(Full::new(body)).map_err(|_| NoReply::NotSent)?;
        let response = self.http.request(request).await.map_err(|error| {
            if error.is_connect() { NoReply::NotConnected } else { NoReply::Broken }
        })?;
        read(response).await
    }
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<Reply, NoReply> {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let retry_after = header(RETRY_AFTER.as_str()).and_then(|text| text.parse().ok());
    let status = response.status().as_u16();
    let replayed = header("idempotent-replayed") == Some("true");
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX);
    let body = body.collect().await.map_err(|_| NoReply::Broken)?.to_bytes();
    let retry_after = retry_after.map(|s| Duration::from_secs(s).min(RETRY_AFTER_MAX));
    Ok(Reply { status, retry_after, replayed, body })
}

/// Returns the machine's root certificates, if TLS is needed.
fn roots(needed: bool) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    if needed {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err("https needs certificates, and this machine has none".into());
        }
    }
    Ok(roots)
}

impl Reply {
    /// Returns the body as JSON; `null` if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}
