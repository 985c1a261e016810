//! Bodies and queries of requests about events. Unknown fields are refused: a misspelt rule would
//! otherwise be ignored silently.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::domain::event::{
    API_STATUSES, CANCELLATIONS, CancelPolicy, Cancellation, EVENT_STATUSES,
};
use crate::domain::layout::Row;
use crate::domain::limits::{
    DESCRIPTION_BYTES_MAX, HOLD_SECONDS_MAX, LABEL_BYTES_MAX, NAME_BYTES_MAX, PRICE_MAX, ROWS_MAX,
    SEATS_PER_EVENT_MAX, SECTIONS_MAX,
};
use crate::domain::seat_request::ORPHAN_RULES;
use crate::domain::{EventStatus, OrphanRule, Section};
use crate::http::fields::{Amount, List, OneOf, Record, Text, Time, Whole, Word, scalar};
use crate::http::params::Query;
use crate::http::problem::Problem;
use crate::http::words;
use crate::sale::{EventChange, EventFilter, NewEvent};

/// Letters of an ISO 4217 code.
const CURRENCY_BYTES: usize = 3;

/// An event to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewEvent)]
pub struct NewEventBody {
    /// What it is called.
    #[schema(value_type = String, min_length = 1, max_length = 200, example = "Gala")]
    name: Text<1, NAME_BYTES_MAX>,
    /// What it is about.
    #[schema(value_type = Option<String>, max_length = 5_000)]
    description: Option<Text<0, DESCRIPTION_BYTES_MAX>>,
    /// Where it is.
    #[schema(value_type = Option<String>, max_length = 200, example = "Grand Hall")]
    venue: Option<Text<0, NAME_BYTES_MAX>>,
    /// ISO 4217 code of its prices.
    #[schema(value_type = Option<String>, pattern = "^[A-Z]{3}$", example = "EUR")]
    currency: Option<CurrencyCode>,
    /// When the doors open.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-06-01T18:00:00Z")]
    starts_at: Option<Time>,
    /// When holds begin; at once if absent.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-03-01T18:00:00Z")]
    on_sale_at: Option<Time>,
    /// When holds end; held seats can still be paid. At `starts_at` if absent, and never without that.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-06-01T17:00:00Z")]
    off_sale_at: Option<Time>,
    /// How long a hold lasts.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 86_400, example = 300)]
    hold_ttl_seconds: Option<Whole<1, HOLD_SECONDS_MAX>>,
    /// How long a hold can last with extensions.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 86_400, example = 900)]
    max_hold_seconds: Option<Whole<1, HOLD_SECONDS_MAX>>,
    /// How many seats one user can hold and own.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000, example = 10)]
    max_seats_per_user: Option<Whole<1, SEATS_PER_EVENT_MAX>>,
    /// `off`, `warn` or `enforce`: what happens to named seats that leave a single one alone.
    #[schema(value_type = Option<words::OrphanRule>)]
    orphan_rule: Option<OneOf<OrphanRule>>,
    /// `allowed` or `not_allowed`: whether confirmed bookings may be cancelled; `allowed` if absent.
    #[schema(value_type = Option<words::Cancellation>)]
    cancellation: Option<OneOf<Cancellation>>,
    /// Until when they may; at any time if absent.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-05-25T18:00:00Z")]
    cancel_until: Option<Time>,
    /// Its seats, in order: 1 to 500 sections, at most 1,000,000 seats.
    #[schema(value_type = Vec<SectionSpec>, min_items = 1, max_items = 500)]
    sections: List<Record<SectionSpec>, 1, SECTIONS_MAX>,
}

/// A section to create: `rows` of numbered seats, or a `capacity` for general admission.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewSection)]
pub struct SectionSpec {
    /// Its name, unique within the event.
    #[schema(value_type = String, min_length = 1, max_length = 64, example = "Stalls")]
    name: Text<1, LABEL_BYTES_MAX>,
    /// Price of one seat, in the currency's minor unit.
    #[schema(value_type = i64, minimum = 0, maximum = 1_000_000_000_000_i64, example = 5_000)]
    price: Amount<PRICE_MAX>,
    /// Rows of numbered seats, front to back.
    #[schema(value_type = Option<Vec<RowSpec>>, min_items = 1, max_items = 100_000)]
    rows: Option<List<Record<RowSpec>, 1, ROWS_MAX>>,
    /// Number of general-admission tickets.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000)]
    capacity: Option<Whole<1, SEATS_PER_EVENT_MAX>>,
}

/// A row to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRow)]
pub struct RowSpec {
    /// Its name, unique within the section.
    #[schema(value_type = String, min_length = 1, max_length = 64, example = "A")]
    row: Text<1, LABEL_BYTES_MAX>,
    /// How many seats.
    #[schema(value_type = u32, minimum = 1, maximum = 1_000_000, example = 20)]
    seats: Whole<1, SEATS_PER_EVENT_MAX>,
}

