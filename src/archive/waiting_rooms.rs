//! The waiting rooms: settings, draw, and the floors of their numbers. Redis applies newer revisions.
//!
//! * A room is one document that is replaced as a whole, by compare-and-set on its revision.
//! * An opened draw is neither withdrawn nor replaced, and fixed once: a later attempt to fix it returns
//!   the fixed draw. A change that is not based on the current draw is refused.
//! * Floors only rise. They are separate documents because they are written often, independently of the
//!   room's settings.
//!
//! A document with an unknown field is refused as a whole.

use mongodb::bson::{self, Bson, Document, doc};
use serde::{Deserialize, Serialize};

use super::Archive;
use super::documents::signed;
use super::error::ArchiveError;
use super::gateway::{DUPLICATE_KEY, Verb, integer};
use super::verify::by_id;
use crate::domain::draw::{self, DrawStatus, SECRET_BYTES};
use crate::domain::time::iso8601;
use crate::domain::{EventId, Floors, PublicDraw, RoomSettings};

const WAITING_ROOMS: &str = "waiting_rooms";
const WAITING_ROOM_FLOORS: &str = "waiting_room_floors";
/// The format of a room's document. Raised when older builds could not apply it.
const FORMAT: i64 = 1;

/// The stored settings of one event's waiting room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRoom {
    /// The event.
    pub event: EventId,
    /// The number of changes, counted from 1.
    pub revision: u64,
    /// The settings.
    pub settings: RoomSettings,
    /// Its draw, once joining for one has opened.
    pub draw: Option<StoredDraw>,
    /// Who changed it last.
    pub by: String,
    /// When it was changed last, Unix ms.
    pub at_ms: i64,
}

/// A draw, from its opening on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredDraw {
    /// The commitment published when joining opened, hex.
    pub commitment: String,
    /// The secret that it commits to, hex; never shown before the draw is fixed.
    pub secret: String,
    /// When joining opened, Unix ms.
    pub opened_at_ms: i64,
    /// The participants, once they are fixed.
    pub fixed: Option<FixedDraw>,
}

/// The participants that, with the secret, determine a draw's outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedDraw {
    /// The number of participants: they have the numbers 1 to this.
    pub joiners: u64,
    /// The running hash of their joins, hex.
    pub joins_hash: String,
    /// When the draw was fixed, Unix ms.
    pub at_ms: i64,
}

impl StoredDraw {
    /// Opens a draw for joining from `at_ms`, Unix ms, on. The secret is random and used only once.
    pub fn open(secret: &[u8; SECRET_BYTES], at_ms: i64) -> Self {
        let commitment = draw::hex(&draw::commitment(secret));
        StoredDraw { commitment, secret: draw::hex(secret), opened_at_ms: at_ms, fixed: None }
    }

