//! Identifies the user of a request.
//!
//! With `auth = "jwt"` the user is the `sub` of a verified token, and nothing else. With
//! `auth = "trusted"` it is named without a proof: by the `X-User-Id` of a gateway that vouches for
//! it (`identity_proxies`), or, in a direct request on this machine, by `X-User-Id` or `?user_id=`.

mod backend;
mod tokens;

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName, HeaderValue};

use super::{Caller, NamesUsers};
use crate::config::values::Auth;
use crate::config::{Config, KeyError};
use crate::domain::UserId;
use crate::http::params::{Query, USER_PARAMETER};
use crate::http::problem::{Code, Problem};

use tokens::Tokens;

const HEADER: HeaderName = HeaderName::from_static("x-user-id");
const HEADER_SHOWN: &str = "X-User-Id";
const PARAMETER: &str = USER_PARAMETER;

/// A user who is proven, or named by a trusted source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identified {
    /// The user.
    pub user: UserId,
    /// Whether a backend sends the request: a trusted source without a token, or a token marked as
    /// a backend's.
    pub is_backend: bool,
}

/// The means of identification.
pub(super) enum Identity {
    /// Named by the request, of a trusted source.
    Trusted,
    /// Proven by a token.
    Jwt(Box<Tokens>),
}

impl Identity {
    /// Creates what the settings name.
    ///
    /// # Errors
    /// If a key file is missing or is no key for the algorithm.
    pub fn new(config: &Config) -> Result<Self, KeyError> {
        Ok(match config.auth {
            Auth::Trusted => Identity::Trusted,
            Auth::Jwt => Identity::Jwt(Box::new(Tokens::new(config)?)),
        })
    }

    /// Whether the other identifies the same users in the same way.
    pub fn is_same_as(&self, other: &Identity) -> bool {
        match (self, other) {
            (Identity::Trusted, Identity::Trusted) => true,
            (Identity::Jwt(tokens), Identity::Jwt(others)) => tokens.is_same_as(others),
            _ => false,
        }
    }

    /// The user, if one is named. Two different names are refused.
    pub fn of_user(
        &self,
        request: &HttpRequest,
        caller: &Caller,
    ) -> Result<Option<Identified>, Problem> {
        match self {
            Identity::Trusted => {
                let named = named(request)?;
                let is_believed = match caller.names_users {
                    NamesUsers::No => false,
                    // The gateway sets the header; a parameter alone is the client's.
                    NamesUsers::ByHeader => request.headers().contains_key(HEADER),
                    NamesUsers::ByHeaderOrParameter => true,
                };
                if named.is_some() && !is_believed {
                    return Err(untrusted(caller));
                }
                Ok(named.map(|user| Identified { user, is_backend: true }))
            }
            Identity::Jwt(tokens) => {
                let Some(identified) = tokens.of_request(request)? else { return Ok(None) };
                if named(request)?.is_some_and(|named| named != identified.user) {
                    let detail =
                        "user_id or X-User-Id names another user than the token; leave it out";
                    return Err(Problem::new(Code::IdentityConflict, detail));
                }
                Ok(Some(identified))
            }
        }
    }

    /// The refusal of a request without a user, on a route that needs one.
    pub fn missing(&self) -> Problem {
        match self {
            Identity::Trusted => {
                let detail = "Name the user: the header X-User-Id (or, in a direct request on this \
                    machine, the parameter ?user_id=)";
                Problem::new(Code::IdentityMissing, detail)
            }
            Identity::Jwt(_) => {
                let detail = "Show your token: the header Authorization: Bearer";
                Problem::new(Code::IdentityMissing, detail)
                    .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
            }
        }
    }
}

/// The user that a request names, from any source.
pub(super) fn named(request: &HttpRequest) -> Result<Option<UserId>, Problem> {
    let query = request.query_string();
    // A parameter's name may be percent-encoded.
    let mut user = if query.contains(PARAMETER) || query.contains('%') {
        let query = Query::of(request)?;
        query.get(PARAMETER)?.map(|text| parse(PARAMETER, text)).transpose()?
    } else {
        None
    };
    for value in request.headers().get_all(HEADER) {
        // Header bytes are arbitrary; ids in other scripts come as UTF-8.
        let text = std::str::from_utf8(value.as_bytes()).unwrap_or_default();
        let named = parse(HEADER_SHOWN, text)?;
        match &user {
            Some(other) if *other != named => {
                let detail = "user_id and X-User-Id name different users; send one of them";
                return Err(Problem::new(Code::IdentityConflict, detail));
            }
            _ => user = Some(named),
        }
    }
    Ok(user)
}

