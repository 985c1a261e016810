//! Creates, shows and changes events. Needs no background task, so that `holdfastctl` can use it
//! outside an API process.

use std::sync::Arc;

use super::catalogue::Catalogue;
use super::opening::{OpenResult, open_event};
use super::{
    EventChange, EventView, NewEvent, Sale, SaleError, SaleSettings, SeatMap, unix_now_ms,
};
use crate::archive::Archive;
use crate::domain::limits::{DESCRIPTION_BYTES_MAX, HOLD_SECONDS_MAX, NAME_BYTES_MAX};
use crate::domain::{
    Chargeable, Event, EventId, EventStatus, Layout, LoadState, SaleTimes, Section,
};
use crate::redis::{Detail, Engine, UpdateEventReply};

/// Overdue holds released before seats are shown, at most.
pub(super) const OVERDUE_BATCH: i64 = 64;

/// The use cases of events.
pub struct Events {
    pub(super) engine: Engine,
    pub(super) archive: Archive,
    pub(super) catalogue: Catalogue,
    pub(super) settings: SaleSettings,
}

impl Events {
    /// Creates the use cases of this deployment's events, with these defaults.
    pub fn new(engine: Engine, archive: Archive, settings: SaleSettings) -> Self {
        let catalogue = Catalogue::new(archive.clone());
        Events { engine, archive, catalogue, settings }
    }

    /// Creates an event in MongoDB, then in Redis. If Redis does not answer, the event exists and
    /// the worker opens it later.
    pub async fn create(&self, new: NewEvent) -> Result<EventView, SaleError> {
        let mut event = checked_event(new, &self.settings)?;
        event.id = self.archive.next_event_id().await?;
        self.archive.insert_event(&event).await?;
        let opened = open_event(&self.engine, &self.archive, &event).await;
        match opened {
            Ok(OpenResult::OnSale) => event.load_state = LoadState::Opened,
            other => {
                tracing::warn!(event_id = %event.id, ?other, "the worker opens this event later");
            }
        }
        Ok(self.viewed_if_loaded(self.catalogue.put(event)).await)
    }

    /// Returns one event with its counts.
    pub async fn get(&self, id: EventId) -> Result<EventView, SaleError> {
        let event = self.catalogue.recent(id).await?;
        self.viewed(event.ok_or(SaleError::EventUnknown(id))?).await
    }

    /// Changes an event in MongoDB, then in Redis. If Redis does not answer, the worker applies the
    /// change later.
    pub async fn change(&self, id: EventId, change: EventChange) -> Result<EventView, SaleError> {
        let (event, _) = self.make_change(id, change).await?;
        Ok(self.viewed_if_loaded(event).await)
    }

    /// Like [`Events::change`]; also returns the event's version in Redis after the change.
    async fn make_change(
        &self,
        id: EventId,
        change: EventChange,
    ) -> Result<(Arc<Event>, Option<u64>), SaleError> {
        checked_texts(
            change.name.as_deref(),
            change.venue.as_deref(),
            change.description.as_deref(),
        )?;
        if change.status == Some(EventStatus::OnSale) {
            // The event may stem from a time with another provider or without this check.
            let event = self.archive.event(id).await?.ok_or(SaleError::EventUnknown(id))?;
            checked_prices(self.settings.chargeable, &event.currency, &event.layout)?;
        }
        let changed = self.archive.change_event(id, &change).await?;
        let event = self.catalogue.put(changed.ok_or(SaleError::EventUnknown(id))?);
        let is_out = matches!(event.load_state, LoadState::Unloaded | LoadState::Loading);
        if is_out {
            // Redis does not have the event; the load reads the change.
            let refused = change.status.is_some_and(|status| status != event.status);
            return match (refused, event.load_state) {
                (false, _) => Ok((event, None)),
                (true, LoadState::Loading) => {
                    Err(in_state(id, "it is being loaded: wait until that is done".to_owned()))
                }
                (true, _) => {
                    let text =
                        format!("it is unloaded: load it first (holdfastctl event load {id})");
                    Err(in_state(id, text))
                }
            };
        }
        let followed = self.engine.update_event(&event).await;
        let version = match followed.as_ref().map(|timed| &timed.reply) {
            Ok(UpdateEventReply::Updated { version }) => Some(*version),
            // Another process, or a later change, was first.
            Ok(UpdateEventReply::StaleRevision { version, .. }) => Some(*version),
            _ => {
                tracing::warn!(event_id = %id, ?followed, "redis applies a change of an event later");
                None
            }
        };
        Ok((event, version))
    }

