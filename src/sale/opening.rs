//! Opens an event: MongoDB's `new → opened` comes between the two phases in Redis, so that an
//! inventory is loaded with all seats free only while nothing can have been sold.
//!
//! ```text
//! load (Redis: `loading`) → compare-and-set new → opened (MongoDB) → open (Redis: `open`)
//! ```
//!
//! After a crash between any two steps, running it again completes it: `load` keeps an existing load of
//! the same generation, the compare-and-set has one winner and records that load's token, and `open`
//! puts only the load with that token on sale. A process that was suspended during a sale and a loss,
//! and then loads an empty inventory, cannot put it on sale: MongoDB has another token.

use crate::archive::Archive;
use crate::domain::{Event, Floors, Inventory, LoadState};
use crate::redis::{Engine, OpenEventReply, ScriptReply};

use super::SaleError;
use super::waiting_room::RoomStore;

/// The result of opening an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenResult {
    /// The event is open in Redis.
    OnSale,
    /// It was opened before and Redis has lost it since: only a restore may load it.
    Lost,
}

/// Opens an event, or continues an interrupted opening.
pub async fn open_event(
    engine: &Engine,
    archive: &Archive,
    event: &Event,
) -> Result<OpenResult, SaleError> {
    if event.load_state == LoadState::New {
        match engine.load_event(event, &Inventory::free(&event.layout)).await? {
            OpenEventReply::Done { token } => {
                archive.mark_opened(event.id, event.generation, &token).await?;
            }
            OpenEventReply::EventExists => return Ok(OpenResult::OnSale),
            refusal => return Err(refused(&refusal)),
        }
    }
    let Some(token) = archive.load_token(event.id).await? else { return Ok(OpenResult::Lost) };
    // INVARIANT: an event with a waiting room is never on sale without it. Changes of the room after
    // this read find the event in Redis, which keeps the newest.
    RoomStore::plain(engine, archive).apply_stored(event.id, Floors::default(), false).await?;
    let opened = engine.open_event(event, &token).await?;
    match opened.reply {
        OpenEventReply::Done { .. } => Ok(OpenResult::OnSale),
        OpenEventReply::EventNotLoaded => Ok(OpenResult::Lost),
        refusal => Err(refused(&refusal)),
    }
}

fn refused(reply: &OpenEventReply) -> SaleError {
    SaleError::Unavailable {
        dependency: "redis",
        reason: format!("open_event answered {}", reply.code()),
        unknown: true,
    }
}
