//! What clients send about bookings, checked field by field.

use std::collections::HashSet;

use actix_web::http::header::HeaderMap;
use actix_web::web::Bytes;
use serde::Deserialize;
use serde_json::Value;

use crate::api::idempotency;
use crate::domain::limits::{LABEL_BYTES_MAX, PRICE_MAX, SEATS_PER_EVENT_MAX};
use crate::domain::{EventId, Quantity, SeatId};
use crate::http::body::{self, Object};
use crate::http::fields::{Fields, integer, whole_number, wrong};
use crate::http::problem::Problem;
use crate::sale::SeatsWanted;

/// What a payment is told where the client names no method.
const PAYMENT_METHOD_DEFAULT: &str = "card_ok";
/// Bytes of a payment method.
const PAYMENT_METHOD_BYTES_MAX: usize = 100;

/// The body that most requests have: named seats and nothing else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainHold {
    event_id: u32,
    seat_ids: Vec<u32>,
}

/// What [`seats_wanted`] reads of a body, if it is the plain one: without building a tree of its
/// values. `None` says nothing: anything unusual or wrong is for the other to read, and to name.
pub fn plain_seats_wanted(body: &[u8], seats_max: usize) -> Option<(EventId, SeatsWanted)> {
    let PlainHold { event_id, seat_ids } = serde_json::from_slice(body).ok()?;
    let is_seat = |seat: &u32| (1..=SEATS_PER_EVENT_MAX).contains(seat);
    let is_plain = event_id > 0
        && (1..=seats_max).contains(&seat_ids.len())
        && seat_ids.iter().all(is_seat)
        // They are few: each against those before it.
        && (1..seat_ids.len()).all(|n| !seat_ids[..n].contains(&seat_ids[n]));
    let seats = || seat_ids.into_iter().map(SeatId).collect();
    is_plain.then(|| (EventId(event_id), SeatsWanted::Named(seats())))
}

/// What is asked for, and under which key.
pub fn hold(
    headers: &HeaderMap,
    body: Option<Bytes>,
    seats_max: usize,
) -> Result<(EventId, SeatsWanted, Option<String>), Problem> {
    let body = body.ok_or_else(body::missing)?;
    if let Some((event, seats)) = plain_seats_wanted(&body, seats_max) {
        return Ok((event, seats, idempotency::key(headers, None)?));
    }
    let body = body::parse(&body)?;
    let (event, seats) = seats_wanted(&body, seats_max)?;
    Ok((event, seats, idempotency::key(headers, Some(&body))?))
}

/// Which seats of which event, so many at most. Fields of the client's own are ignored.
pub fn seats_wanted(body: &Object, seats_max: usize) -> Result<(EventId, SeatsWanted), Problem> {
    let fields = Fields::new(body);
    let event = fields.count("event_id", u32::MAX)?;
    let event = EventId(fields.required("event_id", event)?);
    let list = fields.list("seat_ids", 1..=seats_max)?;
    let quantity = fields.count("quantity", seats_max as u32)?;
    match (list, quantity) {
        (Some(list), None) => Ok((event, SeatsWanted::Named(seat_ids(&fields, list)?))),
        (None, Some(seats)) => Ok((event, SeatsWanted::Quantity(so_many(&fields, seats)?))),
        (None, None) => Err(Problem::field("seat_ids", "is missing; or send a `quantity`")),
        (Some(_), Some(_)) => {
            Err(Problem::field("quantity", "and `seat_ids`: send one of them, names or a number"))
        }
    }
}

fn so_many(fields: &Fields<'_>, seats: u32) -> Result<Quantity, Problem> {
    Ok(Quantity {
        seats,
        section: fields.text("section", 1..=LABEL_BYTES_MAX)?,
        together: fields.boolean("together")?.unwrap_or(true),
        max_price: fields.integer("max_price", 0..=PRICE_MAX)?,
    })
}

