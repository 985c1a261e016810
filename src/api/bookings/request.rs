//! What clients send about bookings, checked field by field.

use std::collections::HashSet;

use serde_json::Value;

use crate::api::body::Object;
use crate::api::fields::{Fields, integer, whole_number, wrong};
use crate::api::problem::{Code, Problem};
use crate::domain::limits::{SEATS_PER_BOOKING_MAX, SEATS_PER_EVENT_MAX};
use crate::domain::{EventId, SeatId};

/// What a payment is told where the client names no method.
const PAYMENT_METHOD_DEFAULT: &str = "card_ok";
/// Bytes of a payment method.
const PAYMENT_METHOD_BYTES_MAX: usize = 100;

/// Which seats of which event. Fields of the client's own are ignored.
pub fn seats_wanted(body: &Object) -> Result<(EventId, Vec<SeatId>), Problem> {
    let fields = Fields::new(body);
    let event = fields.count("event_id", u32::MAX)?;
    let event = EventId(fields.required("event_id", event)?);
    let list = fields.list("seat_ids", 1..=SEATS_PER_BOOKING_MAX)?;
    if list.is_none() && fields.value("quantity").is_some() {
        let detail = "Seats cannot be asked for by number yet: name them in `seat_ids`, as \
            GET /api/v1/events/{event_id}/seats?status=AVAILABLE lists them";
        return Err(Problem::new(Code::QuantityNotSupported, detail));
    }
    let list = fields.required("seat_ids", list)?;
    Ok((event, seat_ids(&fields, list)?))
}

fn seat_ids(fields: &Fields<'_>, list: &[Value]) -> Result<Vec<SeatId>, Problem> {
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
    use serde_json::json;

    use super::*;

    fn wanted(body: Value) -> Result<(EventId, Vec<SeatId>), Problem> {
        seats_wanted(body.as_object().unwrap())
    }

    #[test]
    fn seats_are_read() {
        let body = json!({ "event_id": 7, "seat_ids": [3, 1], "cart": "mine" });
        assert_eq!(wanted(body).unwrap(), (EventId(7), vec![SeatId(3), SeatId(1)]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let eleven: Vec<u32> = (1..=11).collect();
        let cases = [
            (json!({}), "`event_id` is missing"),
            (json!({ "event_id": null, "seat_ids": [1] }), "`event_id` is missing"),
            (json!({ "event_id": "7", "seat_ids": [1] }), "got \"7\""),
            (json!({ "event_id": 0, "seat_ids": [1] }), "`event_id` must be a whole number"),
            (json!({ "event_id": 7 }), "`seat_ids` is missing"),
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
    fn quantities_are_told_to_name_seats() {
        let body = json!({ "event_id": 7, "section": "Floor", "quantity": 2 });
        assert_eq!(wanted(body).unwrap_err().code, Code::QuantityNotSupported);
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
