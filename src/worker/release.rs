//! Releases bookings whose confirmation was begun and never committed, once their lease has
//! lapsed: back to HOLD, which lapses at once if it is overdue.
//!
//! Which leases have lapsed is judged by Redis' clock, in the script that releases them.

use std::time::Duration;

use tracing::{info, warn};

use super::Worker;
use super::tasks::rest;
use crate::domain::{BookingId, EventId};
use crate::redis::{AbortMode, Code, RedisError};

/// Pause between two turns.
const PAUSE: Duration = Duration::from_secs(1);
/// Leases of one event released in one turn; what is left has the next turn.
const BATCH: u64 = 500;
/// Calls for one booking: the first learns the event's generation.
const CALLS_MAX: u32 = 2;

/// Releases until told to stop.
pub(super) async fn release(worker: Worker) {
    while rest(&worker.shutdown, PAUSE).await {
        if let Err(error) = worker.release_all().await {
            warn!(%error, "leases are released later");
        }
    }
}

impl Worker {
    async fn release_all(&self) -> Result<(), RedisError> {
        for event in self.loaded_events().await? {
            self.release_event(event).await?;
        }
        Ok(())
    }

    async fn release_event(&self, event: EventId) -> Result<(), RedisError> {
        let partition = self.engine.keys().partition_of(event);
        let now_ms = self.engine.redis_time_ms(partition).await?;
        let mut generation = 0;
        for booking in self.engine.lapsed_leases(event, now_ms, BATCH).await? {
            generation = self.release_booking(booking, generation).await?;
        }
        Ok(())
    }

    /// Releases one booking; answers with the generation its event has in Redis. A lease that
    /// lapsed has in every generation.
    async fn release_booking(
        &self,
        booking: BookingId,
        mut generation: u64,
    ) -> Result<u64, RedisError> {
        for _ in 0..CALLS_MAX {
            let answer = self.engine.confirm_abort(generation, booking, &AbortMode::Lapsed).await?;
            match answer.code {
                Code::GenerationMismatch => generation = answer.number(0) as u64,
                Code::Ok => {
                    info!(booking_id = %booking, "a lapsed confirmation is released");
                    break;
                }
                // Taken over, committed or gone meanwhile.
                _ => break,
            }
        }
        Ok(generation)
    }
}
