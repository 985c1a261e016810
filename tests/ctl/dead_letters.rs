//! `dead-letters show` and `replay`: parked entries are processed once, despite concurrent work.

use std::time::Duration;

use holdfast::domain::{BookingId, EventId, Status};
use holdfast::redis::DeadLetter;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use super::Shop;
use crate::on_one_redis;
use crate::support::servers::{shared_mongodb, shared_redis};
use crate::support::world::{World, impatient};
use crate::support::{Flavor, eventually};

/// A shop whose sales do not wait for the archive.
async fn impatient_shop(flavor: Flavor) -> Shop {
    let redis = shared_redis(flavor);
    Shop { world: World::with(redis, shared_mongodb(), impatient()).await, redis }
}

async fn letters(shop: &Shop) -> Vec<Value> {
    let listed = shop.ctl("dead-letters list --json").await.json(0);
    listed["dead_letters"].as_array().unwrap().clone()
}

fn ids(letters: &[Value]) -> Vec<&str> {
    letters.iter().map(|letter| letter["id"].as_str().unwrap()).collect()
}

/// The results of a replay, by letter.
fn results(result: &Value) -> Vec<(&str, &Value)> {
    let letters = result["letters"].as_array().unwrap().iter();
    letters.map(|one| (one["fate"].as_str().unwrap(), &one["outcome"])).collect()
}

/// Parks a letter again by hand.
fn park_again(shop: &Shop, event: EventId, letter: &DeadLetter) {
    let keys = shop.world.engine.keys();
    let key = keys.dead_letters(keys.partition_of(event));
    let own: Vec<(String, &String)> =
        letter.fields.iter().map(|(name, value)| (format!("entry.{name}"), value)).collect();
    let mut words = vec!["XADD", &key, "*", "entry_id", &letter.entry_id, "reason", &letter.reason];
    words.extend(own.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]));
    shop.redis.command_value(&words);
}

on_one_redis!(parked_sale_is_replayed_to_its_end, async |flavor| {
    let shop = impatient_shop(flavor).await;
    let event = shop.world.event(10).await;
    // An unreadable claim: the archive cannot decide a sale of this seat.
    let claims = shop.collection("claims").await;
    let id = format!("{event}:1");
    claims.insert_one(doc! { "_id": &id, "owner": "garbage" }).await.unwrap();
    let sold = shop.world.hold("ann", event, &[1, 2], None).await.unwrap();
    shop.world.confirm(&sold).await.unwrap();
    let booking = sold.booking.id;
    let _worker = shop.worker().await;
    shop.archived().await;
    assert_eq!(shop.world.status(booking).await, Some(Status::Committed));
    let parked = letters(&shop).await;
    assert_eq!(parked.len(), 1, "{parked:?}");
    let letter = parked[0]["id"].as_str().unwrap();
    let show = async || shop.ctl(&format!("dead-letters show {letter} --json")).await;
    let shown = show().await.json(0);
    assert_eq!((&shown["id"], &shown["readable"]), (&json!(letter), &json!(true)));
    assert_eq!(shown["fields"]["booking"], booking.to_string());
    assert!(shown["reason"].as_str().unwrap().contains("garbage"), "{shown}");
    assert!(shown["means"].as_str().unwrap().contains("its buyer waits"), "{shown}");
    let todo = shown["todo"].as_str().unwrap();
    assert!(todo.contains(&format!("replay {letter}")), "{todo}");
    assert!(todo.contains(&format!("bookings show {booking}")), "{todo}");

    // Nothing was corrected: it stays.
    let replay = async |flags: &str| shop.ctl(&format!("dead-letters replay {flags} --json")).await;
    let result = replay(letter).await.json(1);
    assert_eq!((results(&result), &result["stay"]), (vec![("stays", &Value::Null)], &json!(1)));
    assert!(result["letters"][0]["note"].as_str().unwrap().contains("garbage"), "{result}");
    claims.delete_one(doc! { "_id": &id }).await.unwrap();
    // As if it had never been stored.
    let ledger = shop.collection("transitions").await;
    let sale = doc! { "booking": booking.to_string(), "kind": "sold" };
    assert_eq!(ledger.delete_one(sale).await.unwrap().deleted_count, 1);
    let report = shop.ctl("verify --wait-seconds 0 --json").await.json(1).to_string();
    assert!(report.contains("is not in the archive's ledger (parked: "), "{report}");

    let foreseen = replay(&format!("{letter} --dry-run")).await.json(0);
    assert_eq!(results(&foreseen), [("would_be_replayed", &Value::Null)]);
    assert_eq!((&foreseen["dry_run"], &foreseen["replayed"]), (&json!(true), &json!(1)));
    assert_eq!(shop.world.status(booking).await, Some(Status::Committed));
    assert_eq!(letters(&shop).await.len(), 1);

    let key = shop.world.engine.keys().partition_of(event);
    let kept = shop.world.engine.dead_letters(key, None, 1).await.unwrap().remove(0);
    let result = replay(letter).await.json(0);
    assert_eq!(results(&result), [("replayed", &json!("sold"))]);
    assert_eq!(shop.world.status(booking).await, Some(Status::Confirmed));
    assert!(letters(&shop).await.is_empty());
    assert_eq!(shop.ctl("verify --json").await.json(0)["clean"], true);
    let again = replay(letter).await;
    assert!(again.refusal().contains("replayed already, or never there"), "{again:?}");

    // A crash before it was removed: replayed again, it changes nothing.
    let version = async || {
        let report = shop.ctl(&format!("bookings show {booking} --json")).await.json(0);
        (report["redis"]["version"].clone(), report["history"].as_array().unwrap().len())
    };
    let before = version().await;
    park_again(&shop, event, &kept);
    let foreseen = replay("--all --dry-run").await.json(0);
    assert_eq!(foreseen["letters"][0]["note"], "the ledger has it already");
    assert_eq!(results(&replay("--all").await.json(0)), [("replayed", &json!("sold"))]);
    assert_eq!((version().await, letters(&shop).await.len()), (before, 0));

    // The same after the sale was cancelled.
    park_again(&shop, event, &kept);
    shop.cancel("ann", booking).await;
    assert_eq!(results(&replay("--all").await.json(0)), [("replayed", &json!("cancelled"))]);
    assert_eq!(shop.world.status(booking).await, Some(Status::Cancelled));
    assert_eq!(shop.world.free(event).await, Some(10));
    assert_eq!(shop.ctl("verify --json").await.json(0)["clean"], true);
});

