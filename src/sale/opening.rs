//! Opening an event: MongoDB's `new → opened` between the two phases in Redis, so that an
//! inventory is loaded as free only while nothing can have been sold.
//!
//! ```text
//! load (Redis: `loading`) → compare-and-set new → opened (MongoDB) → open (Redis: `open`)
//! ```
//!
//! A crash between any two steps is mended by running it again: `load` of the same generation
//! may repeat while the event is `loading`, the compare-and-set has one winner, and `open` needs
//! no more than that it was won. Once `opened`, nothing here loads any more.

use crate::archive::Archive;
use crate::domain::{Event, Inventory, LoadState};
use crate::redis::{Code, Engine};

use super::SaleError;

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
        let loaded = engine.load_event(event, &Inventory::free(&event.layout)).await?;
        match loaded.code {
            Code::Ok => {}
            Code::EventExists => return Ok(Opened::OnSale),
            other => return Err(refused(other)),
        }
        // Lost to another opener: it opens, or has opened, what both have loaded.
        archive.mark_opened(event.id, event.generation).await?;
    }
    let opened = engine.open_event(event).await?;
    match opened.code {
        Code::Ok => Ok(Opened::OnSale),
        Code::EventNotLoaded => Ok(Opened::Lost),
        other => Err(refused(other)),
    }
}

fn refused(code: Code) -> SaleError {
    SaleError::Unavailable {
        dependency: "redis",
        reason: format!("open_event answered {}", code.word()),
        unknown: true,
    }
}
