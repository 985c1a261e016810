//! Thousands of operations of every kind, by many callers, on two API and two worker processes:
//! afterwards Redis, the booking log and the archive agree with each other and with every response.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use holdfast::archive::Archive;
use holdfast::domain::EventId;
use holdfast::sale::verify::Report;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::{Pair, seats};
use crate::on_one_redis;
use crate::support::api::places;
use crate::support::consistency::{archived_bookings, wait_until_consistent};
use crate::support::http::Reply;
use crate::support::servers::Flavor;
use crate::support::{eventually, long_or};

/// Operations of a long run on the cluster, and of every other run.
const OPERATIONS: (usize, usize) = (10_000, 2_500);
/// Callers at a time.
const CALLERS: u64 = 80;
/// Seats of each event.
const SEATS: u32 = 250;
/// Events, on partitions of their own. In the first, holds last a second and often lapse.
const EVENTS: usize = 4;
/// How long a confirmation waits for the archive: some responses are 202.
const CONFIRM_WAIT: Duration = Duration::from_secs(1);
/// How long the archive may take to catch up. What a stalled worker had read is read again after
/// half a minute, so each stall costs as much.
const CATCH_UP: Duration = Duration::from_secs(600);
/// How long holds of the other events last: longer than all this takes on the slowest machine.
const HOLD_SECONDS: u64 = 3_600;

/// Each booking's owner and its reported final state, if any, which nothing may change.
type Reported = HashMap<String, (String, Option<&'static str>)>;

/// One caller of random operations.
struct Caller<'a> {
    pair: &'a Pair,
    events: &'a [u64],
    name: String,
    done: &'a AtomicUsize,
    operations: usize,
    rng: StdRng,
    reported: Reported,
    /// Repeated holds: before each repetition a hold may have been granted and undone.
    holds_again: usize,
}

impl Caller<'_> {
    async fn run(mut self) -> (Reported, usize) {
        while self.done.load(Ordering::Relaxed) < self.operations {
            if let Some(booking) = self.hold().await {
                self.live(&booking).await;
            }
        }
        (self.reported, self.holds_again)
    }

    /// Holds some seats; returns the booking if they were free.
    async fn hold(&mut self) -> Option<Value> {
        let event = self.events[self.rng.random_range(0..self.events.len())];
        let first = self.rng.random_range(1..=SEATS);
        let last = (first + self.rng.random_range(0..3)).min(SEATS);
        let wanted: Vec<u32> = (first..=last).collect();
        let reply = self.counted(|pair, n| pair.turn(n).hold(&self.name, event, &wanted)).await;
        self.holds_again += reply.repeats as usize;
        if reply.status == 201 {
            let booking = reply.json(201);
            assert_eq!(seats(&booking), wanted);
            return Some(booking);
        }
        expect(&reply, &["seats_unavailable", "user_limit"]);
        None
    }

    /// Continues a booking: most are extended or paid, some cancelled, some left to lapse.
    async fn live(&mut self, booking: &Value) {
        let id = booking["id"].as_str().expect("a booking has an id").to_owned();
        self.reported.insert(id.clone(), (self.name.clone(), None));
        if self.rng.random_bool(0.2) {
            let reply = self.act(booking, "extend").await;
            let known = [
                "hold_cap_reached",
                "booking_expired",
                "booking_confirmed",
                "booking_confirming",
                "in_flight",
            ];
            if reply.status != 200 {
                expect(&reply, &known);
            }
        }
        match self.rng.random_range(0..10) {
            // Left alone: lapses, or is still held at the end.
            0..2 => {}
            2..4 => self.cancel(booking, &id).await,
            4..5 => self.confirm_and_cancel_at_once(booking, &id).await,
            _ => {
                self.confirm(booking, &id).await;
                if self.rng.random_bool(0.7) {
                    self.cancel(booking, &id).await;
                }
            }
        }
    }

    async fn confirm(&mut self, booking: &Value, id: &str) {
        let reply = self.act(booking, "confirm").await;
        self.note_confirm(&reply, id);
    }

    async fn cancel(&mut self, booking: &Value, id: &str) {
        let reply = self.act(booking, "cancel").await;
        self.note_cancel(&reply, id);
    }

    async fn confirm_and_cancel_at_once(&mut self, booking: &Value, id: &str) {
        let (name, pair) = (self.name.clone(), self.pair);
        let n = self.done.fetch_add(2, Ordering::Relaxed);
        let (confirmed, cancelled) = tokio::join!(
            pair.turn(n).act(&name, booking, "confirm"),
            pair.turn(n + 1).act(&name, booking, "cancel"),
        );
        // In this order: a booking may be confirmed before it is cancelled, never after.
        self.note_confirm(&confirmed, id);
        self.note_cancel(&cancelled, id);
    }

    fn note_confirm(&mut self, reply: &Reply, id: &str) {
        match reply.status {
            200 => {
                assert_eq!(reply.json(200)["status"], "CONFIRMED");
                self.end(id, "CONFIRMED");
            }
            // Not decided yet: any decision is right.
            202 => {}
            _ => expect(reply, &["booking_expired", "booking_cancelled", "in_flight"]),
        }
    }

    fn note_cancel(&mut self, reply: &Reply, id: &str) {
        match reply.status {
            200 => {
                assert_eq!(reply.json(200)["status"], "CANCELLED");
                self.end(id, "CANCELLED");
            }
            _ => expect(reply, &["booking_expired", "booking_confirming", "in_flight"]),
        }
    }

    /// Records a reported final state; a cancellation follows a confirmation.
    fn end(&mut self, id: &str, state: &'static str) {
        let reported = self.reported.get_mut(id).expect("live() has inserted it");
        reported.1 = Some(state);
    }

    async fn act(&self, booking: &Value, verb: &str) -> Reply {
        self.counted(|pair, n| pair.turn(n).act(&self.name, booking, verb)).await
    }

    /// Counts one operation and runs it in the next process.
    async fn counted<'p, F: Future<Output = Reply>>(
        &'p self,
        operation: impl FnOnce(&'p Pair, usize) -> F,
    ) -> Reply {
        let n = self.done.fetch_add(1, Ordering::Relaxed);
        operation(self.pair, n).await
    }
}

