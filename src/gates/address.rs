//! Determines the client's address: the peer's, or, behind trusted proxies, the right-most hop of
//! the header they write (`proxy_header`) that is not one of them. Hops further left come from the
//! client and prove nothing. The other header is never read for the address: a proxy that does not
//! know it forwards what clients wrote.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{FORWARDED, HeaderMap, HeaderName, X_FORWARDED_FOR};

use super::{Caller, NamesUsers};
use crate::config::Config;
use crate::config::values::{Auth, Network, ProxyHeader};
use crate::domain::RouteClass;

/// Most hops read, from the right. A request through more trusted proxies counts as from the last
/// one read.
const HOPS_MAX: usize = 16;

/// Headers, and prefixes of headers, that proxies add to forwarded requests. They only mark a
/// request as forwarded; the client's address is read from `proxy_header` alone.
const FORWARDING: [&str; 7] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "fastly-client-ip",
];
const FORWARDING_PREFIXES: [&str; 4] = ["x-forwarded", "x-original-", "x-envoy-", "cf-"];

/// The caller, as far as its address identifies it.
pub(super) fn of_client(config: &Config, request: &HttpRequest, class: RouteClass) -> Caller {
    let headers = request.headers();
    let forwarded = is_forwarded(headers);
    let peer = peer(request);
    let trusted = &config.trusted_proxies;
    let by_proxy = peer.is_some_and(|peer| is_one_of(trusted, peer));
    let address = match peer {
        Some(peer) if by_proxy && forwarded => {
            right_most_untrusted(peer, headers, config.proxy_header, trusted)
        }
        _ => peer,
    };
    let by_gateway = peer.is_some_and(|peer| is_one_of(&config.identity_proxies, peer));
    let is_proxy = by_proxy || by_gateway;
    let is_backend = is_proxy && !forwarded;
    let is_direct = !forwarded && is_this_machine(peer, |_| is_proxy);
    let names_users = match (by_gateway, is_direct) {
        (true, _) => NamesUsers::ByHeader,
        (false, true) => NamesUsers::ByHeaderOrParameter,
        (false, false) => NamesUsers::No,
    };
    Caller {
        address,
        is_direct,
        names_users,
        is_backend,
        may_be_program: is_backend,
        on_loopback: is_direct && config.auth == Auth::Trusted,
        ..Caller::unknown(class)
    }
}

/// The connection's other end; `None` on a Unix socket.
fn peer(request: &HttpRequest) -> Option<IpAddr> {
    request.peer_addr().map(|peer| peer.ip().to_canonical())
}

/// Whether a request comes from this machine, and not from a configured proxy.
pub(crate) fn is_from_this_machine(config: &Config, request: &HttpRequest) -> bool {
    is_this_machine(peer(request), |peer| {
        is_one_of(&config.trusted_proxies, peer) || is_one_of(&config.identity_proxies, peer)
    })
}

/// Whether a peer is this machine. A Unix socket has no address, and its callers are on this
/// machine. A loopback address configured as a proxy's forwards for others, whatever its requests
/// look like.
fn is_this_machine(peer: Option<IpAddr>, is_proxy: impl Fn(IpAddr) -> bool) -> bool {
    peer.is_none_or(|peer| peer.is_loopback() && !is_proxy(peer))
}

/// Whether a proxy has marked the request as forwarded.
fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        let name = name.as_str();
        // Most headers of a request begin with other letters.
        name.starts_with(['c', 'f', 't', 'v', 'x'])
            && (FORWARDING.contains(&name)
                || FORWARDING_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
    })
}

fn is_one_of(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

fn right_most_untrusted(
    peer: IpAddr,
    headers: &HeaderMap,
    header: ProxyHeader,
    trusted: &[Network],
) -> Option<IpAddr> {
    let (name, address_of): (HeaderName, fn(&str) -> Option<IpAddr>) = match header {
        ProxyHeader::XForwardedFor => (X_FORWARDED_FOR, address_of_hop),
        ProxyHeader::Forwarded => (FORWARDED, address_of_element),
    };
    let quotes = header == ProxyHeader::Forwarded;
    let mut client = peer;
    let mut hops_left = HOPS_MAX;
    // Several header lines are one list, in order.
    for line in (0..headers.get_all(&name).count()).rev() {
        let value = headers.get_all(&name).nth(line);
        // As bytes: a client's invalid text must not spoil what a proxy appended to it.
        let Some(mut rest) = value.map(|value| value.as_bytes()) else { break };
        loop {
            if hops_left == 0 || !is_one_of(trusted, client) {
                return Some(client);
            }
            hops_left -= 1;
            let (before, hop) = split_last(rest, quotes);
            // Hops left of an unreadable one are not trusted.
            let address = std::str::from_utf8(hop).ok().and_then(address_of);
            let Some(address) = address else { return Some(client) };
            client = address;
            match before {
                Some(before) => rest = before,
                None => break,
            }
        }
    }
    Some(client)
}

/// Splits off a list's last item. Reads from the right, so that nothing a client wrote (such as an
/// unclosed quote) affects what proxies appended.
fn split_last(list: &[u8], quotes: bool) -> (Option<&[u8]>, &[u8]) {
    let mut quoted = false;
    let comma = list.iter().rposition(|byte| {
        quoted ^= quotes && *byte == b'"';
        *byte == b',' && !quoted
    });
    match comma {
        Some(at) => (Some(&list[..at]), &list[at + 1..]),
        None => (None, list),
    }
}

/// The address in an element of `Forwarded` (RFC 7239): `for=192.0.2.60;proto=http`,
/// `for="[2001:db8::17]:4711"`. `None` for obfuscated names, `unknown`, and elements with two.
fn address_of_element(element: &str) -> Option<IpAddr> {
    let named = |pair: &'_ str| {
        let (name, _) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(())
    };
    let mut found = element.split(';').filter(|pair| named(pair).is_some());
    let (pair, None) = (found.next()?, found.next()) else { return None };
    let (_, value) = pair.split_once('=')?;
    let value = value.trim();
    let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    address_of_hop(unquoted.unwrap_or(value))
}

