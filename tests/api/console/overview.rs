//! The overview: one event, the deployment, and the series of all processes.

use std::time::Duration;

use serde_json::{Value, json};

use super::{event, keyed, ops, read};
use crate::support::api::{Place, small_event};
use crate::support::eventually;

/// The sum of a list of counts.
fn sum(counts: &Value) -> u64 {
    counts.as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overview_shows_seats_takings_and_health() {
    let place = Place::shared();
    let api = keyed(&place).await;
    let _worker = place.worker_at_work(&[]).await;
    let id = event(&api, small_event()).await;
    let sold = api.held("ann", id, &[1, 2]).await;
    api.act("ann", &sold, "confirm").await;
    api.held("bob", id, &[9]).await;
    let blocks = api.post(&format!("/api/v1/events/{id}/blocks"));
    ops(blocks.json(json!({ "seat_ids": [3], "reason": "press" }))).await.json(200);
    let mut shown = Value::Null;
    eventually("everything is shown", Duration::from_secs(60), async || {
        shown = read(&api, &format!("overview?event_id={id}")).await;
        let wanted = json!({ "total": 12, "free": 8, "held": 1, "sold": 2, "blocked": 1 });
        shown["event"]["seats"] == wanted
            && shown["event"]["holds_open"] == 1
            && shown["archive"]["entries_behind"] == 0
    })
    .await;
    let shown_event = &shown["event"];
    assert_eq!(shown_event["takings"], json!({ "sold": 10_000, "held": 2_000 }));
    assert_eq!((&shown_event["status"], &shown_event["name"]), (&json!("ON_SALE"), &json!("Gala")));
    let floor = json!({
        "name": "Floor", "price": 2_000, "first_seat_id": 9,
        "total": 4, "free": 3, "held": 1, "sold": 0, "blocked": 0,
    });
    assert_eq!(shown_event["sections"][1], floor);
    assert_eq!(shown["waiting_room"]["status"], "off");
    let health = &shown["health"];
    assert_eq!((&health["status"], &health["redis"]["status"]), (&json!("ok"), &json!("ok")));
    assert!(health["redis"]["memory_used_bytes"].as_u64().unwrap() > 0, "{health}");
    assert_eq!(health["workers"].as_array().unwrap().len(), 1, "{health}");
    assert!(super::super::is_time(&shown["as_of"]));

    let all = read(&api, "overview").await;
    assert_eq!((&all["event"], &all["waiting_room"]), (&Value::Null, &Value::Null));
    let unknown = api.get("/api/v1/admin/overview?event_id=4000000000");
    ops(unknown).await.problem(404, "event_unknown");
    let wrong = api.get("/api/v1/admin/overview?event_id=x");
    ops(wrong).await.problem(400, "invalid_parameter");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series_is_the_sum_of_all_processes() {
    let place = Place::shared();
    let (one, two) = (keyed(&place).await, keyed(&place).await);
    let id = event(&one, small_event()).await;
    let held = one.held("ann", id, &[1, 2]).await;
    // Each process refuses by its own view, or has Redis refuse.
    for api in [&one, &two] {
        for user in ["bob", "eve"] {
            api.hold(user, id, &[1]).await.problem(409, "seats_unavailable");
        }
    }
    one.act("ann", &held, "cancel").await.json(200);
    let mut series = Value::Null;
    eventually("both have written", Duration::from_secs(60), async || {
        series = read(&two, &format!("overview?event_id={id}")).await["series"].clone();
        let refused = &series["refused_by_reason"]["seats_unavailable"];
        refused.is_array() && sum(refused) == 4 && sum(&series["cancelled"]) == 1
    })
    .await;
    assert_eq!((&series["points"], &series["step_seconds"]), (&json!(180), &json!(5)));
    for (name, count) in [("held", 1), ("seats_held", 2), ("seats_returned", 2), ("expired", 0)] {
        let counts = &series[name];
        assert_eq!((counts.as_array().unwrap().len(), sum(counts)), (180, count), "{name}");
    }
    let places = ["memory", "redis", "waiting_room", "limits"];
    let by_place: Vec<u64> = places.iter().map(|place| sum(&series["refused"][place])).collect();
    assert_eq!((by_place[0] + by_place[1], by_place[2], by_place[3]), (4, 0, 0));
    assert_eq!(series["processes"], 2);
    two.stop().await;
    // What a process wrote stays when it has ended, and another one that begins reads it.
    let three = keyed(&place).await;
    let kept = read(&three, &format!("overview?event_id={id}")).await["series"].clone();
    assert_eq!(sum(&kept["refused_by_reason"]["seats_unavailable"]), 4);
    assert_eq!(sum(&kept["held"]), 1);
    one.stop().await;
    three.stop().await;
}
