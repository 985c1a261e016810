//! Refuses requests that pages of other sites make through a browser on the server's own machine.
//!
//! Where callers on this machine need no key or token ([`Config::trusts_this_machine`]), a browser
//! there sends whatever any page makes it send. Three marks identify such requests; no script or
//! shop has them:
//!
//! | mark | sent by | refused |
//! |---|---|---|
//! | a `Host` that is not this machine's | a page whose own name resolves to this machine (DNS rebinding) | always |
//! | an `Origin` of another site | pages' `POST`, `PATCH`, `DELETE`, with or without a preflight | but for reading what is public |
//! | `Sec-Fetch-Site: cross-site` | whatever browsers send for pages of other sites | but for reading what is public |
//!
//! `allowed_hosts` adds names of this machine, `cors_origins` adds sites. Requests through proxies carry
//! the site's own marks and none of this machine's rights (`gates/address.rs`); their `Host` is
//! checked where `allowed_hosts` is set.

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::{HOST, HeaderName, ORIGIN};

use crate::config::Config;

use super::is_from_this_machine;
use crate::http::origin;
use crate::http::problem::{Code, Problem};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Routes that any `Host` may call: probes use addresses, and webhooks are signed.
const BY_ANY_NAME: [&str; 4] = ["/health", "/health/live", "/health/ready", "/webhooks/payments"];

/// The end of event streams' paths. WebSockets check origins themselves, in any mode.
const STREAM_SUFFIX: &str = "/stream";

/// Refuses a request from a page of another site. `is_private`: the route's responses are for one
/// caller alone.
///
/// # Errors
/// The refusal; it names the setting that would admit the request.
pub fn check(config: &Config, request: &HttpRequest, is_private: bool) -> Result<(), Problem> {
    let is_guarded = config.trusts_this_machine() && is_from_this_machine(config, request);
    if (is_guarded || !config.allowed_hosts.is_empty()) && !BY_ANY_NAME.contains(&request.path()) {
        check_host(config, request)?;
    }
    let is_public = match *request.method() {
        // Streams report users' bookings, and count as sockets for as long as they last.
        Method::GET | Method::HEAD => !is_private && !request.path().ends_with(STREAM_SUFFIX),
        // A preflight, which no route handles: its refusal says more (`cors`).
        Method::OPTIONS => true,
        _ => false,
    };
    if is_guarded && !is_public { check_origin(config, request) } else { Ok(()) }
}

/// Whether the `Host` is acceptable. A request without one is no browser's.
fn check_host(config: &Config, request: &HttpRequest) -> Result<(), Problem> {
    let is_own = |host: &[u8]| std::str::from_utf8(host).is_ok_and(|host| config.is_own_host(host));
    let mut hosts = request.headers().get_all(HOST);
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    if hosts.all(|host| is_own(host.as_bytes())) && authority.is_none_or(is_own) {
        return Ok(());
    }
    let detail = "This server is not called by this name (Host): call localhost or 127.0.0.1, or \
        name the host in the setting allowed_hosts; a proxy on this machine belongs in \
        trusted_proxies";
    Err(Problem::new(Code::HostForbidden, detail).with("setting", "allowed_hosts".into()))
}

