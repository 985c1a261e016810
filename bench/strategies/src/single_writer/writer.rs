//! The writer: decides the orders of the queue in their sequence.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fred::clients::Client;
use fred::interfaces::{KeysInterface, ListInterface, LuaInterface, SetsInterface};
use fred::types::{Expiration, SetOptions};
use mongodb::Collection;
use mongodb::bson::Document;
use tokio::sync::Semaphore;

use super::{Answer, Queued, RETRY_PAUSE, pop, sold_key};
use crate::stores::{Failure, Order, Stores};

/// How long a writer that does not renew its lease keeps others from writing.
const LEASE_MS: i64 = 10_000;
/// How often it is renewed.
const RENEWAL: Duration = Duration::from_secs(2);
/// Batches that are being written to MongoDB at once.
const WRITES_MAX: usize = 4;
/// How long answers are kept for a process that does not take them.
const ANSWERS_TTL_SECONDS: i64 = 60;
/// KEYS: the lease. ARGV: owner, ms. Returns 1 if the owner still has it.
const RENEW: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
";

pub struct Writer {
    stores: Stores,
    /// For blocking commands.
    queue: Client,
    /// Whose lease it is.
    owner: String,
    bookings: Collection<Document>,
    writes: Arc<Semaphore>,
    renewed: Option<Instant>,
}

/// The decisions of a batch.
struct Decided {
    granted: Vec<Queued>,
    refused: Vec<Queued>,
}

impl Writer {
    pub async fn new(stores: &Stores, owner: String) -> Result<Self, Failure> {
        Ok(Writer {
            stores: stores.clone(),
            queue: stores.blocking_redis().await?,
            owner,
            bookings: stores.bookings(),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
            renewed: None,
        })
    }

    /// Works while it has the lease, for ever.
    pub async fn run(mut self) {
        loop {
            if let Err(failure) = self.turn().await {
                eprintln!("the writer failed: {failure}");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    async fn turn(&mut self) -> Result<(), Failure> {
        if !self.has_lease().await? {
            tokio::time::sleep(RETRY_PAUSE).await;
            return Ok(());
        }
        // Not before there is room: what waits stays in the queue.
        let permit = self.writes.clone().acquire_owned().await?;
        let orders = pop(&self.queue, &self.stores.key("queue")).await?;
        let orders: Vec<Queued> =
            orders.iter().map(|order| serde_json::from_str(order)).collect::<Result<_, _>>()?;
        if orders.is_empty() {
            return Ok(());
        }
        let decided = self.decide(orders).await?;
        let (stores, bookings) = (self.stores.clone(), self.bookings.clone());
        tokio::spawn(async move {
            if let Err(failure) = write(&stores, &bookings, decided).await {
                eprintln!("answers cannot be sent: {failure}");
            }
            drop(permit);
        });
        Ok(())
    }

    async fn has_lease(&mut self) -> Result<bool, Failure> {
        let key = self.stores.key("writer");
        let redis = &self.stores.redis;
        let has_lease = match self.renewed {
            Some(renewed) if renewed.elapsed() < RENEWAL => return Ok(true),
            Some(_) => {
                let arguments = vec![self.owner.clone(), LEASE_MS.to_string()];
                redis.eval(RENEW, vec![key], arguments).await?
            }
            None => {
                let (ttl, only_new) = (Some(Expiration::PX(LEASE_MS)), Some(SetOptions::NX));
                let set: Option<String> =
                    redis.set(key, self.owner.clone(), ttl, only_new, false).await?;
                set.is_some()
            }
        };
        self.renewed = has_lease.then(Instant::now);
        Ok(has_lease)
    }

    /// Decides a batch, and marks what is sold: one read and one write for each of its events.
    async fn decide(&self, orders: Vec<Queued>) -> Result<Decided, Failure> {
        let mut wanted: HashMap<u64, Vec<u32>> = HashMap::new();
        for order in &orders {
            wanted.entry(order.event).or_default().extend(&order.seats);
        }
        let redis = &self.stores.redis;
        let mut sold: HashSet<(u64, u32)> = HashSet::new();
        for (event, seats) in &wanted {
            let key = sold_key(&self.stores, *event);
            let marks: Vec<bool> = redis.smismember(key, seats.clone()).await?;
            let marked = seats.iter().zip(marks).filter(|(_, is_sold)| *is_sold);
            sold.extend(marked.map(|(seat, _)| (*event, *seat)));
        }
        let mut decided = Decided { granted: Vec::new(), refused: Vec::new() };
        let mut taken: HashMap<u64, Vec<u32>> = HashMap::new();
        for order in orders {
            if order.seats.iter().any(|seat| sold.contains(&(order.event, *seat))) {
                decided.refused.push(order);
                continue;
            }
            sold.extend(order.seats.iter().map(|seat| (order.event, *seat)));
            taken.entry(order.event).or_default().extend(&order.seats);
            decided.granted.push(order);
        }
        for (event, seats) in taken {
            let _: i64 = redis.sadd(sold_key(&self.stores, event), seats).await?;
        }
        Ok(decided)
    }
}

/// Writes the bookings of a batch, and sends the answers: refusals first, which wait for nothing.
async fn write(
    stores: &Stores,
    bookings: &Collection<Document>,
    decided: Decided,
) -> Result<(), Failure> {
    answer(stores, decided.refused, "refused").await?;
    if decided.granted.is_empty() {
        return Ok(());
    }
    let said = match bookings.insert_many(decided.granted.iter().map(document)).await {
        Ok(_) => "granted",
        Err(error) => {
            eprintln!("bookings were not written: {error}");
            "failed"
        }
    };
    answer(stores, decided.granted, said).await
}

/// Sends the same answer to all of these orders.
async fn answer(stores: &Stores, orders: Vec<Queued>, said: &str) -> Result<(), Failure> {
    let mut answers: HashMap<String, Vec<String>> = HashMap::new();
    for order in orders {
        let answer = serde_json::to_string(&Answer(order.id, said.to_owned()))?;
        answers.entry(order.answers).or_default().push(answer);
    }
    for (list, answers) in answers {
        let pipeline = stores.redis.next().pipeline();
        let _: () = pipeline.rpush(&list, answers).await?;
        let _: () = pipeline.expire(&list, ANSWERS_TTL_SECONDS, None).await?;
        let _: Vec<i64> = pipeline.all().await?;
    }
    Ok(())
}

fn document(order: &Queued) -> Document {
    let order = Order {
        id: order.id.clone(),
        event: order.event,
        seats: order.seats.clone(),
        user: order.user.clone(),
    };
    order.document()
}
