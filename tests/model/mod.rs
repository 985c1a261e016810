//! The model test: the whole sale once more, as plain rules over plain collections, and random
//! sequences of operations that must come out the same on the real scripts.

mod call;
mod found;
mod hall;
mod holds;
mod keeping;
mod log;
mod mutants;
mod operations;
mod replay;
mod reply;
mod rules;
mod sale;
mod search;
mod sending;
mod settling;
pub mod stage;
pub mod strategies;
mod wishes;
mod world;

use std::cell::Cell;

use holdfast::redis::scripts::{ClockSource, SCRIPTS, Script, Scripts, header};
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestError, TestRunner,
};
use tokio::runtime::Builder;

use crate::on_each_redis;
use crate::support::{Flavor, servers, size};
use stage::{Met, Stage};
use strategies::sequences;

/// Operations after which every code of every script has occurred.
const OPERATIONS_THAT_MEET_ALL: usize = 100_000;
/// Operations that the suite runs on one Redis.
const OPERATIONS: usize = 15_000;
/// Operations that it runs on each Redis there is.
const OPERATIONS_ON_EACH: usize = 3_000;
/// Another number of operations for the long run, as `make model` asks for.
const OPERATIONS_VARIABLE: &str = "MODEL_OPERATIONS";
/// Sequences under way at once, each on an event of its own.
const AT_ONCE: usize = 2;
/// Longest sequence.
pub const LENGTH: usize = 120;
/// Replies are compared at every operation, the whole state after this many.
const CHECK_EVERY: usize = 25;
/// Longest time spent on making a failing sequence shorter, ms.
const SHRINK_MS: u32 = 60_000;
/// Most attempts at that.
const SHRINK_STEPS: u32 = 100_000;
/// Scripts that are not modelled: two that change nothing and are read in other ways, and those that
/// bring an event that lost writes back in line with the archive, which the model does not know
/// (`tests/restore` has them). What counts limits has a model of its own (`tests/engine/limits.rs`).
const NOT_MODELLED: [Script; 14] = [
    Script::Clock,
    Script::FreeSeats,
    Script::Limit,
    Script::Snapshot,
    Script::RaiseGeneration,
    Script::RestoreBookings,
    Script::RoomAdmit,
    Script::RoomClaim,
    Script::RoomConfigure,
    Script::RoomDraw,
    Script::RoomJoin,
    Script::RoomLeave,
    Script::RoomLook,
    Script::SealLoad,
];
/// Answers of `hold` where a waiting room is on; `engine::waiting_room` has them.
const OF_WAITING_ROOMS: [&str; 2] = ["session_required", "number_superseded"];
/// Seeds of sequences that failed once; they are run first.
const REGRESSIONS: &str = "tests/model/regressions.txt";
/// Where the swapped clock starts, Unix ms: far ahead, so that it passes every real time.
const START_MS: i64 = 4_000_000_000_000;

/// Runs random sequences, some at a time, until so many operations have agreed.
fn agree(flavor: Flavor, operations: usize) -> Met {
    std::thread::scope(|scope| {
        let alone = || agree_alone(flavor, operations.div_ceil(AT_ONCE));
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(alone)).collect();
        let mut met = Met::new();
        for thread in threads {
            // The panic has been printed.
            for (answer, times) in thread.join().expect("the model and Redis agree") {
                *met.entry(answer).or_default() += times;
            }
        }
        met
    })
}

/// The same, one after another. Panics with the shortest sequence that does not agree.
fn agree_alone(flavor: Flavor, operations: usize) -> Met {
    // One thread for the driver and its connections: nobody has to be woken for a reply.
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let stage = runtime.block_on(Stage::new(flavor, Scripts::embedded(ClockSource::Swapped)));
    let done = Cell::new(0);
    while done.get() < operations {
        let config = Config {
            // Sequences are half as long as they may be, on average.
            cases: ((operations - done.get()) * 2 / LENGTH + 1) as u32,
            max_shrink_time: SHRINK_MS,
            max_shrink_iters: SHRINK_STEPS,
            failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
            source_file: Some(file!()),
            // The default takes an eighth of the whole time.
            rng_algorithm: RngAlgorithm::XorShift,
            ..Config::default()
        };
        let outcome = TestRunner::new(config).run(&sequences(LENGTH), |sequence| {
            let agreed = runtime.block_on(stage.run(&sequence));
            let ran = agreed.map_err(|difference| TestCaseError::fail(difference.to_string()))?;
            done.set(done.get() + ran);
            Ok(())
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(reason, sequence)) => panic!("{reason}\nby {sequence:?}"),
            Err(error) => panic!("{error}"),
        }
    }
    println!("{} operations agree on {flavor:?}", done.get());
    stage.met.into_inner()
}

/// The Redis of the long runs.
pub fn flavor() -> Flavor {
    if servers::available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey }
}

#[test]
fn agrees_for_long() {
    let operations = size(OPERATIONS_VARIABLE, OPERATIONS);
    let met = agree(flavor(), operations);
    // Agreement on what never happens would prove nothing.
    let mut never = Vec::new();
    for script in SCRIPTS.iter().filter(|script| !NOT_MODELLED.contains(script)) {
        let codes = header(*script).replies.into_iter().map(|(code, _)| code);
        for code in codes.filter(|code| !OF_WAITING_ROOMS.contains(&code.as_str())) {
            let answer = (script.name(), code.as_str());
            let times = met.iter().find(|(met, _)| **met == answer).map_or(0, |met| *met.1);
            println!("{times:7} {} {}", answer.0, answer.1);
            never.extend((times == 0).then(|| format!("{} {}", answer.0, answer.1)));
        }
    }
    assert!(operations < OPERATIONS_THAT_MEET_ALL || never.is_empty(), "never met: {never:?}");
}

on_each_redis!(agrees_on_each, async |flavor| {
    agree(flavor, OPERATIONS_ON_EACH);
});
