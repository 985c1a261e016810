//! `seats block`, `seats release` and `seats blocks`.

use serde_json::{Value, json};

use super::Shop;
use crate::on_one_redis;

on_one_redis!(seats_are_blocked_and_released, async |flavor| {
    let shop = Shop::new(flavor).await;
    let _worker = shop.worker().await;
    let line = "event create --name x --section Stalls:4500:2x3 --general Floor:2500:4 --json";
    let event = shop.ctl(line).await.json(0)["id"].as_u64().unwrap();
    let id = holdfast::domain::EventId(event as u32);
    let block =
        async |what: &str| shop.ctl(&format!("seats {what} --reason press --json")).await.json(0);
    let done = block(&format!("block {event} --section Stalls --row B --by ann")).await;
    let expected = json!({ "event": event, "action": "block", "seats": 3, "changed": 3 });
    assert_eq!(done, expected);
    let done = block(&format!("block {event} --seats 6-8,10")).await;
    assert_eq!((&done["seats"], &done["changed"]), (&json!(4), &json!(3)));
    let shown = shop.ctl(&format!("event show {event} --json")).await.json(0);
    let blocked: Vec<&Value> =
        shown["sections"].as_array().unwrap().iter().map(|one| &one["blocked_seats"]).collect();
    assert_eq!(blocked, [&json!(3), &json!(3)]);
    assert_eq!(shop.ctl("status --json").await.json(0)["events"]["on_sale"][0]["blocked"], 6);

    shop.hold(id, "bob", &[1]).await;
    let ran = shop.ctl(&format!("seats block {event} --section Stalls --reason x")).await;
    assert!(ran.refusal().contains("not free: seats 1 (HOLD); none of these"), "{ran:?}");
    let done = block(&format!("release {event} --seats 1-8")).await;
    assert_eq!((&done["action"], &done["changed"]), (&json!("release"), &json!(5)));
    shop.hold(id, "cid", &[4]).await;

    shop.archived().await;
    let history = shop.ctl(&format!("seats blocks {event} --json")).await.json(0);
    let lines = history["blocks"].as_array().unwrap();
    let part = |name: &str| lines.iter().map(|line| line[name].clone()).collect::<Value>();
    assert_eq!(part("action"), json!(["block", "block", "release"]));
    assert_eq!(part("by"), json!(["ann", "holdfastctl", "holdfastctl"]));
    assert_eq!(part("seats"), json!([[4, 5, 6], [7, 8, 10], [4, 5, 6, 7, 8]]));
    assert_eq!(lines[0]["reason"], "press");
    let table = shop.ctl(&format!("seats blocks {event}")).await.stdout;
    assert!(table.contains("7-8,10") && table.contains("ann"), "{table}");
    assert_eq!(shop.ctl("verify --json").await.json(0)["clean"], true);
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_seats_are_blocked_in_steps() {
    let shop = Shop::any().await;
    let event = shop.world.event(2_500).await;
    let block = format!("seats block {event} --section Floor --reason house");
    let done = shop.ctl(&format!("{block} --json")).await.json(0);
    assert_eq!((&done["seats"], &done["changed"]), (&json!(2_500), &json!(2_500)));
    assert_eq!(shop.world.free(event).await, Some(0));
    let again = shop.ctl(&block).await.stdout;
    let expected = format!("0 seats of event {event} are blocked; 2500 were left unchanged.\n");
    assert_eq!(again, expected);
    shop.ctl(&format!("seats release {event} --seats 2001-2500 --reason x")).await.ended(0);
    shop.hold(event, "ann", &[2_400]).await;
    // Interrupted in its third step: the message says what is already done.
    let ran = shop.ctl(&block).await;
    let refusal_text = ran.refusal();
    assert!(
        refusal_text.contains("seats 2400 (HOLD)")
            && refusal_text.contains("Done already: seats 1-2000"),
        "{refusal_text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impossible_block_is_refused_with_the_reason() {
    let shop = Shop::any().await;
    let event = shop.world.event(4).await;
    for (line, expected) in [
        (format!("seats block {event} --section Box --reason x"), "lists them"),
        (format!("seats block {event} --seats 4-6 --reason x"), "has no seats 5,6; "),
        (format!("seats block {event} --seats 1 --reason {}", "x".repeat(201)), "1 to 200 bytes"),
        ("seats block 9 --seats 1 --reason x".into(), "event 9 does not exist"),
        ("seats blocks 9".into(), "event 9 does not exist"),
    ] {
        let ran = shop.ctl(&line).await;
        assert!(ran.refusal().contains(expected), "{line}: {ran:?}");
    }
    for (line, expected) in [
        (format!("seats block {event} --reason x"), "--section"),
        (format!("seats block {event} --seats 1"), "--reason"),
        (format!("seats block {event} --seats 3-1 --reason x"), "\"3-1\" is no seat"),
        (format!("seats block {event} --seats 1 --row A --reason x"), "cannot be used with"),
    ] {
        let ran = shop.ctl(&line).await;
        assert!(ran.code == 2 && ran.stderr.contains(expected), "{line}: {ran:?}");
    }
    let none = shop.ctl(&format!("seats blocks {event}")).await.stdout;
    assert_eq!(none, format!("Nothing was ever blocked in event {event}.\n"));
}
