//! Checks admin keys. Where none is configured, direct requests on this machine are admins'.

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::Config;
use crate::config::values::AdminKey;
use crate::http::problem::{Code, Problem};

use super::Caller;

const HEADER: HeaderName = HeaderName::from_static("x-admin-key");
const BEARER: &str = "Bearer ";
/// The name under which admin acts without a key are recorded.
const KEYLESS: &str = "loopback";

/// The name of the key that a request shows, in `X-Admin-Key` or as a bearer token.
pub(super) fn check(
    config: &Config,
    request: &HttpRequest,
    caller: &Caller,
) -> Result<String, Problem> {
    let bearer = || text(request, &AUTHORIZATION)?.strip_prefix(BEARER);
    check_shown(config, caller, text(request, &HEADER).or_else(bearer))
}

/// The same on a route of users, where a bearer token is the user's.
pub(super) fn check_key(
    config: &Config,
    request: &HttpRequest,
    caller: &Caller,
) -> Result<String, Problem> {
    // A key that is not text matches none.
    check_shown(config, caller, Some(text(request, &HEADER).unwrap_or_default()))
}

/// Whether a request shows an admin key, right or wrong.
pub(super) fn key_is_shown(request: &HttpRequest) -> bool {
    request.headers().contains_key(HEADER)
}

fn check_shown(config: &Config, caller: &Caller, shown: Option<&str>) -> Result<String, Problem> {
    let keys = &config.admin_keys_sha256;
    if keys.is_empty() {
        return keyless(caller);
    }
    let Some(shown) = shown else {
        let detail = "Show an admin key: the header X-Admin-Key, or Authorization: Bearer";
        return Err(Problem::new(Code::AdminKeyMissing, detail)
            .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
    };
    find(keys, shown.trim())
        .ok_or_else(|| Problem::new(Code::AdminKeyWrong, "This is not an admin key of this server"))
}

fn text<'a>(request: &'a HttpRequest, name: &HeaderName) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// Without keys the server listens on loopback alone (`Config::check`). Requests that a proxy on
/// this machine forwards, or may forward, come from elsewhere and are refused.
fn keyless(caller: &Caller) -> Result<String, Problem> {
    if caller.is_direct {
        return Ok(KEYLESS.to_owned());
    }
    let detail = "Admin calls from elsewhere, and through proxies, need a key; set \
        admin_keys_sha256 on the server";
    Err(Problem::new(Code::AdminKeyMissing, detail))
}

/// Compares with every key in constant time, so that timing reveals nothing.
fn find(keys: &[AdminKey], shown: &str) -> Option<String> {
    let shown = Sha256::digest(shown.as_bytes());
    let mut found = None;
    for key in keys {
        if bool::from(key.sha256.ct_eq(shown.as_slice())) {
            found = Some(key.name.clone());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RouteClass;

    #[test]
    fn key_is_found_by_its_hash() {
        // printf %s open-sesame | sha256sum
        let hash = "d7ecdf25eaf3deba0f2628771dbdd22d4138ab6cf38f91ed02a2ca0dec7c8ab7";
        let keys = vec![format!("ops:{hash}").parse().unwrap()];
        assert_eq!(find(&keys, "open-sesame").as_deref(), Some("ops"));
        assert_eq!(find(&keys, "open-sesam"), None);
        assert_eq!(find(&[], ""), None);
    }

    #[test]
    fn without_keys_only_direct_local_requests_are_admins() {
        let caller = |address: &str, is_direct| {
            let address = Some(address.parse().unwrap());
            Caller { address, is_direct, ..Caller::unknown(RouteClass::Admin) }
        };
        assert!(keyless(&caller("127.0.0.1", true)).is_ok());
        assert!(keyless(&caller("::1", true)).is_ok());
        assert!(keyless(&caller("127.0.0.1", false)).is_err());
        assert!(keyless(&caller("10.0.0.1", false)).is_err());
    }
}
