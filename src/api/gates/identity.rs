//! Which user asks. With `auth = "trusted"` whoever calls is believed: `?user_id=` or `X-User-Id`.

use crate::api::params::Query;
use crate::api::problem::{Code, Problem};
use crate::api::state::Call;
use crate::config::values::Auth;
use crate::domain::UserId;

const HEADER: &str = "X-User-Id";
const PARAMETER: &str = "user_id";

/// The user, if one is named. Two different names are refused: one of them is wrong.
pub(super) fn of_user(call: &Call) -> Result<Option<UserId>, Problem> {
    match call.state.config.auth {
        Auth::Trusted => trusted(call),
    }
}

/// Nobody is named, but the route needs a user.
pub(super) fn missing() -> Problem {
    let detail = "Say who asks: the header X-User-Id or the parameter ?user_id=";
    Problem::new(Code::IdentityMissing, detail)
}

fn trusted(call: &Call) -> Result<Option<UserId>, Problem> {
    let query = Query::of(&call.request)?;
    let in_query = query.get(PARAMETER)?.map(|text| parse(PARAMETER, text)).transpose()?;
    let mut user = in_query;
    for value in call.request.headers().get_all(HEADER) {
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
