//! Mutants of the scripts that random sequences detect: each of these changes is a plausible mistake.

use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast::redis::scripts::{ClockSource, Scripts};
use tokio::runtime::Builder;

use super::random::{flavor, run};
use super::room::{Room, of};
use super::world::SEATS;
use crate::support::sample;

/// Steps within which a change must be noticed.
const STEPS_MAX: usize = 30_000;
/// The same sequences every time.
const SEED: u64 = 11;
/// Mutants under way at once.
const AT_ONCE: usize = 2;

/// Name, file, text, and what it becomes.
type Mutant = (&'static str, &'static str, &'static str, &'static str);

const MUTANTS: [Mutant; 21] = [
    ("a claim takes no place", "room_claim", "batch[5] = batch[5] - 1", ""),
    (
        "a number becomes a session again",
        "room_claim",
        "known == number and cap then",
        "known == number and cap and cap > now then",
    ),
    (
        "who lapsed is owed a place",
        "room_claim",
        "and place >= room.books_from then",
        "and false then",
    ),
    (
        "a token's number may be given again",
        "room_claim",
        "math.max(tonumber(ARGV[6]), number)",
        "tonumber(ARGV[6])",
    ),
    (
        "a renewal passes the cap",
        "room_claim",
        "math.min(room_now + room.session_ms, cap)",
        "room_now + room.session_ms",
    ),
    ("an older token is still good", "room_claim", "known > number", "false"),
    (
        "a session lives a millisecond longer",
        "includes/session_end",
        "ends > room_now",
        "ends >= room_now",
    ),
    (
        "a batch is open a millisecond longer",
        "includes/open_batch_of",
        "room_now < batch[4]",
        "room_now <= batch[4]",
    ),
    (
        "a lapsed batch keeps its places",
        "includes/unclaimed_places",
        "if room_now < batch[4] then",
        "if true then",
    ),
    (
        "what Redis forgot to have served has lapsed",
        "includes/raise_floors",
        "room.books_from = served + 1",
        "",
    ),
    (
        "others move into a place that was left",
        "includes/drop_owed",
        "before_them < room.late_places",
        "false",
    ),
    (
        "who is owed a place never lapses",
        "includes/lapse_owed",
        "room_now < room.late_until",
        "true",
    ),
    ("a leaver's place is opened", "room_leave", "redis.call('ZADD', left_key, place, number)", ""),
    ("a leaver's place is not free at once", "room_leave", "batch[5] = batch[5] - 1", ""),
    ("a leaver keeps the session", "room_leave", "redis.call('ZREM', sessions_key, user)", ""),
    (
        "places are opened for held seats",
        "room_admit",
        "available - unclaimed)",
        "available + held - unclaimed)",
    ),
    (
        "the minute ends late",
        "room_admit",
        "room_now - batch[3] < MINUTE_MS",
        "room_now - batch[3] <= MINUTE_MS",
    ),
    (
        "what lapsed comes back with the clock",
        "room_admit",
        "if room_now >= batch[4] then batch[5] = 0 end",
        "",
    ),
    (
        "sessions do not count",
        "room_admit",
        "available + held) - live - unclaimed",
        "available + held) - unclaimed",
    ),
    (
        "the next in line is served before the owed",
        "room_admit",
        "room.late_places == 0 and owed > 0",
        "room_now >= room.late_until and owed > 0",
    ),
    ("a sale ends no session", "confirm_commit", "redis.call('ZREM', sessions_key, b.user)", ""),
];

/// How many steps it took to notice the change, and what was noticed.
fn noticed(mutant: Mutant) -> Option<(usize, String)> {
    let (name, file, from, to) = mutant;
    let scripts = Scripts::changed(ClockSource::Swapped, &[(file, from, to)]);
    let scripts = scripts.unwrap_or_else(|error| panic!("{name}: {error}"));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut room = Room::unopened(flavor(), scripts, SEATS, of(1)).await;
        let (steps, ran) = run(&mut room, SEED, STEPS_MAX).await;
        ran.err().map(|what| (steps, what))
    })
}

#[test]
#[ignore = "run by make mutants"]
fn each_changed_script_is_noticed() {
    let mutants = sample(&MUTANTS);
    let (next, unnoticed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match noticed(**mutant) {
                        Some((steps, what)) => {
                            println!("noticed after {steps} steps: {}: {what}", mutant.0);
                        }
                        None => {
                            println!("NOT NOTICED: {}", mutant.0);
                            unnoticed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    assert_eq!(unnoticed.into_inner(), 0, "changes that the sequences do not notice");
}
