//! Recognizes backends' tokens: those with one of the claims in `jwt_backend_claims`.

use serde_json::{Map, Value};

/// The claims that mark a backend's token, each a name and its required value.
pub(super) struct BackendClaims {
    claims: Vec<(String, String)>,
}

impl BackendClaims {
    /// Parses `name=value` pairs; `Config::check` has refused others.
    pub fn new(settings: &[String]) -> Self {
        let pair = |text: &String| {
            text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        BackendClaims { claims: settings.iter().filter_map(pair).collect() }
    }

    /// Whether a token with these claims is a backend's.
    pub fn mark(&self, claims: &Map<String, Value>) -> bool {
        self.claims
            .iter()
            .any(|(name, wanted)| find(claims, name).is_some_and(|claim| has(claim, wanted)))
    }
}

/// Finds a claim by its name, which may contain dots, or else by its path.
fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        find(claims.get(first)?.as_object()?, rest)
    })
}

/// Whether a claim is this value, a list that contains it, or text with it as a word (`scope`).
fn has(claim: &Value, wanted: &str) -> bool {
    match claim {
        Value::String(text) => text == wanted || text.split(' ').any(|word| word == wanted),
        Value::Array(list) => {
            list.iter().any(|one| matches!(one, Value::String(text) if text == wanted))
        }
        Value::Bool(value) => wanted == if *value { "true" } else { "false" },
        Value::Number(number) => number.to_string() == wanted,
        Value::Null | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn marked(settings: &[&str], claims: Value) -> bool {
        let settings: Vec<String> = settings.iter().map(|text| text.to_string()).collect();
        BackendClaims::new(&settings).mark(claims.as_object().unwrap())
    }

    #[test]
    fn backend_claim_matches_in_any_usual_form() {
        let shipped = &["scope=holdfast:backend", "roles=holdfast:backend"];
        for claims in [
            json!({ "scope": "holdfast:backend" }),
            json!({ "scope": "openid holdfast:backend email" }),
            json!({ "roles": ["user", "holdfast:backend"] }),
        ] {
            assert!(marked(shipped, claims.clone()), "{claims}");
        }
        let nested = json!({ "realm_access": { "roles": ["backend"] } });
        assert!(marked(&["realm_access.roles=backend"], nested));
        let with_dots = json!({ "https://shop.example/kind": "backend" });
        assert!(marked(&["https://shop.example/kind=backend"], with_dots));
        assert!(marked(&["is_service=true"], json!({ "is_service": true })));
        assert!(marked(&["level=3"], json!({ "level": 3 })));
    }

    #[test]
    fn other_claims_do_not_match() {
        let shipped = &["scope=holdfast:backend", "roles=holdfast:backend"];
        for claims in [
            json!({}),
            json!({ "scope": "holdfast:backends" }),
            json!({ "scope": "not-holdfast:backend" }),
            json!({ "roles": [["holdfast:backend"]] }),
            json!({ "roles": { "holdfast:backend": true } }),
            json!({ "scope": null }),
            json!({ "name": "holdfast:backend" }),
        ] {
            assert!(!marked(shipped, claims.clone()), "{claims}");
        }
        assert!(!marked(&[], json!({ "scope": "holdfast:backend" })));
    }
}
