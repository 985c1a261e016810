//! Those who ask: they hold, repeat, extend, pay, give up and let lapse, in every process, and note
//! what they were told.

use std::time::{Duration, Instant};

use holdfast::domain::{Booking, BookingId, Event, Quantity, SeatId, SeatState};
use holdfast::redis::{BlockAction, BlockCall, Settlement, new_nonce};
use holdfast::sale::{HoldRequest, SaleError, SeatsWanted};
use rand::RngExt;
use rand::rngs::StdRng;

use super::Crowd;
use crate::support::world::World;

/// Users who come again and again; all others are met rarely.
const REGULARS: u32 = 40;
/// All users.
const USERS: u32 = 6_000;
/// Most seats of a request for named ones.
const NAMED_MAX: usize = 3;
/// Most seats of a request for so many.
const MANY_MAX: u32 = 6;
/// Bookings that a caller keeps in mind.
const MINE_MAX: usize = 64;
/// Longest pause after a request.
const THINKING_MAX_MS: u64 = 5;
/// How long a payment keeps its lease, ms.
const LEASE_MS: i64 = 60_000;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Seats(Vec<SeatId>),
    /// So many, in the section of this number or in any one.
    Many(u32, Option<usize>),
}

/// What a refusal said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Seats(Vec<(SeatId, SeatState)>),
    TooFew,
    Paused,
    NotOnSale,
}

/// Who asked whom for what. Processes and events are numbered.
#[derive(Clone, Debug)]
pub struct Ask {
    pub process: usize,
    pub event: usize,
    pub user: u32,
    pub asked: Asked,
    /// When it was asked.
    pub began: Instant,
}

/// A request that was refused from a live view.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub ask: Ask,
    pub told: Told,
    /// Between which moments by Redis' time, Unix ms.
    pub from_ms: i64,
    pub to_ms: i64,
}

/// A request that was granted.
#[derive(Clone, Debug)]
pub struct Grant {
    pub ask: Ask,
    pub booking: BookingId,
    pub seats: Vec<SeatId>,
    /// When that was known.
    pub known: Instant,
}

/// How far a booking has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Held,
    Sold,
    Confirmed,
}

/// One of the caller's own bookings.
#[derive(Clone, Debug)]
struct Own {
    ask: Ask,
    booking: Booking,
    stage: Stage,
}

/// One caller, who does this and that under many names.
pub struct Caller<'a> {
    crowd: &'a Crowd,
    rng: StdRng,
    own: Vec<Own>,
    pub refusals: Vec<Refusal>,
    pub grants: Vec<Grant>,
}

impl<'a> Caller<'a> {
    pub fn new(crowd: &'a Crowd, rng: StdRng) -> Self {
        Caller { crowd, rng, own: Vec::new(), refusals: Vec::new(), grants: Vec::new() }
    }

    pub async fn run(mut self) -> Self {
        while self.crowd.goes_on() {
            {
                let _going = self.crowd.calm.read().await;
                match self.rng.random_range(0..100) {
                    0 => self.tidy().await,
                    1 => self.as_the_house().await,
                    2..15 if !self.own.is_empty() => self.live().await,
                    _ => self.ask_anew().await,
                }
            }
            let pause = self.rng.random_range(0..=THINKING_MAX_MS);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        self
    }

    fn world(&self, process: usize) -> &'a World {
        &self.crowd.worlds[process]
    }

