//! `?alternatives=N`: a refused hold tells of free seats near those it asked for.

use serde_json::{Value, json};

use crate::api::state::RequestContext;
use crate::domain::{ALTERNATIVES_MAX, EventId, SeatId};
use crate::http::params::Query;
use crate::http::problem::Problem;
use crate::sale::SaleError;

const NAME: &str = "alternatives";

/// How many groups of seats the caller wants to be told of; 0: none.
pub fn wanted(context: &RequestContext) -> Result<u32, Problem> {
    // Hardly any request has it, and reading the query costs more than looking for a name.
    if !context.http.query_string().contains(NAME) {
        return Ok(0);
    }
    let count = Query::of(&context.http)?.integer(NAME, 0..=ALTERNATIVES_MAX)?;
    Ok(count.unwrap_or_default())
}

/// A refusal, with what is free near the seats that it is about.
pub fn told(context: &RequestContext, event: EventId, refusal: SaleError, count: u32) -> Problem {
    let asked: Vec<SeatId> = match &refusal {
        SaleError::SeatsUnavailable(states) if count > 0 => {
            states.iter().map(|state| state.0).collect()
        }
        _ => return refusal.into(),
    };
    let groups = context.state.sale.alternatives(event, &asked, count);
    Problem::from(refusal).with(NAME, listed(&groups))
}

fn listed(groups: &[Vec<SeatId>]) -> Value {
    let ids = |group: &Vec<SeatId>| group.iter().map(|seat| json!(seat.0)).collect::<Value>();
    groups.iter().map(ids).collect()
}
