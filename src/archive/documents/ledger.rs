//! Documents of the `transitions` collection: the ledger of log entries.

use mongodb::bson::{Document, doc};

use super::bookings::transition_fields;
use super::{seat_numbers, signed};
use crate::domain::{Entry, Partition};

/// `_id` of an entry in the ledger; `None` for a beat, which is not archived. It is never the log id
/// alone: log ids repeat between partitions and after a failover.
pub fn transition_id(entry: &Entry) -> Option<String> {
    let event = entry.event?;
    Some(match &entry.transition {
        Some(transition) => format!("{}:{}:{}", transition.booking, transition.version, entry.id),
        None => format!("event:{event}:{}:{}", entry.event_version, entry.id),
    })
}

/// An entry's document in the ledger, with all its fields. `None` for a beat.
pub(in crate::archive) fn transition_document(
    partition: Partition,
    entry: &Entry,
) -> Result<Option<Document>, String> {
    let (Some(id), Some(event)) = (transition_id(entry), entry.event) else { return Ok(None) };
    let mut document = doc! {
        "_id": id,
        "partition": i32::from(partition.0),
        "log_id": entry.id.to_string(),
        "kind": entry.kind.as_str(),
        "event": i64::from(event.0),
        "generation": signed(entry.generation, "generation")?,
        "event_version": signed(entry.event_version, "event_version")?,
        "time_ms": entry.time_ms,
        "detail": &entry.detail,
        "tag": &entry.link.tag,
        "prev_id": entry.link.prev_id.to_string(),
        "prev_tag": &entry.link.prev_tag,
    };
    if let Some(transition) = &entry.transition {
        document.extend(transition_fields(transition)?);
        document.insert("booking", transition.booking.to_string());
    }
    if let Some(house) = &entry.house {
        document.insert("user", &house.actor);
        document.insert("seats", seat_numbers(&house.seats));
    }
    Ok(Some(document))
}
