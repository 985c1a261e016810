//! Documents of the `events` collection.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::archive::error::ArchiveError;
use crate::domain::event::{CancelPolicy, Cancellation, EventStamp, EventSummary, SeatTotal};
use crate::domain::{
    Event, EventId, EventStatus, Layout, LoadState, OrphanRule, SaleTimes, Section,
};

/// An event without its layout, for tasks that read all events.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct EventHead {
    /// Its id.
    #[serde(rename = "_id")]
    pub id: EventId,
    /// Its name.
    pub name: String,
    /// The status set by its operator.
    pub status: EventStatus,
    /// When holds begin, Unix ms.
    pub on_sale_at_ms: Option<i64>,
    /// When the doors open, Unix ms.
    #[serde(default)]
    pub starts_at_ms: Option<i64>,
    /// When holds end, Unix ms. Absent in documents of older versions.
    #[serde(default)]
    pub off_sale_at_ms: Option<i64>,
    /// Incremented at every change of status or times.
    pub revision: u64,
    /// The state of its inventory.
    pub load_state: LoadState,
    /// Incremented at every load after a loss.
    pub generation: u64,
    /// How many seats it has.
    pub total_seats: u32,
    /// When it was created, Unix ms.
    pub created_at_ms: i64,
    /// Whether confirmed bookings may be cancelled.
    #[serde(default)]
    pub cancellation: Cancellation,
    /// Until when they may be cancelled, Unix ms.
    #[serde(default)]
    pub cancel_until_ms: Option<i64>,
}

impl EventHead {
    /// Whether and until when confirmed bookings may be cancelled.
    pub fn cancel_policy(&self) -> CancelPolicy {
        CancelPolicy { rule: self.cancellation, until_ms: self.cancel_until_ms }
    }

    /// The times of its sale.
    pub fn sale_times(&self) -> SaleTimes {
        SaleTimes {
            starts_at_ms: self.starts_at_ms,
            on_sale_at_ms: self.on_sale_at_ms,
            off_sale_at_ms: self.off_sale_at_ms,
        }
    }
}

/// An event in `events`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::archive) struct EventDocument {
    #[serde(rename = "_id")]
    id: EventId,
    name: String,
    description: String,
    venue: String,
    currency: String,
    starts_at_ms: Option<i64>,
    on_sale_at_ms: Option<i64>,
    #[serde(default)]
    off_sale_at_ms: Option<i64>,
    hold_ttl_ms: i64,
    max_hold_ms: i64,
    max_seats_per_user: u32,
    #[serde(default)]
    orphan_rule: OrphanRule,
    #[serde(default)]
    cancellation: Cancellation,
    #[serde(default)]
    cancel_until_ms: Option<i64>,
    status: EventStatus,
    revision: u64,
    #[serde(default)]
    edits: u64,
    load_state: LoadState,
    generation: u64,
    layout_version: u32,
    total_seats: u32,
    #[serde(default)]
    seat_names_have_section: bool,
    /// Empty if the event is read without its layout.
    #[serde(default)]
    sections: Vec<Section>,
    created_at_ms: i64,
}

impl From<&Event> for EventDocument {
    fn from(event: &Event) -> Self {
        EventDocument {
            id: event.id,
            name: event.name.clone(),
            description: event.description.clone(),
            venue: event.venue.clone(),
            currency: event.currency.clone(),
            starts_at_ms: event.starts_at_ms,
            on_sale_at_ms: event.on_sale_at_ms,
            off_sale_at_ms: event.off_sale_at_ms,
            hold_ttl_ms: event.hold_ttl_ms,
            max_hold_ms: event.max_hold_ms,
            max_seats_per_user: event.max_seats_per_user,
            orphan_rule: event.orphan_rule,
            cancellation: event.cancel_policy.rule,
            cancel_until_ms: event.cancel_policy.until_ms,
            status: event.status,
            revision: event.revision,
            edits: event.edits,
            load_state: event.load_state,
            generation: event.generation,
            layout_version: event.layout_version,
            total_seats: event.layout.total_seats(),
            seat_names_have_section: event.seat_names_have_section,
            sections: event.layout.sections().to_vec(),
            created_at_ms: event.created_at_ms,
        }
    }
}

impl EventDocument {
    /// The event with this layout.
    fn with_layout<L>(self, layout: L) -> Event<L> {
        Event {
            id: self.id,
            name: self.name,
            description: self.description,
            venue: self.venue,
            currency: self.currency,
            starts_at_ms: self.starts_at_ms,
            on_sale_at_ms: self.on_sale_at_ms,
            off_sale_at_ms: self.off_sale_at_ms,
            hold_ttl_ms: self.hold_ttl_ms,
            max_hold_ms: self.max_hold_ms,
            max_seats_per_user: self.max_seats_per_user,
            orphan_rule: self.orphan_rule,
            cancel_policy: CancelPolicy { rule: self.cancellation, until_ms: self.cancel_until_ms },
            status: self.status,
            revision: self.revision,
            edits: self.edits,
            load_state: self.load_state,
            generation: self.generation,
            layout_version: self.layout_version,
            seat_names_have_section: self.seat_names_have_section,
            layout,
            created_at_ms: self.created_at_ms,
        }
    }
}

impl TryFrom<EventDocument> for Event {
    type Error = ArchiveError;
    fn try_from(mut document: EventDocument) -> Result<Self, ArchiveError> {
        let id = document.id;
        let layout = Layout::new(std::mem::take(&mut document.sections))
            .map_err(|error| ArchiveError::Corrupt(format!("event {id}: {error}")))?;
        Ok(document.with_layout(Arc::new(layout)))
    }
}

/// For documents that were read without their sections.
impl From<EventDocument> for EventSummary {
    fn from(document: EventDocument) -> Self {
        let total = SeatTotal(document.total_seats);
        document.with_layout(total)
    }
}

/// The state of an event in the archive, for detecting changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct StoredStamp {
    /// The event.
    #[serde(rename = "_id")]
    pub id: EventId,
    generation: u64,
    revision: u64,
    #[serde(default)]
    edits: u64,
    /// The state of its inventory.
    pub load_state: LoadState,
}

impl StoredStamp {
    /// The stamp to compare.
    pub fn stamp(&self) -> EventStamp {
        let StoredStamp { generation, revision, edits, .. } = *self;
        EventStamp { generation, revision, edits }
    }
}
