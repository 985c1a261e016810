//! The catalogue: events with their layouts and the state of their inventories.

use mongodb::Collection;
use mongodb::bson::{self, Document, doc};
use mongodb::options::{FindOneAndUpdateOptions, FindOptions, ReturnDocument};

use super::Archive;
use super::documents::{COUNTERS, EVENTS, EventDocument, EventHead, StoredStamp, signed};
use super::error::ArchiveError;
use super::gateway::{Verb, Written, integer};
use crate::domain::{Event, EventChange, EventId, EventStatus, EventSummary, LoadState};

/// Attempts of a change that competes with other changes of the same event.
const CHANGE_ATTEMPTS_MAX: u32 = 8;

impl Archive {
    /// Returns a new event id. A lost reply only leaves a gap.
    pub async fn next_event_id(&self) -> Result<EventId, ArchiveError> {
        let counters: Collection<Document> = self.gateway.collection(COUNTERS);
        let options = FindOneAndUpdateOptions::builder()
            .return_document(ReturnDocument::After)
            .max_time(self.gateway.op_timeout())
            .build();
        let (counter, update) = (doc! { "_id": "event" }, doc! { "$inc": { "seq": 1_i64 } });
        let found = self.gateway.bounded(async move {
            counters.find_one_and_update(counter, update).with_options(options).await
        });
        let seq = found.await?.and_then(|document| document.get("seq").and_then(integer));
        let id = seq.and_then(|seq| u32::try_from(seq).ok());
        id.map(EventId).ok_or_else(|| ArchiveError::Corrupt("counters.event".to_owned()))
    }

    /// Inserts a new event, or finds it inserted by an attempt whose reply was lost.
    ///
    /// # Errors
    /// If another event has its id: the id counter is behind, as after a partial restore of the database.
    pub async fn insert_event(&self, event: &Event) -> Result<(), ArchiveError> {
        let document = bson::to_document(&EventDocument::from(event))
            .map_err(|error| ArchiveError::Corrupt(format!("event {}: {error}", event.id)))?;
        let written = self.gateway.write_plain(Verb::Insert, EVENTS, vec![document]).await?;
        if written.errors.is_empty() {
            return Ok(());
        }
        let found = self.event(event.id).await?;
        let is_this = |found: &Event| {
            (found.created_at_ms, &found.name) == (event.created_at_ms, &event.name)
        };
        match found.is_some_and(|found| is_this(&found)) {
            true => Ok(()),
            false => {
                let id = event.id;
                let reason = format!("counters.event is behind: event {id} exists already");
                Err(ArchiveError::Corrupt(reason))
            }
        }
    }

    /// Reads an event with its layout.
    pub async fn event(&self, id: EventId) -> Result<Option<Event>, ArchiveError> {
        let found: Option<EventDocument> = self.gateway.find_by_id(EVENTS, i64::from(id.0)).await?;
        found.map(Event::try_from).transpose()
    }

    /// Reads the stamps of at most `limit` events before `before`, highest ids first, from an index only.
    pub async fn event_stamps(
        &self,
        before: Option<EventId>,
        limit: u32,
    ) -> Result<Vec<StoredStamp>, ArchiveError> {
        let before = before.map(|before| doc! { "_id": { "$lt": i64::from(before.0) } });
        let fields = doc! { "_id": 1, "generation": 1, "revision": 1, "edits": 1, "load_state": 1 };
        let options = FindOptions::builder()
            .projection(fields)
            .sort(doc! { "_id": -1 })
            .limit(i64::from(limit))
            .build();
        self.gateway.find(EVENTS, before.unwrap_or_default(), options).await
    }

    /// Reads the existing ones of these events, without their layouts. The caller bounds the list.
    pub async fn event_summaries(
        &self,
        ids: &[EventId],
    ) -> Result<Vec<EventSummary>, ArchiveError> {
        let ids: Vec<i64> = ids.iter().map(|id| i64::from(id.0)).collect();
        let options = FindOptions::builder().projection(doc! { "sections": 0 }).build();
        self.summaries(doc! { "_id": { "$in": ids } }, options).await
    }

    /// Reads at most `limit` events after `after`, by id, without their layouts.
    pub async fn event_summaries_after(
        &self,
        after: EventId,
        limit: u32,
    ) -> Result<Vec<EventSummary>, ArchiveError> {
        let options = FindOptions::builder()
            .projection(doc! { "sections": 0 })
            .sort(doc! { "_id": 1 })
            .limit(i64::from(limit))
            .build();
        self.summaries(doc! { "_id": { "$gt": i64::from(after.0) } }, options).await
    }

