//! One buyer: arrives, requests seats (others, if those are taken), waits, then pays, cancels or lets
//! the hold lapse. Every wait and every repetition is bounded. Who waits in a waiting room is put away
//! until it asks again (`line.rs`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};

use crate::history::{BookingState, Operation};
use crate::line::Waiter;
use crate::options::{By, Look};
use crate::plan::{Intent, Plan};
use crate::shop::{CallResult, CallSpec, EventOnSale, Shop};
use crate::tally::BuyerResult;

/// Most repetitions of one request after 429, 503, `in_flight` or no response.
const RESENDS_MAX: u32 = 4;
/// Pause before a repetition without `Retry-After`.
const RESEND_PAUSE: Duration = Duration::from_millis(500);
/// First pause between two reads of a booking that is not decided; doubles each time.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Longest of these pauses.
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(8);

/// One buyer.
pub struct Buyer {
    pub(crate) shop: Arc<Shop>,
    pub(crate) plan: Plan,
    /// When the next call is due.
    pub(crate) due: Instant,
    /// The waiting room's token, once it has one.
    pub(crate) token: Option<String>,
    /// When it leaves the waiting room that it waits in.
    pub(crate) leaves: Option<Instant>,
    /// The attempt to hold seats that it is at.
    pub(crate) attempt: u32,
    /// How often a waiting room let it in.
    pub(crate) entries: u32,
}

/// Why a buyer goes no further.
pub enum Stop {
    /// It has this result.
    Fate(BuyerResult),
    /// It waits in the waiting room.
    InLine,
}

/// The end of a buyer's task.
pub enum Turn {
    /// It has finished.
    Finished,
    /// It waits in the waiting room.
    Waits(Waiter),
}

impl Buyer {
    /// Creates the buyer of this number, who arrives when its plan says.
    pub fn new(shop: Arc<Shop>, number: u32) -> Self {
        let plan = shop.crowd.plan(&shop.options, number);
        let due = shop.began + plan.arrives;
        Buyer { shop, plan, due, token: None, leaves: None, attempt: 0, entries: 0 }
    }

    /// Runs the plan, or what is left of it after a wait in the waiting room, which is left at its end.
    pub async fn run(mut self) -> Turn {
        let fate = match self.buy().await {
            Ok(fate) | Err(Stop::Fate(fate)) => fate,
            Err(Stop::InLine) => return Turn::Waits(self.into_waiter()),
        };
        // A purchase ends the session by itself, and who walks away leaves nothing.
        if !matches!(fate, BuyerResult::Bought | BuyerResult::Returned | BuyerResult::Abandoned) {
            self.leave_line().await;
        }
        self.shop.tally.finished(self.plan.part, fate);
        Turn::Finished
    }

    /// The event that it buys.
    pub(crate) fn event(&self) -> &EventOnSale {
        &self.shop.events[self.plan.part.event()]
    }

    async fn buy(&mut self) -> Result<BuyerResult, Stop> {
        if self.leaves.is_some() {
            self.ask_for_place().await?;
        } else if self.event().has_room {
            self.join_line().await?;
        }
        let booking = self.hold().await?;
        Ok(self.decide(booking).await)
    }

    /// Pays, cancels or walks away.
    async fn decide(&mut self, booking: BookingState) -> BuyerResult {
        self.due += self.shop.options.think.draw(&mut self.plan.rng);
        match self.plan.intent {
            Intent::Abandon => BuyerResult::Abandoned,
            Intent::Cancel => self.cancel(&booking, BuyerResult::Cancelled).await,
            Intent::Pay { declined_first, returns } => {
                let fate = self.pay(&booking, declined_first).await;
                if fate != BuyerResult::Bought {
                    return fate;
                }
                if !returns {
                    return fate;
                }
                self.due += self.shop.options.think.draw(&mut self.plan.rng);
                self.cancel(&booking, BuyerResult::Returned).await
            }
        }
    }

    // -- Requesting seats --------------------------------------------------------------------

