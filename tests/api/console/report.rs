//! The report of an event, and the demand for its seats.

use std::time::Duration;

use serde_json::{Value, json};

use super::{event, keyed, ops, read, sold};
use crate::support::api::{Place, small_event};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn report_shows_takings_funnel_and_refusals() {
    let place = Place::shared();
    let api = keyed(&place).await;
    let _worker = place.worker_at_work(&[]).await;
    let id = event(&api, small_event()).await;
    sold(&api, "ann", id, &[1, 2]).await;
    let held = api.held("bob", id, &[9]).await;
    api.act("bob", &held, "cancel").await.json(200);
    api.held("eve", id, &[9]).await;
    for _ in 0..3 {
        api.hold("joe", id, &[1]).await.problem(409, "seats_unavailable");
    }
    let mut report = Value::Null;
    eventually("all is counted", Duration::from_secs(60), async || {
        report = read(&api, &format!("events/{id}/report")).await;
        report["funnel"] == json!({ "asked": 6, "held": 3, "paid": 1 })
            && report["takings"]["seats_sold"] == 2
    })
    .await;
    let takings = json!({ "sold": 10_000, "cancelled": 0, "seats_sold": 2, "bookings_sold": 1 });
    assert_eq!(report["takings"], takings);
    let stalls = json!({
        "name": "Stalls", "price": 5_000, "seats": 8, "seats_sold": 2, "takings": 10_000
    });
    let floor =
        json!({ "name": "Floor", "price": 2_000, "seats": 4, "seats_sold": 0, "takings": 0 });
    assert_eq!(report["sections"], json!([stalls, floor]));
    let hour = &report["hours"][0];
    assert!(hour["hour"].as_str().unwrap().ends_with(":00:00.000Z"), "{hour}");
    assert_eq!((&hour["seats"], &hour["takings"]), (&json!(2), &json!(10_000)));
    assert_eq!(report["refused"], json!({ "seats_unavailable": 3 }));
    assert!(super::super::is_time(&report["counted_since"]), "{report}");
    assert_eq!(report["is_cut"], false);

    let demand = read(&api, &format!("events/{id}/demand")).await;
    assert_eq!((&demand["seats"], &demand["max_held"]), (&json!(12), &json!(2)));
    let held: Vec<u64> =
        demand["held"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).collect();
    assert_eq!(held, [1, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!((&demand["returned"][8], &demand["returned"][0]), (&json!(1), &json!(0)));
    for path in ["events/4000000000/report", "events/4000000000/demand"] {
        let reply = ops(api.get(&format!("/api/v1/admin/{path}"))).await;
        reply.problem(404, "event_unknown");
    }
    let unasked = event(&api, small_event()).await;
    let report = read(&api, &format!("events/{unasked}/report")).await;
    assert_eq!((&report["counted_since"], &report["hours"]), (&Value::Null, &json!([])));
    let demand = read(&api, &format!("events/{unasked}/demand")).await;
    assert_eq!((&demand["since"], &demand["max_held"]), (&Value::Null, &json!(0)));
    api.stop().await;
}