    fn hall(&self, event: usize) -> &'a Event {
        &self.crowd.events[event]
    }

    async fn ask_anew(&mut self) {
        let event = self.rng.random_range(0..self.crowd.events.len());
        let total = self.hall(event).layout.total_seats();
        let asked = if self.rng.random_bool(0.1) {
            let section = self.rng.random_range(0..=self.hall(event).layout.sections().len());
            Asked::Many(self.rng.random_range(1..=MANY_MAX), section.checked_sub(1))
        } else {
            let seats = self.rng.random_range(1..=NAMED_MAX);
            let mut seats: Vec<SeatId> =
                (0..seats).map(|_| SeatId(self.rng.random_range(1..=total))).collect();
            seats.sort_unstable();
            seats.dedup();
            Asked::Seats(seats)
        };
        let names = if self.rng.random_bool(0.1) { 0..REGULARS } else { REGULARS..USERS };
        let user = self.rng.random_range(names);
        let process = self.rng.random_range(0..self.crowd.worlds.len());
        self.ask(Ask { process, event, user, asked, began: Instant::now() }).await;
    }

    /// Asks for seats and notes the answer.
    async fn ask(&mut self, ask: Ask) {
        let ask = Ask { began: Instant::now(), ..ask };
        self.crowd.note_request();
        let (world, event) = (self.world(ask.process), self.hall(ask.event));
        let now_ms = || world.sale.live().redis_now_ms(event.id);
        let before = now_ms();
        let weighed = world.sale.plan_hold(self.request(&ask)).await;
        let weighed = match weighed {
            Ok(weighed) => weighed,
            Err(error) => {
                // Nobody was asked: Redis' time is known, or nothing could have been refused.
                let (from_ms, to_ms) = (before.unwrap().1, now_ms().unwrap().0);
                let told = told(error);
                return self.refusals.push(Refusal { ask, told, from_ms, to_ms });
            }
        };
        match world.sale.hold(weighed).await {
            Ok(view) => {
                let (booking, seats) = (view.booking.id, view.booking.seats.clone());
                let known = Instant::now();
                self.grants.push(Grant { ask: ask.clone(), booking, seats, known });
                if self.own.len() < MINE_MAX && !view.replayed {
                    self.own.push(Own { ask, booking: view.booking, stage: Stage::Held });
                }
            }
            Err(
                SaleError::Unavailable { dependency: "redis", .. } | SaleError::UserLimit { .. },
            ) => {}
            Err(error) => drop(told(error)),
        }
    }

    fn request(&self, ask: &Ask) -> HoldRequest {
        let event = self.hall(ask.event);
        let seats = match &ask.asked {
            Asked::Seats(seats) => SeatsWanted::Named(seats.clone()),
            Asked::Many(seats, section) => {
                let section = section.map(|n| event.layout.sections()[n].name.clone());
                let quantity = Quantity { seats: *seats, section, together: true, max_price: None };
                SeatsWanted::Quantity(quantity)
            }
        };
        HoldRequest {
            user: name(ask.user),
            event: event.id,
            seats,
            key: None,
            room_number: 0,
            exempt: false,
            trace: String::new(),
        }
    }

    /// What becomes of a booking. What Redis answers is in the log, or did not happen; it may be
    /// away.
    async fn live(&mut self) {
        let index = self.rng.random_range(0..self.own.len());
        let mut own = self.own.swap_remove(index);
        let engine = &self.world(own.ask.process).engine;
        let event = self.hall(own.ask.event);
        let (id, user) = (own.booking.id, own.booking.user.clone());
        match (own.stage, self.rng.random_range(0..10)) {
            (_, 0..3) => {
                // Most ask the process that has answered.
                if self.rng.random_bool(0.2) {
                    own.ask.process = self.rng.random_range(0..self.crowd.worlds.len());
                }
                self.ask(own.ask.clone()).await;
                self.own.push(own);
            }
            (Stage::Held, 3..6) => _ = engine.cancel(event, id, &user).await,
            (Stage::Held, 6) => {
                _ = engine.extend(event, id, &user, new_nonce().as_str(), 1_000_000).await;
                self.own.push(own);
            }
            (Stage::Held, 7) => {
                // Begun, and given up or sold.
                let nonce = new_nonce();
                let begun =
                    engine.confirm_begin(event, id, &user, nonce.as_str(), LEASE_MS, 5).await;
                let Ok(Some(leased)) = begun.map(|answer| answer.booking().cloned()) else {
                    return;
                };
                if self.rng.random_bool(0.3) {
                    let mode = holdfast::redis::AbortMode::Lease(leased.lease);
                    _ = engine.confirm_abort(event.generation, id, &mode).await;
                } else {
                    let lease = leased.lease;
                    _ = engine.confirm_commit(event.generation, id, lease, "paid").await;
                    self.own.push(Own { stage: Stage::Sold, booking: leased, ..own });
                }
            }
            (Stage::Sold, _) => {
                let outcome = if self.rng.random_bool(0.5) { "sold" } else { "refund" };
                self.settle(&own, outcome).await;
                if outcome == "sold" {
                    self.own.push(Own { stage: Stage::Confirmed, ..own });
                }
            }
            (Stage::Confirmed, _) => self.settle(&own, "cancelled").await,
            // Lapses.
            (Stage::Held, _) => {}
        }
    }

    /// As the worker does, once the archive has judged.
    async fn settle(&self, own: &Own, outcome: &str) {
        let booking = Booking { payment: "paid".into(), paid_ms: 1, ..own.booking.clone() };
        let generation = self.hall(own.ask.event).generation;
        let call = Settlement {
            generation,
            outcome,
            valid_until: None,
            acknowledge: None,
            booking: &booking,
        };
        _ = self.world(own.ask.process).engine.settle(&call).await;
    }

    /// As the worker does: overdue holds are released where nobody asks for their seats.
    async fn tidy(&mut self) {
        let event = self.rng.random_range(0..self.crowd.events.len());
        let event = self.hall(event);
        _ = self.world(0).engine.expire(event.id, event.generation, 50).await;
    }

    async fn as_the_house(&mut self) {
        let event = self.rng.random_range(0..self.crowd.events.len());
        let event = self.hall(event);
        let total = event.layout.total_seats();
        let back = self.rng.random_bool(0.6);
        let action = if back { BlockAction::Release } else { BlockAction::Block };
        let seats: Vec<SeatId> = match back {
            true => (1..=total).map(SeatId).collect(),
            false => vec![SeatId(self.rng.random_range(1..=total))],
        };
        let call = BlockCall { event, action, seats: &seats, actor: "ops", reason: "a camera" };
        _ = self.world(0).engine.block(&call).await;
    }
}

/// What a refusal says; anything else should not be met here.
fn told(error: SaleError) -> Told {
    match error {
        SaleError::SeatsUnavailable(states) => Told::Seats(states),
        SaleError::TooFewSeats(_) => Told::TooFew,
        SaleError::EventPaused(_) => Told::Paused,
        SaleError::NotOnSale { .. } => Told::NotOnSale,
        error => panic!("{error:?}"),
    }
}

fn name(user: u32) -> holdfast::domain::UserId {
    format!("u{user}").parse().expect("a name")
}
