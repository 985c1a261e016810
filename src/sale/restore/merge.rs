//! An event that is open in a past state, brought to what the archive knows. The sale goes on
//! meanwhile.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Restored, Target, Work};
use crate::domain::{Floors, Inventory, LogId, SeatId, SeatState};
use crate::redis::{BlockAction, BlockCall, BlockReply, Detail, EventSnapshot, WORKER_GROUP};
use crate::sale::SaleError;
use crate::sale::waiting_room::RoomStore;

/// How long the archive may take to have what the log had when the generation was raised. Past it
/// no seat is given back for the house.
const ARCHIVED_WITHIN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);
/// Seats blocked or given back by one call.
const SEATS_PER_CALL: usize = 500;
/// Who blocks and gives back here.
const ACTOR: &str = "restore";
const REASON: &str = "as the archive has it";

impl Work<'_> {
    /// Merges, after the generation was raised.
    pub(super) async fn merge(&self) -> Result<Restored, SaleError> {
        let mut restored = Restored { merged: true, ..Restored::default() };
        let event = self.event;
        let stood = self.engine.snapshot(event.id, Detail::Seats).await?;
        let stood = stood.filter(|stood| stood.open).ok_or_else(|| self.gone())?;
        // So may its waiting room be.
        RoomStore::plain(self.engine, self.archive)
            .apply_stored(event.id, Floors::default(), false)
            .await?;
        // The settings may be of the past, too. Whatever is refused here is brought by `mend`.
        self.engine.update_event(event).await?;
        self.settle_outcomes(&mut restored).await?;
        self.tell(&format!("{} sales settled, {} undone", restored.sold, restored.undone));
        self.place_undecided(Target::Open, &mut restored).await?;
        self.merge_blocks(&stood, &mut restored).await?;
        Ok(restored)
    }

    /// Seats that the house kept back, or gave back, in the part that was lost. `stood`: the seats
    /// when the generation was raised; what the house did since is in the ledger and in Redis.
    async fn merge_blocks(
        &self,
        stood: &EventSnapshot,
        restored: &mut Restored,
    ) -> Result<(), SaleError> {
        let Some(inventory) = &stood.inventory else { return Err(self.gone()) };
        let mut differing = self.differing_blocks(inventory).await?;
        if differing.0.is_empty() && differing.1.is_empty() {
            return Ok(());
        }
        // Some may just be on their way into the ledger.
        let position = stood.link.as_ref().map_or(LogId::default(), |link| link.0);
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
            tracing::warn!(event_id = %event, seats, "the archive lags: seats stay kept back");
        }
        Ok(())
    }

    /// Free seats that the house has by the ledger, and seats that it has here alone.
    async fn differing_blocks(
        &self,
        inventory: &Inventory,
    ) -> Result<(Vec<SeatId>, Vec<SeatId>), SaleError> {
        let ledger = self.archive.blocked_seats(self.event.id).await?;
        let is = |seat: &SeatId, state| inventory.state(*seat) == Some(state);
        let free = ledger.iter().copied().filter(|seat| is(seat, SeatState::Available));
        let kept = (1..=inventory.seats()).map(SeatId).filter(|s| is(s, SeatState::Blocked));
        Ok((free.collect(), kept.filter(|seat| !ledger.contains(seat)).collect()))
    }

    /// How many seats were changed. A seat that somebody has by now stays with them.
    async fn change_blocks(
        &self,
        action: BlockAction,
        seats: Vec<SeatId>,
    ) -> Result<u64, SaleError> {
        let mut changed = 0;
        for some in seats.chunks(SEATS_PER_CALL) {
            let mut some = some.to_vec();
            while !some.is_empty() {
                let call = BlockCall {
                    event: self.event,
                    action,
                    seats: &some,
                    actor: ACTOR,
                    reason: REASON,
                };
                match self.engine.block(&call).await?.reply {
                    BlockReply::Done { changed: more, .. } => {
                        changed += u64::from(more);
                        break;
                    }
                    // Ends: each refusal names at least one seat.
                    BlockReply::SeatsUnavailable { states: taken } if !taken.is_empty() => {
                        tracing::warn!(event_id = %self.event.id, ?taken, "not kept back: taken");
                        some.retain(|seat| taken.iter().all(|one| one.0 != *seat));
                    }
                    _ => return Err(self.gone()),
                }
            }
        }
        Ok(changed)
    }

    /// Waits until the archive has the log up to here; whether it does.
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
