//! Opening an event: MongoDB's `new → opened` between the two phases in Redis, so that an
//! inventory is loaded as free only while nothing can have been sold.
//!
//! ```text
//! load (Redis: `loading`) → compare-and-set new → opened (MongoDB) → open (Redis: `open`)
//! ```
//!
//! A crash between any two steps is mended by running it again: `load` keeps a load of the same
//! generation that it finds, the compare-and-set has one winner and records that load's token, and
//! `open` puts on sale only the load with that token. So an opener that slept through a sale and a
//! loss, and then loads an empty inventory, cannot sell it: MongoDB has another token.

use crate::archive::Archive;
use crate::domain::{Event, Floors, Inventory, LoadState};
use crate::redis::{Engine, OpenEventReply, ScriptReply};

use super::SaleError;
use super::waiting_room::RoomStore;

/// How an opening ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Redis sells it.
    OnSale,
    /// It was opened before and Redis has lost it since: only a restore may load it.
    Lost,
}

/// Opens an event, or goes on where an opening was cut off.
pub async fn open_event(
    engine: &Engine,
    archive: &Archive,
    event: &Event,
) -> Result<Opened, SaleError> {
    if event.load_state == LoadState::New {
        match engine.load_event(event, &Inventory::free(&event.layout)).await? {
            OpenEventReply::Done { token } => {
                archive.mark_opened(event.id, event.generation, &token).await?;
            }
            OpenEventReply::EventExists => return Ok(Opened::OnSale),
            refusal => return Err(refused(&refusal)),
        }
    }
    let Some(token) = archive.load_token(event.id).await? else { return Ok(Opened::Lost) };
    // INVARIANT: an event that had a waiting room is not on sale without it. Wishes that come
    // after this reading find the event, and Redis takes the newest.
    RoomStore::plain(engine, archive).apply_stored(event.id, Floors::default(), false).await?;
    let opened = engine.open_event(event, &token).await?;
    match opened.reply {
        OpenEventReply::Done { .. } => Ok(Opened::OnSale),
        OpenEventReply::EventNotLoaded => Ok(Opened::Lost),
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
