//! Bodies of requests about bookings.

use actix_web::http::header::HeaderMap;
use actix_web::web::Bytes;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::plain_body;
use crate::api::idempotency::{self, KeyText};
use crate::api::seat_ids::{SeatNumber, each_once};
use crate::domain::limits::{LABEL_BYTES_MAX, PRICE_MAX};
use crate::domain::{EventId, Quantity};
use crate::http::body;
use crate::http::fields::{self, Amount, Integer, List, Text, Whole};
use crate::http::problem::Problem;
use crate::sale::SeatRequest;

/// The payment method where the client names none.
const PAYMENT_METHOD_DEFAULT: &str = "card_ok";
/// Bytes of a payment method.
const PAYMENT_METHOD_BYTES_MAX: usize = 100;

/// A request for seats. Unknown fields are ignored.
#[derive(Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = Hold)]
pub struct HoldBody {
    /// The event.
    #[schema(value_type = u32, minimum = 1, example = 1)]
    event_id: Whole<1, { u32::MAX }>,
    /// 1 to 10 seats (an admin: 50), each once; or leave it out and send `quantity`.
    #[schema(value_type = Option<Vec<u32>>, example = json!([210, 211, 212]), min_items = 1, max_items = 50)]
    seat_ids: Option<List<SeatNumber, 0, { usize::MAX }>>,
    /// How many seats, 1 to 10 (an admin: 50), if they are not named.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 50)]
    quantity: Option<Integer>,
    /// In which section; in any one if absent.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64)]
    section: Option<Text<1, LABEL_BYTES_MAX>>,
    /// Whether they must be side by side where seats have rows; true if absent.
    together: Option<bool>,
    /// The highest price of one seat, in the currency's minor unit.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 1_000_000_000_000_i64)]
    max_price: Option<Amount<PRICE_MAX>>,
    /// The request's own key, if not in a header.
    #[serde(rename = "idempotencyKey")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    idempotency_key: Option<KeyText>,
}

/// Fields that only describe a `quantity`: ignored where seats are named.
const OF_QUANTITY: [&str; 3] = ["section", "together", "max_price"];

/// How a booking is paid.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = Confirm)]
pub struct ConfirmBody {
    /// Passed to the payment provider; `card_ok` if absent.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100, example = "card_ok")]
    payment_method: Option<Text<1, PAYMENT_METHOD_BYTES_MAX>>,
    /// The amount that the client expects; the request is refused if it is another.
    #[schema(value_type = Option<i64>, minimum = 0, example = 15_000)]
    amount: Option<Amount<{ i64::MAX }>>,
    /// The request's own key, if not in a header.
    #[serde(rename = "idempotencyKey")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    idempotency_key: Option<KeyText>,
}

/// A body of which only the idempotency key is read.
#[derive(Default, Deserialize)]
pub struct KeyBody {
    #[serde(rename = "idempotencyKey")]
    idempotency_key: Option<KeyText>,
}

/// Parses a hold of at most `seats_max` seats: the event, the seats, and the idempotency key.
pub fn hold(
    headers: &HeaderMap,
    body: Option<Bytes>,
    seats_max: usize,
) -> Result<(EventId, SeatRequest, Option<String>), Problem> {
    let mut body = parse_hold(&body.ok_or_else(body::missing)?)?;
    let event = EventId(body.event_id.0);
    let key = body.idempotency_key.take();
    let seats = seats_wanted(body, seats_max)?;
    Ok((event, seats, idempotency::key(headers, key)?))
}

fn parse_hold(body: &[u8]) -> Result<HoldBody, Problem> {
    if let Some(body) = plain_hold(body) {
        return Ok(body);
    }
    fields::parse_object(body, |object| {
        if object.get("seat_ids").is_some_and(|seats| !seats.is_null())
            && object.get("quantity").is_none_or(Value::is_null)
        {
            object.retain(|name, _| !OF_QUANTITY.contains(&name.as_str()));
        }
    })
}

fn plain_hold(body: &[u8]) -> Option<HoldBody> {
    let (event_id, seats) = plain_body::read(body)?;
    Some(HoldBody {
        event_id,
        seat_ids: Some(List(seats)),
        quantity: None,
        section: None,
        together: None,
        max_price: None,
        idempotency_key: None,
    })
}

fn seats_wanted(body: HoldBody, seats_max: usize) -> Result<SeatRequest, Problem> {
    if let Some(List(seats)) = &body.seat_ids
        && !(1..=seats_max).contains(&seats.len())
    {
        let detail = format!("must have 1 to {seats_max} items; it has {}", seats.len());
        return Err(Problem::field("seat_ids", detail));
    }
    let quantity = body.quantity.map(|Integer(seats)| match u32::try_from(seats) {
        Ok(seats @ 1..) if seats as usize <= seats_max => Ok(seats),
        _ => {
            let detail = format!("must be a whole number from 1 to {seats_max}; got {seats}");
            Err(Problem::field("quantity", detail))
        }
    });
    match (body.seat_ids, quantity.transpose()?) {
        (Some(List(seats)), None) => Ok(SeatRequest::Named(each_once(seats)?)),
        (None, Some(seats)) => Ok(SeatRequest::Quantity(Quantity {
            seats,
            section: body.section.map(|section| section.0),
            together: body.together.unwrap_or(true),
            max_price: body.max_price.map(|price| price.0),
        })),
        (None, None) => Err(Problem::field("seat_ids", "is missing; or send a `quantity`")),
        (Some(_), Some(_)) => {
            Err(Problem::field("quantity", "and `seat_ids`: send one of them, names or a number"))
        }
    }
}

