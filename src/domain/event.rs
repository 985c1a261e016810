//! An event of the catalogue: what is sold, when, and by which rules.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{EventId, SeatId};
use super::layout::Layout;
use super::sale_times::SaleTimes;
use super::seat_request::OrphanRule;

/// The statuses that clients see: the operator's, or `SCHEDULED` before the sale begins.
pub const API_STATUSES: [&str; 4] = ["SCHEDULED", "ON_SALE", "PAUSED", "CLOSED"];

/// The operator's status of an event's sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventStatus {
    /// On sale from `on_sale_at` on, until `off_sale_at`. Before that clients see `SCHEDULED`, after it
    /// `CLOSED`.
    OnSale,
    /// No new holds for now; payments of existing holds go on.
    Paused,
    /// No new holds any more; payments of existing holds go on.
    Closed,
}

/// Status and name, in enum order.
pub const EVENT_STATUSES: [(EventStatus, &str); 3] = [
    (EventStatus::OnSale, "ON_SALE"),
    (EventStatus::Paused, "PAUSED"),
    (EventStatus::Closed, "CLOSED"),
];

impl EventStatus {
    /// The name in Redis and in the archive.
    pub fn as_str(self) -> &'static str {
        EVENT_STATUSES[self as usize].1
    }

    /// The name in the API at `now_ms`, for an event with these times.
    pub fn api_word(self, times: &SaleTimes, now_ms: i64) -> &'static str {
        if times.off_sale_at_ms.is_some_and(|at_ms| now_ms >= at_ms) {
            return EventStatus::Closed.as_str();
        }
        match (self, times.on_sale_at_ms) {
            (EventStatus::OnSale, Some(at_ms)) if now_ms < at_ms => "SCHEDULED",
            (status, _) => status.as_str(),
        }
    }

    /// The status with this name; `None` if there is none.
    pub fn parse(word: &str) -> Option<Self> {
        EVENT_STATUSES.iter().find(|row| row.1 == word).map(|row| row.0)
    }
}

/// Whether confirmed bookings of an event may be cancelled. (Holds always may.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cancellation {
    /// They may, until the event's `cancel_until` where it has one.
    #[default]
    Allowed,
    /// They may not.
    NotAllowed,
}

/// Rule and name, in enum order.
pub const CANCELLATIONS: [(Cancellation, &str); 2] =
    [(Cancellation::Allowed, "allowed"), (Cancellation::NotAllowed, "not_allowed")];

impl Cancellation {
    /// The name in the API and in the archive.
    pub fn as_str(self) -> &'static str {
        CANCELLATIONS[self as usize].1
    }

    /// The rule with this name; `None` if there is none.
    pub fn parse(word: &str) -> Option<Self> {
        CANCELLATIONS.iter().find(|row| row.1 == word).map(|row| row.0)
    }
}

/// An event's rules for cancelling confirmed bookings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CancelPolicy {
    /// Whether they may be cancelled at all.
    pub rule: Cancellation,
    /// The last moment for it, Unix ms; `None`: at any time.
    pub until_ms: Option<i64>,
}

impl CancelPolicy {
    /// Whether a confirmed booking may be cancelled at `now_ms`.
    pub fn allows(self, now_ms: i64) -> bool {
        self.rule == Cancellation::Allowed && self.until_ms.is_none_or(|until| now_ms <= until)
    }
}

/// The load state of an event's inventory: it is loaded into Redis as free only while this is `New`,
/// so a lost inventory is never mistaken for a free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadState {
    /// Never opened yet.
    New,
    /// Redis has it, or has lost it.
    Opened,
    /// Closed and removed from Redis; the archive has all of it.
    Unloaded,
    /// Being loaded from the archive.
    Loading,
}

const LOAD_STATE_WORDS: [(LoadState, &str); 4] = [
    (LoadState::New, "new"),
    (LoadState::Opened, "opened"),
    (LoadState::Unloaded, "unloaded"),
    (LoadState::Loading, "loading"),
];

impl LoadState {
    /// The name in the archive.
    pub fn as_str(self) -> &'static str {
        LOAD_STATE_WORDS[self as usize].1
    }
}

