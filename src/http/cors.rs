//! Cross-origin resource sharing (CORS): which pages of other sites may read responses, and what
//! they may send.
//!
//! `actix-cors` answers permitted preflights and adds the CORS headers to all responses. Refused
//! preflights are answered here, with a detail that names the setting to change: browsers hide that
//! response from the page, but developer tools show it.

use std::future::Future;
use std::rc::Rc;

use actix_cors::Cors;
use actix_web::Error;
use actix_web::HttpRequest;
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use futures_util::TryFutureExt;
use futures_util::future::Either;

use crate::config::{Config, LiveConfig};
use crate::telemetry::Metrics;

use super::headers::TRACE_ID;
use super::origin;
use super::problem::{Code, Problem};
use super::request_head::RequestHead;

/// How long a browser may cache the result of a preflight, seconds.
const PREFLIGHT_SECONDS: usize = 3_600;
/// The value of `cors_origins` and `cors_extra_headers` that permits everything.
pub const ANY: &str = "*";

/// Methods of routes.
pub const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PATCH", "DELETE"];
/// Request headers that pages may send without a setting: those that the API reads, and those that
/// common client libraries add (tracing, event streams over `fetch`, caches, request ids). A preflight
/// fails as a whole if one header is not listed.
pub const REQUEST_HEADERS: [&str; 20] = [
    "accept",
    "accept-language",
    "authorization",
    "baggage",
    "cache-control",
    "content-type",
    "idempotency-key",
    "if-none-match",
    "last-event-id",
    "pragma",
    "sentry-trace",
    "traceparent",
    "tracestate",
    "x-admin-key",
    "x-correlation-id",
    "x-idempotency-key",
    "x-request-id",
    "x-requested-with",
    "x-user-id",
    "x-waiting-room-token",
];
/// Response headers that pages may read, beside those that browsers always expose.
pub const RESPONSE_HEADERS: [&str; 16] = [
    "age",
    "allow",
    "content-disposition",
    "date",
    "etag",
    "idempotent-replayed",
    "location",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "upgrade",
    "www-authenticate",
    "x-seat-map-generation",
    "x-seat-map-stale",
    "x-seat-map-version",
    "x-trace-id",
];
/// Unlisted headers that a refusal names at most.
const UNLISTED_SHOWN_MAX: usize = 10;
/// Request headers on which responses to preflights depend.
const VARY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

/// Whether any other site is allowed.
pub fn has_origins(config: &Config) -> bool {
    !config.cors_origins.is_empty()
}

/// Whether pages of a site are allowed.
pub fn allows_origin(config: &Config, origin: &str) -> bool {
    config.cors_origins.iter().any(|site| site == ANY || origin::is_site(site, origin))
}

/// The `actix-cors` middleware for these settings. Browser credentials (cookies) are not allowed:
/// users authenticate with tokens, which a page has to have.
pub fn middleware(config: &Config) -> Cors {
    let cors = Cors::default()
        .allowed_methods(METHODS)
        .expose_headers(RESPONSE_HEADERS)
        .max_age(PREFLIGHT_SECONDS);
    let cors = match allows_any_header(config) {
        true => cors.allow_any_header(),
        false => {
            let extra = config.cors_extra_headers.iter().map(|name| name.to_ascii_lowercase());
            cors.allowed_headers(REQUEST_HEADERS.map(str::to_owned).into_iter().chain(extra))
        }
    };
    if config.cors_origins.iter().any(|origin| origin == ANY) {
        return cors.allow_any_origin().send_wildcard();
    }
    let sites = config.cors_origins.clone();
    cors.allowed_origin_fn(move |page, _| {
        page.to_str().is_ok_and(|page| sites.iter().any(|site| origin::is_site(site, page)))
    })
}

fn allows_any_header(config: &Config) -> bool {
    config.cors_extra_headers.iter().any(|name| name == ANY)
}

/// Answers refused preflights; one per HTTP thread.
#[derive(Clone)]
pub struct Preflights {
    shared: Rc<(LiveConfig, Metrics)>,
}

impl Preflights {
    /// Refuses by these settings, and counts refusals in these metrics.
    pub fn new(config: LiveConfig, metrics: Metrics) -> Self {
        Preflights { shared: Rc::new((config, metrics)) }
    }

