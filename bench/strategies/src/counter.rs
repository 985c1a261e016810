//! A counter in Redis without a script: GET, check, DECRBY, then the booking in MongoDB.
//!
//! At its best: two commands on pipelined connections and one write; a refusal is one GET. The
//! shortest program of all, and often the first one that is written.
//!
//! Gives up: **it oversells.** Whoever reads the counter between another's GET and DECRBY is
//! granted the same place. It knows no seats either, only how many are left; the seats of a request
//! are counted. A crash between DECRBY and the write loses the places of that request.

use fred::clients::Pool;
use fred::interfaces::KeysInterface;
use mongodb::Collection;
use mongodb::bson::Document;

use crate::http::{Decision, Strategy};
use crate::stores::{Failure, Order, Stores};

pub struct Counter {
    stores: Stores,
    redis: Pool,
    bookings: Collection<Document>,
}

impl Counter {
    pub fn new(stores: &Stores) -> Self {
        Counter { stores: stores.clone(), redis: stores.redis.clone(), bookings: stores.bookings() }
    }

    fn remaining(&self, event: u64) -> String {
        self.stores.key(format!("remaining:{event}"))
    }
}

impl Strategy for Counter {
    async fn prepare(&self, event: u64, capacity: u32) -> Result<(), Failure> {
        Ok(self.redis.set(self.remaining(event), capacity, None, None, false).await?)
    }

    async fn book(&self, order: &Order) -> Result<Decision, Failure> {
        let (key, places) = (self.remaining(order.event), order.seats.len() as i64);
        let remaining: i64 = self.redis.get(&key).await?;
        if remaining < places {
            return Ok(Decision::Refused);
        }
        let _: i64 = self.redis.decr_by(&key, places).await?;
        if let Err(error) = self.bookings.insert_one(order.document()).await {
            let _: i64 = self.redis.incr_by(&key, places).await?;
            return Err(error.into());
        }
        Ok(Decision::Granted)
    }
}
