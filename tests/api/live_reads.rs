//! Seat maps and counts from the live view: shared bodies, changes since a version, words instead of
//! numbers, and reads without a view.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use futures_util::future::join_all;
use holdfast::config::Config;
use holdfast::config::values::Detail;
use serde_json::{Value, json};

use super::names;
use crate::support::api::{Api, Place, places, shared_api, small_event};
use crate::support::eventually;
use crate::support::http::{Client, Reply};

/// Generous timeout for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const BYTES: &str = "application/octet-stream";
/// An admin key, and its hash in the settings.
const KEY: &str = "open-sesame";
const KEY_SHA256: &str = "ops:d7ecdf25eaf3deba0f2628771dbdd22d4138ab6cf38f91ed02a2ca0dec7c8ab7";
const LOOKUPS: &str = "holdfast_seat_map_looks_total";

fn seats(event: u64) -> String {
    format!("/api/v1/events/{event}/seats")
}

fn decompressed(reply: &Reply) -> Vec<u8> {
    assert_eq!(reply.header("content-encoding"), Some("gzip"), "{}", reply.status);
    let mut bytes = Vec::new();
    GzDecoder::new(&reply.bytes[..]).read_to_end(&mut bytes).expect("whole");
    bytes
}

/// State by seat, and the version.
fn read(map: &Value) -> (BTreeMap<u64, String>, u64) {
    let seat =
        |seat: &Value| (seat["id"].as_u64().unwrap(), seat["status"].as_str().unwrap().to_owned());
    let seats = map["seats"].as_array().unwrap().iter().map(seat).collect();
    (seats, map["version"].as_u64().unwrap())
}

#[tokio::test]
async fn compressed_bodies_equal_plain_ones_and_have_their_own_etags() {
    let api = shared_api().await;
    let event = api.event(small_event()).await;
    api.held("ann", event, &[2]).await;
    let availability = format!("/api/v1/events/{event}/availability");
    api.shown(availability.clone(), |counts| counts["held_seats"] == 1).await;
    let (map, stalls) = (seats(event), format!("{}?section=Stalls", seats(event)));
    for (path, accept) in [(&map, "*/*"), (&map, BYTES), (&stalls, "*/*"), (&availability, "*/*")] {
        let ask = || api.get(path).header("Accept", accept);
        let plain = ask().send().await;
        let packed = ask().header("Accept-Encoding", "gzip").send().await;
        assert_eq!(decompressed(&packed), plain.bytes, "{path} {accept}");
        assert_eq!(plain.header("content-encoding"), None);
        let (tag, packed_tag) = (plain.header("etag").unwrap(), packed.header("etag").unwrap());
        assert_ne!(tag, packed_tag);
        for reply in [&plain, &packed] {
            let vary = reply.header("vary").unwrap();
            assert!(vary.contains("Accept-Encoding"), "{vary}");
            assert_eq!(reply.header("cache-control"), Some("public, max-age=5"));
        }
        let known = async |tag: &str, encoding: &str| {
            let ask = ask().header("Accept-Encoding", encoding).header("If-None-Match", tag);
            let reply = ask.send().await;
            assert_eq!(reply.status == 304, reply.bytes.is_empty());
            (reply.status, reply.header("etag").unwrap().to_owned())
        };
        assert_eq!(known(tag, "identity").await, (304, tag.to_owned()));
        assert_eq!(known(packed_tag, "gzip").await, (304, packed_tag.to_owned()));
        assert_eq!(known(packed_tag, "identity").await, (200, tag.to_owned()));
        assert_eq!(known(tag, "gzip").await, (200, packed_tag.to_owned()));
    }
}