    /// The public data of the draw: the secret only once it is fixed. [`PublicDraw::draw`] computes the
    /// places of a fixed draw.
    pub fn public(&self, event: EventId) -> PublicDraw {
        let fixed = self.fixed.as_ref();
        PublicDraw {
            event_id: event,
            algorithm: draw::ALGORITHM.to_owned(),
            commitment: self.commitment.clone(),
            opened_at: iso8601(self.opened_at_ms),
            status: fixed.map_or(DrawStatus::Gathering, |_| DrawStatus::Fixed),
            joiners: fixed.map(|fixed| fixed.joiners),
            joins_hash: fixed.map(|fixed| fixed.joins_hash.clone()),
            secret: fixed.map(|_| self.secret.clone()),
            fixed_at: fixed.map(|fixed| iso8601(fixed.at_ms)),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoomDocument {
    #[serde(rename = "_id")]
    event: i64,
    format: i64,
    revision: i64,
    settings: RoomSettings,
    draw: Option<StoredDraw>,
    by: String,
    at_ms: i64,
}

#[derive(Deserialize)]
struct FloorsDocument {
    joined: i64,
    served: i64,
}

impl Archive {
    /// Reads the room of an event; `None` if it was never configured.
    pub async fn stored_room(&self, event: EventId) -> Result<Option<StoredRoom>, ArchiveError> {
        let found: Option<Document> = self.gateway.find_by_id(WAITING_ROOMS, id(event)).await?;
        found.map(|document| read(event, document)).transpose()
    }

    /// Reads at most `limit` rooms after `after`, by event, that need work: they are on, may switch on
    /// automatically, or have a draw that is not fixed. An unreadable room does not hide the others.
    pub async fn stored_rooms_on(
        &self,
        after: EventId,
        limit: u32,
    ) -> Result<Vec<(EventId, Result<StoredRoom, ArchiveError>)>, ArchiveError> {
        let filter = doc! {
            "_id": { "$gt": id(after) },
            "$or": [
                { "settings.on": true },
                { "settings.surge.automatic": true },
                { "draw.opened_at_ms": { "$gt": 0_i64 }, "draw.fixed": Bson::Null },
            ],
        };
        let found: Vec<Document> = self.gateway.find(WAITING_ROOMS, filter, by_id(limit)).await?;
        let room = |document: Document| {
            let event = document.get("_id").and_then(integer).and_then(|id| id.try_into().ok());
            let event = event.map(EventId).ok_or_else(|| {
                let reason = format!("{WAITING_ROOMS} has an _id {:?}", document.get("_id"));
                ArchiveError::Corrupt(reason)
            })?;
            Ok((event, read(event, document)))
        };
        found.into_iter().map(room).collect()
    }

    /// Replaces the previous revision; returns false if another change of the settings or the draw won. A
    /// draw may be added here but not changed.
    pub async fn change_room(&self, next: &StoredRoom) -> Result<bool, ArchiveError> {
        let mut document = write(next)?;
        let before = i64::try_from(next.revision).unwrap_or_default() - 1;
        if before < 0 {
            return Err(corrupt(next.event, format!("no revision {} follows one", next.revision)));
        }
        if before == 0 {
            let written = self.gateway.write_plain(Verb::Insert, WAITING_ROOMS, vec![document]);
            return Ok(written.await?.errors.is_empty());
        }
        document.remove("_id");
        let (none, fixed) = (Bson::Null, next.draw.as_ref().and_then(|draw| draw.fixed.as_ref()));
        let commitment = next.draw.as_ref().map(|draw| draw.commitment.as_str());
        let mut filter = doc! { "_id": id(next.event), "revision": before };
        // An existing draw must be this one; a missing draw may be added.
        filter.insert("draw.commitment", doc! { "$in": [none.clone(), commitment] });
        match fixed {
            None => filter.insert("draw.fixed", none),
            Some(fixed) => filter.insert("draw.fixed.joins_hash", &fixed.joins_hash),
        };
        let deadline = self.gateway.deadline().await?;
        filter.insert("$expr", deadline.condition());
        let operation = doc! { "q": filter, "u": document };
        let written =
            self.gateway.write_by(deadline, Verb::Update, WAITING_ROOMS, operation).await?;
        Ok(written.touched == 1)
    }

    /// Fixes the participants of a draw, unless it is fixed; returns the current draw, which may have
    /// been fixed with other participants. `None` if there is none.
    pub async fn fix_draw(
        &self,
        event: EventId,
        fixed: &FixedDraw,
    ) -> Result<Option<StoredDraw>, ArchiveError> {
        let fixed = bson::to_bson(fixed).map_err(|error| corrupt(event, error.to_string()))?;
        let filter = doc! {
            "_id": id(event), "format": FORMAT,
            "draw.opened_at_ms": { "$gt": 0_i64 }, "draw.fixed": Bson::Null,
        };
        let operation = doc! { "q": filter, "u": { "$set": { "draw.fixed": fixed } } };
        self.gateway.write_plain(Verb::Update, WAITING_ROOMS, vec![operation]).await?;
        Ok(self.stored_room(event).await?.and_then(|room| room.draw))
    }

    /// Raises a room's floors; a higher stored floor stays.
    pub async fn raise_room_floors(
        &self,
        event: EventId,
        floors: Floors,
    ) -> Result<(), ArchiveError> {
        let number = |value, name| signed(value, name).map_err(|reason| corrupt(event, reason));
        let floors = doc! {
            "joined": number(floors.joined, "joined")?,
            "served": number(floors.served, "served")?,
        };
        let raise = || {
            let operation = doc! { "q": { "_id": id(event) }, "u": { "$max": floors.clone() } };
            self.gateway.write_plain(Verb::Update, WAITING_ROOM_FLOORS, vec![operation])
        };
        if raise().await?.touched == 1 {
            return Ok(());
        }
        let mut new = doc! { "_id": id(event) };
        new.extend(floors.clone());
        let made = self.gateway.write_plain(Verb::Insert, WAITING_ROOM_FLOORS, vec![new]).await?;
        // Another process inserted it concurrently, with its own floors.
        if made.errors.iter().any(|error| error.code == DUPLICATE_KEY) {
            raise().await?;
        }
        Ok(())
    }

    /// Reads a room's floors.
    pub async fn room_floors(&self, event: EventId) -> Result<Floors, ArchiveError> {
        let found: Option<FloorsDocument> =
            self.gateway.find_by_id(WAITING_ROOM_FLOORS, id(event)).await?;
        let Some(FloorsDocument { joined, served }) = found else { return Ok(Floors::default()) };
        let number = |value: i64| {
            u64::try_from(value).map_err(|_| corrupt(event, format!("a floor is {value}")))
        };
        Ok(Floors { joined: number(joined)?, served: number(served)? })
    }
}

fn id(event: EventId) -> i64 {
    i64::from(event.0)
}

fn write(room: &StoredRoom) -> Result<Document, ArchiveError> {
    let wrong = |reason| corrupt(room.event, reason);
    let document = RoomDocument {
        event: id(room.event),
        format: FORMAT,
        revision: signed(room.revision, "revision").map_err(wrong)?,
        settings: room.settings.clone(),
        draw: room.draw.clone(),
        by: room.by.clone(),
        at_ms: room.at_ms,
    };
    bson::to_document(&document).map_err(|error| wrong(error.to_string()))
}

fn read(event: EventId, document: Document) -> Result<StoredRoom, ArchiveError> {
    // Checked first: another format would otherwise be reported as an invalid field.
    match document.get("format").and_then(integer) {
        Some(FORMAT) => {}
        Some(theirs) => {
            let reason = format!("it has format {theirs}, this build reads {FORMAT}");
            return Err(corrupt(event, reason));
        }
        None => return Err(corrupt(event, "it has no format".to_owned())),
    }
    let document: RoomDocument =
        bson::from_document(document).map_err(|error| corrupt(event, error.to_string()))?;
    let RoomDocument { revision, settings, draw, by, at_ms, .. } = document;
    let revision = u64::try_from(revision);
    let revision = revision.map_err(|_| corrupt(event, "its revision is negative".to_owned()))?;
    Ok(StoredRoom { event, revision, settings, draw, by, at_ms })
}

fn corrupt(event: EventId, reason: String) -> ArchiveError {
    ArchiveError::Corrupt(format!("waiting room of event {event}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> StoredRoom {
        let fixed = FixedDraw { joiners: 9, joins_hash: "cd".into(), at_ms: 6 };
        let draw = StoredDraw {
            commitment: "ab".into(),
            secret: "ef".into(),
            opened_at_ms: 5,
            fixed: Some(fixed),
        };
        StoredRoom {
            event: EventId(7),
            revision: 3,
            settings: RoomSettings { on: true, ..RoomSettings::default() },
            draw: Some(draw),
            by: "ann".into(),
            at_ms: 8,
        }
    }

    #[test]
    fn room_survives_a_round_trip() {
        assert_eq!(read(EventId(7), write(&room()).unwrap()).unwrap(), room());
        let plain = StoredRoom { draw: None, ..room() };
        assert_eq!(read(EventId(7), write(&plain).unwrap()).unwrap(), plain);
    }

    #[test]
    fn secret_is_public_only_once_the_draw_is_fixed() {
        let secret = [7; SECRET_BYTES];
        let opened = StoredDraw::open(&secret, 5);
        let public = opened.public(EventId(7));
        assert_eq!((public.status, &public.secret), (DrawStatus::Gathering, &None));
        assert_eq!((public.joiners, &public.joins_hash, &public.fixed_at), (None, &None, &None));
        assert_eq!(public.opened_at, "1970-01-01T00:00:00.005Z");
        let fixed = FixedDraw { joiners: 9, joins_hash: "cd".repeat(20), at_ms: 6 };
        let public = StoredDraw { fixed: Some(fixed), ..opened }.public(EventId(7));
        assert_eq!(public.secret, Some(draw::hex(&secret)));
        let seed = draw::seed(&secret, &"cd".repeat(20), 9);
        assert_eq!(public.draw(), Ok(draw::Draw::new(seed, 9)));
    }

    #[test]
    fn document_with_unknown_content_is_refused() {
        let whole = write(&room()).unwrap();
        let within = |outer: &str, name: &str| {
            let mut inner = whole.get_document(outer).unwrap().clone();
            inner.insert(name, 1);
            Bson::Document(inner)
        };
        for (name, value, expected) in [
            ("format", Bson::Int64(2), "it has format 2, this build reads 1"),
            ("format", Bson::Null, "no format"),
            ("revision", Bson::Int64(-1), "negative"),
            ("colour", Bson::Int64(1), "unknown field `colour`"),
            ("settings", within("settings", "colour"), "unknown field `colour`"),
            ("settings", within("settings", "method"), "expected an enum"),
            ("draw", within("draw", "colour"), "unknown field `colour`"),
        ] {
            let mut document = whole.clone();
            document.insert(name, value);
            let error = read(EventId(7), document).unwrap_err().to_string();
            let is_named = error.contains("waiting room of event 7") && error.contains(expected);
            assert!(is_named, "{error}");
        }
    }
}
