//! The `room_*` scripts as typed calls. What each guarantees stands in its header under `lua/`.

use fred::types::Value;

use super::calls::{args, number};
use super::codes::Code;
use super::engine::Engine;
use super::error::RedisError;
use super::reply::{Answer, Body, integer, text, unexpected};
use super::scripts::Script;
use crate::domain::{DrawState, EventId, Floors, RoomSettings, RoomState, UserId, YoungBatch};

/// Shortest time between two batches of a room, ms: the places of many ends of sessions are opened
/// together.
const BATCH_EVERY_MS_MIN: u64 = 200;
/// Batches that a room's books keep: those that may be claimed, and those of the last minute where
/// a cap on it is set.
const BATCHES_MAX: u64 = 128;
/// Of these, how many a claim window or a minute is divided into.
const BATCHES_A_SPAN: u64 = 100;
/// People who are owed a place and may claim at the same time.
const LATE_MAX: i64 = 1_000;
/// Ended sessions that one call removes.
const ENDED_BATCH: i64 = 1_000;
/// Given-up numbers that are kept to be told to the other processes.
const LEAVERS_KEPT: i64 = 1_000;
/// Batches that a look tells of: those opened within this time, ms. A batch is told by several
/// looks.
const YOUNG_MS: i64 = 5_000;
const MINUTE_MS: u64 = 60_000;

/// The scripts with the keys they declare, by the names in their headers; the contract test
/// compares them.
pub const ROOM_KEYS: [(Script, &[&str]); 7] = [
    (
        Script::RoomAdmit,
        &[
            "event",
            "deadlines",
            "leases",
            "room",
            "room_numbers",
            "room_sessions",
            "room_owed",
            "room_left",
        ],
    ),
    (Script::RoomClaim, &["room", "room_numbers", "room_sessions", "room_owed"]),
    (
        Script::RoomConfigure,
        &["room", "room_numbers", "room_sessions", "room_owed", "room_left", "room_leavers"],
    ),
    (Script::RoomDraw, &["event", "room"]),
    (
        Script::RoomJoin,
        &["event", "deadlines", "leases", "room", "room_numbers", "room_sessions", "room_owed"],
    ),
    (
        Script::RoomLeave,
        &["room", "room_numbers", "room_sessions", "room_owed", "room_left", "room_leavers"],
    ),
    (
        Script::RoomLook,
        &[
            "event",
            "deadlines",
            "leases",
            "room",
            "room_sessions",
            "room_owed",
            "room_left",
            "room_leavers",
        ],
    ),
];

/// Somebody's place in a room, as a valid token and the draw tell it.
#[derive(Clone, Copy, Debug)]
pub struct RoomPlace<'a> {
    /// Whose it is.
    pub user: &'a UserId,
    /// The number in the token.
    pub number: u64,
    /// Where its owner stands.
    pub place: u64,
    /// When the token was signed, Unix ms.
    pub issued_ms: i64,
}

/// What a room goes by, as MongoDB has it.
#[derive(Clone, Debug)]
pub struct RoomConfiguration<'a> {
    /// Revision of all of it.
    pub revision: u64,
    /// What operators set.
    pub settings: &'a RoomSettings,
    /// `None`, `Gathering` or `Fixed`.
    pub draw: DrawState,
    /// How many are in the draw, once it is fixed.
    pub draw_joined: u64,
    /// The draw's commitment: the running hash of the joins begins with it.
    pub commitment: &'a str,
    /// How long a room that is off is kept, ms.
    pub keep_ms: u64,
}