#[tokio::test]
async fn changes_since_a_version_add_up_to_the_map() {
    let api = shared_api().await;
    let event = api.event(places(40)).await;
    // Changes are known since the view was built.
    eventually("the view is used", PATIENCE, async || {
        let whole = api.get(&seats(event)).send().await.json(200);
        let since = format!("{}?since={}", seats(event), whole["version"]);
        api.held("ann", event, &[40]).await;
        let path = seats(event);
        api.shown(path, |map| map["version"].as_u64() > whole["version"].as_u64()).await;
        api.get(&since).send().await.json(200)["full"] == false
    })
    .await;
    let (mut known, mut version) = read(&api.get(&seats(event)).send().await.json(200));
    let mut small = 0;
    for round in 0..8_u32 {
        let bookings = join_all((1..=3).map(|n| {
            let seat = [round * 4 % 36 + n];
            let (api, user) = (&api, format!("user-{round}-{n}"));
            async move { (api.hold(&user, event, &seat).await, user) }
        }));
        for (n, (reply, user)) in bookings.await.into_iter().enumerate() {
            if reply.status == 201 && n % 2 == 0 {
                api.act(&user, &reply.json(201), "cancel").await.json(200);
            }
        }
        let path = format!("{}?since={version}", seats(event));
        let changed = api.shown(path, |map| map["version"].as_u64() != Some(version)).await;
        assert_eq!(changed["full"], false, "{changed}");
        let (changes, newer) = read(&changed);
        assert!(newer > version && changes.len() < 40, "{changes:?}");
        small += usize::from(changes.len() <= 6);
        known.extend(changes);
        version = newer;
        // The whole map at the same version, if nothing changed in between.
        let (whole, at) = read(&api.get(&seats(event)).send().await.json(200));
        if at == version {
            assert_eq!(known, whole, "version {at}");
        }
    }
    assert!(small > 0, "only changed seats are sent");
    eventually("map and changes are equal in the end", PATIENCE, async || {
        let path = format!("{}?since={version}", seats(event));
        let (changes, newer) = read(&api.get(&path).send().await.json(200));
        known.extend(changes);
        version = newer;
        let whole = api.get(&seats(event)).send().await.json(200);
        whole["version"].as_u64() == Some(version) && read(&whole).0 == known
    })
    .await;
}

#[tokio::test]
async fn whole_map_is_sent_where_changes_are_unknown() {
    let place = Place::shared();
    let one = Api::here(place.config()).await;
    let event = one.event(places(10)).await;
    let first = one.get(&seats(event)).send().await.json(200);
    for seat in 1..=3 {
        one.held("ann", event, &[seat]).await;
    }
    // Another process starts with the current state.
    let other = Api::here(place.config()).await;
    let shown = other.shown(seats(event), |map| map["available_seats"] == 7).await;
    let since = format!("{}?since={}-{}", seats(event), first["generation"], first["version"]);
    let map = other.get(&since).send().await.json(200);
    assert_eq!((&map["full"], read(&map).0.len()), (&json!(true), 10));
    // For a version that does not exist yet, the client gets the whole map.
    let version = shown["version"].as_u64().unwrap();
    let map = other.get(&format!("{}?since={}", seats(event), version + 1_000)).send().await;
    assert_eq!(map.json(200)["full"], true);
    // With a status filter, changes would not show which seats have left the status.
    other.held("bob", event, &[9]).await;
    other.shown(seats(event), |map| map["available_seats"] == 6).await;
    let free = format!("{}?status=AVAILABLE&since={version}", seats(event));
    let map = other.get(&free).send().await.json(200);
    assert_eq!((&map["full"], read(&map).0.len()), (&json!(true), 6));
    let (one, other) = (one.stop(), other.stop());
    tokio::join!(one, other);
}