    /// Returns every seat's state at one version.
    pub async fn seat_map(&self, id: EventId) -> Result<SeatMap, SaleError> {
        let event = self.catalogue.get(id).await?.ok_or(SaleError::EventUnknown(id))?;
        let engine = &self.engine;
        let not_loaded = || SaleError::EventNotLoaded(id);
        let snapshot = engine.snapshot(id, Detail::Seats).await?.filter(|s| s.open);
        let Some(mut snapshot) = snapshot else { return Err(self.not_loaded(id).await) };
        if snapshot.next_deadline_ms.is_some_and(|deadline| deadline <= snapshot.now_ms) {
            // Overdue holds are free seats: released here in case no sweeper runs.
            engine.expire(id, snapshot.generation, OVERDUE_BATCH).await?;
            snapshot = engine
                .snapshot(id, Detail::Seats)
                .await?
                .filter(|s| s.open)
                .ok_or_else(not_loaded)?;
        }
        Ok(SeatMap {
            event,
            inventory: snapshot.inventory.ok_or_else(not_loaded)?,
            generation: snapshot.generation,
            version: snapshot.version,
            now_ms: snapshot.now_ms,
        })
    }

    /// Why Redis does not have an event: unloaded, being loaded, or lost.
    pub(super) async fn not_loaded(&self, id: EventId) -> SaleError {
        match self.catalogue.recent(id).await {
            Ok(Some(event)) if event.load_state == LoadState::Unloaded => {
                SaleError::EventUnloaded(id)
            }
            Ok(_) => SaleError::EventNotLoaded(id),
            Err(error) => error.into(),
        }
    }

    /// The event after a write, shown even if Redis does not answer.
    async fn viewed_if_loaded(&self, event: Arc<Event>) -> EventView {
        let unloaded =
            EventView { event: event.clone(), available_seats: None, now_ms: unix_now_ms() };
        self.viewed(event).await.unwrap_or(unloaded)
    }

    async fn viewed(&self, event: Arc<Event>) -> Result<EventView, SaleError> {
        let snapshot = self.engine.snapshot(event.id, Detail::Counts).await?;
        Ok(match snapshot {
            Some(snapshot) if snapshot.open => EventView {
                event,
                available_seats: u32::try_from(snapshot.available).ok(),
                now_ms: snapshot.now_ms,
            },
            _ => EventView { event, available_seats: None, now_ms: unix_now_ms() },
        })
    }
}

/// The same operations within a running sale.
impl Sale {
    /// See [`Events::create`].
    pub async fn create_event(&self, new: NewEvent) -> Result<EventView, SaleError> {
        self.inner.events.create(new).await
    }

    /// See [`Events::change`].
    pub async fn change_event(
        &self,
        id: EventId,
        change: EventChange,
    ) -> Result<EventView, SaleError> {
        let events = &self.inner.events;
        let (event, version) = Box::pin(events.make_change(id, change)).await?;
        Box::pin(self.show_change(&event, version)).await;
        Ok(events.viewed_if_loaded(event).await)
    }

    /// Brings this process' caches up to a change that it made, before the change is reported as
    /// done: they would still show, and refuse by, the old state.
    pub(super) async fn show_change(&self, event: &Event, version: Option<u64>) {
        if let Some(version) = version {
            self.live().wait_for_version(event.id, event.generation, version).await;
        }
        self.inner.reads.outdate(event.id);
        Box::pin(self.inner.waiting_room.refresh_after_change(event.id)).await;
    }

    /// See [`Events::seat_map`].
    pub async fn seat_map(&self, id: EventId) -> Result<SeatMap, SaleError> {
        self.inner.events.seat_map(id).await
    }
}

