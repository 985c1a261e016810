//! The state that all handlers of one server share, and the context of a request.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::web::{Bytes, Data};
use actix_web::{FromRequest, HttpRequest};
use tokio::sync::Semaphore;

use crate::config::LiveConfig;
use crate::lifecycle::Shutdown;
use crate::sale::Sale;
use crate::telemetry::Metrics;

use super::seats::SeatMapCache;
use crate::gates::Gates;
use crate::http::body::BodyLimits;
use crate::http::request_head::RequestHead;
use crate::http::response_memory::ResponseMemory;
use crate::push::PushState;

/// The state of one server. Each HTTP thread has its own copy, which its requests share: this avoids
/// contention on the reference count.
#[derive(Clone)]
pub struct State {
    /// The use cases.
    pub sale: Sale,
    /// The checks before a request reaches the sale.
    pub gates: Arc<Gates>,
    /// The settings in effect.
    pub config: LiveConfig,
    /// Counters.
    pub metrics: Metrics,
    /// Requested when the process ends.
    pub shutdown: Shutdown,
    /// Open WebSockets and event streams, and the channels that feed them.
    pub push: Arc<PushState>,
    /// Rendered seat maps and counts, shared by all requests.
    pub seat_maps: Arc<SeatMapCache>,
    /// The memory of unfinished responses.
    pub memory: Arc<ResponseMemory>,
    /// The logs of events that operators may follow at a time.
    pub log_streams: Arc<Semaphore>,
    /// When this server started.
    pub started: Instant,
    /// `/openapi.json`, rendered once.
    pub openapi: Bytes,
}

impl State {
    /// Limits of a user's body.
    pub fn body_limits(&self) -> BodyLimits {
        let config = self.config.load();
        BodyLimits {
            bytes_max: config.http_body_bytes_max,
            timeout: Duration::from_millis(config.http_body_timeout_ms),
        }
    }

    /// Limits of an admin's body, which may describe a large layout.
    pub fn admin_body_limits(&self) -> BodyLimits {
        BodyLimits { bytes_max: self.config.load().http_admin_body_bytes_max, ..self.body_limits() }
    }
}

/// A request's head and the server's state. Handlers read path, query and body themselves, in the order
/// they need: actix runs extractors in no defined order.
#[derive(Clone)]
pub struct RequestContext {
    /// The request's head.
    pub head: RequestHead,
    /// The server's state.
    pub state: Data<State>,
}

impl RequestContext {
    /// The context of a request whose head has just arrived.
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
        // `server::application` registers the state.
        let missing = || actix_web::error::ErrorInternalServerError("the server has no state");
        std::future::ready(context.ok_or_else(missing))
    }
}
