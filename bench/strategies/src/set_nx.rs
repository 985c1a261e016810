//! `SET seat NX PX` in Redis for every seat, released if not all were free; then the booking in
//! MongoDB.
//!
//! At its best: the commands of all seats go out in one pipeline; a refusal is one command for each
//! seat; a seat whose booking was never written comes back by itself when its key expires.
//!
//! Gives up: two buyers who want overlapping seats may refuse each other, so that nobody gets them.
//! If MongoDB takes longer than the key lives, or the process stops after the write and before
//! `PERSIST`, a sold seat is free again: it can be sold twice.

use fred::clients::Pool;
use fred::interfaces::KeysInterface;
use fred::types::{Expiration, SetOptions, Value};
use mongodb::Collection;
use mongodb::bson::Document;

use crate::http::{Decision, Strategy};
use crate::stores::{Failure, Order, Stores};

/// How long a seat stays taken whose booking was not written.
const SEAT_TTL_MS: i64 = 60_000;

pub struct SetNx {
    stores: Stores,
    redis: Pool,
    bookings: Collection<Document>,
}

impl SetNx {
    pub fn new(stores: &Stores) -> Self {
        SetNx { stores: stores.clone(), redis: stores.redis.clone(), bookings: stores.bookings() }
    }

    /// Takes seats that are free; returns the keys that it took.
    async fn take(&self, order: &Order) -> Result<Vec<String>, Failure> {
        let keys: Vec<String> =
            order.places().map(|place| self.stores.key(format!("seat:{place}"))).collect();
        let ttl = || Some(Expiration::PX(SEAT_TTL_MS));
        let pipeline = self.redis.next().pipeline();
        for key in &keys {
            let (user, only_new) = (order.user.as_str(), Some(SetOptions::NX));
            let _: () = pipeline.set(key, user, ttl(), only_new, false).await?;
        }
        let replies: Vec<Value> = pipeline.all().await?;
        let taken = keys.into_iter().zip(replies).filter(|(_, reply)| !reply.is_null());
        Ok(taken.map(|(key, _)| key).collect())
    }
}

impl Strategy for SetNx {
    async fn prepare(&self, _event: u64, _capacity: u32) -> Result<(), Failure> {
        // A seat without a key is free.
        Ok(())
    }

    async fn book(&self, order: &Order) -> Result<Decision, Failure> {
        let taken = self.take(order).await?;
        if taken.len() < order.seats.len() {
            if !taken.is_empty() {
                let _: i64 = self.redis.del(taken).await?;
            }
            return Ok(Decision::Refused);
        }
        if let Err(error) = self.bookings.insert_one(order.document()).await {
            let _: i64 = self.redis.del(taken).await?;
            return Err(error.into());
        }
        let pipeline = self.redis.next().pipeline();
        for key in &taken {
            let _: () = pipeline.persist(key).await?;
        }
        let _: Vec<Value> = pipeline.all().await?;
        Ok(Decision::Granted)
    }
}
