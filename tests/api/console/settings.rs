//! Limits, access lists, dead letters, the audit and the waiting rooms.

use std::time::Duration;

use holdfast::domain::Partition;
use reqwest::Method;
use serde_json::{Value, json};

use super::{event, keyed, ops, read};
use crate::support::api::{Api, Place, small_event};
use crate::support::eventually;
use crate::support::http::Reply;
use crate::support::servers::{Flavor, available, shared_redis};

async fn change(api: &Api, body: Value) -> Reply {
    ops(api.ask(Method::PATCH, "/api/v1/admin/limits").json(body)).await
}

/// A rule by its name.
fn rule<'a>(limits: &'a Value, name: &str) -> &'a Value {
    let mut rules = limits["rules"].as_array().unwrap().iter();
    rules.find(|rule| rule["name"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_shown_and_their_mode_is_changed() {
    let api = keyed(&Place::shared()).await;
    let limits = read(&api, "limits").await;
    // The tests' servers observe, by their settings.
    assert_eq!(limits["mode"], json!({ "value": "observe", "from": "settings" }));
    assert_eq!((&limits["problem"], &limits["changed_by"]), (&Value::Null, &Value::Null));
    let known = rule(&limits, "requests");
    assert_eq!((&known["mode"], &known["mode_from"]), (&json!("observe"), &json!("limits")));
    assert!(known["limit"]["quota"].is_u64() || known["limit"]["per_second"].is_u64(), "{known}");

    let changed = change(&api, json!({ "mode": "each" })).await.json(200);
    assert_eq!(changed["mode"], json!({ "value": "each", "from": "operator" }));
    assert_eq!(
        (&changed["effective_within_seconds"], &changed["changed_by"]),
        (&json!(2), &json!("ops"))
    );
    let body = json!({ "rule": "requests", "mode": "off" });
    let changed = change(&api, body).await.json(200);
    let known = rule(&changed, "requests");
    assert_eq!((&known["mode"], &known["mode_from"]), (&json!("off"), &json!("operator")));
    let changed = change(&api, json!({ "mode": "settings" })).await.json(200);
    assert_eq!(changed["mode"]["from"], "settings");
    for body in [
        json!({ "mode": "strict" }),
        json!({ "rule": "requests", "mode": "each" }),
        json!({ "rule": "nothing", "mode": "off" }),
        json!({ "rule": "requests" }),
        json!({ "mode": "off", "quota": 1 }),
    ] {
        change(&api, body.clone()).await.problem(422, "validation_failed");
    }
    let acts = read(&api, "audit").await;
    let acts: Vec<&Value> = acts["acts"].as_array().unwrap().iter().collect();
    let facts = ["who", "act", "target", "detail", "result"].map(|name| acts[0][name].clone());
    // The refused rule is recorded, too; what cannot be parsed is not.
    let refused = [
        json!("ops"),
        json!("limits_mode"),
        json!("rule nothing"),
        json!("off"),
        json!("validation_failed"),
    ];
    assert_eq!(facts, refused);
    assert_eq!(acts[1]["target"], "all rules");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_start_empty_and_are_paged() {
    let place = Place::shared();
    let api = keyed(&place).await;
    assert_eq!(read(&api, "access").await, json!({ "entries": [] }));
    let letters = read(&api, "dead-letters").await;
    assert_eq!(
        letters,
        json!({ "total": 0, "letters": [], "silent_partitions": [], "next_cursor": null })
    );
    let replay = |id: &str| ops(api.post(&format!("/api/v1/admin/dead-letters/{id}/replay")));
    replay("3:17-0").await.problem(404, "dead_letter_unknown");
    replay("x").await.problem(400, "invalid_parameter");
    event(&api, small_event()).await;
    event(&api, small_event()).await;
    let first = read(&api, "audit?page_size=1").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = read(&api, &format!("audit?page_size=1&cursor={cursor}")).await;
    assert_eq!(second["acts"][0]["act"], "event_create");
    assert_eq!(read(&api, "audit?who=nobody").await, json!({ "acts": [], "next_cursor": null }));
    for query in ["audit?cursor=x", "audit?page_size=0", "dead-letters?cursor=x"] {
        let reply = ops(api.get(&format!("/api/v1/admin/{query}"))).await;
        reply.problem(400, "invalid_parameter");
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letter_is_listed_and_stays_if_it_cannot_be_read() {
    let place = Place::shared();
    let api = keyed(&place).await;
    let (engine, _) = place.services().await;
    let key = engine.keys().dead_letters(Partition(3));
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    let words = ["XADD", &key, "*", "entry_id", "17-0", "reason", "torn", "entry.entry", "garbage"];
    let parked = shared_redis(flavor).command_value(&words);
    let letters = read(&api, "dead-letters").await;
    let letter = &letters["letters"][0];
    let facts = ["partition", "entry_id", "reason", "kind", "is_readable"];
    assert_eq!(
        facts.map(|name| letter[name].clone()),
        [json!(3), json!("17-0"), json!("torn"), Value::Null, json!(false)],
        "{parked:?}"
    );
    assert_eq!(letters["total"], 1);
    let id = letter["id"].as_str().unwrap();
    for id in [id.to_owned(), id.replace(':', "%3A")] {
        let replay = api.post(&format!("/api/v1/admin/dead-letters/{id}/replay")).json(json!({}));
        let result = ops(replay).await.json(200);
        assert_eq!((&result["id"], &result["result"]), (&letter["id"], &json!("stays")));
        assert!(result["detail"].is_string(), "{result}");
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_rooms_in_use_are_listed() {
    let place = Place::shared();
    let api = keyed(&place).await;
    let id = event(&api, small_event()).await;
    event(&api, small_event()).await;
    assert_eq!(read(&api, "waiting-rooms").await, json!({ "rooms": [], "is_cut": false }));
    let enable = api.post(&format!("/api/v1/events/{id}/waiting-room/enable"));
    let body = json!({ "max_concurrent": 7, "session_duration": 120, "per_minute": 30 });
    ops(enable.json(body)).await.json(200);
    let join = api.post(&format!("/api/v1/events/{id}/waiting-room/join"));
    join.user("ann").send().await.json(200);
    let mut room = Value::Null;
    eventually("it is listed", Duration::from_secs(60), async || {
        let rooms = read(&api, "waiting-rooms").await;
        room = rooms["rooms"][0].clone();
        room["waiting_room"]["status"] == "on"
    })
    .await;
    assert_eq!((&room["event_id"], &room["event_name"]), (&json!(id), &json!("Gala")));
    let room = &room["waiting_room"];
    let facts = ["max_concurrent_users", "session_duration_seconds", "per_minute", "is_automatic"];
    assert_eq!(
        facts.map(|name| room[name].clone()),
        [json!(7), json!(120), json!(30), json!(false)]
    );
    assert_eq!(room["waiting"].as_u64().unwrap() + room["sessions"].as_u64().unwrap(), 1, "{room}");
    let shown = read(&api, &format!("overview?event_id={id}")).await;
    assert_eq!(shown["waiting_room"]["max_concurrent_users"], 7);
    // Who comes without a session is refused by the waiting room.
    api.hold("bob", id, &[1]).await.problem(403, "waiting_room_required");
    eventually("it is counted", Duration::from_secs(60), async || {
        let series = read(&api, &format!("overview?event_id={id}")).await["series"].clone();
        let counts = series["refused"]["waiting_room"].as_array().unwrap().clone();
        counts.iter().filter_map(Value::as_u64).sum::<u64>() == 1
    })
    .await;
    api.stop().await;
}