    async fn summaries(
        &self,
        filter: Document,
        options: FindOptions,
    ) -> Result<Vec<EventSummary>, ArchiveError> {
        let found: Vec<EventDocument> = self.gateway.find(EVENTS, filter, options).await?;
        Ok(found.into_iter().map(EventSummary::from).collect())
    }

    /// Reads the heads of at most `limit` events after `after`, by id.
    pub async fn event_heads(
        &self,
        after: EventId,
        limit: u32,
    ) -> Result<Vec<EventHead>, ArchiveError> {
        self.heads(doc! { "_id": { "$gt": i64::from(after.0) } }, limit).await
    }

    /// Reads the head of one event.
    pub async fn event_head(&self, id: EventId) -> Result<Option<EventHead>, ArchiveError> {
        Ok(self.heads(doc! { "_id": i64::from(id.0) }, 1).await?.pop())
    }

    /// Reads at most `limit` events created before `before_ms` that were never opened: their opening was
    /// interrupted, or is in progress.
    pub async fn events_not_opened(
        &self,
        before_ms: i64,
        limit: u32,
    ) -> Result<Vec<EventHead>, ArchiveError> {
        self.heads(doc! { "load_state": "new", "created_at_ms": { "$lt": before_ms } }, limit).await
    }

    /// Lists at most `limit` opened events on sale, newest first, whose sale begins by `until_ms` and has
    /// not ended at `now_ms`; with `after_ms` only those that begin after it.
    pub async fn sales(
        &self,
        now_ms: i64,
        after_ms: Option<i64>,
        until_ms: i64,
        limit: u32,
    ) -> Result<Vec<EventId>, ArchiveError> {
        #[derive(serde::Deserialize)]
        struct Id {
            _id: i64,
        }
        let begins = match after_ms {
            Some(after_ms) => doc! { "on_sale_at_ms": { "$gt": after_ms, "$lte": until_ms } },
            None => doc! { "$or": [
                { "on_sale_at_ms": null }, { "on_sale_at_ms": { "$lte": until_ms } },
            ] },
        };
        let has_not_ended = doc! { "$or": [
            { "off_sale_at_ms": null }, { "off_sale_at_ms": { "$gt": now_ms } },
        ] };
        let filter = doc! {
            "load_state": "opened", "status": EventStatus::OnSale.as_str(),
            "$and": [begins, has_not_ended],
        };
        let options = FindOptions::builder()
            .projection(doc! { "_id": 1 })
            .sort(doc! { "_id": -1 })
            .limit(i64::from(limit))
            .build();
        let found: Vec<Id> = self.gateway.find(EVENTS, filter, options).await?;
        Ok(found.iter().filter_map(|id| u32::try_from(id._id).ok()).map(EventId).collect())
    }

    /// Marks an event whose inventory is loaded as opened, by the compare-and-set `new → opened` in this
    /// generation, and records the load's token. From then on only `restore` loads the inventory. Returns
    /// the recorded token: this one or that of an earlier winner.
    pub async fn mark_opened(
        &self,
        id: EventId,
        generation: u64,
        token: &str,
    ) -> Result<Option<String>, ArchiveError> {
        let generation = signed(generation, "generation").map_err(ArchiveError::Corrupt)?;
        let filter = doc! { "_id": i64::from(id.0), "load_state": "new", "generation": generation };
        let update = doc! { "$set": { "load_state": "opened", "load_token": token } };
        self.update_event(filter, update).await?;
        self.load_token(id).await
    }

    /// The token of the load that was put on sale; `None` if there is none, or no such event.
    pub async fn load_token(&self, id: EventId) -> Result<Option<String>, ArchiveError> {
        #[derive(serde::Deserialize)]
        struct Token {
            load_token: Option<String>,
        }
        let options = FindOptions::builder().projection(doc! { "load_token": 1 }).limit(1).build();
        let found: Vec<Token> =
            self.gateway.find(EVENTS, doc! { "_id": i64::from(id.0) }, options).await?;
        Ok(found.into_iter().next().and_then(|found| found.load_token))
    }

