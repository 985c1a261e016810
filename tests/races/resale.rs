//! A seat is sold, cancelled and sold again many times by racing users, while workers stop in the
//! middle of its sales and continue much later, and an API process stalls: no paid booking loses the
//! seat to another user, and no two own it at once.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use holdfast::domain::{EventId, Status};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::ATTEMPTS_MAX;
use crate::support::api::{Api, Place, places};
use crate::support::consistency::{archived_bookings, wait_until_consistent};
use crate::support::http::Reply;
use crate::support::{eventually, long_or};

/// Least sales of the seat in a long and in a short run.
const SALES_MIN: (usize, usize) = (100, 30);
/// Sales while a worker is stopped in an earlier one, and after it continues.
const SALES_MEANWHILE: usize = 8;
/// Racing users.
const CALLERS: usize = 4;
/// The seats that each of them holds, in turn.
const WANTED: [&[u32]; 2] = [&[1], &[1, 2]];
/// Steps at which workers stop.
const STEPS: [&str; 6] = [
    "after_read",
    "after_ledger",
    "after_states",
    "after_claims",
    "after_outcomes",
    "after_settle",
];
/// Bound of one step: of a take-over, and of some sales. Generous: the archive may be slow.
const STEP: Duration = Duration::from_secs(240);
/// Longest wait of a confirmation: for the take-over of a stopped worker's batch.
const CONFIRM_WAIT_MS: &str = "20000";
/// Pause of a refused caller.
const PAUSE: Duration = Duration::from_millis(5);
/// How long after the request to cancel the API is stopped, µs at most; and for how long: others try
/// to buy the seat meanwhile.
const CANCELS_FOR_US: u64 = 6_000;
const STOPS: Duration = Duration::from_millis(200);
/// Workers that take over as early as their time-outs allow.
const WORKER: [(&str, &str); 4] = [
    ("HOLDFAST_WORKER_RECLAIM_IDLE_MS", "3500"),
    ("HOLDFAST_MONGODB_TIMEOUT_MS", "1000"),
    ("HOLDFAST_REDIS_TIMEOUT_MS", "400"),
    ("HOLDFAST_CONFIRM_WAIT_MS", "0"),
];

/// State that all users share.
struct Sales {
    apis: [Api; 2],
    event: u64,
    /// Seat → the user whose responses show it as owner and who has not begun to cancel.
    owners: Mutex<HashMap<u32, String>>,
    sold: AtomicUsize,
    /// A cancellation was sent to the first API.
    cancelling: Notify,
    over: AtomicBool,
}

impl Sales {
    /// Buys the seat and gives it up again, until it is over.
    async fn buy_and_cancel(&self, number: usize) {
        let user = format!("user-{number}");
        let wanted = WANTED[number % WANTED.len()];
        while !self.over.load(Ordering::Relaxed) {
            let held = self.apis[number % 2].hold(&user, self.event, wanted).await;
            if held.status != 201 {
                if held.status != 503 {
                    held.problem(409, "seats_unavailable");
                }
                sleep(PAUSE).await;
                continue;
            }
            let held = held.json(201);
            self.until_200(number, &user, &held, "confirm").await;
            self.take(&user, wanted);
            self.sold.fetch_add(1, Ordering::Relaxed);
            self.give_up(wanted);
            self.cancelling.notify_one();
            self.until_200(0, &user, &held, "cancel").await;
        }
    }

    /// Repeats a request at alternating APIs until it is done; other responses must ask to wait.
    async fn until_200(&self, first: usize, user: &str, booking: &Value, verb: &str) {
        for turn in first.. {
            let reply = self.apis[turn % 2].act(user, booking, verb).await;
            match reply.status {
                200 => return,
                // Not decided or not known yet: services may be slow.
                202 | 503 => {}
                _ => expect(&reply, &["in_flight", "booking_confirming"]),
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
            let worker = place.worker_at_work(&settings).await;
            let asleep = async || worker.is_frozen();
            eventually(&format!("a worker falls asleep {step}"), STEP, asleep).await;
            self.sold_so_often(self.sold.load(Ordering::Relaxed) + SALES_MEANWHILE).await;
            worker.thaw();
            self.sold_so_often(self.sold.load(Ordering::Relaxed) + SALES_MEANWHILE).await;
        }
        self.sold_so_often(long_or(SALES_MIN.0, SALES_MIN.1)).await;
        self.over.store(true, Ordering::Relaxed);
    }

    /// The first API stops somewhere in each cancellation.
    async fn stumble(&self) {
        let mut rng = StdRng::seed_from_u64(1);
        let process = self.apis[0].process();
        while !self.over.load(Ordering::Relaxed) {
            // Nobody cancels while a worker sleeps: then it is time to look whether it is over.
            let _ = timeout(STOPS, self.cancelling.notified()).await;
            sleep(Duration::from_micros(rng.random_range(0..CANCELS_FOR_US))).await;
            process.freeze();
            sleep(STOPS).await;
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
    let patient = [
        ("HOLDFAST_REDIS_TIMEOUT_MS", "900"),
        ("HOLDFAST_CONFIRM_WAIT_MS", CONFIRM_WAIT_MS),
        ("HOLDFAST_CONFIRM_ATTEMPTS_MAX", ATTEMPTS_MAX),
    ];
    let apis = [Api::program(&place, &patient).await, Api::program(&place, &patient).await];
    let _awake = place.worker_at_work(&WORKER).await;
    let event = apis[0].event(places(2)).await;
    let sales = Sales {
        apis,
        event,
        owners: Mutex::default(),
        sold: AtomicUsize::new(0),
        cancelling: Notify::new(),
        over: AtomicBool::new(false),
    };
    let callers = join_all((0..CALLERS).map(|number| sales.buy_and_cancel(number)));
    tokio::join!(callers, sales.sleepy_workers(&place), sales.stumble());

    let (engine, archive) = place.services().await;
    wait_until_consistent(&engine, &archive, STEP).await;
    let bookings = archived_bookings(&archive, EventId(event as u32)).await;
    let ends = |status| bookings.iter().filter(|one| one.booking.status == status).count();
    // Each sale was cancelled by its buyer, and no other: none was refused to one who paid.
    assert_eq!(ends(Status::Voided), 0);
    let sold = bookings.iter().filter(|one| one.outcome.is_some()).count();
    assert_eq!((sold, ends(Status::Confirmed)), (sales.sold.into_inner(), 0));
    assert!(sold >= long_or(SALES_MIN.0, SALES_MIN.1));
}
