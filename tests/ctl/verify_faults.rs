//! `verify` finds every deliberate fault, with the right words.

use holdfast::domain::{BookingId, EventId};
use mongodb::bson::{Document, doc};

use super::Shop;

/// A shop with an event of ten seats: 1 and 2 sold to ann, 3 held by bob; all archived.
struct Broken {
    shop: Shop,
    event: EventId,
    sold: BookingId,
    held: BookingId,
}

impl Broken {
    async fn new() -> Self {
        let shop = Shop::any().await;
        let worker = shop.worker().await;
        let event = shop.world.event(10).await;
        let sold = shop.buy(event, "ann", &[1, 2]).await;
        let held = shop.hold(event, "bob", &[3]).await;
        shop.archived().await;
        // No worker repairs the fault.
        assert!(worker.stop());
        Broken { shop, event, sold, held }
    }

    fn redis(&self, words: &[&str]) {
        let line = self.shop.redis.command(words);
        assert!(!line.starts_with('-'), "{words:?}: {line}");
    }

    /// `seats`, `bookings` and so on, as `docs/ARCHITECTURE` names an event's keys.
    fn key(&self, name: &str) -> String {
        let keys = self.shop.world.engine.keys().event_keys(self.event);
        keys.into_iter().find(|key| key.contains(&format!(":{name}:"))).expect("a known key")
    }

    fn log(&self) -> String {
        let keys = self.shop.world.engine.keys();
        keys.log(keys.partition_of(self.event))
    }

    async fn entry(&self, from_the_end: usize) -> String {
        let partition = self.shop.world.engine.keys().partition_of(self.event);
        let all = self.shop.world.engine.range(partition, Default::default(), None, 100);
        let all = all.await.unwrap();
        all[all.len() - from_the_end].id.to_string()
    }

    async fn remove(&self, collection: &str, filter: Document) {
        let collection = self.shop.collection(collection).await;
        assert_eq!(collection.delete_one(filter).await.unwrap().deleted_count, 1);
    }

    /// The problems that verify reports; it must exit with 1.
    async fn problems(&self) -> String {
        let report = self.shop.ctl("verify --json --wait-seconds 0").await.json(1);
        assert_eq!(report["clean"], false);
        let lists = [&report["partitions"], &report["events"]].map(|list| list.as_array().unwrap());
        let mut problems = report["problems"].as_array().unwrap().clone();
        for one in lists.into_iter().flatten() {
            problems.extend(one["problems"].as_array().unwrap().iter().cloned());
        }
        let problems: Vec<&str> =
            problems.iter().map(|problem| problem.as_str().unwrap()).collect();
        let table = self.shop.ctl("verify --wait-seconds 0").await;
        assert!(table.code == 1 && table.stdout.contains("NOT CLEAN"), "{table:?}");
        assert!(problems.iter().all(|problem| table.stdout.contains(problem)), "{table:?}");
        problems.join("\n")
    }
}

/// One test per fault: causes one fault, and expects these words.
macro_rules! fault {
    ($name:ident, $expected:literal, |$broken:ident| $break_it:expr) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let $broken = Broken::new().await;
            $break_it;
            let problems = $broken.problems().await;
            assert!(problems.contains($expected), "{:?} not in {problems:?}", $expected);
        }
    };
}

fault!(missing_claim_is_found, "does not own the claim on seat 2", |broken| {
    broken.remove("claims", doc! { "_id": format!("{}:2", broken.event) }).await
});

fault!(missing_archived_booking_is_found, "(HOLD) is not archived", |broken| {
    broken.remove("bookings", doc! { "_id": broken.held.to_string() }).await
});

fault!(missing_transition_is_found, "is not in the archive's ledger", |broken| {
    broken.remove("transitions", doc! { "booking": broken.held.to_string() }).await
});

fault!(missing_event_is_found, "is in Redis, but not in the archive", |broken| {
    broken.remove("events", doc! { "_id": i64::from(broken.event.0) }).await
});

