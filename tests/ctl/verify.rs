//! `verify` on a correct sale: idle, running, large, with parked garbage.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use holdfast::domain::{EventId, LogId};
use holdfast::redis::WORKER_GROUP;
use serde_json::{Value, json};

use super::Shop;
use crate::on_one_redis;

/// The parts of an event's line that tests compare.
fn counts(report: &Value) -> Value {
    let event = &report["events"][0];
    let names = ["capacity", "free", "held", "sold", "blocked", "bookings_in_redis"];
    names.iter().map(|name| event[name].clone()).collect()
}

on_one_redis!(sale_without_faults_is_clean, async |flavor| {
    let shop = Shop::new(flavor).await;
    let _worker = shop.worker().await;
    let event = shop.world.event(10).await;
    shop.buy(event, "ann", &[1, 2]).await;
    shop.hold(event, "bob", &[3]).await;
    let given_up = shop.hold(event, "cid", &[4]).await;
    shop.cancel("cid", given_up).await;
    let sold_back = shop.buy(event, "dan", &[5]).await;
    shop.cancel("dan", sold_back).await;
    shop.buy(event, "eve", &[5, 6]).await;

    let report = shop.ctl("verify --json").await.json(0);
    assert_eq!(report["clean"], true, "{report}");
    assert_eq!(counts(&report), json!([10, 5, 1, 4, 0, 5]), "{report}");
    assert_eq!(report["events"][0]["bookings_in_archive"], 5);
    let partition = shop.world.engine.keys().partition_of(event).0;
    assert_eq!(report["partitions"].as_array().unwrap().len(), 4);
    let log = &report["partitions"][usize::from(partition)];
    assert!(log["entries"].as_u64().unwrap() > 10, "{report}");
    assert_eq!(log["position"], log["watermark"]);

    let table = shop.ctl("verify").await;
    assert!(table.code == 0 && table.stdout.contains("Clean: 1 event"), "{table:?}");
    let one = shop.ctl(&format!("verify --json --event {event}")).await.json(0);
    assert_eq!((one["partitions"].as_array().unwrap().len(), counts(&one)), (1, counts(&report)));
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parked_garbage_is_counted_and_its_neighbours_are_checked() {
    let shop = Shop::any().await;
    let _worker = shop.worker().await;
    let event = shop.world.event(10).await;
    let engine = &shop.world.engine;
    let partition = engine.keys().partition_of(event);
    let log = engine.keys().log(partition);
    shop.hold(event, "ann", &[1]).await;
    shop.redis.command(&["XADD", &log, "*", "garbage", "in"]);
    shop.hold(event, "bob", &[2]).await;
    shop.redis.command(&["XADD", &log, "*", "entry", "2\thold"]);
    let report = shop.ctl("verify --json").await.json(0);
    let parked: u64 = report["partitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["parked"].as_u64().unwrap())
        .sum();
    assert_eq!(parked, 2, "{report}");

    let first_hold = engine.range(partition, LogId::default(), None, 2).await.unwrap()[1].id;
    let first_hold = first_hold.to_string();
    shop.redis.command(&["XDEL", &log, &first_hold]);
    let report = shop.ctl("verify --json").await.json(1).to_string();
    assert!(report.contains("does not follow its predecessor"), "{report}");
}

/// A pause of the churn.
const CHURN_PAUSE: Duration = Duration::from_millis(10);
/// Entries that may wait for the archive before the churn continues: it never outruns a slow machine.
const CHURN_AHEAD_MAX: u64 = 20;
/// Most repetitions of a comparison that found the archive behind.
const LOOKS_MAX: u32 = 5;

/// Holds and cancels the seats from `first` on, one after the other, until `stop`. A hold whose response
/// is late on a busy machine is undone in the background, or lapses.
async fn churn(shop: &Shop, event: EventId, first: u32, stop: &AtomicBool) {
    let partition = shop.world.engine.keys().partition_of(event);
    let is_archived = async || {
        let engine = &shop.world.engine;
        let Ok(state) = engine.log_state(partition, WORKER_GROUP).await else { return false };
        let above = state.watermark().next();
        let ahead = engine.range(partition, above, None, CHURN_AHEAD_MAX).await;
        ahead.is_ok_and(|ahead| (ahead.len() as u64) < CHURN_AHEAD_MAX)
    };
    let mut done = 0;
    for round in 0.. {
        while !is_archived().await && !stop.load(Ordering::SeqCst) {
            tokio::time::sleep(CHURN_PAUSE).await;
        }
        let (user, seat) = (format!("u{first}_{round}"), first + round % 10);
        if let Ok(held) = shop.world.hold(&user, event, &[seat], None).await {
            done += 1;
            let _ = shop.world.sale.cancel(&held.booking.user, held.booking.id).await;
        }
        tokio::time::sleep(CHURN_PAUSE).await;
        if stop.load(Ordering::SeqCst) {
            break;
        }
    }
    assert!(done > 0, "the sale went on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_sale_is_clean_and_its_faults_are_found() {
    let shop = Shop::any().await;
    let _worker = shop.worker().await;
    let event = shop.world.event(100).await;
    let stop = AtomicBool::new(false);
    let look = async {
        let mut looks = 0;
        while shop.ctl("verify --json --wait-seconds 60").await.code != 0 {
            looks += 1;
            assert!(looks < LOOKS_MAX, "a running sale is clean");
        }
        // A seat without a holder, which the churn never touches.
        let seats = shop.world.engine.keys().event_keys(event)[1].clone();
        shop.redis.command(&["SETRANGE", &seats, "100", "b"]);
        // Found during the sale. Where the archive of a busy machine is behind, there is more to report.
        let broken = shop.ctl("verify --json --wait-seconds 5").await.json(1);
        let is_found = |line: &&str| line.contains("seat 100 is BOOKED in Redis");
        assert!(problems(&broken).iter().any(is_found), "{broken}");
        stop.store(true, Ordering::SeqCst);
    };
    tokio::join!(churn(&shop, event, 1, &stop), churn(&shop, event, 11, &stop), look);
    shop.archived().await;
    let broken = shop.ctl("verify --json --wait-seconds 5").await.json(1);
    let is_of_seat = |line: &&str| line.contains("seat 100 ") || line.contains(" free,");
    assert!(problems(&broken).iter().all(is_of_seat), "{broken}");
}

fn problems(report: &Value) -> Vec<&str> {
    let problems = report["events"][0]["problems"].as_array().unwrap();
    problems.iter().filter_map(Value::as_str).collect()
}

/// More bookings than one page, so that every list is read in several pages.
const MANY: u32 = 1_200;

/// An event of `MANY` held seats and a free one, archived.
async fn many_held(shop: &Shop) -> EventId {
    let event = shop.world.event(MANY + 1).await;
    let hold = async |seat: u32| shop.hold(event, &format!("u{seat}"), &[seat]).await;
    let seats: Vec<u32> = (1..=MANY).collect();
    for some in seats.chunks(50) {
        join_all(some.iter().map(|seat| hold(*seat))).await;
    }
    shop.archived().await;
    event
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_event_is_read_in_pages() {
    let shop = Shop::any().await;
    let _worker = shop.worker().await;
    let event = many_held(&shop).await;
    shop.buy(event, "buyer", &[MANY + 1]).await;
    let report = shop.ctl("verify --json").await.json(0);
    assert_eq!(counts(&report), json!([MANY + 1, 0, MANY, 1, 0, MANY + 1]), "{report}");
    assert_eq!(report["events"][0]["bookings_in_archive"], MANY + 1);

    // One of many, at any position.
    let holders = shop.world.engine.keys().holders(event);
    shop.redis.command(&["HDEL", &holders, "1111"]);
    let report = shop.ctl("verify --json").await.json(1);
    let problems = &report["events"][0]["problems"];
    assert_eq!(problems.as_array().unwrap().len(), 1, "{problems}");
    assert!(problems[0].as_str().unwrap().starts_with("seat 1111 has no holder"), "{problems}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_trimmed_during_verify_is_clean() {
    let shop = Shop::any().await;
    let worker = shop.worker().await;
    let event = many_held(&shop).await;
    assert!(worker.stop());
    let engine = &shop.world.engine;
    let partition = engine.keys().partition_of(event);
    let log = engine.range(partition, LogId::default(), None, 10_000).await.unwrap();
    let done = AtomicBool::new(false);
    let trim = async {
        // All but the newest, during the time that a verify takes.
        for read in log.iter().step_by(10) {
            engine.trim_below(partition, read.id).await.unwrap();
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        done.store(true, Ordering::SeqCst);
    };
    let look = async {
        while !done.load(Ordering::SeqCst) {
            shop.ctl("verify --json --wait-seconds 60").await.json(0);
        }
    };
    tokio::join!(trim, look);
}
