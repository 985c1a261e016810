//! An endpoint: one path, its methods, and what is done around every handler.
//!
//! Around each handler, in this order: its connection, the head's size, the site that asks and the names of
//! the query's parameters are checked, the handler runs under the request's trace, a panic in it is caught, a refusal becomes problem+json with the trace id,
//! the answer is counted under the route's pattern and gets `X-Trace-Id`, what limits say and the
//! headers that browsers heed.

use std::cell::RefCell;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use actix_web::dev::Service;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Compress;
use actix_web::web::{self, Payload, ServiceConfig};
use actix_web::{HttpMessage, HttpResponse, Resource, Route, guard};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use crate::telemetry::Metrics;
use crate::telemetry::striped::{StripedCounter, StripedHistogram};

use super::fault_log;
use super::openapi;
use super::state::RequestContext;
use crate::gates::RateLimitHeaders;
use crate::gates::other_sites;
use crate::http::connections;
use crate::http::cors;
use crate::http::head;
use crate::http::headers::RouteHeaders;
use crate::http::outgoing;
use crate::http::params;
use crate::http::problem::{Code, Problem};

/// What a handler gives back.
pub type Answer = Result<HttpResponse, Problem>;

/// The header that names the request's trace.
pub const TRACE_ID: header::HeaderName = header::HeaderName::from_static("x-trace-id");

/// A handler with everything around it.
pub type Served = Rc<dyn Fn(RequestContext, Payload) -> LocalBoxFuture<'static, HttpResponse>>;

/// One path with its methods.
pub struct Endpoint {
    /// The path's pattern, which is also its label in metrics.
    pub path: &'static str,
    /// The methods that have a handler.
    pub methods: Vec<Method>,
    served: Vec<(Method, Served)>,
    metrics: Metrics,
    resource: Resource,
    compressed: bool,
    is_private: bool,
    is_hot: bool,
}

impl Endpoint {
    /// A path without methods yet.
    pub fn at(path: &'static str, metrics: &Metrics) -> Self {
        Endpoint {
            path,
            methods: Vec::new(),
            served: Vec::new(),
            metrics: metrics.clone(),
            resource: web::resource(path),
            compressed: false,
            is_private: false,
            is_hot: !path.contains('{'),
        }
    }

    /// A path whose answers are for one caller's eyes: nobody may keep them.
    pub fn private(path: &'static str, metrics: &Metrics) -> Self {
        Endpoint { is_private: true, ..Endpoint::at(path, metrics) }
    }

    /// Answers GET, and HEAD like GET without the body.
    pub fn get<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(RequestContext, Payload) -> Fut + Clone + 'static,
        Fut: Future<Output = Answer> + 'static,
    {
        let route = web::route().guard(guard::Any(guard::Get()).or(guard::Head()));
        self.serves(Method::GET, route, handler)
    }

    /// Answers another method.
    pub fn on<F, Fut>(self, method: Method, handler: F) -> Self
    where
        F: Fn(RequestContext, Payload) -> Fut + Clone + 'static,
        Fut: Future<Output = Answer> + 'static,
    {
        let route = web::method(method.clone());
        self.serves(method, route, handler)
    }

    /// Compresses answers for clients that take it: for large bodies only, it costs time.
    pub fn compressed(mut self) -> Self {
        self.compressed = true;
        self
    }

    /// A path with one parameter that is asked for as often as any: it stands in front, too.
    pub fn in_front(mut self) -> Self {
        self.is_hot = true;
        self
    }

    fn serves<F, Fut>(mut self, method: Method, route: Route, handler: F) -> Self
    where
        F: Fn(RequestContext, Payload) -> Fut + Clone + 'static,
        Fut: Future<Output = Answer> + 'static,
    {
        let metrics = RouteMetrics::new(&self.metrics, label(&method), self.path);
        let headers = RouteHeaders::of(self.path, self.is_private);
        let parameters = openapi::query_parameters(&method, self.path);
        let served = around(metrics, headers, parameters, handler);
        self.methods.push(method.clone());
        self.served.push((method, Rc::new(served.clone())));
        self.resource = self.resource.route(route.to(served));
        self
    }

    /// Its handlers by method, if it stands in front of the table: then its answers are sent as
    /// they are.
    pub fn hot(&self) -> &[(Method, Served)] {
        if self.compressed || !self.is_hot { &[] } else { &self.served }
    }