fn parse(place: &str, text: &str) -> Result<UserId, Problem> {
    text.trim().parse().map_err(|error| Problem::parameter(place, format!("is wrong: {error}")))
}

fn untrusted(caller: &Caller) -> Problem {
    let detail = match caller.names_users {
        NamesUsers::ByHeader => {
            "?user_id= names a user in direct requests on the server's machine alone; the gateway \
             has to name it in X-User-Id"
        }
        _ => {
            "X-User-Id is believed from a gateway alone (the setting identity_proxies), and in \
             direct requests on the server's machine; call through the gateway"
        }
    };
    Problem::new(Code::IdentityUntrusted, detail)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::domain::RouteClass;
    use crate::gates::address;

    fn ask(peer: &str, uri: &str, headers: &[(&str, &str)]) -> Result<Option<UserId>, Code> {
        let config = Config {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            identity_proxies: vec!["10.9.0.1".parse().unwrap()],
            ..Config::default()
        };
        let identity = Identity::new(&config).unwrap();
        let request = TestRequest::get().uri(uri).peer_addr(peer.parse().unwrap());
        let request =
            headers.iter().fold(request, |request, header| request.append_header(*header));
        let request = request.to_http_request();
        let caller = address::of_client(&config, &request, RouteClass::Bookings);
        let identified = identity.of_user(&request, &caller);
        identified.map(|one| one.map(|one| one.user)).map_err(|problem| problem.code)
    }

    const ANN: (&str, &str) = ("x-user-id", "ann");
    const BOB: (&str, &str) = ("x-user-id", "bob");
    const FORWARDED: (&str, &str) = ("x-forwarded-for", "9.9.9.9");

    fn ann() -> Result<Option<UserId>, Code> {
        Ok(Some("ann".parse().unwrap()))
    }

    #[test]
    fn direct_request_on_this_machine_names_its_user() {
        for peer in ["127.0.0.1:1", "[::1]:1"] {
            assert_eq!(ask(peer, "/", &[ANN]), ann());
            assert_eq!(ask(peer, "/?user_id=ann", &[]), ann());
            assert_eq!(ask(peer, "/?user%5Fid=ann", &[]), ann());
            assert_eq!(ask(peer, "/?user_id=ann", &[ANN]), ann());
            assert_eq!(ask(peer, "/?user_id=ann", &[BOB]), Err(Code::IdentityConflict));
            assert_eq!(ask(peer, "/", &[]), Ok(None));
            assert_eq!(ask(peer, "/", &[ANN, FORWARDED]), Err(Code::IdentityUntrusted));
            assert_eq!(ask(peer, "/?user_id=ann", &[FORWARDED]), Err(Code::IdentityUntrusted));
        }
    }

    #[test]
    fn gateway_names_users_by_its_header_alone() {
        let gateway = "10.9.0.1:1";
        for headers in [&[][..], &[FORWARDED]] {
            let with = |more| [headers, more].concat();
            assert_eq!(ask(gateway, "/", &with(&[ANN])), ann());
            assert_eq!(ask(gateway, "/?user_id=ann", &with(&[ANN])), ann());
            assert_eq!(ask(gateway, "/", &with(&[])), Ok(None));
            for uri in ["/?user_id=ann", "/?user%5Fid=ann"] {
                assert_eq!(ask(gateway, uri, &with(&[])), Err(Code::IdentityUntrusted));
                assert_eq!(ask(gateway, uri, &with(&[BOB])), Err(Code::IdentityConflict));
            }
            // The client's header beside the gateway's.
            assert_eq!(ask(gateway, "/", &with(&[ANN, BOB])), Err(Code::IdentityConflict));
        }
    }

    #[test]
    fn other_sources_name_no_user() {
        for peer in ["10.0.0.1:1", "11.0.0.1:1", "[2001:db8::1]:1"] {
            for headers in [&[][..], &[FORWARDED]] {
                let with = |more| [headers, more].concat();
                assert_eq!(ask(peer, "/", &with(&[ANN])), Err(Code::IdentityUntrusted));
                assert_eq!(ask(peer, "/?user_id=ann", &with(&[])), Err(Code::IdentityUntrusted));
                assert_eq!(ask(peer, "/?user%5Fid=ann", &with(&[])), Err(Code::IdentityUntrusted));
                assert_eq!(ask(peer, "/", &with(&[])), Ok(None));
            }
        }
    }
}
