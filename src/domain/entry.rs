//! A booking-log entry: one state change, self-contained, linked to its predecessor.
//!
//! Every entry has the same fields in the same order (Redis then stores the names once per block), so
//! a `beat` has empty ones.

use std::collections::HashMap;
use std::str::FromStr;

use super::booking::{RecordError, Status, number, parse_seats};
use super::ids::{BookingId, EventId, SeatId, UserId};

/// The entry format this build reads and writes.
pub const ENTRY_FORMAT: &str = "1";

/// The names of an entry's fields, in order. The Lua side is `includes/append_entry.lua`; the
/// contract test compares both.
pub const ENTRY_FIELDS: [&str; 25] = [
    "v",
    "kind",
    "event",
    "booking",
    "user",
    "seats",
    "status",
    "version",
    "amount",
    "currency",
    "created",
    "deadline",
    "time",
    "generation",
    "event_version",
    "lease",
    "payment",
    "paid",
    "idempotency",
    "fingerprint",
    "trace",
    "detail",
    "tag",
    "prev_id",
    "prev_tag",
];

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No change: shows that the log is alive.
    Beat,
    /// An event was opened for sale. `detail` is its status.
    Opened,
    /// An event's status or times changed. `detail` is `status on_sale_at_ms off_sale_at_ms`; entries
    /// of before sales had an end lack the last.
    Event,
    /// Seats were taken.
    Hold,
    /// A hold's deadline moved.
    Extend,
    /// A payment began.
    ConfirmBegin,
    /// A payment ended without a sale.
    ConfirmAbort,
    /// Seats were sold: the only kind that makes claims. With detail `late` the booking had lapsed or
    /// was lost, and took its seats again.
    Sold,
    /// The archive confirmed the sale.
    Confirmed,
    /// The archive refused the sale.
    Voided,
    /// Cancelled by its owner, or undone because its reply was lost (`detail` is `abort`).
    Cancelled,
    /// The deadline passed.
    Expired,
    /// The house withholds seats. `detail` is the reason.
    Blocked,
    /// The house releases seats to the sale. `detail` is the reason.
    Unblocked,
    /// A closed event was unloaded from Redis. `detail` is its status.
    Unloaded,
    /// Redis had lost a booking, or a part of its history: from here on this state is valid.
    Restored,
}

/// Kind and name, in enum order.
pub const KINDS: [(Kind, &str); 16] = [
    (Kind::Beat, "beat"),
    (Kind::Opened, "opened"),
    (Kind::Event, "event"),
    (Kind::Hold, "hold"),
    (Kind::Extend, "extend"),
    (Kind::ConfirmBegin, "confirm_begin"),
    (Kind::ConfirmAbort, "confirm_abort"),
    (Kind::Sold, "sold"),
    (Kind::Confirmed, "confirmed"),
    (Kind::Voided, "voided"),
    (Kind::Cancelled, "cancelled"),
    (Kind::Expired, "expired"),
    (Kind::Blocked, "blocked"),
    (Kind::Unblocked, "unblocked"),
    (Kind::Unloaded, "unloaded"),
    (Kind::Restored, "restored"),
];

impl Kind {
    /// The name in the log.
    pub fn as_str(self) -> &'static str {
        KINDS[self as usize].1
    }
}

impl FromStr for Kind {
    type Err = RecordError;
    fn from_str(word: &str) -> Result<Self, RecordError> {
        KINDS.iter().find(|row| row.1 == word).map(|row| row.0).ok_or(RecordError("kind"))
    }
}

/// A position in a booking log: the stream's entry id. Positions of different partitions, or from
/// before and after a failover, may be equal and mean different entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId {
    /// Milliseconds part.
    pub ms: u64,
    /// Sequence part.
    pub seq: u64,
}

impl LogId {
    /// The smallest greater position.
    pub fn next(self) -> Self {
        match self.seq.checked_add(1) {
            Some(seq) => LogId { ms: self.ms, seq },
            None => LogId { ms: self.ms + 1, seq: 0 },
        }
    }
}

impl std::fmt::Display for LogId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for LogId {
    type Err = RecordError;
    fn from_str(text: &str) -> Result<Self, RecordError> {
        let (ms, seq) = text.split_once('-').ok_or(RecordError("log id"))?;
        Ok(LogId { ms: number(ms, "log id")?, seq: number(seq, "log id")? })
    }
}

/// The link of an entry to its predecessor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// This entry's random tag.
    pub tag: String,
    /// The predecessor's position; `0-0` for the first entry.
    pub prev_id: LogId,
    /// The predecessor's tag; empty for the first entry.
    pub prev_tag: String,
}

/// The booking of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The booking.
    pub booking: BookingId,
    /// Its owner.
    pub user: UserId,
    /// Its seats, ascending.
    pub seats: Vec<SeatId>,
    /// Its status after the transition.
    pub status: Status,
    /// Its version after the transition.
    pub version: u64,
    /// Total price, minor units.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// When the booking was made, Unix ms.
    pub created_ms: i64,
    /// When its hold lapses, Unix ms.
    pub deadline_ms: i64,
    /// Number of its confirmation lease.
    pub lease: u64,
    /// The provider's payment object, or empty.
    pub payment: String,
    /// When it was paid, Unix ms, or 0.
    pub paid_ms: i64,
    /// Digest naming its idempotency record.
    pub idempotency: String,
    /// Fingerprint of the request that created it.
    pub fingerprint: String,
    /// Trace context of the request that created it.
    pub trace: String,
}

