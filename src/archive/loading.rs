//! The load state of an event's inventory, changed by compare-and-set:
//!
//! ```text
//!   new ──► opened ──► unloaded ──► loading ──► opened     (generation + 1 with each `loading`)
//!            │ ▲           │         ▲  │  ▲
//!            │ └───────────┘         │  └──┘
//!            └───────────────────────┘   after a loss
//! ```
//!
//! Each change names the state that it was based on, so that one of several processes wins.

use mongodb::bson::doc;
use mongodb::options::FindOptions;
use serde::Deserialize;

use super::Archive;
use super::documents::{EVENTS, signed};
use super::error::ArchiveError;
use crate::domain::{EventId, EventStatus, LoadState};

/// Events read at once.
const PAGE: i64 = 1_000;

/// The fields of an event that decide about loading and unloading it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LoadFacts {
    /// The status set by its operator.
    pub status: EventStatus,
    /// Incremented at every change of status or times.
    pub revision: u64,
    /// The state of its inventory.
    pub load_state: LoadState,
    /// Incremented at every load.
    pub generation: u64,
    /// Identifies the attempt that recorded `unloaded`.
    pub unload_token: Option<String>,
    /// Until when that attempt's call can take effect, by Redis' clock, Unix ms.
    pub unload_until_ms: Option<i64>,
    /// The event's version in Redis that was verified for it, under `generation`.
    pub unload_version: Option<u64>,
}

/// An event that Redis should have, or that is being loaded.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WatchedEvent {
    /// Its id.
    #[serde(rename = "_id")]
    pub id: EventId,
    /// `opened` or `loading`.
    pub load_state: LoadState,
    /// Incremented at every load.
    pub generation: u64,
    /// Incremented regularly while a process is loading the event.
    #[serde(default)]
    pub load_beat: i64,
    /// Whether an opened event's load has not ended.
    #[serde(default)]
    pub load_unfinished: bool,
    /// Identifies the load that was recorded with `opened`.
    #[serde(default)]
    pub load_token: Option<String>,
    /// The generation in which a process reported it as lost.
    #[serde(default)]
    pub loss_reported: Option<u64>,
}

/// An attempt to unload an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnloadAttempt {
    /// Identifies the attempt.
    pub token: String,
    /// Until when its call can take effect, by Redis' clock, Unix ms.
    pub until_ms: i64,
    /// The verified version of the event in Redis.
    pub version: u64,
}

impl Archive {
    /// Reads an event's load facts; `None` if there is no such event.
    pub async fn load_facts(&self, id: EventId) -> Result<Option<LoadFacts>, ArchiveError> {
        let projection = doc! {
            "status": 1, "revision": 1, "load_state": 1, "generation": 1,
            "unload_token": 1, "unload_until_ms": 1, "unload_version": 1,
        };
        let options = FindOptions::builder().projection(projection).limit(1).build();
        let filter = doc! { "_id": i64::from(id.0) };
        Ok(self.gateway.find(EVENTS, filter, options).await?.pop())
    }

    /// `opened → unloaded`, only while the sale is closed and the facts are unchanged; or takes over an
    /// interrupted attempt. Returns whether it did.
    pub async fn begin_unload(
        &self,
        id: EventId,
        facts: &LoadFacts,
        attempt: &UnloadAttempt,
    ) -> Result<bool, ArchiveError> {
        let mut filter = doc! {
            "_id": i64::from(id.0),
            "load_state": facts.load_state.as_str(),
            "status": EventStatus::Closed.as_str(),
            "generation": signed(facts.generation, "generation").map_err(ArchiveError::Corrupt)?,
            "revision": signed(facts.revision, "revision").map_err(ArchiveError::Corrupt)?,
        };
        if let Some(token) = &facts.unload_token {
            filter.insert("unload_token", token);
        }
        let update = doc! { "$set": {
            "load_state": LoadState::Unloaded.as_str(),
            "unload_token": &attempt.token,
            "unload_until_ms": attempt.until_ms,
            "unload_version": signed(attempt.version, "version").map_err(ArchiveError::Corrupt)?,
        } };
        Ok(self.update_event(filter, update).await?.touched == 1)
    }

    /// `unloaded → opened`, for the attempt with this token, if Redis still has the event and the attempt
    /// can have no effect any more. Returns whether it did.
    pub async fn undo_unload(&self, id: EventId, token: &str) -> Result<bool, ArchiveError> {
        let filter = doc! {
            "_id": i64::from(id.0),
            "load_state": LoadState::Unloaded.as_str(),
            "unload_token": token,
        };
        let update = doc! {
            "$set": { "load_state": LoadState::Opened.as_str() },
            "$unset": { "unload_token": "", "unload_until_ms": "", "unload_version": "" },
        };
        Ok(self.update_event(filter, update).await?.touched == 1)
    }

