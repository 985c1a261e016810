//! House blocks: seats withheld from the sale and returned to it. Each change is an entry of the
//! booking log with its reason and actor, and therefore in the archive's ledger.

use std::sync::Arc;

use super::{Events, Sale, SaleError};
pub use crate::archive::{ArchivedBlock, BlockPosition};
use crate::domain::limits::{BLOCK_SEATS_MAX, REASON_BYTES_MAX};
use crate::domain::{Event, EventId, SeatId};
use crate::redis::{BlockAction, BlockCall, BlockReply};

/// Calls of one request: the first, and two after the event was refreshed.
const TRIES_MAX: u32 = 3;

/// The seats of a block request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockSelection {
    /// Exactly these seats.
    Named(Vec<SeatId>),
    /// A whole section, or one of its rows.
    Of {
        /// The section.
        section: String,
        /// The row; `None`: the whole section.
        row: Option<String>,
    },
}

/// A request to block or release seats.
#[derive(Clone, Debug)]
pub struct BlockRequest {
    /// The event.
    pub event: EventId,
    /// Block or release.
    pub action: BlockAction,
    /// The seats.
    pub seats: BlockSelection,
    /// The actor: the name of an admin key, or of a tool.
    pub actor: String,
    /// The reason.
    pub reason: String,
}

impl Events {
    /// Blocks or releases seats, all or none. Returns how many changed; repeating the request
    /// changes nothing.
    pub async fn block(&self, request: &BlockRequest) -> Result<u32, SaleError> {
        self.make_block(request).await.map(|(_, changed, _)| changed)
    }

    /// Like [`Events::block`]; also returns the event and its version in Redis after the change.
    async fn make_block(
        &self,
        request: &BlockRequest,
    ) -> Result<(Arc<Event>, u32, u64), SaleError> {
        let id = request.event;
        let event = self.catalogue.get(id).await?;
        let mut event = event.ok_or(SaleError::EventUnknown(id))?;
        let seats = checked(&event, request)?;
        for _ in 0..TRIES_MAX {
            let call = BlockCall {
                event: &event,
                action: request.action,
                seats: &seats,
                actor: &request.actor,
                reason: request.reason.trim(),
            };
            match self.engine.block(&call).await?.reply {
                BlockReply::Done { changed, version } => return Ok((event, changed, version)),
                BlockReply::SeatsUnavailable { states } => {
                    return Err(SaleError::SeatsUnavailable(states));
                }
                BlockReply::GenerationMismatch { .. } | BlockReply::LayoutMismatch => {
                    let newer = self.catalogue.refresh(id).await?;
                    event = newer.ok_or(SaleError::EventUnknown(id))?;
                }
                BlockReply::TooLate => {}
                BlockReply::EventNotLoaded => return Err(self.not_loaded(id).await),
                BlockReply::SeatUnknown { seat } => {
                    let text = format!("block refused seat {seat} of the event's layout");
                    return Err(SaleError::Internal(text));
                }
            }
        }
        Err(SaleError::EventNotLoaded(id))
    }

    /// Resolves a selection by the event's layout.
    pub async fn selected_seats(
        &self,
        id: EventId,
        seats: &BlockSelection,
    ) -> Result<Vec<SeatId>, SaleError> {
        let event = self.catalogue.get(id).await?.ok_or(SaleError::EventUnknown(id))?;
        named(&event, seats)
    }

    /// Returns at most `limit` archived blocks and releases of an event after a position, in order;
    /// and whether there are more.
    pub async fn blocks(
        &self,
        id: EventId,
        after: Option<&BlockPosition>,
        limit: u32,
    ) -> Result<(Vec<ArchivedBlock>, bool), SaleError> {
        self.catalogue.get(id).await?.ok_or(SaleError::EventUnknown(id))?;
        let mut blocks = self.archive.blocks_after(id, after, limit.saturating_add(1)).await?;
        let has_more = blocks.len() > limit as usize;
        blocks.truncate(limit as usize);
        Ok((blocks, has_more))
    }
}

/// The same operations within a running sale.
impl Sale {
    /// See [`Events::block`].
    pub async fn block(&self, request: &BlockRequest) -> Result<u32, SaleError> {
        let made = Box::pin(self.inner.events.make_block(request));
        let (event, changed, version) = made.await?;
        Box::pin(self.show_change(&event, Some(version))).await;
        Ok(changed)
    }

    /// See [`Events::blocks`].
    pub async fn blocks(
        &self,
        id: EventId,
        after: Option<&BlockPosition>,
        limit: u32,
    ) -> Result<(Vec<ArchivedBlock>, bool), SaleError> {
        self.inner.events.blocks(id, after, limit).await
    }
}

/// Validates a request and returns its seats, ascending and without duplicates.
fn checked(event: &Event, request: &BlockRequest) -> Result<Vec<SeatId>, SaleError> {
    let reason = request.reason.trim();
    if reason.is_empty() || reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control)
    {
        let text = format!("`reason` must have 1 to {REASON_BYTES_MAX} bytes on one line");
        return Err(SaleError::Invalid(text));
    }
    let mut seats = named(event, &request.seats)?;
    seats.sort_unstable();
    seats.dedup();
    if seats.is_empty() || seats.len() > BLOCK_SEATS_MAX {
        let text = format!("1 to {BLOCK_SEATS_MAX} seats at a time, not {}", seats.len());
        return Err(SaleError::Invalid(text));
    }
    let unknown: Vec<SeatId> =
        seats.iter().copied().filter(|seat| event.layout.seat(*seat).is_none()).collect();
    match unknown.is_empty() {
        true => Ok(seats),
        false => Err(SaleError::SeatsUnknown { event: event.id, seats: unknown }),
    }
}

fn named(event: &Event, seats: &BlockSelection) -> Result<Vec<SeatId>, SaleError> {
    match seats {
        BlockSelection::Named(seats) => Ok(seats.clone()),
        BlockSelection::Of { section, row } => seats_of(event, section, row.as_deref()),
    }
}

fn seats_of(event: &Event, section: &str, row: Option<&str>) -> Result<Vec<SeatId>, SaleError> {
    let of_section = event.layout.seats().filter(|seat| seat.section == section);
    let of_row = of_section.filter(|seat| row.is_none() || seat.row == row);
    let seats: Vec<SeatId> = of_row.map(|seat| seat.id).collect();
    if seats.is_empty() {
        let section = match row {
            Some(row) => format!("{section}, row {row}"),
            None => section.to_owned(),
        };
        return Err(SaleError::SectionUnknown { event: event.id, section });
    }
    Ok(seats)
}