/// A change to an event; absent fields stay.
#[derive(Default, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EventChange)]
pub struct ChangeEventBody {
    /// What it is called.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
    name: Option<Text<1, NAME_BYTES_MAX>>,
    /// What it is about.
    #[schema(value_type = Option<String>, max_length = 5_000)]
    description: Option<Text<0, DESCRIPTION_BYTES_MAX>>,
    /// Where it is.
    #[schema(value_type = Option<String>, max_length = 200)]
    venue: Option<Text<0, NAME_BYTES_MAX>>,
    /// When the doors open.
    #[schema(value_type = Option<String>, format = DateTime)]
    starts_at: Option<Time>,
    /// When holds begin.
    #[schema(value_type = Option<String>, format = DateTime)]
    on_sale_at: Option<Time>,
    /// When holds end. Where it is `starts_at`, it moves with that.
    #[schema(value_type = Option<String>, format = DateTime)]
    off_sale_at: Option<Time>,
    /// `ON_SALE`, `PAUSED` or `CLOSED`.
    #[schema(value_type = Option<words::NewEventStatus>)]
    status: Option<OneOf<EventStatus>>,
    /// `allowed` or `not_allowed`: whether confirmed bookings may be cancelled.
    #[schema(value_type = Option<words::Cancellation>)]
    cancellation: Option<OneOf<Cancellation>>,
    /// Until when they may.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-05-25T18:00:00Z")]
    cancel_until: Option<Time>,
}

impl TryFrom<NewEventBody> for NewEvent {
    type Error = Problem;

    fn try_from(body: NewEventBody) -> Result<Self, Problem> {
        let sections = body.sections.0.into_iter().enumerate();
        Ok(NewEvent {
            name: body.name.0,
            description: body.description.map(|text| text.0),
            venue: body.venue.map(|text| text.0),
            currency: body.currency.map(|code| code.0),
            starts_at_ms: body.starts_at.map(|at| at.0),
            on_sale_at_ms: body.on_sale_at.map(|at| at.0),
            off_sale_at_ms: body.off_sale_at.map(|at| at.0),
            hold_ttl_seconds: body.hold_ttl_seconds.map(|seconds| seconds.0),
            max_hold_seconds: body.max_hold_seconds.map(|seconds| seconds.0),
            max_seats_per_user: body.max_seats_per_user.map(|seats| seats.0),
            orphan_rule: body.orphan_rule.map(|rule| rule.0),
            cancel_policy: CancelPolicy {
                rule: body.cancellation.map(|rule| rule.0).unwrap_or_default(),
                until_ms: body.cancel_until.map(|at| at.0),
            },
            sections: sections
                .map(|(index, Record(spec))| section(index, spec))
                .collect::<Result<_, _>>()?,
        })
    }
}

fn section(index: usize, spec: SectionSpec) -> Result<Section, Problem> {
    if spec.rows.is_some() == spec.capacity.is_some() {
        return Err(Problem::field(
            &format!("sections[{index}].rows"),
            "and `capacity`: send one of them, rows for numbered seats or a capacity for general \
             admission",
        ));
    }
    let row = |Record(spec): Record<RowSpec>| Row { row: spec.row.0, seats: spec.seats.0 };
    Ok(Section {
        name: spec.name.0,
        price: spec.price.0,
        rows: spec.rows.map(|rows| rows.0.into_iter().map(row).collect()),
        capacity: spec.capacity.map(|seats| seats.0),
    })
}

/// Seats and prices of an event never change, nor do the rules of its holds.
impl TryFrom<ChangeEventBody> for EventChange {
    type Error = Problem;

    fn try_from(body: ChangeEventBody) -> Result<Self, Problem> {
        if body == ChangeEventBody::default() {
            let detail = "changes nothing; send at least one field, such as `status`";
            return Err(Problem::field("body", detail));
        }
        Ok(EventChange {
            name: body.name.map(|text| text.0),
            description: body.description.map(|text| text.0),
            venue: body.venue.map(|text| text.0),
            starts_at_ms: body.starts_at.map(|at| at.0),
            on_sale_at_ms: body.on_sale_at.map(|at| at.0),
            off_sale_at_ms: body.off_sale_at.map(|at| at.0),
            status: body.status.map(|status| status.0),
            cancellation: body.cancellation.map(|rule| rule.0),
            cancel_until_ms: body.cancel_until.map(|at| at.0),
        })
    }
}

/// The filter of a list of events: `status`, `from`, `to`.
pub fn filter(query: &Query) -> Result<EventFilter, Problem> {
    let status = query.get("status")?.map(|word| {
        API_STATUSES.into_iter().find(|known| *known == word).ok_or_else(|| {
            let words = API_STATUSES.join(", ");
            Problem::parameter("status", format_args!("must be one of {words}"))
        })
    });
    let filter = EventFilter {
        status: status.transpose()?,
        from_ms: query.time("from")?,
        to_ms: query.time("to")?,
    };
    if filter.to_ms.is_some_and(|to| filter.from_ms.is_some_and(|from| to <= from)) {
        return Err(Problem::parameter("to", "must be after `from`"));
    }
    Ok(filter)
}

