//! Many callers, few seats, two API processes: no seat has two holders, and every response grants or
//! refuses.

mod mixed;
mod paid;
mod resale;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use holdfast::start::raise_open_files;
use serde_json::{Value, json};

use crate::on_one_redis;
use crate::support::api::{Api, Place, places};
use crate::support::eventually;
use crate::support::http::{Client, Reply};
use crate::support::process::Process;
use crate::support::servers::{Flavor, shared_mongodb, shared_redis};

/// Payment attempts of a booking: as many as a slow machine may cost, since one whose reply was lost
/// is one.
const ATTEMPTS_MAX: &str = "1000";

/// Two API processes of one deployment, and a number of workers.
struct Pair {
    apis: [Api; 2],
    place: Place,
    _workers: Vec<Process>,
}

impl Pair {
    async fn new(flavor: Flavor) -> Self {
        Pair::with_workers(flavor, 0, Duration::ZERO).await
    }

    /// With so many workers, and confirmations that wait so long for the archive.
    async fn with_workers(flavor: Flavor, workers: usize, confirm_wait: Duration) -> Self {
        raise_open_files();
        let place = Place::new(shared_redis(flavor), shared_mongodb());
        let wait_ms = confirm_wait.as_millis().to_string();
        // A busy machine is slow, which is not what is tested here: patient clients may need more
        // than ten attempts.
        let patient = [
            ("HOLDFAST_REDIS_TIMEOUT_MS", "900"),
            ("HOLDFAST_CONFIRM_WAIT_MS", &wait_ms),
            ("HOLDFAST_CONFIRM_ATTEMPTS_MAX", ATTEMPTS_MAX),
        ];
        let apis = [
            Api::program(&place, &patient).await.patient(),
            Api::program(&place, &patient).await.patient(),
        ];
        let mut all = Vec::new();
        for _ in 0..workers {
            all.push(place.worker_at_work(&[]).await);
        }
        Pair { apis, place, _workers: all }
    }

    /// The n-th caller's process.
    fn turn(&self, n: usize) -> &Client {
        &self.apis[n % 2]
    }

    /// Sends all holds at once, each as another user; returns the responses.
    async fn rush(&self, event: u64, crowd: &str, wishes: &[Vec<u32>]) -> Vec<Reply> {
        let asks = wishes.iter().enumerate().map(|(n, seats)| {
            let user = format!("{crowd}-{n}");
            async move { self.turn(n).hold(&user, event, seats).await }
        });
        join_all(asks).await
    }
}

/// Counts responses by status.
fn tally(replies: &[Reply]) -> BTreeMap<u16, usize> {
    let mut tally = BTreeMap::new();
    for reply in replies {
        *tally.entry(reply.status).or_default() += 1;
    }
    tally
}

/// The seats of a booking.
fn seats(booking: &Value) -> Vec<u32> {
    let seats = booking["seats"].as_array().expect("a booking has seats").iter();
    seats.map(|seat| seat["seat_id"].as_u64().expect("a seat has an id") as u32).collect()
}

/// Returns the held seats by the map, which may be a moment old.
async fn held_seats(api: &Client, event: u64) -> BTreeSet<u32> {
    let map = api.get(&format!("/api/v1/events/{event}/seats?status=HOLD")).send().await.json(200);
    let seats = map["seats"].as_array().unwrap().iter();
    seats.map(|seat| seat["id"].as_u64().unwrap() as u32).collect()
}

on_one_redis!(hundred_callers_for_one_seat_get_it_once, async |flavor| {
    let pair = Pair::new(flavor).await;
    let event = pair.turn(0).event(places(5)).await;
    let replies = pair.rush(event, "user", &vec![vec![3]; 100]).await;
    assert_eq!(tally(&replies), BTreeMap::from([(201, 1), (409, 99)]));
    for refused in replies.iter().filter(|reply| reply.status == 409) {
        let problem = refused.problem(409, "seats_unavailable");
        assert_eq!(problem["detail"], "Seat 3 is not available");
    }
    pair.turn(1).counts_become(event, (4, 1, 0)).await;
});

on_one_redis!(thousand_callers_for_ten_seats_get_each_once, async |flavor| {
    let pair = Pair::new(flavor).await;
    let mut event = places(100);
    event["max_seats_per_user"] = 10.into();
    let event = pair.turn(0).event(event).await;
    // Ninety are gone before the rush begins.
    let early: Vec<Vec<u32>> = (0..9).map(|n| (n * 10 + 1..=n * 10 + 10).collect()).collect();
    assert_eq!(tally(&pair.rush(event, "early", &early).await), BTreeMap::from([(201, 9)]));
    let wishes: Vec<Vec<u32>> = (0..1_000).map(|n| vec![91 + n % 10]).collect();
    let replies = pair.rush(event, "user", &wishes).await;
    assert_eq!(tally(&replies), BTreeMap::from([(201, 10), (409, 990)]));
    let won: BTreeSet<u32> =
        replies.iter().filter(|r| r.status == 201).flat_map(|r| seats(&r.json(201))).collect();
    assert_eq!(won, (91..=100).collect());
    pair.turn(1).counts_become(event, (0, 100, 0)).await;
});

