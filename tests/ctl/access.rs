//! `access`: entries are added, replaced, found, dropped when expired, and removed.

use std::time::Duration;

use serde_json::{Value, json};

use super::Shop;
use crate::support::eventually;

/// The parts of entries that do not depend on the clock.
fn entries(listed: &Value) -> Vec<(&str, &str, bool)> {
    let entries = listed["entries"].as_array().unwrap().iter();
    entries
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap();
            (text("who"), text("access"), entry["until"].is_string())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_are_added_replaced_found_and_removed() {
    let shop = Shop::any().await;
    let empty = shop.ctl("access list").await.stdout;
    assert_eq!(empty, "Nobody is on a list.\n");
    let deny = "access deny 203.0.113.7 198.51.100.9/24 2001:db8:1:2::/64 user:eve --reason bots";
    let made = shop.ctl(&format!("{deny} --by ann --json")).await.json(0);
    assert_eq!((&made["changed"], &made["announced"]), (&json!(true), &json!(true)));
    assert_eq!((&made["revision"], &made["notes"]), (&json!(1), &json!([])));
    let allow = "access allow ::ffff:203.0.113.7 user:bob --for 2h --reason office --json";
    assert_eq!(shop.ctl(allow).await.json(0)["revision"], 2);
    let listed = shop.ctl("access list --json").await.json(0);
    let expected = [
        ("198.51.100.0/24", "deny", false),
        ("2001:db8:1:2::/64", "deny", false),
        ("user:eve", "deny", false),
        // One entry for one address, however it is written.
        ("203.0.113.7/32", "allow", true),
        ("user:bob", "allow", true),
    ];
    assert_eq!(entries(&listed), expected);
    assert_eq!(listed["entries"][0]["by"], "ann");
    assert_eq!(listed["entries"][0]["reason"], "bots");
    for (who, expected) in [
        ("198.51.100.77", json!(["198.51.100.0/24"])),
        ("2001:db8:1:2:3::4", json!(["2001:db8:1:2::/64"])),
        ("user:eve", json!(["user:eve"])),
        ("user:ev", json!([])),
        ("198.51.0.0/16", json!([])),
    ] {
        let found = shop.ctl(&format!("access list {who} --json")).await.json(0);
        let found: Value =
            found["entries"].as_array().unwrap().iter().map(|e| e["who"].clone()).collect();
        assert_eq!(found, expected, "{who}");
    }
    let table = shop.ctl("access list").await.stdout;
    assert!(table.contains("user:eve") && table.contains("5 entries. Revision 2"), "{table}");

    // Only the named entry is removed, not those that it contains.
    let removed = shop.ctl("access remove 198.51.100.77 user:eve --json").await.json(0);
    assert_eq!(removed["changed"], true);
    assert_eq!(entries(&removed), [("198.51.100.0/24", "deny", false)]);
    let again = shop.ctl("access remove user:eve").await.stdout;
    assert_eq!(again, "Nothing changed: it was so before.\n");
    assert_eq!(
        shop.ctl("access list --json").await.json(0)["entries"].as_array().unwrap().len(),
        4
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_entry_is_dropped_with_the_next_change() {
    let shop = Shop::any().await;
    let stored = async || {
        let policy = shop.collection("gate_policy").await;
        let found = policy.find_one(mongodb::bson::doc! { "_id": "live" }).await.unwrap().unwrap();
        found.get_array("access").unwrap().len()
    };
    shop.ctl("access deny user:eve --for 1s --reason x").await.ended(0);
    eventually("the entry ends", Duration::from_secs(20), async || {
        shop.ctl("access list --json").await.json(0)["entries"] == json!([])
    })
    .await;
    assert_eq!(stored().await, 1);
    shop.ctl("access allow user:ann --reason x").await.ended(0);
    assert_eq!(stored().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_entry_is_refused_with_the_reason() {
    let shop = Shop::any().await;
    for (line, expected) in [
        ("access deny eve --reason x", "user:ID"),
        ("access deny 10.0.0.0/33 --reason x", "10.0.0.0/8"),
        ("access deny user: --reason x", "1 to 128 bytes"),
        ("access deny 0.0.0.0/0 --reason x", "is everybody"),
        ("access allow ::/0 --reason x", "is everybody"),
        ("access deny user:eve", "--reason"),
        ("access deny --reason x", "<WHO>"),
        ("access deny user:eve --reason x --for soon", "30m, 2h or 7d"),
        ("access deny user:eve --reason x --for 0s", "more than nothing"),
        ("access list eve", "user:ID"),
    ] {
        let ran = shop.ctl(line).await;
        assert!(ran.code == 2 && ran.stderr.contains(expected), "{line}: {ran:?}");
    }
    let long = format!("access deny user:eve --reason {}", "x".repeat(201));
    assert!(shop.ctl(&long).await.stderr.contains("1 to 200 bytes"));
    let note = shop.ctl("access deny 2001:db8::1 --reason x --json").await.json(0);
    assert!(note["notes"][0].as_str().unwrap().contains("deny 2001:db8::/64"), "{note}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_bounded() {
    let shop = Shop::any().await;
    let many = |from: u32, count: u32| {
        let users: Vec<String> = (from..from + count).map(|n| format!("user:u{n}")).collect();
        format!("access deny {} --reason x --json", users.join(" "))
    };
    for step in 0..2 {
        let made = shop.ctl(&many(step * 5_000, 5_000)).await.json(0);
        assert_eq!(made["changed"], true);
    }
    let refused = shop.ctl(&many(10_000, 1)).await;
    assert!(refused.refusal().contains("10001 entries, 10000 at most"), "{refused:?}");
    // Existing entries can still be changed, found and removed.
    shop.ctl(&many(0, 1)).await.ended(0);
    let found = shop.ctl("access list user:u9999 --json").await.json(0);
    assert_eq!(entries(&found).len(), 1);
    shop.ctl("access remove user:u9999").await.ended(0);
    shop.ctl(&many(10_000, 1)).await.ended(0);
}
