//! Checks the settings of proxies and host names at start.

use std::net::IpAddr;

use crate::secrets::quoted;

use super::fields::Config;
use super::values::{Auth, Network};

/// Minimum prefix lengths of proxy ranges: networks of one owner, such as 10.0.0.0/8 or fd00::/8.
const IPV4_BITS_MIN: u8 = 8;
const IPV6_BITS_MIN: u8 = 8;
/// Maximum number of host names.
const HOSTS_MAX: usize = 100;

impl Config {
    /// Whether clients on this machine need neither a key nor a token for some requests: then a page of
    /// any site in a browser on this machine could send them, too.
    pub fn trusts_this_machine(&self) -> bool {
        self.admin_keys_sha256.is_empty() || self.auth == Auth::Trusted
    }

    /// Whether a `Host` names this machine itself, or is one of `allowed_hosts`. The port is ignored:
    /// what matters is that no other site has the name.
    pub fn is_own_host(&self, host: &str) -> bool {
        let Some(name) = host_name(host) else { return false };
        // Spares a local request the parser of addresses.
        if name == "127.0.0.1" {
            return true;
        }
        let unbracketed = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let address: Option<IpAddr> = unbracketed.unwrap_or(name).parse().ok();
        let is_loopback = address.is_some_and(|address| address.to_canonical().is_loopback());
        is_loopback
            || name.eq_ignore_ascii_case("localhost")
            || self.allowed_hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    pub(super) fn check_proxies(&self, faults: &mut Vec<String>) {
        for (name, networks) in [
            ("trusted_proxies", &self.trusted_proxies),
            ("identity_proxies", &self.identity_proxies),
        ] {
            let wide = networks.iter().filter(|network| is_too_wide(network));
            faults.extend(wide.map(|network| {
                format!(
                    "{name}: {network} is a range of strangers, so anybody could be anybody: \
                         name the proxies"
                )
            }));
        }
        if self.auth == Auth::Jwt && !self.identity_proxies.is_empty() {
            faults.push(
                "identity_proxies has no effect with auth = \"jwt\", where tokens alone name \
                 users: leave it out, or set auth = \"trusted\""
                    .to_owned(),
            );
        }
        if self.auth != Auth::Trusted || !self.identity_proxies.is_empty() {
            return;
        }
        let listen = self.listen.ip().to_canonical();
        if !listen.is_loopback() {
            faults.push(format!(
                "listen = \"{}\" is open to the network, but auth = \"trusted\" trusts nobody \
                 there: set auth = \"jwt\" and a key, or name the gateway that sets X-User-Id in \
                 identity_proxies (trusted_proxies are trusted for addresses only), or listen \
                 on 127.0.0.1",
                self.listen
            ));
        } else if self.trusted_proxies.iter().any(|network| network.contains(listen)) {
            faults.push(format!(
                "auth = \"trusted\" trusts nobody: trusted_proxies has this machine, {listen}, \
                 as a proxy of others, and is trusted for addresses only. If the proxy there \
                 sets X-User-Id itself, name it in identity_proxies, too; else set auth = \"jwt\" \
                 and a key"
            ));
        }
    }

    pub(super) fn check_hosts(&self, faults: &mut Vec<String>) {
        if self.allowed_hosts.len() > HOSTS_MAX {
            faults.push(format!("allowed_hosts: {HOSTS_MAX} at most"));
        }
        let wrong = self.allowed_hosts.iter().filter(|name| !is_host_name(name));
        faults.extend(wrong.map(|name| {
            format!(
                "allowed_hosts: {} is no host: write a name or an address alone, without a port, \
                 as tickets.example",
                quoted(name)
            )
        }));
        let is_any = self.cors_origins.iter().any(|origin| origin == "*");
        if is_any && self.listen.ip().is_loopback() && self.trusts_this_machine() {
            faults.push(
                "cors_origins = \"*\" would let every site that a browser on this machine shows \
                 act here, where callers on this machine need no key or token: name the sites, or \
                 set admin_keys_sha256 and auth = \"jwt\""
                    .to_owned(),
            );
        }
    }
}

fn is_too_wide(network: &Network) -> bool {
    network.prefix_bits() < if network.is_ipv4() { IPV4_BITS_MIN } else { IPV6_BITS_MIN }
}

/// A `Host` without its port and a final dot; `None` if it is malformed.
fn host_name(host: &str) -> Option<&str> {
    let (name, rest) = match host.find(']') {
        Some(end) => host.split_at(end + 1),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
    is_whole.then(|| name.strip_suffix('.').unwrap_or(name)).filter(|name| !name.is_empty())
}

/// Whether a setting is the name part of a `Host`: an IPv6 address is in brackets.
fn is_host_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
    host_name(text) == Some(text) && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(break_it: impl Fn(&mut Config)) -> String {
        let mut config = Config::default();
        break_it(&mut config);
        config.check().unwrap_err().0
    }

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn unsafe_proxies_are_refused() {
        for wide in ["0.0.0.0/0", "::/0", "128.0.0.0/1", "8.0.0.0/7", "::ffff:0:0/96", "2000::/3"] {
            let message = fault(|config| config.trusted_proxies = networks(&[wide]));
            assert!(message.contains("trusted_proxies: ") && message.contains("strangers"));
            let message = fault(|config| config.identity_proxies = networks(&[wide]));
            assert!(message.contains("identity_proxies: "), "{message}");
        }
        let message = fault(|config| {
            config.auth = Auth::Jwt;
            config.jwt_key_files = vec!["/key".into()];
            config.jwt_audience = "tickets".into();
            config.identity_proxies = networks(&["10.0.0.1"]);
        });
        assert!(message.starts_with("identity_proxies has no effect"), "{message}");
        let message = fault(|config| config.trusted_proxies = networks(&["127.0.0.0/8"]));
        assert!(message.contains("trusts nobody: trusted_proxies has this machine"), "{message}");
        let both = networks(&["127.0.0.1"]);
        let both =
            Config { trusted_proxies: both.clone(), identity_proxies: both, ..Config::default() };
        both.check().unwrap();
        let balancer = networks(&["10.0.0.0/8"]);
        Config { trusted_proxies: balancer, ..Config::default() }.check().unwrap();
    }

    #[test]
    fn any_origin_is_allowed_only_if_this_machine_needs_a_key() {
        let any = || vec!["*".to_owned()];
        let message = fault(|config| config.cors_origins = any());
        assert!(message.contains("cors_origins = \"*\""), "{message}");
        let keyed = Config {
            auth: Auth::Jwt,
            jwt_key_files: vec!["/key".into()],
            jwt_audience: "tickets".into(),
            cors_origins: any(),
            ..Config::default()
        };
        assert!(keyed.check().unwrap_err().0.contains("cors_origins = \"*\""));
        let keys = vec![format!("ops:{}", "ab".repeat(32)).parse().unwrap()];
        Config { admin_keys_sha256: keys, ..keyed }.check().unwrap();
    }

    #[test]
    fn hosts_of_this_machine_are_recognized() {
        let allowed_hosts = vec!["shop.test".to_owned(), "[fd00::1]".to_owned()];
        let config = Config { allowed_hosts, ..Config::default() };
        config.check().unwrap();
        for own in [
            "localhost",
            "LOCALHOST:8000",
            "localhost.:1",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]:8000",
            "shop.test",
            "Shop.Test:8000",
            "[fd00::1]:1",
        ] {
            assert!(config.is_own_host(own), "{own}");
        }
        for other in [
            "",
            ":80",
            "evil.example",
            "evil.example:8000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "0.0.0.0",
            "[fd00::2]",
            "localhost:evil.example",
            "evil.example/localhost",
            "localhost@evil.example",
            "shop.test.evil.example",
            "::1x",
        ] {
            assert!(!config.is_own_host(other), "{other}");
        }
        for wrong in ["", "shop.test:80", "http://shop.test", "*.test", "shop.test.", "a b"] {
            let message = fault(|config| config.allowed_hosts = vec![wrong.to_owned()]);
            assert!(
                message.contains("allowed_hosts: ") && message.contains("is no host"),
                "{message}"
            );
        }
    }
}
