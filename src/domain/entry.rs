//! A booking-log entry: one state change, self-contained, linked to its predecessor.
//!
//! An entry is one line of tab-separated values: those of [`ENTRY_HEAD`], then a booking's id and record
//! or a house block's actor and seats, depending on the kind, then the detail, which may have tabs.

use std::str::FromStr;

use super::booking::{Booking, RECORD_FIELDS, RecordError, Status, number, parse_seats};
use super::ids::{BookingId, EventId, SeatId, UserId};

/// The entry format this build reads and writes.
pub const ENTRY_FORMAT: &str = "2";

/// The field of the stream's entry that has the line.
pub const ENTRY_FIELD: &str = "entry";

/// The names of the values that every entry's line begins with, in order. The Lua side is
/// `includes/append_entry.lua`; the contract test compares both.
pub const ENTRY_HEAD: [&str; 8] =
    ["v", "kind", "event", "generation", "event_version", "time", "tag", "previous"];

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// When its sale was confirmed, Unix ms, or 0.
    pub confirmed_ms: i64,
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

/// What follows an entry's head, before its detail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    None,
    Booking,
    House,
}

impl Kind {
    fn body(self) -> Body {
        match self {
            Kind::Beat | Kind::Opened | Kind::Event | Kind::Unloaded => Body::None,
            Kind::Blocked | Kind::Unblocked => Body::House,
            _ => Body::Booking,
        }
    }
}

impl Link {
    /// The link of a line, also of one that is unreadable otherwise.
    pub fn of_line(line: &str) -> Option<Link> {
        let mut values = line.split('\t').skip(ENTRY_HEAD.len() - 2);
        Link::new(values.next()?, values.next()?).ok()
    }

    fn new(tag: &str, previous: &str) -> Result<Link, RecordError> {
        let tag = tag.to_owned();
        if previous.is_empty() {
            return Ok(Link { tag, ..Link::default() });
        }
        let (id, prev_tag) = previous.split_once(' ').ok_or(RecordError("previous"))?;
        Ok(Link { tag, prev_id: id.parse()?, prev_tag: prev_tag.to_owned() })
    }
}

impl Entry {
    /// Parses an entry's line; refuses an entry that this build cannot read completely.
    pub fn parse(id: LogId, line: &str) -> Result<Self, RecordError> {
        let (head, rest) = split_off::<{ ENTRY_HEAD.len() }>(line, &ENTRY_HEAD)?;
        let [format, kind, event, generation, event_version, time, tag, previous] = head;
        if format != ENTRY_FORMAT {
            return Err(RecordError("v"));
        }
        let kind: Kind = kind.parse()?;
        let event = match kind {
            Kind::Beat => None,
            _ => Some(EventId(number(event, "event")?)),
        };
        let (mut transition, mut house, mut detail) = (None, None, rest);
        match kind.body() {
            Body::None => {}
            Body::Booking => {
                let (booking, record, after) = split_booking(rest)?;
                let booking = booking.parse().map_err(|_| RecordError("booking"))?;
                transition = Some(Transition::of(Booking::from_record(booking, record)?)?);
                detail = after;
            }
            Body::House => {
                let ([actor, seats], after) = split_off(rest, &["actor", "seats"])?;
                house = Some(HouseBlock { seats: parse_seats(seats)?, actor: actor.to_owned() });
                detail = after;
            }
        }
        if let (Some(event), Some(transition)) = (event, &transition)
            && transition.booking.event() != event
        {
            return Err(RecordError("booking"));
        }
        Ok(Entry {
            id,
            kind,
            event,
            generation: number(generation, "generation")?,
            event_version: number(event_version, "event_version")?,
            time_ms: number(time, "time")?,
            transition,
            house,
            detail: detail.to_owned(),
            link: Link::new(tag, previous)?,
        })
    }

    /// The values of a line with their names, for people; of an unreadable line, as far as it has them.
    pub fn named_values(line: &str) -> Vec<(&'static str, &str)> {
        let kind = line.split('\t').nth(1).and_then(|kind| Kind::from_str(kind).ok());
        let body: &[&str] = match kind.map(Kind::body) {
            Some(Body::Booking) => &RECORD_FIELDS,
            Some(Body::House) => &["actor", "seats"],
            Some(Body::None) | None => &[],
        };
        let booking = (kind.map(Kind::body) == Some(Body::Booking)).then_some("booking");
        let names = ENTRY_HEAD.iter().chain(&booking).chain(body).chain(&["detail"]);
        let names: Vec<&'static str> = names.copied().collect();
        names.iter().copied().zip(line.splitn(names.len(), '\t')).collect()
    }

    /// Whether `next` directly follows this entry; otherwise there is a gap or a fork.
    pub fn is_followed_by(&self, next: &Entry) -> bool {
        next.link.prev_id == self.id && next.link.prev_tag == self.link.tag
    }
}

