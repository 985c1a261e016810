//! The scripts about whole events as typed calls: opening, changing, taking a snapshot.

use fred::types::Value;

use super::calls::{args, new_nonce, number};
use super::codes::Code;
use super::engine::Engine;
use super::error::RedisError;
use super::reply::{Answer, Body, integer, list, text, unexpected};
use super::scripts::Script;
use crate::domain::booking::format_seats;
use crate::domain::waiting_room::REFRESH_SECONDS_MAX;
use crate::domain::{Booking, BookingId, Event, EventId, Inventory, LogId, Partition, SeatId};

/// After the beginning of a sale was brought forward, for how long nobody in its waiting room misses
/// a turn, ms: the longest pause that anybody was asked to make, and some time to come.
const LENIENT_MS: i64 = (REFRESH_SECONDS_MAX as i64 + 10) * 1_000;

/// What became of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// Redis has the inventory, by the load of this token; it is not for sale yet.
    Loading {
        /// Names the load.
        token: String,
    },
    /// The event is open already and stays as it is.
    Open,
    /// Nothing was loaded.
    Refused(Code),
}

/// What the house does with seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockAction {
    /// Keeps them back from the sale.
    Block,
    /// Gives them back to it.
    Release,
}

impl BlockAction {
    /// The word in the script and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            BlockAction::Block => "block",
            BlockAction::Release => "release",
        }
    }
}

/// What `block` needs to know.
#[derive(Clone, Debug)]
pub struct BlockCall<'a> {
    /// The event as this process knows it.
    pub event: &'a Event,
    /// What to do.
    pub action: BlockAction,
    /// With which seats.
    pub seats: &'a [SeatId],
    /// Who does it.
    pub actor: &'a str,
    /// Why.
    pub reason: &'a str,
}

/// How much of an event a snapshot shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Counters only.
    Counts,
    /// Counters and the inventory.
    Seats,
    /// Everything.
    All,
}

/// One event at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct EventSnapshot {
    /// Redis' time, Unix ms.
    pub now_ms: i64,
    /// Whether it is open (else it is being loaded).
    pub open: bool,
    /// Its generation.
    pub generation: u64,
    /// Its version: raised by every log entry of this event.
    pub version: u64,
    /// Its settings' revision.
    pub revision: u64,
    /// What an operator says about its sale, a word of `EventStatus`.
    pub status: String,
    /// When holds begin, Unix ms; 0: at once.
    pub on_sale_at_ms: i64,
    /// When they end, Unix ms; 0: never.
    pub off_sale_at_ms: i64,
    /// Free seats by the counter.
    pub available: i64,
    /// Earliest hold deadline, Unix ms.
    pub next_deadline_ms: Option<i64>,
    /// Position and tag of the log's newest entry.
    pub link: Option<(LogId, String)>,
    /// Every seat's state; `None` for `Detail::Counts`.
    pub inventory: Option<Inventory>,
    /// Seat → booking, for `Detail::All`.
    pub holders: Vec<(SeatId, BookingId)>,
    /// Bookings, for `Detail::All`.
    pub bookings: Vec<Booking>,
    /// User → seats, for `Detail::All`.
    pub users: Vec<(String, i64)>,
}

impl Engine {
    /// `open_event`, phase `load`: writes the inventory, not yet for sale.
    pub async fn load_event(
        &self,
        event: &Event,
        inventory: &Inventory,
    ) -> Result<Load, RedisError> {
        // A letter first: the token is never taken for a number.
        let token = format!("t{}", new_nonce());
        let answer = self.open_event_phase(event, "load", &token, inventory.as_bytes()).await?;
        match (answer.code, answer.body) {
            (Code::Ok, Body::Raw(values)) => {
                Ok(Load::Loading { token: text(values.into_iter().next())? })
            }
            (Code::EventExists, _) => Ok(Load::Open),
            (code, _) => Ok(Load::Refused(code)),
        }
    }

    /// `open_event`, phase `open`: puts the load with this token on sale.
    pub async fn open_event(&self, event: &Event, token: &str) -> Result<Answer, RedisError> {
        self.open_event_phase(event, "open", token, &[]).await
    }

    async fn open_event_phase(
        &self,
        event: &Event,
        phase: &'static str,
        token: &str,
        inventory: &[u8],
    ) -> Result<Answer, RedisError> {
        let partition = self.keys().partition_of(event.id);
        let mut keys = self.keys().event_keys(event.id);
        keys.push(self.keys().events(partition));
        let nonce = new_nonce();
        self.mutate(Script::OpenEvent, partition, keys, |not_after| {
            let mut args = args![not_after.0];
            args.push(number(event.generation));
            args.extend(args![
                nonce.as_str(),
                phase,
                event.id.to_string(),
                i64::from(event.layout_version),
                event.status.as_str(),
                event.on_sale_at_ms.unwrap_or(0),
                event.hold_ttl_ms,
                event.max_hold_ms,
                i64::from(event.max_seats_per_user),
                i64::from(event.layout.total_seats()),
            ]);
            args.push(number(event.revision));
            args.push(Value::from(token));
            args.push(Value::from(section_starts(event)));
            args.push(Value::from(inventory));
            args.push(Value::from(event.off_sale_at_ms.unwrap_or(0)));
            args
        })
        .await
    }

