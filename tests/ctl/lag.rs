//! `lag` and `dead-letters`.

use std::time::Instant;

use holdfast::redis::WORKER_GROUP;
use serde_json::{Value, json};

use super::Shop;
use crate::on_one_redis;

fn totals(lag: &Value) -> Value {
    let names = ["length", "waiting", "pending", "dead_letters"];
    names.iter().map(|name| lag["totals"][name].clone()).collect()
}

on_one_redis!(lag_counts_what_is_not_archived, async |flavor| {
    let shop = Shop::new(flavor).await;
    let event = shop.world.event(10).await;
    shop.hold(event, "ann", &[1]).await;
    shop.hold(event, "bob", &[2]).await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let lag = shop.ctl("lag --json").await.json(0);
    assert_eq!(totals(&lag), json!([3, 3, 0, 0]), "no worker yet: {lag}");
    assert!(lag["totals"]["behind_seconds"].as_f64().unwrap() >= 0.05, "{lag}");

    let worker = shop.worker().await;
    shop.archived().await;
    let lag = shop.ctl("lag --json").await.json(0);
    assert_eq!(totals(&lag), json!([3, 0, 0, 0]), "{lag}");
    assert_eq!(lag["totals"]["behind_seconds"], 0.0, "{lag}");

    assert!(worker.stop());
    let began = Instant::now();
    shop.hold(event, "cid", &[3]).await;
    let lag = shop.ctl("lag --json").await.json(0);
    assert_eq!(totals(&lag), json!([4, 1, 0, 0]), "{lag}");
    // The age of the waiting entries, not of those archived before.
    let behind = lag["totals"]["behind_seconds"].as_f64().unwrap();
    assert!(behind <= began.elapsed().as_secs_f64() + 0.005, "{lag}");

    // Delivered and never acknowledged: a worker died with it.
    let engine = &shop.world.engine;
    let partition = engine.keys().partition_of(event);
    let reader = engine.lane_reader(&[partition], 20).await.unwrap();
    assert_eq!(reader.group(WORKER_GROUP, "dead", 10).await.unwrap().len(), 1);
    reader.close().await;
    let lag = shop.ctl("lag --json").await.json(0);
    assert_eq!(totals(&lag), json!([4, 0, 1, 0]), "{lag}");
    let line = &lag["partitions"][usize::from(partition.0)];
    assert_eq!(line["oldest_pending_seconds"], line["behind_seconds"]);
    assert_ne!(line["newest"], line["watermark"]);
    let table = shop.ctl("lag").await.stdout;
    assert_eq!(table.lines().count(), 3, "{table}");
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_newest_first() {
    let shop = Shop::any().await;
    let empty = shop.ctl("dead-letters list").await;
    assert_eq!((empty.code, empty.stdout.as_str()), (0, "No dead letters.\n"));

    let _worker = shop.worker().await;
    let keys = shop.world.engine.keys().clone();
    for (partition, booking) in keys.all_partitions().zip(["b0", "b1", "b2"]) {
        let log = keys.log(partition);
        shop.redis.command(&[
            "XADD",
            &log,
            "*",
            "entry",
            &format!("2\tsold\tx\t1\t1\t1\ttag\t0-0 tag\t{booking}"),
        ]);
        shop.archived().await;
    }
    let listed = shop.ctl("dead-letters list --count 2 --json").await.json(0);
    assert_eq!(listed["total"], 3, "{listed}");
    let letters = listed["dead_letters"].as_array().unwrap();
    let bookings: Vec<&Value> = letters.iter().map(|letter| &letter["booking"]).collect();
    assert_eq!(bookings, ["b2", "b1"]);
    assert_eq!((&letters[0]["kind"], &letters[0]["partition"]), (&json!("sold"), &json!(2)));
    assert_eq!(letters[0]["reason"], "unreadable event");
    let table = shop.ctl("dead-letters list --count 1").await.stdout;
    assert!(
        table.contains("unreadable event") && table.contains("3 in all; older ones: --before 2:"),
        "{table}"
    );
    assert_eq!(shop.ctl("lag --json").await.json(0)["totals"]["dead_letters"], 3);
}