/// Sends requests until a condition holds; returns the number of responses.
async fn crowd(api: &Client, path: &str, until: impl AsyncFn() -> bool) -> usize {
    let mut answers = 0;
    let deadline = Instant::now() + PATIENCE;
    while !until().await {
        assert!(Instant::now() < deadline, "not in time");
        let replies = join_all((0..20).map(|_| api.get(path).send())).await;
        replies.iter().for_each(|reply| assert_eq!(reply.status, 200, "{}", reply.text()));
        answers += replies.len();
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crowd_is_served_from_few_renders() {
    let config = Config { seat_map_renders_per_second: 2, ..Place::shared().config() };
    let api = Api::here(config).await;
    let event = api.event(places(200)).await;
    eventually("the view is used", PATIENCE, async || {
        api.get(&seats(event)).send().await.json(200);
        api.labelled_metric(&format!("{LOOKUPS}{{from=\"view\"}}")).await > 0.0
    })
    .await;
    let render = "holdfast_seat_map_renders_total{form=\"map\"}";
    let before = api.labelled_metric(render).await;
    let begun = Instant::now();
    let holds = async {
        for seat in 1..=60 {
            api.held(&format!("user-{seat}"), event, &[seat]).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let path = seats(event);
    let is_shown = async || {
        api.get(&path).send().await.json(200)["available_seats"] == 140
            && begun.elapsed().as_secs() > 2
    };
    let (answers, ()) = tokio::join!(crowd(&api, &path, is_shown), holds);
    let renders = api.labelled_metric(render).await - before;
    let seconds = begun.elapsed().as_secs_f64();
    println!("{answers} responses from {renders} renders in {seconds:.1} s");
    assert!(renders >= 2.0, "{renders}: changes are rendered");
    assert!(renders <= 2.0 * seconds + 2.0, "{renders} in {seconds} s");
    let shared = api.labelled_metric("holdfast_seat_map_answers_total{how=\"shared\"}").await;
    assert!(shared >= answers as f64 / 2.0, "{shared} of {answers}");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_without_a_view_are_coalesced_and_right() {
    // No event fits into the live view.
    let config =
        Config { live_seats_max: 0, seat_map_renders_per_second: 2, ..Place::shared().config() };
    let api = Api::here(config).await;
    let event = api.event(places(20)).await;
    let first = api.get(&seats(event)).send().await.json(200);
    api.held("ann", event, &[5]).await;
    let path = format!("/api/v1/events/{event}");
    api.shown(path.clone(), |event| event["available_seats"] == 19).await;
    let snapshot = "holdfast_script_duration_seconds_count{script=\"snapshot\"}";
    let before = api.labelled_metric(snapshot).await;
    let begun = Instant::now();
    let enough = async || begun.elapsed().as_secs() >= 2;
    let map = seats(event);
    let both = tokio::join!(crowd(&api, &path, &enough), crowd(&api, &map, &enough));
    let snapshots = api.labelled_metric(snapshot).await - before;
    let seconds = begun.elapsed().as_secs_f64();
    println!("{both:?} responses from {snapshots} snapshots in {seconds:.1} s");
    // Maps and counts are coalesced separately.
    let most = 2.0 * (2.0 * seconds + 2.0);
    assert!((2.0..=most).contains(&snapshots), "{snapshots} in {seconds} s");
    api.counts_become(event, (19, 1, 0)).await;
    let since = format!("{}?since={}", seats(event), first["version"]);
    assert_eq!(api.get(&since).send().await.json(200)["full"], true, "changes are unknown");
    assert_eq!(api.labelled_metric(&format!("{LOOKUPS}{{from=\"view\"}}")).await, 0.0);
    api.stop().await;
}

#[tokio::test]
async fn public_sees_words_and_admins_see_numbers() {
    let config = Config {
        public_availability: Detail::Coarse,
        admin_keys_sha256: vec![KEY_SHA256.parse().unwrap()],
        ..Place::shared().config()
    };
    let api = Api::here(config).await;
    let created = api.post("/api/v1/events").header("X-Admin-Key", KEY).json(places(10));
    let event = created.send().await.json(201)["id"].as_u64().unwrap();
    api.held("ann", event, &(1..=9).collect::<Vec<u32>>()).await;
    let one = format!("/api/v1/events/{event}");
    let admins = async |path: &str| {
        let reply = api.get(path).header("X-Admin-Key", KEY).send().await;
        (reply.json(200), reply)
    };
    let is_shown = async || {
        let (event, _) = admins(&one).await;
        let (counts, _) = admins(&format!("{one}/availability")).await;
        event["available_seats"] == 1 && counts["available_seats"] == 1
    };
    eventually("the hold is shown", PATIENCE, is_shown).await;
    for path in ["", "/availability", "/seats", "/seats?section=Floor", "/seats?since=0"] {
        let path = format!("{one}{path}");
        let public = api.get(&path).send().await;
        let body = public.json(200);
        assert_eq!(body["availability"], "FEW_LEFT", "{body}");
        for number in ["available_seats", "held_seats", "booked_seats", "blocked_seats"] {
            assert!(!body.to_string().contains(number), "{number} in {path}: {body}");
        }
        let (exact, reply) = admins(&path).await;
        assert_eq!(
            (&exact["available_seats"], &exact["availability"]),
            (&json!(1), &json!("FEW_LEFT"))
        );
        if path != one {
            assert_ne!(public.header("etag"), reply.header("etag"), "{path}");
            assert_eq!(reply.header("cache-control"), Some("private, no-cache"));
            assert!(public.header("vary").unwrap().contains("X-Admin-Key"));
        }
        api.get(&path)
            .header("X-Admin-Key", "open-sesam")
            .send()
            .await
            .problem(403, "admin_key_wrong");
    }
    let listed = api.get("/api/v1/events").send().await.json(200);
    assert_eq!(listed["events"][0]["availability"], "FEW_LEFT");
    assert!(!listed.to_string().contains("available_seats"), "{listed}");
    api.held("bob", event, &[10]).await;
    let sold_out = |event: &Value| event["is_sold_out"] == true;
    assert_eq!(api.shown(one, sold_out).await["availability"], "SOLD_OUT");
    api.stop().await;
}

#[tokio::test]
async fn cache_stats_count_keys_and_hits() {
    let api = Api::here(Place::shared().config()).await;
    let stats = async || api.get("/cache/stats").send().await.json(200);
    // The alias has the same body.
    let alias = api.get("/api/v1/cache/stats").send().await;
    assert_eq!(
        (names(&alias.json(200)), alias.header("cache-control")),
        (names(&stats().await), Some("no-store"))
    );
    let empty = stats().await;
    assert_eq!((&empty["total_keys"], &empty["stats"]["hit_rate"]), (&json!(0), &json!(0.0)));
    let event = api.event(places(10)).await;
    eventually("the view is there", PATIENCE, async || {
        api.get(&seats(event)).send().await.json(200);
        api.get(&format!("/api/v1/events/{event}/availability")).send().await.json(200);
        let keys = stats().await["keys_breakdown"].clone();
        ["events", "seats", "availability"].iter().all(|kind| keys[kind].as_u64() > Some(0))
    })
    .await;
    let before = stats().await;
    for _ in 0..10 {
        api.get(&seats(event)).send().await.json(200);
    }
    let after = stats().await;
    let count = |stats: &Value, name: &str| stats["stats"][name].as_u64().unwrap();
    assert!(count(&after, "keyspace_hits") > count(&before, "keyspace_hits"), "{after}");
    let keys = after["keys_breakdown"].as_object().unwrap().values();
    assert_eq!(after["total_keys"], keys.map(|count| count.as_u64().unwrap()).sum::<u64>());
    let (hits, misses) = (count(&after, "keyspace_hits"), count(&after, "keyspace_misses"));
    assert_eq!(
        hits + misses,
        count(&before, "keyspace_hits") + count(&before, "keyspace_misses") + 10
    );
    assert_eq!(after["live_view"]["seats"], 10);
    assert!(after["bytes"].as_u64() > Some(1_000), "{after}");
    api.stop().await;
}

#[tokio::test]
async fn refused_hold_lists_free_seats_nearby() {
    let api = shared_api().await;
    let event = api.event(small_event()).await;
    api.held("ann", event, &[5, 6]).await;
    let ask = async |query: &str, seats: &[u32]| {
        let body = json!({ "event_id": event, "seat_ids": seats });
        api.post(&format!("/api/v1/bookings{query}")).user("bob").json(body).send().await
    };
    let refused = ask("", &[5]).await.problem(409, "seats_unavailable");
    assert_eq!(refused["alternatives"], Value::Null, "none were requested");
    let mut alternatives = Value::Null;
    eventually("the view has the event", PATIENCE, async || {
        let refused = ask("?alternatives=3", &[5]).await.problem(409, "seats_unavailable");
        assert_eq!(refused["seats"], json!([{ "id": 5, "status": "HOLD" }]));
        alternatives = refused["alternatives"].clone();
        alternatives.as_array().unwrap().len() == 3
    })
    .await;
    assert_eq!(alternatives, json!([[4], [7], [8]]), "row B is 4 to 8");
    let refused = ask("?alternatives=2", &[5, 6]).await.problem(409, "seats_unavailable");
    assert_eq!(refused["alternatives"], json!([[7, 8], [2, 3]]));
    // The listed seats can be held.
    ask("?alternatives=2", &[7, 8]).await.json(201);
    for bad in ["21", "-1", "x"] {
        let refused = ask(&format!("?alternatives={bad}"), &[1]).await;
        refused.problem(400, "invalid_parameter");
    }
}
