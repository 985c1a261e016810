//! Addresses of networks and of those who call from them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A range of addresses in CIDR form (`10.0.0.0/8`), or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    base: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// The network of so many bits that an address lies in. More bits than it has are all.
    pub fn of(address: IpAddr, prefix_bits: u8) -> Self {
        let (base, bits_max) = match address {
            IpAddr::V4(address) => {
                let bits = address.to_bits() & mask32(prefix_bits);
                (IpAddr::V4(bits.into()), 32)
            }
            IpAddr::V6(address) => {
                let bits = address.to_bits() & mask128(prefix_bits);
                (IpAddr::V6(bits.into()), 128)
            }
        };
        Network { base, prefix_bits: prefix_bits.min(bits_max) }
    }

    /// Its leading bits that count.
    pub fn prefix_bits(&self) -> u8 {
        self.prefix_bits
    }

    /// Its first address.
    pub fn base(&self) -> IpAddr {
        self.base
    }

    /// Whether all of another network lies in this one.
    pub fn holds(&self, other: &Network) -> bool {
        self.prefix_bits <= other.prefix_bits && self.contains(other.base)
    }

    /// Whether it is one of IPv4 addresses.
    pub fn is_ipv4(&self) -> bool {
        self.base.is_ipv4()
    }

    /// Whether an address is in the range. An IPv4 address in IPv6 clothing counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                base.to_bits() == address.to_bits() & mask32(self.prefix_bits)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                base.to_bits() == address.to_bits() & mask128(self.prefix_bits)
            }
            _ => false,
        }
    }
}

/// Bits before an IPv4 address in IPv6 clothing.
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
        let bits_max = if base.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            Some(prefix) => prefix.trim().parse().map_err(|_| FORM)?,
            None => bits_max,
        };
        if prefix_bits > bits_max {
            return Err(FORM);
        }
        // Addresses are looked at as IPv4 where they are that in IPv6 clothing.
        match base.to_canonical() {
            plain if plain.is_ipv4() && bits_max == 128 && prefix_bits >= MAPPED_BITS => {
                Ok(Network::of(plain, prefix_bits - MAPPED_BITS))
            }
            _ => Ok(Network::of(base, prefix_bits)),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix_bits)
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

/// The leading bits of an IPv4 address.
fn mask32(prefix_bits: u8) -> u32 {
    u32::MAX.checked_shl(32_u32.saturating_sub(prefix_bits.into())).unwrap_or(0)
}

/// The leading bits of an IPv6 address.
fn mask128(prefix_bits: u8) -> u128 {
    u128::MAX.checked_shl(128_u32.saturating_sub(prefix_bits.into())).unwrap_or(0)
}

/// Bits of an IPv6 address that name one client: a household or a server has all that follow.
const CLIENT_BITS_IPV6: u8 = 64;

/// A client on the network, as limits count it: an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientNetwork(u128);

impl ClientNetwork {
    /// The client that has an address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            // As an IPv4 address in IPv6 clothing, which lies in no network of clients.
            IpAddr::V4(address) => ClientNetwork(address.to_ipv6_mapped().to_bits()),
            IpAddr::V6(address) => ClientNetwork(address.to_bits() & mask128(CLIENT_BITS_IPV6)),
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
    fn an_ipv6_client_is_its_network() {
        let client = |text: &str| ClientNetwork::of(text.parse().unwrap());
        assert_eq!(client("2001:db8:1:2:3::4"), client("2001:db8:1:2:ffff::"));
        assert_ne!(client("2001:db8:1:2::"), client("2001:db8:1:3::"));
        assert_eq!(client("::ffff:10.0.0.1"), client("10.0.0.1"));
        assert_ne!(client("10.0.0.1"), client("10.0.0.2"));
        assert_eq!(client("10.0.0.1").to_string(), "10.0.0.1");
        assert_eq!(client("2001:db8:1:2::9").to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn networks_contain_their_addresses() {
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