    async fn hold(&mut self) -> Result<BookingState, Stop> {
        while self.attempt <= self.shop.options.retries {
            if let Some(body) = self.hold_body(self.attempt).await {
                // A later entry chooses anew: another request.
                let key = self.key(&format!("hold{}-{}", self.attempt, self.entries));
                let mut result = self.send_hold(&body, &key).await;
                if result.error.as_deref() == Some("waiting_room_required") {
                    // Also after a session that ended while this buyer was choosing.
                    self.join_line().await?;
                    result = self.send_hold(&body, &key).await;
                }
                match (result.status, result.error.as_deref(), result.booking) {
                    (Some(201), _, Some(booking)) => return Ok(booking),
                    (Some(409), Some("seats_unavailable"), _) => {}
                    (Some(400..500), ..) => return Err(Stop::Fate(BuyerResult::Refused)),
                    _ => return Err(Stop::Fate(BuyerResult::Failed)),
                }
            }
            self.attempt += 1;
            self.due += self.shop.options.retry_pause.draw(&mut self.plan.rng);
        }
        Err(Stop::Fate(BuyerResult::WentWithout))
    }

    /// Returns the body of the next hold; `None` if the map has too few free seats.
    async fn hold_body(&mut self, attempt: u32) -> Option<Value> {
        let shop = self.shop.clone();
        let (options, wanted) = (&shop.options, self.plan.wanted);
        let event = &shop.events[self.plan.part.event()];
        if options.by == By::Quantity {
            let mut body = json!({ "event_id": event.id, "quantity": wanted });
            if let Some(section) = &options.section {
                body["section"] = json!(section);
            }
            if options.split {
                body["together"] = json!(false);
            }
            return Some(body);
        }
        let seats = if options.one_seat {
            (1..=wanted).collect()
        } else if attempt > 0 && options.look == Look::Retries {
            let path = format!("/api/v1/events/{}/seats", event.id);
            let call = self.call(Operation::Map, Method::GET, path);
            match self.go(call).await.map {
                Some(map) => map.free(wanted, options.front, &mut self.plan.rng),
                None => event.map.anywhere(wanted, options.front, &mut self.plan.rng),
            }
        } else {
            event.map.anywhere(wanted, options.front, &mut self.plan.rng)
        };
        (!seats.is_empty()).then(|| json!({ "event_id": event.id, "seat_ids": seats }))
    }

    async fn send_hold(&mut self, body: &Value, key: &Option<String>) -> CallResult {
        let mut call = CallSpec {
            body: Some(body.clone()),
            key: key.clone(),
            token: self.token.clone(),
            ..self.call(Operation::Hold, Method::POST, "/api/v1/bookings".to_owned())
        };
        if self.plan.double_click {
            let result = self.twice(call.clone()).await;
            if !self.should_resend(&result) {
                return result;
            }
            call.resend = 2;
        }
        self.persist(call).await
    }

    /// Sends a request twice at once; returns the result with a booking, if there is one.
    async fn twice(&mut self, first: CallSpec) -> CallResult {
        self.wait().await;
        let second = CallSpec { resend: 1, ..first.clone() };
        let (shop, plan, due) = (&self.shop, &self.plan, self.due);
        let (first, second) = tokio::join!(shop.run(plan, due, first), shop.run(plan, due, second));
        self.due = first.at.max(second.at);
        if first.booking.is_some() { first } else { second }
    }

    // -- Paying and cancelling ----------------------------------------------------------------

    async fn pay(&mut self, booking: &BookingState, declined_first: bool) -> BuyerResult {
        let cards: &[&str] =
            if declined_first { &["card_declined", "card_ok"] } else { &["card_ok"] };
        for (attempt, card) in cards.iter().enumerate() {
            let call = CallSpec {
                body: Some(json!({ "payment_method": card })),
                key: self.key(&format!("pay{attempt}")),
                ..self.about(&booking.id, Operation::Confirm, Method::POST, "/confirm")
            };
            let result = self.persist(call).await;
            match (result.status, result.error.as_deref()) {
                (Some(200), None) => return BuyerResult::Bought,
                (Some(202), None) => return self.await_end(booking).await,
                (Some(402), _) => self.due += self.shop.options.think.draw(&mut self.plan.rng),
                (Some(410), _) => return BuyerResult::TooLate,
                (Some(409), Some("sale_voided")) => return BuyerResult::Voided,
                (Some(400..500), _) => return BuyerResult::Refused,
                _ => return BuyerResult::Failed,
            }
        }
        BuyerResult::Declined
    }

