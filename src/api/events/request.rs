//! What admins send about events, checked field by field. Unknown fields are refused: a rule that
//! is misspelt must not be silently ignored.

use serde_json::Value;

use crate::domain::event::{
    API_STATUSES, CANCELLATIONS, CancelPolicy, Cancellation, EVENT_STATUSES,
};
use crate::domain::layout::Row;
use crate::domain::limits::{
    DESCRIPTION_BYTES_MAX, HOLD_SECONDS_MAX, LABEL_BYTES_MAX, NAME_BYTES_MAX, PRICE_MAX, ROWS_MAX,
    SEATS_PER_EVENT_MAX, SECTIONS_MAX,
};
use crate::domain::wanted::ORPHAN_RULES;
use crate::domain::{EventStatus, OrphanRule, Section};
use crate::http::body::Object;
use crate::http::fields::{Fields, wrong};
use crate::http::params::Query;
use crate::http::problem::Problem;
use crate::sale::{EventChange, EventFilter, NewEvent};

/// Letters of an ISO 4217 code.
const CURRENCY_BYTES: usize = 3;

const NEW_EVENT_FIELDS: [&str; 14] = [
    "name",
    "description",
    "venue",
    "currency",
    "starts_at",
    "on_sale_at",
    "off_sale_at",
    "hold_ttl_seconds",
    "max_hold_seconds",
    "max_seats_per_user",
    "orphan_rule",
    "cancellation",
    "cancel_until",
    "sections",
];
const CHANGE_FIELDS: [&str; 9] = [
    "name",
    "description",
    "venue",
    "starts_at",
    "on_sale_at",
    "off_sale_at",
    "status",
    "cancellation",
    "cancel_until",
];

/// The event to create.
pub fn new_event(body: &Object) -> Result<NewEvent, Problem> {
    let fields = Fields::new(body);
    fields.only(&NEW_EVENT_FIELDS)?;
    let name = fields.text("name", 1..=NAME_BYTES_MAX)?;
    let sections = fields.list("sections", 1..=SECTIONS_MAX)?;
    let sections = fields.required("sections", sections)?;
    Ok(NewEvent {
        name: fields.required("name", name)?,
        description: fields.text("description", 0..=DESCRIPTION_BYTES_MAX)?,
        venue: fields.text("venue", 0..=NAME_BYTES_MAX)?,
        currency: currency(&fields)?,
        starts_at_ms: fields.time("starts_at")?,
        on_sale_at_ms: fields.time("on_sale_at")?,
        off_sale_at_ms: fields.time("off_sale_at")?,
        hold_ttl_seconds: fields.count("hold_ttl_seconds", HOLD_SECONDS_MAX)?,
        max_hold_seconds: fields.count("max_hold_seconds", HOLD_SECONDS_MAX)?,
        max_seats_per_user: fields.count("max_seats_per_user", SEATS_PER_EVENT_MAX)?,
        orphan_rule: orphan_rule(&fields)?,
        cancel_policy: CancelPolicy {
            rule: cancellation(&fields)?.unwrap_or_default(),
            until_ms: fields.time("cancel_until")?,
        },
        sections: sections
            .iter()
            .enumerate()
            .map(|(index, value)| section(&fields.item("sections", index, value)?))
            .collect::<Result<_, _>>()?,
    })
}

fn currency(fields: &Fields<'_>) -> Result<Option<String>, Problem> {
    let code = fields.text("currency", CURRENCY_BYTES..=CURRENCY_BYTES)?;
    match code {
        Some(code) if !code.bytes().all(|byte| byte.is_ascii_uppercase()) => {
            Err(Problem::field("currency", "must be an ISO 4217 code such as \"EUR\""))
        }
        code => Ok(code),
    }
}

fn orphan_rule(fields: &Fields<'_>) -> Result<Option<OrphanRule>, Problem> {
    let Some(value) = fields.value("orphan_rule") else { return Ok(None) };
    let known = value.as_str().and_then(OrphanRule::parse);
    known.map(Some).ok_or_else(|| {
        let words: Vec<&str> = ORPHAN_RULES.iter().map(|row| row.1).collect();
        wrong("orphan_rule", format_args!("one of {}", words.join(", ")), value)
    })
}

fn cancellation(fields: &Fields<'_>) -> Result<Option<Cancellation>, Problem> {
    let Some(value) = fields.value("cancellation") else { return Ok(None) };
    let known = value.as_str().and_then(Cancellation::parse);
    known.map(Some).ok_or_else(|| {
        let words: Vec<&str> = CANCELLATIONS.iter().map(|row| row.1).collect();
        wrong("cancellation", format_args!("one of {}", words.join(", ")), value)
    })
}

