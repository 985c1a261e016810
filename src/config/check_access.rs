//! Checks the settings of authentication, keys and other sites at start.

use hyper::Uri;
use hyper::header::HeaderName;

use crate::domain::{DeploymentTag, TokenKeys};
use crate::secrets::quoted;

use super::fields::Config;
use super::layers::ConfigError;
use super::values::{Auth, Secret};

/// Maximum number of keys to verify tokens with: each costs an attempt.
const JWT_KEYS_MAX: usize = 8;
/// Maximum number of claims that mark a backend's token.
const BACKEND_CLAIMS_MAX: usize = 16;
/// Maximum number of sites that may read responses, and of headers that they may send.
const CORS_ORIGINS_MAX: usize = 100;
const CORS_HEADERS_MAX: usize = 100;
/// Names of this machine, of which all ports may be named at once.
const LOOPBACK_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

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
        if self.jwt_backend_claims.len() > BACKEND_CLAIMS_MAX {
            faults.push(format!("jwt_backend_claims: {BACKEND_CLAIMS_MAX} at most"));
        }
        let is_claim = |text: &&String| {
            text.split_once('=').is_some_and(|(name, value)| !name.is_empty() && !value.is_empty())
        };
        let wrong = self.jwt_backend_claims.iter().filter(|text| !is_claim(text));
        faults.extend(wrong.map(|text| {
            format!(
                "jwt_backend_claims: {} is no claim: write name=value, as roles=shop",
                quoted(text)
            )
        }));
        if self.jwt_key_files.len() > JWT_KEYS_MAX {
            faults.push(format!("jwt_key_files: {JWT_KEYS_MAX} files at most"));
        }
    }

    /// The keys of the waiting room's tokens, for the deployment whose archive has this id; `None`
    /// without secrets, which is valid on loopback.
    ///
    /// # Errors
    /// If the secrets are unusable.
    pub fn token_keys(&self, deployment_id: &str) -> Result<Option<TokenKeys>, ConfigError> {
        if self.token_secrets.is_empty() {
            return Ok(None);
        }
        let parts = |secret| Secret::expose(secret).split_once(':').unwrap_or_default();
        let parts = self.token_secrets.iter().map(parts);
        let secrets: Vec<(&str, &[u8])> =
            parts.map(|(id, secret)| (id, secret.as_bytes())).collect();
        let keys = TokenKeys::new(self.deployment_tag(deployment_id), &secrets);
        keys.map(Some).map_err(|fault| ConfigError(format!("token_secrets: {fault}")))
    }

    /// This deployment's tag in tokens.
    pub fn deployment_tag(&self, deployment_id: &str) -> DeploymentTag {
        DeploymentTag::of(&self.redis_namespace, deployment_id)
    }

    pub(super) fn check_tokens(&self, faults: &mut Vec<String>) {
        if !self.listen.ip().is_loopback() && self.token_secrets.is_empty() {
            faults.push(format!(
                "listen = \"{}\" is open to the network, but token_secrets has no secret: set one \
                 for all API processes (HOLDFAST_TOKEN_SECRETS=k1:<openssl rand -hex 32>), or \
                 listen on 127.0.0.1",
                self.listen
            ));
        }
        // Whether the secrets are valid does not depend on the deployment.
        faults.extend(self.token_keys("").err().map(|error| error.0));
    }

    pub(super) fn check_origins(&self, faults: &mut Vec<String>) {
        if self.cors_origins.len() > CORS_ORIGINS_MAX {
            faults.push(format!("cors_origins: {CORS_ORIGINS_MAX} at most"));
        }
        let wrong = self.cors_origins.iter().filter(|origin| !is_origin(origin));
        faults.extend(wrong.map(|origin| {
            format!(
                "cors_origins: {} is no origin: write scheme and host alone, as \
                 https://tickets.example (as browsers do: in small letters, and a port only where \
                 it is not the scheme's own), http://localhost:* for every port of this machine, \
                 or * for all",
                quoted(origin)
            )
        }));
        if self.cors_extra_headers.len() > CORS_HEADERS_MAX {
            faults.push(format!("cors_extra_headers: {CORS_HEADERS_MAX} at most"));
        }
        let is_name = |name: &&String| *name == "*" || name.parse::<HeaderName>().is_ok();
        let wrong = self.cors_extra_headers.iter().filter(|name| !is_name(name));
        faults.extend(wrong.map(|name| {
            format!("cors_extra_headers: {name:?} is no header's name; write one as x-shop, or *")
        }));
    }
}

