//! `event create --layout` and `event change`.

use holdfast::domain::EventId;
use holdfast::sale::SaleError;
use serde_json::{Value, json};

use super::Shop;
use crate::on_one_redis;

fn sections(shown: &Value) -> Value {
    let parts = ["name", "price", "general_admission", "first_seat_id", "total_seats"];
    let sections = shown["sections"].as_array().unwrap().iter();
    sections.map(|one| parts.iter().map(|part| one[part].clone()).collect::<Value>()).collect()
}

on_one_redis!(event_is_created_from_a_layout_file, async |flavor| {
    let shop = Shop::new(flavor).await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/layouts");
    let line = format!("event create --name Hamlet --layout {folder}/theatre.toml --json");
    let created = shop.ctl(&line).await.json(0);
    assert_eq!(
        (&created["total_seats"], &created["available_seats"]),
        (&json!(1182), &json!(1182))
    );
    let id = created["id"].as_u64().unwrap();
    let shown = shop.ctl(&format!("event show {id} --json")).await.json(0);
    let expected = json!([
        ["Stalls", 6500, false, 1, 648],
        ["Dress Circle", 5200, false, 649, 206],
        ["Upper Circle", 2800, false, 855, 312],
        ["Boxes", 9000, false, 1167, 16],
    ]);
    assert_eq!(sections(&shown), expected);
    // The row after H is J: the venue has no I.
    let event = shop.world.archive.event(EventId(id as u32)).await.unwrap().unwrap();
    let label = |seat| event.layout.seat(holdfast::domain::SeatId(seat)).unwrap().label();
    assert_eq!((label(6 * 32 + 2 * 38), label(6 * 32 + 2 * 38 + 1)), ("H-38".into(), "J-1".into()));
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layouts_are_read_from_standard_input_in_both_formats() {
    let shop = Shop::any().await;
    let json = r#"{ "sections": [{ "name": "Floor", "price": 5, "capacity": 3 }] }"#;
    let toml = "[[sections]]\nname = \"Floor\"\nprice = 5\ncapacity = 3\n";
    for text in [json, toml] {
        let created = shop.ctl_fed("event create --name x --layout - --json", text).await.json(0);
        assert_eq!(created["total_seats"], 3);
    }
    let ran = shop.ctl_fed("event create --name x --layout -", "[[sections]]\nnmae = 1").await;
    let expected = "holdfastctl: layout -: sections[0]: \"nmae\" is not a field";
    assert!(ran.refusal().starts_with(expected), "{ran:?}");
    let ran = shop.ctl("event create --name x --layout /no/such.toml").await;
    assert!(ran.refusal().contains("layout /no/such.toml: "), "{ran:?}");
    let both = shop.ctl("event create --name x --layout a.toml --general F:1:1").await;
    assert!(both.code == 2 && both.stderr.contains("cannot be used with"), "{both:?}");
    assert_eq!(shop.ctl("event list --json").await.json(0)["events"].as_array().unwrap().len(), 2);
}

on_one_redis!(event_is_changed, async |flavor| {
    let shop = Shop::new(flavor).await;
    let event = shop.world.event(4).await;
    let change =
        async |flags: &str| shop.ctl(&format!("event change {event} {flags} --json")).await.json(0);
    let changed = change("--on-sale-at 2100-01-01T00:00:00Z --name Gala --venue Hall").await;
    assert_eq!((&changed["name"], &changed["venue"]), (&json!("Gala"), &json!("Hall")));
    assert_eq!(changed["on_sale_at"], "2100-01-01T00:00:00.000Z");
    assert_eq!(changed["status"], "SCHEDULED");
    let refused = shop.world.hold("ann", event, &[1], None).await;
    assert!(matches!(refused, Err(SaleError::NotOnSale { .. })), "{refused:?}");

    let changed =
        change("--on-sale-at 2020-01-01T00:00:00Z --starts-at 2030-01-01T00:00:00Z").await;
    assert_eq!((&changed["status"], &changed["name"]), (&json!("ON_SALE"), &json!("Gala")));
    assert_eq!(changed["starts_at"], "2030-01-01T00:00:00.000Z");
    assert_eq!(changed["off_sale_at"], changed["starts_at"], "the sale ends when the doors open");
    let changed = change("--off-sale-at 2029-12-31T00:00:00Z").await;
    assert_eq!(changed["off_sale_at"], "2029-12-31T00:00:00.000Z");
    let refused = shop.ctl(&format!("event change {event} --starts-at 2019-01-01T00:00:00Z")).await;
    assert!(refused.refusal().contains("`starts_at` is before `on_sale_at`"), "{refused:?}");
    shop.hold(event, "ann", &[1]).await;
    assert_eq!(change("--status paused --description Soon").await["status"], "PAUSED");
    let refused = shop.world.hold("bob", event, &[2], None).await;
    assert!(matches!(refused, Err(SaleError::EventPaused(_))), "{refused:?}");
    let shown = shop.ctl(&format!("event show {event} --json")).await.json(0);
    assert_eq!((&shown["description"], &shown["venue"]), (&json!("Soon"), &json!("Hall")));
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_change_is_refused_with_the_reason() {
    let shop = Shop::any().await;
    let unknown = shop.ctl("event change 7 --name x").await;
    assert!(unknown.refusal().contains("event 7 does not exist"), "{unknown:?}");
    for (line, expected) in [
        ("event change 7", "--on-sale-at"),
        ("event change 7 --status SCHEDULED", "possible values: ON_SALE, PAUSED, CLOSED"),
        ("event change 7 --on-sale-at soon", "date, time and offset"),
        ("event change 7 --off-sale-at 2030-01-01T00:00:00+19:00", "±18:00 at most"),
    ] {
        let ran = shop.ctl(line).await;
        assert!(ran.code == 2 && ran.stderr.contains(expected), "{line}: {ran:?}");
    }
}
