//! `waiting-room`: settings are applied in Redis and MongoDB, and shown.

use serde_json::json;

use super::Shop;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_is_switched_and_shown() {
    let shop = Shop::any().await;
    let create = "event create --name Gala --general Floor:1000:50 --json";
    let event = shop.ctl(create).await.json(0)["id"].as_u64().unwrap();
    let show = async || shop.ctl(&format!("waiting-room show {event} --json")).await.json(0);
    assert_eq!(show().await["method"], json!(null));
    let enable = format!("waiting-room enable {event} --max-concurrent 7 --session-seconds 90");
    let enabled = shop.ctl(&format!("{enable} --by ann --json")).await.json(0);
    assert_eq!((&enabled["revision"], &enabled["settings"]["on"]), (&json!(1), &json!(true)));
    assert_eq!(enabled["settings"]["session_ms"], 90_000);
    let shown = show().await;
    assert_eq!((&shown["method"], &shown["max_concurrent"]), (&json!("fifo"), &json!(7)));
    assert_eq!((&shown["queue_size"], &shown["draw"]), (&json!(0), &json!("none")));
    // Absent values stay; repeating a change has no effect.
    let again = shop.ctl(&format!("waiting-room enable {event} --method reject --json")).await;
    let again = again.json(0);
    assert_eq!((&again["revision"], &again["settings"]["max_concurrent"]), (&json!(2), &json!(7)));
    let same = shop.ctl(&format!("waiting-room enable {event} --method reject --json")).await;
    assert_eq!(same.json(0)["revision"], 2);
    let text = shop.ctl(&format!("waiting-room disable {event}")).await.stdout;
    assert!(text.contains(&format!("waiting room of event {event} is off")), "{text}");
    assert_eq!(show().await["method"], json!(null));
    let automatic = format!("waiting-room enable {event} --automatic true --surge-per-second 40");
    let text = shop.ctl(&automatic).await.stdout;
    assert!(text.contains("by itself at 40 attempts a second"), "{text}");
    // Both acts are in the audit log.
    let record = shop.ctl("audit --json").await.stdout;
    assert!(record.contains("waiting_room_enable") && record.contains("waiting_room_disable"));

    for (line, expected) in [
        ("waiting-room enable 4000000 --max-concurrent 5", "4000000"),
        (&*format!("waiting-room enable {event} --max-concurrent 0"), "max_concurrent is 0"),
        (&*format!("waiting-room enable {event} --shuffle true"), "set an on_sale_at"),
        (&*format!("waiting-room enable {event} --method lifo"), "passthrough"),
    ] {
        let refused = shop.ctl(line).await;
        assert!(refused.stderr.contains(expected), "{line}: {}", refused.stderr);
    }
}