    /// Adds the endpoint to a server; methods without a handler are answered 405.
    pub fn register(self, server: &mut ServiceConfig) {
        let mut allowed: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
        if self.methods.contains(&Method::GET) {
            allowed.push("HEAD");
        }
        let allowed = allowed.join(", ");
        let refuse = move |context: RequestContext, _: Payload| {
            let method = context.http.method();
            let mut detail = format!("{method} is not a method of this route; use {allowed}");
            if cors::is_preflight(&context.http) {
                detail = format!("{detail}. {}", cors::no_site_is_let_in(&context.http));
            }
            let allow = HeaderValue::from_str(&allowed);
            let problem = Problem::new(Code::MethodNotAllowed, detail);
            // Method names are valid header text.
            let problem = match allow {
                Ok(allow) => problem.with_header(header::ALLOW, allow),
                Err(_) => problem,
            };
            std::future::ready(Err(problem))
        };
        let metrics = RouteMetrics::new(&self.metrics, ANY_METHOD, self.path);
        let headers = RouteHeaders::of(self.path, self.is_private);
        let resource =
            self.resource.default_service(web::to(around(metrics, headers, None, refuse)));
        if self.compressed {
            let negotiated = resource.wrap(Compress::default()).wrap_fn(|mut request, inner| {
                accept_gzip_or_nothing(request.headers_mut());
                inner.call(request)
            });
            server.service(negotiated);
        } else {
            server.service(resource);
        }
    }
}

/// Whether a client takes the one compression that we offer.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepts = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
        text.split(',').any(|item| {
            let (coding, quality) = item.split_once(';').unwrap_or((item, ""));
            let never = quality.trim().trim_start_matches("q=").parse() == Ok(0.0);
            matches!(coding.trim(), "gzip" | "*") && !never
        })
    };
    headers.get_all(header::ACCEPT_ENCODING).any(accepts)
}

