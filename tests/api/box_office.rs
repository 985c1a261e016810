//! Admins sell for users beyond the users' limits, and each act is recorded before it happens.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::{Api, Place, places};
use crate::support::ctl::holdfastctl;
use crate::support::eventually;
use crate::support::http::{Client, Reply};

const BOOKINGS: &str = "/api/v1/bookings";
const KEY: (&str, &str) = ("X-Admin-Key", "open-sesame");
/// printf %s open-sesame | sha256sum
const KEYS: (&str, &str) = (
    "HOLDFAST_ADMIN_KEYS_SHA256",
    "desk:d7ecdf25eaf3deba0f2628771dbdd22d4138ab6cf38f91ed02a2ca0dec7c8ab7",
);
const EACH: (&str, &str) = ("HOLDFAST_LIMITS", "each");
const SOON: Duration = Duration::from_secs(60);

struct Office {
    place: Place,
    api: Api,
    event: u64,
}

impl Office {
    /// An event with at most two seats per user.
    async fn new(capacity: u32) -> Self {
        let place = Place::shared();
        let api = Api::program(&place, &[KEYS]).await.patient();
        let mut event = places(capacity);
        event["max_seats_per_user"] = json!(2);
        let created = api.post("/api/v1/events").header(KEY.0, KEY.1).json(event).send().await;
        let event = created.json(201)["id"].as_u64().unwrap();
        Office { place, api, event }
    }

    fn body(&self, seats: std::ops::RangeInclusive<u32>) -> Value {
        json!({ "event_id": self.event, "seat_ids": seats.collect::<Vec<_>>() })
    }

    async fn sells(&self, user: &str, body: Value) -> Reply {
        self.api.post(BOOKINGS).user(user).header(KEY.0, KEY.1).json(body).send().await
    }

    async fn room(&self, verb: &str) {
        let path = format!("/api/v1/events/{}/waiting-room/{verb}", self.event);
        self.api.post(&path).header(KEY.0, KEY.1).send().await.json(200);
    }
}

