//! A pre-queue and its draw, from outside: published, fixed, and recomputed.

use std::collections::HashMap;
use std::time::Duration;

use holdfast::domain::draw::PublicDraw;
use serde_json::{Value, json};

use super::SOON;
use crate::support::api::{Api, Place, number_in, places};
use crate::support::eventually;

const JOINERS: u64 = 40;
/// How long before the sale the event's room opens for joining.
const AHEAD: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gathered_people_are_shuffled_verifiably() {
    let place = Place::shared();
    let apis =
        [Api::program(&place, &[]).await.patient(), Api::program(&place, &[]).await.patient()];
    let _workers = [place.worker(), place.worker()];
    let mut event = places(100);
    let on_sale_at = jiff::Timestamp::now() + AHEAD;
    event["on_sale_at"] = json!(on_sale_at.to_string());
    let event = apis[0].event(event).await;
    let draw_path = format!("/api/v1/events/{event}/waiting-room/draw");
    apis[0].get(&draw_path).send().await.problem(404, "draw_unknown");
    let room = json!({ "shuffle": true, "max_concurrent": 1, "session_duration": 600 });
    apis[0].enable_room(event, room).await;
    let published = apis[0].get(&draw_path).send().await.json(200);
    assert_eq!((&published["status"], &published["secret"]), (&json!("gathering"), &Value::Null));
    let mut tokens = HashMap::new();
    for n in 0..JOINERS {
        let api = &apis[n as usize % 2];
        let joined = api.join_room(event, &format!("user-{n}")).await.json(200);
        assert_eq!((&joined["status"], &joined["position"]), (&json!("gathering"), &Value::Null));
        let token = joined["token"].as_str().unwrap().to_owned();
        tokens.insert(number_in(&token), token);
    }
    assert!(jiff::Timestamp::now() < on_sale_at, "too slow: the sale has begun");
    assert_eq!(apis[0].room_stats(event).await["served"], 0);

    let mut fixed = Value::Null;
    eventually("the draw is fixed", SOON, async || {
        fixed = apis[1].get(&draw_path).send().await.json(200);
        fixed["status"] == "fixed"
    })
    .await;
    assert_eq!(fixed["commitment"], published["commitment"], "what was committed to");
    assert_eq!(fixed["joiners"], JOINERS);
    let public: PublicDraw = serde_json::from_value(fixed).unwrap();
    let draw = public.draw().expect("the secret is the one that was committed to");
    // Each position follows from the public data: a permutation, and not the order of joining.
    let late = apis[0].joined(event, "late").await;
    let mut places: Vec<u64> = Vec::new();
    for (number, token) in &tokens {
        let place = draw.place(*number);
        places.push(place);
        let mut shown = None;
        eventually("it has a position", SOON, async || {
            let status = apis[*number as usize % 2].room_status(event, token).await.json(200);
            let served = apis[0].room_stats(event).await["served"].as_u64().unwrap();
            shown = status["position"].as_u64().map(|position| (position, served));
            status["status"] != "gathering"
        })
        .await;
        let (position, served) = shown.unwrap();
        // Served may have risen between the two responses, by the one session that exists.
        assert!(position <= place && place <= position + served, "{number}: {place}, {shown:?}");
    }
    places.sort_unstable();
    assert_eq!(places, (1..=JOINERS).collect::<Vec<_>>());
    assert!((1..=JOINERS).any(|number| draw.place(number) != number));
    let late = apis[0].room_status(event, &late).await.json(200)["position"].as_u64().unwrap();
    assert!(late >= JOINERS - 1, "who comes after the draw is behind it: {late}");
}
