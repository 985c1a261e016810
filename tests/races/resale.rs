//! A seat that is sold, cancelled and sold again, over and over, by racing users, while workers
//! fall asleep over its sales and go on with them long after, and an API process stumbles: nobody
//! who pays is told that the seat was sold to another, and no two have it at once.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use holdfast::domain::{EventId, Status};
use holdfast::redis::WORKER_GROUP;
use holdfast::sale::verify::verify;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::time::sleep;

use crate::support::api::{Api, Place, places};
use crate::support::eventually;
use crate::support::http::Reply;

/// How often the seat has to be sold.
const SALES_MIN: usize = 100;
/// Sales while a worker sleeps over an earlier one, and after it woke up.
const SALES_MEANWHILE: usize = 8;
/// Those who want it.
const CALLERS: usize = 4;
/// What each of them wants, in turn: the seat, alone or with its neighbour.
const WISHES: [&[u32]; 2] = [&[1], &[1, 2]];
/// Where workers fall asleep.
const STEPS: [&str; 6] = [
    "after_read",
    "after_ledger",
    "after_states",
    "after_claims",
    "after_outcomes",
    "after_settle",
];
/// Bound of one step: of a take-over, and of some sales.
const STEP: Duration = Duration::from_secs(90);
/// Longest wait of a confirmation: for the take-over of a sleeping worker's batch.
const CONFIRM_WAIT_MS: &str = "20000";
/// Between two asks of a caller who was refused.
const PAUSE: Duration = Duration::from_millis(5);
/// How the stumbling API runs and stops, ms at most.
const RUNS_MS: u64 = 40;
const STOPS_MS: u64 = 120;
/// Workers that take over as early as their time-outs allow.
const WORKER: [(&str, &str); 4] = [
    ("HOLDFAST_WORKER_RECLAIM_IDLE_MS", "3500"),
    ("HOLDFAST_MONGODB_TIMEOUT_MS", "1000"),
    ("HOLDFAST_REDIS_TIMEOUT_MS", "400"),
    ("HOLDFAST_CONFIRM_WAIT_MS", "0"),
];

/// What all of them share.
struct Sales {
    apis: [Api; 2],
    event: u64,
    /// Seat → who was told to have it, and has not begun to give it up.
    owners: Mutex<HashMap<u32, String>>,
    sold: AtomicUsize,
    over: AtomicBool,
}

impl Sales {
    /// Buys the seat and gives it up again, until it is over.
    async fn buy_and_cancel(&self, number: usize) {
        let user = format!("user-{number}");
        let wish = WISHES[number % WISHES.len()];
        while !self.over.load(Ordering::Relaxed) {
            let api = &self.apis[self.sold.load(Ordering::Relaxed) % 2];
            let held = api.hold(&user, self.event, wish).await;
            if held.status != 201 {
                expect(&held, &["seats_unavailable", "outcome_unknown", "service_unavailable"]);
                sleep(PAUSE).await;
                continue;
            }
            let held = held.json(201);
            self.until_200(&user, &held, "confirm").await;
            self.take(&user, wish);
            self.sold.fetch_add(1, Ordering::Relaxed);
            self.give_up(wish);
            self.until_200(&user, &held, "cancel").await;
        }
    }

    /// Asks until it is done; nothing else than being asked to wait is an answer.
    async fn until_200(&self, user: &str, booking: &Value, verb: &str) {
        for turn in 0.. {
            let reply = self.apis[turn % 2].act(user, booking, verb).await;
            match reply.status {
                200 => return,
                202 => {}
                _ => {
                    let waits = ["in_flight", "booking_confirming"];
                    let lost = ["outcome_unknown", "service_unavailable"];
                    expect(&reply, &[waits, lost].concat());
                }
            }
            sleep(PAUSE).await;
        }
    }

    fn take(&self, user: &str, seats: &[u32]) {
        let mut owners = self.owners.lock().unwrap();
        for seat in seats {
            let other = owners.insert(*seat, user.to_owned());
            assert_eq!(other, None, "seat {seat} is {user}'s, too");
        }
    }

    fn give_up(&self, seats: &[u32]) {
        let mut owners = self.owners.lock().unwrap();
        seats.iter().for_each(|seat| drop(owners.remove(seat)));
    }

    async fn sold_so_often(&self, times: usize) {
        eventually(&format!("it is sold {times} times"), STEP, async || {
            self.sold.load(Ordering::Relaxed) >= times
        })
        .await;
    }

    /// One worker after the other falls asleep over a sale, and wakes up when the seat was sold to
    /// others since.
    async fn sleepy_workers(&self, place: &Place) {
        for step in STEPS {
            let fault = format!("{step}:stop:2");
            let mut settings = WORKER.to_vec();
            settings.push(("HOLDFAST_WORKER_FAULT_POINT", &fault));
            let worker = place.worker_with(&settings);
            let asleep = async || worker.is_frozen();
            eventually(&format!("a worker falls asleep {step}"), STEP, asleep).await;
            self.sold_so_often(self.sold.load(Ordering::Relaxed) + SALES_MEANWHILE).await;
            worker.thaw();
            self.sold_so_often(self.sold.load(Ordering::Relaxed) + SALES_MEANWHILE).await;
        }
        self.sold_so_often(SALES_MIN).await;
        self.over.store(true, Ordering::Relaxed);
    }

    /// One API process stops at any moment, also between the steps of a cancellation.
    async fn stumble(&self) {
        let mut rng = StdRng::seed_from_u64(1);
        let process = self.apis[0].process();
        while !self.over.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(rng.random_range(1..RUNS_MS))).await;
            process.freeze();
            sleep(Duration::from_millis(rng.random_range(1..STOPS_MS))).await;
            process.thaw();
        }
    }
}

/// A refusal of one of these kinds.
#[track_caller]
fn expect(reply: &Reply, errors: &[&str]) {
    let problem = reply.any_problem();
    let error = problem["error"].as_str().expect("any_problem() saw it");
    assert!(errors.contains(&error), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_is_cancelled_and_resold_a_hundred_times() {
    let place = Place::shared();
    let patient =
        [("HOLDFAST_REDIS_TIMEOUT_MS", "900"), ("HOLDFAST_CONFIRM_WAIT_MS", CONFIRM_WAIT_MS)];
    let apis = [Api::program(&place, &patient).await, Api::program(&place, &patient).await];
    let _awake = place.worker_with(&WORKER);
    let event = apis[0].event(places(2)).await;
    let sales = Sales {
        apis,
        event,
        owners: Mutex::default(),
        sold: AtomicUsize::new(0),
        over: AtomicBool::new(false),
    };
    let callers = join_all((0..CALLERS).map(|number| sales.buy_and_cancel(number)));
    tokio::join!(callers, sales.sleepy_workers(&place), sales.stumble());

    let (engine, archive) = place.services().await;
    let report = verify(&engine, &archive, WORKER_GROUP, None, STEP).await.unwrap();
    assert!(report.clean, "{report:#?}");
    let event = EventId(event as u32);
    let bookings = archive.bookings_of_event(event, None, 10_000).await.unwrap();
    let ends = |status| bookings.iter().filter(|one| one.booking.status == status).count();
    // Each sale was cancelled by its buyer, and no other: none was refused to one who paid.
    assert_eq!(ends(Status::Voided), 0);
    let sold = bookings.iter().filter(|one| one.outcome.is_some()).count();
    assert_eq!((sold, ends(Status::Confirmed)), (sales.sold.into_inner(), 0));
    assert!(sold >= SALES_MIN);
}
