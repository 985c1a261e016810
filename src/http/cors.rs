//! Which pages of other sites may read answers (CORS), and what they may send.
//!
//! `actix-cors` answers preflights that are granted and marks all answers. Preflights that are
//! refused are answered here, so that they say what to change: a browser shows a page nothing of
//! such an answer, but its developer tools do.

use std::future::Future;
use std::rc::Rc;

use actix_cors::Cors;
use actix_web::Error;
use actix_web::HttpRequest;
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::Data;
use futures_util::TryFutureExt;
use futures_util::future::Either;

use crate::config::Config;

use super::problem::{Code, Problem};
use crate::api::endpoint::TRACE_ID;
use crate::api::state::{RequestContext, State};

/// How long a browser may remember what a preflight said, seconds.
const PREFLIGHT_SECONDS: usize = 3_600;
/// The setting that lets every site in, and every header.
pub const ANY: &str = "*";

/// Methods of routes.
const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PATCH", "DELETE"];
/// Headers that pages may send without a setting: what the API reads, and what common clients of it
/// add by themselves (tracing, event streams that are no `EventSource`, caches, request ids).
/// One that is missing fails the whole preflight.
const SENT: [&str; 20] = [
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
/// Headers that they may read of an answer, beside those that browsers always show.
const SHOWN: [&str; 15] = [
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
    "x-seat-map-version",
    "x-trace-id",
];
/// Names of unlisted headers that a refusal repeats.
const NAMED_MAX: usize = 10;
/// What answers to preflights depend on.
const VARY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

/// Whether other sites are let in at all.
pub fn has_origins(config: &Config) -> bool {
    !config.cors_origins.is_empty()
}

/// Whether pages of a site are let in.
pub fn allows_origin(config: &Config, origin: &str) -> bool {
    config.cors_origins.iter().any(|known| known == ANY || known == origin)
}

/// Lets the pages of these sites read answers. Without credentials of the browser's own: users
/// show tokens, which a page has to know.
pub fn marks(config: &Config) -> Cors {
    let cors =
        Cors::default().allowed_methods(METHODS).expose_headers(SHOWN).max_age(PREFLIGHT_SECONDS);
    let cors = match any_header(config) {
        true => cors.allow_any_header(),
        false => {
            let extra = config.cors_extra_headers.iter().map(|name| name.to_ascii_lowercase());
            cors.allowed_headers(SENT.map(str::to_owned).into_iter().chain(extra))
        }
    };
    if config.cors_origins.iter().any(|origin| origin == ANY) {
        return cors.allow_any_origin().send_wildcard();
    }
    config.cors_origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}

fn any_header(config: &Config) -> bool {
    config.cors_extra_headers.iter().any(|name| name == ANY)
}

/// Refuses preflights; one a thread.
#[derive(Clone)]
pub struct Preflights {
    state: Rc<Data<State>>,
}

impl Preflights {
    /// Of this server.
    pub fn new(state: &Data<State>) -> Self {
        Preflights { state: Rc::new(state.clone()) }
    }

    /// Answers a preflight that is refused, and hands everything else on.
    pub fn serve<T, B>(
        &self,
        request: ServiceRequest,
        next: &T,
    ) -> impl Future<Output = Result<ServiceResponse, Error>> + use<T, B>
    where
        T: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody + 'static,
    {
        let refusal = match has_origins(&self.state.config) && is_preflight(request.request()) {
            true => check(&self.state.config, request.request()).err(),
            false => None,
        };
        match refusal {
            None => Either::Left(next.call(request).map_ok(ServiceResponse::map_into_boxed_body)),
            Some(refusal) => Either::Right(std::future::ready(Ok(self.refuse(request, &refusal)))),
        }
    }

    fn refuse(&self, request: ServiceRequest, refusal: &Problem) -> ServiceResponse {
        let (request, _) = request.into_parts();
        let context = RequestContext::new(request.clone(), (*self.state).clone());
        log(&request, &refusal.detail);
        context.state.metrics.problems.with_label_values(&[refusal.code.as_str()]).inc();
        let trace_id = context.trace.trace_id().text();
        let mut answer = refusal.render(Some(&trace_id));
        let headers = answer.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static(VARY));
        if let Ok(value) = HeaderValue::from_bytes(trace_id.as_bytes()) {
            headers.insert(TRACE_ID, value);
        }
        ServiceResponse::new(request, answer)
    }
}

/// Whether a browser asks whether a page may send a request.
pub fn is_preflight(request: &HttpRequest) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// What the refusal of a preflight says where no other site is let in.
pub fn no_site_is_let_in(request: &HttpRequest) -> &'static str {
    let detail = "Pages of other sites may not context this server: name their sites in the setting \
        cors_origins";
    log(request, detail);
    detail
}