/// Splits the first values off a line; returns them and what follows.
fn split_off<'a, const N: usize>(
    line: &'a str,
    names: &[&'static str; N],
) -> Result<([&'a str; N], &'a str), RecordError> {
    let (mut values, mut rest) = ([""; N], line);
    for (value, name) in values.iter_mut().zip(names) {
        (*value, rest) = rest.split_once('\t').ok_or(RecordError(name))?;
    }
    Ok((values, rest))
}

/// Splits a booking's id and its record off; returns them and what follows.
fn split_booking(text: &str) -> Result<(&str, &str, &str), RecordError> {
    let (id, rest) = text.split_once('\t').ok_or(RecordError("booking"))?;
    let end = rest.match_indices('\t').nth(RECORD_FIELDS.len() - 1);
    let end = end.ok_or(RecordError("record"))?.0;
    Ok((id, &rest[..end], &rest[end + 1..]))
}

impl Transition {
    /// The booking, with the fields that an entry has.
    pub fn to_booking(&self) -> Booking {
        let t = self.clone();
        Booking {
            id: t.booking,
            status: t.status,
            version: t.version,
            user: t.user,
            seats: t.seats,
            amount: t.amount,
            currency: t.currency,
            created_ms: t.created_ms,
            deadline_ms: t.deadline_ms,
            nonce: String::new(),
            lease: t.lease,
            lease_until_ms: 0,
            payment: t.payment,
            paid_ms: t.paid_ms,
            confirmed_ms: t.confirmed_ms,
            ended_ms: 0,
            idempotency: t.idempotency,
            fingerprint: t.fingerprint,
            trace: t.trace,
        }
    }

    fn of(booking: Booking) -> Result<Self, RecordError> {
        if booking.seats.is_empty() {
            return Err(RecordError("seats"));
        }
        Ok(Transition {
            booking: booking.id,
            user: booking.user,
            seats: booking.seats,
            status: booking.status,
            version: booking.version,
            amount: booking.amount,
            currency: booking.currency,
            created_ms: booking.created_ms,
            deadline_ms: booking.deadline_ms,
            lease: booking.lease,
            payment: booking.payment,
            paid_ms: booking.paid_ms,
            confirmed_ms: booking.confirmed_ms,
            idempotency: booking.idempotency,
            fingerprint: booking.fingerprint,
            trace: booking.trace,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: &str) -> String {
        let booking = BookingId::new(EventId(7), 1, 2);
        let head = format!("2\t{kind}\t7\t1\t5\t10\tt2\t9-0 t1\t");
        match Kind::from_str(kind).unwrap().body() {
            Body::None => format!("{head}detail"),
            Body::House => format!("{head}ann\t3,4\tbroken\tseats"),
            Body::Booking => format!(
                "{head}{booking}\t1\tHOLD\t1\tann\t3,4\t900\tEUR\t10\t20\tn\t0\t0\t\t0\t0\t0\tk\tf\t\tlate"
            ),
        }
    }

    #[test]
    fn every_kind_is_parsed() {
        for (index, (kind, word)) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            let entry = Entry::parse(LogId { ms: 1, seq: 0 }, &line(word)).unwrap();
            assert_eq!((entry.kind, entry.generation, entry.event_version), (kind, 1, 5));
            let link =
                Link { tag: "t2".into(), prev_id: LogId { ms: 9, seq: 0 }, prev_tag: "t1".into() };
            assert_eq!((&entry.link, Link::of_line(&line(word))), (&link, Some(link.clone())));
            match kind.body() {
                Body::None => assert_eq!(entry.detail, "detail"),
                Body::House => {
                    let house =
                        HouseBlock { seats: vec![SeatId(3), SeatId(4)], actor: "ann".into() };
                    assert_eq!(
                        (entry.house, entry.detail.as_str()),
                        (Some(house), "broken\tseats")
                    );
                }
                Body::Booking => {
                    let transition = entry.transition.unwrap();
                    assert_eq!(transition.seats, [SeatId(3), SeatId(4)]);
                    assert_eq!((transition.amount, entry.detail.as_str()), (900, "late"));
                }
            }
        }
    }

    #[test]
    fn incomplete_or_foreign_entry_is_refused() {
        let whole = line("hold");
        for (cut, _) in whole.match_indices('\t') {
            assert!(Entry::parse(LogId::default(), &whole[..cut]).is_err(), "{}", &whole[..cut]);
        }
        let parse = |line: &str| Entry::parse(LogId::default(), line);
        assert_eq!(parse(&whole.replace("\t7\t1\t5", "\t8\t1\t5")), Err(RecordError("booking")));
        assert_eq!(parse(&whole.replacen('2', "1", 1)), Err(RecordError("v")));
        assert_eq!(parse(&whole.replace("3,4", "")), Err(RecordError("seats")));
        assert_eq!(parse(&whole.replace("9-0 t1", "9-0")), Err(RecordError("previous")));
        assert_eq!(parse(""), Err(RecordError("v")));
    }

    #[test]
    fn values_of_a_line_have_names() {
        let hold = line("hold");
        let named = Entry::named_values(&hold);
        assert_eq!(named.len(), ENTRY_HEAD.len() + 1 + RECORD_FIELDS.len() + 1);
        for pair in [("kind", "hold"), ("user", "ann"), ("fingerprint", "f"), ("detail", "late")] {
            assert!(named.contains(&pair), "{pair:?}");
        }
        assert_eq!(Entry::named_values("2\tnap"), [("v", "2"), ("kind", "nap")]);
        assert_eq!(Entry::named_values("2\thold\t7").last(), Some(&("event", "7")));
    }
}
