//! A route: one handler with its method and path, and everything that happens around it.
//!
//! | in this order | where |
//! |---|---|
//! | the request counts as in flight | here |
//! | its connection, head, origin and query are checked | [`check`] |
//! | the handler runs within the request's trace; a panic in it becomes a 500 | here |
//! | a large body is counted towards the memory of responses | `http::outgoing` |
//! | a problem is counted, logged if it is the server's fault, and rendered | here |
//! | the headers of the route, of the trace and of rate limits are added | here |
//! | the response is counted and timed under the route's path | `route_metrics` |

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::http::header::HeaderValue;
use actix_web::http::{ConnectionType, Method};
use actix_web::web::Payload;
use actix_web::{HttpMessage, HttpResponse};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::{HttpMethod, ParameterIn};

use crate::gates::{RateLimitHeaders, other_sites};
use crate::http::headers::{DOCS_POLICY, PAGE_POLICY, RouteHeaders, TRACE_ID};
use crate::http::problem::{Code, Problem};
use crate::http::{HandlerResult, connections, head, outgoing, params};
use crate::telemetry::Metrics;
use crate::telemetry::spans::Span;

use super::route_metrics::RouteMetrics;
use super::state::RequestContext;
use super::{server_error_log, unknown_outcomes};

/// A handler with everything around it.
pub type Service = Rc<dyn Fn(RequestContext, Payload) -> Serving>;

/// How a route is served.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// Its responses are private to one caller: they are never stored.
    pub is_private: bool,
    /// Its responses are compressed for clients that accept it. Only for large bodies: it costs time.
    pub is_compressed: bool,
    /// It is found before the router, by comparing its path.
    pub is_fast: bool,
    /// Its query may have parameters that are not documented: probes, scrapers, browsers and payment
    /// providers add their own.
    pub takes_any_query: bool,
    /// Its last path parameter matches the rest of the path, slashes included.
    pub takes_rest_of_path: bool,
}

/// A route.
pub struct Route {
    /// The path's pattern, which is also its label in metrics.
    pub path: String,
    /// The method; a route for GET also answers HEAD.
    pub method: Method,
    /// How it is served.
    pub options: Options,
    /// Its handler, with everything around it.
    pub service: Service,
}

impl Route {
    /// The route of a handler, with the method, path and query parameters of its description `P`.
    pub fn new<P, F, Fut>(handler: F, options: Options, metrics: &Metrics) -> Self
    where
        P: utoipa::Path,
        F: Fn(RequestContext, Payload) -> Fut + 'static,
        Fut: Future<Output = HandlerResult> + 'static,
    {
        let path = match options.takes_rest_of_path {
            true => P::path().replace('}', ":.*}"),
            false => P::path(),
        };
        // A description has one method.
        let method = match P::methods().first() {
            Some(HttpMethod::Post) => Method::POST,
            Some(HttpMethod::Patch) => Method::PATCH,
            Some(HttpMethod::Delete) => Method::DELETE,
            _ => Method::GET,
        };
        let parameters = P::operation().parameters.into_iter().flatten();
        let names = parameters.filter_map(|parameter| match parameter {
            RefOr::T(one) if one.parameter_in == ParameterIn::Query => Some(one.name),
            _ => None,
        });
        let names = names.collect();
        let query_parameters = (!options.takes_any_query).then_some(names);
        let around = Around {
            metrics: RouteMetrics::new(metrics, method.as_str(), &path),
            headers: RouteHeaders::new(content_policy(&path), options.is_private),
            query_parameters,
        };
        Route { method, options, service: service(around, handler), path }
    }
}

/// A service that always refuses: for paths and methods without a handler.
pub fn refusing(
    metrics: &Metrics,
    path: &str,
    is_private: bool,
    refusal: impl Fn(&RequestContext) -> Problem + 'static,
) -> Service {
    let around = Around {
        metrics: RouteMetrics::new(metrics, ANY_METHOD, path),
        headers: RouteHeaders::new(content_policy(path), is_private),
        query_parameters: None,
    };
    service(around, move |context, _| std::future::ready(Err(refusal(&context))))
}

/// The method's label where a path refuses all methods alike: methods that clients invent are no labels.
const ANY_METHOD: &str = "*";

/// The `Content-Security-Policy` of a path's pages.
fn content_policy(path: &str) -> Option<&'static str> {
    match path {
        "/" | "/console" => Some(PAGE_POLICY),
        _ if path.starts_with("/events/") || path.starts_with("/console/") => Some(PAGE_POLICY),
        _ if path.starts_with("/docs") => Some(DOCS_POLICY),
        _ => None,
    }
}

/// What a handler is served with.
struct Around {
    metrics: RouteMetrics,
    headers: RouteHeaders,
    /// Names that the query may have; `None`: any.
    query_parameters: Option<Vec<String>>,
}

