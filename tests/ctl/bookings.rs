//! `bookings list` and `bookings show`.

use mongodb::bson::doc;
use serde_json::{Value, json};

use super::Shop;
use crate::on_one_redis;

fn ids(listed: &Value) -> Vec<&str> {
    listed["bookings"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect()
}

on_one_redis!(booking_is_shown_with_its_history, async |flavor| {
    let shop = Shop::new(flavor).await;
    let _worker = shop.worker().await;
    let event = shop.world.event(10).await;
    let sold = shop.buy(event, "ann", &[1, 2]).await;
    shop.archived().await;
    let report = shop.ctl(&format!("bookings show {sold} --json")).await.json(0);
    assert_eq!((&report["event"], &report["event_name"]), (&json!(event.0), &json!("Test")));
    for side in ["redis", "archive"] {
        let side = &report[side];
        assert_eq!((&side["status"], &side["user"]), (&json!("CONFIRMED"), &json!("ann")));
        assert_eq!((&side["seats"], &side["amount"]), (&json!([1, 2]), &json!(200)));
        assert!(side["payment"].is_string() && side["paid_at"].is_string(), "{report}");
        assert!(side["confirmed_at"].is_string() && side["ended_at"].is_null(), "{report}");
    }
    assert_eq!(
        (&report["in_redis"], &report["archive"]["outcome"]),
        (&json!("found"), &json!("sold"))
    );
    let seat = json!({ "seat": 2, "label": "Floor-2", "section": "Floor",
                       "claimed_by": sold.to_string(), "is_own": true });
    assert_eq!(report["seats"][1], seat);
    let history = report["history"].as_array().unwrap();
    let part = |name: &str| history.iter().map(|line| line[name].clone()).collect::<Value>();
    assert_eq!(part("kind"), json!(["hold", "confirm_begin", "sold", "confirmed"]));
    assert_eq!(part("version"), json!([1, 2, 3, 4]));
    assert_eq!(history[3]["detail"], "settle");
    let times: Vec<&str> = history.iter().map(|line| line["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted() && history[0]["payment"].is_null(), "{report}");
    assert_eq!((&report["differences"], &report["history_is_cut"]), (&json!([]), &json!(false)));
    let text = shop.ctl(&format!("bookings show {sold}")).await.stdout;
    assert!(
        text.contains("this booking") && text.contains("Redis and the archive agree"),
        "{text}"
    );
    let amount = text.lines().find(|line| line.starts_with("amount")).unwrap();
    assert_eq!(amount.matches("2.00 EUR").count(), 2, "{amount}");

    // More than nine versions stay in order.
    let extended = shop.hold(event, "bob", &[3]).await;
    for _ in 0..10 {
        shop.world.sale.extend(&"bob".parse().unwrap(), extended, None).await.unwrap();
    }
    shop.archived().await;
    let report = shop.ctl(&format!("bookings show {extended} --json")).await.json(0);
    let versions: Value =
        report["history"].as_array().unwrap().iter().map(|line| line["version"].clone()).collect();
    assert_eq!(versions, (1..=11).collect::<Value>());
    assert!(report["seats"][0]["claimed_by"].is_null(), "{report}");
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn differences_between_redis_and_archive_are_shown() {
    let shop = Shop::any().await;
    let worker = shop.worker().await;
    let event = shop.world.event(10).await;
    let held = shop.hold(event, "ann", &[1]).await;
    let forgotten = shop.hold(event, "bob", &[2]).await;
    let sold = shop.buy(event, "cid", &[3]).await;
    shop.archived().await;
    assert!(worker.stop());
    let differences = async |id| {
        let report = shop.ctl(&format!("bookings show {id} --json")).await.json(0);
        report["differences"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one.as_str().unwrap().to_owned())
            .collect::<Vec<String>>()
    };
    shop.cancel("ann", held).await;
    let expected = [
        "status: CANCELLED in Redis, HOLD in the archive",
        "version: 2 in Redis, 1 in the archive",
    ];
    assert_eq!(differences(held).await, expected);
    let keys = shop.world.engine.keys();
    shop.redis.command(&["HDEL", &keys.bookings(event), &forgotten.to_string()]);
    assert_eq!(differences(forgotten).await, ["it is HOLD in the archive, and Redis lacks it"]);
    let claims = shop.collection("claims").await;
    claims.delete_one(doc! { "_id": format!("{event}:3") }).await.unwrap();
    assert_eq!(differences(sold).await, ["it is sold, and does not own the claim on 3"]);
    let text = shop.ctl(&format!("bookings show {sold}")).await.stdout;
    assert!(text.contains("DIFFERS: it is sold"), "{text}");
    // Not archived yet.
    let fresh = shop.hold(event, "dan", &[4]).await;
    assert_eq!(differences(fresh).await, ["the archive does not have it yet"]);
    let text = shop.ctl(&format!("bookings show {fresh}")).await.stdout;
    assert!(text.contains("Nothing in the ledger yet"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bookings_are_listed_in_pages() {
    let shop = Shop::any().await;
    let _worker = shop.worker().await;
    let (event, other) = (shop.world.event(10).await, shop.world.event(10).await);
    let mut held = Vec::new();
    for seat in 1..=5 {
        held.push(shop.hold(event, "ann", &[seat]).await.to_string());
    }
    // By id, which begins with the time: those of one millisecond are in any order.
    held.sort_unstable_by(|one, other| other.cmp(one));
    let cancelled: holdfast::domain::BookingId = held[0].parse().unwrap();
    shop.cancel("ann", cancelled).await;
    let sold = shop.buy(other, "ann", &[1]).await;
    shop.hold(event, "bob", &[6]).await;
    shop.archived().await;

    let listed = async |line: &str| shop.ctl(&format!("bookings list {line} --json")).await.json(0);
    let all = listed("--user ann").await;
    let sold = sold.to_string();
    let mut newest_first: Vec<&str> = [&sold].into_iter().chain(&held).map(|id| &**id).collect();
    newest_first.sort_unstable_by(|one, other| other.cmp(one));
    assert_eq!((ids(&all), &all["next"]), (newest_first, &Value::Null));
    let first = all["bookings"].as_array().unwrap().iter().find(|one| one["id"] == sold).unwrap();
    assert_eq!((&first["status"], &first["outcome"]), (&json!("CONFIRMED"), &json!("sold")));
    assert_eq!((&first["seats"], &first["amount"]), (&json!([1]), &json!(100)));

    let page = listed(&format!("--user ann --event {event} --limit 2")).await;
    assert_eq!((ids(&page), &page["next"]), (vec![&*held[0], &*held[1]], &json!(held[1])));
    let rest = listed(&format!("--user ann --event {event} --before {}", held[1])).await;
    assert_eq!(
        (ids(&rest), &rest["next"]),
        (held[2..].iter().map(|id| &**id).collect(), &Value::Null)
    );
    let ended = listed(&format!("--event {event} --status cancelled")).await;
    assert_eq!(ids(&ended), [&*held[0]]);
    let table = shop.ctl(&format!("bookings list --event {event} --limit 1")).await.stdout;
    assert!(table.contains("older ones: --before "), "{table}");
    assert!(table.contains("1.00 EUR") && !table.contains("minor"), "{table}");
    let none = shop.ctl("bookings list --user nobody").await;
    assert_eq!((none.code, &*none.stdout), (0, "No such bookings in the archive.\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_booking_is_refused_with_the_reason() {
    let shop = Shop::any().await;
    let event = shop.world.event(1).await;
    let unknown = holdfast::domain::BookingId::new(event, 1, 1);
    let ran = shop.ctl(&format!("bookings show {unknown}")).await;
    assert!(ran.refusal().contains("neither in Redis nor in the archive"), "{ran:?}");
    for (line, expected) in [
        ("bookings show x", "a booking id is a UUID"),
        ("bookings list", "--user"),
        ("bookings list --user ann --status NAP", "possible values: HOLD"),
        ("bookings list --user ann --limit 1001", "--limit"),
    ] {
        let ran = shop.ctl(line).await;
        assert!(ran.code == 2 && ran.stderr.contains(expected), "{line}: {ran:?}");
    }
}
