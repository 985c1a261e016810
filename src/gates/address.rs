//! The client's address: the peer's, or, behind proxies that are configured as trusted, the
//! right-most hop of the header they write (`proxy_header`) that is not one of them. What stands
//! further left was written by the client and proves nothing; the other header is never read for
//! it, as a proxy that does not know it passes on what clients wrote.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{FORWARDED, HeaderMap, HeaderName, X_FORWARDED_FOR};

use super::{Caller, NamesUsers};
use crate::config::Config;
use crate::config::values::{Auth, Network, ProxyHeader};
use crate::domain::RouteClass;

/// Hops that are looked at, from the right. A request that passed more of our own proxies counts
/// as from the last one looked at.
const HOPS_MAX: usize = 16;

/// Headers that proxies add to what they forward, and prefixes of such names. They say only that a
/// request was forwarded; the client's address is read from `proxy_header` alone.
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

/// The caller, as far as its address tells.
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
    let is_backend = (by_proxy || by_gateway) && !forwarded;
    let is_direct = is_this_machine(config, peer) && !forwarded;
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

/// Whether a request comes from this machine, over a connection of none of the configured proxies.
pub(crate) fn is_from_this_machine(config: &Config, request: &HttpRequest) -> bool {
    is_this_machine(config, peer(request))
}

/// A Unix socket has no address: its callers are on this machine. A loopback address that the
/// settings name as a proxy's forwards for others, whatever its requests look like.
fn is_this_machine(config: &Config, peer: Option<IpAddr>) -> bool {
    let is_proxy = |peer| {
        is_one_of(&config.trusted_proxies, peer) || is_one_of(&config.identity_proxies, peer)
    };
    peer.is_none_or(|peer| peer.is_loopback() && !is_proxy(peer))
}

/// Whether a proxy says that it forwarded the request.
fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        let name = name.as_str();
        FORWARDING.contains(&name)
            || FORWARDING_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
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
        // As bytes: a client that writes what is no text must not spoil what a proxy appended to it.
        let Some(mut rest) = value.map(|value| value.as_bytes()) else { break };
        loop {
            if hops_left == 0 || !is_one_of(trusted, client) {
                return Some(client);
            }
            hops_left -= 1;
            let (before, hop) = split_last(rest, quotes);
            // What cannot be read ends what can be believed.
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

/// A list's last item, and what is before it. Read from the right, so that nothing a client wrote
/// (a quote that it never closed) can touch what proxies appended.
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
/// `for="[2001:db8::17]:4711"`. Obfuscated names, `unknown`, and an element with two are none.
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

/// A hop is an address, perhaps in brackets, perhaps with a port.
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
    fn only_trusted_hops_are_believed() {
        let cases: [(&str, &[&str], &str); 14] = [
            // The peer is no proxy of ours: whatever it writes is ignored.
            ("1.1.1.1", &["9.9.9.9"], "1.1.1.1"),
            ("10.0.0.1", &["9.9.9.9"], "9.9.9.9"),
            // A forged hop further left gains nothing.
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
            // A quote that a client left open does not swallow what the proxy appended.
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
    fn what_is_no_text_spoils_nothing_that_a_proxy_appended() {
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
    fn one_header_counts_and_the_other_is_never_read() {
        let both = [("x-forwarded-for", "9.9.9.9"), ("forwarded", "for=6.6.6.6")];
        assert_eq!(client(ProxyHeader::XForwardedFor, "10.0.0.1", &both), "9.9.9.9");
        assert_eq!(client(ProxyHeader::Forwarded, "10.0.0.1", &both), "6.6.6.6");
        let other = [("forwarded", "for=6.6.6.6")];
        assert_eq!(client(ProxyHeader::XForwardedFor, "10.0.0.1", &other), "10.0.0.1");
    }

    #[test]
    fn so_many_hops_are_looked_at() {
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
    fn users_are_named_by_gateways_and_directly_on_this_machine() {
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
            // Without a proxy in between, and only then, the caller is this machine itself.
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
                // Load balancers forward addresses, and vouch for nobody.
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
