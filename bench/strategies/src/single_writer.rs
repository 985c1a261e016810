//! A queue in Redis and one writer, which takes the orders in batches, decides them one after
//! another, writes the bookings of a batch by one `insertMany`, and sends the answers back over a
//! list that each API process has.
//!
//! At its best: no two decisions ever compete; one write to MongoDB for up to 1,000 bookings,
//! several batches under way at once; orders and answers go through Redis in batches; seats that
//! the writer has marked as sold are refused without the queue. Any number of API processes may
//! run; one of them has the writer's lease.
//!
//! Gives up: one writer is the limit, and while its lease has no owner nobody buys. Orders that a
//! writer took and did not finish are lost: their buyers get an error and cannot know what came of
//! it, and their seats may be marked as sold without a booking. A writer that is stopped for longer
//! than its lease decides beside its successor.

mod writer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fred::clients::{Client, Pool};
use fred::error::ErrorKind;
use fred::interfaces::{ListInterface, SetsInterface};
use fred::types::lists::LMoveDirection;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::http::{Decision, Strategy};
use crate::stores::{Failure, Order, Stores};
use writer::Writer;

/// Orders or answers that are taken from a list at once.
const BATCH: i64 = 1_000;
/// How long a list is waited for before the lease is looked at.
const POP_SECONDS: f64 = 1.0;
/// How long an answer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failure of Redis.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// An order in the queue.
#[derive(Serialize, Deserialize)]
struct Queued {
    id: String,
    event: u64,
    seats: Vec<u32>,
    user: String,
    /// The list for the answer.
    answers: String,
}

/// An answer: the order's id, and `granted`, `refused` or `failed`.
#[derive(Serialize, Deserialize)]
struct Answer(String, String);

/// Orders whose answers are awaited.
type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<String>>>>;

pub struct SingleWriter {
    redis: Pool,
    stores: Stores,
    /// The list of this process' answers.
    answers: String,
    waiting: Waiting,
}

impl SingleWriter {
    /// Starts the reader of answers, and a writer that works while it has the lease.
    ///
    /// # Errors
    /// If Redis does not respond.
    pub async fn start(stores: &Stores) -> Result<Self, Failure> {
        let process = Uuid::new_v4();
        let answers = stores.key(format!("answers:{process}"));
        let waiting = Waiting::default();
        let reader = stores.blocking_redis().await?;
        tokio::spawn(read_answers(reader, answers.clone(), waiting.clone()));
        let writer = Writer::new(stores, process.to_string()).await?;
        tokio::spawn(writer.run());
        Ok(SingleWriter { redis: stores.redis.clone(), stores: stores.clone(), answers, waiting })
    }

    fn forget(&self, id: &str) {
        if let Ok(mut waiting) = self.waiting.lock() {
            waiting.remove(id);
        }
    }

    async fn answer(&self, order: &Order) -> Result<String, Failure> {
        let queued = Queued {
            id: order.id.clone(),
            event: order.event,
            seats: order.seats.clone(),
            user: order.user.clone(),
            answers: self.answers.clone(),
        };
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().map_err(|_| "a thread panicked")?.insert(order.id.clone(), sender);
        let queue = self.stores.key("queue");
        let _: i64 = self.redis.rpush(queue, serde_json::to_string(&queued)?).await?;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, receiver).await;
        Ok(answer.map_err(|_| "no answer in time")??)
    }
}

impl Strategy for SingleWriter {
    async fn prepare(&self, _event: u64, _capacity: u32) -> Result<(), Failure> {
        // A seat that is not in the set is free.
        Ok(())
    }

    async fn book(&self, order: &Order) -> Result<Decision, Failure> {
        let sold = sold_key(&self.stores, order.event);
        let marks: Vec<bool> = self.redis.smismember(sold, order.seats.clone()).await?;
        if marks.contains(&true) {
            return Ok(Decision::Refused);
        }
        let answer = self.answer(order).await;
        self.forget(&order.id);
        match answer?.as_str() {
            "granted" => Ok(Decision::Granted),
            "refused" => Ok(Decision::Refused),
            other => Err(other.into()),
        }
    }
}

/// The set of an event's sold seats.
fn sold_key(stores: &Stores, event: u64) -> String {
    stores.key(format!("sold:{event}"))
}

/// Takes what is in a list; empty if nothing came in time.
async fn pop(redis: &Client, list: &str) -> Result<Vec<String>, Failure> {
    let popped = redis.blmpop(POP_SECONDS, list, LMoveDirection::Left, Some(BATCH)).await;
    match popped {
        Ok(popped) => {
            let (_, items): (String, Vec<String>) = popped;
            Ok(items)
        }
        // The reply to a list that stayed empty.
        Err(error) if *error.kind() == ErrorKind::Timeout => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

async fn read_answers(redis: Client, list: String, waiting: Waiting) {
    loop {
        let answers = match pop(&redis, &list).await {
            Ok(answers) => answers,
            Err(failure) => {
                eprintln!("answers cannot be read: {failure}");
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
        };
        let Ok(mut waiting) = waiting.lock() else { return };
        for answer in answers {
            let Ok(Answer(id, text)) = serde_json::from_str(&answer) else { continue };
            if let Some(sender) = waiting.remove(&id) {
                // The request may have timed out: its receiver is gone then.
                let _ = sender.send(text);
            }
        }
    }
}
