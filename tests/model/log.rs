//! Compares what Redis keeps with the model: the event's keys, the booking log, and what the log
//! tells on its own.

use std::collections::BTreeMap;
use std::fmt::Debug;

use fred::types::Value;
use holdfast::domain::{Booking, BookingId, Entry, LogId, SeatId};
use holdfast::redis::{Detail, EventSnapshot};

use super::replay::replay;
use super::sale::{EventState, Line};
use super::stage::{Difference, RECORD_TTL_MS, Run, differs};

/// How far the log was read.
#[derive(Debug, Default)]
pub struct Reading {
    /// Position and tag of the last entry.
    last: Option<(LogId, String)>,
    /// What was read.
    lines: Vec<Line>,
}

/// What is compared of an event; by the model, and as Redis keeps it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Picture {
    head: BTreeMap<&'static str, String>,
    inventory: String,
    holders: BTreeMap<SeatId, BookingId>,
    bookings: BTreeMap<BookingId, Booking>,
    users: BTreeMap<String, i64>,
    deadlines: BTreeMap<BookingId, i64>,
    leases: BTreeMap<BookingId, i64>,
    ended: BTreeMap<BookingId, i64>,
}

impl Run<'_> {
    /// Compares everything.
    pub async fn check(&mut self) -> Result<(), Difference> {
        self.check_log().await?;
        self.check_state().await?;
        self.check_records().await?;
        self.check_requests().await?;
        let Some(event) = self.sale.event.as_ref().filter(|event| event.open) else {
            return Ok(());
        };
        let view = replay(&self.read.lines, &event.opened_with);
        view.differs_from(event).map_or(Ok(()), |difference| Err(differs(difference)))
    }

    /// Reads what is new in the log: it must be the model's entries, in one chain.
    async fn check_log(&mut self) -> Result<(), Difference> {
        let engine = &self.stage.engine;
        let from = self.read.last.as_ref().map_or(LogId::default(), |last| last.0.next());
        let new = engine.range(self.partition(), from, None, u64::from(u32::MAX)).await?;
        for read in new {
            let entry =
                read.entry.map_err(|error| differs(format!("{error}: {:?}", read.fields)))?;
            let number = self.read.lines.len();
            let Some(expected) = self.sale.log.get(number) else {
                return Err(differs(format!("entry {number} is one too many: {entry:#?}")));
            };
            let before = self.read.last.clone().unwrap_or_default();
            if (entry.link.prev_id, &entry.link.prev_tag) != (before.0, &before.1) {
                return Err(differs(format!(
                    "entry {number} does not follow {before:?}: {entry:#?}"
                )));
            }
            let line = line(&entry, expected);
            if line != *expected || entry.link.tag.is_empty() {
                return Err(differs(format!(
                    "entry {number} is {line:#?}\ninstead of {expected:#?}"
                )));
            }
            self.read.last = Some((entry.id, entry.link.tag));
            self.read.lines.push(line);
        }
        match self.sale.log.get(self.read.lines.len()) {
            Some(missing) => Err(differs(format!("the log lacks {missing:#?}"))),
            None => Ok(()),
        }
    }

    async fn check_state(&self) -> Result<(), Difference> {
        let snapshot = self.stage.engine.snapshot(self.event.id, Detail::All).await?;
        let (Some(snapshot), Some(event)) = (&snapshot, &self.sale.event) else {
            let there = (snapshot.is_some(), self.sale.event.is_some());
            return same("the event's being there", &there.0, &there.1);
        };
        same("the newest entry", &snapshot.link, &self.read.last)?;
        self.check_marks(event).await?;
        let (redis, model) = (self.picture_of_redis(snapshot).await, picture(event));
        same("settings and counters", &redis.head, &model.head)?;
        same("the inventory", &redis.inventory, &model.inventory)?;
        same("holders", &redis.holders, &model.holders)?;
        same("bookings", &redis.bookings, &model.bookings)?;
        same("seats of users", &redis.users, &model.users)?;
        same("deadlines", &redis.deadlines, &model.deadlines)?;
        same("leases", &redis.leases, &model.leases)?;
        same("ends", &redis.ended, &model.ended)
    }

    /// A search begins at its section's mark: no seat below it may be free.
    async fn check_marks(&self, event: &EventState) -> Result<(), Difference> {
        let key = self.stage.engine.keys().event_keys(self.event.id)[0].clone();
        let fields = event.sections.iter().map(|section| format!("mark:{}", section.first));
        let marks = texts(self.stage.raw("HMGET", [key].into_iter().chain(fields).collect()).await);
        for (section, mark) in event.sections.iter().zip(marks) {
            // A section that was never searched has none.
            let mark = SeatId(mark.parse().unwrap_or(0));
            let below = event.seats().filter(|seat| section.has(*seat) && *seat < mark);
            let missed: Vec<SeatId> = below.filter(|seat| event.is_free(*seat)).collect();
            same("free seats below a mark", &missed, &Vec::new())?;
        }
        Ok(())
    }

    async fn picture_of_redis(&self, snapshot: &EventSnapshot) -> Picture {
        const FIELDS: [&str; 5] = ["layout", "status", "on_sale_at", "off_sale_at", "per_user"];
        let keys = self.stage.engine.keys().event_keys(self.event.id);
        let mut fields = vec![keys[0].clone()];
        fields.extend(FIELDS.map(str::to_owned));
        let values = texts(self.stage.raw("HMGET", fields).await);
        let mut head: BTreeMap<&str, String> = FIELDS.into_iter().zip(values).collect();
        head.extend([
            ("open", snapshot.open.to_string()),
            ("generation", snapshot.generation.to_string()),
            ("version", snapshot.version.to_string()),
            ("revision", snapshot.revision.to_string()),
            ("available", snapshot.available.to_string()),
            ("next_deadline", format!("{:?}", snapshot.next_deadline_ms)),
        ]);
        let inventory = snapshot.inventory.as_ref().map_or(&[][..], |i| &i.as_bytes()[1..]);
        Picture {
            head,
            inventory: String::from_utf8_lossy(inventory).into_owned(),
            holders: snapshot.holders.iter().copied().collect(),
            bookings: snapshot.bookings.iter().map(|b| (b.id, b.clone())).collect(),
            users: snapshot.users.iter().cloned().collect(),
            deadlines: self.scores(&keys, "deadlines").await,
            leases: self.scores(&keys, "leases").await,
            ended: self.scores(&keys, "ended").await,
        }
    }

    /// A sorted set of bookings.
    async fn scores(&self, keys: &[String], name: &str) -> BTreeMap<BookingId, i64> {
        let infix = format!(":{name}:");
        let key = keys.iter().find(|key| key.contains(&infix)).expect("a key of this name");
        let args = [key, "0", "-1", "WITHSCORES"].map(str::to_owned).to_vec();
        let flat = texts(self.stage.raw("ZRANGE", args).await);
        let pairs = flat.chunks(2).map(|pair| (pair[0].parse().unwrap(), pair[1].parse().unwrap()));
        pairs.collect()
    }

    async fn check_requests(&self) -> Result<(), Difference> {
        let keys = self.stage.engine.keys();
        let flat = texts(self.stage.raw("HGETALL", vec![keys.requests(self.event.id)]).await);
        let pairs = flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone()));
        let kept: BTreeMap<String, String> = pairs.collect();
        let requests = self.sale.event.iter().flat_map(|event| &event.requests);
        let expected = requests
            .map(|(digest, record)| {
                (digest.clone(), format!("{} {}", record.booking, record.fingerprint))
            })
            .collect();
        same("requests of bookings", &kept, &expected)
    }

    async fn check_records(&self) -> Result<(), Difference> {
        let keys = self.stage.engine.keys();
        let named: Vec<String> =
            self.sale.records.keys().map(|d| keys.idempotency(self.event.id, d)).collect();
        let Some(newest) = named.last().cloned() else { return Ok(()) };
        let kept = texts(self.stage.raw("MGET", named).await);
        let expected: Vec<String> = self
            .sale
            .records
            .values()
            .map(|record| format!("{} {}", record.booking, record.fingerprint))
            .collect();
        same("idempotency records", &kept, &expected)?;
        let ttl_ms = self.stage.raw("PTTL", vec![newest]).await.as_i64().unwrap_or_default();
        same("a record's life being bounded", &(1..=RECORD_TTL_MS).contains(&ttl_ms), &true)
    }
}

