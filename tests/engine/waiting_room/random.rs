//! Random sequences of steps, each on an event of its own: the scripts have to do as the model does.

use holdfast::redis::scripts::{ClockSource, Scripts};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::promises::Ran;
use super::room::{Room, of};
use super::world::{SEATS, World};
use crate::support::servers::{Flavor, available};
use crate::support::size;

/// Steps on one event.
const LENGTH: usize = 300;
/// Steps of the suite's run.
const STEPS: usize = 2_000;
/// Another number of steps, for a long run.
const STEPS_VARIABLE: &str = "ROOM_STEPS";

/// Sequences, until so many steps are made; how many were, and what went wrong.
pub async fn run(room: &mut Room, seed: u64, steps: usize) -> (usize, Ran) {
    let mut seeds = StdRng::seed_from_u64(seed);
    for sequence in 0.. {
        let random = StdRng::seed_from_u64(seeds.random());
        let mut world = World::new(room, sequence as u32 + 1, random).await;
        for step in 0..LENGTH {
            let made = sequence * LENGTH + step;
            if made >= steps {
                return (made, Ok(()));
            }
            if let Err(what) = world.step().await {
                let what = format!("event {}, step {step}, seed {seed}: {what}", sequence + 1);
                return (made, Err(what));
            }
        }
    }
    unreachable!("the steps are bounded")
}

/// The Redis of the long run.
pub fn flavor() -> Flavor {
    if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_order_of_steps_is_as_in_the_model() {
    let scripts = Scripts::embedded(ClockSource::Swapped);
    let mut room = Room::unopened(flavor(), scripts, SEATS, of(1)).await;
    let steps = size(STEPS_VARIABLE, STEPS);
    let (_, ran) = run(&mut room, rand::random(), steps).await;
    ran.unwrap_or_else(|what| panic!("{what}"));
}