/// Validates a request and returns its event, still without an id.
fn checked_event(new: NewEvent, settings: &SaleSettings) -> Result<Event, SaleError> {
    checked_texts(Some(&new.name), new.venue.as_deref(), new.description.as_deref())?;
    let currency = new.currency.unwrap_or_else(|| settings.currency.clone());
    let hold_ttl_ms = match new.hold_ttl_seconds {
        Some(seconds) => i64::from(checked_seconds("hold_ttl_seconds", seconds)?) * 1000,
        None => settings.hold_ttl_ms,
    };
    let max_hold_ms = match new.max_hold_seconds {
        Some(seconds) => i64::from(checked_seconds("max_hold_seconds", seconds)?) * 1000,
        None => settings.max_hold_ms.max(hold_ttl_ms),
    };
    if max_hold_ms < hold_ttl_ms {
        return invalid("`max_hold_seconds` must be at least `hold_ttl_seconds`");
    }
    let layout = Layout::new(new.sections).map_err(|e| SaleError::Invalid(e.to_string()))?;
    layout.check_full_labels().map_err(|e| SaleError::Invalid(e.to_string()))?;
    checked_prices(settings.chargeable, &currency, &layout)?;
    let max_seats_per_user = new.max_seats_per_user.unwrap_or(settings.max_seats_per_user);
    if max_seats_per_user == 0 {
        return invalid("`max_seats_per_user` must be at least 1");
    }
    let times = SaleTimes {
        starts_at_ms: new.starts_at_ms,
        on_sale_at_ms: new.on_sale_at_ms,
        off_sale_at_ms: new.off_sale_at_ms,
    };
    let times = times.of_new();
    times.check().map_err(SaleError::Invalid)?;
    Ok(Event {
        id: EventId(0),
        name: new.name,
        description: new.description.unwrap_or_default(),
        venue: new.venue.unwrap_or_default(),
        currency,
        starts_at_ms: times.starts_at_ms,
        on_sale_at_ms: times.on_sale_at_ms,
        off_sale_at_ms: times.off_sale_at_ms,
        hold_ttl_ms,
        max_hold_ms,
        max_seats_per_user,
        orphan_rule: new.orphan_rule.unwrap_or_default(),
        cancel_policy: new.cancel_policy,
        status: EventStatus::OnSale,
        revision: 1,
        edits: 0,
        load_state: LoadState::New,
        generation: 1,
        layout_version: 1,
        seat_names_have_section: true,
        layout: Arc::new(layout),
        created_at_ms: unix_now_ms(),
    })
}

/// Checks that the payment provider can charge every price of a layout.
fn checked_prices(chargeable: Chargeable, code: &str, layout: &Layout) -> Result<(), SaleError> {
    let currency = chargeable
        .currency(code)
        .map_err(|why| SaleError::Invalid(format!("`currency`: {why}")))?;
    for section in layout.sections() {
        chargeable.check_price(currency, section.price).map_err(|why| {
            let Section { name, price, .. } = section;
            SaleError::Invalid(format!("`price` of section {name:?}, {price}: {why}"))
        })?;
    }
    Ok(())
}

fn checked_texts(
    name: Option<&str>,
    venue: Option<&str>,
    description: Option<&str>,
) -> Result<(), SaleError> {
    if name.is_some_and(|name| name.trim().is_empty() || name.len() > NAME_BYTES_MAX) {
        return invalid(&format!("`name` must have 1 to {NAME_BYTES_MAX} bytes"));
    }
    if venue.is_some_and(|venue| venue.len() > NAME_BYTES_MAX) {
        return invalid(&format!("`venue` must have at most {NAME_BYTES_MAX} bytes"));
    }
    if description.is_some_and(|text| text.len() > DESCRIPTION_BYTES_MAX) {
        return invalid(&format!("`description` must have at most {DESCRIPTION_BYTES_MAX} bytes"));
    }
    Ok(())
}

fn checked_seconds(name: &str, seconds: u32) -> Result<u32, SaleError> {
    if (1..=HOLD_SECONDS_MAX).contains(&seconds) {
        return Ok(seconds);
    }
    invalid(&format!("`{name}` must be 1 to {HOLD_SECONDS_MAX}"))
}

/// The refusal of a change that the event's load state forbids.
fn in_state(event: EventId, reason: String) -> SaleError {
    SaleError::EventState { event, reason }
}

fn invalid<T>(text: &str) -> Result<T, SaleError> {
    Err(SaleError::Invalid(text.to_owned()))
}
