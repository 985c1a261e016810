//! A waiting room as its metrics show it.

use serde_json::json;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_sessions_and_admissions_are_shown_while_the_room_is_on() {
    let place = Place::shared();
    let api = Api::here(place.config()).await.patient();
    let worker = Worker::start(&place, &[]).await;
    let event = api.event(places(10)).await;
    let room = format!("/api/v1/events/{event}/waiting-room");
    let settings = json!({ "max_concurrent": 2, "session_duration": 300, "claim_window": 300 });
    api.post(&format!("{room}/enable")).json(settings).send().await.json(200);
    let mut tokens = Vec::new();
    for user in ["ann", "bob", "cid"] {
        let joined = api.post(&format!("{room}/join")).user(user).send().await.json(200);
        tokens.push(joined["token"].as_str().unwrap().to_owned());
    }
    for token in &tokens[..2] {
        let path = format!("{room}/status?token={token}");
        eventually("they are let in", PATIENCE, async || {
            api.get(&path).send().await.json(200)["admitted"] == true
        })
        .await;
    }
    let of = |name: &str| format!(r#"{name}{{event_id="{event}"}}"#);
    is(&worker.client, &of("waiting_room_queue_size"), 1.0).await;
    is(&worker.client, &of("waiting_room_active_sessions"), 2.0).await;
    is(&worker.client, &of("holdfast_waiting_room_admitted_total"), 2.0).await;
    is(&worker.client, "holdfast_places_opened_total", 2.0).await;
    is(&worker.client, "holdfast_admission_share", 1.0).await;

    // Neither a stranger nor somebody with a false token is let in.
    is(&api, "admission_rejected_total", 0.0).await;
    api.hold("eve", event, &[1]).await.problem(403, "waiting_room_required");
    let body = json!({ "event_id": event, "seat_ids": [1] });
    let forged = api.post("/api/v1/bookings").user("eve").header("X-Waiting-Room-Token", "x");
    forged.json(body).send().await.problem(403, "waiting_room_token_invalid");
    is(&api, "admission_rejected_total", 2.0).await;

    api.post(&format!("{room}/disable")).send().await.json(200);
    let label = format!(r#"event_id="{event}""#);
    vanishes(&worker.client, &label).await;
    api.stop().await;
}
