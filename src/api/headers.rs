//! Headers that every answer has, for browsers' sake, and who may read answers from other sites.

use actix_cors::Cors;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::DefaultHeaders;

use crate::config::Config;

/// How long a browser may remember what a preflight said, seconds.
const PREFLIGHT_SECONDS: usize = 3_600;
/// The setting that lets every site in.
pub const ANY_ORIGIN: &str = "*";

/// What callers send.
const SENT: [&str; 11] = [
    "accept",
    "authorization",
    "content-type",
    "idempotency-key",
    "if-none-match",
    "traceparent",
    "x-admin-key",
    "x-idempotency-key",
    "x-requested-with",
    "x-user-id",
    "x-waiting-room-token",
];
/// What they may read of an answer beside its body.
const SHOWN: [&str; 11] = [
    "etag",
    "idempotent-replayed",
    "location",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "www-authenticate",
    "x-seat-map-generation",
    "x-seat-map-version",
    "x-trace-id",
    "content-disposition",
];

/// Of every answer: it is what it says it is, stands in nobody's frame, and tells no other site
/// where its reader came from.
const ALWAYS: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// That nobody may keep an answer.
pub const NO_STORE: &str = "no-store";

/// The documentation: its own files alone; it sets styles as it runs, and has drawings inline.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";
/// The front page: text, links and a style.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// What the answers of one route have, ready to be put in.
pub struct RouteHeaders {
    always: Vec<(HeaderName, HeaderValue)>,
    /// Of answers that are for one caller's eyes.
    private: Option<HeaderValue>,
}

impl RouteHeaders {
    /// As the route's pattern says; `is_private`: its answers are for one caller's eyes.
    pub fn of(route: &str, is_private: bool) -> Self {
        let policy = match route {
            "/" => Some(PAGE_POLICY),
            _ if route.starts_with("/docs") => Some(DOCS_POLICY),
            _ => None,
        };
        let policy = policy.map(|policy| (header::CONTENT_SECURITY_POLICY, policy));
        let always = ALWAYS.into_iter().chain(policy);
        RouteHeaders {
            always: always.map(|(name, value)| (name, HeaderValue::from_static(value))).collect(),
            private: is_private.then(|| HeaderValue::from_static(NO_STORE)),
        }
    }

    /// Adds them.
    pub fn put(&self, headers: &mut HeaderMap) {
        self.put_into_refusal(headers);
        if let Some(no_store) = &self.private {
            headers.insert(header::CACHE_CONTROL, no_store.clone());
        }
    }

    /// Adds them to a refusal, which nobody may keep anyway.
    pub fn put_into_refusal(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.always {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// Whether other sites are let in at all.
pub fn has_origins(config: &Config) -> bool {
    !config.cors_origins.is_empty()
}

/// Lets the pages of these sites read answers. Without credentials of the browser's own: users
/// show tokens, which a page has to know.
pub fn cors(config: &Config) -> Cors {
    let cors = Cors::default()
        .allowed_methods(["GET", "HEAD", "POST", "PATCH", "DELETE"])
        .allowed_headers(SENT)
        .expose_headers(SHOWN)
        .max_age(PREFLIGHT_SECONDS);
    if config.cors_origins.iter().any(|origin| origin == ANY_ORIGIN) {
        return cors.allow_any_origin().send_wildcard();
    }
    config.cors_origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}

/// The same headers for answers that no route gives: those to preflights.
pub fn defaults() -> DefaultHeaders {
    ALWAYS.into_iter().fold(DefaultHeaders::new(), DefaultHeaders::add)
}
