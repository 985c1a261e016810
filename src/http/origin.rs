//! Compares the `Origin` and `Host` headers of a request.

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

#[cfg(test)]
mod tests {
    use super::*;

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
