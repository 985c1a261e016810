//! The tail: follows the booking log in this process, for every partition, until told to stop.
//!
//! Begins at the log's newest entry, and goes on where it was after a lost connection; entries
//! that were trimmed meanwhile are missed, which a waiting confirmation survives (it asks at the
//! end of its wait). A tail that lost its place (Redis forgot the log, so that our position lies
//! above its newest entry and nothing would ever come) begins anew.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::warn;

use crate::domain::{Entry, LogId, Partition};
use crate::redis::{Engine, LaneReader, RedisError};

/// Longest wait of one read, ms.
const BLOCK_MS: u64 = 1_000;
/// Entries of one read and partition.
const ENTRIES_PER_READ: u64 = 1_000;
/// Pause after a failed read.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);
/// How often the place is checked.
const PLACE_CHECK_INTERVAL: Duration = Duration::from_secs(3);

/// Follows one lane; `learn` sees the entries in the order of their partition. Ends when `stop`
/// turns true.
pub async fn follow(
    engine: Engine,
    lane: Vec<Partition>,
    mut learn: impl FnMut(&Entry) + Send,
    mut stop: watch::Receiver<bool>,
) {
    let work = async {
        let mut after = None;
        loop {
            if let Err(error) = follow_connected(&engine, &lane, &mut after, &mut learn).await {
                warn!(%error, "the tail lost its connection");
            }
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
    };
    tokio::select! {
        () = work => {}
        // A sender that is gone means the same.
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

async fn follow_connected(
    engine: &Engine,
    lane: &[Partition],
    after: &mut Option<Vec<LogId>>,
    learn: &mut (impl FnMut(&Entry) + Send),
) -> Result<(), RedisError> {
    if after.is_none() {
        *after = Some(newest(engine, lane).await?);
    }
    let after = after.get_or_insert_default();
    let reader = engine.lane_reader(lane, BLOCK_MS).await?;
    let result = read_on(engine, lane, &reader, after, learn).await;
    reader.close().await;
    result
}

async fn read_on(
    engine: &Engine,
    lane: &[Partition],
    reader: &LaneReader,
    after: &mut [LogId],
    learn: &mut (impl FnMut(&Entry) + Send),
) -> Result<(), RedisError> {
    let mut checked_at: Option<Instant> = None;
    loop {
        if checked_at.is_none_or(|at| at.elapsed() >= PLACE_CHECK_INTERVAL) {
            checked_at = Some(Instant::now());
            for (position, newest) in after.iter_mut().zip(newest(engine, lane).await?) {
                *position = newest.min(*position);
            }
        }
        let reads = reader.tail(after, ENTRIES_PER_READ).await?;
        for read in reads {
            if let Some(index) = lane.iter().position(|partition| *partition == read.partition) {
                after[index] = after[index].max(read.id);
            }
            match &read.entry {
                Ok(entry) => learn(entry),
                // The worker parks it as a dead letter; there is nothing to learn from it here.
                Err(error) => warn!(id = %read.id, %error, "an entry that cannot be read"),
            }
        }
    }
}

async fn newest(engine: &Engine, lane: &[Partition]) -> Result<Vec<LogId>, RedisError> {
    let mut positions = Vec::with_capacity(lane.len());
    for partition in lane {
        positions.push(engine.link(*partition).await?.map(|link| link.0).unwrap_or_default());
    }
    Ok(positions)
}
