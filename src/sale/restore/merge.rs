//! Merges the archive into an event that is open in Redis in a past state, while its sale continues.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Restoration, RestoreReport, Target};
use crate::domain::{Floors, Inventory, LogId, SeatId, SeatState};
use crate::redis::{BlockAction, BlockCall, BlockReply, Detail, EventSnapshot, WORKER_GROUP};
use crate::sale::SaleError;
use crate::sale::waiting_room::RoomStore;

/// How long the archive may take to catch up with the log's position when the generation was raised.
/// After that no blocked seat is released.
const ARCHIVED_WITHIN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);
/// Seats blocked or released by one call.
const SEATS_PER_CALL: usize = 500;
/// The actor of these blocks and releases in the ledger.
const ACTOR: &str = "restore";
const REASON: &str = "as the archive has it";

impl Restoration<'_> {
    /// Merges, after the generation was raised.
    pub(super) async fn merge(&self) -> Result<RestoreReport, SaleError> {
        let mut restored = RestoreReport { merged: true, ..RestoreReport::default() };
        let event = self.event;
        let before = self.engine.snapshot(event.id, Detail::Seats).await?;
        let before = before.filter(|before| before.open).ok_or_else(|| self.lost_again())?;
        // The waiting room may be in a past state, too.
        RoomStore::plain(self.engine, self.archive)
            .apply_stored(event.id, Floors::default(), false)
            .await?;
        // So may the settings. If Redis refuses them here, the worker's `finish_interrupted` retries.
        self.engine.update_event(event).await?;
        self.settle_outcomes(&mut restored).await?;
        self.report(&format!("{} sales settled, {} undone", restored.sold, restored.undone));
        self.place_undecided(Target::Open, &mut restored).await?;
        self.merge_blocks(&before, &mut restored).await?;
        Ok(restored)
    }

    /// Restores blocks and releases that were lost. `before` has the seats when the generation was
    /// raised; later blocks and releases are in the ledger and in Redis.
    async fn merge_blocks(
        &self,
        before: &EventSnapshot,
        restored: &mut RestoreReport,
    ) -> Result<(), SaleError> {
        let Some(inventory) = &before.inventory else { return Err(self.lost_again()) };
        let mut differing = self.differing_blocks(inventory).await?;
        if differing.0.is_empty() && differing.1.is_empty() {
            return Ok(());
        }
        // Some differences may only be entries that are not archived yet.
        let position = before.link.as_ref().map_or(LogId::default(), |link| link.0);
        let is_archived = self.await_archive(position).await?;
        if is_archived {
            differing = self.differing_blocks(inventory).await?;
        }
        let (blocking, releasing) = differing;
        restored.blocked += self.change_blocks(BlockAction::Block, blocking).await?;
        if is_archived {
            self.change_blocks(BlockAction::Release, releasing).await?;
        } else if !releasing.is_empty() {
            let (event, seats) = (self.event.id, releasing.len());
            tracing::warn!(event_id = %event, seats, "the archive lags: seats stay blocked");
        }
        Ok(())
    }

    /// Free seats that are blocked by the ledger, and blocked seats that are not blocked by the ledger.
    async fn differing_blocks(
        &self,
        inventory: &Inventory,
    ) -> Result<(Vec<SeatId>, Vec<SeatId>), SaleError> {
        let ledger = self.archive.blocked_seats(self.event.id).await?;
        let is = |seat: &SeatId, state| inventory.state(*seat) == Some(state);
        let free = ledger.iter().copied().filter(|seat| is(seat, SeatState::Available));
        let blocked = (1..=inventory.seats()).map(SeatId).filter(|s| is(s, SeatState::Blocked));
        Ok((free.collect(), blocked.filter(|seat| !ledger.contains(seat)).collect()))
    }

    /// Blocks or releases seats; returns how many were changed. A seat that is held or sold by now is
    /// skipped.
    async fn change_blocks(
        &self,
        action: BlockAction,
        seats: Vec<SeatId>,
    ) -> Result<u64, SaleError> {
        let mut changed = 0;
        for chunk in seats.chunks(SEATS_PER_CALL) {
            let mut chunk = chunk.to_vec();
            while !chunk.is_empty() {
                let call = BlockCall {
                    event: self.event,
                    action,
                    seats: &chunk,
                    actor: ACTOR,
                    reason: REASON,
                };
                match self.engine.block(&call).await?.reply {
                    BlockReply::Done { changed: more, .. } => {
                        changed += u64::from(more);
                        break;
                    }
                    // Terminates: each refusal names at least one seat.
                    BlockReply::SeatsUnavailable { states: taken } if !taken.is_empty() => {
                        tracing::warn!(event_id = %self.event.id, ?taken, "seats are taken and not blocked");
                        chunk.retain(|seat| taken.iter().all(|one| one.0 != *seat));
                    }
                    _ => return Err(self.lost_again()),
                }
            }
        }
        Ok(changed)
    }

    /// Waits a bounded time until the archive has the log up to this position; returns whether it has.
    async fn await_archive(&self, position: LogId) -> Result<bool, SaleError> {
        let partition = self.engine.keys().partition_of(self.event.id);
        let began = Instant::now();
        loop {
            let state = self.engine.log_state(partition, WORKER_GROUP).await?;
            if state.watermark() >= position {
                return Ok(true);
            }
            if began.elapsed() > ARCHIVED_WITHIN {
                return Ok(false);
            }
            sleep(PAUSE).await;
        }
    }
}
