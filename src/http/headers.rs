//! Headers of responses: those that every response has, and what a client accepts.

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::DefaultHeaders;

/// The header with the request's trace id.
pub const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");
/// `Cache-Control` of responses that must not be stored.
pub const NO_STORE: &str = "no-store";

/// Security headers of every response: no content sniffing, no framing, no referrer to other sites.
const ALWAYS: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// `Content-Security-Policy` of the documentation: its own files only, inline styles and images in
/// `data:` URLs (Swagger UI uses both).
pub const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";
/// `Content-Security-Policy` of the pages for people: their own files and this site's API, nothing
/// inline.
pub const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// The fixed headers of one route's responses.
pub struct RouteHeaders {
    always: Vec<(HeaderName, HeaderValue)>,
    /// `no-store`, if the route's responses are private to one caller.
    private: Option<HeaderValue>,
}

impl RouteHeaders {
    /// Headers of a route with this `Content-Security-Policy`, if any; `is_private`: its responses
    /// are private to one caller.
    pub fn new(policy: Option<&'static str>, is_private: bool) -> Self {
        let policy = policy.map(|policy| (header::CONTENT_SECURITY_POLICY, policy));
        let always = ALWAYS.into_iter().chain(policy);
        RouteHeaders {
            always: always.map(|(name, value)| (name, HeaderValue::from_static(value))).collect(),
            private: is_private.then(|| HeaderValue::from_static(NO_STORE)),
        }
    }

    /// Whether the route's responses are private to one caller.
    pub fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// Adds the headers to a response that has none of them but perhaps `Cache-Control`.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        self.add_to_problem(headers);
        if let Some(no_store) = &self.private {
            headers.insert(header::CACHE_CONTROL, no_store.clone());
        }
    }

    /// Adds the headers to a rendered problem, which is `no-store` in any case.
    pub fn add_to_problem(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.always {
            // Appending costs a third of inserting.
            headers.append(name.clone(), value.clone());
        }
    }
}

/// The security headers as a middleware, for responses that no route makes: those to preflights.
pub fn defaults() -> DefaultHeaders {
    ALWAYS.into_iter().fold(DefaultHeaders::new(), DefaultHeaders::add)
}

/// Whether a client accepts gzip, the only compression on offer.
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

/// Reduces `Accept-Encoding` to gzip or nothing. A client that does not accept gzip gets the plain
/// body, which the standard allows, instead of the middleware's bare 406.
pub fn accept_gzip_or_nothing(headers: &mut HeaderMap) {
    let gzip = accepts_gzip(headers);
    headers.remove(header::ACCEPT_ENCODING);
    if gzip {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
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
