//! `export sales`.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use super::Shop;
use crate::on_one_redis;
use crate::support::servers::state_dir;
use crate::support::unique_name;

/// Bound of a complete read.
const SOON: Duration = Duration::from_secs(30);

/// A file of this test.
fn file() -> PathBuf {
    state_dir().join(format!("{}.csv", unique_name()))
}

on_one_redis!(sales_are_exported_seat_by_seat, async |flavor| {
    let shop = Shop::new(flavor).await;
    let _worker = shop.worker().await;
    let line = "event create --name x --section =Stalls:4500:2x3 --general Floor,1:2500:4 --json";
    let event = shop.ctl(line).await.json(0)["id"].as_u64().unwrap();
    let id = holdfast::domain::EventId(event as u32);
    let first = shop.buy(id, "=cmd()", &[4, 6]).await;
    let second = shop.buy(id, "bob \"b\"", &[8]).await;
    let cancelled = shop.buy(id, "cid", &[1]).await;
    shop.cancel("cid", cancelled).await;
    // Cancelled before it was paid: no sale.
    let held = shop.hold(id, "dan", &[2]).await;
    shop.cancel("dan", held).await;
    shop.hold(id, "eve", &[3]).await;
    shop.archived().await;

    let printed = shop.ctl(&format!("export sales {event}")).await;
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""), "{printed:?}");
    let unmarked = printed.stdout.strip_prefix('\u{feff}').expect("a byte order mark");
    assert!(unmarked.lines().all(|line| line.starts_with('"') && line.ends_with('"')));
    let mut reader = csv::Reader::from_reader(unmarked.as_bytes());
    let head: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let lines: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let column = |line: usize, name: &str| {
        lines[line][head.iter().position(|one| one == name).unwrap()].to_owned()
    };
    let part = |names: [&str; 6]| -> Vec<Vec<String>> {
        (0..lines.len()).map(|line| names.map(|name| column(line, name)).to_vec()).collect()
    };
    let (first, second) = (first.to_string(), second.to_string());
    let expected = [
        [first.as_str(), "'=cmd()", "'=Stalls", "B", "1", "B-1"],
        [first.as_str(), "'=cmd()", "'=Stalls", "B", "3", "B-3"],
        [second.as_str(), "bob \"b\"", "Floor,1", "", "2", "Floor,1-2"],
    ];
    let named = ["booking_id", "user_id", "section", "row", "seat_number", "seat_label"];
    assert_eq!(part(named), expected);
    let money = ["seat_id", "price", "currency", "booking_amount", "status", "cancelled_at"];
    let expected = [
        ["4", "4500", "EUR", "9000", "CONFIRMED", ""],
        ["6", "4500", "EUR", "9000", "CONFIRMED", ""],
        ["8", "2500", "EUR", "2500", "CONFIRMED", ""],
    ];
    assert_eq!(part(money), expected);
    for name in ["payment_id", "paid_at", "confirmed_at"] {
        assert!(!column(0, name).is_empty(), "{name}: {printed:?}");
    }
    assert!(printed.stdout.contains("\r\n"), "{printed:?}");

    let given_back = shop.ctl(&format!("export sales {event} --status cancelled")).await.stdout;
    let lines: Vec<&str> = given_back.lines().collect();
    assert_eq!(lines.len(), 2, "{given_back}");
    assert!(lines[1].starts_with(&format!("\"{cancelled}\"")), "{given_back}");
    assert!(lines[1].ends_with(",\"CANCELLED\""), "{given_back}");
    assert!(!lines[1].contains(",\"\",\"CANCELLED\""), "{given_back}");
    let refused = shop.ctl(&format!("export sales {event} --status VOIDED")).await.stdout;
    assert_eq!(refused.lines().count(), 1, "{refused}");

    let path = file();
    let out = path.to_str().unwrap();
    let written = shop.ctl(&format!("export sales {event} --out {out} --json")).await.json(0);
    let expected = json!({ "event": event, "status": "CONFIRMED", "bookings": 2, "seats": 3,
                           "file": out });
    assert_eq!(written, expected);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), printed.stdout);
    let summary = shop.ctl(&format!("export sales {event} --out {out}")).await.stdout;
    assert!(summary.starts_with("3 seats of 2 CONFIRMED bookings are in "), "{summary}");
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sales_are_exported_in_pages() {
    let shop = Shop::any().await;
    let event = shop.world.event(3_000).await;
    // More than two pages of bookings, written as the archive has them.
    let bookings = shop.collection("bookings").await;
    let ids: Vec<String> = (1..=2_500_u64)
        .map(|n| holdfast::domain::BookingId::new(event, 1_800_000_000_000 + n, n).to_string())
        .collect();
    let documents = ids.iter().zip(1_i64..).map(|(id, seat)| {
        mongodb::bson::doc! {
            "_id": id, "event": i64::from(event.0), "user": "ann", "seats": [seat],
            "status": "CONFIRMED", "outcome": "sold", "generation": 1_i64, "version": 4_i64,
            "amount": 100_i64, "currency": "EUR", "created_ms": 1_i64, "deadline_ms": 1_i64,
            "lease": 1_i64, "payment": "p", "paid_ms": 1_i64, "confirmed_ms": 1_i64,
            "ended_ms": 0_i64, "idempotency": "", "fingerprint": "", "trace": "",
        }
    });
    bookings.insert_many(documents).await.unwrap();
    let path = file();
    let line = format!("export sales {event} --out {} --json", path.display());
    let written = shop.ctl(&line).await.json(0);
    assert_eq!((&written["bookings"], &written["seats"]), (&json!(2_500), &json!(2_500)));
    let text = std::fs::read_to_string(&path).unwrap();
    let exported: Vec<&str> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap().trim_matches('"'))
        .collect();
    assert_eq!(exported, ids);
    // Closing the pipe ends the export.
    let listed = shop.ctl(&format!("bookings list --event {event} --limit 1000 --json")).await;
    assert_eq!(listed.json(0)["bookings"].as_array().unwrap().len(), 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impossible_export_is_refused_with_the_reason() {
    let shop = Shop::any().await;
    let event = shop.world.event(1).await;
    let unknown = shop.ctl("export sales 7").await;
    assert!(unknown.refusal().contains("event 7 does not exist"), "{unknown:?}");
    let ran = shop.ctl(&format!("export sales {event} --json")).await;
    assert!(ran.refusal().contains("--json needs --out FILE"), "{ran:?}");
    let ran = shop.ctl(&format!("export sales {event} --out /no/such/folder/x.csv")).await;
    assert!(ran.refusal().contains("/no/such/folder/x.csv: "), "{ran:?}");
    let ran = shop.ctl(&format!("export sales {event} --status HOLD")).await;
    assert!(ran.code == 2 && ran.stderr.contains("CONFIRMED, VOIDED, CANCELLED"), "{ran:?}");
    // A pipe is written to, not replaced.
    let pipe = file();
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let mut reader = tokio::process::Command::new("cat");
    let reader = reader.arg(&pipe).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let line = format!("export sales {event} --out {} --json", pipe.display());
    assert_eq!(shop.ctl(&line).await.json(0)["seats"], 0);
    assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
    let read = tokio::time::timeout(SOON, reader.wait_with_output()).await.unwrap().unwrap();
    assert!(read.stdout.starts_with(b"\xEF\xBB\xBF\"booking_id\","), "{read:?}");
    // Redis is not needed.
    let away = [("HOLDFAST_REDIS_URL", "redis://127.0.0.1:1")];
    let ran = shop.ctl_with(&format!("export sales {event}"), &away).await;
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 1), "{ran:?}");
}

