//! `top` and `status --watch`.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::Shop;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frame_shows_seats_and_takings() {
    let shop = Shop::any().await;
    let _worker = shop.worker().await;
    let event = shop.world.event(10).await;
    shop.buy(event, "ann", &[1, 2]).await;
    shop.hold(event, "bob", &[3]).await;
    let frame = shop.ctl("top --json").await.json(0);
    let shown = &frame["events"]["on_sale"][0];
    let counts = ["free", "held", "sold"].map(|name| shown[name].as_u64().unwrap());
    assert_eq!((&shown["id"], counts), (&json!(event.0), [7, 1, 2]));
    let price = shown["takings"]["amount"].as_i64().unwrap();
    assert!(price > 0 && price % 2 == 0, "{shown}");
    let currency = shown["takings"]["currency"].as_str().unwrap();
    assert_eq!(frame["pace"][event.0.to_string()]["queue"], 0, "{frame}");
    let name = frame["processes"][0]["name"].as_str().unwrap();
    assert!(name.starts_with("holdfast-worker@"), "{frame}");

    let text = shop.ctl("top").await.stdout;
    let takings = format!("{}.{:02} {currency}", price / 100, price % 100);
    assert!(text.contains(&takings) && text.contains("holds/s"), "{takings}: {text}");
    assert!(text.contains(name) && text.contains("Redis ") && text.contains("MongoDB "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let away = [("HOLDFAST_REDIS_URL", "redis://127.0.0.1:1")];
    let ran = shop.ctl_with("top", &away).await;
    assert!(ran.code == 0 && ran.stdout.contains("Redis    AWAY"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watched_status_is_shown_again_and_again() {
    let shop = Shop::any().await;
    shop.world.event(2).await;
    let mut watching = Command::new(env!("CARGO_BIN_EXE_holdfastctl"))
        .args(["status", "--watch", "1", "--json"])
        .env_clear()
        .envs(shop.settings())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await;
        let line = line.unwrap().unwrap().expect("a line");
        let status: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(status["redis"]["connected"], true, "{status}");
    }
    // It ends once nobody reads.
    drop(lines);
    let ended = tokio::time::timeout(Duration::from_secs(60), watching.wait()).await;
    assert_eq!(ended.unwrap().unwrap().code(), Some(0));
}
