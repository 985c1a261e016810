//! Networks, and clients as limits count them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A range of addresses in CIDR form (`10.0.0.0/8`), or one address. Its address bits beyond the
/// prefix are zero; a range of IPv4-mapped IPv6 addresses is one of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

impl Network {
    /// The network of this many bits that contains an address; an address has 32 or 128 at most.
    pub fn of(address: IpAddr, prefix_bits: u8) -> Self {
        let prefix_bits = prefix_bits.min(bits_of(address));
        // No prefix is longer than its address now.
        let network = IpNet::new(address, prefix_bits).unwrap_or_else(|_| IpNet::from(address));
        Network(network.trunc())
    }

    /// The number of leading bits that count.
    pub fn prefix_bits(&self) -> u8 {
        self.0.prefix_len()
    }

    /// The first address.
    pub fn base(&self) -> IpAddr {
        self.0.addr()
    }

    /// Whether it contains another network as a whole.
    pub fn holds(&self, other: &Network) -> bool {
        self.0.contains(&other.0)
    }

    /// Whether its addresses are IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.base().is_ipv4()
    }

    /// Whether it contains an address. An IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

fn bits_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The bits before the IPv4 address in an IPv4-mapped IPv6 address.
const MAPPED_BITS: u8 = 96;

impl FromStr for Network {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a network is an address or a CIDR range such as 10.0.0.0/8";
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = address.trim().parse().map_err(|_| FORM)?;
        let bits = prefix.map(|prefix| prefix.trim().parse());
        let bits = bits.transpose().map_err(|_| FORM)?.unwrap_or_else(|| bits_of(base));
        let network = IpNet::new(base, bits).map_err(|_| FORM)?;
        match base.to_canonical() {
            IpAddr::V4(mapped) if base.is_ipv6() && bits >= MAPPED_BITS => {
                Ok(Network::of(mapped.into(), bits - MAPPED_BITS))
            }
            _ => Ok(Network(network.trunc())),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The leading bits of an IPv6 address that identify one client: a household or a server owns all
/// addresses below them.
const CLIENT_BITS_IPV6: u8 = 64;

/// A client as limits count it: an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientNetwork(u128);

impl ClientNetwork {
    /// The client that has an address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            // As an IPv4-mapped IPv6 address, which lies in no client's network.
            IpAddr::V4(address) => ClientNetwork(address.to_ipv6_mapped().to_bits()),
            IpAddr::V6(address) => {
                let network = Ipv6Net::new_assert(address, CLIENT_BITS_IPV6).network();
                ClientNetwork(network.to_bits())
            }
        }
    }
}

impl fmt::Display for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match IpAddr::V6(Ipv6Addr::from_bits(self.0)).to_canonical() {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(network) => write!(f, "{network}/{CLIENT_BITS_IPV6}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_client_is_its_network_of_64_bits() {
        let client = |text: &str| ClientNetwork::of(text.parse().unwrap());
        assert_eq!(client("2001:db8:1:2:3::4"), client("2001:db8:1:2:ffff::"));
        assert_ne!(client("2001:db8:1:2::"), client("2001:db8:1:3::"));
        assert_eq!(client("::ffff:10.0.0.1"), client("10.0.0.1"));
        assert_ne!(client("10.0.0.1"), client("10.0.0.2"));
        assert_eq!(client("10.0.0.1").to_string(), "10.0.0.1");
        assert_eq!(client("2001:db8:1:2::9").to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn network_contains_its_addresses_alone() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("::ffff:10.0.0.0/104", "10.1.1.1", true),
            ("::ffff:10.1.1.1", "10.1.1.1", true),
            ("::ffff:10.1.1.1", "10.1.1.2", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("fd00::/8", "fd12::1", true),
            ("::/0", "fd12::1", true),
            ("::/0", "1.2.3.4", false),
        ];
        for (network, address, inside) in cases {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), inside, "{network} {address}");
        }
        for bad in ["", "x", "10.0.0.0/33", "10.0.0.0/", "::1/129"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
