//! Settings about who may ask, checked at start: identity, keys, proxies, other sites.

use hyper::Uri;

use super::fields::Config;
use super::values::Auth;

/// Most keys that tokens are verified with: each costs a try.
const JWT_KEYS_MAX: usize = 8;
/// Most sites that may read answers.
const CORS_ORIGINS_MAX: usize = 100;

impl Config {
    pub(super) fn check_identity(&self, faults: &mut Vec<String>) {
        let is_open = !self.listen.ip().is_loopback();
        if is_open && self.admin_keys_sha256.is_empty() {
            faults.push(format!(
                "listen = \"{}\" is open to the network, but admin_keys_sha256 has no key: set \
                 one (HOLDFAST_ADMIN_KEYS_SHA256=ops:<sha256>), or listen on 127.0.0.1",
                self.listen
            ));
        }
        if is_open && self.auth == Auth::Trusted && self.trusted_proxies.is_empty() {
            faults.push(format!(
                "listen = \"{}\" is open to the network, but auth = \"trusted\" believes no one \
                 there: set auth = \"jwt\" and a key, or name the gateway that vouches for users \
                 in trusted_proxies, or listen on 127.0.0.1",
                self.listen
            ));
        }
        if self.trusted_proxies.iter().any(|network| network.prefix_bits() == 0) {
            faults.push(
                "trusted_proxies has a range of all addresses, so anybody could be anybody: name \
                 the proxies"
                    .to_owned(),
            );
        }
        if self.auth == Auth::Jwt && self.jwt_key_files.is_empty() {
            faults.push(
                "auth = \"jwt\" needs a key: name its file in jwt_key_files \
                 (HOLDFAST_JWT_KEY_FILES)"
                    .to_owned(),
            );
        }
        if self.auth == Auth::Jwt && self.jwt_audience.is_empty() {
            faults.push(
                "auth = \"jwt\" needs jwt_audience: without it tokens for other services of the \
                 same issuer would do"
                    .to_owned(),
            );
        }
        if self.jwt_key_files.len() > JWT_KEYS_MAX {
            faults.push(format!("jwt_key_files: {JWT_KEYS_MAX} files at most"));
        }
    }

    pub(super) fn check_origins(&self, faults: &mut Vec<String>) {
        if self.cors_origins.len() > CORS_ORIGINS_MAX {
            faults.push(format!("cors_origins: {CORS_ORIGINS_MAX} at most"));
        }
        let wrong = self.cors_origins.iter().filter(|origin| !is_origin(origin));
        faults.extend(wrong.map(|origin| {
            format!(
                "cors_origins: {origin:?} is no origin: write scheme and host alone, as \
                 https://tickets.example, or * for all"
            )
        }));
    }
}

/// Whether it is what browsers send as `Origin`: no path, not even `/`; or the one for all.
fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let whole = || {
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        let is_web = matches!(scheme, "http" | "https") && !authority.as_str().contains('@');
        Some(is_web && text == format!("{scheme}://{authority}"))
    };
    text == "*" || whole().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(config: &Config, files: &[&str]) -> Config {
        Config {
            auth: Auth::Jwt,
            jwt_key_files: files.iter().map(|file| file.to_string()).collect(),
            jwt_audience: "tickets".into(),
            ..config.clone()
        }
    }

    #[test]
    fn what_is_open_to_the_network_has_keys() {
        let open = Config {
            listen: "0.0.0.0:8000".parse().unwrap(),
            admin_keys_sha256: vec![format!("ops:{}", "ab".repeat(32)).parse().unwrap()],
            ..Config::default()
        };
        jwt(&open, &["key"]).check().unwrap();
        let proxies = vec!["10.0.0.0/8".parse().unwrap()];
        Config { trusted_proxies: proxies, ..open }.check().unwrap();
    }

    #[test]
    fn contradictions_are_refused() {
        type Break = fn(&mut Config);
        let cases: [(Break, &str); 6] = [
            (
                |c| {
                    c.listen = "0.0.0.0:8000".parse().unwrap();
                    c.trusted_proxies = vec!["10.0.0.1".parse().unwrap()];
                },
                "admin_keys_sha256 has no key",
            ),
            (
                |c| {
                    c.listen = "0.0.0.0:8000".parse().unwrap();
                    c.admin_keys_sha256 = vec![format!("ops:{}", "ab".repeat(32)).parse().unwrap()];
                },
                "name the gateway",
            ),
            (|c| c.trusted_proxies = vec!["::/0".parse().unwrap()], "anybody could be anybody"),
            (|c| *c = jwt(c, &[]), "name its file in jwt_key_files"),
            (|c| *c = Config { jwt_audience: String::new(), ..jwt(c, &["k"]) }, "jwt_audience"),
            (|c| *c = jwt(c, &["k"; 9]), "8 files at most"),
        ];
        for (break_it, expected) in cases {
            let mut config = Config::default();
            break_it(&mut config);
            let message = config.check().unwrap_err().0;
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains('\n'), "one fault, one line: {message}");
        }
    }

    #[test]
    fn origins_are_schemes_with_hosts() {
        for text in ["*", "https://tickets.example", "http://localhost:3000", "http://[::1]:1"] {
            assert!(is_origin(text), "{text}");
        }
        let wrong =
            ["", "tickets.example", "https://h/", "https://h/a", "null", "ftp://h", "https://a@h"];
        for text in wrong {
            assert!(!is_origin(text), "{text}");
        }
        let config = Config { cors_origins: vec!["h".into()], ..Config::default() };
        assert!(config.check().unwrap_err().0.contains("cors_origins: \"h\" is no origin"));
    }
}
