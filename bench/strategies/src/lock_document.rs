//! Pessimistic: a lock document in MongoDB for every seat, with an expiry; whoever has it looks
//! whether the seat is sold, writes the booking, and deletes the lock.
//!
//! At its best: one lock a seat rather than one an event, so that only buyers of the same seat wait
//! for each other; one update takes a lock that is free or has expired; whether a seat is sold is
//! looked up by an index before any lock is taken, so that a refusal is one read. Locks of several
//! seats are taken in ascending order, so that nobody waits in a circle.
//!
//! Gives up: five operations a booking, two of which wait for the journal; who waits for a lock
//! asks again and again. A process that is stopped for longer than its locks live writes a booking
//! for a seat that another has sold meanwhile. A crash keeps seats from being sold until the locks
//! expire.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::{Collection, IndexModel};

use crate::http::{Decision, Strategy};
use crate::stores::{Failure, Order, Stores, is_duplicate, now_ms};

/// How long a lock lives whose owner does not delete it.
const LOCK_TTL_MS: i64 = 10_000;
/// Pause before a lock is asked for again.
const RETRY_PAUSE: Duration = Duration::from_millis(3);
/// Attempts at the locks.
const ATTEMPTS: u32 = 500;

pub struct LockDocument {
    locks: Collection<Document>,
    /// A lock that was deleted and comes back expires.
    locks_quick: Collection<Document>,
    bookings: Collection<Document>,
}

impl LockDocument {
    /// Creates the index.
    ///
    /// # Errors
    /// If MongoDB does not.
    pub async fn new(stores: &Stores) -> Result<Self, Failure> {
        let bookings = stores.bookings();
        bookings.create_index(IndexModel::builder().keys(doc! { "places": 1 }).build()).await?;
        Ok(LockDocument {
            locks: stores.durable("locks"),
            locks_quick: stores.quick("locks"),
            bookings,
        })
    }

    async fn is_sold(&self, places: &[String]) -> Result<bool, Failure> {
        let filter = match places {
            [one] => doc! { "places": one },
            several => doc! { "places": { "$in": several } },
        };
        let found = self.bookings.find_one(filter).projection(doc! { "_id": 1 }).await?;
        Ok(found.is_some())
    }

    /// Takes all locks or none.
    async fn lock(&self, order: &Order, places: &[String]) -> Result<bool, Failure> {
        for (index, place) in places.iter().enumerate() {
            let now = now_ms();
            let expired = doc! { "_id": place, "until_ms": { "$lt": now } };
            let own = doc! { "$set": { "owner": &order.id, "until_ms": now + LOCK_TTL_MS } };
            // A lock that lives does not match, and cannot be inserted a second time.
            match self.locks.update_one(expired, own).upsert(true).await {
                Ok(_) => {}
                Err(error) if is_duplicate(&error) => {
                    self.unlock(order, &places[..index]).await?;
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    async fn unlock(&self, order: &Order, places: &[String]) -> Result<(), Failure> {
        match places {
            [] => {}
            [one] => {
                self.locks_quick.delete_one(doc! { "_id": one, "owner": &order.id }).await?;
            }
            several => {
                let own = doc! { "_id": { "$in": several }, "owner": &order.id };
                self.locks_quick.delete_many(own).await?;
            }
        }
        Ok(())
    }

    async fn book_locked(&self, order: &Order, places: &[String]) -> Result<Decision, Failure> {
        if self.is_sold(places).await? {
            return Ok(Decision::Refused);
        }
        self.bookings.insert_one(order.document()).await?;
        Ok(Decision::Granted)
    }
}

impl Strategy for LockDocument {
    async fn prepare(&self, _event: u64, _capacity: u32) -> Result<(), Failure> {
        // A seat without a booking is free.
        Ok(())
    }

    async fn book(&self, order: &Order) -> Result<Decision, Failure> {
        let places: Vec<String> = order.places().collect();
        for _ in 0..ATTEMPTS {
            if self.is_sold(&places).await? {
                return Ok(Decision::Refused);
            }
            if self.lock(order, &places).await? {
                let decided = self.book_locked(order, &places).await;
                self.unlock(order, &places).await?;
                return decided;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        Err("the locks were never free".into())
    }
}