fn picture(event: &EventState) -> Picture {
    let deadlines = event.deadlines();
    let head = [
        ("open", event.open.to_string()),
        ("generation", event.generation.to_string()),
        ("version", event.version.to_string()),
        ("revision", event.operated.revision.to_string()),
        ("available", event.available().to_string()),
        ("next_deadline", format!("{:?}", deadlines.values().min())),
        ("layout", event.layout_version.to_string()),
        ("status", event.operated.status.as_str().to_owned()),
        ("on_sale_at", event.operated.on_sale_at_ms.to_string()),
        ("off_sale_at", event.operated.off_sale_at_ms.to_string()),
        ("per_user", event.per_user.to_string()),
    ];
    Picture {
        head: head.into_iter().collect(),
        inventory: event.inventory(),
        holders: event.holders.clone(),
        bookings: event.bookings.clone(),
        users: event.users(),
        deadlines,
        leases: event.leases(),
        ended: event.ended(),
    }
}

/// An entry as the model words it; the tag only where the model knows it.
fn line(entry: &Entry, expected: &Line) -> Line {
    Line {
        kind: entry.kind,
        event: entry.event,
        generation: entry.generation,
        event_version: entry.event_version,
        time_ms: entry.time_ms,
        transition: entry.transition.clone(),
        house: entry.house.clone(),
        detail: entry.detail.clone(),
        tag: expected.tag.as_ref().map(|_| entry.link.tag.clone()),
    }
}

fn same<T: PartialEq + Debug>(what: &str, redis: &T, model: &T) -> Result<(), Difference> {
    if redis == model {
        return Ok(());
    }
    Err(differs(format!("{what}: Redis has {redis:#?}\ninstead of {model:#?}")))
}

/// A list of texts and numbers; nil reads as nothing.
fn texts(value: Value) -> Vec<String> {
    let Value::Array(values) = value else { return Vec::new() };
    values.into_iter().map(|value| value.into_string().unwrap_or_default()).collect()
}
