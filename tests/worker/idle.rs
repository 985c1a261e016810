//! What a worker costs Redis while nothing happens.

use std::collections::BTreeMap;

use super::*;
use crate::support::servers::{Server, private_redis};

/// Reads of the booking log, each of which waits a second for new entries, over which commands are
/// counted: the count does not depend on the speed of the machine.
const READS: u64 = 5;
/// The most commands of any kind for each of them: one look at all logs and events by each of a few
/// tasks. (Asking about each partition takes more than a hundred.)
const COMMANDS_A_READ_MAX: u64 = 40;

/// How often Redis has run each command.
fn commands(redis: &Server) -> BTreeMap<String, u64> {
    let lines = redis.command_lines(&["INFO", "commandstats"]);
    let counts = lines.iter().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    });
    counts.collect()
}

on_one_redis!(worker_at_rest_asks_redis_little, async |flavor| {
    let redis = private_redis(flavor);
    let world = World::new(&redis, shared_mongodb()).await;
    let _worker = WorkerSpec::new(&world, shared_mongodb()).start().await;
    let events = [world.event(10).await, world.event(10).await];
    world.hold("ann", events[0], &[1, 2], None).await.unwrap();
    world.archive_is_exact(events[0]).await;
    // This process asks on its own account.
    world.stop().await;

    let reads = |counts: &BTreeMap<String, u64>| counts.get("xreadgroup").copied().unwrap_or(0);
    let after = async |reads_min: u64| {
        let enough = async || reads(&commands(&redis)) >= reads_min;
        eventually("the log is read", BUSY, enough).await;
        commands(&redis)
    };
    // What has just happened is looked at by each task once.
    let begin = after(reads(&commands(&redis)) + READS).await;
    let end = after(reads(&begin) + READS).await;
    let total = |counts: &BTreeMap<String, u64>| -> u64 {
        let all = counts.iter().filter(|(name, _)| !["info", "ping"].contains(&name.as_str()));
        all.map(|(_, count)| count).sum()
    };
    let (commands, reads) = (total(&end) - total(&begin), reads(&end) - reads(&begin));
    assert!(commands <= reads * COMMANDS_A_READ_MAX, "{commands} in {reads} reads: {end:?}");
});
