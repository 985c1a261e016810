//! `verify` does not lie: whatever is broken on purpose is found, with the right words.

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
        // Nobody mends what is broken now.
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

    /// What verify tells; it must end with 1.
    async fn told(&self) -> String {
        let report = self.shop.ctl("verify --json --wait-seconds 0").await.json(1);
        assert_eq!(report["clean"], false);
        let lists = [&report["partitions"], &report["events"]].map(|list| list.as_array().unwrap());
        let mut told = report["problems"].as_array().unwrap().clone();
        for one in lists.into_iter().flatten() {
            told.extend(one["problems"].as_array().unwrap().iter().cloned());
        }
        let told: Vec<&str> = told.iter().map(|problem| problem.as_str().unwrap()).collect();
        let table = self.shop.ctl("verify --wait-seconds 0").await;
        assert!(table.code == 1 && table.stdout.contains("NOT CLEAN"), "{table:?}");
        assert!(told.iter().all(|problem| table.stdout.contains(problem)), "{table:?}");
        told.join("\n")
    }
}

/// One test a fault: breaks one thing, and expects these words.
macro_rules! fault {
    ($name:ident, $expected:literal, |$broken:ident| $break_it:expr) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let $broken = Broken::new().await;
            $break_it;
            let told = $broken.told().await;
            assert!(told.contains($expected), "{:?} not in {told:?}", $expected);
        }
    };
}

fault!(a_missing_claim, "does not own the claim on seat 2", |broken| {
    broken.remove("claims", doc! { "_id": format!("{}:2", broken.event) }).await
});

fault!(a_missing_booking_in_the_archive, "(HOLD) is not archived", |broken| {
    broken.remove("bookings", doc! { "_id": broken.held.to_string() }).await
});

fault!(a_missing_transition, "is not in the archive's ledger", |broken| {
    broken.remove("transitions", doc! { "booking": broken.held.to_string() }).await
});

fault!(a_missing_event, "is in Redis, but not in the archive", |broken| {
    broken.remove("events", doc! { "_id": i64::from(broken.event.0) }).await
});

fault!(a_double_sale, "DOUBLE SALE of seat 1", |broken| {
    let bookings = broken.shop.collection("bookings").await;
    let sold = bookings.find_one(doc! { "_id": broken.sold.to_string() }).await.unwrap();
    let mut twin = sold.unwrap();
    twin.insert("_id", BookingId::new(broken.event, 1, 1).to_string());
    bookings.insert_one(twin).await.unwrap();
});

fault!(an_outcome_undone, "against its outcome", |broken| {
    let bookings = broken.shop.collection("bookings").await;
    let sold = doc! { "_id": broken.sold.to_string() };
    bookings.update_one(sold, doc! { "$set": { "outcome": "refund" } }).await.unwrap();
});

fault!(a_seat_held_by_nobody, "seat 7 is HOLD in Redis, no live booking has it", |broken| {
    broken.redis(&["SETRANGE", &broken.key("seats"), "7", "h"])
});

fault!(a_sold_seat_set_free, "seat 1 is AVAILABLE in Redis", |broken| {
    broken.redis(&["SETRANGE", &broken.key("seats"), "1", "A"])
});

fault!(a_byte_of_no_meaning, "inventory cannot be read", |broken| {
    broken.redis(&["SETRANGE", &broken.key("seats"), "7", "?"])
});

fault!(a_wrong_counter, "7 seats are free, Redis counts 8", |broken| {
    broken.redis(&["HINCRBY", &broken.key("event"), "available", "1"])
});

fault!(a_wrong_user_count, "user bob has 1 seats, Redis counts 3", |broken| {
    broken.redis(&["HINCRBY", &broken.key("users"), "bob", "2"])
});

fault!(an_ended_booking_without_its_index, "ended and is not indexed", |broken| {
    broken.shop.cancel("bob", broken.held).await;
    broken.redis(&["DEL", &broken.key("ended")]);
});

fault!(a_live_booking_in_the_index_of_ended_ones, "of ended bookings names", |broken| {
    broken.redis(&["ZADD", &broken.key("ended"), "1", &broken.sold.to_string()])
});

fault!(a_block_that_the_ledger_lacks, "seat 7 is BLOCKED in Redis, not by the", |broken| {
    broken.redis(&["SETRANGE", &broken.key("seats"), "7", "x"]);
    broken.redis(&["HINCRBY", &broken.key("event"), "available", "-1"]);
});

fault!(a_lost_event, "Redis does not have this event", |broken| {
    broken.redis(&["DEL", &broken.key("event")])
});

fault!(a_booking_lost_by_redis, "STRAY", |broken| {
    broken.redis(&["HDEL", &broken.key("bookings"), &broken.held.to_string()])
});

fault!(a_booking_that_cannot_be_read, "in Redis: unreadable format", |broken| {
    broken.redis(&["HSET", &broken.key("bookings"), &broken.held.to_string(), "x\ty"])
});

fault!(garbage_that_nobody_parked, "in no dead letter", |broken| {
    broken.redis(&["XADD", &broken.log(), "*", "garbage", "in"])
});

fault!(a_parked_transition, "is not in the archive's ledger (parked: refused)", |broken| {
    let engine = &broken.shop.world.engine;
    let partition = engine.keys().partition_of(broken.event);
    let log = engine.range(partition, Default::default(), None, 100).await.unwrap();
    engine.park(partition, log.last().unwrap(), "refused").await.unwrap();
    broken.remove("transitions", doc! { "booking": broken.held.to_string() }).await;
});

fault!(an_entry_removed, "does not follow its predecessor", |broken| {
    broken.redis(&["XDEL", &broken.log(), &broken.entry(2).await])
});

fault!(the_newest_entry_removed, "but its newest entry is", |broken| {
    broken.redis(&["XDEL", &broken.log(), &broken.entry(1).await])
});

fault!(a_log_that_nobody_archives, "archived up to", |broken| {
    broken.shop.hold(broken.event, "cid", &[4]).await
});
