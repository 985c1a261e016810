//! Whose pages may open WebSockets. Browsers let any page connect to any server, and say which page
//! it is; so the server has to look.

use actix_web::http::header::{HOST, ORIGIN};

use crate::api::cors;
use crate::api::problem::{Code, Problem};
use crate::api::state::Call;

/// Lets pass what is no page, the server's own pages, and those of `cors_origins`.
///
/// # Errors
/// For all others.
pub fn check(call: &Call) -> Result<(), Problem> {
    let headers = call.request.headers();
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let is_known = |origin: &str| {
        host.is_some_and(|host| is_same(origin, host))
            || cors::allows_origin(&call.state.config, origin)
    };
    // What is no text is no origin that anybody named.
    if origin.to_str().is_ok_and(is_known) {
        return Ok(());
    }
    call.state.sockets.refused("origin");
    let detail =
        "Pages of this site may not connect; the setting cors_origins names those that may";
    Err(Problem::new(Code::OriginForbidden, detail))
}

/// Whether an origin is of this host. Whether it came by TLS is known to the gateway alone.
pub fn is_same(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let host = host.strip_suffix(default_port).unwrap_or(host);
    authority.eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_of_a_host_or_not() {
        for (origin, host) in [
            ("https://tickets.example", "tickets.example"),
            ("https://tickets.example", "Tickets.Example:443"),
            ("http://127.0.0.1:8000", "127.0.0.1:8000"),
            ("http://[::1]:8000", "[::1]:8000"),
        ] {
            assert!(is_same(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("https://evil.example", "tickets.example"),
            ("https://tickets.example.evil", "tickets.example"),
            ("https://tickets.example:8443", "tickets.example"),
            ("http://tickets.example", "tickets.example:443"),
            ("null", "null"),
            ("file://", ""),
            ("", "tickets.example"),
        ] {
            assert!(!is_same(origin, host), "{origin} {host}");
        }
    }
}