/// The names in a folder that others can write in.
fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_links_are_not_followed_and_only_the_owner_can_read() {
    let shop = Shop::any().await;
    let event = shop.world.event(1).await;
    let folder = state_dir().join(unique_name());
    std::fs::create_dir(&folder).unwrap();
    let victim = folder.join("victim");
    std::fs::write(&victim, "mine").unwrap();
    let out = folder.join("sales.csv");
    // An attacker with write access to the folder plants links under the names to be written.
    std::os::unix::fs::symlink(&victim, folder.join("sales.csv.part")).unwrap();
    std::os::unix::fs::symlink(&victim, &out).unwrap();
    let line = format!("export sales {event} --out {} --json", out.display());
    shop.ctl(&line).await.json(0);
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "mine");
    let written = std::fs::symlink_metadata(&out).unwrap();
    assert!(written.is_file(), "a link was followed");
    assert_eq!(written.permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&out).unwrap().contains("booking_id"));
    // An existing world-readable file is replaced by a private one.
    std::fs::set_permissions(&out, std::fs::Permissions::from_mode(0o644)).unwrap();
    shop.ctl(&line).await.json(0);
    let written = std::fs::symlink_metadata(&out).unwrap();
    assert_eq!(written.permissions().mode() & 0o777, 0o600);
    assert_eq!(names(&folder), ["sales.csv", "sales.csv.part", "victim"]);
    // A pipe that another user may have planted is not written to.
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let pipe = folder.join("pipe.csv");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let refused = shop.ctl(&format!("export sales {event} --out {}", pipe.display())).await;
    assert!(refused.refusal().contains("anybody may write in"), "{refused:?}");
}
