//! Ten thousand operations of every kind, by many callers, on two API and two worker processes:
//! whatever happened, Redis, the booking log and the archive tell one story afterwards, and it is
//! the one that callers were told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use holdfast::archive::Archive;
use holdfast::domain::{BookingId, EventId};
use holdfast::redis::WORKER_GROUP;
use holdfast::sale::verify::{Report, verify};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::{Pair, seats};
use crate::on_each_redis;
use crate::support::api::places;
use crate::support::http::Reply;

/// Operations of one run.
const OPERATIONS: usize = 10_000;
/// Callers at a time.
const CALLERS: u64 = 80;
/// Seats of each event.
const SEATS: u32 = 600;
/// Events, on partitions of their own. In the first, holds last a second and often lapse.
const EVENTS: usize = 4;
/// How long the archive may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(60);

/// The last word that a caller was given about its booking, and that nothing can change.
type Told = HashMap<String, &'static str>;

/// One caller, who does this and that.
struct Caller<'a> {
    pair: &'a Pair,
    events: &'a [u64],
    name: String,
    done: &'a AtomicUsize,
    rng: StdRng,
    told: Told,
}

impl Caller<'_> {
    async fn run(mut self) -> Told {
        while self.done.load(Ordering::Relaxed) < OPERATIONS {
            if let Some(booking) = self.hold().await {
                self.live(&booking).await;
            }
        }
        self.told
    }

    /// Asks for some seats; the booking, if they were free.
    async fn hold(&mut self) -> Option<Value> {
        let event = self.events[self.rng.random_range(0..self.events.len())];
        let first = self.rng.random_range(1..=SEATS);
        let last = (first + self.rng.random_range(0..3)).min(SEATS);
        let wish: Vec<u32> = (first..=last).collect();
        let reply = self.counted(|pair, n| pair.turn(n).hold(&self.name, event, &wish)).await;
        if reply.status == 201 {
            let booking = reply.json(201);
            assert_eq!(seats(&booking), wish);
            return Some(booking);
        }
        expect(&reply, &["seats_unavailable", "user_limit"]);
        None
    }

    /// What becomes of a booking: most are extended or paid, some given up, some let go.
    async fn live(&mut self, booking: &Value) {
        let id = booking["id"].as_str().expect("a booking has an id").to_owned();
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
            // Let go: lapses, or is still held in the end.
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
        eprintln!("CONFIRM {} {}", reply.status, if reply.status>299 { reply.any_problem()["error"].to_string() } else { String::new() });
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
        self.note_confirm(&confirmed, id);
        self.note_cancel(&cancelled, id);
    }

    fn note_confirm(&mut self, reply: &Reply, id: &str) {
        match reply.status {
            200 => {
                assert_eq!(reply.json(200)["status"], "CONFIRMED");
                // Unless a cancellation was told meanwhile: that one is later.
                self.told.entry(id.to_owned()).or_insert("CONFIRMED");
            }
            // The archive is awaited: whatever it says is right.
            202 => {}
            _ => expect(reply, &["booking_expired", "booking_cancelled", "in_flight"]),
        }
    }

    fn note_cancel(&mut self, reply: &Reply, id: &str) {
        match reply.status {
            200 => {
                assert_eq!(reply.json(200)["status"], "CANCELLED");
                self.told.insert(id.to_owned(), "CANCELLED");
            }
            _ => expect(reply, &["booking_expired", "booking_confirming", "in_flight"]),
        }
    }

    async fn act(&self, booking: &Value, verb: &str) -> Reply {
        self.counted(|pair, n| pair.turn(n).act(&self.name, booking, verb)).await
    }

    /// One operation, in the process whose turn it is.
    async fn counted<'p, F: Future<Output = Reply>>(
        &'p self,
        operation: impl FnOnce(&'p Pair, usize) -> F,
    ) -> Reply {
        let n = self.done.fetch_add(1, Ordering::Relaxed);
        operation(self.pair, n).await
    }
}

/// A refusal of one of these kinds.
#[track_caller]
fn expect(reply: &Reply, errors: &[&str]) {
    let problem = reply.any_problem();
    let error = problem["error"].as_str().expect("any_problem() saw it");
    assert!(errors.contains(&error), "{problem}");
}

/// Everything agrees, and every seat is in one state.
fn assert_exact(report: &Report) {
    assert!(report.clean, "{report:#?}");
    for event in &report.events {
        assert_eq!(event.free + event.held + event.sold, SEATS, "{event:?}");
    }
}

/// Each booking that somebody was told the end of is in the archive once, with that end.
async fn assert_kept(archive: &Archive, events: &[u64], told: &Told) {
    let mut archived = HashMap::new();
    for event in events {
        let (event, mut after) = (EventId(*event as u32), None::<BookingId>);
        loop {
            let page = archive.bookings_of_event(event, after, 1_000).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.booking.id);
            for booking in page.iter().map(|archived| &archived.booking) {
                let state = booking.status.api_word();
                assert_eq!(archived.insert(booking.id.to_string(), state), None, "{booking:?}");
            }
        }
    }
    for (id, state) in told {
        assert_eq!(archived.get(id), Some(state), "{id}");
    }
}

on_each_redis!(ten_thousand_operations_tell_one_story, async |flavor| {
    let pair = Pair::with_workers(flavor, 2).await;
    let mut events = Vec::new();
    for n in 0..EVENTS {
        let mut event = places(SEATS);
        event["max_seats_per_user"] = 1_000.into();
        event["hold_ttl_seconds"] = if n == 0 { 1.into() } else { 300.into() };
        events.push(pair.turn(n).event(event).await);
    }
    let done = AtomicUsize::new(0);
    let callers = (0..CALLERS).map(|seed| {
        let caller = Caller {
            pair: &pair,
            events: &events,
            name: format!("caller-{seed}"),
            done: &done,
            rng: StdRng::seed_from_u64(seed),
            told: Told::new(),
        };
        caller.run()
    });
    let told: Told = join_all(callers).await.into_iter().flatten().collect();
    let ends = |state| told.values().filter(|told| **told == state).count();
    let (confirmed, cancelled) = (ends("CONFIRMED"), ends("CANCELLED"));
    for w in &pair._workers { for l in w.log_lines() { if l["level"]!="info" {eprintln!("W {l}");} else { eprintln!("W {} {}", l["message"], l["address"]); if l["message"]=="health and metrics" { let c = crate::support::http::Client::new(&format!("http://{}", l["address"].as_str().unwrap())); eprintln!("{}", c.get("/metrics").send().await.text()); } } } }
    eprintln!("{confirmed} sold, {cancelled} given up");
    assert!(confirmed > 100 && cancelled > 300, "{confirmed} sold, {cancelled} given up");

    let (engine, archive) = pair.place.services().await;
    let report = verify(&engine, &archive, WORKER_GROUP, None, CATCH_UP).await.unwrap();
    assert_exact(&report);
    assert_kept(&archive, &events, &told).await;
    for api in &pair.apis {
        assert_eq!(api.metric("holdfast_panics_total").await, 0.0);
    }
});
