//! What all handlers of one server share.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::web::{Bytes, Data};
use actix_web::{FromRequest, HttpRequest};

use crate::config::Config;
use crate::lifecycle::Shutdown;
use crate::sale::Sale;
use crate::telemetry::Metrics;

use super::seats::Frames;
use crate::gates::Gates;
use crate::http::body::BodyLimits;
use crate::http::request_head::RequestHead;
use crate::http::response_memory::ResponseMemory;
use crate::push::PushState;

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
    /// Open WebSockets and event streams, and the channels that feed them.
    pub push: Arc<PushState>,
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

/// A request as handlers see it. Handlers read the rest of it (path, query, body) in the order they
/// need, not by extractors, which actix resolves in no defined order.
#[derive(Clone)]
pub struct RequestContext {
    /// The request's head.
    pub head: RequestHead,
    /// The server's shared parts.
    pub state: Data<State>,
}

impl RequestContext {
    /// A request whose head has just arrived.
    pub fn new(request: HttpRequest, state: Data<State>) -> Self {
        RequestContext { head: RequestHead::new(request), state }
    }

    /// The gates of this server.
    pub fn gates(&self) -> &Gates {
        &self.state.gates
    }
}

impl Deref for RequestContext {
    type Target = RequestHead;

    fn deref(&self) -> &RequestHead {
        &self.head
    }
}

impl FromRequest for RequestContext {
    type Error = actix_web::Error;
    type Future = std::future::Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let state = request.app_data::<Data<State>>();
        let context = state.map(|state| RequestContext::new(request.clone(), state.clone()));
        // `server::app` registers the state; without it nothing could be served at all.
        let missing = || actix_web::error::ErrorInternalServerError("the server has no state");
        std::future::ready(context.ok_or_else(missing))
    }
}
