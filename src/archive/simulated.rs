//! The books of the simulated payment provider: one document a booking whose payment object was
//! charged or cancelled. They stand in MongoDB so that they outlive every process, as a real provider's do.
//!
//! Promises: each step is one guarded write; an object is paid at most once, never once it is
//! cancelled, and never cancelled once it is paid; an attempt that was declined stays declined.

use mongodb::bson::{Document, doc};
use serde::Deserialize;

use super::Archive;
use super::error::ArchiveError;
use super::gateway::{DUPLICATE_KEY, Gateway, Verb};
use crate::domain::BookingId;

/// One document a booking whose payment object was charged or cancelled; `_id`: the booking's id.
const SIMULATED_PAYMENTS: &str = "simulated_payments";

/// How a simulated payment object stands.
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
    /// How it stands.
    pub state: SimulatedState,
    /// What it is for, minor units.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// The attempts that were declined.
    #[serde(default)]
    pub declined: Vec<u32>,
    /// The attempt that paid it.
    #[serde(default)]
    pub paid_attempt: Option<u32>,
    /// How often money was taken: 0 or 1, and counted so that a second time would show.
    #[serde(default)]
    pub charges: u32,
    /// What was given back in all, minor units.
    #[serde(default)]
    pub refunded: i64,
}

/// What an object is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedObject {
    /// The booking.
    pub booking: BookingId,
    /// How much, minor units.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
}

/// The books. Each step answers whether it took hold; if not, something else stands there.
#[derive(Clone, Debug)]
pub struct SimulatedBooks {
    gateway: Gateway,
}

impl Archive {
    /// The books of the simulated payment provider.
    pub fn simulated_books(&self) -> SimulatedBooks {
        SimulatedBooks { gateway: self.gateway.clone() }
    }
}

impl SimulatedBooks {
    /// Takes the money, if the object is open and this attempt was not declined.
    pub async fn pay(&self, object: &SimulatedObject, attempt: u32) -> Result<bool, ArchiveError> {
        let set = doc! {
            "state": SimulatedState::Paid.as_str(),
            "paid_attempt": i64::from(attempt),
            "refunded": 0_i64,
        };
        let change = doc! { "$set": set, "$inc": { "charges": 1_i64 } };
        self.upsert(object, open_for(attempt), change).await
    }

    /// Records that this attempt is declined, if the object is open.
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

    /// Cancels the object for good, unless it is paid; one that nobody charged, too.
    pub async fn cancel(&self, object: &SimulatedObject) -> Result<bool, ArchiveError> {
        let unpaid = doc! { "state": { "$ne": SimulatedState::Paid.as_str() } };
        let change = doc! { "$set": { "state": SimulatedState::Cancelled.as_str() } };
        self.upsert(object, unpaid, change).await
    }

    /// Gives back what is missing to `total`, if the object is paid and less was given back.
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

    /// The booking's object, if it was ever charged or cancelled.
    pub async fn find(&self, booking: BookingId) -> Result<Option<SimulatedPayment>, ArchiveError> {
        self.gateway.find_by_id(SIMULATED_PAYMENTS, booking.to_string()).await
    }

    /// An upsert whose guard fails tries to insert a second document of this id, and is refused.
    async fn upsert(
        &self,
        object: &SimulatedObject,
        mut guard: Document,
        mut change: Document,
    ) -> Result<bool, ArchiveError> {
        guard.insert("_id", object.booking.to_string());
        let facts = doc! { "amount": object.amount, "currency": &object.currency };
        change.insert("$setOnInsert", facts);
        let update = doc! { "q": guard, "u": change, "upsert": true };
        let written = self.gateway.write(Verb::Update, SIMULATED_PAYMENTS, vec![update]).await?;
        match written.errors.first() {
            Some(error) if error.code == DUPLICATE_KEY => Ok(false),
            Some(error) => Err(ArchiveError::Unavailable(error.message.clone())),
            None => Ok(true),
        }
    }
}

/// Matches an object that this attempt may still be charged on.
fn open_for(attempt: u32) -> Document {
    let over = [SimulatedState::Paid.as_str(), SimulatedState::Cancelled.as_str()];
    doc! {
        "state": { "$nin": over.to_vec() },
        "declined": { "$ne": i64::from(attempt) },
    }
}
