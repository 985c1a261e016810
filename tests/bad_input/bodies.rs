//! Wrong bodies.

use serde_json::{Value, json};

use super::Target;
use crate::support::api::Place;
use crate::support::http::Reply;

const HOLD: &str = "/api/v1/bookings";
const CREATE: &str = "/api/v1/events";
const CHANGE: &str = "/api/v1/events/{event_id}";
const CONFIRM: &str = "/api/v1/bookings/{booking_id}/confirm";

/// A route, a body, and the refusal: status, `error`, and text that `detail` contains.
type Case = (&'static str, Vec<u8>, u16, &'static str, &'static str);

fn case(
    route: &'static str,
    body: Value,
    status: u16,
    error: &'static str,
    words: &'static str,
) -> Case {
    (route, body.to_string().into_bytes(), status, error, words)
}

fn invalid(route: &'static str, body: Value, words: &'static str) -> Case {
    case(route, body, 422, "validation_failed", words)
}

/// Bodies that are not JSON objects.
fn unreadable(route: &'static str) -> Vec<Case> {
    let bad = |body: &[u8], words| (route, body.to_vec(), 400, "invalid_json", words);
    let deep = format!("{{\"event_id\":{}", "[".repeat(20_000));
    let deep_objects = "{\"a\":".repeat(5_000);
    vec![
        bad(b"{", "EOF while parsing"),
        bad(b"{\"a\": 1,}", "trailing comma"),
        bad(b"{'a': 1}", "key must be a string"),
        bad(b"{\"a\": 1} {}", "trailing characters"),
        bad(b"[]", "must be a JSON object {…}, not a list"),
        bad(b"null", "not null"),
        bad(b"\"seats\"", "not a string"),
        bad(b"7", "not a number"),
        bad(b"event_id=1&seat_ids=1", "not valid JSON"),
        bad(b"{\"a\": \"\xff\"}", "not UTF-8 (byte 7); encode it as UTF-8"),
        bad(b"{\"a\": \"\\ud800\"}", "not valid JSON"),
        bad(b"{\"a\": \"\x00\"}", "control character"),
        bad(b"\xef\xbb\xbf{}", "not valid JSON"),
        bad(b"{\"a\": 1e999}", "number out of range"),
        bad(b"{\"a\": NaN}", "not valid JSON"),
        bad(deep.as_bytes(), "recursion limit"),
        bad(deep_objects.as_bytes(), "recursion limit"),
    ]
}

fn holds(event: u64) -> Vec<Case> {
    let seats = |seats: Value| json!({ "event_id": event, "seat_ids": seats });
    let of = |event: Value| json!({ "event_id": event, "seat_ids": [1] });
    let range = "whole number from 1 to 1000000";
    vec![
        invalid(HOLD, json!({}), "`event_id` is missing"),
        invalid(HOLD, json!({ "event_id": event }), "`seat_ids` is missing"),
        invalid(HOLD, seats(json!([])), "must have 1 to 10 items; it has 0"),
        invalid(HOLD, seats((1..=11).collect()), "must have 1 to 10 items; it has 11"),
        invalid(HOLD, seats(json!([1, 2, 1])), "name each seat once"),
        invalid(HOLD, seats(json!([0])), range),
        invalid(HOLD, seats(json!([-1])), range),
        invalid(HOLD, seats(json!([1_000_001])), range),
        invalid(HOLD, seats(json!([u64::MAX])), range),
        invalid(HOLD, seats(json!([1e300])), range),
        invalid(HOLD, seats(json!([1.5])), "got 1.5"),
        invalid(HOLD, seats(json!([1.0])), "got 1.0"),
        invalid(HOLD, seats(json!(["1"])), "got \"1\""),
        invalid(HOLD, seats(json!([null])), "got null"),
        invalid(HOLD, seats(json!([true])), "got true"),
        invalid(HOLD, seats(json!([[1]])), "got a list"),
        invalid(HOLD, seats(json!([{ "id": 1 }])), "got an object"),
        invalid(HOLD, seats(json!("1,2")), "must be a list; got \"1,2\""),
        invalid(HOLD, seats(json!({ "1": 1 })), "must be a list"),
        invalid(HOLD, of(json!(0)), "`event_id` must be a whole number"),
        invalid(HOLD, of(json!(-1)), "`event_id` must be a whole number"),
        invalid(HOLD, of(json!("1")), "got \"1\""),
        invalid(HOLD, of(json!(1.5)), "got 1.5"),
        invalid(HOLD, of(json!(4_294_967_296_u64)), "`event_id` must be a whole number"),
        case(HOLD, of(json!(4_000_000_000_u32)), 404, "event_unknown", "GET /api/v1/events lists"),
        case(HOLD, seats(json!([13])), 422, "seats_unknown", "Seat 13 is not in event"),
        case(HOLD, seats(json!([1, 13, 999])), 422, "seats_unknown", "Seats 13, 999 are not in"),
        case(
            HOLD,
            json!({ "event_id": event, "section": "Balcony", "quantity": 2 }),
            422,
            "section_unknown",
            "`section` is no section of event",
        ),
    ]
}

fn events() -> Vec<Case> {
    let with = |section: Value| json!({ "name": "x", "sections": [section] });
    let rows = |rows: Value| with(json!({ "name": "S", "price": 1, "rows": rows }));
    let also = |name: &str, value: Value| {
        let mut body = with(json!({ "name": "S", "price": 1, "capacity": 1 }));
        body[name] = value;
        body
    };
    let section = |price: Value, capacity: Value| {
        with(json!({ "name": "S", "price": price, "capacity": capacity }))
    };
    let half = json!({ "name": "S", "price": 1, "capacity": 600_000 });
    let mut other_half = half.clone();
    other_half["name"] = "T".into();
    vec![
        invalid(CREATE, json!({}), "`name` is missing"),
        invalid(CREATE, json!({ "name": "x" }), "`sections` is missing"),
        invalid(CREATE, json!({ "name": "x", "sections": [] }), "1 to 500 items"),
        invalid(CREATE, json!({ "name": "x", "sections": [1] }), "must be an object"),
        invalid(CREATE, also("name", "".into()), "`name` must be a text of 1 to 200 bytes"),
        invalid(CREATE, also("name", " ".into()), "`name` must have 1 to 200 bytes"),
        invalid(CREATE, also("name", "x".repeat(201).into()), "`name` must be a text"),
        invalid(CREATE, also("name", "a\u{0}b".into()), "no control characters"),
        invalid(CREATE, also("currency", "euro".into()), "`currency`"),
        invalid(CREATE, also("currency", "eur".into()), "ISO 4217"),
        invalid(CREATE, also("currency", "ZZZ".into()), "not a currency code of ISO 4217"),
        invalid(CREATE, also("starts_at", "soon".into()), "a time with its offset"),
        invalid(CREATE, also("on_sale_at", 17.into()), "a time with its offset"),
        invalid(CREATE, also("on_sale_at", "2026-03-01T18:00:00".into()), "a time with its offset"),
        invalid(CREATE, also("off_sale_at", "2036-03-01T18:00:00+18:01".into()), "±18:00 at most"),
        invalid(CREATE, also("cancel_until", "2036-03-01T18:00:00-24:00".into()), "±18:00 at most"),
        invalid(CREATE, also("hold_ttl_seconds", 0.into()), "from 1 to 86400"),
        invalid(CREATE, also("hold_ttl_seconds", 86_401.into()), "from 1 to 86400"),
        invalid(CREATE, also("max_hold_seconds", 5.into()), "at least `hold_ttl_seconds`"),
        invalid(CREATE, also("max_seats_per_user", 0.into()), "from 1 to 1000000"),
        invalid(CREATE, also("seats", 5.into()), "`seats` is not a field; there are"),
        invalid(CREATE, section((-1).into(), 1.into()), "`sections[0].price` must be"),
        invalid(CREATE, section(1.5.into(), 1.into()), "got 1.5"),
        invalid(CREATE, section(i64::MAX.into(), 1.into()), "`sections[0].price` must be"),
        invalid(CREATE, section("1".into(), 1.into()), "got \"1\""),
        invalid(CREATE, section(1.into(), 0.into()), "`sections[0].capacity` must be"),
        invalid(CREATE, section(1.into(), 1_000_001.into()), "from 1 to 1000000"),
        invalid(CREATE, section(1.into(), Value::Null), "send one of them"),
        invalid(CREATE, json!({ "name": "x", "sections": [half, other_half] }), "1000000"),
        invalid(CREATE, json!({ "name": "x", "sections": [half, half] }), "S"),
        invalid(CREATE, rows(json!([])), "1 to 100000 items"),
        invalid(CREATE, rows(json!([{ "row": "A", "seats": 0 }])), "rows[0].seats` must be"),
        invalid(CREATE, rows(json!([{ "row": "", "seats": 1 }])), "rows[0].row` must be"),
        invalid(CREATE, rows(json!([{ "row": "A", "seats": 1 }, { "row": "A", "seats": 1 }])), "A"),
        invalid(CREATE, rows(json!([{ "row": "A" }])), "rows[0].seats` is missing"),
        invalid(CHANGE, json!({}), "changes nothing"),
        invalid(CHANGE, json!({ "status": "SCHEDULED" }), "one of ON_SALE, PAUSED, CLOSED"),
        invalid(CHANGE, json!({ "status": 1 }), "one of ON_SALE"),
        invalid(CHANGE, json!({ "sections": [] }), "is not a field"),
        invalid(CHANGE, json!({ "name": "" }), "`name` must be"),
    ]
}

fn payments() -> Vec<Case> {
    vec![
        invalid(CONFIRM, json!({ "payment_method": 1 }), "`payment_method` must be a text"),
        invalid(CONFIRM, json!({ "payment_method": "" }), "1 to 100 bytes"),
        invalid(CONFIRM, json!({ "payment_method": "x".repeat(101) }), "1 to 100 bytes"),
        invalid(CONFIRM, json!({ "payment_method": ["card_ok"] }), "got a list"),
        invalid(CONFIRM, json!({ "amount": -1 }), "`amount` must be a whole number"),
        invalid(CONFIRM, json!({ "amount": 20.5 }), "got 20.5"),
        invalid(CONFIRM, json!({ "amount": "2000" }), "got \"2000\""),
        case(CONFIRM, json!({ "amount": 1 }), 422, "amount_mismatch", "`amount` must be 2000"),
        case(CONFIRM, json!({ "amount": i64::MAX }), 422, "amount_mismatch", "must be 2000"),
    ]
}

impl Target {
    /// Sends a body to a route as ann.
    async fn send(&self, route: &str, body: &[u8], media: &str) -> Reply {
        let method = if route == CHANGE { "PATCH" } else { "POST" };
        let path = route.replace("{event_id}", &self.event.to_string());
        let path = path.replace("{booking_id}", &self.booking);
        let ask = self.api.ask(method.parse().unwrap(), &path).user("ann");
        let ask = if media.is_empty() { ask } else { ask.header("Content-Type", media) };
        let reply = ask.body(body).send().await;
        self.documented(method, route, &reply);
        reply
    }
}

#[tokio::test]
async fn wrong_bodies_are_refused_with_a_remedy() {
    let target = Target::new(&Place::shared()).await;
    let mut cases = holds(target.event);
    cases.extend(events());
    cases.extend(payments());
    for route in [HOLD, CREATE, CHANGE, CONFIRM] {
        cases.extend(unreadable(route));
    }
    for (route, body, status, error, words) in &cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        let reply = target.send(route, body, "application/json").await;
        let problem = reply.any_problem();
        assert_eq!(
            (reply.status, problem["error"].as_str()),
            (*status, Some(*error)),
            "{shown}: {problem}"
        );
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{route} {shown}: {detail}");
        assert!(detail.len() < 500, "the body is not repeated: {detail}");
    }
    // No seat was held.
    target.api.counts_become(target.event, (11, 1, 0)).await;
    target.api.stop().await;
}

