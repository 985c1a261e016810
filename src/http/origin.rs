//! Compares the `Origin` header of a request with its `Host`, and with the sites of `cors_origins`.

/// The end of a site that is meant on every port.
pub const ANY_PORT: &str = ":*";

/// Whether an origin has this host. The scheme is not compared: only the gateway knows whether the
/// request came over TLS.
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

/// Whether a site of `cors_origins` is this origin: word for word, or with [`ANY_PORT`] on any port.
pub fn is_site(site: &str, origin: &str) -> bool {
    let Some(host) = site.strip_suffix(ANY_PORT) else { return site == origin };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    origin
        .strip_prefix(host)
        .is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn site_is_one_origin_or_a_host_on_any_port() {
        for (site, origin) in [
            ("https://tickets.example", "https://tickets.example"),
            ("http://localhost:*", "http://localhost"),
            ("http://localhost:*", "http://localhost:5173"),
            ("http://[::1]:*", "http://[::1]:3000"),
        ] {
            assert!(is_site(site, origin), "{site} {origin}");
        }
        for (site, origin) in [
            ("https://tickets.example", "https://tickets.example:8443"),
            ("http://localhost:*", "https://localhost:5173"),
            ("http://localhost:*", "http://localhost:"),
            ("http://localhost:*", "http://localhost:1.evil.example"),
            ("http://localhost:*", "http://localhost.evil.example:1"),
            ("http://localhost:*", "http://localhost@evil.example"),
            ("http://localhost:*", "null"),
            ("*", "https://tickets.example"),
        ] {
            assert!(!is_site(site, origin), "{site} {origin}");
        }
    }

    #[test]
    fn origin_is_compared_with_host() {
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