/// How a booking is to be paid: the method, the amount that the client expects, and the idempotency
/// key.
pub fn payment(
    headers: &HeaderMap,
    body: Option<ConfirmBody>,
) -> Result<(String, Option<i64>, Option<String>), Problem> {
    let body = body.unwrap_or_default();
    let method = body.payment_method.map(|method| method.0);
    let method = method.unwrap_or_else(|| PAYMENT_METHOD_DEFAULT.to_owned());
    let amount = body.amount.map(|amount| amount.0);
    Ok((method, amount, idempotency::key(headers, body.idempotency_key)?))
}

/// The idempotency key of a request whose body has nothing else that is read.
pub fn key(headers: &HeaderMap, body: Option<KeyBody>) -> Result<Option<String>, Problem> {
    idempotency::key(headers, body.and_then(|body| body.idempotency_key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::domain::SeatId;
    use crate::http::problem::Code;

    fn wanted(body: &Value) -> Result<(EventId, SeatRequest, Option<String>), Problem> {
        hold(&HeaderMap::new(), Some(body.to_string().into()), 10)
    }

    #[test]
    fn named_seats_are_parsed() {
        let named = SeatRequest::Named(vec![SeatId(3), SeatId(1)]);
        for body in [
            json!({ "event_id": 7, "seat_ids": [3, 1], "cart": "mine" }),
            json!({ "event_id": 7, "seat_ids": [3, 1], "section": "", "together": 1, "quantity": null }),
        ] {
            assert_eq!(wanted(&body).unwrap(), (EventId(7), named.clone(), None), "{body}");
        }
        let body = json!({ "event_id": u32::MAX, "seat_ids": [3, 1], "idempotencyKey": "k" });
        assert_eq!(wanted(&body).unwrap(), (EventId(u32::MAX), named, Some("k".into())));
    }

    proptest! {
        #[test]
        fn plain_hold_is_what_the_general_parser_reads(
            body in r#"\{"event_id":[ 0-9]{0,11},[ ]?"seat_ids":[ ]?\[[ 0-9,e.\]-]{0,20}\]\}?"#,
        ) {
            if let Some(plain) = plain_hold(body.as_bytes()) {
                let general: Result<HoldBody, Problem> = fields::parse(body.as_bytes());
                prop_assert_eq!(plain, general.unwrap());
            }
        }
    }

    #[test]
    fn wrong_hold_is_refused_with_its_field() {
        let eleven: Vec<u32> = (1..=11).collect();
        let cases = [
            (json!({}), "`event_id` is missing"),
            (json!({ "event_id": null, "seat_ids": [1] }), "`event_id` must be a whole number"),
            (json!({ "event_id": "7", "seat_ids": [1] }), "got \"7\""),
            (json!({ "event_id": 0, "seat_ids": [1] }), "`event_id` must be a whole number"),
            (json!({ "event_id": 7 }), "`seat_ids` is missing; or send a `quantity`"),
            (json!({ "event_id": 7, "quantity": 11 }), "a whole number from 1 to 10; got 11"),
            (json!({ "event_id": 7, "quantity": 0 }), "a whole number from 1 to 10; got 0"),
            (json!({ "event_id": 7, "quantity": -1 }), "a whole number from 1 to 10; got -1"),
            (json!({ "event_id": 7, "quantity": "2" }), "`quantity` must be a whole number"),
            (json!({ "event_id": 7, "quantity": 1, "seat_ids": [1] }), "send one of them"),
            (json!({ "event_id": 7, "quantity": 1, "section": "" }), "`section` must be a text"),
            (json!({ "event_id": 7, "quantity": 1, "together": 1 }), "true or false; got 1"),
            (json!({ "event_id": 7, "quantity": 1, "max_price": -1 }), "`max_price` must be"),
            (json!({ "event_id": 7, "seat_ids": 1 }), "`seat_ids` must be a list; got 1"),
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
            (json!({ "event_id": 7, "seat_ids": [1], "idempotencyKey": 7 }), "`idempotencyKey`"),
        ];
        for (body, expected) in cases {
            let problem = wanted(&body).unwrap_err();
            assert_eq!(problem.code, Code::ValidationFailed, "{body}");
            assert!(problem.detail.contains(expected), "{body}: {}", problem.detail);
        }
        let missing = hold(&HeaderMap::new(), None, 10).unwrap_err();
        assert_eq!(missing.code, Code::InvalidJson);
    }

    #[test]
    fn quantities_are_parsed() {
        let quantity = |body: Value| match wanted(&body).unwrap().1 {
            SeatRequest::Quantity(quantity) => quantity,
            named => panic!("{named:?}"),
        };
        assert_eq!(
            quantity(json!({ "event_id": 7, "section": "Floor", "quantity": 2 })),
            Quantity { seats: 2, section: Some("Floor".into()), together: true, max_price: None }
        );
        assert_eq!(
            quantity(json!({ "event_id": 7, "quantity": 10, "together": false, "max_price": 0 })),
            Quantity { seats: 10, section: None, together: false, max_price: Some(0) }
        );
    }

    #[test]
    fn payments_have_a_default() {
        let paid = |body: Option<Value>| {
            let body = body.map(|body| fields::parse(body.to_string().as_bytes())).transpose()?;
            payment(&HeaderMap::new(), body)
        };
        assert_eq!(paid(None).unwrap(), ("card_ok".into(), None, None));
        let body = json!({ "payment_method": "card_declined", "amount": 5 });
        assert_eq!(paid(Some(body)).unwrap(), ("card_declined".into(), Some(5), None));
        for bad in
            [json!({ "payment_method": 1 }), json!({ "amount": 1.5 }), json!({ "amount": -1 })]
        {
            assert!(paid(Some(bad.clone())).is_err(), "{bad}");
        }
    }
}