    /// Changes an event and returns its new state; `None` if there is no such event. The revision rises
    /// by one exactly if status or times change, so that Redis applies only newer settings and concurrent
    /// changes of times conflict. An event that is unloaded or being loaded stays CLOSED: a change to
    /// another status is not made, and the unchanged event is returned.
    pub async fn change_event(
        &self,
        id: EventId,
        change: &EventChange,
    ) -> Result<Option<Event>, ArchiveError> {
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let Some(head) = self.event_head(id).await? else { return Ok(None) };
            let wants_sale = change.status.is_some_and(|status| status != EventStatus::Closed);
            let is_out = matches!(head.load_state, LoadState::Unloaded | LoadState::Loading);
            if wants_sale && is_out {
                return self.event(id).await;
            }
            if change.has_sale_times() {
                head.sale_times().changed(change).check().map_err(ArchiveError::Invalid)?;
            }
            let fields = changed_fields(&head, change).map_err(ArchiveError::Corrupt)?;
            if fields.is_empty() {
                return self.event(id).await;
            }
            // The revision detects a concurrent change of the sale, the load state an unload.
            let revision = signed(head.revision, "revision").map_err(ArchiveError::Corrupt)?;
            let mut filter = doc! { "_id": i64::from(id.0), "revision": revision };
            if wants_sale {
                filter.insert("load_state", head.load_state.as_str());
            }
            // A change that is reported as failed must not take effect later.
            let deadline = self.gateway.deadline().await?;
            filter.insert("$expr", deadline.condition());
            let operation = edit(filter, doc! { "$set": fields });
            let changed = self.gateway.write_by(deadline, Verb::Update, EVENTS, operation);
            if changed.await?.touched == 1 {
                return self.patiently().event(id).await;
            }
        }
        Err(ArchiveError::Unavailable(format!(
            "event {id} is being changed concurrently: try again"
        )))
    }

    /// Changes an event that the filter matches.
    pub(super) async fn update_event(
        &self,
        filter: Document,
        update: Document,
    ) -> Result<Written, ArchiveError> {
        self.gateway.write_plain(Verb::Update, EVENTS, vec![edit(filter, update)]).await
    }

    async fn heads(&self, filter: Document, limit: u32) -> Result<Vec<EventHead>, ArchiveError> {
        let options = FindOptions::builder()
            .projection(doc! { "sections": 0, "description": 0 })
            .sort(doc! { "_id": 1 })
            .limit(i64::from(limit))
            .build();
        self.gateway.find(EVENTS, filter, options).await
    }
}

/// The update operation for an event that the filter matches. INVARIANT: each change increments `edits`,
/// by which cached lists detect it.
fn edit(filter: Document, mut update: Document) -> Document {
    let mut increments = update.get_document("$inc").cloned().unwrap_or_default();
    increments.insert("edits", 1_i64);
    update.insert("$inc", increments);
    doc! { "q": filter, "u": update }
}

/// The fields that a change sets, with a higher revision if status or times change.
fn changed_fields(head: &EventHead, change: &EventChange) -> Result<Document, String> {
    let mut fields = Document::new();
    let texts =
        [("name", &change.name), ("description", &change.description), ("venue", &change.venue)];
    for (name, text) in texts {
        fields.extend(text.as_ref().map(|text| (name.to_owned(), text.into())));
    }
    let (before, after) = (head.sale_times(), head.sale_times().changed(change));
    let off_sale_at_ms = match after.off_sale_at_ms == before.off_sale_at_ms {
        true => change.off_sale_at_ms,
        false => after.off_sale_at_ms,
    };
    let times = [
        ("starts_at_ms", change.starts_at_ms),
        ("on_sale_at_ms", change.on_sale_at_ms),
        ("off_sale_at_ms", off_sale_at_ms),
        ("cancel_until_ms", change.cancel_until_ms),
    ];
    for (name, time) in times {
        fields.extend(time.map(|time| (name.to_owned(), time.into())));
    }
    fields.extend(change.status.map(|status| ("status".to_owned(), status.as_str().into())));
    let cancellation = change.cancellation.map(|rule| rule.as_str().into());
    fields.extend(cancellation.map(|rule| ("cancellation".to_owned(), rule)));
    let status_differs = change.status.is_some_and(|status| status != head.status);
    if status_differs || after != before {
        fields.insert("revision", signed(head.revision + 1, "revision")?);
    }
    Ok(fields)
}
