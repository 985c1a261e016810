//! Redis loses an event, all data, or its last writes, and is restored from the archive beside running
//! processes.

use std::time::Duration;

use holdfast::domain::{Booking, EventId, Kind, LoadState, SeatId, Status};
use holdfast::redis::{BlockAction, Detail};
use holdfast::sale::restore::Restorer;
use holdfast::sale::{BlockRequest, BlockSelection, BookingView, Confirmed, SaleError};

use crate::support::eventually;
use crate::support::servers::{Flavor, Server, private_redis, shared_mongodb};
use crate::support::worker::{WorkerProcess, WorkerSpec};
use crate::support::world::{World, sale_settings};

mod api;
mod fallback;
mod large;
mod lost;
mod past;
mod races;
mod scripts;

/// Bound of a repair, and of taking over an interrupted one, on a busy machine.
const REPAIRED: Duration = Duration::from_secs(90);
/// Bound of everything that a worker does promptly.
const SOON: Duration = Duration::from_secs(30);

/// A Redis that may lose data, with a sale and its repairers.
struct Place {
    redis: Server,
    world: World,
}

impl Place {
    async fn new(flavor: Flavor) -> Self {
        let redis = private_redis(flavor);
        let world = World::patient(&redis, shared_mongodb()).await;
        Place { redis, world }
    }

    fn spec(&self) -> WorkerSpec {
        let spec = WorkerSpec::new(&self.world, shared_mongodb());
        spec.with("mongodb_timeout_ms", "5000").with("worker_reclaim_idle_ms", "30000")
    }

    /// A worker that repairs.
    async fn worker(&self) -> WorkerProcess {
        self.spec().start().await
    }

    /// A worker that only reports losses.
    async fn watcher(&self) -> WorkerProcess {
        self.spec().with("restore_on_loss", "false").start().await
    }

    fn restorer(&self) -> Restorer {
        let (engine, archive) = (self.world.engine.clone(), self.world.archive.clone());
        Restorer::new(engine, archive, &sale_settings())
    }

    fn flush(&self) {
        assert_eq!(self.redis.command(&["FLUSHALL"]), "+OK");
    }

    async fn buy(&self, user: &str, event: EventId, seats: &[u32]) -> Booking {
        let held = self.world.hold(user, event, seats, None).await.unwrap();
        self.pay(&held).await
    }

    async fn pay(&self, held: &BookingView) -> Booking {
        let mut booking = None;
        eventually("it is settled", REPAIRED, async || {
            booking = match self.world.confirm(held).await {
                Ok(Confirmed::Settled(view)) => Some(view.booking),
                // The archive is slower than the caller's wait.
                Ok(Confirmed::Pending(_)) | Err(SaleError::InFlight) => None,
                Err(error) => panic!("{error}"),
            };
            booking.is_some()
        })
        .await;
        booking.unwrap()
    }

    async fn block(&self, event: EventId, action: BlockAction, seat: u32) {
        let seats = BlockSelection::Named(vec![SeatId(seat)]);
        let (actor, reason) = ("ops".to_owned(), "a camera".to_owned());
        let request = BlockRequest { event, action, seats, actor, reason };
        self.world.sale.block(&request).await.unwrap();
    }

    /// Waits until MongoDB and Redis have the event open in this generation or a later one.
    async fn restored(&self, event: EventId, generation: u64) {
        eventually("the event is restored", REPAIRED, async || {
            let facts = self.world.archive.load_facts(event).await.ok().flatten();
            let snapshot = self.world.engine.snapshot(event, Detail::Counts).await.ok().flatten();
            facts.zip(snapshot).is_some_and(|(facts, snapshot)| {
                let is_open = facts.load_state == LoadState::Opened && snapshot.open;
                is_open && snapshot.generation >= generation && facts.generation >= generation
            })
        })
        .await;
    }

    /// The letters of the seats, in upper case at the beginning of a row.
    async fn seats(&self, event: EventId) -> String {
        let map = self.world.sale.seat_map(event).await.unwrap();
        String::from_utf8(map.inventory.as_bytes()[1..].to_vec()).unwrap()
    }

    /// Reads a booking as its owner, without nonce and lease.
    async fn read(&self, booking: &Booking) -> Booking {
        as_owner_sees(&self.world.sale.booking(&booking.user, booking.id).await.unwrap().booking)
    }

    /// The status that the repair gave a booking, by the log.
    async fn restored_as(&self, booking: &Booking) -> Option<Status> {
        let entries = self.world.entries(booking.id.event()).await;
        let mut restored = entries.iter().filter(|entry| entry.kind == Kind::Restored);
        let of = |entry: &&holdfast::domain::Entry| {
            entry.transition.as_ref().is_some_and(|one| one.booking == booking.id)
        };
        restored.find(of).and_then(|entry| Some(entry.transition.as_ref()?.status))
    }
}

fn as_owner_sees(booking: &Booking) -> Booking {
    Booking { nonce: String::new(), lease_until_ms: 0, ..booking.clone() }
}

/// A payment intent of this booking in this state.
fn intent(
    booking: &Booking,
    lease: u64,
    state: holdfast::domain::IntentState,
) -> holdfast::domain::Intent {
    let booking = Booking { lease, ..booking.clone() };
    // Not due during the test.
    holdfast::domain::Intent::first(&booking, "object", state, i64::MAX / 2)
}

#[track_caller]
fn not_loaded<T: std::fmt::Debug>(event: EventId, result: Result<T, SaleError>) {
    assert_eq!(result.unwrap_err(), SaleError::EventNotLoaded(event));
}
