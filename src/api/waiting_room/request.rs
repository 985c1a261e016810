//! What admins send to switch a waiting room on, checked field by field.

use std::fmt;

use serde_json::Value;

use crate::domain::waiting_room::{CLAIM_MS_MAX, CONCURRENT_MAX, SESSION_MS_MAX};
use crate::domain::{Method, RoomChange};
use crate::http::body::Object;
use crate::http::fields::Fields;
use crate::http::params::Query;
use crate::http::problem::Problem;

/// Numbers that may be given, with their bounds.
const NUMBERS: [(&str, u32, u32); 7] = [
    ("max_concurrent", 1, CONCURRENT_MAX),
    ("session_duration", 1, (SESSION_MS_MAX / 1_000) as u32),
    ("session_cap", 1, (SESSION_MS_MAX / 1_000) as u32),
    ("claim_window", 1, (CLAIM_MS_MAX / 1_000) as u32),
    ("per_minute", 0, u32::MAX),
    ("surge_per_second", 1, u32::MAX),
    ("calm_per_second", 0, u32::MAX),
];
/// Switches that may be given.
const SWITCHES: [&str; 3] = ["renew", "shuffle", "automatic"];
const METHOD: &str = "method";

/// What is to be as said; the rest stays.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wishes {
    numbers: [Option<u32>; NUMBERS.len()],
    switches: [Option<bool>; SWITCHES.len()],
    method: Option<Method>,
}

/// Reads them from the query and the body; the body's stand above.
pub(super) fn wishes(query: &Query, body: Option<&Object>) -> Result<Wishes, Problem> {
    let empty = Object::new();
    let fields = Fields::new(body.unwrap_or(&empty));
    let names = NUMBERS.iter().map(|row| row.0).chain(SWITCHES).chain([METHOD]);
    fields.only(&names.collect::<Vec<_>>())?;
    let mut wishes = Wishes::default();
    for ((name, min, max), wish) in NUMBERS.iter().zip(&mut wishes.numbers) {
        let sent = fields.integer(name, i64::from(*min)..=i64::from(*max))?;
        *wish = match sent.and_then(|number| u32::try_from(number).ok()) {
            Some(number) => Some(number),
            None => query.integer(name, *min..=*max)?,
        };
    }
    for (name, wish) in SWITCHES.iter().zip(&mut wishes.switches) {
        *wish = match (fields.boolean(name)?, query.get(name)?) {
            (Some(switch), _) => Some(switch),
            (None, None) => None,
            (None, Some("true" | "1")) => Some(true),
            (None, Some("false" | "0")) => Some(false),
            (None, Some(_)) => return Err(Problem::parameter(name, "must be true or false")),
        };
    }
    let word = fields.value(METHOD).map(|value| value.as_str().unwrap_or_default());
    let word = word.or(query.get(METHOD)?);
    let unknown = |()| Problem::parameter(METHOD, "must be fifo, passthrough or reject");
    wishes.method = word.map(|word| word.parse().map_err(unknown)).transpose()?;
    Ok(wishes)
}

impl Wishes {
    /// The same by their names.
    pub(super) fn change(&self) -> RoomChange {
        let [max_concurrent, session, cap, claim, per_minute, surge, calm] = self.numbers;
        let [renews, shuffle, automatic] = self.switches;
        RoomChange {
            method: self.method,
            max_concurrent,
            per_minute,
            session_seconds: session,
            session_cap_seconds: cap,
            claim_seconds: claim,
            renews,
            shuffle,
            automatic,
            surge_per_second: surge,
            calm_per_second: calm,
        }
    }
}

/// As the record of admin acts has it.
impl fmt::Display for Wishes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = NUMBERS.iter().zip(&self.numbers);
        let numbers = numbers.filter_map(|(row, n)| n.map(|n| (row.0.to_owned(), Value::from(n))));
        let switches = SWITCHES.iter().zip(&self.switches);
        let switches =
            switches.filter_map(|(name, s)| s.map(|s| ((*name).to_owned(), Value::from(s))));
        let method = self.method.map(|method| (METHOD.to_owned(), Value::from(method.as_str())));
        let all: Object = numbers.chain(switches).chain(method).collect();
        write!(f, "{}", Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::RoomSettings;

    fn query(pairs: &[(&str, &str)]) -> Query {
        Query::from_pairs(pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect())
    }

    #[test]
    fn wishes_stand_in_the_query_or_the_body() {
        let in_query = query(&[("max_concurrent", "100"), ("session_duration", "300")]);
        let body = json!({ "max_concurrent": 5, "method": "reject", "renew": true });
        let wishes = wishes(&in_query, body.as_object()).unwrap();
        let mut settings = RoomSettings::default();
        wishes.change().apply(&mut settings);
        assert!(settings.on && settings.renews);
        assert_eq!((settings.max_concurrent, settings.session_ms), (5, 300_000));
        assert_eq!(settings.method, Method::Reject);
        let shown: Value = serde_json::from_str(&wishes.to_string()).unwrap();
        let expected = json!({
            "max_concurrent": 5, "method": "reject", "renew": true, "session_duration": 300,
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (pairs, body, name) in [
            (vec![("max_concurrent", "0")], json!({}), "max_concurrent"),
            (vec![("session_duration", "x")], json!({}), "session_duration"),
            (vec![("renew", "perhaps")], json!({}), "renew"),
            (vec![], json!({ "method": "lifo" }), "method"),
            (vec![], json!({ "max_concurent": 1 }), "max_concurent"),
            (vec![], json!({ "claim_window": 0 }), "claim_window"),
        ] {
            let problem = wishes(&query(&pairs), body.as_object()).unwrap_err();
            assert!(problem.detail.contains(name), "{body}: {}", problem.detail);
        }
    }
}
