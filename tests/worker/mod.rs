//! The worker as a process, on real servers: what it carries, takes over, mends and tells.

use holdfast::sale::Confirmed;

use crate::on_each_redis;
use crate::support::servers::{shared_mongodb, shared_redis};
use crate::support::worker::WorkerSpec;
use crate::support::world::World;

on_each_redis!(a_sale_is_confirmed, async |flavor| {
    let world = World::new(shared_redis(flavor), shared_mongodb()).await;
    let worker = WorkerSpec::new(&world, shared_mongodb()).start().await;
    let event = world.event(10).await;
    let held = world.hold("ann", event, &[1, 2, 3], None).await.unwrap();
    let confirmed = world.confirm(&held).await.unwrap();
    assert!(matches!(confirmed, Confirmed::Settled(_)), "{confirmed:?}");
    assert!(worker.stop());
    world.stop().await;
});
