//! The callers: they hold, repeat, extend, pay, cancel and let holds expire, in every process, and record
//! the replies.

use std::time::{Duration, Instant};

use holdfast::domain::{Booking, BookingId, Event, Quantity, SeatId, SeatState};
use holdfast::redis::{BlockAction, BlockCall, Settlement, new_nonce};
use holdfast::sale::{HoldRequest, SaleError, SeatRequest};
use rand::RngExt;
use rand::rngs::StdRng;

use super::Crowd;
use crate::support::world::World;

/// Users that return often; all others are rare.
const REGULARS: u32 = 40;
/// All users.
const USERS: u32 = 6_000;
/// Most seats of a request for named seats.
const NAMED_MAX: usize = 3;
/// Most seats of a request by quantity.
const MANY_MAX: u32 = 6;
/// Bookings that a caller remembers.
const MINE_MAX: usize = 64;
/// Longest pause after a request.
const THINKING_MAX_MS: u64 = 5;
/// A payment's lease, ms.
const LEASE_MS: i64 = 60_000;

/// What a request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Seats(Vec<SeatId>),
    /// A number of seats, in the section with this index or in any one.
    Many(u32, Option<usize>),
}

/// The reason of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    Seats(Vec<(SeatId, SeatState)>),
    TooFew,
    Paused,
    NotOnSale,
}

/// A request: which user wants which seats of which event, in which process.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub process: usize,
    pub event: usize,
    pub user: u32,
    pub wanted: Wanted,
    /// When it began.
    pub began: Instant,
}

/// A request that was refused from a live view.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub attempt: Attempt,
    pub reason: Reason,
    /// The bounds of its time by Redis' clock, Unix ms.
    pub from_ms: i64,
    pub to_ms: i64,
}

/// A request that was granted.
#[derive(Clone, Debug)]
pub struct Grant {
    pub attempt: Attempt,
    pub booking: BookingId,
    pub seats: Vec<SeatId>,
    /// When the reply arrived.
    pub known: Instant,
}

/// The stage of a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Held,
    Sold,
    Confirmed,
}

/// One of the caller's own bookings.
#[derive(Clone, Debug)]
struct Own {
    attempt: Attempt,
    booking: Booking,
    stage: Stage,
}

