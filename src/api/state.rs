//! What all handlers of one server share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::http::header::HeaderName;
use actix_web::web::{Bytes, Data};
use actix_web::{FromRequest, HttpRequest};

use crate::config::Config;
use crate::sale::Sale;
use crate::shutdown::Shutdown;
use crate::telemetry::{Metrics, TraceContext};

use super::seats::Frames;
use crate::gates::Gates;
use crate::http::body::BodyLimits;
use crate::http::response_memory::ResponseMemory;
use crate::push::{ChannelRegistry, Sockets};

/// The shared parts of one server. Each of its threads has a copy: a request that is under way
/// counts as the owner of one, and threads need not fight over that count.
#[derive(Clone)]
pub struct State {
    /// The use cases.
    pub sale: Sale,
    /// What requests pass before they reach the sale.
    pub gates: Arc<Gates>,
    /// Settings.
    pub config: Arc<Config>,
    /// Counters.
    pub metrics: Metrics,
    /// Whether the process is ending.
    pub shutdown: Shutdown,
    /// Open WebSockets and event streams.
    pub sockets: Arc<Sockets>,
    /// What is told of seats, for all of them.
    pub boards: Arc<ChannelRegistry>,
    /// Seats and counts, rendered once for all who ask.
    pub frames: Arc<Frames>,
    /// What unfinished responses keep in memory.
    pub memory: Arc<ResponseMemory>,
    /// When this server began.
    pub started: Instant,
    /// `/openapi.json`, rendered once.
    pub openapi: Bytes,
}

impl State {
    /// Bounds of a caller's body.
    pub fn body_limits(&self) -> BodyLimits {
        BodyLimits {
            bytes_max: self.config.http_body_bytes_max,
            timeout: Duration::from_millis(self.config.http_body_timeout_ms),
        }
    }

    /// Bounds of an admin's body, which may describe a large layout.
    pub fn admin_body_limits(&self) -> BodyLimits {
        BodyLimits { bytes_max: self.config.http_admin_body_bytes_max, ..self.body_limits() }
    }
}

/// One request as handlers see it. Everything else about it is read in the order a handler says,
/// not by extractors, which actix resolves in no order.
#[derive(Clone)]
pub struct Call {
    /// The request's head.
    pub request: HttpRequest,
    /// The server's shared parts.
    pub state: Data<State>,
    /// Its trace.
    pub trace: TraceContext,
    /// When its head had arrived.
    pub started: Instant,
}

/// The header with the caller's trace.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

impl Call {
    /// A request whose head has just arrived.
    pub fn new(request: HttpRequest, state: Data<State>) -> Self {
        let started = Instant::now();
        let caller_trace = request.headers().get(TRACEPARENT);
        let trace = caller_trace
            .and_then(|value| TraceContext::from_traceparent(value.to_str().ok()?))
            .unwrap_or_else(TraceContext::new_root);
        Call { request, state, trace, started }
    }

    /// A header's text; `None` if absent or not plain text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name)?.to_str().ok()
    }

    /// Milliseconds since the request's head had arrived, for the log.
    pub fn elapsed_ms(&self) -> f64 {
        self.started.elapsed().as_micros() as f64 / 1_000.0
    }
}

impl FromRequest for Call {
    type Error = actix_web::Error;
    type Future = std::future::Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let state = request.app_data::<Data<State>>();
        let call = state.map(|state| Call::new(request.clone(), state.clone()));
        // `server::app` registers the state; without it nothing could be served at all.
        let missing = || actix_web::error::ErrorInternalServerError("the server has no state");
        std::future::ready(call.ok_or_else(missing))
    }
}
