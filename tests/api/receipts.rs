//! Receipts: seat names, which never change.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use crate::support::api::{Api, Place};
use crate::support::eventually;
use crate::support::http::Client;

/// Sections with the same rows.
fn two_sections() -> Value {
    let rows = json!([{ "row": "A", "seats": 20 }]);
    json!({ "name": "Gala", "sections": [
        { "name": "Stalls", "price": 100, "rows": rows },
        { "name": "Balcony", "price": 100, "rows": rows },
        { "name": "Floor", "price": 100, "capacity": 2 },
    ] })
}

/// The receipt of a booking of these seats, once it is confirmed.
async fn receipt(api: &Client, event: u64, seats: &[u32]) -> (Value, Value) {
    let held = api.held("ann", event, seats).await;
    let mut receipt = Value::Null;
    eventually("the booking is confirmed", Duration::from_secs(60), async || {
        let reply = api.act("ann", &held, "confirm").await;
        if reply.status == 200 {
            receipt = reply.json(200)["receipt"].clone();
        }
        reply.status == 200
    })
    .await;
    (held, receipt)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipt_names_seats_with_their_section_where_there_are_several() {
    let place = Place::shared();
    let (api, _worker) = (Api::program(&place, &[]).await.patient(), place.worker());
    let event = api.event(two_sections()).await;
    let (held, paid) = receipt(&api, event, &[20, 40, 41]).await;
    assert_eq!(paid["seats"], json!(["Stalls A-20", "Balcony A-20", "Floor-1"]));
    assert_eq!(
        (&held["seats"][1]["section"], &held["seats"][1]["seat_label"]),
        (&json!("Balcony"), &json!("A-20"))
    );
    let mut one_section = two_sections();
    one_section["sections"].as_array_mut().unwrap().truncate(1);
    let event = api.event(one_section).await;
    assert_eq!(receipt(&api, event, &[20]).await.1["seats"], json!(["A-20"]));
    let mut ambiguous = two_sections();
    ambiguous["sections"][2]["name"] = "Stalls A".into();
    let refused = api.post("/api/v1/events").json(ambiguous).send().await;
    let problem = refused.problem(422, "validation_failed");
    assert!(problem["detail"].as_str().unwrap().contains("\"Stalls A\""), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipt_of_an_older_build_stays_the_same_bytes() {
    let place = Place::shared();
    let config = place.config();
    let (api, _worker) = (Api::program(&place, &[]).await.patient(), place.worker());
    let event = api.event(two_sections()).await;
    let (held, _) = receipt(&api, event, &[20, 40]).await;
    // The event as an older build wrote it.
    let client = mongodb::Client::with_uri_str(config.mongodb_url.expose()).await.unwrap();
    let events = client.database(&config.mongodb_database).collection::<Document>("events");
    let older = doc! { "$unset": { "seat_names_have_section": "", "edits": "" } };
    events.update_one(doc! { "_id": event as i64 }, older).await.unwrap();
    let fresh = Api::program(&place, &[]).await.patient();
    let again = fresh.act("ann", &held, "confirm").await.json(200);
    assert_eq!(again["receipt"]["seats"], json!(["A-20", "A-20"]));
}
