//! Which user asks. With `auth = "trusted"` whoever calls is believed: `?user_id=` or `X-User-Id`.

use actix_web::HttpRequest;

use super::Caller;
use crate::api::params::Query;
use crate::api::problem::{Code, Problem};
use crate::config::Config;
use crate::config::values::Auth;
use crate::domain::UserId;

const HEADER: &str = "X-User-Id";
const PARAMETER: &str = "user_id";

/// The user, if one is named. Two different names are refused: one of them is wrong.
pub(super) fn of_user(
    config: &Config,
    request: &HttpRequest,
    _: &Caller,
) -> Result<Option<UserId>, Problem> {
    match config.auth {
        Auth::Trusted => trusted(request),
    }
}

/// Nobody is named, but the route needs a user.
pub(super) fn missing(_: &Config) -> Problem {
    let detail = "Say who asks: the header X-User-Id or the parameter ?user_id=";
    Problem::new(Code::IdentityMissing, detail)
}

fn trusted(request: &HttpRequest) -> Result<Option<UserId>, Problem> {
    let query = Query::of(request)?;
    let in_query = query.get(PARAMETER)?.map(|text| parse(PARAMETER, text)).transpose()?;
    let mut user = in_query;
    for value in request.headers().get_all(HEADER) {
        // Header bytes may be any; ids in other scripts come as UTF-8.
        let text = std::str::from_utf8(value.as_bytes()).unwrap_or_default();
        let named = parse(HEADER, text)?;
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