fn seats(booking: &Value) -> usize {
    booking["seats"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admin_sells_more_seats_than_a_user_may_have() {
    let office = Office::new(200).await;
    let by_name = office.sells("ann", office.body(1..=11)).await.json(201);
    assert_eq!(seats(&by_name), 11);
    let fifty = json!({ "event_id": office.event, "quantity": 50 });
    assert_eq!(seats(&office.sells("ann", fifty).await.json(201)), 50);
    // Admins have a bound too, and the refusal names it.
    let refused = office.sells("ann", office.body(100..=150)).await;
    let refused = refused.problem(422, "validation_failed");
    assert!(refused["detail"].as_str().unwrap().contains("50"), "{refused}");
    let many = json!({ "event_id": office.event, "quantity": 51 });
    let refused = office.sells("ann", many).await.problem(422, "validation_failed");
    assert!(refused["detail"].as_str().unwrap().contains("50"), "{refused}");
    // The user's own limits still apply.
    let own = office.api.post(BOOKINGS).user("ann").json(office.body(100..=110)).send().await;
    own.problem(422, "validation_failed");
    office.api.hold("ann", office.event, &[100]).await.problem(409, "user_limit");
    office.api.hold("bob", office.event, &[100, 101, 102]).await.problem(409, "user_limit");
    office.api.held("bob", office.event, &[100, 101]).await;
    assert_eq!(office.sells("bob", office.body(102..=102)).await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admin_sells_past_the_waiting_room() {
    let office = Office::new(20).await;
    office.room("enable").await;
    // Refused by Redis, and by the pre-check once this process knows of the room.
    let refused = async |user| office.api.hold(user, office.event, &[20]).await;
    for seat in 1..=3 {
        refused("ann").await.problem(403, "waiting_room_required");
        assert_eq!(office.sells("ann", office.body(seat..=seat)).await.status, 201);
    }
    let from_view = r#"holdfast_refused_from_view_total{reason="waiting_room_required"}"#;
    // The pre-check never refuses users with bookings: one of these may answer.
    eventually("the pre-check refuses", SOON, async || {
        refused("eve").await.problem(403, "waiting_room_required");
        office.api.labelled_metric(from_view).await > 0.0
    })
    .await;
    assert_eq!(office.sells("eve", office.body(4..=4)).await.status, 201);
    // A room that admits nobody, and an invalid token.
    let path = format!("/api/v1/events/{}/waiting-room/enable?method=reject", office.event);
    office.api.post(&path).header(KEY.0, KEY.1).send().await.json(200);
    let request = office.api.post(BOOKINGS).user("ann").header(KEY.0, KEY.1);
    let request = request.header("X-Waiting-Room-Token", "v1.anything");
    assert_eq!(request.json(office.body(5..=5)).send().await.status, 201);
    // Refusals that are no limit of users apply to admins too.
    office.api.hold("ann", office.event, &[6]).await.problem(403, "waiting_room_required");
    office.sells("bob", office.body(5..=5)).await.problem(409, "seats_unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exemption_does_not_extend_to_the_user() {
    let office = Office::new(20).await;
    let hold = |seats, admin: bool| {
        let request = office.api.post(BOOKINGS).user("ann").header("Idempotency-Key", "k");
        let request = if admin { request.header(KEY.0, KEY.1) } else { request };
        request.json(office.body(seats)).send()
    };
    let sold = hold(1..=3, true).await.json(201);
    // Either of the two finds the booking with the same request, which takes nothing more.
    for admin in [false, true] {
        let again = hold(1..=3, admin).await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(again.json(201)["id"], sold["id"]);
    }
    hold(4..=6, false).await.problem(422, "idempotency_key_reused");
    // After it has ended, the user's own request is decided like any user's.
    assert_eq!(office.api.act("ann", &sold, "cancel").await.status, 200);
    hold(1..=3, false).await.problem(409, "user_limit");
    let anew = hold(1..=3, true).await;
    assert_ne!(anew.json(201)["id"], sold["id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_sale_is_paid_archived_and_recorded() {
    let office = Office::new(60).await;
    let _worker = office.place.worker();
    let sold = office.sells("ann", office.body(1..=50)).await.json(201);
    let path = format!("{BOOKINGS}/{}", sold["id"].as_str().unwrap());
    let pay = format!("{path}/confirm");
    eventually("the booking is confirmed", SOON, async || {
        let reply = office.api.post(&pay).header(KEY.0, KEY.1).send().await;
        assert!(matches!(reply.status, 200 | 202), "{}", reply.text());
        reply.status == 200
    })
    .await;
    let receipt = office.api.get(&path).user("ann").send().await.json(200);
    assert_eq!((receipt["status"].as_str(), seats(&receipt)), (Some("CONFIRMED"), 50));
    let (_, archive) = office.place.services().await;
    let acts = archive.audit_entries(None, None, 100).await.unwrap();
    let hold = acts.iter().find(|act| act.act == "booking_hold").expect("the act is recorded");
    assert_eq!((hold.who.as_str(), hold.result.as_deref()), ("desk", Some("ok")));
    assert!(hold.detail.starts_with("for user ann: seats 1,2,3,"), "{}", hold.detail);
    let environment = office.place.environment(&[]);
    let event = office.event.to_string();
    eventually("Redis and the archive agree", SOON, async || {
        holdfastctl(&["verify", "--event", &event], &environment, "").await.code == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limit_rules_do_not_apply_to_admins() {
    let place = Place::shared();
    let rules = r#"[{name="requests",quota=2,window_seconds=3600},
        {name="seat_map",quota=2,window_seconds=3600},
        {name="holds_granted",quota=2,window_seconds=3600},
        {name="booking_attempts",quota=2,window_seconds=3600,mode="enforce"}]"#;
    let api = Api::program(&place, &[KEYS, EACH, ("HOLDFAST_LIMIT_RULES", rules)]).await;
    let office = |client: &Client, path: &str| client.get(path).user("ann").header(KEY.0, KEY.1);
    let created = api.post("/api/v1/events").header(KEY.0, KEY.1).json(places(20)).send().await;
    let event = created.json(201)["id"].as_u64().unwrap();
    for seat in 1..=5 {
        let body = json!({ "event_id": event, "seat_ids": [seat] });
        let request = api.post(BOOKINGS).user("ann").header(KEY.0, KEY.1);
        request.json(body).send().await.json(201);
        office(&api, BOOKINGS).send().await.json(200);
        office(&api, &format!("/api/v1/events/{event}/seats")).send().await.json(200);
        office(&api, "/api/v1/events").send().await.json(200);
    }
    // They apply to the user.
    let look = || api.get(&format!("/api/v1/events/{event}/seats")).user("ann");
    look().send().await.json(200);
    look().send().await.json(200);
    look().send().await.problem(429, "rate_limit_exceeded");
}