    /// `update_event`: status and times, as MongoDB has them. Answers with the event's version.
    pub async fn update_event(&self, event: &Event) -> Result<Answer, RedisError> {
        let mut rest = vec![number(event.revision)];
        rest.extend(args![
            event.status.as_str(),
            event.on_sale_at_ms.unwrap_or(0),
            event.off_sale_at_ms.unwrap_or(0),
            LENIENT_MS,
        ]);
        let mut keys = self.keys().event_keys(event.id);
        keys.push(self.keys().named("room", event.id));
        let nonce = new_nonce();
        self.mutate_keys(Script::UpdateEvent, event.id, event.generation, keys, &nonce, rest).await
    }

    /// `block`: keeps seats back, or gives them back. Answers with the number that changed.
    pub async fn block(&self, call: &BlockCall<'_>) -> Result<Answer, RedisError> {
        let event = call.event;
        let mut rest = args![i64::from(event.layout_version)];
        rest.extend(args![call.action.as_str(), format_seats(call.seats), call.actor, call.reason]);
        let nonce = new_nonce();
        self.mutate_event(Script::Block, event.id, event.generation, &nonce, rest).await
    }

    /// `free_seats`: how many seats are free in each of these events, which share a partition; `None`
    /// where Redis does not have it open. The caller bounds the list.
    pub async fn free_seats(
        &self,
        partition: Partition,
        events: &[EventId],
    ) -> Result<Vec<Option<u32>>, RedisError> {
        let keys = events.iter().map(|event| self.keys().named("event", *event)).collect();
        let answer = self.run(Script::FreeSeats, partition, keys, Vec::new()).await?;
        let counts = answer.numbers()?;
        if counts.len() != events.len() {
            return Err(unexpected(format!("{} counts of {} events", counts.len(), events.len())));
        }
        // -1: it is not open.
        Ok(counts.into_iter().map(|count| u32::try_from(count).ok()).collect())
    }

    /// `snapshot`: one event at one instant; `None` if Redis does not have it.
    pub async fn snapshot(
        &self,
        event: EventId,
        detail: Detail,
    ) -> Result<Option<EventSnapshot>, RedisError> {
        let word = match detail {
            Detail::Counts => "counts",
            Detail::Seats => "seats",
            Detail::All => "all",
        };
        let keys = self.keys().event_keys(event);
        let partition = self.keys().partition_of(event);
        let answer = self.run(Script::Snapshot, partition, keys, args![word]).await?;
        match answer.body {
            Body::Raw(values) => parse_snapshot(answer.now_ms, values).map(Some),
            _ => Ok(None),
        }
    }
}

/// The first seats of all sections, ascending, in the seven digits that every seat fits into.
fn section_starts(event: &Event) -> String {
    event.layout.section_ranges().iter().map(|(_, first, _)| format!("{:07}", first.0)).collect()
}

fn parse_snapshot(now_ms: i64, values: Vec<Value>) -> Result<EventSnapshot, RedisError> {
    let mut values = values.into_iter();
    let open = text(values.next())? == "open";
    let mut next = || integer(&values.next().unwrap_or(Value::Null));
    let (generation, version, _layout, revision) = (next()?, next()?, next()?, next()?);
    let (available, next_deadline_ms) = (next()?, next()?);
    let link = match text(values.next())?.split_once(' ') {
        Some((id, tag)) => {
            let id = id.parse().map_err(|_| unexpected(format!("log position {id:?}")))?;
            Some((id, tag.to_owned()))
        }
        None => None,
    };
    let bytes = values.next().and_then(|value| value.into_owned_bytes()).unwrap_or_default();
    let inventory = match bytes.is_empty() {
        true => None,
        false => Some(Inventory::from_bytes(bytes).map_err(|e| unexpected(e.to_string()))?),
    };
    let mut bookings = Vec::new();
    let holders = pairs(list(values.next())?, |seat, booking| {
        Some((SeatId(seat.parse().ok()?), booking.parse().ok()?))
    })?;
    for (id, record) in pairs(list(values.next())?, |id, record| {
        Some((id.parse::<BookingId>().ok()?, record.to_owned()))
    })? {
        let booking = Booking::from_record(id, &record)
            .map_err(|e| unexpected(format!("booking {id}: {e}")))?;
        bookings.push(booking);
    }
    let users =
        pairs(list(values.next())?, |user, count| Some((user.to_owned(), count.parse().ok()?)))?;
    let status = text(values.next())?;
    let mut time = || integer(&values.next().unwrap_or(Value::Null));
    let (on_sale_at_ms, off_sale_at_ms) = (time()?, time()?);
    Ok(EventSnapshot {
        now_ms,
        open,
        generation: generation as u64,
        version: version as u64,
        revision: revision as u64,
        status,
        on_sale_at_ms,
        off_sale_at_ms,
        available,
        next_deadline_ms: (next_deadline_ms >= 0).then_some(next_deadline_ms),
        link,
        inventory,
        holders,
        bookings,
        users,
    })
}

/// Reads a flat list of pairs.
fn pairs<T>(
    values: Vec<Value>,
    read: impl Fn(&str, &str) -> Option<T>,
) -> Result<Vec<T>, RedisError> {
    values
        .chunks(2)
        .map(|pair| {
            let (first, second) = (pair[0].as_str(), pair.get(1).and_then(|value| value.as_str()));
            match (first, second) {
                (Some(first), Some(second)) => read(&first, &second),
                _ => None,
            }
            .ok_or_else(|| unexpected(format!("pair {pair:?}")))
        })
        .collect()
}
