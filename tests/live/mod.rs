//! The live view on real servers: its contents, and when it may be used.

mod fold;
mod follows;
mod forks;
mod many;
mod reads;
mod refuses;
mod soundness;
mod storms;
mod watch;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use holdfast::domain::{Booking, BookingId, EventId, SeatId, Status};
use holdfast::live::{Holder, Live, Seat, View};
use holdfast::redis::{Detail, Engine, EventSnapshot};

use crate::support::servers::Server;
use crate::support::world::World;

/// The longest wait for anything on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Makes Redis write to its log before it replies, so that killing the process loses nothing: by default a
/// slow disk may delay the write.
pub fn writes_at_once(redis: &Server) {
    assert_eq!(redis.command(&["CONFIG", "SET", "appendfsync", "no"]), "+OK");
}

/// Waits for an event's view to be built and fresh.
pub async fn fresh(live: &Live, event: EventId) -> Arc<View> {
    live.fresh_within(event, PATIENCE).await.expect("a fresh view")
}

/// Waits until a view equals what Redis holds: every seat, its holder and deadline, at the same
/// version.
pub async fn view_equals_redis(world: &World, live: &Live, event: EventId) {
    agrees(&world.engine, live, event).await;
}

/// As [`view_equals_redis`], for a view without a sale.
pub async fn agrees(engine: &Engine, live: &Live, event: EventId) {
    let mut difference = Some("not compared yet".to_owned());
    let compared = tokio::time::timeout(PATIENCE, async {
        while difference.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
            difference = compare(engine, live, event).await;
        }
    });
    // Nothing changes during the wait, so a view that differs at the same version keeps differing.
    if compared.await.is_err() {
        panic!("not within {PATIENCE:?}: {difference:?}");
    }
}

/// The first difference between a view and what Redis holds now; `None` if they are equal.
pub async fn compare(engine: &Engine, live: &Live, event: EventId) -> Option<String> {
    let Some(view) = live.slot(event).view() else { return Some("there is no view".into()) };
    // A broken connection may still be reconnecting.
    let snapshot = match engine.snapshot(event, Detail::All).await {
        Ok(Some(snapshot)) => snapshot,
        other => return Some(format!("Redis answers {other:?}")),
    };
    let version = |view: &View| (view.generation(), view.version());
    if version(&view) != (snapshot.generation, snapshot.version) {
        let redis = (snapshot.generation, snapshot.version);
        return Some(format!("the view is at {:?}, Redis at {redis:?}", version(&view)));
    }
    difference(live, &view, &snapshot)
}

/// The first difference between a view and a snapshot; `None` if they are equal.
fn difference(live: &Live, view: &View, snapshot: &EventSnapshot) -> Option<String> {
    let same = |what: &str, view: &dyn Debug, redis: &dyn Debug| {
        let (view, redis) = (format!("{view:?}"), format!("{redis:?}"));
        (view != redis).then(|| format!("{what}: the view has {view}, Redis {redis}"))
    };
    let bookings: HashMap<BookingId, &Booking> =
        snapshot.bookings.iter().map(|booking| (booking.id, booking)).collect();
    let holders: HashMap<SeatId, &Booking> =
        snapshot.holders.iter().map(|(seat, id)| (*seat, bookings[id])).collect();
    let inventory = snapshot.inventory.as_ref().expect("requested");
    for seat in (1..=inventory.seats()).map(SeatId) {
        let (holder, deadline_ms) = holders.get(&seat).map_or((Holder::NOBODY, 0), |booking| {
            let is_hold = booking.status == Status::Hold;
            (live.holder(&booking.user), if is_hold { booking.deadline_ms } else { 0 })
        });
        let state = inventory.state(seat).expect("a state");
        let expected = Some(Seat { state, holder, deadline_ms });
        if let Some(difference) = same(&format!("{seat:?}"), &view.seat(seat), &expected) {
            return Some(difference);
        }
    }
    let users = snapshot.users.iter().find_map(|(user, count)| {
        let has = view.seats_of(live.holder(&user.parse().expect("a name")));
        same(&format!("seats of {user}"), &i64::from(has), count)
    });
    let status = view.status();
    users
        .or_else(|| same("bytes", &Some(view.snapshot().inventory), &snapshot.inventory))
        .or_else(|| same("free", &i64::from(view.available()), &snapshot.available))
        .or_else(|| same("next", &view.next_deadline_ms(), &snapshot.next_deadline_ms))
        .or_else(|| same("status", &status.0.as_str(), &snapshot.status))
        .or_else(|| same("on sale at", &status.1, &snapshot.on_sale_at_ms))
        .or_else(|| {
            same("off sale at", &view.off_sale_at_ms().unwrap_or(0), &snapshot.off_sale_at_ms)
        })
}
