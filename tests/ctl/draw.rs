//! `draw`: shown from the archive, verified from public data alone.

use holdfast::archive::{FixedDraw, StoredDraw, StoredRoom};
use holdfast::domain::draw::{commitment, hex, next_join, seed};
use holdfast::domain::{Draw, RoomSettings, UserId};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const EVENT: EventId = EventId(7);
const SECRET: [u8; 32] = [7; 32];
const JOINERS: u64 = 500;
/// The time of all published data here, Unix ms.
const AT_MS: i64 = 1_763_700_000_000;

/// The running hash of all joins.
fn joins_hash() -> String {
    (1..=JOINERS).fold(hex(&commitment(&SECRET)), |hash, number| {
        let user: UserId = format!("user {number}").parse().unwrap();
        next_join(&hash, number, &user)
    })
}

/// A shop whose event has a room with a gathering draw.
async fn gathering() -> Shop {
    let shop = Shop::any().await;
    let room = StoredRoom {
        event: EVENT,
        revision: 1,
        settings: RoomSettings { on: true, shuffle: true, ..RoomSettings::default() },
        draw: Some(StoredDraw::open(&SECRET, AT_MS)),
        by: "ann".into(),
        at_ms: AT_MS,
    };
    assert!(shop.world.archive.change_room(&room).await.unwrap());
    shop
}

/// A shop with a fixed draw, and its published data.
async fn fixed() -> (Shop, Value) {
    let shop = gathering().await;
    let joins = FixedDraw { joiners: JOINERS, joins_hash: joins_hash(), at_ms: AT_MS + 1 };
    shop.world.archive.fix_draw(EVENT, &joins).await.unwrap().unwrap();
    let published = shop.ctl("draw show --event 7 --json").await.json(0);
    (shop, published)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secret_is_shown_once_the_draw_is_fixed() {
    let shop = gathering().await;
    let committed = hex(&commitment(&SECRET));
    let published = shop.ctl("draw show --event 7 --json").await.json(0);
    assert_eq!(
        (&published["status"], &published["commitment"]),
        (&"gathering".into(), &committed.into())
    );
    let text = shop.ctl("draw show --event 7").await;
    for shown in [published.to_string(), text.stdout] {
        assert!(!shown.contains(&hex(&SECRET)), "{shown}");
    }
    let refusal = shop.ctl_fed("draw verify --event 7 --file -", &published.to_string()).await;
    assert!(refusal.refusal().contains("people still gather for it"));

    let (shop, published) = fixed().await;
    assert_eq!((&published["status"], &published["joiners"]), (&"fixed".into(), &JOINERS.into()));
    assert_eq!(published["secret"], hex(&SECRET));
    let text = shop.ctl("draw show --event 7").await;
    assert!(text.code == 0 && text.stdout.contains(&joins_hash()), "{text:?}");
    assert!(shop.ctl("draw show --event 8").await.refusal().contains("event 8 has no draw"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_place_is_computed_from_public_data() {
    let (shop, published) = fixed().await;
    // It gets no services.
    let nowhere = [
        ("HOLDFAST_REDIS_URL", "redis://127.0.0.1:1"),
        ("HOLDFAST_MONGODB_URL", "mongodb://127.0.0.1:1"),
    ];
    let verify = async |more: &str, published: &Value| {
        let line = format!("draw verify --event 7 --file - {more}");
        shop.run(&line, &nowhere, &published.to_string()).await
    };
    let draw = Draw::new(seed(&SECRET, &joins_hash(), JOINERS), JOINERS);
    let report = verify("--number 1,499 --number 501 --json", &published).await.json(0);
    let placed = |number: u64| {
        let drawn = number <= JOINERS;
        serde_json::json!({ "number": number, "place": draw.place(number), "drawn": drawn })
    };
    let expected: Value = [1, 499, 501].map(placed).to_vec().into();
    assert_eq!((&report["as_committed"], &report["places"]), (&true.into(), &expected));

    let commitment = published["commitment"].as_str().unwrap().to_owned();
    let text = verify(&format!("--number 1,501 --commitment {commitment}"), &published).await;
    assert!(text.code == 0 && text.stdout.contains("is as it was committed to"), "{text:?}");
    assert!(text.stdout.contains("joined after the draw"), "{text:?}");

    let changed = |name: &str, value: &str| {
        let mut published = published.clone();
        published[name] = value.into();
        published
    };
    let other = hex(&[8; 32]);
    verify("", &changed("secret", &other)).await.ended(1);
    let text = verify("", &changed("commitment", &other)).await;
    assert!(text.code == 1 && text.stdout.contains("NOT as it was committed to"), "{text:?}");
    let report = verify(&format!("--commitment {other} --json"), &published).await.json(1);
    assert!(report["problems"][0].as_str().unwrap().contains(&commitment), "{report}");
    let report = verify("--number 1 --json", &changed("joins_hash", &"ab".repeat(20))).await;
    assert_ne!(report.json(0)["places"][0]["place"], draw.place(1), "other joins, other places");

    for (published, expected) in [
        (changed("algorithm", "dice"), "made by \"dice\""),
        (changed("joins_hash", "x"), "its joins_hash is not"),
        (changed("status", "lost"), "is not a draw"),
        (Value::Null, "is not a draw"),
    ] {
        let refusal = verify("", &published).await;
        assert!(refusal.refusal().contains(expected), "{refusal:?}");
    }
    let mut foreign = published.clone();
    foreign["event_id"] = 8.into();
    assert!(verify("", &foreign).await.refusal().contains("the draw of event 8, not of 7"));
    shop.ctl("draw verify --event 7").await.ended(2);
}

/// Serves one HTTP response and returns the request.
async fn one_answer(answer: String) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4_096];
        let bytes = stream.read(&mut head).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&head[..bytes]).into_owned()
    });
    (url, task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draw_is_fetched_from_an_api() {
    let (shop, published) = fixed().await;
    let body = published.to_string();
    let length = body.len();
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    let (url, request) = one_answer(answer).await;
    let report = shop.ctl(&format!("draw verify --event 7 --url {url}/ --json")).await.json(0);
    assert_eq!(report["draw"], published);
    let head = request.await.unwrap();
    assert!(head.starts_with("GET /api/v1/events/7/waiting-room/draw HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("user-agent: holdfastctl/"), "{head}");

    let (url, _) = one_answer("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".into()).await;
    let refusal = shop.ctl(&format!("draw verify --event 7 --url {url}")).await;
    assert!(refusal.refusal().contains("answered 404"), "{refusal:?}");
    for (url, expected) in [("http://127.0.0.1:1", "refused"), ("tickets", "https://tickets.")] {
        let refusal = shop.ctl(&format!("draw verify --event 7 --url {url}")).await;
        assert!(refusal.refusal().contains(expected), "{refusal:?}");
    }
}