fault!(double_sale_is_found, "DOUBLE SALE of seat 1", |broken| {
    let bookings = broken.shop.collection("bookings").await;
    let sold = bookings.find_one(doc! { "_id": broken.sold.to_string() }).await.unwrap();
    let mut twin = sold.unwrap();
    twin.insert("_id", BookingId::new(broken.event, 1, 1).to_string());
    bookings.insert_one(twin).await.unwrap();
});

fault!(changed_outcome_is_found, "against its outcome", |broken| {
    let bookings = broken.shop.collection("bookings").await;
    let sold = doc! { "_id": broken.sold.to_string() };
    bookings.update_one(sold, doc! { "$set": { "outcome": "refund" } }).await.unwrap();
});

fault!(
    seat_without_a_holder_is_found,
    "seat 7 is HOLD in Redis, no live booking has it",
    |broken| { broken.redis(&["SETRANGE", &broken.key("seats"), "7", "h"]) }
);

fault!(freed_sold_seat_is_found, "seat 1 is AVAILABLE in Redis", |broken| {
    broken.redis(&["SETRANGE", &broken.key("seats"), "1", "A"])
});

fault!(invalid_inventory_byte_is_found, "inventory cannot be read", |broken| {
    broken.redis(&["SETRANGE", &broken.key("seats"), "7", "?"])
});

fault!(wrong_counter_is_found, "7 seats are free, Redis counts 8", |broken| {
    broken.redis(&["HINCRBY", &broken.key("event"), "available", "1"])
});

fault!(wrong_user_count_is_found, "user bob has 1 seats, Redis counts 3", |broken| {
    broken.redis(&["HINCRBY", &broken.key("users"), "bob", "2"])
});

fault!(unindexed_ended_booking_is_found, "ended and is not indexed", |broken| {
    broken.shop.cancel("bob", broken.held).await;
    broken.redis(&["DEL", &broken.key("ended")]);
});

fault!(live_booking_indexed_as_ended_is_found, "of ended bookings names", |broken| {
    broken.redis(&["ZADD", &broken.key("ended"), "1", &broken.sold.to_string()])
});

fault!(block_missing_in_the_ledger_is_found, "seat 7 is BLOCKED in Redis, not by the", |broken| {
    broken.redis(&["SETRANGE", &broken.key("seats"), "7", "x"]);
    broken.redis(&["HINCRBY", &broken.key("event"), "available", "-1"]);
});

fault!(lost_event_is_found, "Redis does not have this event", |broken| {
    broken.redis(&["DEL", &broken.key("event")])
});

fault!(booking_lost_by_redis_is_found, "STRAY", |broken| {
    broken.redis(&["HDEL", &broken.key("bookings"), &broken.held.to_string()])
});

fault!(unreadable_booking_is_found, "in Redis: unreadable format", |broken| {
    broken.redis(&["HSET", &broken.key("bookings"), &broken.held.to_string(), "x\ty"])
});

fault!(unparked_garbage_is_found, "in no dead letter", |broken| {
    broken.redis(&["XADD", &broken.log(), "*", "garbage", "in"])
});

fault!(parked_transition_is_found, "is not in the archive's ledger (parked: refused)", |broken| {
    let engine = &broken.shop.world.engine;
    let partition = engine.keys().partition_of(broken.event);
    let log = engine.range(partition, Default::default(), None, 100).await.unwrap();
    engine.park(partition, log.last().unwrap(), "refused").await.unwrap();
    broken.remove("transitions", doc! { "booking": broken.held.to_string() }).await;
});

fault!(removed_entry_is_found, "does not follow its predecessor", |broken| {
    broken.redis(&["XDEL", &broken.log(), &broken.entry(2).await])
});

fault!(removed_newest_entry_is_found, "but its newest entry is", |broken| {
    broken.redis(&["XDEL", &broken.log(), &broken.entry(1).await])
});

fault!(unarchived_log_is_found, "archived up to", |broken| {
    broken.shop.hold(broken.event, "cid", &[4]).await
});