/// Reduces `Accept-Encoding` to what we offer. A client that takes nothing of it gets the plain
/// body, which the standard allows, rather than the middleware's bare 406.
fn accept_gzip_or_nothing(headers: &mut HeaderMap) {
    let gzip = accepts_gzip(headers);
    headers.remove(header::ACCEPT_ENCODING);
    if gzip {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

/// Answers whatever no endpoint's path matches.
pub fn unmatched(metrics: &Metrics) -> Route {
    let metrics = RouteMetrics::new(metrics, ANY_METHOD, "unmatched");
    let refuse = |_: RequestContext, _: Payload| {
        let detail = "There is nothing at this address; GET /openapi.json lists all routes";
        std::future::ready(Err(Problem::new(Code::RouteUnknown, detail)))
    };
    web::to(around(metrics, RouteHeaders::of("", false), None, refuse))
}

/// The parameters that a route's query may have; `None`: any.
type Parameters = Option<&'static [String]>;

/// The handler with everything around it.
fn around<F, Fut>(
    metrics: RouteMetrics,
    headers: RouteHeaders,
    parameters: Parameters,
    handler: F,
) -> impl Fn(RequestContext, Payload) -> LocalBoxFuture<'static, HttpResponse> + Clone + 'static
where
    F: Fn(RequestContext, Payload) -> Fut + Clone + 'static,
    Fut: Future<Output = Answer> + 'static,
{
    let route = Rc::new((metrics, headers, parameters));
    move |context, payload| serve(context, payload, route.clone(), handler.clone()).boxed_local()
}

async fn serve<F, Fut>(
    context: RequestContext,
    payload: Payload,
    route: Rc<(RouteMetrics, RouteHeaders, Parameters)>,
    handler: F,
) -> HttpResponse
where
    F: Fn(RequestContext, Payload) -> Fut,
    Fut: Future<Output = Answer>,
{
    let (metrics, headers, parameters) = &*route;
    let _in_flight = InFlight::enter(&metrics.metrics);
    let checked = connections::check(&context.http)
        .and_then(|()| head::check(&context.http))
        .and_then(|()| {
            other_sites::check(&context.state.config, &context.http, headers.is_private())
        })
        .and_then(|()| match parameters {
            Some(known) if !context.http.query_string().is_empty() => {
                params::check_names(&context.http, known)
            }
            _ => Ok(()),
        });
    let outcome = match checked {
        Ok(()) => {
            let handled = AssertUnwindSafe(handler(context.clone(), payload));
            context.trace.scope(handled.catch_unwind()).await
        }
        Err(problem) => Ok(Err(problem)),
    };
    let result = outcome.unwrap_or_else(|_| {
        // The panic hook has logged and counted it.
        Err(Problem::internal("a panic"))
    });
    let result = result.and_then(|answer| outgoing::bounded(answer, &context.state.memory));
    let trace_id = context.trace.trace_id().text();
    let mut answer = match result {
        Ok(mut answer) => {
            headers.put(answer.headers_mut());
            answer
        }
        Err(problem) => {
            let reads = matches!(*context.http.method(), Method::GET | Method::HEAD);
            let problem = match reads {
                true => problem.of_a_read(),
                false => super::unknown_outcomes::describe(problem, metrics.method, metrics.route),
            };
            metrics.note_problem(problem.code);
            if problem.code.status().is_server_error() {
                context.trace.scope_now(|| fault_log::record(&context, &problem));
            }
            let mut answer = problem.render(Some(&trace_id));
            headers.put_into_refusal(answer.headers_mut());
            answer
        }
    };
    if let Ok(value) = HeaderValue::from_bytes(trace_id.as_bytes()) {
        answer.headers_mut().insert(TRACE_ID, value);
    }
    if let Some(limits) = context.http.extensions_mut().remove::<RateLimitHeaders>() {
        limits.write(answer.headers_mut());
    }
    if context.state.shutdown.is_requested() {
        // The client should open its next connection elsewhere.
        answer.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    }
    metrics.observe(&context, answer.status());
    answer
}

/// Counts a request as under way while it lives.
struct InFlight<'a>(&'a Metrics);

impl<'a> InFlight<'a> {
    fn enter(metrics: &'a Metrics) -> Self {
        metrics.http_in_flight.inc();
        InFlight(metrics)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.http_in_flight.dec();
    }
}

/// The metrics of one route and method, their children kept. One per HTTP thread, so unlocked.
struct RouteMetrics {
    metrics: Metrics,
    method: &'static str,
    route: &'static str,
    duration: StripedHistogram,
    by_status: RefCell<Vec<(StatusCode, StripedCounter)>>,
    by_problem: RefCell<Vec<(Code, StripedCounter)>>,
}

impl RouteMetrics {
    fn new(metrics: &Metrics, method: &'static str, route: &'static str) -> Self {
        RouteMetrics {
            metrics: metrics.clone(),
            method,
            route,
            duration: metrics.http_duration.with_label_values(&[method, route]),
            by_status: RefCell::default(),
            by_problem: RefCell::default(),
        }
    }

    fn note_problem(&self, code: Code) {
        count(&self.by_problem, code, || self.metrics.problems.with_label_values(&[code.as_str()]));
    }

    fn observe(&self, context: &RequestContext, status: StatusCode) {
        self.duration.observe(context.started.elapsed().as_secs_f64());
        count(&self.by_status, status, || {
            let labels = [self.method, self.route, status.as_str()];
            self.metrics.http_requests.with_label_values(&labels)
        });
        tracing::debug!(
            trace_id = %context.trace.trace_id(),
            duration_ms = context.elapsed_ms(),
            method = %context.http.method(),
            route = self.route,
            status = status.as_u16(),
            "request"
        );
    }
}

/// Counts one of a kind; its counter is looked up once.
fn count<K: Copy + PartialEq>(
    kept: &RefCell<Vec<(K, StripedCounter)>>,
    kind: K,
    counter: impl FnOnce() -> StripedCounter,
) {
    let mut kept = kept.borrow_mut();
    match kept.iter().find(|(of, _)| *of == kind) {
        Some((_, counter)) => counter.inc(),
        None => {
            let counter = counter();
            counter.inc();
            kept.push((kind, counter));
        }
    }
}

/// The label of answers that are the same for all methods: what clients invent is no label.
const ANY_METHOD: &str = "*";

fn label(method: &Method) -> &'static str {
    const KNOWN: [&str; 4] = ["GET", "POST", "PATCH", "DELETE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or(ANY_METHOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_gzip_is_negotiated() {
        let cases = [
            ("gzip, deflate, br", true),
            ("br;q=1.0, *;q=0.5", true),
            ("GZIP", true),
            ("br", false),
            ("identity;q=0", false),
            ("gzip;q=0", false),
            ("gzip; q=0.0, identity;q=0", false),
        ];
        for (accepted, gzip) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            accept_gzip_or_nothing(&mut headers);
            let left = headers.get(header::ACCEPT_ENCODING).map(|value| value.to_str().unwrap());
            assert_eq!(left, gzip.then_some("gzip"), "{accepted}");
        }
    }
}