/// What became of a wish to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// This number is the user's; given now, or before.
    Number {
        /// The number.
        number: u64,
        /// What is known now.
        floors: Floors,
        /// The revision of the room's settings that Redis goes by.
        revision: u64,
    },
    /// The user has this number, which was drawn: its place is to be told in another call.
    PlaceNeeded(u64),
    /// None was given, for this reason: `RoomOff`, `RoomOpen`, `RoomRejects`, `SoldOut`,
    /// `EventClosed` or `EventNotLoaded`.
    Refused(Code),
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The session lives until then, Unix ms; with renewals until `cap_ms` at most.
    Session {
        /// Its end.
        ends_ms: i64,
        /// Its latest end.
        cap_ms: i64,
        /// Redis' time, Unix ms.
        now_ms: i64,
        /// What is known now.
        floors: Floors,
    },
    /// The place is not served yet.
    Waiting(Floors),
    /// The place is owed; so many are owed one before.
    Owed {
        /// How many.
        before: u64,
        /// What is known now.
        floors: Floors,
    },
    /// There is no session: `SessionEnded`, `PlaceGivenUp`, `PlaceLapsed`, `NumberSuperseded`,
    /// `RoomOff`, `RoomOpen` or `RoomRejects`.
    Refused(Code),
}

/// What a look of the admitter did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// Places it opened.
    pub opened: u64,
    /// What is known now.
    pub floors: Floors,
    /// Live sessions.
    pub live: u64,
    /// Unclaimed places, the new ones too.
    pub unclaimed: u64,
    /// People who are owed a place.
    pub owed: u64,
}

impl Engine {
    async fn room(
        &self,
        script: Script,
        event: EventId,
        rest: Vec<Value>,
    ) -> Result<Answer, RedisError> {
        let names = ROOM_KEYS.iter().find(|row| row.0 == script).map_or(&[][..], |row| row.1);
        let keys = names.iter().map(|name| self.keys().named(name, event)).collect();
        let partition = self.keys().partition_of(event);
        let answer = self
            .mutate(script, partition, keys, |not_after| {
                let mut args = args![not_after.0];
                args.extend(rest.iter().cloned());
                args
            })
            .await?;
        if answer.code == Code::TooLate {
            return Err(RedisError::NotRun("the waiting room was asked too late".into()));
        }
        Ok(answer)
    }

    /// `room_configure`: brings what MongoDB has into Redis; false if Redis had it, or newer.
    ///
    /// # Errors
    /// If the call did not run, or nobody knows whether it did: it can be made again.
    pub async fn room_configure(
        &self,
        event: EventId,
        room: &RoomConfiguration<'_>,
        floors: Floors,
    ) -> Result<bool, RedisError> {
        let s = room.settings;
        let surge = match s.surge {
            surge if surge.automatic => format!(
                "{} {} {} {}",
                surge.on_per_second, surge.on_after_ms, surge.off_per_second, surge.off_after_ms
            ),
            _ => String::new(),
        };
        let mut rest = vec![number(room.revision)];
        rest.extend(args![i64::from(s.on), s.method.as_str()]);
        rest.extend([s.max_concurrent, s.per_minute].map(|value| Value::from(i64::from(value))));
        rest.extend([s.session_ms, s.session_cap_ms].map(number));
        rest.push(Value::from(i64::from(s.renews)));
        rest.push(number(s.claim_ms));
        rest.extend(args![surge, room.draw.as_str()]);
        rest.push(number(room.draw_joined));
        rest.push(Value::from(room.commitment));
        rest.extend([floors.joined, floors.served, room.keep_ms].map(number));
        let answer = self.room(Script::RoomConfigure, event, rest).await?;
        Ok(answer.code == Code::Ok)
    }

    /// `room_join`: a number for a user. `known` is a number and its place, after `PlaceNeeded`.
    ///
    /// # Errors
    /// If the call did not run, or nobody knows whether it did: it can be made again.
    pub async fn room_join(
        &self,
        event: EventId,
        user: &UserId,
        known: Option<(u64, u64)>,
        floors: Floors,
    ) -> Result<Joined, RedisError> {
        let (known_number, known_place) = known.unwrap_or_default();
        let mut rest = args![user.as_str()];
        rest.extend([known_number, known_place, floors.joined, floors.served].map(number));
        let answer = self.room(Script::RoomJoin, event, rest).await?;
        let numbers = answer.numbers()?;
        let at = |index: usize| unsigned(numbers.get(index).copied().unwrap_or_default());
        Ok(match answer.code {
            Code::Ok | Code::Replayed => Joined::Number {
                number: at(0)?,
                floors: Floors { joined: at(1)?, served: at(2)? },
                revision: at(3)?,
            },
            Code::PlaceNeeded => Joined::PlaceNeeded(at(0)?),
            code => Joined::Refused(code),
        })
    }