/// Asserts a refusal with one of these codes.
#[track_caller]
fn expect(reply: &Reply, errors: &[&str]) {
    let problem = reply.any_problem();
    let error = problem["error"].as_str().expect("any_problem() saw it");
    assert!(errors.contains(&error), "{problem}");
}

/// Asserts that every seat is in exactly one state.
fn assert_exact(report: &Report) {
    for event in &report.events {
        assert_eq!(event.free + event.held + event.sold, SEATS, "{event:?}");
    }
}

/// Returns the archived state of every booking; fails if one is there twice.
async fn archived(archive: &Archive, events: &[u64]) -> HashMap<String, &'static str> {
    let mut archived = HashMap::new();
    for event in events {
        for one in archived_bookings(archive, EventId(*event as u32)).await {
            let (id, state) = (one.booking.id.to_string(), one.booking.status.api_word());
            assert_eq!(archived.insert(id, state), None, "{one:?}");
        }
    }
    archived
}

/// Asserts that every booking is archived in the state of its responses, then and now.
async fn assert_kept(
    pair: &Pair,
    archived: &HashMap<String, &'static str>,
    reported: &Reported,
    holds_again: usize,
) {
    let unreported: Vec<_> =
        archived.iter().filter(|(id, _)| !reported.contains_key(*id)).collect();
    assert!(unreported.len() <= holds_again, "bookings in no response: {unreported:?}");
    assert!(unreported.iter().all(|(_, state)| **state != "CONFIRMED"), "{unreported:?}");
    for (n, (id, (owner, end))) in reported.iter().enumerate() {
        let state = archived[id];
        assert!(end.is_none_or(|end| end == state), "{id}: reported {end:?}, archived {state}");
        let path = format!("/api/v1/bookings/{id}");
        let now = pair.turn(n).get(&path).user(owner).send().await.json(200);
        assert_eq!(now["status"], state, "{now}");
    }
}

on_one_redis!(thousands_of_operations_leave_all_stores_consistent, async |flavor| {
    let pair = Pair::with_workers(flavor, 2, CONFIRM_WAIT).await;
    let mut events = Vec::new();
    for n in 0..EVENTS {
        let mut event = places(SEATS);
        event["max_seats_per_user"] = 1_000.into();
        event["hold_ttl_seconds"] = if n == 0 { 1.into() } else { HOLD_SECONDS.into() };
        event["max_hold_seconds"] = if n == 0 { 900.into() } else { (3 * HOLD_SECONDS).into() };
        events.push(pair.turn(n).event(event).await);
    }
    let long = if flavor == Flavor::Cluster { OPERATIONS.0 } else { OPERATIONS.1 };
    let operations = long_or(long, OPERATIONS.1);
    let done = AtomicUsize::new(0);
    let callers = (0..CALLERS).map(|seed| {
        let caller = Caller {
            pair: &pair,
            events: &events,
            name: format!("caller-{seed}"),
            done: &done,
            operations,
            rng: StdRng::seed_from_u64(seed),
            reported: Reported::new(),
            holds_again: 0,
        };
        caller.run()
    });
    let mut reported = Reported::new();
    let mut holds_again = 0;
    for (theirs, again) in join_all(callers).await {
        reported.extend(theirs);
        holds_again += again;
    }

    let (engine, archive) = pair.place.services().await;
    // Nothing changes without a request now: the other events' holds last longer than this test.
    eventually("short holds have lapsed", CATCH_UP, async || {
        pair.turn(0).counts(events[0]).await.1 == 0
    })
    .await;
    assert_exact(&wait_until_consistent(&engine, &archive, CATCH_UP).await);
    let archived = archived(&archive, &events).await;
    assert_kept(&pair, &archived, &reported, holds_again).await;
    for state in ["CONFIRMED", "CANCELLED", "EXPIRED", "HOLD"] {
        let bookings = archived.values().filter(|archived| **archived == state).count();
        assert!(bookings >= operations / 500, "{bookings} of {} are {state}", archived.len());
    }
    for api in &pair.apis {
        assert_eq!(api.metric("holdfast_panics_total").await, 0.0);
    }
});