fn service<F, Fut>(around: Around, handler: F) -> Service
where
    F: Fn(RequestContext, Payload) -> Fut + 'static,
    Fut: Future<Output = HandlerResult> + 'static,
{
    let around = Rc::new(around);
    Rc::new(move |context, payload| {
        around.metrics.enter();
        let step = match check(&around, &context) {
            Ok(()) => Step::Handler(handler(context.clone(), payload).boxed_local()),
            Err(problem) => Step::Refused(Some(problem)),
        };
        let span = Span::of_request(context.trace, context.caller_span_id);
        Serving { around: around.clone(), context, step, span }
    })
}

/// The response to a request, while its handler runs.
///
/// A future by hand: only the handler's own future is allocated, in one piece that fits the
/// allocator's fast sizes, and none is copied.
pub struct Serving {
    around: Rc<Around>,
    context: RequestContext,
    step: Step,
    /// Ends with the response, or as aborted when the client is gone before.
    span: Span,
}

enum Step {
    Handler(LocalBoxFuture<'static, HandlerResult>),
    /// The checks refused the request; `None` once that is answered.
    Refused(Option<Problem>),
}

impl Future for Serving {
    type Output = HttpResponse;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<HttpResponse> {
        let Serving { around, context, step, span } = self.get_mut();
        let result = match step {
            Step::Handler(handler) => {
                let poll = AssertUnwindSafe(|| handler.as_mut().poll(cx));
                match context.in_trace(|| catch_unwind(poll)) {
                    Ok(poll) => ready!(poll),
                    // The panic hook has logged and counted it.
                    Err(_) => Err(Problem::internal("a panic")),
                }
            }
            Step::Refused(problem) => {
                Err(problem.take().unwrap_or_else(|| Problem::internal("polled again")))
            }
        };
        let response = respond(around, context, span, result);
        if span.is_recorded() {
            around.metrics.describe(std::mem::take(span), context, Some(response.status()));
        }
        Poll::Ready(response)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // A handler may be dropped before it has ended, and then still does something.
        let step = std::mem::replace(&mut self.step, Step::Refused(None));
        self.context.in_trace(|| drop(step));
        if self.span.is_recorded() {
            self.around.metrics.describe(std::mem::take(&mut self.span), &self.context, None);
        }
        self.around.metrics.leave();
    }
}

/// The checks before every handler.
fn check(around: &Around, context: &RequestContext) -> Result<(), Problem> {
    let request = &context.http;
    connections::check(request)?;
    head::check(request)?;
    other_sites::check(&context.state.config.load(), request, around.headers.is_private())?;
    match &around.query_parameters {
        Some(known) if !request.query_string().is_empty() => params::check_names(request, known),
        _ => Ok(()),
    }
}

/// Completes a handler's response, or renders the problem in its place.
fn respond(
    around: &Around,
    context: &RequestContext,
    span: &mut Span,
    result: HandlerResult,
) -> HttpResponse {
    let result = result.and_then(|response| outgoing::bounded(response, &context.state.memory));
    let trace_id = context.trace.trace_id().text();
    let mut response = match result {
        Ok(mut response) => {
            around.headers.add_to(response.headers_mut());
            response
        }
        Err(problem) => {
            let problem = noted(around, context, problem);
            span.set("holdfast.problem", problem.code.as_str());
            let mut response = problem.render(Some(&trace_id));
            around.headers.add_to_problem(response.headers_mut());
            response
        }
    };
    if let Ok(value) = HeaderValue::from_bytes(trace_id.as_bytes()) {
        response.headers_mut().append(TRACE_ID, value);
    }
    if let Some(limits) = context.http.extensions_mut().remove::<RateLimitHeaders>() {
        limits.write(response.headers_mut());
    }
    if context.state.shutdown.is_requested() {
        // The client should open its next connection to another process.
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    around.metrics.observe(context, response.status());
    response
}

/// Words a problem for its route, counts and logs it: at `debug`, unless it is the server's fault.
fn noted(around: &Around, context: &RequestContext, problem: Problem) -> Problem {
    let metrics = &around.metrics;
    let problem = match *context.http.method() {
        Method::GET | Method::HEAD => problem.for_read(),
        _ => unknown_outcomes::describe(problem, &metrics.method, &metrics.route),
    };
    metrics.note_problem(problem.code);
    if problem.code.status().is_server_error() {
        context.in_trace(|| server_error_log::record(context, &problem));
    } else {
        tracing::debug!(
            trace_id = %context.trace.trace_id(),
            route = metrics.route,
            status = problem.code.status().as_u16(),
            error = problem.code.as_str(),
            detail = &*problem.detail,
            "refused"
        );
    }
    problem
}

/// The refusal of a path that no route has.
pub fn route_unknown(_: &RequestContext) -> Problem {
    let detail = "There is nothing at this address; GET /openapi.json lists all routes";
    Problem::new(Code::RouteUnknown, detail)
}
