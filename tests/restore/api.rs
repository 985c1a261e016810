//! Clients of the real programs while Redis is emptied during a sale.

use serde_json::{Value, json};

use super::*;
use crate::on_one_redis;
use crate::support::api::{Api, Place as Programs, small_event};
use crate::support::consistency::{AGREEMENT, wait_until_consistent};

on_one_redis!(clients_get_503_until_the_event_is_restored, async |flavor| {
    let redis = private_redis(flavor);
    let programs = Programs::new(&redis, shared_mongodb());
    let settings = [("HOLDFAST_REDIS_TIMEOUT_MS", "900"), ("HOLDFAST_CONFIRM_WAIT_MS", "20000")];
    let apis = [Api::program(&programs, &settings).await, Api::program(&programs, &settings).await];
    let worker = programs.worker();
    let api = &apis[0];
    let event = api.event(small_event()).await;
    let held = api.held("ann", event, &[1, 2]).await;
    let paid = api.act("ann", &held, "confirm").await;
    let receipt = |reply: &crate::support::http::Reply| {
        let text = reply.text();
        assert_eq!(reply.status, 200, "{text}");
        text[text.find("\"receipt\":").expect("a receipt")..].to_owned()
    };
    let first = receipt(&paid);
    let body = json!({ "event_id": event, "seat_ids": [4] });
    let hold = async |api: &Api| {
        let request = api.post("/api/v1/bookings").user("bob").header("Idempotency-Key", "bobs");
        request.json(body.clone()).send().await
    };
    let bobs = hold(api).await.json(201);
    let (engine, archive) = programs.services().await;
    wait_until_consistent(&engine, &archive, AGREEMENT).await;
    // No worker repairs for now.
    worker.terminate();
    worker.ended(SOON).await;

    assert_eq!(redis.command(&["FLUSHALL"]), "+OK");
    for api in &apis {
        for path in ["seats", "availability", "seats?status=AVAILABLE"] {
            let path = format!("/api/v1/events/{event}/{path}");
            eventually("the event is not shown any more", SOON, async || {
                let reply = api.get(&path).send().await;
                assert!(reply.status == 200 || reply.header("retry-after").is_some(), "{path}");
                reply.status == 503 && reply.json(503)["error"] == "event_not_loaded"
            })
            .await;
        }
        // Until its view is stale, a process refuses from it: the seat was sold a moment ago.
        eventually("the loss is visible", SOON, async || {
            let refused = api.hold("eve", event, &[1]).await;
            let error = refused.any_problem()["error"].clone();
            assert!(error == "event_not_loaded" || error == "seats_unavailable", "{error}");
            error == "event_not_loaded"
        })
        .await;
        let path = format!("/api/v1/events/{event}");
        api.shown(path, |event| event["available_seats"] == Value::Null).await;
        hold(api).await.problem(503, "event_not_loaded");
        let bobs = api.act("bob", &bobs, "confirm").await;
        bobs.problem(503, "event_not_loaded");
        // Sold bookings are readable without Redis.
        assert_eq!(receipt(&api.act("ann", &held, "confirm").await), first);
    }

    let _worker = programs.worker();
    let is_back = async || {
        let path = format!("/api/v1/events/{event}/availability");
        api.get(&path).send().await.status == 200
    };
    eventually("the event is back", REPAIRED, is_back).await;
    for api in &apis {
        api.counts_become(event, (9, 1, 2)).await;
        let again = hold(api).await;
        assert_eq!((again.status, again.header("idempotent-replayed")), (201, Some("true")));
        let again = again.json(201);
        assert_eq!((&again["id"], &again["seats"]), (&bobs["id"], &bobs["seats"]));
        assert_eq!(receipt(&api.act("ann", &held, "confirm").await), first);
        api.hold("eve", event, &[2]).await.problem(409, "seats_unavailable");
    }
    receipt(&apis[1].act("bob", &bobs, "confirm").await);
    wait_until_consistent(&engine, &archive, AGREEMENT).await;
});
