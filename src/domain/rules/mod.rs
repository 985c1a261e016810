//! Limit rules: how often who may ask for what, and what happens beyond it. The shipped table is
//! here; files, the environment and operators lay their changes above it.

mod change;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use change::{RuleChange, RuleError, changed};

/// A window's share that one process may decide alone, as a divisor of its quota.
const SHARE_DIVISOR: u32 = 4;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: &[$name] = &[$($name::$variant,)+];

            /// The word in settings, answers and metrics.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }

            /// Reads the word.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word)
            }
        }
    };
}

words! {
    /// What a gate does with what it would refuse.
    Mode {
        /// Refuse it.
        Enforce = "enforce",
        /// Count and log it, let it pass.
        Observe = "observe",
        /// Do not look.
        Off = "off",
    }
}

words! {
    /// Whose requests are counted together.
    Scope {
        /// A client's address: IPv4, or an IPv6 network of 64 bits.
        Address = "address",
        /// A user; an address where nobody is named.
        User = "user",
        /// A user in one event; does not look at requests about no event.
        UserEvent = "user_event",
    }
}

words! {
    /// Kinds of requests.
    RouteClass {
        /// The catalogue.
        Events = "events",
        /// Seat maps and availability.
        Seats = "seats",
        /// Asking for seats.
        Hold = "hold",
        /// Looking at bookings.
        Bookings = "bookings",
        /// Paying, extending, cancelling.
        BookingChanges = "booking_changes",
        /// Joining a waiting room.
        WaitingRoomJoin = "waiting_room_join",
        /// Asking where one stands in a waiting room, leaving it.
        WaitingRoom = "waiting_room",
        /// Opening a WebSocket or an event stream.
        Push = "push",
        /// What only admins may do.
        Admin = "admin",
    }
}

words! {
    /// What a rule counts.
    Counting {
        /// Every request, whatever becomes of it.
        Requests = "requests",
        /// Requests that were granted something new: a hold that took seats. A request is counted
        /// when it comes and taken back once it is known to have been refused or replayed.
        Grants = "grants",
    }
}

words! {
    /// Where a rule counts.
    Place {
        /// In each process for itself, costing no call: rates of addresses and users alone.
        Process = "process",
        /// In Redis, for all processes together.
        Redis = "redis",
    }
}

words! {
    /// What a rule that counts in Redis does while Redis does not answer.
    WhenRedisIsAway {
        /// Lets pass.
        Pass = "pass",
        /// Grants the share of one process, and refuses beyond it.
        Local = "local",
        /// Answers 503.
        Refuse = "refuse",
    }
}

/// How much a rule grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// So many in any window of this length, wherever it begins.
    Window {
        /// Requests.
        quota: u32,
        /// Length, ms.
        window_ms: u64,
    },
    /// So many a second on average, so many at once.
    Rate {
        /// Requests a second.
        per_second: u32,
        /// Requests at once.
        burst: u32,
    },
}

impl Limit {
    /// Requests at most at once.
    pub fn quota(&self) -> u32 {
        match self {
            Limit::Window { quota, .. } => *quota,
            Limit::Rate { burst, .. } => *burst,
        }
    }

    /// After how long all that was used is granted again, ms.
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
    /// Its name, told to those whom it refuses.
    pub name: String,
    /// Whose requests are counted together.
    pub scope: Scope,
    /// Which requests are counted.
    pub routes: Vec<RouteClass>,
    /// What is counted of them.
    pub counting: Counting,
    /// How many are granted.
    pub limit: Limit,
    /// What happens beyond.
    pub mode: Mode,
    /// The same for callers on this machine, with `auth = "trusted"` and no profile or setting
    /// that says otherwise.
    pub mode_on_loopback: Option<Mode>,
    /// Where it counts.
    pub place: Place,
    /// What it does while Redis is away.
    pub when_redis_is_away: WhenRedisIsAway,
    /// Whether a granted booking forgives what was counted: for rules about looking alone.
    pub forgiven_by_booking: bool,
    /// What the refused are told; `None` is a general text.
    pub detail: Option<String>,
}

impl Rule {
    /// Requests of one subject within one window that one process may decide without Redis
    /// having counted them: local refusals not flushed yet, and all while Redis is away. So in
    /// any window at most `quota + processes × share` are let through; a process that is replaced
    /// within the window counts as two, and what Redis forgets is forgotten.
    pub fn share(&self) -> u32 {
        (self.limit.quota() / SHARE_DIVISOR).max(1)
    }

    /// Whether it counts such requests.
    pub fn counts(&self, class: RouteClass) -> bool {
        self.routes.contains(&class)
    }

    /// Whether a process counts it by address, before anybody is identified.
    pub fn precedes_identity(&self) -> bool {
        self.scope == Scope::Address
    }
}

/// The rules that Holdfast comes with.
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
        // The name is older than the scope: callers who are identified are counted by user.
        rate("per_address", 10, 20),
        window("requests", &[Events, Seats, Hold, Bookings, BookingChanges], 100, 60),
        window("seat_map", &[Seats], 20, 60),
        probing(window("seat_probing", &[Seats], 10, 60)),
        probing(window("seat_probing_hourly", &[Seats], 60, 3_600)),
        // Observed: in a rush every honest buyer loses more races than that.
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
    fn a_rate_is_granted_again_after_its_burst() {
        assert_eq!(Limit::Rate { per_second: 10, burst: 20 }.window_ms(), 2_000);
    }
}
