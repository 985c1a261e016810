//! Buyers pay while processes are killed at random. In the end the provider's books and the archive
//! agree to the cent, and nobody has two seats or half a sale.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use holdfast::redis::WORKER_GROUP;
use holdfast::sale::verify::verify;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::RwLock;

use super::{SETTLED, SHORT, api, books_agree};
use crate::support::api::{Api, Place, places};
use crate::support::eventually;
use crate::support::process::Process;
use crate::support::size;

/// Kills in the suite.
const KILLS: usize = 8;
/// Variable with another number of kills, set by `make torture-pay`.
const KILLS_VARIABLE: &str = "TORTURE_KILLS";
/// Concurrent buyers.
const BUYERS: usize = 6;
/// Seats of the event: more than are sold.
const SEATS: u32 = 20_000;
/// The hold time: buyers of a killed process do not all return.
const HOLD_SECONDS: u32 = 5;
/// Longest pause between two kills.
const PAUSE_MAX: Duration = Duration::from_millis(900);
/// How long one buyer tries.
const TRIES_MAX: u32 = 4;

/// Two API processes and one worker, each replaced as soon as it is killed.
struct Shop {
    place: Place,
    apis: [RwLock<Api>; 2],
    worker: RwLock<Process>,
    event: u64,
    next_seat: AtomicUsize,
    over: AtomicBool,
    answered: AtomicUsize,
}

impl Shop {
    async fn kill(&self, rng: &mut StdRng) {
        match rng.random_range(0..5) {
            0 => {
                let mut worker = self.worker.write().await;
                worker.kill();
                *worker = self.place.worker_with(&SHORT);
            }
            n => {
                let slot = &self.apis[n % 2];
                // Calls in progress are cut off: shutdown does not wait for them.
                let fresh = api(&self.place, "").await;
                let killed = std::mem::replace(&mut *slot.write().await, fresh);
                killed.process().kill();
            }
        }
    }

    /// Sends a request to one of the processes; `None` if it dies before it responds.
    async fn ask(&self, n: usize, user: &str, path: &str, body: Value) -> Option<(u16, Value)> {
        let client = self.apis[n % 2].read().await.client();
        let reply = client.post(path).user(user).json(body).try_send().await.ok()?;
        self.answered.fetch_add(1, Ordering::Relaxed);
        let answer = serde_json::from_slice(&reply.bytes).ok()?;
        Some((reply.status, answer))
    }

    /// Buys until the end; each buyer's final status is compared with the archive by booking id.
    async fn buy(&self, buyer: usize) -> Vec<(String, u16)> {
        let mut rng = StdRng::seed_from_u64(buyer as u64);
        let (user, turn) = (format!("buyer-{buyer}"), Cell::new(buyer));
        let mut final_status = Vec::new();
        while !self.over.load(Ordering::Relaxed) {
            turn.set(turn.get() + 1);
            let seat = self.next_seat.fetch_add(1, Ordering::Relaxed) as u32 % SEATS + 1;
            let wish = json!({ "event_id": self.event, "seat_ids": [seat] });
            let held = self.ask(turn.get(), &user, "/api/v1/bookings", wish).await;
            let Some((201, booking)) = held else { continue };
            let id = booking["id"].as_str().expect("a booking has an id").to_owned();
            let card = ["card_ok", "card_ok", "card_ok", "card_declined", "card_timeout"];
            let card = card[rng.random_range(0..card.len())];
            for _ in 0..rng.random_range(1..=TRIES_MAX) {
                turn.set(turn.get() + 1);
                let path = format!("/api/v1/bookings/{id}/confirm");
                let paid = json!({ "payment_method": card });
                match self.ask(turn.get(), &user, &path, paid).await {
                    Some((200, _)) => {
                        final_status.push((id.clone(), 200));
                        break;
                    }
                    Some((status, problem)) => {
                        let known = [202, 402, 409, 410, 503].contains(&status);
                        assert!(known, "{status} {problem}");
                    }
                    None => {}
                }
            }
            if rng.random_bool(0.2) {
                let path = format!("/api/v1/bookings/{id}/cancel");
                if let Some((200, _)) = self.ask(turn.get(), &user, &path, json!({})).await {
                    final_status.retain(|(final_status, _)| *final_status != id);
                    final_status.push((id, 0));
                }
            }
        }
        final_status
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn books_agree_after_random_kills() {
    let kills = size(KILLS_VARIABLE, KILLS);
    let place = Place::shared();
    let apis = [RwLock::new(api(&place, "").await), RwLock::new(api(&place, "").await)];
    let mut event = places(SEATS);
    event["max_seats_per_user"] = SEATS.into();
    event["hold_ttl_seconds"] = HOLD_SECONDS.into();
    let event = apis[0].read().await.event(event).await;
    let shop = Shop {
        worker: RwLock::new(place.worker_with(&SHORT)),
        place,
        apis,
        event,
        next_seat: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        answered: AtomicUsize::new(0),
    };
    let killer = async {
        let mut rng = StdRng::seed_from_u64(7);
        let began = Instant::now();
        for n in 1..=kills {
            tokio::time::sleep(rng.random_range(Duration::ZERO..PAUSE_MAX)).await;
            shop.kill(&mut rng).await;
            println!("kill {n} of {kills} after {} s", began.elapsed().as_secs());
        }
        shop.over.store(true, Ordering::Relaxed);
    };
    let buyers = join_all((0..BUYERS).map(|buyer| shop.buy(buyer)));
    let (final_status, ()) = tokio::join!(buyers, killer);

    let (engine, archive) = shop.place.services().await;
    let totals = books_agree(&archive, &[event]).await;
    println!("{} answers; {totals:?}", shop.answered.load(Ordering::Relaxed));
    assert!(totals.sold > 0, "somebody bought something");
    eventually("verify is clean", SETTLED, async || {
        let report = verify(&engine, &archive, WORKER_GROUP, None, SETTLED).await;
        report.is_ok_and(|report| report.clean)
    })
    .await;
    for (id, status) in final_status.into_iter().flatten() {
        let booking = archive.booking(id.parse().unwrap()).await.unwrap().expect("it is archived");
        let end = booking.booking.status.api_word();
        match status {
            200 => assert!(["CONFIRMED", "CANCELLED"].contains(&end), "{id} ends as {end}"),
            _ => assert_eq!(end, "CANCELLED", "{id}"),
        }
    }
}