    /// `room_claim`: a session for a place that is served.
    ///
    /// # Errors
    /// If the call did not run, or nobody knows whether it did: it can be made again.
    pub async fn room_claim(
        &self,
        event: EventId,
        place: RoomPlace<'_>,
        floors: Floors,
    ) -> Result<Claimed, RedisError> {
        let mut rest = args![place.user.as_str()];
        rest.extend([place.number, place.place].map(number));
        rest.push(Value::from(place.issued_ms));
        rest.extend([floors.joined, floors.served].map(number));
        let answer = self.room(Script::RoomClaim, event, rest).await?;
        let numbers = answer.numbers()?;
        let at = |index: usize| numbers.get(index).copied().unwrap_or_default();
        let floors = |index| -> Result<Floors, RedisError> {
            Ok(Floors { joined: unsigned(at(index))?, served: unsigned(at(index + 1))? })
        };
        Ok(match answer.code {
            Code::Ok => Claimed::Session {
                ends_ms: at(0),
                cap_ms: at(1),
                now_ms: answer.now_ms,
                floors: floors(2)?,
            },
            Code::Waiting => Claimed::Waiting(floors(0)?),
            Code::Owed => Claimed::Owed { before: unsigned(at(0))?, floors: floors(1)? },
            code => Claimed::Refused(code),
        })
    }

    /// `room_leave`: gives a place or a session up; false if it was not there any more.
    ///
    /// # Errors
    /// If the call did not run, or nobody knows whether it did: it can be made again.
    pub async fn room_leave(
        &self,
        event: EventId,
        place: RoomPlace<'_>,
        floors: Floors,
    ) -> Result<(bool, Floors), RedisError> {
        let mut rest = args![place.user.as_str()];
        rest.extend([place.number, place.place, floors.joined, floors.served].map(number));
        rest.push(Value::from(LEAVERS_KEPT));
        let answer = self.room(Script::RoomLeave, event, rest).await?;
        let floors =
            Floors { joined: unsigned(answer.number(0))?, served: unsigned(answer.number(1))? };
        Ok((answer.code == Code::Ok, floors))
    }

    /// `room_admit`: opens as many places as may be open, `places_max` and what the room's
    /// settings say at most; `None` if the room is off or its event not in Redis.
    ///
    /// # Errors
    /// If the call did not run, or nobody knows whether it did: it can be made again.
    pub async fn room_admit(
        &self,
        event: EventId,
        settings: &RoomSettings,
        places_max: u32,
        floors: Floors,
    ) -> Result<Option<Admitted>, RedisError> {
        let span_ms = match settings.per_minute {
            0 => settings.claim_ms,
            _ => settings.claim_ms.max(MINUTE_MS),
        };
        let batch_every_ms = BATCH_EVERY_MS_MIN.max(span_ms / BATCHES_A_SPAN);
        let mut rest = args![i64::from(places_max)];
        rest.extend([floors.joined, floors.served, batch_every_ms, BATCHES_MAX].map(number));
        rest.extend(args![LATE_MAX, ENDED_BATCH]);
        let answer = self.room(Script::RoomAdmit, event, rest).await?;
        if !matches!(answer.code, Code::Ok | Code::Nothing) {
            return Ok(None);
        }
        let numbers = answer.numbers()?;
        let at = |index: usize| unsigned(numbers.get(index).copied().unwrap_or_default());
        Ok(Some(Admitted {
            opened: at(0)?,
            floors: Floors { joined: at(1)?, served: at(2)? },
            live: at(3)?,
            unclaimed: at(4)?,
            owed: at(5)?,
        }))
    }