/// An event of the catalogue. Times are Unix milliseconds. `L` is its seating: the layout, or in
/// lists ([`EventSummary`]) only the number of seats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<L = Arc<Layout>> {
    /// Its id, assigned by MongoDB.
    pub id: EventId,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// Its venue.
    pub venue: String,
    /// ISO 4217 code of all its prices.
    pub currency: String,
    /// When it starts.
    pub starts_at_ms: Option<i64>,
    /// When holds begin; `None` is at once.
    pub on_sale_at_ms: Option<i64>,
    /// When holds end; `None` is never.
    pub off_sale_at_ms: Option<i64>,
    /// How long a hold lasts.
    pub hold_ttl_ms: i64,
    /// How long a hold can last with extensions.
    pub max_hold_ms: i64,
    /// The maximum number of seats that one user can hold and own.
    pub max_seats_per_user: u32,
    /// How to treat a choice that isolates a single seat.
    pub orphan_rule: OrphanRule,
    /// Whether and until when confirmed bookings may be cancelled.
    pub cancel_policy: CancelPolicy,
    /// The operator's status.
    pub status: EventStatus,
    /// Raised at every change of status or times; Redis accepts only greater ones.
    pub revision: u64,
    /// Raised by every write to the event.
    pub edits: u64,
    /// The load state of its inventory.
    pub load_state: LoadState,
    /// Raised at every load after a loss.
    pub generation: u64,
    /// Version of the layout, which scripts check.
    pub layout_version: u32,
    /// Whether the seat names on receipts begin with the section where there are several. False for
    /// events of older versions: a receipt never changes.
    pub seat_names_have_section: bool,
    /// Its seats.
    pub layout: L,
    /// When it was created.
    pub created_at_ms: i64,
}

/// An event without its layout, for lists.
pub type EventSummary = Event<SeatTotal>;

/// The number of an event's seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatTotal(pub u32);

/// The seating of an event.
pub trait Seating {
    /// The number of seats.
    fn total_seats(&self) -> u32;
}

impl Seating for Arc<Layout> {
    fn total_seats(&self) -> u32 {
        Layout::total_seats(self)
    }
}

impl Seating for SeatTotal {
    fn total_seats(&self) -> u32 {
        self.0
    }
}

/// The version of an event's state. The greater of two stamps is the newer state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventStamp {
    /// The event's generation.
    pub generation: u64,
    /// Its revision.
    pub revision: u64,
    /// Its edits. Older versions do not count them, hence the two others.
    pub edits: u64,
}

/// A change to an event; absent fields stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventChange {
    /// Its name.
    pub name: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Its venue.
    pub venue: Option<String>,
    /// When it starts, Unix ms.
    pub starts_at_ms: Option<i64>,
    /// The operator's status.
    pub status: Option<EventStatus>,
    /// When holds begin, Unix ms.
    pub on_sale_at_ms: Option<i64>,
    /// When holds end, Unix ms.
    pub off_sale_at_ms: Option<i64>,
    /// Whether confirmed bookings may be cancelled.
    pub cancellation: Option<Cancellation>,
    /// Until when they may, Unix ms.
    pub cancel_until_ms: Option<i64>,
}

impl<L> Event<L> {
    /// The times that determine its sale.
    pub fn sale_times(&self) -> SaleTimes {
        SaleTimes {
            starts_at_ms: self.starts_at_ms,
            on_sale_at_ms: self.on_sale_at_ms,
            off_sale_at_ms: self.off_sale_at_ms,
        }
    }

    /// The status clients see at `now_ms`.
    pub fn api_status(&self, now_ms: i64) -> &'static str {
        self.status.api_word(&self.sale_times(), now_ms)
    }

    /// The stamp of this state.
    pub fn stamp(&self) -> EventStamp {
        let Event { generation, revision, edits, .. } = *self;
        EventStamp { generation, revision, edits }
    }
}

impl SaleTimes {
    /// The times after a change. An end equal to the event's start moves with the start, unless the
    /// change names an end.
    pub fn changed(self, change: &EventChange) -> Self {
        let starts_at_ms = change.starts_at_ms.or(self.starts_at_ms);
        let follows = self.off_sale_at_ms == self.starts_at_ms;
        let end = if follows { starts_at_ms } else { self.off_sale_at_ms };
        SaleTimes {
            starts_at_ms,
            on_sale_at_ms: change.on_sale_at_ms.or(self.on_sale_at_ms),
            off_sale_at_ms: change.off_sale_at_ms.or(end),
        }
    }
}