    /// Reads a paid booking until its sale is decided.
    async fn await_end(&mut self, booking: &BookingState) -> BuyerResult {
        let result = self.look_until(booking, |status| status != "CONFIRMING").await;
        match result.as_deref() {
            Some("CONFIRMED") => BuyerResult::Bought,
            Some("VOIDED") => BuyerResult::Voided,
            Some("EXPIRED") => BuyerResult::TooLate,
            _ => BuyerResult::Pending,
        }
    }

    async fn cancel(&mut self, booking: &BookingState, fate: BuyerResult) -> BuyerResult {
        let call = self.about(&booking.id, Operation::Cancel, Method::POST, "/cancel");
        let result = self.persist(call).await;
        match result.status {
            Some(200) => fate,
            Some(202) => match self.look_until(booking, |s| s == "CANCELLED").await {
                Some(_) => fate,
                None => BuyerResult::Pending,
            },
            Some(410) => BuyerResult::TooLate,
            Some(400..500) => BuyerResult::Refused,
            _ => BuyerResult::Failed,
        }
    }

    /// Reads a booking until `end` accepts its status, for at most `settle_seconds`.
    async fn look_until(
        &mut self,
        booking: &BookingState,
        end: fn(&str) -> bool,
    ) -> Option<String> {
        let until = self.due + Duration::from_secs(self.shop.options.settle_seconds);
        let mut pause = LOOK_PAUSE;
        while self.due < until {
            self.due += pause;
            pause = (2 * pause).min(LOOK_PAUSE_MAX);
            let call = self.about(&booking.id, Operation::Look, Method::GET, "");
            if let Some(booking) = self.go(call).await.booking
                && end(&booking.status)
            {
                return Some(booking.status);
            }
        }
        None
    }

    // -- Calls -------------------------------------------------------------------------------

    /// Sends a request until its response is final.
    pub(crate) async fn persist(&mut self, mut call: CallSpec) -> CallResult {
        let last = call.resend + RESENDS_MAX;
        loop {
            let result = self.go(call.clone()).await;
            if call.resend >= last || !self.should_resend(&result) {
                return result;
            }
            call.resend += 1;
        }
    }

    /// Returns whether to repeat the request, and sets the time of the repetition.
    fn should_resend(&mut self, result: &CallResult) -> bool {
        let again = match (result.status, result.error.as_deref()) {
            (None, _) | (Some(429 | 503), _) => true,
            (Some(409), Some(code)) => matches!(code, "in_flight" | "booking_confirming"),
            _ => false,
        };
        if again {
            self.due += result.retry_after.unwrap_or(RESEND_PAUSE);
        }
        again
    }

    /// Waits until the next call is due, and makes it. The call after that is due at its response.
    pub(crate) async fn go(&mut self, call: CallSpec) -> CallResult {
        self.wait().await;
        let result = self.shop.run(&self.plan, self.due, call).await;
        self.due = result.at;
        result
    }

    async fn wait(&self) {
        tokio::time::sleep_until(self.due.into()).await;
    }

    pub(crate) fn key(&self, what: &str) -> Option<String> {
        let Plan { number, keyed, .. } = self.plan;
        keyed.then(|| format!("{}-b{number}-{what}", self.shop.name))
    }

    pub(crate) fn call(&self, operation: Operation, method: Method, path: String) -> CallSpec {
        CallSpec {
            operation,
            method,
            path,
            body: None,
            key: None,
            about: None,
            token: None,
            resend: 0,
            is_anonymous: false,
        }
    }

    pub(crate) fn about(
        &self,
        booking: &str,
        operation: Operation,
        method: Method,
        verb: &str,
    ) -> CallSpec {
        let path = format!("/api/v1/bookings/{booking}{verb}");
        CallSpec { about: Some(booking.to_owned()), ..self.call(operation, method, path) }
    }
}
