//! `verify` and `reconcile` from the console.

use std::time::Duration;

use serde_json::{Value, json};

use super::{event, keyed, ops, read, sold};
use crate::support::api::{Api, Place, small_event};
use crate::support::eventually;
use crate::support::http::Reply;

async fn check(api: &Api, which: &str, body: Value) -> Reply {
    ops(api.post(&format!("/api/v1/admin/checks/{which}")).json(body)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clean_sale_is_verified_and_reconciled() {
    let place = Place::shared();
    let api = keyed(&place).await;
    let _worker = place.worker_at_work(&[]).await;
    let id = event(&api, small_event()).await;
    sold(&api, "ann", id, &[1, 2]).await;
    api.held("bob", id, &[9]).await;
    let body = json!({ "event_id": id, "wait_seconds": 60 });
    let verdict = check(&api, "verify", body.clone()).await.json(200);
    assert_eq!(
        (&verdict["is_clean"], &verdict["is_cut"]),
        (&json!(true), &json!(false)),
        "{verdict}"
    );
    let shown = &verdict["events"][0];
    let facts =
        ["event_id", "capacity", "free", "held", "sold", "is_loaded", "bookings_in_archive"];
    assert_eq!(
        facts.map(|name| shown[name].clone()),
        [json!(id), json!(12), json!(9), json!(1), json!(2), json!(true), json!(2)]
    );
    assert!(verdict["partitions"][0]["entries"].as_u64().unwrap() > 0);
    let all = ops(api.post("/api/v1/admin/checks/verify")).await.json(200);
    assert_eq!(all["events"].as_array().unwrap().len(), 1);

    let verdict = check(&api, "reconcile", body).await.json(200);
    assert_eq!(
        (&verdict["is_clean"], &verdict["payments"]),
        (&json!(true), &json!(1)),
        "{verdict}"
    );
    let totals = json!([{
        "currency": "EUR", "sold": 10_000, "charged": 10_000, "refunded": 0, "refund_pending": 0
    }]);
    assert_eq!((&verdict["totals"], &verdict["fixed"]), (&totals, &json!([])));
    let fixed = check(&api, "reconcile", json!({ "event_id": id, "fix": true })).await.json(200);
    assert_eq!(fixed["is_clean"], true);

    for (which, body, status, code) in [
        ("verify", json!({ "event_id": 4_000_000_000_u64 }), 404, "event_unknown"),
        ("reconcile", json!({ "event_id": 4_000_000_000_u64 }), 404, "event_unknown"),
        ("verify", json!({ "event_id": 0 }), 422, "validation_failed"),
        ("verify", json!({ "wait_seconds": 61 }), 422, "validation_failed"),
        ("verify", json!({ "fix": true }), 422, "validation_failed"),
        ("reconcile", json!({ "fix": "yes" }), 422, "validation_failed"),
    ] {
        check(&api, which, body).await.problem(status, code);
    }
    let acts = read(&api, "audit?page_size=200").await;
    let acts: Vec<&Value> = acts["acts"].as_array().unwrap().iter().collect();
    let of = |verb: &str| acts.iter().filter(|act| act["act"] == verb).count();
    assert!(of("verify") >= 3 && of("reconcile") == 2 && of("reconcile_fix") == 1, "{acts:?}");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_check_runs_at_a_time() {
    let place = Place::shared();
    let api = keyed(&place).await;
    let id = event(&api, small_event()).await;
    // Without a worker the archive never catches up: the check waits as long as it may.
    api.held("ann", id, &[1]).await;
    let slow = async {
        loop {
            let reply = check(&api, "verify", json!({ "wait_seconds": 5 })).await;
            // Refused itself while one of the others runs.
            if reply.status != 409 {
                return reply;
            }
        }
    };
    let second = async {
        let mut refused = None;
        eventually("the other one runs", Duration::from_secs(30), async || {
            let reply = check(&api, "verify", json!({ "wait_seconds": 0 })).await;
            refused = (reply.status == 409).then_some(reply);
            refused.is_some()
        })
        .await;
        refused.unwrap()
    };
    let (slow, refused) = tokio::join!(slow, second);
    refused.problem(409, "in_flight");
    assert_eq!(slow.json(200)["is_clean"], false, "the archive lacks the hold");
    api.stop().await;
}