fn check_origin(config: &Config, request: &HttpRequest) -> Result<(), Problem> {
    let headers = request.headers();
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    // `*` names no particular site.
    let is_known = |page: &str| {
        origin::is_same(page, text(HOST).unwrap_or_default())
            || config.cors_origins.iter().any(|site| origin::is_site(site, page))
    };
    let is_foreign = match text(ORIGIN) {
        Some(origin) => !is_known(origin),
        None => text(SEC_FETCH_SITE) == Some("cross-site"),
    };
    if !is_foreign {
        return Ok(());
    }
    let detail = "Pages of this site may not do this: callers on this machine need no key or \
        token, so that sites which may are named in the setting cors_origins";
    Err(Problem::new(Code::OriginForbidden, detail).with("setting", "cors_origins".into()))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn code(config: &Config, peer: &str, request: TestRequest, is_private: bool) -> Option<Code> {
        let request = request.peer_addr(format!("{peer}:1").parse().unwrap()).to_http_request();
        check(config, &request, is_private).err().map(|problem| problem.code)
    }

    fn with(method: Method, headers: &[(&str, &str)]) -> TestRequest {
        let request = TestRequest::default().method(method).uri("/api/v1/events");
        headers.iter().fold(request, |request, header| request.append_header(*header))
    }

    const HERE: (&str, &str) = ("host", "127.0.0.1:8000");
    const EVIL: (&str, &str) = ("origin", "http://evil.example");

    #[test]
    fn request_without_marks_passes() {
        let config = Config::default();
        for headers in [&[][..], &[HERE], &[("host", "localhost")], &[("host", "[::1]:1")]] {
            for method in [Method::GET, Method::POST, Method::PATCH, Method::DELETE] {
                for is_private in [false, true] {
                    let request = with(method.clone(), headers);
                    assert_eq!(code(&config, "127.0.0.1", request, is_private), None);
                }
            }
        }
    }

    #[test]
    fn other_host_is_refused_for_every_method() {
        let config = Config::default();
        for headers in [
            &[("host", "evil.example")][..],
            &[HERE, ("host", "evil.example")],
            &[("host", "localhost.evil.example:8000")],
        ] {
            for method in [Method::GET, Method::POST] {
                let request = with(method, headers);
                assert_eq!(code(&config, "127.0.0.1", request, false), Some(Code::HostForbidden));
            }
        }
        let absolute = TestRequest::get().uri("http://evil.example/metrics").append_header(HERE);
        assert_eq!(code(&config, "[::1]", absolute, false), Some(Code::HostForbidden));
        let probe = TestRequest::get().uri("/health").append_header(("host", "10.1.1.1"));
        assert_eq!(code(&config, "127.0.0.1", probe, false), None);
    }

    #[test]
    fn host_is_checked_where_this_machine_is_trusted_or_names_are_set() {
        let evil = || with(Method::GET, &[("host", "evil.example")]);
        let proxied = Config {
            trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
            identity_proxies: vec!["10.0.0.1".parse().unwrap()],
            ..Config::default()
        };
        for peer in ["127.0.0.1", "10.0.0.1", "9.9.9.9"] {
            assert_eq!(code(&proxied, peer, evil(), true), None, "{peer}");
        }
        let named = Config { allowed_hosts: vec!["shop.test".into()], ..proxied };
        for peer in ["127.0.0.1", "10.0.0.1", "9.9.9.9"] {
            assert_eq!(code(&named, peer, evil(), true), Some(Code::HostForbidden), "{peer}");
            let own = with(Method::GET, &[("host", "shop.test")]);
            assert_eq!(code(&named, peer, own, true), None);
        }
        let keyed = Config {
            auth: crate::config::values::Auth::Jwt,
            admin_keys_sha256: vec![format!("ops:{}", "ab".repeat(32)).parse().unwrap()],
            ..Config::default()
        };
        assert_eq!(code(&keyed, "127.0.0.1", evil(), true), None);
    }

    #[test]
    fn other_sites_pages_may_read_public_routes_alone() {
        let site = "https://shop.example";
        let cors_origins = ["*", site, "http://localhost:*"].map(str::to_owned).into();
        let config = Config { cors_origins, ..Config::default() };
        let refused = Some(Code::OriginForbidden);
        for mark in [EVIL, ("origin", "null"), ("sec-fetch-site", "cross-site")] {
            let ask = |method| with(method, &[HERE, mark]);
            assert_eq!(code(&config, "127.0.0.1", ask(Method::GET), false), None);
            assert_eq!(code(&config, "127.0.0.1", ask(Method::GET), true), refused);
            for method in [Method::POST, Method::PATCH, Method::DELETE] {
                assert_eq!(code(&config, "127.0.0.1", ask(method), false), refused);
            }
        }
        for mark in [
            ("origin", site),
            ("origin", "http://localhost:5173"),
            ("origin", "http://127.0.0.1:8000"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
        ] {
            let ask = with(Method::POST, &[HERE, mark]);
            assert_eq!(code(&config, "127.0.0.1", ask, true), None, "{mark:?}");
        }
        let named = with(Method::POST, &[HERE, ("origin", site), ("sec-fetch-site", "cross-site")]);
        assert_eq!(code(&config, "127.0.0.1", named, true), None);
    }
}