/// The seats that a list names, each once.
pub fn seat_ids(fields: &Fields<'_>, list: &[Value]) -> Result<Vec<SeatId>, Problem> {
    const RANGE: std::ops::RangeInclusive<i64> = 1..=SEATS_PER_EVENT_MAX as i64;
    let mut seen = HashSet::with_capacity(list.len());
    let mut seats = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let path = || fields.item_path("seat_ids", index);
        let Some(seat) = integer(value, &RANGE) else {
            return Err(wrong(&path(), whole_number(&RANGE), value));
        };
        // The range keeps it within a u32.
        let seat = SeatId(seat as u32);
        if !seen.insert(seat) {
            return Err(Problem::field(
                &path(),
                format_args!("names seat {seat} a second time; name each seat once"),
            ));
        }
        seats.push(seat);
    }
    Ok(seats)
}

/// How a booking is to be paid: the method, and the amount the client expects.
pub fn payment(body: Option<&Object>) -> Result<(String, Option<i64>), Problem> {
    let Some(body) = body else {
        return Ok((PAYMENT_METHOD_DEFAULT.to_owned(), None));
    };
    let fields = Fields::new(body);
    let method = fields.text("payment_method", 1..=PAYMENT_METHOD_BYTES_MAX)?;
    let amount = fields.integer("amount", 0..=i64::MAX)?;
    Ok((method.unwrap_or_else(|| PAYMENT_METHOD_DEFAULT.to_owned()), amount))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderMap;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::api::idempotency;
    use crate::http::body::parse;
    use crate::http::problem::Code;

    fn wanted(body: Value) -> Result<(EventId, SeatsWanted), Problem> {
        seats_wanted(body.as_object().unwrap(), 10)
    }

    #[test]
    fn seats_are_read() {
        let body = json!({ "event_id": 7, "seat_ids": [3, 1], "cart": "mine" });
        let named = SeatsWanted::Named(vec![SeatId(3), SeatId(1)]);
        assert_eq!(wanted(body).unwrap(), (EventId(7), named));
    }

    proptest! {
        /// What the short way reads, the long way reads the same; whatever else the body is.
        #[test]
        fn the_short_way_reads_what_the_long_way_does(
            event in prop_oneof!["[0-9]{1,11}", "-?[0-9]{1,3}(\\.[0-9])?(e1)?", "null|\"7\"|\\[\\]"],
            seats in vec(prop_oneof![8 => "[1-9][0-9]{0,6}", 1 => "-?[0-9]{1,2}(\\.0)?|null"], 0..12),
            more in prop_oneof![
                6 => Just(""),
                1 => Just(",\"quantity\":1"), 1 => Just(",\"idempotencyKey\":\"k\""),
                1 => Just(",\"cart\":[1]"), 1 => Just(",\"event_id\":1"), 1 => Just(","),
            ],
            name in prop_oneof![9 => Just("seat_ids"), 1 => Just("seat\\u005fids")],
            end in prop_oneof![9 => Just("}"), 1 => Just("} x"), 1 => Just("")],
        ) {
            let seats = seats.join(",");
            let body = format!("{{\"event_id\":{event},\"{name}\":[{seats}]{more}{end}");
            let long = parse(body.as_bytes()).and_then(|body| {
                let key = idempotency::key(&HeaderMap::new(), Some(&body))?;
                Ok((seats_wanted(&body, 10)?, key))
            });
            if let Some(short) = plain_seats_wanted(body.as_bytes(), 10) {
                prop_assert_eq!(long.ok(), Some((short, None)), "{}", body);
            }
        }
    }

    #[test]
    fn plain_bodies_go_the_short_way() {
        let body = br#" { "seat_ids": [3, 1], "event_id": 4294967295 } "#;
        let named = SeatsWanted::Named(vec![SeatId(3), SeatId(1)]);
        assert_eq!(plain_seats_wanted(body, 10), Some((EventId(u32::MAX), named)));
        assert_eq!(plain_seats_wanted(br#"{"event_id":1,"seat_ids":[1,2,1]}"#, 10), None);
        assert_eq!(plain_seats_wanted(br#"{"event_id":1,"seat_ids":[1000001]}"#, 10), None);
        assert_eq!(plain_seats_wanted(br#"{"event_id":1,"seat_ids":[1,2]}"#, 1), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let eleven: Vec<u32> = (1..=11).collect();
        let cases = [
            (json!({}), "`event_id` is missing"),
            (json!({ "event_id": null, "seat_ids": [1] }), "`event_id` is missing"),
            (json!({ "event_id": "7", "seat_ids": [1] }), "got \"7\""),
            (json!({ "event_id": 0, "seat_ids": [1] }), "`event_id` must be a whole number"),
            (json!({ "event_id": 7 }), "`seat_ids` is missing; or send a `quantity`"),
            (json!({ "event_id": 7, "quantity": 11 }), "a whole number from 1 to 10; got 11"),
            (json!({ "event_id": 7, "quantity": 0 }), "a whole number from 1 to 10; got 0"),
            (json!({ "event_id": 7, "quantity": 1, "seat_ids": [1] }), "send one of them"),
            (json!({ "event_id": 7, "quantity": 1, "section": "" }), "`section` must be a text"),
            (json!({ "event_id": 7, "quantity": 1, "together": 1 }), "true or false; got 1"),
            (json!({ "event_id": 7, "quantity": 1, "max_price": -1 }), "`max_price` must be"),
            (json!({ "event_id": 7, "seat_ids": 1 }), "must be a list of 1 to 10 items; got 1"),
            (json!({ "event_id": 7, "seat_ids": [] }), "must have 1 to 10 items; it has 0"),
            (json!({ "event_id": 7, "seat_ids": eleven }), "it has 11"),
            (
                json!({ "event_id": 7, "seat_ids": [1, 2, 1] }),
                "`seat_ids[2]` names seat 1 a second",
            ),
            (json!({ "event_id": 7, "seat_ids": [-1] }), "`seat_ids[0]` must be a whole number"),
            (json!({ "event_id": 7, "seat_ids": [1.5] }), "got 1.5"),
            (json!({ "event_id": 7, "seat_ids": ["1"] }), "got \"1\""),
            (json!({ "event_id": 7, "seat_ids": [[1]] }), "got a list"),
            (json!({ "event_id": 7, "seat_ids": [1e300] }), "got 1e+300"),
            (json!({ "event_id": 7, "seat_ids": [u64::MAX] }), "from 1 to 1000000"),
        ];
        for (body, expected) in cases {
            let problem = wanted(body.clone()).unwrap_err();
            assert_eq!(problem.code, Code::ValidationFailed, "{body}");
            assert!(problem.detail.contains(expected), "{body}: {}", problem.detail);
        }
    }

    #[test]
    fn quantities_are_read() {
        let body = json!({ "event_id": 7, "section": "Floor", "quantity": 2 });
        let floor =
            Quantity { seats: 2, section: Some("Floor".into()), together: true, max_price: None };
        assert_eq!(wanted(body).unwrap(), (EventId(7), SeatsWanted::Quantity(floor)));
        let body = json!({ "event_id": 7, "quantity": 10, "together": false, "max_price": 0 });
        let any = Quantity { seats: 10, section: None, together: false, max_price: Some(0) };
        assert_eq!(wanted(body).unwrap(), (EventId(7), SeatsWanted::Quantity(any)));
    }

    #[test]
    fn payments_have_a_default() {
        assert_eq!(payment(None).unwrap(), ("card_ok".into(), None));
        let body = json!({ "payment_method": "card_declined", "amount": 5 });
        assert_eq!(payment(body.as_object()).unwrap(), ("card_declined".into(), Some(5)));
        for bad in
            [json!({ "payment_method": 1 }), json!({ "amount": 1.5 }), json!({ "amount": -1 })]
        {
            assert!(payment(bad.as_object()).is_err(), "{bad}");
        }
    }
}
