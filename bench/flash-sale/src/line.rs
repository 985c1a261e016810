//! A buyer in the waiting room: joins, asks for its place as often as the server says, leaves.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use crate::buyer::Buyer;
use crate::history::Operation;
use crate::shop::CallSpec;
use crate::tally::BuyerResult;

/// Longest wait for admission; then the buyer goes home.
const PATIENCE: Duration = Duration::from_secs(600);

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

impl Buyer {
    /// Joins the waiting room and waits for admission; an error if there is none.
    pub(crate) async fn wait_in_line(&mut self) -> Result<(), BuyerResult> {
        let until = self.due + PATIENCE;
        let mut result = self.persist(self.room_call(Operation::Join, "/join")).await;
        loop {
            let Some(place) = result.place else {
                let is_refused = result.status.is_some_and(|status| (400..500).contains(&status));
                return Err(if is_refused { BuyerResult::Refused } else { BuyerResult::Failed });
            };
            self.token = place.token.or(self.token.take());
            match place.status.as_str() {
                "admitted" | "open" => return Ok(()),
                "sold_out" | "closed" => return Err(BuyerResult::WentWithout),
                _ if self.due >= until => return Err(BuyerResult::WentWithout),
                _ => self.due += place.refresh_after,
            }
            result = self.persist(self.room_call(Operation::Wait, "/status")).await;
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
        let path = format!("/api/v1/events/{}/waiting-room{verb}", self.shop.event);
        CallSpec { token: self.token.clone(), ..self.call(operation, method, path) }
    }
}