/// Whether it is an `Origin` as sent by browsers: no path, not even `/`; or `*`, or every port of this
/// machine.
fn is_origin(text: &str) -> bool {
    if let Some(site) = text.strip_suffix(":*") {
        let host = site.strip_prefix("http://").or_else(|| site.strip_prefix("https://"));
        return host.is_some_and(|host| LOOPBACK_HOSTS.contains(&host));
    }
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let whole = || {
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        let is_web = matches!(scheme, "http" | "https") && !authority.as_str().contains('@');
        let own_port = if scheme == "http" { ":80" } else { ":443" };
        // Browsers send neither capitals nor the scheme's default port: such a setting never matches.
        let is_sent = !authority.as_str().ends_with(own_port)
            && !authority.as_str().contains(|c: char| c.is_ascii_uppercase());
        Some(is_web && is_sent && text == format!("{scheme}://{authority}"))
    };
    text == "*" || whole().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "k1:a secret of thirty-two bytes, at least";

    fn jwt(config: &Config, files: &[&str]) -> Config {
        Config {
            auth: Auth::Jwt,
            jwt_key_files: files.iter().map(|file| (*file).into()).collect(),
            jwt_audience: "tickets".into(),
            ..config.clone()
        }
    }

    #[test]
    fn backend_claim_without_a_value_is_refused() {
        for wrong in ["shop", "=shop", "roles="] {
            let config = Config { jwt_backend_claims: vec![wrong.into()], ..Config::default() };
            let error = config.check().unwrap_err().0;
            assert!(error.contains("is no claim: write name=value"), "{error}");
        }
        let many = vec!["a=b".to_owned(); BACKEND_CLAIMS_MAX + 1];
        let config = Config { jwt_backend_claims: many, ..Config::default() };
        assert!(config.check().unwrap_err().0.contains("jwt_backend_claims: 16 at most"));
    }

    #[test]
    fn network_listener_needs_keys() {
        let open = Config {
            listen: "0.0.0.0:8000".parse().unwrap(),
            admin_keys_sha256: vec![format!("ops:{}", "ab".repeat(32)).parse().unwrap()],
            token_secrets: vec![SECRET.into()],
            ..Config::default()
        };
        jwt(&open, &["key"]).check().unwrap();
        let gateways = vec!["10.0.0.0/8".parse().unwrap()];
        Config { identity_proxies: gateways, ..open.clone() }.check().unwrap();
        // A load balancer is trusted for addresses only.
        let balancers = vec!["10.0.0.0/8".parse().unwrap()];
        let message = Config { trusted_proxies: balancers, ..open }.check().unwrap_err().0;
        assert!(message.contains("trusts nobody there"), "{message}");
    }

    #[test]
    fn contradictions_are_refused() {
        type Break = fn(&mut Config);
        let cases: [(Break, &str); 6] = [
            (
                |c| {
                    c.listen = "0.0.0.0:8000".parse().unwrap();
                    c.identity_proxies = vec!["10.0.0.1".parse().unwrap()];
                    c.token_secrets = vec![SECRET.into()];
                },
                "admin_keys_sha256 has no key",
            ),
            (
                |c| {
                    c.listen = "0.0.0.0:8000".parse().unwrap();
                    c.identity_proxies = vec!["10.0.0.1".parse().unwrap()];
                    c.admin_keys_sha256 = vec![format!("ops:{}", "ab".repeat(32)).parse().unwrap()];
                },
                "token_secrets has no secret",
            ),
            (
                |c| {
                    c.listen = "0.0.0.0:8000".parse().unwrap();
                    c.token_secrets = vec![SECRET.into()];
                    c.admin_keys_sha256 = vec![format!("ops:{}", "ab".repeat(32)).parse().unwrap()];
                },
                "name the gateway",
            ),
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
    fn token_secrets_are_checked() {
        assert!(Config::default().token_keys("").unwrap().is_none());
        let with = |secrets: &[&str]| Config {
            token_secrets: secrets.iter().map(|secret| (*secret).into()).collect(),
            ..Config::default()
        };
        let sound = "k1:secret-of-32-bytes-with-a-:-in-it";
        assert!(with(&[sound]).token_keys("").unwrap().is_some());
        with(&[sound]).check().unwrap();
        for (secrets, expected) in [
            (&["secret-of-32-bytes-without-any-id-at-all"][..], "number 1 has no id"),
            (&["k1:secret"], "the secret of number 1 has 6 bytes; it needs 32"),
            (&[sound, sound], "number 2 has the id"),
            (&[sound; 9], "there are 9"),
        ] {
            let message = with(secrets).check().unwrap_err().0;
            assert!(message.starts_with("token_secrets: ") && message.contains(expected));
            assert!(!message.contains("secret-of"), "{message}");
        }
    }

    #[test]
    fn origins_are_schemes_with_hosts() {
        for text in ["*", "https://tickets.example", "http://localhost:3000", "http://[::1]:1"] {
            assert!(is_origin(text), "{text}");
        }
        let wrong =
            ["", "tickets.example", "https://h/", "https://h/a", "null", "ftp://h", "https://a@h"];
        // No browser sends these.
        let unsent = ["https://Tickets.example", "https://h:443", "http://h:80", "HTTPS://h"];
        for text in wrong.into_iter().chain(unsent) {
            assert!(!is_origin(text), "{text}");
        }
        assert!(is_origin("http://h:443") && is_origin("https://h:8443"));
        for text in ["http://localhost:*", "https://127.0.0.1:*", "http://[::1]:*"] {
            assert!(is_origin(text), "{text}");
        }
        for text in
            ["https://tickets.example:*", "localhost:*", "http://:*", "http://localhost:*:*"]
        {
            assert!(!is_origin(text), "{text}");
        }
        let config = Config { cors_origins: vec!["h".into()], ..Config::default() };
        assert!(config.check().unwrap_err().0.contains("cors_origins: \"h\" is no origin"));
    }

    #[test]
    fn extra_headers_must_be_header_names() {
        let with = |names: &[&str]| Config {
            cors_extra_headers: names.iter().map(|name| name.to_string()).collect(),
            ..Config::default()
        };
        with(&["x-shop", "X-Datadog-Trace-Id", "*"]).check().unwrap();
        for wrong in ["", "x shop", "x-shop:"] {
            let error = with(&[wrong]).check().unwrap_err().0;
            assert!(error.contains("is no header's name"), "{error}");
        }
        assert!(with(&["x"; 101]).check().unwrap_err().0.contains("100 at most"));
    }
}
