//! The archive on a real server: storing, deciding, refusing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast::archive::{
    Archive, ArchiveConfig, ArchiveError, ArchivedBooking, BookingsFrom, NoObserver, StoredBatch,
    transition_id,
};
use holdfast::domain::{
    BookingId, Entry, Event, EventChange, EventId, EventStatus, Kind, Layout, LoadState, LogId,
    Outcome, Partition, SeatId, Section, Status,
};

use crate::support::entries::{BORN_MS, booking, entry, sold_life};
use crate::support::servers::{Server, private_mongodb, shared_mongodb};
use crate::support::{long_or, unique_name};

mod bookings;
mod catalogue;
mod grouped;
mod sales;
mod waiting_rooms;

const EVENT: EventId = EventId(7);
const PARTITIONS: u16 = 16;
/// Longer than the longest stall of a busy machine.
const OP_TIMEOUT_MS: u64 = 20_000;

async fn open(server: &Server, database: &str, op_timeout_ms: u64) -> Archive {
    let (url, database) = (server.url(), database.to_owned());
    Archive::connect(&ArchiveConfig { url, database, op_timeout_ms }).await.unwrap()
}

/// An archive with its own database on the shared server.
async fn archive() -> Archive {
    let archive = open(shared_mongodb(), &unique_name(), OP_TIMEOUT_MS).await;
    archive.prepare(PARTITIONS).await.unwrap();
    archive
}

fn batch(entries: impl IntoIterator<Item = Entry>) -> Vec<(Partition, Entry)> {
    let partition = EVENT.partition(PARTITIONS);
    entries.into_iter().map(|entry| (partition, entry)).collect()
}

/// Stores entries, all of which must succeed.
async fn store(archive: &Archive, entries: impl IntoIterator<Item = Entry>) -> StoredBatch {
    let stored = archive.store(&batch(entries)).await.unwrap();
    assert!(stored.failed.is_empty(), "{:?}", stored.failed);
    stored
}

async fn outcome_of(archive: &Archive, id: BookingId) -> Option<Outcome> {
    archive.booking(id).await.unwrap().and_then(|found| found.outcome)
}

/// The owner of each claimed seat of the event.
async fn owners(archive: &Archive) -> BTreeMap<u32, BookingId> {
    let claims = archive.claims_of_event(EVENT, None, 1_000).await.unwrap();
    claims.into_iter().map(|claim| (claim.seat.0, claim.owner)).collect()
}

/// A random generator with the same sequence in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % bound
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        (1..items.len()).rev().for_each(|index| items.swap(index, self.below(index + 1)));
    }
}
