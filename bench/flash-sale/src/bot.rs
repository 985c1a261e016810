//! A bot: has an account and an address that it shares, looks at the seat map without the account, tries
//! to hold seats, pays at once for what it gets, and makes its next call as soon as the last is answered.

use std::time::Duration;

use hyper::Method;
use serde_json::json;

use crate::buyer::Buyer;
use crate::history::Operation;
use crate::seats::SeatMap;
use crate::shop::{CallResult, CallSpec};
use crate::tally::BuyerResult;

/// What bots call themselves; some send nothing.
const AGENTS: [Option<&str>; 3] = [None, Some("python-requests/2.32.3"), Some("curl/8.5.0")];
/// Pause after a call without a response, so that nobody spins while the server is away.
const FAILED_PAUSE: Duration = Duration::from_millis(200);

/// Returns the user agent of a bot by its number.
pub fn agent(number: u32) -> Option<&'static str> {
    AGENTS[number as usize % AGENTS.len()]
}

impl Buyer {
    /// Makes a bot's calls, and counts its result.
    pub async fn run_bot(mut self) {
        let (mut map, mut calls, mut attempts) = (None, 0, 0);
        let (mut bought, mut beaten, mut answered) = (false, false, false);
        while calls < self.shop.options.bots.calls {
            calls += 1;
            if calls % 2 == 1 {
                let result = self.bot_call(self.scrape()).await;
                answered |= result.status.is_some();
                map = result.map.or(map);
                continue;
            }
            attempts += 1;
            let hold = self.bot_hold(map.as_ref(), attempts);
            let result = self.bot_call(hold).await;
            answered |= result.status.is_some();
            beaten |= result.error.as_deref() == Some("seats_unavailable");
            if let Some(booking) = result.booking {
                calls += 1;
                let confirm = CallSpec {
                    body: Some(json!({ "payment_method": "card_ok" })),
                    ..self.about(&booking.id, Operation::Confirm, Method::POST, "/confirm")
                };
                bought |= matches!(self.bot_call(confirm).await.status, Some(200 | 202));
            }
        }
        let fate = match (bought, beaten, answered) {
            (true, ..) => BuyerResult::Bought,
            (_, true, _) => BuyerResult::WentWithout,
            (_, _, true) => BuyerResult::Refused,
            (false, false, false) => BuyerResult::Failed,
        };
        self.shop.tally.finished(self.plan.part, fate);
    }

    async fn bot_call(&mut self, call: CallSpec) -> CallResult {
        let result = self.go(call).await;
        if result.status.is_none() {
            self.due += FAILED_PAUSE;
        }
        result
    }

    fn scrape(&self) -> CallSpec {
        let path = format!("/api/v1/events/{}/seats", self.event().id);
        CallSpec { is_anonymous: true, ..self.call(Operation::Map, Method::GET, path) }
    }

    fn bot_hold(&mut self, map: Option<&SeatMap>, attempt: u32) -> CallSpec {
        let (shop, wanted) = (self.shop.clone(), self.plan.wanted);
        let (front, rng) = (shop.options.front, &mut self.plan.rng);
        let event = &shop.events[self.plan.part.event()];
        let free = map.map(|map| map.free(wanted, front, rng)).filter(|seats| !seats.is_empty());
        let seats = free.unwrap_or_else(|| event.map.anywhere(wanted, front, rng));
        CallSpec {
            body: Some(json!({ "event_id": event.id, "seat_ids": seats })),
            key: self.key(&format!("hold{attempt}")),
            token: self.token.clone(),
            ..self.call(Operation::Hold, Method::POST, "/api/v1/bookings".to_owned())
        }
    }
}