/// Sales that could not be settled: their event was missing when the worker looked it up.
async fn unsettled(shop: &Shop, sales: u32) -> (EventId, Vec<BookingId>) {
    let event = shop.world.event(20).await;
    let sold = shop.world.sell(event, 1..=sales).await;
    let events = shop.collection("events").await;
    let id = doc! { "_id": i64::from(event.0) };
    let document: Document = events.find_one_and_delete(id).await.unwrap().unwrap();
    let worker = shop.worker().await;
    shop.archived().await;
    assert!(worker.stop());
    assert_eq!(letters(shop).await.len(), sales as usize);
    events.insert_one(document).await.unwrap();
    (event, sold.into_iter().map(|view| view.booking.id).collect())
}

on_one_redis!(concurrent_replays_store_each_letter_once, async |flavor| {
    let shop = impatient_shop(flavor).await;
    let (event, sold) = unsettled(&shop, 8).await;
    let _worker = shop.worker().await;
    let (one, two) = tokio::join!(
        shop.ctl("dead-letters replay --all --json"),
        shop.ctl("dead-letters replay --all --json")
    );
    let (one, two) = (one.json(0), two.json(0));
    for result in [&one, &two] {
        assert_eq!(result["stay"], 0, "{result}");
        assert!(
            results(result).iter().all(|fate| *fate == ("replayed", &json!("sold"))),
            "{result}"
        );
    }
    assert!(one["replayed"].as_u64().unwrap() + two["replayed"].as_u64().unwrap() >= 8);
    for booking in &sold {
        assert_eq!(shop.world.status(*booking).await, Some(Status::Confirmed));
    }
    assert!(letters(&shop).await.is_empty());
    shop.world.archive_is_exact(event).await;
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replayed_sale_is_confirmed_to_its_waiting_buyer() {
    let shop = impatient_shop(Flavor::Valkey).await;
    let (_, sold) = unsettled(&shop, 1).await;
    let letter = letters(&shop).await.remove(0);
    assert_eq!(letter["reason"], "event 1 is not in the archive");
    // Without a worker: the replay itself settles.
    shop.ctl("dead-letters replay --all").await.ended(0);
    let bound = Duration::from_secs(20);
    eventually("it is CONFIRMED", bound, async || {
        shop.world.status(sold[0]).await == Some(Status::Confirmed)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_letter_stays() {
    let shop = Shop::any().await;
    let _worker = shop.worker().await;
    let keys = shop.world.engine.keys().clone();
    let partition = keys.partition_of(shop.world.event(2).await);
    let log = keys.log(partition);
    shop.redis.command(&["XADD", &log, "*", "foo", "bar\tbaz"]);
    shop.redis.command(&["XADD", &log, "*", "entry", "2\tsold\tx\t1\t1\t1\ttag\t0-0 tag\tb0"]);
    shop.archived().await;
    let parked = letters(&shop).await;
    let all = shop.ctl("dead-letters replay --all --json").await.json(1);
    assert_eq!(results(&all), [("stays", &Value::Null), ("stays", &Value::Null)]);
    assert_eq!(all["letters"][0]["note"], "unreadable v");
    let dry = shop.ctl("dead-letters replay --all --dry-run --json").await.json(1);
    assert_eq!((&dry["stay"], &dry["replayed"]), (&json!(2), &json!(0)));
    let table = shop.ctl("dead-letters replay --all").await;
    assert!(table.code == 1 && table.stdout.contains("0 replayed, 2 stay"), "{table:?}");
    let still = letters(&shop).await;
    assert_eq!(ids(&still), ids(&parked));

    // Oldest first there, newest first here.
    let expected = ["This build cannot read it", "It calls itself a paid sale"];
    for (letter, means) in ids(&parked).into_iter().rev().zip(expected) {
        let shown = shop.ctl(&format!("dead-letters show {letter} --json")).await.json(0);
        assert_eq!(shown["readable"], false);
        assert!(shown["means"].as_str().unwrap().starts_with(means), "{shown}");
        let text = shop.ctl(&format!("dead-letters show {letter}")).await.stdout;
        assert!(text.contains("means") && !text.contains('\t'), "{text}");
    }
    // Parked garbage is no problem of the sale.
    assert_eq!(shop.ctl("verify --json").await.json(0)["clean"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ambiguous_letter_id_is_refused() {
    let shop = Shop::any().await;
    let keys = shop.world.engine.keys().clone();
    for partition in keys.all_partitions().take(2) {
        let key = keys.dead_letters(partition);
        shop.redis.command(&["XADD", &key, "5-1", "entry_id", "1-1", "reason", "x"]);
    }
    let doubtful = shop.ctl("dead-letters show 5-1").await;
    assert!(doubtful.refusal().contains("several dead letters: 0:5-1 and 1:5-1"), "{doubtful:?}");
    let shown = shop.ctl("dead-letters show 1:5-1 --json").await.json(0);
    assert_eq!((&shown["partition"], &shown["id"]), (&json!(1), &json!("1:5-1")));
    // An unknown id, and nothing is done with the other one.
    let ran = shop.ctl("dead-letters replay 0:5-1 9-9").await;
    assert!(ran.refusal().contains("no dead letter 9-9"), "{ran:?}");
    for (line, expected) in [
        ("dead-letters show x", "an id as `dead-letters list` shows it"),
        ("dead-letters replay", "--all"),
        ("dead-letters replay 0:5-1 --all", "cannot be used with"),
    ] {
        let ran = shop.ctl(line).await;
        assert!(ran.code == 2 && ran.stderr.contains(expected), "{line}: {ran:?}");
    }
}

#[tokio::test]
async fn letters_are_listed_page_by_page() {
    let shop = Shop::any().await;
    let keys = shop.world.engine.keys();
    let mut partitions = keys.all_partitions();
    let (one, two) = (partitions.next().unwrap(), partitions.next().unwrap());
    // Two of them at the same position of two partitions.
    for (partition, place) in [(one, "5-1"), (one, "7-1"), (two, "6-1"), (two, "7-1"), (one, "9-1")]
    {
        let key = keys.dead_letters(partition);
        let words = ["XADD", key.as_str(), place, "entry_id", "1-1", "reason", "garbage"];
        shop.redis.command_value(&words);
    }
    let whole = letters(&shop).await;
    let whole = ids(&whole);
    assert_eq!(whole, ["0:9-1", "0:7-1", "1:7-1", "1:6-1", "0:5-1"]);
    for count in 1..=5 {
        let (mut paged, mut before) = (Vec::new(), String::new());
        loop {
            let line = format!("dead-letters list --count {count}{before} --json");
            let page = shop.ctl(&line).await.json(0);
            assert_eq!(page["total"], 5);
            paged.extend(page["dead_letters"].as_array().unwrap().clone());
            match page["next"].as_str() {
                Some(next) => before = format!(" --before {next}"),
                None => break,
            }
        }
        assert_eq!(ids(&paged), whole, "{count} a page");
    }
    let refused = shop.ctl("dead-letters list --before 7-1").await;
    assert!(refused.stderr.contains("with its partition"), "{refused:?}");
}
