//! One script in Redis takes all seats or none; the booking is written to MongoDB before the
//! answer.
//!
//! At its best: one EVALSHA decides, atomically and for any number of seats; a refusal is that one
//! command; what is answered as granted is in MongoDB, by a majority and journalled.
//!
//! Gives up: every winner waits for MongoDB, one write each. A crash between the script and the
//! write leaves a seat that is sold to nobody. Nothing expires, and if Redis falls back to an older
//! state, sold seats are free again.

use fred::clients::Pool;
use fred::interfaces::SetsInterface;
use fred::types::scripts::Script;
use mongodb::Collection;
use mongodb::bson::Document;

use crate::http::{Decision, Strategy};
use crate::stores::{Failure, Order, Stores};

/// KEYS: the set of the event's sold seats. ARGV: seats. Returns 1 if it took all, 0 if it took
/// none.
const TAKE: &str = "
for _, is_sold in ipairs(redis.call('SMISMEMBER', KEYS[1], unpack(ARGV))) do
  if is_sold == 1 then return 0 end
end
redis.call('SADD', KEYS[1], unpack(ARGV))
return 1
";

pub struct ScriptAndWrite {
    stores: Stores,
    redis: Pool,
    take: Script,
    bookings: Collection<Document>,
}

impl ScriptAndWrite {
    /// Loads the script.
    ///
    /// # Errors
    /// If Redis does not take it.
    pub async fn new(stores: &Stores) -> Result<Self, Failure> {
        let redis = stores.redis.clone();
        let take = Script::from_lua(TAKE);
        take.load(redis.next()).await?;
        Ok(ScriptAndWrite { stores: stores.clone(), redis, take, bookings: stores.bookings() })
    }

    fn sold(&self, event: u64) -> String {
        self.stores.key(format!("sold:{event}"))
    }
}

impl Strategy for ScriptAndWrite {
    async fn prepare(&self, _event: u64, _capacity: u32) -> Result<(), Failure> {
        // A seat that is not in the set is free.
        Ok(())
    }

    async fn book(&self, order: &Order) -> Result<Decision, Failure> {
        let (sold, seats) = (self.sold(order.event), order.seats.clone());
        let (keys, redis) = (vec![sold.clone()], self.redis.next());
        let is_taken: bool = self.take.evalsha_with_reload(redis, keys, seats.clone()).await?;
        if !is_taken {
            return Ok(Decision::Refused);
        }
        if let Err(error) = self.bookings.insert_one(order.document()).await {
            let _: i64 = self.redis.srem(sold, seats).await?;
            return Err(error.into());
        }
        Ok(Decision::Granted)
    }
}