    /// Moves an event to `loading` in the next generation, if the facts are unchanged; returns that
    /// generation, `None` if another process won. No load of an earlier generation can be opened then.
    pub async fn begin_load(
        &self,
        id: EventId,
        facts: &LoadFacts,
    ) -> Result<Option<u64>, ArchiveError> {
        let signed = |number| signed(number, "generation").map_err(ArchiveError::Corrupt);
        let generation = facts.generation + 1;
        let filter = doc! {
            "_id": i64::from(id.0),
            "load_state": facts.load_state.as_str(),
            "generation": signed(facts.generation)?,
        };
        let update = doc! {
            "$set": {
                "load_state": LoadState::Loading.as_str(),
                "generation": signed(generation)?,
            },
            "$unset": {
                "load_token": "", "load_unfinished": "", "loss_reported": "",
                "unload_token": "", "unload_until_ms": "", "unload_version": "",
            },
        };
        let won = self.update_event(filter, update).await?.touched == 1;
        Ok(won.then_some(generation))
    }

    /// `loading → opened` in this generation: everything is placed in the load with this token. The load
    /// is unfinished until [`Archive::finish_load`]: outcomes decided meanwhile must still be settled.
    /// Returns whether it did.
    pub async fn mark_loaded(
        &self,
        id: EventId,
        generation: u64,
        token: &str,
    ) -> Result<bool, ArchiveError> {
        let filter = doc! {
            "_id": i64::from(id.0),
            "load_state": LoadState::Loading.as_str(),
            "generation": signed(generation, "generation").map_err(ArchiveError::Corrupt)?,
        };
        let set = doc! {
            "load_state": LoadState::Opened.as_str(), "load_token": token, "load_unfinished": true,
        };
        Ok(self.update_event(filter, doc! { "$set": set }).await?.touched == 1)
    }

    /// Marks the load of this generation as finished.
    pub async fn finish_load(&self, id: EventId, generation: u64) -> Result<(), ArchiveError> {
        let filter = doc! {
            "_id": i64::from(id.0),
            "generation": signed(generation, "generation").map_err(ArchiveError::Corrupt)?,
        };
        let update = doc! { "$unset": { "load_unfinished": "" } };
        self.update_event(filter, update).await.map(drop)
    }

    /// Reads all events that are `opened` or `loading`, by id.
    pub async fn watched_events(&self) -> Result<Vec<WatchedEvent>, ArchiveError> {
        let states = [LoadState::Opened.as_str(), LoadState::Loading.as_str()];
        let mut watched: Vec<WatchedEvent> = Vec::new();
        loop {
            let after = watched.last().map_or(0, |last| i64::from(last.id.0));
            let filter = doc! { "load_state": { "$in": states.to_vec() }, "_id": { "$gt": after } };
            let projection = doc! {
                "load_state": 1, "generation": 1, "load_beat": 1, "load_unfinished": 1,
                "load_token": 1, "loss_reported": 1,
            };
            let options = FindOptions::builder()
                .projection(projection)
                .sort(doc! { "_id": 1 })
                .limit(PAGE)
                .build();
            let page: Vec<WatchedEvent> = self.gateway.find(EVENTS, filter, options).await?;
            let is_last = (page.len() as i64) < PAGE;
            watched.extend(page);
            if is_last {
                return Ok(watched);
            }
        }
    }

    /// Reports to the repairer that Redis has an event, which is `opened` in this generation, in an older
    /// one. Returns whether it is opened in this generation.
    pub async fn report_loss(&self, id: EventId, generation: u64) -> Result<bool, ArchiveError> {
        let generation = signed(generation, "generation").map_err(ArchiveError::Corrupt)?;
        let filter = doc! {
            "_id": i64::from(id.0),
            "load_state": LoadState::Opened.as_str(),
            "generation": generation,
        };
        let update = doc! { "$set": { "loss_reported": generation } };
        Ok(self.update_event(filter, update).await?.touched == 1)
    }

    /// Shows that the load of this generation is in progress; returns false if another load has started.
    pub async fn beat_load(&self, id: EventId, generation: u64) -> Result<bool, ArchiveError> {
        let filter = doc! {
            "_id": i64::from(id.0),
            "generation": signed(generation, "generation").map_err(ArchiveError::Corrupt)?,
        };
        let update = doc! { "$inc": { "load_beat": 1_i64 } };
        Ok(self.update_event(filter, update).await?.touched == 1)
    }
}
