//! Settings of a waiting room, from the query or the body.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::RoomChange;
use crate::domain::waiting_room::{CLAIM_MS_MAX, CONCURRENT_MAX, SESSION_MS_MAX};
use crate::http::fields::{Object, Whole, from_object, from_parameters, to_object};
use crate::http::params::Query;
use crate::http::problem::Problem;
use crate::http::words;

const SESSION_SECONDS_MAX: u32 = (SESSION_MS_MAX / 1_000) as u32;
const CLAIM_SECONDS_MAX: u32 = (CLAIM_MS_MAX / 1_000) as u32;
/// Of rates. Clients' integers may have a sign.
const RATE_MAX: u32 = i32::MAX as u32;

/// Settings of a waiting room; what is absent stays as it was.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EnableRoom)]
pub struct EnableRoomBody {
    /// Sessions and open places at a time.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000, example = 100)]
    max_concurrent: Option<Whole<1, CONCURRENT_MAX>>,
    /// How long a session lasts, seconds.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 86_400, example = 300)]
    session_duration: Option<Whole<1, SESSION_SECONDS_MAX>>,
    /// How long one lasts with renewals, seconds.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 86_400)]
    session_cap: Option<Whole<1, SESSION_SECONDS_MAX>>,
    /// Whether a status request renews the session.
    renew: Option<bool>,
    /// How long a served place may be claimed, seconds.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 3_600)]
    claim_window: Option<Whole<1, CLAIM_SECONDS_MAX>>,
    /// Most places opened in any minute; 0: as many as come free.
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 2_147_483_647)]
    per_minute: Option<Whole<0, RATE_MAX>>,
    /// `fifo`, `passthrough` (lets everybody through) or `reject` (lets nobody in).
    #[schema(value_type = Option<words::QueueMethod>)]
    method: Option<Value>,
    /// Shuffle those who join before the sale begins.
    shuffle: Option<bool>,
    /// Not on at once, but by itself when attempts surge, and off again.
    automatic: Option<bool>,
    /// Attempts a second at which it goes on by itself.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 2_147_483_647)]
    surge_per_second: Option<Whole<1, RATE_MAX>>,
    /// Attempts a second below which it goes off again.
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 2_147_483_647)]
    calm_per_second: Option<Whole<0, RATE_MAX>>,
}

/// How a parameter of the query is written.
#[derive(Clone, Copy)]
enum Kind {
    Number,
    Switch,
    Word,
}

/// The parameters that a query may have.
const PARAMETERS: [(&str, Kind); 11] = [
    ("max_concurrent", Kind::Number),
    ("session_duration", Kind::Number),
    ("session_cap", Kind::Number),
    ("renew", Kind::Switch),
    ("claim_window", Kind::Number),
    ("per_minute", Kind::Number),
    ("method", Kind::Word),
    ("shuffle", Kind::Switch),
    ("automatic", Kind::Switch),
    ("surge_per_second", Kind::Number),
    ("calm_per_second", Kind::Number),
];

/// The change that a request asks for, and its settings by name for the audit record. A setting of the
/// body overrides the same one of the query.
pub(super) fn change(
    query: &Query,
    body: Option<EnableRoomBody>,
) -> Result<(RoomChange, String), Problem> {
    let in_query = parameters(query)?;
    let mut settings = to_object(&in_query);
    settings.extend(to_object(&body.unwrap_or_default()));
    let detail = Value::Object(settings.clone()).to_string();
    Ok((from_object::<EnableRoomBody>(settings)?.into_change()?, detail))
}

/// The settings in the query.
fn parameters(query: &Query) -> Result<EnableRoomBody, Problem> {
    let mut object = Object::new();
    for (name, kind) in PARAMETERS {
        let Some(text) = query.get(name)? else { continue };
        let value = match (kind, text) {
            (Kind::Switch, "true" | "1") => Value::Bool(true),
            (Kind::Switch, "false" | "0") => Value::Bool(false),
            (Kind::Number, number) => {
                number.parse().map_or(text.into(), |number: u32| number.into())
            }
            (Kind::Switch | Kind::Word, text) => text.into(),
        };
        object.insert(name.to_owned(), value);
    }
    from_parameters(object)
}

impl EnableRoomBody {
    fn into_change(self) -> Result<RoomChange, Problem> {
        let method = self.method.map(|word| {
            let method = word.as_str().and_then(|word| word.parse().ok());
            let unknown = || Problem::parameter("method", "must be fifo, passthrough or reject");
            method.ok_or_else(unknown)
        });
        Ok(RoomChange {
            method: method.transpose()?,
            max_concurrent: self.max_concurrent.map(|number| number.0),
            per_minute: self.per_minute.map(|number| number.0),
            session_seconds: self.session_duration.map(|seconds| seconds.0),
            session_cap_seconds: self.session_cap.map(|seconds| seconds.0),
            claim_seconds: self.claim_window.map(|seconds| seconds.0),
            renews: self.renew,
            shuffle: self.shuffle,
            automatic: self.automatic,
            surge_per_second: self.surge_per_second.map(|number| number.0),
            calm_per_second: self.calm_per_second.map(|number| number.0),
        })
    }
}

/// A body with an admission token; anything else in it is ignored.
#[derive(Default, Deserialize)]
pub struct TokenBody {
    token: Option<Value>,
}

impl TokenBody {
    /// The token, if it is a text.
    pub fn token(&self) -> Option<&str> {
        self.token.as_ref().and_then(Value::as_str)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{Method, RoomSettings};
    use crate::http::fields::parse;
    use crate::http::problem::Code;

    fn changed(pairs: &[(&str, &str)], body: Value) -> Result<(RoomChange, String), Problem> {
        let pairs = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        change(&Query::from_pairs(pairs.collect()), Some(parse(body.to_string().as_bytes())?))
    }

    #[test]
    fn settings_are_taken_from_query_and_body() {
        let in_query = [("max_concurrent", "100"), ("session_duration", "300"), ("renew", "0")];
        let body = json!({ "max_concurrent": 5, "method": "reject", "renew": true });
        let (change, detail) = changed(&in_query, body).unwrap();
        let mut settings = RoomSettings::default();
        change.apply(&mut settings);
        assert!(settings.on && settings.renews);
        assert_eq!((settings.max_concurrent, settings.session_ms), (5, 300_000));
        assert_eq!(settings.method, Method::Reject);
        let expected = json!({
            "max_concurrent": 5, "method": "reject", "renew": true, "session_duration": 300,
        });
        assert_eq!(serde_json::from_str::<Value>(&detail).unwrap(), expected);
    }

    #[test]
    fn wrong_setting_is_named_as_parameter_or_field() {
        let (parameter, field) = (Code::InvalidParameter, Code::ValidationFailed);
        for (pairs, body, name, code) in [
            (vec![("max_concurrent", "0")], json!({}), "max_concurrent", parameter),
            (vec![("session_duration", "x")], json!({}), "session_duration", parameter),
            (vec![("renew", "perhaps")], json!({}), "renew", parameter),
            (vec![("method", "lifo")], json!({}), "method", parameter),
            (vec![], json!({ "method": "lifo" }), "method", parameter),
            (vec![], json!({ "method": 1 }), "method", parameter),
            (vec![], json!({ "max_concurent": 1 }), "max_concurent", field),
            (vec![], json!({ "claim_window": 0 }), "claim_window", field),
            (vec![], json!({ "renew": 1 }), "renew", field),
        ] {
            let problem = changed(&pairs, body.clone()).unwrap_err();
            assert!(problem.detail.contains(name), "{body}: {}", problem.detail);
            assert_eq!(problem.code, code, "{body}");
        }
    }
}