/// One caller, acting for many users.
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
        while self.crowd.is_running() {
            {
                let _going = self.crowd.calm.read().await;
                match self.rng.random_range(0..100) {
                    0 => self.sweep().await,
                    1 => self.as_the_house().await,
                    2..15 if !self.own.is_empty() => self.live().await,
                    _ => self.attempt_new().await,
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

    async fn attempt_new(&mut self) {
        let event = self.rng.random_range(0..self.crowd.events.len());
        let total = self.hall(event).layout.total_seats();
        let wanted = if self.rng.random_bool(0.1) {
            let section = self.rng.random_range(0..=self.hall(event).layout.sections().len());
            Wanted::Many(self.rng.random_range(1..=MANY_MAX), section.checked_sub(1))
        } else {
            let seats = self.rng.random_range(1..=NAMED_MAX);
            let mut seats: Vec<SeatId> =
                (0..seats).map(|_| SeatId(self.rng.random_range(1..=total))).collect();
            seats.sort_unstable();
            seats.dedup();
            Wanted::Seats(seats)
        };
        let names = if self.rng.random_bool(0.1) { 0..REGULARS } else { REGULARS..USERS };
        let user = self.rng.random_range(names);
        let process = self.rng.random_range(0..self.crowd.worlds.len());
        self.attempt(Attempt { process, event, user, wanted, began: Instant::now() }).await;
    }

    /// Requests seats and records the reply.
    async fn attempt(&mut self, attempt: Attempt) {
        let attempt = Attempt { began: Instant::now(), ..attempt };
        self.crowd.note_request();
        let (world, event) = (self.world(attempt.process), self.hall(attempt.event));
        let now_ms = || world.sale.live().redis_now_ms(event.id);
        let before = now_ms();
        let plan = world.sale.plan_hold(self.request(&attempt)).await;
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => {
                // A local refusal requires that Redis' time is known.
                let (from_ms, to_ms) = (before.unwrap().1, now_ms().unwrap().0);
                let reason = reason(error);
                return self.refusals.push(Refusal { attempt, reason, from_ms, to_ms });
            }
        };
        match world.sale.hold(plan).await {
            Ok(view) => {
                let (booking, seats) = (view.booking.id, view.booking.seats.clone());
                let known = Instant::now();
                self.grants.push(Grant { attempt: attempt.clone(), booking, seats, known });
                if self.own.len() < MINE_MAX && !view.replayed {
                    self.own.push(Own { attempt, booking: view.booking, stage: Stage::Held });
                }
            }
            Err(
                SaleError::Unavailable { dependency: "redis", .. } | SaleError::UserLimit { .. },
            ) => {}
            Err(error) => drop(reason(error)),
        }
    }

    fn request(&self, attempt: &Attempt) -> HoldRequest {
        let event = self.hall(attempt.event);
        let seats = match &attempt.wanted {
            Wanted::Seats(seats) => SeatRequest::Named(seats.clone()),
            Wanted::Many(seats, section) => {
                let section = section.map(|n| event.layout.sections()[n].name.clone());
                let quantity = Quantity { seats: *seats, section, together: true, max_price: None };
                SeatRequest::Quantity(quantity)
            }
        };
        HoldRequest {
            user: user_id(attempt.user),
            event: event.id,
            seats,
            key: None,
            room_number: 0,
            exempt: false,
            trace: String::new(),
        }
    }

    /// Continues a booking. What Redis answers is in the log, or did not happen; Redis may be
    /// unavailable.
    async fn live(&mut self) {
        let index = self.rng.random_range(0..self.own.len());
        let mut own = self.own.swap_remove(index);
        let engine = &self.world(own.attempt.process).engine;
        let event = self.hall(own.attempt.event);
        let (id, user) = (own.booking.id, own.booking.user.clone());
        match (own.stage, self.rng.random_range(0..10)) {
            (_, 0..3) => {
                // Most repeat in the process that answered.
                if self.rng.random_bool(0.2) {
                    own.attempt.process = self.rng.random_range(0..self.crowd.worlds.len());
                }
                self.attempt(own.attempt.clone()).await;
                self.own.push(own);
            }
            (Stage::Held, 3..6) => _ = engine.cancel(event, id, &user).await,
            (Stage::Held, 6) => {
                _ = engine.extend(event, id, &user, new_nonce().as_str(), 1_000_000).await;
                self.own.push(own);
            }
            (Stage::Held, 7) => {
                // Payment begins, and is aborted or committed.
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
            // Expires.
            (Stage::Held, _) => {}
        }
    }

    /// As the worker does after the archive has decided.
    async fn settle(&self, own: &Own, outcome: &str) {
        let booking = Booking { payment: "paid".into(), paid_ms: 1, ..own.booking.clone() };
        let generation = self.hall(own.attempt.event).generation;
        let call = Settlement {
            generation,
            outcome,
            valid_until: None,
            acknowledge: None,
            booking: &booking,
        };
        _ = self.world(own.attempt.process).engine.settle(&call).await;
    }

    /// As the worker does: releases overdue holds.
    async fn sweep(&mut self) {
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

/// The reason of a refusal; no other error is expected.
fn reason(error: SaleError) -> Reason {
    match error {
        SaleError::SeatsUnavailable(states) => Reason::Seats(states),
        SaleError::TooFewSeats(_) => Reason::TooFew,
        SaleError::EventPaused(_) => Reason::Paused,
        SaleError::NotOnSale { .. } => Reason::NotOnSale,
        error => panic!("{error:?}"),
    }
}

fn user_id(user: u32) -> holdfast::domain::UserId {
    format!("u{user}").parse().expect("a name")
}
