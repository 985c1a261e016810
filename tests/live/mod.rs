//! The live view on real servers: what it knows, and when it may be used.

mod follows;
mod refuses;

use std::sync::Arc;
use std::time::Duration;

use holdfast::domain::EventId;
use holdfast::live::{Live, View};
use holdfast::redis::Detail;

use crate::support::eventually;
use crate::support::world::World;

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An event's view, once it is there and fresh.
pub async fn fresh(live: &Live, event: EventId) -> Arc<View> {
    live.fresh_within(event, PATIENCE).await.expect("a fresh view")
}

/// Waits until a view tells what Redis holds, seat by seat and at the same version.
pub async fn tells_what_redis_holds(world: &World, live: &Live, event: EventId) {
    eventually("the view tells what Redis holds", PATIENCE, async || {
        let Some(view) = live.slot(event).view() else { return false };
        let snapshot = world.engine.snapshot(event, Detail::Seats).await.unwrap().unwrap();
        let shot = view.shot();
        if shot.version != snapshot.version {
            return false;
        }
        assert_eq!(Some(shot.inventory), snapshot.inventory, "version {}", shot.version);
        assert_eq!(shot.generation, snapshot.generation);
        assert_eq!(i64::from(view.available()), snapshot.available);
        true
    })
    .await;
}
