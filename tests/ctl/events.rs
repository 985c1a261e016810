//! `event`, and how the tool reports failures.

use holdfast::domain::EventId;
use holdfast::sale::SaleError;
use serde_json::{Value, json};

use super::Shop;
use crate::on_one_redis;

on_one_redis!(event_is_created_listed_shown_and_changed, async |flavor| {
    let shop = Shop::new(flavor).await;
    let created = shop
        .ctl(
            "event create --name Gala --venue Hall --section Stalls:4500:2x3 --section Box:9000:1x2 \
             --general Floor:2500:4 --max-seats-per-user 2 --hold-ttl-seconds 60 --json",
        )
        .await
        .json(0);
    assert_eq!(created["status"], "ON_SALE");
    assert_eq!((&created["total_seats"], &created["available_seats"]), (&json!(12), &json!(12)));
    let id = created["id"].as_u64().unwrap();
    let event = EventId(id as u32);

    shop.hold(event, "ann", &[7, 9]).await;
    let shown = shop.ctl(&format!("event show {id} --json")).await.json(0);
    assert_eq!((&shown["hold_ttl_seconds"], &shown["max_seats_per_user"]), (&json!(60), &json!(2)));
    let parts =
        ["name", "price", "general_admission", "first_seat_id", "total_seats", "held_seats"];
    let sections: Vec<Value> = shown["sections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|section| parts.iter().map(|part| section[part].clone()).collect())
        .collect();
    assert_eq!(
        sections,
        [
            json!(["Stalls", 4500, false, 1, 6, 0]),
            json!(["Box", 9000, false, 7, 2, 1]),
            json!(["Floor", 2500, true, 9, 4, 1]),
        ]
    );

    let paused = shop.ctl(&format!("event pause {id} --json")).await.json(0);
    assert_eq!(paused["status"], "PAUSED");
    let refused = shop.world.hold("bob", event, &[1], None).await;
    assert!(matches!(refused, Err(SaleError::EventPaused(_))), "{refused:?}");
    let resumed = shop.ctl(&format!("event resume {id} --json")).await.json(0);
    assert_eq!(resumed["status"], "ON_SALE");
    shop.hold(event, "bob", &[1]).await;
    assert_eq!(shop.ctl(&format!("event close {id} --json")).await.json(0)["status"], "CLOSED");
    let refused = shop.world.hold("cid", event, &[2], None).await;
    assert!(matches!(refused, Err(SaleError::EventClosed(_))), "{refused:?}");

    let until = "2036-05-25T18:00:00.000Z";
    let change = format!("event change {id} --cancellation not_allowed --cancel-until {until}");
    shop.ctl(&format!("{change} --json")).await.json(0);
    let shown = shop.ctl(&format!("event show {id} --json")).await.json(0);
    let policy = (&shown["cancellation"], &shown["cancel_until"]);
    assert_eq!(policy, (&json!("not_allowed"), &json!(until)));

    let listed = shop.ctl("event list --json").await.json(0);
    assert_eq!(listed["events"][0]["name"], "Gala");
    assert_eq!(
        (&listed["events"][0]["available_seats"], listed["events"].as_array().unwrap().len()),
        (&json!(9), 1)
    );
    let table = shop.ctl("event show 1").await.stdout;
    assert!(table.contains("Stalls") && table.contains("at most 2 seats a user"), "{table}");
    assert!(table.contains("45.00 EUR") && table.contains("90.00 EUR"), "{table}");
    assert!(table.contains("cancellation not_allowed until 2036-05-25"), "{table}");
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_list_is_complete() {
    let shop = Shop::any().await;
    for _ in 0..103 {
        shop.world.event(1).await;
    }
    let listed = shop.ctl("event list --json").await.json(0);
    let ids: Vec<u64> = listed["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, (1..=103).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failure_is_reported_in_one_line() {
    let shop = Shop::any().await;
    let away = "127.0.0.1:1";
    let (redis, mongodb) = (format!("redis://:secret@{away}"), format!("mongodb://{away}"));
    let cases: [(&str, (&str, &str), &str); 10] = [
        ("event show 7", ("HOLDFAST_LOG_LEVEL", "info"), "event 7 does not exist"),
        (
            "event create --name x --general F:1:0",
            ("HOLDFAST_LOG_LEVEL", "info"),
            "capacity must be at least 1",
        ),
        (
            "event create --name x --general F:100:1 --currency ZZZ",
            ("HOLDFAST_LOG_LEVEL", "info"),
            "not a currency code of ISO 4217",
        ),
        ("event list", ("HOLDFAST_CURRENCY", "XXQ"), "currency = \"XXQ\""),
        ("lag", ("HOLDFAST_REDIS_URL", &redis), "Start Redis, or set HOLDFAST_REDIS_URL"),
        (
            "event list",
            ("HOLDFAST_MONGODB_URL", &mongodb),
            "Start MongoDB, or set HOLDFAST_MONGODB_URL",
        ),
        ("verify", ("HOLDFAST_PARTITIONS", "8"), "set `partitions` to 4"),
        ("verify", ("HOLDFAST_MONGODB_DATABASE", "elsewhere"), "holds no archive"),
        ("lag", ("HOLDFAST_PARTITION", "4"), "did you mean HOLDFAST_PARTITIONS?"),
        ("verify --event 9", ("HOLDFAST_LOG_LEVEL", "info"), "event 9 does not exist"),
    ];
    for (line, setting, expected) in cases {
        let ran = shop.ctl_with(line, &[setting]).await;
        let refusal = ran.refusal();
        assert!(
            refusal.starts_with("holdfastctl: ") && refusal.contains(expected),
            "{line}: {refusal}"
        );
        assert!(!refusal.contains("secret"), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_usage_points_to_the_help() {
    let shop = Shop::any().await;
    let cases = [
        ("", "no command"),
        ("event create --name x", "--section"),
        ("event create --name x --section Stalls:45.00:2x3", "minor unit"),
        ("event create --name x --general F:1:1 --starts-at tomorrow", "date, time and offset"),
        ("event pause many", "many"),
        ("dead-letters list --count 0", "--count"),
    ];
    for (line, expected) in cases {
        let ran = shop.ctl(line).await;
        assert!(ran.code == 2 && ran.stderr.contains(expected), "{line}: {ran:?}");
        assert!(ran.stderr.contains("--help"), "{line}: {ran:?}");
    }
}