fn section(fields: &Fields<'_>) -> Result<Section, Problem> {
    fields.only(&["name", "price", "rows", "capacity"])?;
    let name = fields.text("name", 1..=LABEL_BYTES_MAX)?;
    let price = fields.integer("price", 0..=PRICE_MAX)?;
    let rows = fields.list("rows", 1..=ROWS_MAX)?;
    let rows = rows.map(|list| self::rows(fields, list)).transpose()?;
    let capacity = fields.count("capacity", SEATS_PER_EVENT_MAX)?;
    if rows.is_some() == capacity.is_some() {
        return Err(Problem::field(
            fields.path("rows").as_str(),
            "and `capacity`: send one of them, rows for numbered seats or a capacity for general \
             admission",
        ));
    }
    Ok(Section {
        name: fields.required("name", name)?,
        price: fields.required("price", price)?,
        rows,
        capacity,
    })
}

fn rows(section: &Fields<'_>, list: &[Value]) -> Result<Vec<Row>, Problem> {
    let row = |(index, value)| {
        let fields = section.item("rows", index, value)?;
        fields.only(&["row", "seats"])?;
        let name = fields.text("row", 1..=LABEL_BYTES_MAX)?;
        let seats = fields.count("seats", SEATS_PER_EVENT_MAX)?;
        Ok(Row { row: fields.required("row", name)?, seats: fields.required("seats", seats)? })
    };
    list.iter().enumerate().map(row).collect()
}

/// The change to make. Seats and prices of an event never change, nor do the rules of its holds.
pub fn change(body: &Object) -> Result<EventChange, Problem> {
    let fields = Fields::new(body);
    fields.only(&CHANGE_FIELDS)?;
    if CHANGE_FIELDS.iter().all(|name| fields.value(name).is_none()) {
        let known = CHANGE_FIELDS.join(", ");
        return Err(Problem::field("body", format_args!("changes nothing; it may have {known}")));
    }
    Ok(EventChange {
        name: fields.text("name", 1..=NAME_BYTES_MAX)?,
        description: fields.text("description", 0..=DESCRIPTION_BYTES_MAX)?,
        venue: fields.text("venue", 0..=NAME_BYTES_MAX)?,
        starts_at_ms: fields.time("starts_at")?,
        on_sale_at_ms: fields.time("on_sale_at")?,
        off_sale_at_ms: fields.time("off_sale_at")?,
        status: status(&fields)?,
        cancellation: cancellation(&fields)?,
        cancel_until_ms: fields.time("cancel_until")?,
    })
}

/// Which events a list shows: `status`, `from`, `to`.
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

fn status(fields: &Fields<'_>) -> Result<Option<EventStatus>, Problem> {
    let Some(value) = fields.value("status") else { return Ok(None) };
    let known = value.as_str().and_then(EventStatus::parse);
    known.map(Some).ok_or_else(|| {
        let words: Vec<&str> = EVENT_STATUSES.iter().map(|row| row.1).collect();
        Problem::field("status", format_args!("must be one of {}", words.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn created(body: Value) -> Result<NewEvent, Problem> {
        new_event(body.as_object().unwrap())
    }

    #[test]
    fn an_event_is_read() {
        let event = created(json!({
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
    fn what_is_wrong_is_named() {
        let with = |section: Value| json!({ "name": "x", "sections": [section] });
        let cases = [
            (json!({}), "`sections` is missing"),
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
                json!({ "name": "x", "sections": [1], "currency": "eur" }),
                "`currency` must be an ISO 4217 code",
            ),
            (
                json!({ "name": "x", "sections": [1], "starts_at": "soon" }),
                "`starts_at` must be a time",
            ),
        ];
        for (body, expected) in cases {
            let problem = created(body.clone()).unwrap_err();
            assert!(problem.detail.contains(expected), "{body}: {}", problem.detail);
        }
    }

    #[test]
    fn changes_are_read_and_refused() {
        let changed = |body: Value| change(body.as_object().unwrap());
        assert_eq!(
            changed(json!({ "status": "PAUSED" })).unwrap().status,
            Some(EventStatus::Paused)
        );
        for (body, expected) in [
            (json!({}), "changes nothing"),
            (json!({ "status": "SCHEDULED" }), "one of ON_SALE, PAUSED, CLOSED"),
            (json!({ "sections": [] }), "`sections` is not a field"),
            (json!({ "cancellation": "never" }), "one of allowed, not_allowed; got \"never\""),
        ] {
            let problem = changed(body).unwrap_err();
            assert!(problem.detail.contains(expected), "{}", problem.detail);
        }
    }
}
