//! Answers that nobody reads: their memory has one bound.

use std::time::Duration;

use holdfast::config::Config;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{BOUND, get};
use crate::support::api::{Api, Place, places};
use crate::support::{eventually, long_or};

const MIB: u64 = 1 << 20;
/// Seats of an event whose map has about 14 MB.
const SEATS: u32 = 100_000;

/// Waits until an answer has begun.
async fn begun(stream: &mut TcpStream) {
    const STATUS: &[u8] = b"HTTP/1.1 200";
    let mut first = [0; STATUS.len()];
    tokio::time::timeout(BOUND, stream.read_exact(&mut first)).await.expect("in time").unwrap();
    assert_eq!(first, STATUS, "{}", String::from_utf8_lossy(&first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_seat_maps_stay_within_the_bound() {
    // Without the bound 40 would take 560 MB.
    let clients: u32 = long_or(60, 40);
    // The bound itself is 256 MB; the rest is the program, and what its allocator keeps.
    const GROWTH_MAX: u64 = 420 * MIB;
    let api = Api::program(&Place::shared(), &[]).await.patient();
    let event = api.event(places(SEATS)).await;
    let path = format!("/api/v1/events/{event}/seats");
    assert!(api.get(&path).send().await.bytes.len() > 10_000_000);
    let before = api.process().memory_bytes();
    let mut stuck = Vec::new();
    let mut seen = String::new();
    for client in 1..=clients {
        api.held(&format!("user-{client}"), event, &[client]).await;
        // The new version is there, and two ask for it, so that the next one is rendered ahead.
        eventually("the next version", BOUND, async || {
            let head = api.ask(Method::HEAD, &path).send().await;
            let version = head.header("x-seat-map-version").unwrap_or_default().to_owned();
            let is_new = head.status == 200 && version != seen;
            seen = if head.status == 200 { version } else { seen.clone() };
            is_new
        })
        .await;
        api.ask(Method::HEAD, &path).send().await;
        stuck.push(api.stuck(&get(&path)).await);
        let newest = stuck.last_mut().expect("one");
        begun(newest).await;
    }
    let growth = api.process().memory_bytes().saturating_sub(before);
    eprintln!("{clients} unread seat maps: {} MiB", growth / MIB);
    assert!(growth < GROWTH_MAX, "{} MiB", growth / MIB);
    // Who reads is served.
    let map = api.get(&path).send().await.json(200);
    assert_eq!(map["seats"].as_array().unwrap().len(), SEATS as usize);
    drop(stuck);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_static_files_are_not_copied() {
    const CLIENTS: usize = 300;
    const GROWTH_MAX: u64 = 150 * MIB;
    let api = Api::program(&Place::shared(), &[]).await.patient();
    let path = "/docs/swagger-ui-bundle.js";
    assert_eq!(api.get(path).send().await.status, 200);
    let before = api.process().memory_bytes();
    let mut stuck = Vec::new();
    for _ in 0..CLIENTS {
        stuck.push(api.stuck(&get(path)).await);
    }
    for stream in &mut stuck {
        begun(stream).await;
    }
    let growth = api.process().memory_bytes().saturating_sub(before);
    eprintln!("{CLIENTS} unread files: {} MiB", growth / MIB);
    assert!(growth < GROWTH_MAX, "{} MiB", growth / MIB);
    assert_eq!(api.get(path).send().await.status, 200);
    drop(stuck);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_pipelined_answers_take_no_more_requests() {
    const CLIENTS: usize = 20;
    const HEADS: usize = 16;
    const GROWTH_MAX: u64 = 20 * MIB;
    let api = Api::program(&Place::shared(), &[]).await.patient();
    let event = api.event(places(50_000)).await;
    let path = format!("/api/v1/events/{event}/seats");
    assert_eq!(api.get(&path).send().await.status, 200);
    let before = api.process().memory_bytes();
    let large =
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: {}\r\n\r\n", "x".repeat(100_000));
    let mut stuck = Vec::new();
    for _ in 0..CLIENTS {
        let mut stream = api.stuck(&get(&path)).await;
        begun(&mut stream).await;
        stuck.push(stream);
    }
    for stream in &mut stuck {
        // As many large heads as it takes.
        let heads = async {
            for _ in 0..HEADS {
                stream.write_all(large.as_bytes()).await?;
            }
            std::io::Result::Ok(())
        };
        // Those that it takes no more of wait; on a slow machine one may be cut off meanwhile.
        let _ = tokio::time::timeout(Duration::from_millis(500), heads).await;
    }
    let growth = api.process().memory_bytes().saturating_sub(before);
    eprintln!("{CLIENTS} pipelined heads: {} MiB", growth / MIB);
    assert!(growth < GROWTH_MAX, "{} MiB", growth / MIB);
    drop(stuck);
}

#[tokio::test]
async fn documentation_is_cacheable_and_under_the_address_rule() {
    let rules = r#"[{name="per_address_total",per_second=1,burst=40,mode="enforce"}]"#;
    let settings = [("HOLDFAST_LIMITS", "each"), ("HOLDFAST_LIMIT_RULES", rules)];
    let api = Api::program(&Place::shared(), &settings).await;
    let path = "/docs/swagger-ui.css";
    let file = api.get(path).send().await;
    let kept = file.header("cache-control").expect("cache-control");
    assert!(kept.starts_with("public, max-age="), "{kept}");
    let etag = file.header("etag").expect("a tag").to_owned();
    let again = api.get(path).header("If-None-Match", &etag).send().await;
    assert_eq!((again.status, again.bytes.len()), (304, 0));
    for page in [path, "/docs", "/openapi.json", "/"] {
        let mut statuses = Vec::new();
        for _ in 0..60 {
            statuses.push(api.get(page).send().await.status);
        }
        assert!(statuses.contains(&429), "{page}: {statuses:?}");
    }
    // Monitoring works all the time.
    api.get("/health/live").send().await.json(200);
    assert_eq!(api.get("/metrics").send().await.status, 200);
}

#[tokio::test]
async fn documentation_can_be_switched_off() {
    let api = Api::here(Config { docs_enabled: false, ..Place::shared().config() }).await;
    for page in ["/docs", "/docs/", "/docs/swagger-ui.css", "/openapi.json"] {
        api.get(page).send().await.problem(404, "route_unknown");
    }
    assert!(!api.get("/").send().await.text().contains("/docs"));
    api.stop().await;
}
