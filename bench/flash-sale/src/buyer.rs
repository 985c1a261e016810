//! One buyer's course: arrive, ask for seats (again for others if they are taken), think, then
//! pay, cancel or walk away. Every wait and every repetition is bounded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};

use crate::history::{Operation, Told};
use crate::options::{By, Look};
use crate::plan::{Intent, Plan};
use crate::shop::{Errand, Learned, Shop};
use crate::tally::Fate;

/// Times the same request is sent again, after 429, 503, `in_flight` or no answer at all.
const RESENDS_MAX: u32 = 4;
/// Pause before, where the answer names none.
const RESEND_PAUSE: Duration = Duration::from_millis(500);
/// First pause between two looks at a booking whose end is awaited; each next one is twice as long.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Longest of these pauses.
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(8);

/// One buyer on its way.
pub struct Buyer {
    shop: Arc<Shop>,
    plan: Plan,
    /// When the next call is due.
    due: Instant,
}

impl Buyer {
    /// A buyer who arrives at its time.
    pub fn new(shop: Arc<Shop>, plan: Plan) -> Self {
        let due = shop.began + plan.arrives;
        Buyer { shop, plan, due }
    }

    /// Runs its course; how it fared.
    pub async fn run(mut self) -> Fate {
        let booking = match self.hold().await {
            Ok(booking) => booking,
            Err(fate) => return fate,
        };
        self.count_seats(&booking, |counts, seats| counts.seats_held += seats);
        self.due += self.shop.options.think.draw(&mut self.plan.rng);
        match self.plan.intent {
            Intent::Abandon => Fate::Abandoned,
            Intent::Cancel => self.cancel(&booking, Fate::Cancelled).await,
            Intent::Pay { declined_first, returns } => {
                let fate = self.pay(&booking, declined_first).await;
                if fate != Fate::Bought {
                    return fate;
                }
                self.count_seats(&booking, |counts, seats| counts.seats_sold += seats);
                if !returns {
                    return fate;
                }
                self.due += self.shop.options.think.draw(&mut self.plan.rng);
                self.cancel(&booking, Fate::Returned).await
            }
        }
    }

    fn count_seats(&self, booking: &Told, count: impl Fn(&mut crate::tally::Counts, u64)) {
        count(&mut self.shop.tally.lock(), booking.seats.len() as u64);
    }

    // -- Asking for seats --------------------------------------------------------------------

    async fn hold(&mut self) -> Result<Told, Fate> {
        for attempt in 0..=self.shop.options.retries {
            if let Some(wish) = self.wish(attempt).await {
                let key = self.key(&format!("hold{attempt}"));
                let learned = self.ask_for(&wish, &key).await;
                match (learned.status, learned.error.as_deref(), learned.booking) {
                    (Some(201), _, Some(booking)) => return Ok(booking),
                    (Some(409), Some("seats_unavailable"), _) => {}
                    (Some(400..500), ..) => return Err(Fate::Refused),
                    _ => return Err(Fate::Failed),
                }
            }
            self.due += self.shop.options.retry_pause.draw(&mut self.plan.rng);
        }
        Err(Fate::WentWithout)
    }

    /// What to ask for; nothing if the map shows too few free seats.
    async fn wish(&mut self, attempt: u32) -> Option<Value> {
        let shop = self.shop.clone();
        let (options, wanted) = (&shop.options, self.plan.wanted);
        if options.by == By::Quantity {
            let mut wish = json!({ "event_id": shop.event, "quantity": wanted });
            if let Some(section) = &options.section {
                wish["section"] = json!(section);
            }
            if options.split {
                wish["together"] = json!(false);
            }
            return Some(wish);
        }
        let seats = if attempt > 0 && options.look == Look::Retries {
            let path = format!("/api/v1/events/{}/seats", shop.event);
            let errand = self.errand(Operation::Map, Method::GET, path);
            match self.go(errand).await.map {
                Some(map) => map.free(wanted, options.front, &mut self.plan.rng),
                None => shop.map.anywhere(wanted, options.front, &mut self.plan.rng),
            }
        } else {
            shop.map.anywhere(wanted, options.front, &mut self.plan.rng)
        };
        (!seats.is_empty()).then(|| json!({ "event_id": shop.event, "seat_ids": seats }))
    }

    async fn ask_for(&mut self, wish: &Value, key: &Option<String>) -> Learned {
        let mut errand = Errand {
            body: Some(wish.clone()),
            key: key.clone(),
            ..self.errand(Operation::Hold, Method::POST, "/api/v1/bookings".to_owned())
        };
        if self.plan.double_click {
            let learned = self.twice(errand.clone()).await;
            if !self.should_resend(&learned) {
                return learned;
            }
            errand.resend = 2;
        }
        self.persist(errand).await
    }