    /// Answers a preflight that is refused, and passes every other request on.
    pub fn serve<T, B>(
        &self,
        request: ServiceRequest,
        next: &T,
    ) -> impl Future<Output = Result<ServiceResponse, Error>> + use<T, B>
    where
        T: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody + 'static,
    {
        let refusal = match is_preflight(request.request()) {
            true => {
                let config = self.shared.0.load();
                let checked = has_origins(&config).then(|| check(&config, request.request()));
                checked.and_then(Result::err)
            }
            false => None,
        };
        match refusal {
            None => Either::Left(next.call(request).map_ok(ServiceResponse::map_into_boxed_body)),
            Some(refusal) => Either::Right(std::future::ready(Ok(self.refuse(request, &refusal)))),
        }
    }

    fn refuse(&self, request: ServiceRequest, refusal: &Problem) -> ServiceResponse {
        let (request, _) = request.into_parts();
        let (_, metrics) = &*self.shared;
        let head = RequestHead::new(request.clone());
        head.in_trace(|| log(&request, &refusal.detail));
        metrics.problems.with_label_values(&[refusal.code.as_str()]).inc();
        let trace_id = head.trace.trace_id().text();
        let mut response = refusal.render(Some(&trace_id));
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static(VARY));
        if let Ok(value) = HeaderValue::from_bytes(trace_id.as_bytes()) {
            headers.insert(TRACE_ID, value);
        }
        ServiceResponse::new(request, response)
    }
}

/// Whether a request is a CORS preflight.
pub fn is_preflight(request: &HttpRequest) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The detail of a refused preflight where no other site is allowed.
pub fn no_site_is_allowed(request: &HttpRequest) -> &'static str {
    let detail = "Pages of other sites may not use this server: name their sites in the setting \
        cors_origins";
    log(request, detail);
    detail
}

fn log(request: &HttpRequest, detail: &str) {
    let text = |name: HeaderName| {
        let value = request.headers().get(name);
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    tracing::debug!(
        origin = text(header::ORIGIN),
        method = text(header::ACCESS_CONTROL_REQUEST_METHOD),
        headers = text(header::ACCESS_CONTROL_REQUEST_HEADERS),
        path = request.path(),
        detail,
        "preflight refused"
    );
}

/// Checks origin, method and headers of a preflight.
fn check(config: &Config, request: &HttpRequest) -> Result<(), Problem> {
    let headers = request.headers();
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(header::ORIGIN).unwrap_or_default();
    if !allows_origin(config, origin) {
        let detail = format!(
            "Pages of {origin:?} may not use this server: name the site in the setting cors_origins"
        );
        return Err(refused(detail, Some("cors_origins")));
    }
    let method = text(header::ACCESS_CONTROL_REQUEST_METHOD).unwrap_or_default();
    if !METHODS.contains(&method) {
        let methods = METHODS.join(", ");
        return Err(refused(format!("No route has the method {method:?}; use {methods}"), None));
    }
    if allows_any_header(config) {
        return Ok(());
    }
    let lists = headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let mut unlisted: Vec<String> = Vec::new();
    for list in lists {
        let list = String::from_utf8_lossy(list.as_bytes());
        let names = list.split(',').map(|name| name.trim().to_ascii_lowercase());
        unlisted.extend(names.filter(|name| !is_listed(config, name)));
    }
    if unlisted.is_empty() {
        return Ok(());
    }
    unlisted.truncate(UNLISTED_SHOWN_MAX);
    let detail = format!(
        "Pages may not send the headers {}: name them in the setting cors_extra_headers",
        unlisted.join(", ")
    );
    Err(refused(detail, Some("cors_extra_headers")).with("headers", unlisted.into()))
}

fn is_listed(config: &Config, name: &str) -> bool {
    REQUEST_HEADERS.contains(&name)
        || config.cors_extra_headers.iter().any(|extra| extra.eq_ignore_ascii_case(name))
}

fn refused(detail: String, setting: Option<&str>) -> Problem {
    let problem = Problem::new(Code::PreflightRefused, detail);
    match setting {
        Some(setting) => problem.with("setting", setting.into()),
        None => problem,
    }
}
