//! Who may change events: holders of an admin key, or, where none is configured, whoever is on
//! this machine.

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
/// The name under which keyless admin acts are recorded.
const KEYLESS: &str = "loopback";

/// The name of the key that was shown, if it is one of ours: `X-Admin-Key`, or a bearer's.
pub(super) fn check(
    config: &Config,
    request: &HttpRequest,
    caller: &Caller,
) -> Result<String, Problem> {
    let bearer = || text(request, &AUTHORIZATION)?.strip_prefix(BEARER);
    check_shown(config, caller, text(request, &HEADER).or_else(bearer))
}

/// The same on a route of users, where a bearer's token is the user's.
pub(super) fn check_key(
    config: &Config,
    request: &HttpRequest,
    caller: &Caller,
) -> Result<String, Problem> {
    // A key that is no text is none of ours.
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

/// Without keys the server listens on loopback alone (`config` sees to that), but a proxy on this
/// machine would make the whole world local: what one forwards, or may forward, is not.
fn keyless(caller: &Caller) -> Result<String, Problem> {
    if caller.is_direct {
        return Ok(KEYLESS.to_owned());
    }
    let detail = "Admin calls from elsewhere, and through proxies, need a key; set \
        admin_keys_sha256 on the server";
    Err(Problem::new(Code::AdminKeyMissing, detail))
}

/// Compares with every key in constant time, so that the time tells nothing.
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
    fn keys_are_found_by_their_hash() {
        // printf %s open-sesame | sha256sum
        let hash = "d7ecdf25eaf3deba0f2628771dbdd22d4138ab6cf38f91ed02a2ca0dec7c8ab7";
        let keys = vec![format!("ops:{hash}").parse().unwrap()];
        assert_eq!(find(&keys, "open-sesame").as_deref(), Some("ops"));
        assert_eq!(find(&keys, "open-sesam"), None);
        assert_eq!(find(&[], ""), None);
    }

    #[test]
    fn without_keys_only_this_machine_is_admin() {
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