/// Seats that the house withheld or released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HouseBlock {
    /// The seats whose state changed, as they were named.
    pub seats: Vec<SeatId>,
    /// The actor.
    pub actor: String,
}

/// One entry of the booking log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position.
    pub id: LogId,
    /// Its kind.
    pub kind: Kind,
    /// The event; `None` for a beat.
    pub event: Option<EventId>,
    /// The event's generation, 0 for a beat.
    pub generation: u64,
    /// The event's version after this entry, 0 for a beat.
    pub event_version: u64,
    /// Its time by Redis' clock, Unix ms.
    pub time_ms: i64,
    /// The booking's state; `None` for kinds without a booking.
    pub transition: Option<Transition>,
    /// The house's part, for `Blocked` and `Unblocked`.
    pub house: Option<HouseBlock>,
    /// A reason, or details of the kind.
    pub detail: String,
    /// Its link to the predecessor.
    pub link: Link,
}

impl Entry {
    /// Parses an entry's fields; refuses an entry that this build cannot read completely.
    pub fn from_fields(id: LogId, fields: &HashMap<String, String>) -> Result<Self, RecordError> {
        let get =
            |name: &'static str| fields.get(name).map(String::as_str).ok_or(RecordError(name));
        if get("v")? != ENTRY_FORMAT {
            return Err(RecordError("v"));
        }
        let kind: Kind = get("kind")?.parse()?;
        let event = match kind {
            Kind::Beat => None,
            _ => Some(EventId(number(get("event")?, "event")?)),
        };
        let transition = match kind {
            Kind::Beat | Kind::Opened | Kind::Event | Kind::Unloaded => None,
            Kind::Blocked | Kind::Unblocked => None,
            _ => Some(transition(&get)?),
        };
        let house = match kind {
            Kind::Blocked | Kind::Unblocked => {
                let actor = get("user")?.to_owned();
                Some(HouseBlock { seats: parse_seats(get("seats")?)?, actor })
            }
            _ => None,
        };
        if let (Some(event), Some(transition)) = (event, &transition)
            && transition.booking.event() != event
        {
            return Err(RecordError("booking"));
        }
        let empty_is_zero = |text: &str| if text.is_empty() { "0" } else { text }.to_owned();
        Ok(Entry {
            id,
            kind,
            event,
            generation: number(&empty_is_zero(get("generation")?), "generation")?,
            event_version: number(&empty_is_zero(get("event_version")?), "event_version")?,
            time_ms: number(get("time")?, "time")?,
            transition,
            house,
            detail: get("detail")?.to_owned(),
            link: Link {
                tag: get("tag")?.to_owned(),
                prev_id: get("prev_id")?.parse()?,
                prev_tag: get("prev_tag")?.to_owned(),
            },
        })
    }

    /// Whether `next` directly follows this entry; otherwise there is a gap or a fork.
    pub fn is_followed_by(&self, next: &Entry) -> bool {
        next.link.prev_id == self.id && next.link.prev_tag == self.link.tag
    }
}

fn transition<'a>(
    get: &impl Fn(&'static str) -> Result<&'a str, RecordError>,
) -> Result<Transition, RecordError> {
    let seats = parse_seats(get("seats")?)?;
    if seats.is_empty() {
        return Err(RecordError("seats"));
    }
    Ok(Transition {
        booking: get("booking")?.parse().map_err(|_| RecordError("booking"))?,
        user: get("user")?.parse().map_err(|_| RecordError("user"))?,
        seats,
        status: get("status")?.parse()?,
        version: number(get("version")?, "version")?,
        amount: number(get("amount")?, "amount")?,
        currency: get("currency")?.to_owned(),
        created_ms: number(get("created")?, "created")?,
        deadline_ms: number(get("deadline")?, "deadline")?,
        lease: number(get("lease")?, "lease")?,
        payment: get("payment")?.to_owned(),
        paid_ms: number(get("paid")?, "paid")?,
        idempotency: get("idempotency")?.to_owned(),
        fingerprint: get("fingerprint")?.to_owned(),
        trace: get("trace")?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(kind: &str) -> HashMap<String, String> {
        let booking = BookingId::new(EventId(7), 1, 2).to_string();
        let values = [
            "1", kind, "7", &booking, "ann", "3,4", "HOLD", "1", "900", "EUR", "10", "20", "10",
            "1", "5", "0", "", "0", "k", "f", "", "", "t1", "0-0", "",
        ];
        let names = ENTRY_FIELDS.iter().map(|name| name.to_string());
        names.zip(values.map(str::to_owned)).collect()
    }

    #[test]
    fn every_kind_is_parsed() {
        for (index, (kind, word)) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            let entry = Entry::from_fields(LogId { ms: 1, seq: 0 }, &fields(word)).unwrap();
            assert_eq!(entry.kind, kind);
        }
    }

    #[test]
    fn incomplete_or_foreign_entry_is_refused() {
        for name in ENTRY_FIELDS {
            let mut broken = fields("hold");
            broken.remove(name);
            assert_eq!(Entry::from_fields(LogId::default(), &broken), Err(RecordError(name)));
        }
        let mut foreign = fields("hold");
        foreign.insert("event".into(), "8".into());
        let error = Entry::from_fields(LogId::default(), &foreign);
        assert_eq!(error, Err(RecordError("booking")));
    }
}