/// The address of a hop: optionally in brackets, optionally with a port.
fn address_of_hop(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let address = hop.parse().ok();
    let with_port = || hop.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    let in_brackets = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    address.or_else(with_port).or_else(in_brackets).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn client(header: ProxyHeader, peer: &str, lines: &[(&str, &str)]) -> String {
        let config = Config {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            proxy_header: header,
            ..Config::default()
        };
        let request = TestRequest::get().peer_addr(format!("{peer}:1").parse().unwrap());
        let request = lines.iter().fold(request, |request, line| request.append_header(*line));
        let caller = of_client(&config, &request.to_http_request(), RouteClass::Events);
        caller.address.unwrap().to_string()
    }

    #[test]
    fn client_is_the_right_most_untrusted_hop() {
        let cases: [(&str, &[&str], &str); 14] = [
            // The peer is no trusted proxy: its headers are ignored.
            ("1.1.1.1", &["9.9.9.9"], "1.1.1.1"),
            ("10.0.0.1", &["9.9.9.9"], "9.9.9.9"),
            // A forged hop further left has no effect.
            ("10.0.0.1", &["6.6.6.6, 9.9.9.9"], "9.9.9.9"),
            ("10.0.0.1", &["6.6.6.6", "9.9.9.9"], "9.9.9.9"),
            ("10.0.0.1", &["9.9.9.9,10.0.0.2"], "9.9.9.9"),
            ("10.0.0.1", &["9.9.9.9", "10.0.0.2"], "9.9.9.9"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["9.9.9.9, junk"], "10.0.0.1"),
            ("10.0.0.1", &["9.9.9.9", "junk, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["\"9.9.9.9, 8.8.8.8"], "8.8.8.8"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("10.0.0.1", &["::ffff:9.9.9.9"], "9.9.9.9"),
            ("10.0.0.1", &["9.9.9.9:1234"], "9.9.9.9"),
        ];
        for (peer, lines, expected) in cases {
            let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            let got = client(ProxyHeader::XForwardedFor, peer, &lines);
            assert_eq!(got, expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn forwarded_is_read_from_the_right() {
        let cases: [(&str, &str); 14] = [
            ("for=9.9.9.9", "9.9.9.9"),
            ("For=\"9.9.9.9\";proto=https;by=10.0.0.1", "9.9.9.9"),
            ("proto=https; for=\"[2001:db8::17]:4711\"", "2001:db8::17"),
            ("for=6.6.6.6, for=9.9.9.9", "9.9.9.9"),
            ("for=9.9.9.9, for=10.0.0.2", "9.9.9.9"),
            // A client's unclosed quote does not swallow what the proxy appended.
            ("for=\"6.6.6.6, for=9.9.9.9", "9.9.9.9"),
            ("for=6.6.6.6;x=\", for=\"[2001:db8::17]\"", "2001:db8::17"),
            ("for=\"6.6.6.6, 7.7.7.7\", for=9.9.9.9", "9.9.9.9"),
            ("for=_hidden", "10.0.0.1"),
            ("for=unknown, for=10.0.0.2", "10.0.0.2"),
            ("for=9.9.9.9;for=8.8.8.8", "10.0.0.1"),
            ("by=9.9.9.9", "10.0.0.1"),
            ("9.9.9.9", "10.0.0.1"),
            ("", "10.0.0.1"),
        ];
        for (line, expected) in cases {
            let got = client(ProxyHeader::Forwarded, "10.0.0.1", &[("forwarded", line)]);
            assert_eq!(got, expected, "{line}");
        }
    }

    #[test]
    fn invalid_text_does_not_hide_a_proxy_hop() {
        let config =
            Config { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..Config::default() };
        let client = |header: ProxyHeader, name: &str, line: &[u8]| {
            let value = actix_web::http::header::HeaderValue::from_bytes(line).unwrap();
            let request = TestRequest::get().peer_addr("10.0.0.1:1".parse().unwrap());
            let request = request.append_header((name, value)).to_http_request();
            let config = Config { proxy_header: header, ..config.clone() };
            of_client(&config, &request, RouteClass::Events).address.unwrap().to_string()
        };
        let xff = |line: &[u8]| client(ProxyHeader::XForwardedFor, "x-forwarded-for", line);
        assert_eq!(xff(b"\xff, 9.9.9.9"), "9.9.9.9");
        assert_eq!(xff(b"6.6.6.6\xff, 9.9.9.9, 10.0.0.2"), "9.9.9.9");
        assert_eq!(xff(b"9.9.9.9, \xff"), "10.0.0.1");
        let forwarded = |line: &[u8]| client(ProxyHeader::Forwarded, "forwarded", line);
        assert_eq!(forwarded(b"for=\"\xff, for=9.9.9.9"), "9.9.9.9");
    }

    #[test]
    fn address_is_read_from_the_configured_header_alone() {
        let both = [("x-forwarded-for", "9.9.9.9"), ("forwarded", "for=6.6.6.6")];
        assert_eq!(client(ProxyHeader::XForwardedFor, "10.0.0.1", &both), "9.9.9.9");
        assert_eq!(client(ProxyHeader::Forwarded, "10.0.0.1", &both), "6.6.6.6");
        let other = [("forwarded", "for=6.6.6.6")];
        assert_eq!(client(ProxyHeader::XForwardedFor, "10.0.0.1", &other), "10.0.0.1");
    }

    #[test]
    fn hops_are_read_up_to_the_bound() {
        let ours = vec!["10.0.0.2"; HOPS_MAX].join(",");
        let far = format!("9.9.9.9,{ours}");
        let got = client(ProxyHeader::XForwardedFor, "10.0.0.1", &[("x-forwarded-for", &far)]);
        assert_eq!(got, "10.0.0.2");
    }

    #[test]
    fn proxy_that_forwards_nothing_is_a_backend() {
        let config =
            Config { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..Config::default() };
        let is_backend = |peer: &str, header: Option<&str>| {
            let request = TestRequest::get().peer_addr(peer.parse().unwrap());
            let request = header
                .into_iter()
                .fold(request, |request, name| request.insert_header((name, "9.9.9.9")));
            of_client(&config, &request.to_http_request(), RouteClass::Events).is_backend
        };
        assert!(is_backend("10.0.0.1:1", None) && is_backend("10.0.0.1:1", Some("x-user-id")));
        for name in FORWARDING.into_iter().chain(["x-forwarded-host", "cf-ray", "x-envoy-peer"]) {
            assert!(!is_backend("10.0.0.1:1", Some(name)), "{name}");
        }
        assert!(!is_backend("127.0.0.1:1", None) && !is_backend("9.9.9.9:1", None));
    }

    #[test]
    fn gateways_and_direct_requests_name_users() {
        let config = Config {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.5".parse().unwrap()],
            identity_proxies: vec!["10.9.0.0/16".parse().unwrap(), "127.0.0.6".parse().unwrap()],
            ..Config::default()
        };
        let names_users = |peer: &str, header: Option<&str>| {
            let request = TestRequest::get().peer_addr(format!("{peer}:1").parse().unwrap());
            let request = header
                .into_iter()
                .fold(request, |request, name| request.insert_header((name, "127.0.0.1")));
            let caller = of_client(&config, &request.to_http_request(), RouteClass::Events);
            // Only without a proxy in between the caller is this machine itself.
            assert_eq!(caller.is_direct, caller.names_users == NamesUsers::ByHeaderOrParameter);
            assert_eq!(caller.on_loopback, caller.is_direct);
            caller.names_users
        };
        for header in [None, Some("x-forwarded-for"), Some("via"), Some("x-real-ip")] {
            let direct = match header {
                None => NamesUsers::ByHeaderOrParameter,
                Some(_) => NamesUsers::No,
            };
            for (peer, expected) in [
                ("127.0.0.1", direct),
                ("[::1]", direct),
                ("10.9.1.1", NamesUsers::ByHeader),
                ("127.0.0.6", NamesUsers::ByHeader),
                // Load balancers forward addresses, and vouch for no user.
                ("10.1.1.1", NamesUsers::No),
                ("127.0.0.5", NamesUsers::No),
                ("11.1.1.1", NamesUsers::No),
                ("[2001:db8::1]", NamesUsers::No),
            ] {
                assert_eq!(names_users(peer, header), expected, "{peer} {header:?}");
            }
        }
    }
}