fn log(request: &HttpRequest, detail: &str) {
    let shown = |name: HeaderName| {
        let value = request.headers().get(name);
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    tracing::debug!(
        origin = shown(header::ORIGIN),
        method = shown(header::ACCESS_CONTROL_REQUEST_METHOD),
        headers = shown(header::ACCESS_CONTROL_REQUEST_HEADERS),
        path = request.path(),
        detail,
        "preflight refused"
    );
}

/// Whether a page may send what its browser asks about.
fn check(config: &Config, request: &HttpRequest) -> Result<(), Problem> {
    let headers = request.headers();
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(header::ORIGIN).unwrap_or_default();
    if !allows_origin(config, origin) {
        let detail = format!(
            "Pages of {origin:?} may not context this server: name the site in the setting \
             cors_origins"
        );
        return Err(refused(detail, Some("cors_origins")));
    }
    let method = text(header::ACCESS_CONTROL_REQUEST_METHOD).unwrap_or_default();
    if !METHODS.contains(&method) {
        let methods = METHODS.join(", ");
        return Err(refused(format!("No route has the method {method:?}; use {methods}"), None));
    }
    if any_header(config) {
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
    unlisted.truncate(NAMED_MAX);
    let detail = format!(
        "Pages may not send the headers {}: name them in the setting cors_extra_headers",
        unlisted.join(", ")
    );
    Err(refused(detail, Some("cors_extra_headers")).with("headers", unlisted.into()))
}

fn is_listed(config: &Config, name: &str) -> bool {
    SENT.contains(&name)
        || config.cors_extra_headers.iter().any(|extra| extra.eq_ignore_ascii_case(name))
}

fn refused(detail: String, setting: Option<&str>) -> Problem {
    let problem = Problem::new(Code::PreflightRefused, detail);
    match setting {
        Some(setting) => problem.with("setting", setting.into()),
        None => problem,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use utoipa::OpenApi;

    use super::*;
    use crate::api::openapi::Document;

    /// Headers that browsers let pages read without asking.
    const ALWAYS_SHOWN: [&str; 7] = [
        "cache-control",
        "content-language",
        "content-length",
        "content-type",
        "expires",
        "last-modified",
        "pragma",
    ];

    fn document() -> Value {
        serde_json::from_str(&Document::openapi().to_json().unwrap()).unwrap()
    }

    /// Every value in a document, at any depth.
    fn walk<'a>(value: &'a Value, visit: &mut dyn FnMut(&'a Value)) {
        visit(value);
        match value {
            Value::Array(list) => list.iter().for_each(|one| walk(one, visit)),
            Value::Object(members) => members.values().for_each(|one| walk(one, visit)),
            _ => {}
        }
    }

    #[test]
    fn every_described_header_may_be_sent() {
        let document = document();
        let mut described = BTreeSet::new();
        walk(&document, &mut |value| {
            // The payment provider's server is no page.
            if value["in"] == "header" && value["name"] != "Stripe-Signature" {
                described.insert(value["name"].as_str().unwrap().to_ascii_lowercase());
            }
        });
        assert!(described.len() >= 5, "{described:?}");
        for name in described {
            assert!(SENT.contains(&name.as_str()), "{name}");
        }
    }

    #[test]
    fn every_described_answer_header_may_be_read() {
        let document = document();
        let mut described = BTreeSet::new();
        walk(&document, &mut |value| {
            if let Some(headers) = value["headers"].as_object() {
                described.extend(headers.keys().map(|name| name.to_ascii_lowercase()));
            }
        });
        for name in described {
            let is_shown = SHOWN.contains(&name.as_str()) || ALWAYS_SHOWN.contains(&name.as_str());
            assert!(is_shown, "{name}");
        }
    }

    #[test]
    fn every_method_of_a_route_may_be_used() {
        let document = document();
        for path in document["paths"].as_object().unwrap().values() {
            for method in path.as_object().unwrap().keys() {
                let method = method.to_ascii_uppercase();
                assert!(METHODS.contains(&method.as_str()) || method == "PARAMETERS", "{method}");
            }
        }
    }

    /// Headers that `docs/API.md` names as a client's or as an answer's: `Like-This`, in backticks.
    #[test]
    fn every_header_of_the_documentation_is_on_a_list() {
        // Browsers, proxies and the payment provider send these, or pages cannot set them.
        const NOT_FOR_PAGES: [&str; 14] = [
            "user-agent",
            "accept-encoding",
            "origin",
            "host",
            "x-forwarded-for",
            "forwarded",
            "via",
            "x-real-ip",
            "stripe-signature",
            "holdfast-signature",
            "x-content-type-options",
            "x-frame-options",
            "referrer-policy",
            "vary",
        ];
        let text = include_str!("../../docs/API.md");
        let quoted = text.split('`').skip(1).step_by(2);
        let is_name = |text: &&str| {
            let has_form = text.contains('-') || matches!(*text, "Accept" | "Authorization");
            let upper = text.starts_with(|c: char| c.is_ascii_uppercase());
            has_form && upper && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        let names: BTreeSet<String> = quoted
            .map(|text| text.split(':').next().unwrap_or(text))
            .filter(is_name)
            .map(str::to_ascii_lowercase)
            .collect();
        assert!(names.len() >= 15, "{names:?}");
        for name in &names {
            let name = name.as_str();
            let is_known = SENT.contains(&name) || SHOWN.contains(&name);
            let is_other = ALWAYS_SHOWN.contains(&name) || NOT_FOR_PAGES.contains(&name);
            assert!(is_known || is_other || name.starts_with("access-control-"), "{name}");
        }
    }
}
