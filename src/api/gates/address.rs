//! The client's address: the peer's, or, behind proxies that are configured as trusted, the
//! right-most hop of `X-Forwarded-For` that is not one of them. What stands further left was
//! written by the client and proves nothing.

use std::net::IpAddr;

use actix_web::HttpRequest;

use super::Caller;
use crate::config::Config;
use crate::config::values::{Auth, Network};
use crate::domain::RouteClass;

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED: &str = "forwarded";

/// The caller, as far as its address tells.
pub(super) fn of_client(config: &Config, request: &HttpRequest, class: RouteClass) -> Caller {
    let headers = request.headers();
    let forwarded = headers.contains_key(FORWARDED_FOR) || headers.contains_key(FORWARDED);
    let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
    let trusted = &config.trusted_proxies;
    let address = if !forwarded || trusted.is_empty() {
        peer
    } else {
        // Several header lines are one list, in order.
        let lines = headers.get_all(FORWARDED_FOR).filter_map(|value| value.to_str().ok());
        let hops: Vec<&str> = lines.flat_map(|line| line.split(',')).collect();
        peer.map(|peer| right_most_untrusted(peer, &hops, trusted))
    };
    let local = address.is_none_or(|address| address.is_loopback()) && !forwarded;
    Caller {
        address,
        forwarded,
        user: None,
        event: None,
        class,
        on_loopback: local && config.auth == Auth::Trusted,
        allowed: false,
    }
}

fn right_most_untrusted(peer: IpAddr, hops: &[&str], trusted: &[Network]) -> IpAddr {
    let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
    let mut client = peer;
    for hop in hops.iter().rev() {
        if !is_trusted(client) {
            break;
        }
        // An unreadable hop ends what can be believed.
        let Some(address) = parse_hop(hop) else { break };
        client = address;
    }
    client
}

/// A hop is an address, perhaps in brackets, perhaps with a port.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let address = hop.parse().ok();
    let with_port = || hop.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    let in_brackets = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    address.or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_hops_are_believed() {
        let trusted: Vec<Network> = vec!["10.0.0.0/8".parse().unwrap()];
        let cases = [
            // The peer is no proxy of ours: whatever it writes is ignored.
            ("1.1.1.1", vec!["9.9.9.9"], "1.1.1.1"),
            ("10.0.0.1", vec!["9.9.9.9"], "9.9.9.9"),
            // A forged hop further left gains nothing.
            ("10.0.0.1", vec!["6.6.6.6", " 9.9.9.9"], "9.9.9.9"),
            ("10.0.0.1", vec!["9.9.9.9", "10.0.0.2"], "9.9.9.9"),
            ("10.0.0.1", vec!["10.0.0.3", "10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", vec!["9.9.9.9", "junk"], "10.0.0.1"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec!["[2001:db8::1]:443"], "2001:db8::1"),
            ("10.0.0.1", vec!["9.9.9.9:1234"], "9.9.9.9"),
        ];
        for (peer, hops, client) in cases {
            let got = right_most_untrusted(peer.parse().unwrap(), &hops, &trusted);
            assert_eq!(got, client.parse::<IpAddr>().unwrap(), "{peer} {hops:?}");
        }
    }
}
