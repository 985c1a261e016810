//! The record of admin acts: of this tool's own, and of those over HTTP.

use std::time::Duration;

use serde_json::{Value, json};

use super::Shop;
use crate::support::servers::{private_mongodb, shared_redis};
use crate::support::world::World;
use crate::support::{Flavor, eventually};

fn part<'a>(acts: &'a Value, name: &str) -> Vec<&'a str> {
    let acts = acts["acts"].as_array().unwrap().iter();
    acts.map(|act| act[name].as_str().unwrap_or("-")).collect()
}

#[tokio::test]
async fn changes_of_the_tool_are_recorded() {
    let shop = Shop::any().await;
    let line = "event create --name x --general Floor:100:4 --json";
    let event = shop.ctl(line).await.json(0)["id"].as_u64().unwrap();
    shop.ctl(&format!("event pause {event}")).await.ended(0);
    shop.ctl(&format!("seats block {event} --seats 1 --reason press")).await.ended(0);
    let refused = shop.ctl("event close 999").await;
    assert!(refused.refusal().contains("event 999 does not exist"), "{refused:?}");
    shop.ctl("access deny user:eve --reason scraping").await.ended(0);
    // Those that look only are not.
    for line in ["status", "event list", "verify", "reconcile", "audit", "lag", "limits list"] {
        shop.ctl(line).await;
    }
    let acts = shop.ctl("audit --json").await.json(0);
    let expected = [
        "ctl access deny",
        "ctl event close",
        "ctl seats block",
        "ctl event pause",
        "ctl event create",
    ];
    assert_eq!(part(&acts, "act"), expected);
    let of = format!("event {event}");
    assert_eq!(part(&acts, "target"), ["policy", "event 999", &of, &of, ""]);
    assert_eq!(part(&acts, "detail")[3], format!("event pause {event}"));
    let results = part(&acts, "result");
    assert!(results[1].contains("event 999 does not exist"), "{acts}");
    assert_eq!((results[0], &results[2..]), ("ok", &["ok"; 3][..]));
    let who = part(&acts, "who")[0].to_owned();
    assert!(who.starts_with("ctl:") && who.contains('@') && !who.contains('?'), "{who}");
    assert!(part(&acts, "who").iter().all(|one| *one == who), "{acts}");
    assert!(acts["acts"].as_array().unwrap().iter().all(|act| act["trace_id"].is_null()));

    let newest = shop.ctl(&format!("audit --limit 2 --who {who} --json")).await.json(0);
    assert_eq!(part(&newest, "act"), expected[..2]);
    // Page by page it is the same.
    let mut paged = part(&newest, "act").iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut next = newest["next"].as_str().map(str::to_owned);
    while let Some(before) = next {
        let line = format!("audit --limit 2 --before {before} --json");
        let page = shop.ctl(&line).await.json(0);
        paged.extend(part(&page, "act").iter().map(ToString::to_string));
        next = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(paged, expected);
    let refused = shop.ctl("audit --before x").await;
    assert!(refused.stderr.contains("the `next` of a page"), "{refused:?}");
    assert_eq!(shop.ctl("audit --who box-office --json").await.json(0), json!({ "acts": [] }));
    let table = shop.ctl("audit").await;
    table.ended(0);
    assert_eq!(table.stdout.lines().count(), 6, "{table:?}");
    let refused = shop.ctl("audit --limit 0").await;
    assert!(refused.stderr.contains("1..=10000"), "{refused:?}");
}

#[tokio::test]
async fn act_is_recorded_before_it_is_carried_out() {
    let shop = Shop::any().await;
    let event = shop.world.event(4).await;
    // Nobody listens there: what is recorded by then was recorded first.
    let settings = [("HOLDFAST_REDIS_URL", "redis://127.0.0.1:1")];
    let ran = shop.ctl_with(&format!("event pause {event}"), &settings).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    let acts = shop.ctl("audit --json").await.json(0);
    assert_eq!(part(&acts, "act"), ["ctl event pause"]);
    assert!(part(&acts, "result")[0].to_lowercase().contains("redis"), "{acts}");
}

#[tokio::test]
async fn admin_act_that_cannot_be_recorded_is_not_done() {
    let mongodb = private_mongodb();
    let redis = shared_redis(Flavor::Valkey);
    let world = World::new(redis, &mongodb).await;
    let event = world.event(4).await;
    let shop = Shop { world, redis };
    let url = mongodb.url();
    let settings =
        [("HOLDFAST_MONGODB_URL", url.as_str()), ("HOLDFAST_MONGODB_TIMEOUT_MS", "2000")];
    mongodb.freeze();
    let line = format!("seats block {event} --seats 1 --reason press");
    let ran = shop.ctl_with(&line, &settings).await;
    assert!(ran.refusal().contains("MongoDB"), "{ran:?}");
    mongodb.thaw();
    eventually("it answers again", Duration::from_secs(30), async || {
        shop.ctl_with("audit --json", &settings).await.code == 0
    })
    .await;
    assert_eq!(shop.world.free(event).await, Some(4));
}
