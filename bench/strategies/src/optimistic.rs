//! A version field in every seat's document in MongoDB: read, then update if the version is still
//! the one that was read; who comes too late reads again, a bounded number of times.
//!
//! At its best: one document a seat, so that only buyers of the same seat meet; reads and updates
//! go by `_id`; a refusal is one read. Nothing but MongoDB decides, which survives what Redis may
//! lose.
//!
//! Gives up: three operations a booking, two of them waiting for the journal, and one more round
//! for everyone who lost a race. A crash between the seats and the booking leaves seats sold to
//! nobody. Seats of a booking are taken one after another: two buyers of overlapping seats may both
//! be refused.

use futures_util::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::{Bson, Document, doc};

use crate::http::{Decision, Strategy};
use crate::stores::{Failure, Order, Stores, place};

/// Rounds of reading and updating.
const ATTEMPTS: u32 = 5;
/// Documents of one insert.
const INSERT_DOCUMENTS: usize = 1_000;

pub struct Optimistic {
    seats: Collection<Document>,
    /// For what need not survive a change of the primary.
    seats_quick: Collection<Document>,
    bookings: Collection<Document>,
}

/// A seat as it was read.
struct Seat {
    place: String,
    version: i64,
}

impl Optimistic {
    pub fn new(stores: &Stores) -> Self {
        Optimistic {
            seats: stores.durable("seats"),
            seats_quick: stores.quick("seats"),
            bookings: stores.bookings(),
        }
    }

    /// Returns the seats; `None` if one of them is sold.
    async fn free_seats(&self, order: &Order) -> Result<Option<Vec<Seat>>, Failure> {
        let places: Vec<String> = order.places().collect();
        let filter = match places.as_slice() {
            [one] => doc! { "_id": one },
            several => doc! { "_id": { "$in": several } },
        };
        let documents: Vec<Document> = self.seats.find(filter).await?.try_collect().await?;
        if documents.len() < places.len() {
            return Err("a seat without document".into());
        }
        if documents.iter().any(|seat| seat.get("booking") != Some(&Bson::Null)) {
            return Ok(None);
        }
        let seats = documents.iter().map(|seat| {
            Ok(Seat { place: seat.get_str("_id")?.to_owned(), version: seat.get_i64("version")? })
        });
        Ok(Some(seats.collect::<Result<_, Failure>>()?))
    }

    /// Takes the seats whose versions are unchanged, up to the first that has another; returns how
    /// many.
    async fn take(&self, order: &Order, seats: &[Seat]) -> Result<usize, Failure> {
        for (index, seat) in seats.iter().enumerate() {
            let unchanged = doc! { "_id": &seat.place, "version": seat.version };
            let taken = doc! { "$set": { "booking": &order.id, "version": seat.version + 1 } };
            if self.seats.update_one(unchanged, taken).await?.matched_count == 0 {
                return Ok(index);
            }
        }
        Ok(seats.len())
    }

    async fn give_back(&self, order: &Order, seats: &[Seat]) -> Result<(), Failure> {
        for seat in seats {
            let own = doc! { "_id": &seat.place, "booking": &order.id };
            let free = doc! { "$set": { "booking": null, "version": seat.version + 2 } };
            self.seats.update_one(own, free).await?;
        }
        Ok(())
    }
}

impl Strategy for Optimistic {
    async fn prepare(&self, event: u64, capacity: u32) -> Result<(), Failure> {
        let numbers: Vec<u32> = (1..=capacity).collect();
        for chunk in numbers.chunks(INSERT_DOCUMENTS) {
            let seats = chunk
                .iter()
                .map(|seat| doc! { "_id": place(event, *seat), "version": 0_i64, "booking": null });
            self.seats_quick.insert_many(seats).await?;
        }
        Ok(())
    }

    async fn book(&self, order: &Order) -> Result<Decision, Failure> {
        for _ in 0..ATTEMPTS {
            let Some(seats) = self.free_seats(order).await? else { return Ok(Decision::Refused) };
            let taken = self.take(order, &seats).await?;
            if taken < seats.len() {
                self.give_back(order, &seats[..taken]).await?;
                continue;
            }
            if let Err(error) = self.bookings.insert_one(order.document()).await {
                self.give_back(order, &seats).await?;
                return Err(error.into());
            }
            return Ok(Decision::Granted);
        }
        // Others were faster every time.
        Ok(Decision::Refused)
    }
}
