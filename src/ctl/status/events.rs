//! The events in `status`.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::Serialize;

use crate::archive::{Archive, EventHead};
use crate::domain::{Event, EventId, Inventory, LoadState};
use crate::redis::{Detail, Engine};

use super::Failure;

/// Events per query.
const PAGE: u32 = 1_000;
/// Maximum number of ids named in a sentence.
const NAMED_MAX: usize = 5;

/// The events of a deployment.
#[derive(Serialize)]
pub(super) struct Events {
    /// Events by status; absent while MongoDB is unavailable.
    pub by_status: Option<BTreeMap<&'static str, u64>>,
    /// Created, but not opened for sale yet.
    pub unopened: Vec<u32>,
    /// Opened for sale, and not in Redis; absent unless both services answer.
    pub lost: Option<Vec<u32>>,
    /// Events on sale with their seats, newest first (while MongoDB is unavailable: those in Redis).
    pub on_sale: Vec<EventSeats>,
    /// How many more are on sale.
    pub more: u64,
}

/// The seats of one event, by Redis.
#[derive(Serialize)]
pub(in crate::ctl) struct EventSeats {
    pub id: u32,
    /// Absent while MongoDB is unavailable.
    pub name: Option<String>,
    pub seats: u32,
    pub free: u32,
    pub held: u32,
    pub sold: u32,
    pub blocked: u32,
    /// The price of its sold seats; absent where it is not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub takings: Option<Takings>,
}

/// The price of sold seats.
#[derive(Clone, Serialize)]
pub(in crate::ctl) struct Takings {
    /// In the currency's minor unit.
    pub amount: i64,
    pub currency: String,
}

/// The events that were read with their prices.
pub(super) type Priced = HashMap<EventId, Event>;

/// Every event of the catalogue, by id.
pub(super) async fn all_heads(archive: &Archive) -> Result<Vec<EventHead>, Failure> {
    let mut heads: Vec<EventHead> = Vec::new();
    loop {
        let after = heads.last().map_or(EventId(0), |head| head.id);
        let page = archive.event_heads(after, PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        heads.extend(page);
        if is_last {
            return Ok(heads);
        }
    }
}

fn word(head: &EventHead) -> &'static str {
    head.status.api_word(&head.sale_times(), Timestamp::now().as_millisecond())
}

impl Events {
    /// The events according to the catalogue alone, if available.
    pub fn without_seats(heads: Option<&[EventHead]>) -> Self {
        let unopened = heads.into_iter().flatten().filter(|head| head.load_state == LoadState::New);
        let count = |heads: &[EventHead]| {
            let statuses = ["ON_SALE", "SCHEDULED", "PAUSED", "CLOSED"];
            let mut counts: BTreeMap<&'static str, u64> = statuses.map(|word| (word, 0)).into();
            for head in heads {
                *counts.entry(word(head)).or_default() += 1;
            }
            counts
        };
        Events {
            by_status: heads.map(count),
            unopened: unopened.map(|head| head.id.0).collect(),
            lost: None,
            on_sale: Vec::new(),
            more: 0,
        }
    }

    /// The events according to both services, with the seats of at most `max` events.
    pub async fn with_seats(
        engine: &Engine,
        loaded: &[EventId],
        heads: Option<&[EventHead]>,
        max: u32,
        priced: &Priced,
    ) -> Result<Self, Failure> {
        let mut events = Events::without_seats(heads);
        let is_loaded = |id: &EventId| loaded.binary_search(id).is_ok();
        let is_known = |id: EventId| !engine.is_node_gone(engine.keys().partition_of(id));
        let shown: Vec<(EventId, Option<&str>)> = match heads {
            Some(heads) => {
                let opened = heads.iter().filter(|head| head.load_state == LoadState::Opened);
                let lost = opened.clone().filter(|head| !is_loaded(&head.id) && is_known(head.id));
                events.lost = Some(lost.map(|head| head.id.0).collect());
                let on_sale = opened.filter(|head| is_loaded(&head.id) && word(head) == "ON_SALE");
                on_sale.map(|head| (head.id, Some(head.name.as_str()))).collect()
            }
            None => loaded.iter().map(|id| (*id, None)).collect(),
        };
        let max = max as usize;
        events.more = shown.len().saturating_sub(max) as u64;
        for (id, name) in shown.into_iter().rev().take(max) {
            let snapshot = engine.snapshot(id, Detail::Seats).await?;
            // Unloaded just now, or its inventory is missing: `verify` reports the latter.
            let Some(inventory) = snapshot.and_then(|snapshot| snapshot.inventory) else {
                continue;
            };
            let counts = inventory.totals();
            events.on_sale.push(EventSeats {
                id: id.0,
                name: name.map(str::to_owned),
                seats: inventory.seats(),
                free: counts.available,
                held: counts.hold,
                sold: counts.booked,
                blocked: counts.blocked,
                takings: priced.get(&id).map(|event| takings(event, &inventory)),
            });
        }
        Ok(events)
    }

    /// The issues of events.
    pub fn attention(&self) -> Vec<String> {
        let mut issues = Vec::new();
        if !self.unopened.is_empty() {
            let named = named(&self.unopened);
            issues.push(format!("created and not opened yet: {named}; a worker opens them"));
        }
        if let Some(lost) = self.lost.as_ref().filter(|lost| !lost.is_empty()) {
            issues.push(format!("Redis has lost {}: their seats may be sold", named(lost)));
        }
        issues
    }
}

fn takings(event: &Event, inventory: &Inventory) -> Takings {
    let sold = event.layout.section_ranges().into_iter().map(|(section, first, seats)| {
        section.price * i64::from(inventory.counts(first, seats).booked)
    });
    Takings { amount: sold.sum(), currency: event.currency.clone() }
}

/// `event 1, 2, 3 and 4 more`.
fn named(ids: &[u32]) -> String {
    let shown: Vec<String> = ids.iter().take(NAMED_MAX).map(u32::to_string).collect();
    let shown = shown.join(", ");
    match ids.len().saturating_sub(NAMED_MAX) {
        0 => format!("event {shown}"),
        more => format!("event {shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_ids_are_counted() {
        assert_eq!(named(&[7]), "event 7");
        assert_eq!(named(&[1, 2, 3, 4, 5, 6, 7]), "event 1, 2, 3, 4, 5 and 2 more");
    }
}
