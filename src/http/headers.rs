//! Headers that every answer has, for browsers' sake.

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::DefaultHeaders;

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

    /// Whether the answers are for one caller's eyes.
    pub fn is_private(&self) -> bool {
        self.private.is_some()
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

/// The same headers for answers that no route gives: those to preflights.
pub fn defaults() -> DefaultHeaders {
    ALWAYS.into_iter().fold(DefaultHeaders::new(), DefaultHeaders::add)
}
