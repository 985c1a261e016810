//! Storage of the simulated payment provider: one document a booking whose payment object was charged or
//! cancelled. It is in MongoDB so that it survives every process, like a real provider's data.
//!
//! Each step is one guarded write. An object is paid at most once, never after it was cancelled, and
//! never cancelled after it was paid; a declined attempt stays declined.

use mongodb::bson::{Document, doc};
use serde::Deserialize;

use super::Archive;
use super::error::ArchiveError;
use super::gateway::{DUPLICATE_KEY, Gateway, Verb, WriteError};
use super::grouped::GroupedWrites;
use crate::domain::BookingId;

/// One document a booking whose payment object was charged or cancelled; `_id`: the booking's id.
const SIMULATED_PAYMENTS: &str = "simulated_payments";

/// The state of a simulated payment object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SimulatedState {
    /// Every attempt so far was declined.
    Open,
    /// Paid.
    Paid,
    /// Cancelled for good.
    Cancelled,
}

impl SimulatedState {
    fn as_str(self) -> &'static str {
        match self {
            SimulatedState::Open => "open",
            SimulatedState::Paid => "paid",
            SimulatedState::Cancelled => "cancelled",
        }
    }
}

/// A simulated payment object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SimulatedPayment {
    /// Its state.
    pub state: SimulatedState,
    /// Its amount, minor units.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// The declined attempts.
    #[serde(default)]
    pub declined: Vec<u32>,
    /// The attempt that paid it.
    #[serde(default)]
    pub paid_attempt: Option<u32>,
    /// How often it was charged: 0 or 1, counted so that a defect would show.
    #[serde(default)]
    pub charges: u32,
    /// The total refunded amount, minor units.
    #[serde(default)]
    pub refunded: i64,
    /// Of these: refunds that were made outside of Holdfast.
    #[serde(default)]
    pub refunded_outside: i64,
}

/// The booking and amount of a payment object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedObject {
    /// The booking.
    pub booking: BookingId,
    /// How much, minor units.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
}

/// The stored payments. Each step returns whether it took effect; if not, the object has another state.
#[derive(Clone, Debug)]
pub struct SimulatedPayments {
    gateway: Gateway,
    inserts: GroupedWrites,
    upserts: GroupedWrites,
}

impl Archive {
    /// The storage of the simulated payment provider.
    pub fn simulated_payments(&self) -> SimulatedPayments {
        let inserts = GroupedWrites::new(Verb::Insert, SIMULATED_PAYMENTS);
        let upserts = GroupedWrites::new(Verb::Update, SIMULATED_PAYMENTS);
        SimulatedPayments { gateway: self.gateway.clone(), inserts, upserts }
    }
}

impl SimulatedPayments {
    /// Charges the object, if it is open and this attempt was not declined.
    pub async fn pay(&self, object: &SimulatedObject, attempt: u32) -> Result<bool, ArchiveError> {
        let set = doc! {
            "state": SimulatedState::Paid.as_str(),
            "paid_attempt": i64::from(attempt),
            "refunded": 0_i64,
        };
        // Mostly it has no document yet; servers insert several times faster than they upsert.
        let mut first = doc! { "_id": object.booking.to_string(), "charges": 1_i64 };
        first.extend(set.clone());
        first.extend(facts(object));
        if is_done(self.inserts.write(&self.gateway, first).await?)? {
            return Ok(true);
        }
        let change = doc! { "$set": set, "$inc": { "charges": 1_i64 } };
        self.upsert(object, open_for(attempt), change).await
    }

    /// Records this attempt as declined, if the object is open.
    pub async fn decline(
        &self,
        object: &SimulatedObject,
        attempt: u32,
    ) -> Result<bool, ArchiveError> {
        let change = doc! {
            "$set": { "state": SimulatedState::Open.as_str() },
            "$push": { "declined": i64::from(attempt) },
        };
        self.upsert(object, open_for(attempt), change).await
    }

    /// Cancels the object for good, unless it is paid; also one that was never charged.
    pub async fn cancel(&self, object: &SimulatedObject) -> Result<bool, ArchiveError> {
        let unpaid = doc! { "state": { "$ne": SimulatedState::Paid.as_str() } };
        let change = doc! { "$set": { "state": SimulatedState::Cancelled.as_str() } };
        self.upsert(object, unpaid, change).await
    }

    /// Refunds the difference to `total`, if the object is paid and less was refunded.
    pub async fn refund(&self, booking: BookingId, total: i64) -> Result<bool, ArchiveError> {
        let less = doc! {
            "_id": booking.to_string(),
            "state": SimulatedState::Paid.as_str(),
            "amount": { "$gte": total },
            "refunded": { "$lt": total },
        };
        let update = doc! { "q": less, "u": { "$set": { "refunded": total } } };
        let written =
            self.gateway.write_plain(Verb::Update, SIMULATED_PAYMENTS, vec![update]).await?;
        Ok(written.touched > 0)
    }

    /// Refunds this amount as somebody would in a provider's dashboard, if so much is left.
    pub async fn refund_outside(
        &self,
        booking: BookingId,
        amount: i64,
    ) -> Result<bool, ArchiveError> {
        let Some(found) = self.find(booking).await? else { return Ok(false) };
        let as_read = doc! {
            "_id": booking.to_string(),
            "state": SimulatedState::Paid.as_str(),
            "amount": { "$gte": found.refunded + amount },
            "refunded": found.refunded,
        };
        let change = doc! { "$inc": { "refunded": amount, "refunded_outside": amount } };
        let update = doc! { "q": as_read, "u": change };
        let written =
            self.gateway.write_plain(Verb::Update, SIMULATED_PAYMENTS, vec![update]).await?;
        Ok(written.touched > 0)
    }

    /// Reads the booking's object, if it was ever charged or cancelled.
    pub async fn find(&self, booking: BookingId) -> Result<Option<SimulatedPayment>, ArchiveError> {
        self.gateway.find_by_id(SIMULATED_PAYMENTS, booking.to_string()).await
    }

    /// Upserts under a guard: if the guard fails, MongoDB tries to insert a second document with this id
    /// and refuses it.
    async fn upsert(
        &self,
        object: &SimulatedObject,
        mut guard: Document,
        mut change: Document,
    ) -> Result<bool, ArchiveError> {
        guard.insert("_id", object.booking.to_string());
        change.insert("$setOnInsert", facts(object));
        let update = doc! { "q": guard, "u": change, "upsert": true };
        is_done(self.upserts.write(&self.gateway, update).await?)
    }
}

fn facts(object: &SimulatedObject) -> Document {
    doc! { "amount": object.amount, "currency": &object.currency }
}

/// Whether a write took effect: a document that its guard excludes is refused as a duplicate.
fn is_done(error: Option<WriteError>) -> Result<bool, ArchiveError> {
    match error {
        Some(error) if error.code == DUPLICATE_KEY => Ok(false),
        Some(error) => Err(ArchiveError::Unavailable(error.message)),
        None => Ok(true),
    }
}

/// Matches an object that this attempt may still charge.
fn open_for(attempt: u32) -> Document {
    let over = [SimulatedState::Paid.as_str(), SimulatedState::Cancelled.as_str()];
    doc! {
        "state": { "$nin": over.to_vec() },
        "declined": { "$ne": i64::from(attempt) },
    }
}
