//! What operators see of a sale's pace: refused requests by place and reason, and changes in the booking
//! log, each counted per [`STEP_MS`]. Pure: names, and the text in which processes exchange their counts.

use super::entry::{Entry, Kind};

/// Length of one step of a series, ms.
pub const STEP_MS: i64 = 5_000;
/// Steps of a series: 15 minutes.
pub const STEPS: usize = 180;

/// The step in which a time lies: its number since 1970.
pub fn step_of(unix_ms: i64) -> i64 {
    unix_ms.div_euclid(STEP_MS)
}

/// Where a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedBy {
    /// A process, by its live view.
    Memory,
    /// Redis.
    Redis,
    /// The waiting room.
    WaitingRoom,
    /// Limits, access lists, bot rules.
    Limits,
}

/// Each place with its name.
pub const REFUSED_BY: [(RefusedBy, &str); 4] = [
    (RefusedBy::Memory, "memory"),
    (RefusedBy::Redis, "redis"),
    (RefusedBy::WaitingRoom, "waiting_room"),
    (RefusedBy::Limits, "limits"),
];

macro_rules! counted {
    ($(#[$doc:meta])* $name:ident, $count:ident: $($(#[doc = $what:literal])+ $variant:ident = $word:literal,)+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[doc = $what])+ $variant,)+
        }

        impl $name {
            /// All, in the order of their counts.
            pub const ALL: [$name; $count] = [$($name::$variant),+];

            /// The name in exchanged counts.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }
    };
}

/// How many kinds of refusals there are.
pub const REFUSALS: usize = 16;
/// How many kinds of changes there are.
pub const CHANGES: usize = 9;

counted! {
    /// A refused request for seats: its place and its reason.
    Refusal, REFUSALS:
    /// Taken seats, by the live view.
    MemorySeats = "memory.seats_unavailable",
    /// Too few free seats, by the live view.
    MemoryTooFew = "memory.too_few_seats",
    /// The sale has ended, by the live view.
    MemoryClosed = "memory.event_closed",
    /// The sale is paused, by the live view.
    MemoryPaused = "memory.event_paused",
    /// The sale has not begun, by the live view.
    MemoryNotOnSale = "memory.not_on_sale",
    /// Taken seats.
    RedisSeats = "redis.seats_unavailable",
    /// Too few free seats.
    RedisTooFew = "redis.too_few_seats",
    /// The sale has ended.
    RedisClosed = "redis.event_closed",
    /// The sale is paused.
    RedisPaused = "redis.event_paused",
    /// The sale has not begun.
    RedisNotOnSale = "redis.not_on_sale",
    /// The user has as many seats as allowed.
    RedisUserLimit = "redis.user_limit",
    /// A single seat would be left alone.
    RedisOrphans = "redis.orphan_seats",
    /// Anything else.
    RedisOther = "redis.other",
    /// Everybody has to wait.
    RoomRequired = "waiting_room.waiting_room_required",
    /// The admission token is not valid.
    RoomToken = "waiting_room.waiting_room_token",
    /// A limit, an access list or a bot rule.
    Limits = "limits.rate_limit",
}

counted! {
    /// A change in the booking log.
    Change, CHANGES:
    /// Holds granted.
    Held = "held",
    /// Bookings paid.
    Paid = "paid",
    /// Sales confirmed by the archive.
    Confirmed = "confirmed",
    /// Bookings cancelled.
    Cancelled = "cancelled",
    /// Holds that expired.
    Expired = "expired",
    /// Payments that ended without a sale.
    Declined = "declined",
    /// Seats of the holds granted.
    SeatsHeld = "seats_held",
    /// Seats of the sales confirmed.
    SeatsConfirmed = "seats_confirmed",
    /// Seats that came back.
    SeatsReturned = "seats_returned",
}

impl Refusal {
    /// Its place and its reason, as operators see them.
    pub fn parts(self) -> (&'static str, &'static str) {
        // Every name has a dot.
        self.as_str().split_once('.').unwrap_or(("redis", self.as_str()))
    }
}

/// The changes of an entry: which count rises by how much.
pub fn changes_of(entry: &Entry) -> Vec<(Change, u32)> {
    let Some(transition) = &entry.transition else { return Vec::new() };
    let seats = transition.seats.len() as u32;
    match entry.kind {
        Kind::Hold => vec![(Change::Held, 1), (Change::SeatsHeld, seats)],
        Kind::Sold => vec![(Change::Paid, 1)],
        Kind::Confirmed => vec![(Change::Confirmed, 1), (Change::SeatsConfirmed, seats)],
        Kind::Cancelled => vec![(Change::Cancelled, 1), (Change::SeatsReturned, seats)],
        Kind::Expired => vec![(Change::Expired, 1), (Change::SeatsReturned, seats)],
        Kind::ConfirmAbort => vec![(Change::Declined, 1)],
        _ => Vec::new(),
    }
}

/// Counts as text: `held=3 seats_held=7`, without those that are zero.
pub fn encode_counts<const N: usize>(names: [&'static str; N], counts: &[u64; N]) -> String {
    let counted = names.iter().zip(counts).filter(|(_, count)| **count > 0);
    counted.map(|(name, count)| format!("{name}={count}")).collect::<Vec<_>>().join(" ")
}

/// Reads such a text. Names that this build does not know are left out: another build wrote them.
pub fn decode_counts<const N: usize>(names: [&'static str; N], text: &str) -> [u64; N] {
    let mut counts = [0; N];
    for pair in text.split(' ') {
        let Some((name, count)) = pair.split_once('=') else { continue };
        if let Some(index) = names.iter().position(|known| *known == name) {
            counts[index] = count.parse().unwrap_or_default();
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_survive_their_text() {
        let names = Change::ALL.map(Change::as_str);
        let counts = [3, 0, 0, 0, 1, 0, 7, 0, 2];
        let text = encode_counts(names, &counts);
        assert_eq!(text, "held=3 expired=1 seats_held=7 seats_returned=2");
        assert_eq!(decode_counts(names, &text), counts);
        assert_eq!(decode_counts(names, "new=3 held=x held"), [0; CHANGES]);
        assert_eq!(encode_counts(names, &[0; CHANGES]), "");
    }

    #[test]
    fn each_refusal_has_a_known_place() {
        let places = REFUSED_BY.map(|row| row.1);
        for refusal in Refusal::ALL {
            assert!(places.contains(&refusal.parts().0), "{refusal:?}");
        }
        assert_eq!(Refusal::RedisOther.parts(), ("redis", "other"));
        assert_eq!(Refusal::ALL[Refusal::Limits as usize], Refusal::Limits);
    }

    #[test]
    fn times_lie_in_steps_of_five_seconds() {
        assert_eq!((step_of(4_999), step_of(5_000), step_of(-1)), (0, 1, -1));
    }
}