#[tokio::test]
async fn bodies_of_another_kind_or_size_are_refused() {
    let target = Target::new(&Place::shared()).await;
    let good = json!({ "event_id": target.event, "seat_ids": [1] }).to_string().into_bytes();
    for media in
        ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    {
        for route in [HOLD, CREATE, CHANGE, CONFIRM] {
            let problem =
                target.send(route, &good, media).await.problem(415, "unsupported_media_type");
            assert!(problem["detail"].as_str().unwrap().contains("Content-Type: application/json"));
        }
    }
    for route in [HOLD, CREATE, CHANGE] {
        let empty = target.send(route, b"", "application/json").await.problem(400, "invalid_json");
        assert!(empty["detail"].as_str().unwrap().contains("send a JSON object"));
    }
    let mut large = good.clone();
    large.resize(1 << 20, b' ');
    for route in [HOLD, CHANGE, CONFIRM] {
        let problem =
            target.send(route, &large, "application/json").await.problem(413, "body_too_large");
        assert!(problem["detail"].as_str().unwrap().contains("65536 bytes"), "{problem}");
    }
    large.resize((8 << 20) + 1, b' ');
    target.send(CREATE, &large, "application/json").await.problem(413, "body_too_large");

    let packed = target.api.post(HOLD).user("ann").header("Content-Type", "application/json");
    let packed =
        packed.header("Content-Encoding", "gzip").body(&[0x1f, 0x8b, 8, 0][..]).send().await;
    packed.problem(415, "unsupported_media_type");
    target.api.stop().await;
}
