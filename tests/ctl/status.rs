//! `status`, and `completions`, which needs no services.

use serde_json::{Value, json};

use super::Shop;
use crate::on_one_redis;
use crate::support::servers::state_dir;
use crate::support::unique_name;

on_one_redis!(status_shows_all_parts, async |flavor| {
    let shop = Shop::new(flavor).await;
    let none = shop.ctl("status --json").await.json(0);
    assert_eq!((&none["workers"], &none["events"]["on_sale"]), (&json!([]), &json!([])));
    assert_eq!(none["log"]["totals"]["length"], 0);

    let event = shop.world.event(10).await;
    let paused = shop.world.event(10).await;
    shop.ctl(&format!("event pause {paused}")).await.ended(0);
    let scheduled = "event create --name Later --general F:1:2 --on-sale-at 2100-01-01T00:00:00Z";
    shop.ctl(scheduled).await.ended(0);
    let waiting = shop.ctl("status --json").await.json(0);
    let attention = waiting["attention"].to_string();
    assert!(attention.contains("no worker has ever read the booking log"), "{attention}");

    let _worker = shop.worker().await;
    shop.buy(event, "ann", &[1, 2]).await;
    shop.hold(event, "bob", &[3]).await;
    shop.archived().await;
    let status = shop.ctl("status --json").await.json(0);
    let redis = &status["redis"];
    assert_eq!((&redis["connected"], &redis["role"]), (&json!(true), &json!("master")));
    assert!(redis["version"].as_str().unwrap().contains('.'), "{redis}");
    assert!(redis["memory_used_bytes"].as_u64().unwrap() > 100_000, "{redis}");
    assert!(redis["connected_clients"].as_u64().unwrap() > 0, "{redis}");
    assert_eq!(redis["eviction_policy"], "noeviction");
    let mongodb = &status["mongodb"];
    assert_eq!(mongodb["connected"], true, "{mongodb}");
    assert!(mongodb["replica_set"].is_string(), "{mongodb}");
    let log = &status["log"];
    assert_eq!((&log["totals"]["waiting"], &log["totals"]["pending"]), (&json!(0), &json!(0)));
    assert_eq!(log["partitions"].as_array().unwrap().len(), 4);
    let used = shop.world.engine.keys().partition_of(event).0;
    assert!(log["partitions"][usize::from(used)]["newest_seconds"].as_f64().unwrap() < 600.0);
    let events = &status["events"];
    let by_status = json!({ "ON_SALE": 1, "SCHEDULED": 1, "PAUSED": 1, "CLOSED": 0 });
    assert_eq!((&events["by_status"], &events["unopened"]), (&by_status, &json!([])));
    let seats = json!([{ "id": event.0, "name": "Test", "seats": 10, "free": 7, "held": 1,
                         "sold": 2, "blocked": 0 }]);
    assert_eq!((&events["on_sale"], &events["lost"]), (&seats, &json!([])));
    let workers = status["workers"].as_array().unwrap();
    assert_eq!((workers.len(), &workers[0]["pending"]), (1, &json!(0)), "{status}");
    assert!(workers[0]["last_read_seconds"].is_number(), "{status}");

    let text = shop.ctl("status").await.stdout;
    assert!(text.lines().count() <= 24, "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("1 on sale, 1 scheduled, 1 paused, 0 closed"), "{text}");
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_events_are_counted_and_the_newest_shown() {
    let shop = Shop::any().await;
    for _ in 0..3 {
        shop.world.event(2).await;
    }
    let events = shop.ctl("status --events 2 --json").await.json(0)["events"].clone();
    let ids: Vec<&Value> =
        events["on_sale"].as_array().unwrap().iter().map(|event| &event["id"]).collect();
    assert_eq!((ids, &events["more"]), (vec![&json!(3), &json!(2)], &json!(1)));
    let text = shop.ctl("status --events 2").await.stdout;
    assert!(text.contains("and 1 more; --events shows more"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issues_are_listed_under_attention() {
    let shop = Shop::any().await;
    let lost = shop.world.event(2).await;
    let events = shop.collection("events").await;
    let mut unopened = events.find_one(mongodb::bson::doc! {}).await.unwrap().unwrap();
    unopened.insert("_id", 77_i64);
    unopened.insert("load_state", "new");
    events.insert_one(unopened).await.unwrap();
    let keys = shop.world.engine.keys();
    let partition = keys.partition_of(lost);
    shop.redis.command(&["SREM", &keys.events(partition), &lost.to_string()]);
    let letters = keys.dead_letters(partition);
    shop.redis.command(&["XADD", &letters, "*", "entry_id", "1-1", "reason", "x"]);

    let status = shop.ctl("status --json").await.json(0);
    assert_eq!(status["events"]["lost"], json!([lost.0]));
    assert_eq!(status["events"]["unopened"], json!([77]));
    let attention = status["attention"].to_string();
    for words in ["1 dead letters", "not opened yet: event 77", "Redis has lost event 1"] {
        assert!(attention.contains(words), "{words}: {attention}");
    }
    let text = shop.ctl("status").await.stdout;
    assert!(text.contains("Look at  ") && text.contains("1 dead letters"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_service_is_shown_while_the_other_is_unavailable() {
    let shop = Shop::any().await;
    let event = shop.world.event(4).await;
    shop.hold(event, "ann", &[1]).await;

    let away = [("HOLDFAST_MONGODB_URL", "mongodb://127.0.0.1:1")];
    let status = shop.ctl_with("status --json", &away).await.json(2);
    let error = status["mongodb"]["error"].as_str().unwrap();
    assert!(error.contains("Start MongoDB, or set HOLDFAST_MONGODB_URL"), "{error}");
    assert_eq!(
        (&status["mongodb"]["connected"], &status["redis"]["connected"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(status["log"]["totals"]["length"], 2);
    assert_eq!(status["events"]["by_status"], Value::Null);
    let seats = &status["events"]["on_sale"][0];
    assert_eq!(
        (&seats["id"], &seats["name"], &seats["held"]),
        (&json!(event.0), &Value::Null, &json!(1))
    );
    let ran = shop.ctl_with("status", &away).await;
    assert!(ran.code == 2 && ran.stdout.contains("MongoDB  AWAY: "), "{ran:?}");
    assert!(ran.stdout.contains("1 in Redis"), "{ran:?}");

    let away = [("HOLDFAST_REDIS_URL", "redis://:secret@127.0.0.1:1")];
    let status = shop.ctl_with("status --json", &away).await.json(2);
    let error = status["redis"]["error"].as_str().unwrap();
    assert!(error.contains("Start Redis, or set HOLDFAST_REDIS_URL"), "{error}");
    assert!(!status.to_string().contains("secret"), "{status}");
    assert_eq!((&status["log"], &status["events"]["lost"]), (&Value::Null, &Value::Null));
    assert_eq!(status["events"]["by_status"]["ON_SALE"], 1);
    assert_eq!(status["mongodb"]["connected"], true);
    let ran = shop.ctl_with("status", &away).await;
    assert!(ran.code == 2 && ran.stdout.contains("Redis    AWAY: "), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn completions_need_no_services() {
    let shop = Shop::any().await;
    // Settings that would stop every other command.
    let wrong = [("HOLDFAST_PARTITION", "4"), ("HOLDFAST_REDIS_URL", "redis://127.0.0.1:1")];
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let made = shop.ctl_with(&format!("completions {shell} --json"), &wrong).await.json(0);
        assert_eq!(made["shell"], shell);
        let script = made["script"].as_str().unwrap();
        assert!(script.contains("holdfastctl") && script.contains("dead-letters"), "{shell}");
        let plain = shop.ctl_with(&format!("completions {shell}"), &wrong).await;
        assert_eq!((plain.code, plain.stdout.trim_end()), (0, script.trim_end()));
    }
    // The shell itself accepts it.
    let script = shop.ctl("completions bash").await.stdout;
    let file = state_dir().join(unique_name());
    std::fs::write(&file, script).unwrap();
    let checked = tokio::process::Command::new("bash").arg("-n").arg(file).output().await;
    let checked = checked.expect("bash runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