/// Three upper-case letters; whether they are a currency's, the sale checks.
struct CurrencyCode(String);

impl<'de> Deserialize<'de> for CurrencyCode {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected = |f: &mut fmt::Formatter<'_>| f.write_str("an ISO 4217 code such as \"EUR\"");
        scalar(from, expected, |scalar| {
            let code = scalar.text()?;
            let is_upper = code.bytes().all(|byte| byte.is_ascii_uppercase());
            (code.len() == CURRENCY_BYTES && is_upper).then(|| CurrencyCode(code.to_owned()))
        })
    }
}

/// Implements [`Word`] for a type of the domain by its table of words.
macro_rules! words {
    ($($name:ident: $table:ident;)+) => {$(
        impl Word for $name {
            fn parse(word: &str) -> Option<Self> {
                $name::parse(word)
            }

            fn as_str(&self) -> &'static str {
                $name::as_str(*self)
            }

            fn words() -> Vec<&'static str> {
                $table.iter().map(|row| row.1).collect()
            }
        }
    )+};
}

words! {
    EventStatus: EVENT_STATUSES;
    OrphanRule: ORPHAN_RULES;
    Cancellation: CANCELLATIONS;
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::fields::parse;

    fn created(body: &Value) -> Result<NewEvent, Problem> {
        parse::<NewEventBody>(body.to_string().as_bytes())?.try_into()
    }

    #[test]
    fn new_event_is_parsed() {
        let event = created(&json!({
            "name": "Gala", "currency": "USD", "on_sale_at": "2026-03-01T18:00:00Z",
            "hold_ttl_seconds": 60, "venue": "",
            "sections": [
                { "name": "Stalls", "price": 5000, "rows": [{ "row": "A", "seats": 2 }] },
                { "name": "Floor", "price": 0, "capacity": 3 },
            ],
        }))
        .unwrap();
        assert_eq!((event.name.as_str(), event.hold_ttl_seconds), ("Gala", Some(60)));
        assert_eq!(event.on_sale_at_ms, Some(1_772_388_000_000));
        assert_eq!(event.sections[0].rows.as_ref().unwrap()[0].seats, 2);
        assert_eq!(event.sections[1].capacity, Some(3));
    }

    #[test]
    fn wrong_event_is_refused_with_its_field() {
        let with = |section: Value| json!({ "name": "x", "sections": [section] });
        let section = json!({ "name": "S", "price": 1, "capacity": 1 });
        let cases = [
            (json!({}), "`name` is missing"),
            (json!({ "name": "x" }), "`sections` is missing"),
            (json!({ "name": "x", "sections": [] }), "`sections` must have 1 to 500 items"),
            (json!({ "name": "", "sections": [1] }), "`name` must be a text of 1 to 200 bytes"),
            (json!({ "nmae": "x" }), "`nmae` is not a field; there are name, description"),
            (with(json!(1)), "`sections[0]` must be an object; got 1"),
            (with(json!({ "name": "S", "capacity": 1 })), "`sections[0].price` is missing"),
            (with(json!({ "name": "S", "price": 1 })), "`sections[0].rows` and `capacity`"),
            (
                with(json!({ "name": "S", "price": 1, "rows": [{ "row": "A", "seats": 0 }] })),
                "`sections[0].rows[0].seats` must be a whole number from 1 to 1000000; got 0",
            ),
            (
                json!({ "name": "x", "sections": [section], "currency": "eur" }),
                "`currency` must be an ISO 4217 code such as \"EUR\"; got \"eur\"",
            ),
            (
                json!({ "name": "x", "sections": [section], "starts_at": "soon" }),
                "`starts_at` must be a time",
            ),
        ];
        for (body, expected) in cases {
            let problem = created(&body).unwrap_err();
            assert!(problem.detail.contains(expected), "{body}: {}", problem.detail);
        }
    }

    #[test]
    fn changes_are_parsed_and_refused() {
        let changed = |body: &Value| -> Result<EventChange, Problem> {
            parse::<ChangeEventBody>(body.to_string().as_bytes())?.try_into()
        };
        assert_eq!(
            changed(&json!({ "status": "PAUSED" })).unwrap().status,
            Some(EventStatus::Paused)
        );
        for (body, expected) in [
            (json!({}), "changes nothing"),
            (json!({ "status": null }), "changes nothing"),
            (json!({ "status": "SCHEDULED" }), "one of ON_SALE, PAUSED, CLOSED"),
            (json!({ "sections": [] }), "`sections` is not a field"),
            (json!({ "cancellation": "never" }), "one of allowed, not_allowed; got \"never\""),
        ] {
            let problem = changed(&body).unwrap_err();
            assert!(problem.detail.contains(expected), "{}", problem.detail);
        }
    }
}