    /// `room_look`: how a room stands. `attempts` are holds that were asked for since the last
    /// look; `known_left` is how many given-up numbers the caller knows of.
    ///
    /// # Errors
    /// If the call did not run, or nobody knows whether it did. Attempts are not told again.
    pub async fn room_look(
        &self,
        event: EventId,
        attempts: u64,
        known_left: u64,
        floors: Floors,
    ) -> Result<RoomState, RedisError> {
        let mut rest = [attempts, known_left, floors.joined, floors.served].map(number).to_vec();
        rest.extend(args![LEAVERS_KEPT, YOUNG_MS]);
        let answer = self.room(Script::RoomLook, event, rest).await?;
        let (at_ms, body) = (answer.now_ms, answer.body);
        match body {
            Body::Raw(values) => state(at_ms, &values),
            other => Err(unexpected(format!("a room's state: {other:?}"))),
        }
    }

    /// `room_draw`: freezes who is in the draw: how many, and the running hash of their joins.
    /// `None` if nobody gathers, or the sale has not begun.
    ///
    /// # Errors
    /// If the call did not run, or nobody knows whether it did: it can be made again.
    pub async fn room_draw(&self, event: EventId) -> Result<Option<(u64, String)>, RedisError> {
        let answer = self.room(Script::RoomDraw, event, Vec::new()).await?;
        match (answer.code, answer.body) {
            (Code::Ok, Body::Raw(values)) => {
                let joiners = unsigned(integer(values.first().unwrap_or(&Value::Null))?)?;
                Ok(Some((joiners, text(values.get(1).cloned())?)))
            }
            _ => Ok(None),
        }
    }
}

fn unsigned(value: i64) -> Result<u64, RedisError> {
    u64::try_from(value).map_err(|_| unexpected(format!("{value} where a count should be")))
}

/// revision is_on surging method draw draw_joined joined served live unclaimed owed left_waiting
/// left_total seats_free is_sold_out max_concurrent session_ms claim_ms "leaver,..."
/// "opened:first place,..." on_sale_at is_over
fn state(at_ms: i64, values: &[Value]) -> Result<RoomState, RedisError> {
    let value = |index: usize| values.get(index).unwrap_or(&Value::Null);
    let count = |index: usize| unsigned(integer(value(index))?);
    let small = |index: usize| {
        u32::try_from(count(index)?).map_err(|_| unexpected(format!("{:?}", value(index))))
    };
    let word = |index: usize| text(Some(value(index).clone()));
    let method = word(3)?.parse().map_err(|()| unexpected(format!("{:?}", value(3))))?;
    let leavers = word(18)?;
    let leaver = |number: &str| number.parse().map_err(|_| unexpected(format!("{leavers:?}")));
    let newest = leavers.split(',').filter(|number| !number.is_empty());
    let young = word(19)?;
    let batch = |pair: &str| {
        let parts = pair.split_once(':').and_then(|(at, first)| {
            Some(YoungBatch { opened_ms: at.parse().ok()?, first: first.parse().ok()? })
        });
        parts.ok_or_else(|| unexpected(format!("young batches {young:?}")))
    };
    let young_batches = young.split(',').filter(|pair| !pair.is_empty()).map(batch);
    Ok(RoomState {
        at_ms,
        revision: count(0)?,
        method: (count(1)? == 1).then_some(method),
        by_surge: count(2)? == 1,
        draw: word(4)?.parse().map_err(|()| unexpected(format!("{:?}", value(4))))?,
        draw_joined: count(5)?,
        floors: Floors { joined: count(6)?, served: count(7)? },
        live: small(8)?,
        unclaimed: small(9)?,
        owed: small(10)?,
        left_waiting: count(11)?,
        left_total: count(12)?,
        seats_free: small(13)?,
        is_sold_out: count(14)? == 1,
        max_concurrent: small(15)?,
        session_ms: count(16)?,
        claim_ms: count(17)?,
        leavers: newest.map(leaver).collect::<Result<_, _>>()?,
        young_batches: young_batches.collect::<Result<_, _>>()?,
        on_sale_at_ms: integer(value(20))?,
        is_over: count(21)? == 1,
    })
}
