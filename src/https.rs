//! The HTTP client of this process, for the payment provider and the export of traces: HTTP/1.1 with or
//! without TLS, which verifies servers by the public certificate authorities.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// A client that keeps its connections.
pub type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// How long a connection may take to open, and how long an idle one is kept.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// To open a connection.
    pub connect: Duration,
    /// To keep an idle one.
    pub idle: Duration,
}

/// Creates a client; it connects with the first request.
///
/// # Errors
/// If TLS is not possible.
pub fn client(bounds: Bounds) -> Result<HttpClient, rustls::Error> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(bounds.connect));
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())?
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(bounds.idle)
        .build(connector))
}
