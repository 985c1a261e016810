//! Limit rules: how many requests of a class a subject may make, and what happens beyond that. The
//! shipped table is here; files, the environment and operators change it.

mod change;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use change::{RuleChange, RuleError, changed};

/// The divisor of a quota that gives one process' share.
const SHARE_DIVISOR: u32 = 4;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: &[$name] = &[$($name::$variant,)+];

            /// The name in settings, responses and metrics.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }

            /// Parses the name.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word)
            }
        }
    };
}

words! {
    /// How a gate acts on a request over its limit.
    Mode {
        /// Refuses it.
        Enforce = "enforce",
        /// Counts and logs it, but passes it.
        Observe = "observe",
        /// Does not check it.
        Off = "off",
    }
}

words! {
    /// Whose requests are counted together.
    Scope {
        /// A client's address: IPv4, or an IPv6 network of 64 bits.
        Address = "address",
        /// A user; an address where no user is named.
        User = "user",
        /// A user in one event; requests about no event are not counted.
        UserEvent = "user_event",
    }
}

words! {
    /// Classes of requests.
    RouteClass {
        /// The catalogue.
        Events = "events",
        /// Seat maps and availability.
        Seats = "seats",
        /// Holding seats.
        Hold = "hold",
        /// Reading bookings.
        Bookings = "bookings",
        /// Paying, extending, cancelling.
        BookingChanges = "booking_changes",
        /// Joining a waiting room.
        WaitingRoomJoin = "waiting_room_join",
        /// Polling or leaving a waiting room.
        WaitingRoom = "waiting_room",
        /// Opening a WebSocket or an event stream.
        Push = "push",
        /// Admins' routes.
        Admin = "admin",
    }
}

words! {
    /// What a rule counts.
    Counting {
        /// Every request, whatever its outcome.
        Requests = "requests",
        /// Requests that were granted something new: a hold that took seats. A request is counted
        /// when it arrives, and taken back once it is known to have been refused or replayed.
        Grants = "grants",
    }
}

words! {
    /// Where a rule counts.
    Place {
        /// In each process by itself, without a call: only for rates of addresses and users.
        Process = "process",
        /// In Redis, for all processes together.
        Redis = "redis",
    }
}

words! {
    /// The behaviour of a rule that counts in Redis while Redis does not answer.
    WhenRedisIsAway {
        /// Passes requests.
        Pass = "pass",
        /// Grants one process' share, and refuses beyond it.
        Local = "local",
        /// Answers 503.
        Refuse = "refuse",
    }
}

/// What a rule grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A quota in any window of this length, wherever it begins.
    Window {
        /// Requests.
        quota: u32,
        /// Length, ms.
        window_ms: u64,
    },
    /// A number a second on average, and a number at once.
    Rate {
        /// Requests a second.
        per_second: u32,
        /// Requests at once.
        burst: u32,
    },
}

impl Limit {
    /// Most requests at once.
    pub fn quota(&self) -> u32 {
        match self {
            Limit::Window { quota, .. } => *quota,
            Limit::Rate { burst, .. } => *burst,
        }
    }

    /// One process' share: what it grants in a window while Redis is away, and how many refused
    /// requests it sends to Redis at once.
    pub fn share(&self) -> u32 {
        (self.quota() / SHARE_DIVISOR).max(1)
    }

    /// After how long everything used is granted again, ms.
    pub fn window_ms(&self) -> u64 {
        match self {
            Limit::Window { window_ms, .. } => *window_ms,
            Limit::Rate { per_second, burst } => {
                (u64::from(*burst) * 1_000).div_ceil(u64::from(*per_second).max(1))
            }
        }
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, part of its refusals.
    pub name: String,
    /// Whose requests are counted together.
    pub scope: Scope,
    /// The classes of requests it counts.
    pub routes: Vec<RouteClass>,
    /// What it counts of them.
    pub counting: Counting,
    /// What it grants.
    pub limit: Limit,
    /// What happens beyond the limit.
    pub mode: Mode,
    /// The same for callers on this machine, with `auth = "trusted"` and no profile or setting
    /// that overrides it.
    pub mode_on_loopback: Option<Mode>,
    /// Where it counts.
    pub place: Place,
    /// Its behaviour while Redis is away.
    pub when_redis_is_away: WhenRedisIsAway,
    /// Whether a granted booking resets the count: for rules about reading alone.
    pub forgiven_by_booking: bool,
    /// The text of its refusals; `None` is a general one.
    pub detail: Option<String>,
}

impl Rule {
    /// Whether it counts requests of this class.
    pub fn counts(&self, class: RouteClass) -> bool {
        self.routes.contains(&class)
    }

    /// Whether a process counts it by address, before identification.
    pub fn precedes_identity(&self) -> bool {
        self.scope == Scope::Address
    }
}

/// The shipped rules.
pub fn shipped() -> Vec<Rule> {
    use RouteClass::{BookingChanges, Bookings, Events, Hold, Seats, WaitingRoomJoin};
    let window = |name: &str, routes: &[RouteClass], quota, window_seconds: u64| Rule {
        name: name.to_owned(),
        scope: Scope::User,
        routes: routes.to_vec(),
        counting: Counting::Requests,
        limit: Limit::Window { quota, window_ms: window_seconds * 1_000 },
        mode: Mode::Enforce,
        mode_on_loopback: None,
        place: Place::Redis,
        when_redis_is_away: WhenRedisIsAway::Local,
        forgiven_by_booking: false,
        detail: None,
    };
    let probing = |rule: Rule| Rule {
        mode: Mode::Observe,
        forgiven_by_booking: true,
        detail: Some("Too many seat checks. Please slow down.".to_owned()),
        ..rule
    };
    let rate = |name: &str, per_second, burst| Rule {
        limit: Limit::Rate { per_second, burst },
        mode_on_loopback: Some(Mode::Observe),
        place: Place::Process,
        ..window(name, RouteClass::ALL, 1, 1)
    };
    vec![
        // The name is older than the scope: identified callers are counted by user.
        rate("per_address", 10, 20),
        window("requests", &[Events, Seats, Hold, Bookings, BookingChanges], 100, 60),
        window("seat_map", &[Seats], 20, 60),
        probing(window("seat_probing", &[Seats], 10, 60)),
        probing(window("seat_probing_hourly", &[Seats], 60, 3_600)),
        // Only observes: in a rush every honest buyer loses more races than that.
        Rule {
            mode: Mode::Observe,
            detail: Some("Too many booking attempts".to_owned()),
            ..window("booking_attempts", &[Hold], 10, 3_600)
        },
        Rule { counting: Counting::Grants, ..window("holds_granted", &[Hold], 20, 3_600) },
        window("waiting_room_join", &[WaitingRoomJoin], 5, 60),
        Rule { scope: Scope::Address, ..rate("per_address_total", 500, 1_000) },
    ]
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Window { quota, window_ms } => match window_ms / 1_000 {
                3_600 => write!(f, "{quota} an hour"),
                60 => write!(f, "{quota} a minute"),
                seconds => write!(f, "{quota} in {seconds} s"),
            },
            Limit::Rate { per_second, burst } => {
                write!(f, "{per_second} a second, {burst} at once")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_window_is_the_time_of_its_burst() {
        assert_eq!(Limit::Rate { per_second: 10, burst: 20 }.window_ms(), 2_000);
    }
}