on_one_redis!(five_thousand_callers_and_a_thousand_places, async |flavor| {
    const CALLERS: usize = 5_000;
    const PLACES: u32 = 1_000;
    // As many as hold a connection at a time.
    const AT_ONCE: usize = 64;
    let pair = Pair::new(flavor).await;
    let event = pair.turn(0).event(places(PLACES)).await;
    let asks = (0..CALLERS).map(|n| {
        let body = json!({ "event_id": event, "section": "Floor", "quantity": 1 });
        let ask = pair.turn(n).post("/api/v1/bookings").user(&format!("user-{n}"));
        async move { ask.json(body).send().await }
    });
    let replies: Vec<Reply> = stream::iter(asks).buffer_unordered(AT_ONCE).collect().await;
    let (granted, refused) = (PLACES as usize, CALLERS - PLACES as usize);
    assert_eq!(tally(&replies), BTreeMap::from([(201, granted), (409, refused)]));
    let mut tickets = BTreeSet::new();
    for won in replies.iter().filter(|reply| reply.status == 201) {
        for seat in seats(&won.json(201)) {
            assert!(tickets.insert(seat), "place {seat} has two holders");
        }
    }
    assert_eq!(tickets, (1..=PLACES).collect());
    pair.turn(1).counts_become(event, (0, u64::from(PLACES), 0)).await;
});

on_one_redis!(overlapping_holds_are_granted_whole_or_not_at_all, async |flavor| {
    let pair = Pair::new(flavor).await;
    const SEATS: u32 = 40;
    let event = pair.turn(0).event(places(SEATS)).await;
    let wishes: Vec<Vec<u32>> = (0..300)
        .map(|n| {
            let first = n * 7 % (SEATS - 2) + 1;
            vec![first, first + 1, first + 2]
        })
        .collect();
    let replies = pair.rush(event, "user", &wishes).await;
    let mut held = BTreeSet::new();
    for (reply, wish) in replies.iter().zip(&wishes) {
        match reply.status {
            201 => {
                assert_eq!(&seats(&reply.json(201)), wish, "a hold is whole");
                assert!(wish.iter().all(|seat| held.insert(*seat)), "{wish:?} has two holders");
            }
            _ => drop(reply.problem(409, "seats_unavailable")),
        }
    }
    let granted = replies.iter().filter(|reply| reply.status == 201).count();
    assert!(granted >= SEATS as usize / 5, "{granted} granted");
    for wish in &wishes {
        assert!(wish.iter().any(|seat| held.contains(seat)), "{wish:?} was refused while free");
    }
    // The map shows exactly the seats of granted holds.
    for api in [pair.turn(0), pair.turn(1)] {
        let bound = Duration::from_secs(60);
        eventually("all are shown", bound, async || held_seats(api, event).await == held).await;
    }
});

on_one_redis!(one_key_sent_many_times_creates_one_booking, async |flavor| {
    let pair = Pair::new(flavor).await;
    let event = pair.turn(0).event(places(100)).await;
    let body = json!({ "event_id": event, "seat_ids": [1, 2] });
    let asks = (0..60).map(|n| {
        let ask = pair.turn(n).post("/api/v1/bookings").user("ann").json(body.clone());
        ask.header("Idempotency-Key", "one").send()
    });
    let replies = join_all(asks).await;
    let ids: BTreeSet<String> = replies.iter().map(|r| r.json(201)["id"].to_string()).collect();
    assert_eq!(ids.len(), 1);
    let fresh = replies.iter().filter(|r| r.header("idempotent-replayed").is_none()).count();
    // A client whose first response was lost repeats the request, and its own booking is replayed.
    let is_lost = replies.iter().any(|reply| reply.repeats > 0);
    assert!(fresh == 1 || (fresh == 0 && is_lost), "{fresh} made one");
    pair.turn(0).counts_become(event, (98, 2, 0)).await;
});

on_one_redis!(lapsed_hold_is_available_without_a_worker, async |flavor| {
    let pair = Pair::new(flavor).await;
    let mut event = places(3);
    // Long enough not to lapse on a stalled machine before bob's hold.
    event["hold_ttl_seconds"] = 6.into();
    let event = pair.turn(0).event(event).await;
    let anns = pair.turn(0).held("ann", event, &[2]).await;
    pair.turn(1).hold("bob", event, &[2]).await.problem(409, "seats_unavailable");
    let mut bobs = Value::Null;
    eventually("it lapses for another caller", Duration::from_secs(60), async || {
        let reply = pair.turn(1).hold("bob", event, &[1, 2]).await;
        bobs = if reply.status == 201 { reply.json(201) } else { Value::Null };
        !bobs.is_null()
    })
    .await;
    let time = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(time(&bobs["created_at"]) >= time(&anns["hold_expires_at"]), "{anns} {bobs}");
    let anns = pair.turn(0).booking("ann", &anns).await.json(200);
    assert_eq!(anns["status"], "EXPIRED");
    pair.turn(0).act("ann", &anns, "confirm").await.problem(410, "booking_expired");
});
