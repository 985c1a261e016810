//! The waiting room: buyers join, ask for their place as often as the server says, and leave.
//!
//! A buyer who waits is no task but a [`Waiter`] of a few hundred bytes, so that a million of them fit
//! in memory: the run keeps all of them in order of when they ask next ([`Line`]), and starts a task for
//! each request.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};

use crate::buyer::{Buyer, Stop};
use crate::history::Operation;
use crate::shop::{CallResult, CallSpec, Shop};
use crate::tally::BuyerResult;

/// A place in the waiting room, as one response reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its token, in the response to joining.
    token: Option<String>,
    /// `queued`, `admitted`, …
    status: String,
    /// When to ask again.
    refresh_after: Duration,
}

impl Place {
    /// Reads a response's body; `None` if it is no place.
    pub fn read(body: &Value) -> Option<Self> {
        Some(Place {
            token: body["token"].as_str().map(str::to_owned),
            status: body["status"].as_str()?.to_owned(),
            refresh_after: Duration::from_secs(body["refresh_after_seconds"].as_u64()?),
        })
    }
}

/// A buyer who waits for its turn.
#[derive(Debug)]
pub struct Waiter {
    /// When it asks next.
    pub due: Instant,
    /// The buyer's number.
    pub number: u32,
    /// The attempt to hold seats that it is at.
    pub attempt: u32,
    /// How often it was let in before.
    pub entries: u32,
    /// When it leaves.
    pub until: Instant,
    /// The waiting room's token.
    pub token: Option<Box<str>>,
}

/// The buyers who wait, by when they ask next.
#[derive(Default)]
pub struct Line(BinaryHeap<Reverse<Waiter>>);

impl Line {
    /// Adds one.
    pub fn push(&mut self, waiter: Waiter) {
        self.0.push(Reverse(waiter));
    }

    /// Returns when the next one asks.
    pub fn next_due(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse(waiter)| waiter.due)
    }

    /// Takes the next one who is due by now.
    pub fn pop_due(&mut self, now: Instant) -> Option<Waiter> {
        self.next_due().filter(|due| *due <= now)?;
        self.0.pop().map(|Reverse(waiter)| waiter)
    }
}

impl PartialEq for Waiter {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiter {}

impl PartialOrd for Waiter {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiter {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

impl Buyer {
    /// A buyer who was waiting and asks again.
    pub fn of_waiter(shop: Arc<Shop>, waiter: Waiter) -> Self {
        let mut buyer = Buyer::new(shop, waiter.number);
        let (crowd, options) = (&buyer.shop.crowd, &buyer.shop.options);
        buyer.plan.rng = crowd.chance_after_wait(options, waiter.number, waiter.entries);
        buyer.due = waiter.due;
        buyer.attempt = waiter.attempt;
        buyer.entries = waiter.entries;
        buyer.leaves = Some(waiter.until);
        buyer.token = waiter.token.map(String::from);
        buyer
    }

    /// Joins the waiting room: `Ok` if it is let in at once.
    pub(crate) async fn join_line(&mut self) -> Result<(), Stop> {
        let patience = self.plan.patience;
        self.token = None;
        self.leaves = Some(self.due + patience);
        let result = self.persist(self.room_call(Operation::Join, "/join")).await;
        self.take_place(result)
    }

    /// Asks for its place, or leaves if it has waited long enough: `Ok` once it is let in.
    pub(crate) async fn ask_for_place(&mut self) -> Result<(), Stop> {
        if self.leaves.is_some_and(|until| self.due >= until) {
            return Err(Stop::Fate(BuyerResult::LeftLine));
        }
        let result = self.persist(self.room_call(Operation::Wait, "/status")).await;
        self.take_place(result)
    }

    fn take_place(&mut self, result: CallResult) -> Result<(), Stop> {
        let Some(place) = result.place else {
            let is_refused = result.status.is_some_and(|status| (400..500).contains(&status));
            let fate = if is_refused { BuyerResult::Refused } else { BuyerResult::Failed };
            return Err(Stop::Fate(fate));
        };
        self.token = place.token.or(self.token.take());
        match place.status.as_str() {
            "admitted" | "open" => {
                self.leaves = None;
                self.entries += 1;
                Ok(())
            }
            "sold_out" | "closed" => Err(Stop::Fate(BuyerResult::WentWithout)),
            _ => {
                let until = *self.leaves.get_or_insert(self.due);
                self.due = (self.due + place.refresh_after).min(until.max(self.due));
                Err(Stop::InLine)
            }
        }
    }

    /// Returns the buyer as one who waits.
    pub(crate) fn into_waiter(self) -> Waiter {
        Waiter {
            due: self.due,
            number: self.plan.number,
            attempt: self.attempt,
            entries: self.entries,
            until: self.leaves.unwrap_or(self.due),
            token: self.token.map(String::into_boxed_str),
        }
    }

    /// Gives the place or the session up, if there is one.
    pub(crate) async fn leave_line(&mut self) {
        if self.token.is_some() {
            let mut call = self.room_call(Operation::Leave, "/leave");
            call.body = Some(json!({}));
            // Its outcome is counted; a session that is not left ends with its time.
            self.go(call).await;
        }
    }

    fn room_call(&self, operation: Operation, verb: &str) -> CallSpec {
        let method = if operation == Operation::Wait { Method::GET } else { Method::POST };
        let path = format!("/api/v1/events/{}/waiting-room{verb}", self.event().id);
        CallSpec { token: self.token.clone(), ..self.call(operation, method, path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_served_in_order_of_due_times() {
        let now = Instant::now();
        let mut line = Line::default();
        for (number, seconds) in [(1, 3), (2, 1), (3, 2), (4, 60)] {
            let due = now + Duration::from_secs(seconds);
            line.push(Waiter { due, number, attempt: 0, entries: 0, until: due, token: None });
        }
        assert_eq!(line.next_due(), Some(now + Duration::from_secs(1)));
        let later = now + Duration::from_secs(3);
        let served: Vec<u32> =
            std::iter::from_fn(|| line.pop_due(later)).map(|one| one.number).collect();
        assert_eq!(served, [2, 3, 1]);
        assert!(line.pop_due(later).is_none() && line.next_due().is_some());
    }

    #[test]
    fn one_who_waits_costs_less_than_half_a_kilobyte() {
        // The token's text is about 130 bytes more; the heap may be twice as long as what is in it.
        assert!(2 * size_of::<Waiter>() <= 256, "{}", size_of::<Waiter>());
        assert_eq!(size_of::<(Duration, crate::plan::Part)>(), 24, "one who has not arrived");
    }
}