impl EventChange {
    /// Whether it changes a time that determines the sale.
    pub fn has_sale_times(&self) -> bool {
        [self.starts_at_ms, self.on_sale_at_ms, self.off_sale_at_ms].iter().any(Option::is_some)
    }
}

impl Event {
    /// The name of a seat where nothing else identifies it; `None` if there is no such seat.
    pub fn seat_name(&self, seat: SeatId) -> Option<String> {
        let info = self.layout.seat(seat)?;
        let is_short = !self.seat_names_have_section || self.layout.sections().len() == 1;
        Some(if is_short { info.label() } else { info.full_label() })
    }

    /// The event without its layout.
    pub fn summary(&self) -> EventSummary {
        Event {
            id: self.id,
            name: self.name.clone(),
            description: self.description.clone(),
            venue: self.venue.clone(),
            currency: self.currency.clone(),
            starts_at_ms: self.starts_at_ms,
            on_sale_at_ms: self.on_sale_at_ms,
            off_sale_at_ms: self.off_sale_at_ms,
            hold_ttl_ms: self.hold_ttl_ms,
            max_hold_ms: self.max_hold_ms,
            max_seats_per_user: self.max_seats_per_user,
            orphan_rule: self.orphan_rule,
            cancel_policy: self.cancel_policy,
            status: self.status,
            revision: self.revision,
            edits: self.edits,
            load_state: self.load_state,
            generation: self.generation,
            layout_version: self.layout_version,
            seat_names_have_section: self.seat_names_have_section,
            layout: SeatTotal(self.layout.total_seats()),
            created_at_ms: self.created_at_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_enum_order_and_as_they_are_stored() {
        for (index, (state, word)) in LOAD_STATE_WORDS.into_iter().enumerate() {
            assert_eq!((state as usize, state.as_str()), (index, word));
            assert_eq!(serde_json::to_value(state).unwrap(), word);
        }
        for (index, (rule, word)) in CANCELLATIONS.into_iter().enumerate() {
            assert_eq!((rule as usize, rule.as_str()), (index, word));
            assert_eq!(serde_json::to_value(rule).unwrap(), word);
            assert_eq!(Cancellation::parse(word), Some(rule));
        }
    }

    #[test]
    fn sale_is_scheduled_then_on_sale_then_closed() {
        let times =
            SaleTimes { starts_at_ms: None, on_sale_at_ms: Some(5), off_sale_at_ms: Some(9) };
        let word = |status: EventStatus, now_ms| status.api_word(&times, now_ms);
        let words = [4, 5, 8, 9].map(|now_ms| word(EventStatus::OnSale, now_ms));
        assert_eq!(words, ["SCHEDULED", "ON_SALE", "ON_SALE", "CLOSED"]);
        assert_eq!([4, 9].map(|now_ms| word(EventStatus::Paused, now_ms)), ["PAUSED", "CLOSED"]);
    }

    #[test]
    fn cancel_policy_ends_after_its_last_moment() {
        let always = CancelPolicy::default();
        let until = CancelPolicy { until_ms: Some(5), ..always };
        let never = CancelPolicy { rule: Cancellation::NotAllowed, ..until };
        assert!(always.allows(i64::MAX) && until.allows(5) && !until.allows(6) && !never.allows(0));
    }

    fn times_of(starts: Option<i64>, on_sale: Option<i64>, off_sale: Option<i64>) -> SaleTimes {
        SaleTimes { starts_at_ms: starts, on_sale_at_ms: on_sale, off_sale_at_ms: off_sale }
    }

    #[test]
    fn default_end_follows_the_start_and_a_given_one_does_not() {
        let later = EventChange { starts_at_ms: Some(20), ..EventChange::default() };
        let end = |times: SaleTimes| times.changed(&later).off_sale_at_ms;
        assert_eq!(end(times_of(Some(9), None, Some(9))), Some(20));
        assert_eq!(end(times_of(None, None, None)), Some(20));
        assert_eq!(end(times_of(Some(9), None, Some(7))), Some(7));
        // Created by a version without ends: it has none until one is given.
        assert_eq!(end(times_of(Some(9), None, None)), None);
        let both = EventChange { off_sale_at_ms: Some(15), ..later };
        assert_eq!(
            times_of(Some(9), None, Some(9)).changed(&both),
            times_of(Some(20), None, Some(15))
        );
    }
}
