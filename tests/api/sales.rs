//! The CSV export of sales.

use std::time::Duration;

use holdfast::config::Config;

use crate::support::api::{Api, Place, small_event};
use crate::support::eventually;

/// printf %s open-sesame | sha256sum
const SESAME: &str = "ops:d7ecdf25eaf3deba0f2628771dbdd22d4138ab6cf38f91ed02a2ca0dec7c8ab7";
/// A user name that a spreadsheet would run as a formula, at its start and behind a separator.
const BUYER: &str = "@ann;=cmd()";
/// Timeout of archiving.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admins_download_sales_as_csv() {
    let place = Place::shared();
    let keys = vec![SESAME.parse().unwrap()];
    let api = Api::here(Config { admin_keys_sha256: keys, ..place.config() }).await;
    let _worker = place.worker();
    let create = api.post("/api/v1/events").header("X-Admin-Key", "open-sesame");
    let event = create.json(small_event()).send().await.json(201)["id"].as_u64().unwrap();
    let booking = api.held(BUYER, event, &[2, 9]).await;
    eventually("it is confirmed", SOON, async || {
        api.act(BUYER, &booking, "confirm").await.status == 200
    })
    .await;

    let path = format!("/api/v1/events/{event}/sales.csv");
    let ask = |query: &str| {
        api.get(&format!("{path}{query}")).header("X-Admin-Key", "open-sesame").send()
    };
    let mut text = String::new();
    eventually("it is archived", SOON, async || {
        text = ask("").await.text();
        text.lines().count() == 3
    })
    .await;
    let lines: Vec<&str> = text.lines().collect();
    // The byte order mark marks UTF-8, and every field is quoted.
    let names = "\u{feff}\"booking_id\",\"user_id\",\"section\",\"row\",\"seat_number\",";
    assert!(lines[0].starts_with(names), "{text}");
    let id = booking["id"].as_str().unwrap();
    let first = format!(
        "\"{id}\",\"'@ann;'=cmd()\",\"Stalls\",\"A\",\"2\",\"A-2\",\"2\",\"5000\",\"EUR\","
    );
    assert!(lines[1].starts_with(&first), "{text}");
    let second = format!("\"{id}\",\"'@ann;'=cmd()\",\"Floor\",\"\",\"1\",\"Floor-1\",\"9\",");
    assert!(lines[2].starts_with(&second), "{text}");
    assert!(lines[2].ends_with(",\"CONFIRMED\""), "{text}");

    let reply = ask("?status=CANCELLED").await;
    assert_eq!((reply.status, reply.text().lines().count()), (200, 1));
    let media = reply.header("content-type").unwrap();
    assert!(media.starts_with("text/csv; charset=utf-8"), "{media}");
    let named = format!("attachment; filename=\"event-{event}-sales-cancelled.csv\"");
    assert_eq!(reply.header("content-disposition"), Some(named.as_str()));

    ask("?status=HOLD").await.problem(400, "invalid_parameter");
    api.get(&path).send().await.problem(401, "admin_key_missing");
    api.get(&path).header("X-Admin-Key", "x").send().await.problem(403, "admin_key_wrong");
    let unknown = api.get("/api/v1/events/77/sales.csv").header("X-Admin-Key", "open-sesame");
    unknown.send().await.problem(404, "event_unknown");
    api.stop().await;
}
