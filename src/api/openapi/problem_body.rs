//! The schema of a problem, and an example for each code.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::http::problem::Code;
use crate::http::words;

/// An error. Compare `error`, show `detail`. Members after `trace_id` belong to certain codes.
#[derive(ToSchema)]
#[expect(dead_code, reason = "problems are written member by member; this describes them")]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Names the kind of error.
    #[schema(example = "urn:holdfast:problem:seats_unavailable")]
    pub r#type: String,
    /// The kind of error in words, always the same.
    #[schema(example = "Seats are not available")]
    pub title: String,
    /// The HTTP status.
    #[schema(example = 409)]
    pub status: u16,
    /// What is wrong with this request and how to mend it.
    #[schema(example = "Seats 210, 211, 212 are not available")]
    pub detail: String,
    /// The code to compare.
    #[schema(value_type = words::ErrorCode)]
    pub error: String,
    /// Names this request in our logs; also in `X-Trace-Id`.
    #[schema(example = "4bf92f3577b34da6a3ce929d0e0e4736")]
    pub trace_id: String,
    /// `validation_failed`, `amount_mismatch`: the field that is wrong.
    #[schema(value_type = String, required = false)]
    pub field: Option<String>,
    /// `invalid_parameter`: the parameter or header that is wrong.
    #[schema(value_type = String, required = false)]
    pub parameter: Option<String>,
    /// `seats_unavailable`: the state of each requested seat. `orphan_seats`, `seats_unknown`: those seats.
    #[schema(value_type = ProblemSeats, required = false)]
    pub seats: Option<ProblemSeats>,
    /// `seats_unavailable`, where the request had `alternatives`: groups of free seats near the requested
    /// ones.
    #[schema(value_type = Vec<Vec<u32>>, required = false)]
    pub alternatives: Option<Vec<Vec<u32>>>,
    /// `user_limit`: how many seats of the event the user has.
    #[schema(value_type = u32, required = false)]
    pub seats_held: Option<u32>,
    /// `user_limit`: how many one user may have.
    #[schema(value_type = u32, required = false)]
    pub max_seats_per_user: Option<u32>,
    /// `amount_mismatch`: the booking's amount, in the currency's minor unit.
    #[schema(value_type = i64, required = false)]
    pub total_amount: Option<i64>,
    /// `hold_cap_reached`: until when the hold lasts.
    #[schema(value_type = String, format = DateTime, required = false)]
    pub hold_expires_at: Option<String>,
    /// `not_on_sale`: when the sale begins.
    #[schema(value_type = String, format = DateTime, required = false)]
    pub on_sale_at: Option<String>,
    /// `cancellation_closed`: until when the booking could be cancelled; null: at no time.
    #[schema(format = DateTime)]
    pub cancel_until: Option<String>,
    /// `waiting_room_token_invalid`: why.
    #[schema(value_type = words::AdmissionFault, required = false)]
    pub reason: Option<String>,
    /// `rate_limit_exceeded`: the rule that refuses.
    #[schema(value_type = String, required = false)]
    pub rule: Option<String>,
    /// `host_forbidden`, `origin_forbidden`, `preflight_refused`: the server's setting that decides.
    #[schema(value_type = String, required = false)]
    pub setting: Option<String>,
    /// `preflight_refused`: the headers that are not allowed.
    #[schema(value_type = Vec<String>, required = false)]
    pub headers: Option<Vec<String>>,
}

/// Seats in a problem: with their states, or their numbers alone.
#[derive(Serialize, ToSchema)]
#[expect(dead_code, reason = "describes a member")]
#[serde(untagged)]
pub enum ProblemSeats {
    /// `seats_unavailable`.
    States(Vec<ProblemSeat>),
    /// `orphan_seats`, `seats_unknown`.
    Numbers(Vec<u32>),
}

/// The state of a requested seat.
#[derive(Serialize, ToSchema)]
pub struct ProblemSeat {
    /// The seat.
    #[schema(example = 210)]
    pub id: u32,
    /// Its state.
    #[schema(value_type = words::SeatStatus)]
    pub status: String,
}

/// An example of a code.
pub fn example(code: Code) -> Value {
    let mut problem = json!({
        "type": format!("urn:holdfast:problem:{}", code.as_str()), "title": code.title(),
        "status": code.status().as_u16(), "detail": code.title(), "error": code.as_str(),
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    });
    if let (Some(problem), Value::Object(members)) = (problem.as_object_mut(), members(code)) {
        problem.extend(members);
    }
    problem
}

/// Members of a code, besides those that all have.
fn members(code: Code) -> Value {
    match code {
        Code::ValidationFailed => json!({ "field": "seat_ids" }),
        Code::InvalidParameter => json!({ "parameter": "page_size" }),
        Code::SeatsUnavailable => json!({
            "seats": [{ "id": 210, "status": "BOOKED" }, { "id": 211, "status": "AVAILABLE" }],
            "alternatives": [[213, 214], [208, 209]],
        }),
        Code::OrphanSeats | Code::SeatsUnknown => json!({ "seats": [213] }),
        Code::UserLimit => json!({ "seats_held": 9, "max_seats_per_user": 10 }),
        Code::AmountMismatch => json!({ "field": "amount", "total_amount": 15_000 }),
        Code::HoldCapReached => json!({ "hold_expires_at": "2026-03-01T18:15:00.000Z" }),
        Code::NotOnSale => json!({ "on_sale_at": "2026-03-01T18:00:00.000Z" }),
        Code::CancellationClosed => json!({ "cancel_until": "2026-05-25T18:00:00.000Z" }),
        Code::WaitingRoomTokenInvalid => json!({ "reason": "session_ended" }),
        Code::RateLimitExceeded => json!({ "rule": "per_address" }),
        Code::HostForbidden => json!({ "setting": "allowed_hosts" }),
        Code::OriginForbidden => json!({ "setting": "cors_origins" }),
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use utoipa::PartialSchema;

    use super::*;

    fn members_in(text: &str, found: &mut BTreeSet<String>) {
        for call in [".with(\"", ".with_seats(\""] {
            for rest in text.split(call).skip(1) {
                found.extend(rest.split('"').next().map(str::to_owned));
            }
        }
    }

    fn collect(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if !path.ends_with("http/problem/mod.rs") {
                members_in(&fs::read_to_string(&path).unwrap(), found);
            }
        }
    }

    #[test]
    fn every_member_of_a_problem_is_documented() {
        let mut sent = BTreeSet::new();
        for module in ["api", "gates", "http"] {
            collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(module), &mut sent);
        }
        sent.extend(["alternatives", "field", "parameter"].map(str::to_owned));
        let schema = serde_json::to_value(ProblemBody::schema()).unwrap();
        let documented = schema["properties"].as_object().unwrap();
        for member in &sent {
            assert!(documented.contains_key(member), "{member} is not a member of ProblemBody");
        }
        assert!(sent.len() > 10, "{sent:?}");
    }
}