    /// Sends it two times at once; what the luckier one learns.
    async fn twice(&mut self, first: Errand) -> Learned {
        self.wait().await;
        let second = Errand { resend: 1, ..first.clone() };
        let (shop, plan, due) = (&self.shop, &self.plan, self.due);
        let (first, second) = tokio::join!(shop.run(plan, due, first), shop.run(plan, due, second));
        self.due = first.at.max(second.at);
        if first.booking.is_some() { first } else { second }
    }

    // -- Paying and giving up ----------------------------------------------------------------

    async fn pay(&mut self, booking: &Told, declined_first: bool) -> Fate {
        let cards: &[&str] =
            if declined_first { &["card_declined", "card_ok"] } else { &["card_ok"] };
        for (attempt, card) in cards.iter().enumerate() {
            let errand = Errand {
                body: Some(json!({ "payment_method": card })),
                key: self.key(&format!("pay{attempt}")),
                ..self.about(booking, Operation::Confirm, Method::POST, "/confirm")
            };
            let learned = self.persist(errand).await;
            match (learned.status, learned.error.as_deref()) {
                (Some(200), None) => return Fate::Bought,
                (Some(202), None) => return self.await_end(booking).await,
                (Some(402), _) => self.due += self.shop.options.think.draw(&mut self.plan.rng),
                (Some(410), _) => return Fate::TooLate,
                (Some(409), Some("sale_voided")) => return Fate::Voided,
                (Some(400..500), _) => return Fate::Refused,
                _ => return Fate::Failed,
            }
        }
        Fate::Declined
    }

    /// Looks at a paid booking until the archive has judged it.
    async fn await_end(&mut self, booking: &Told) -> Fate {
        let learned = self.look_until(booking, |status| status != "CONFIRMING").await;
        match learned.as_deref() {
            Some("CONFIRMED") => Fate::Bought,
            Some("VOIDED") => Fate::Voided,
            Some("EXPIRED") => Fate::TooLate,
            _ => Fate::Pending,
        }
    }

    async fn cancel(&mut self, booking: &Told, fate: Fate) -> Fate {
        let errand = self.about(booking, Operation::Cancel, Method::POST, "/cancel");
        let learned = self.persist(errand).await;
        match learned.status {
            Some(200) => fate,
            Some(202) => match self.look_until(booking, |s| s == "CANCELLED").await {
                Some(_) => fate,
                None => Fate::Pending,
            },
            Some(410) => Fate::TooLate,
            Some(400..500) => Fate::Refused,
            _ => Fate::Failed,
        }
    }

    /// Looks at a booking until its status satisfies, no longer than the sale may take to settle.
    async fn look_until(&mut self, booking: &Told, end: fn(&str) -> bool) -> Option<String> {
        let until = self.due + Duration::from_secs(self.shop.options.settle_seconds);
        let mut pause = LOOK_PAUSE;
        while self.due < until {
            self.due += pause;
            pause = (2 * pause).min(LOOK_PAUSE_MAX);
            let errand = self.about(booking, Operation::Look, Method::GET, "");
            if let Some(told) = self.go(errand).await.booking
                && end(&told.status)
            {
                return Some(told.status);
            }
        }
        None
    }

    // -- Calls -------------------------------------------------------------------------------

    /// Sends until there is an answer that stands.
    async fn persist(&mut self, mut errand: Errand) -> Learned {
        let last = errand.resend + RESENDS_MAX;
        loop {
            let learned = self.go(errand.clone()).await;
            if errand.resend >= last || !self.should_resend(&learned) {
                return learned;
            }
            errand.resend += 1;
        }
    }

    /// Whether the same request should be sent again; sets when.
    fn should_resend(&mut self, learned: &Learned) -> bool {
        let again = match (learned.status, learned.error.as_deref()) {
            (None, _) | (Some(429 | 503), _) => true,
            (Some(409), Some(code)) => matches!(code, "in_flight" | "booking_confirming"),
            _ => false,
        };
        if again {
            self.due += learned.retry_after.unwrap_or(RESEND_PAUSE);
        }
        again
    }

    /// Waits until the next call is due, and makes it. The one after is due from its answer on.
    async fn go(&mut self, errand: Errand) -> Learned {
        self.wait().await;
        let learned = self.shop.run(&self.plan, self.due, errand).await;
        self.due = learned.at;
        learned
    }

    async fn wait(&self) {
        tokio::time::sleep_until(self.due.into()).await;
    }

    fn key(&self, what: &str) -> Option<String> {
        let Plan { number, keyed, .. } = self.plan;
        keyed.then(|| format!("{}-b{number}-{what}", self.shop.name))
    }

    fn errand(&self, operation: Operation, method: Method, path: String) -> Errand {
        Errand { operation, method, path, body: None, key: None, about: None, resend: 0 }
    }

    fn about(&self, booking: &Told, operation: Operation, method: Method, verb: &str) -> Errand {
        let path = format!("/api/v1/bookings/{}{verb}", booking.id);
        Errand { about: Some(booking.id.clone()), ..self.errand(operation, method, path) }
    }
}
