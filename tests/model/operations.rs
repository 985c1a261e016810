//! Operations. They name bookings, calls and moments by their place in what went before,
//! so that a sequence stays meaningful when operations are taken out of it.

use std::fmt;

use holdfast::domain::{EventStatus, OrphanRule, Outcome, Status};

/// A whole sequence.
#[derive(Clone)]
pub struct Sequence {
    pub setting: Setting,
    pub ops: Vec<Op>,
}

/// One operation a line, nearly as it is written in Rust: it can become a test of its own.
impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Sequence {{\n    setting: {:?},\n    ops: vec![", self.setting)?;
        for op in &self.ops {
            writeln!(f, "        {op:?},")?;
        }
        write!(f, "    ],\n}}")
    }
}

/// What is sold, and to how many.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub hall: Hall,
    pub users: u8,
    pub per_user: u8,
    /// How long a hold can last with extensions.
    pub max_hold_s: u8,
    pub orphan_rule: OrphanRule,
}

/// Layouts.
#[derive(Clone, Copy, Debug)]
pub enum Hall {
    /// Rows of 3 and 5, and 4 places on the floor.
    Small,
    /// Rows of 10, 7 and 11, a floor of 12, a balcony row of 8.
    Wide,
}

/// One operation.
#[derive(Clone, Debug)]
pub enum Op {
    /// Time passes, or Redis' clock is set back.
    Pass(Step),
    /// A call.
    Do(Act, Manner),
    /// A call as `Do` makes it, but on its way until an `Again` delivers it.
    Delay(Act, Manner),
    /// The n-th last call once more (or at last), exactly as it was.
    Again(u8),
    /// Redis loses all of the event.
    Lose,
    /// The same, and it is loaded and opened again, with every seat free.
    Restart,
}

/// How time passes.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Ms(i16),
    Seconds(u8),
    /// To the next hold deadline, and this much further, ms.
    Deadline(i8),
    /// To the next end of a confirmation lease, and this much further, ms.
    Lease(i8),
    /// To the beginning of sales, and this much further, ms.
    OnSale(i8),
}

/// How a call is sent; the default is as it should be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    pub in_time: InTime,
    pub generation: Known,
}

/// How a call's `not_after` lies to the time at which it is made.
#[derive(Clone, Copy, Debug, Default)]
pub enum InTime {
    #[default]
    Plenty,
    /// A few seconds: when it is made again later it may be too late.
    Seconds,
    Just,
    Late,
}

/// What the caller knows of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Known {
    #[default]
    Right,
    OneLess,
    OneMore,
}

/// Which booking.
#[derive(Clone, Copy, Debug)]
pub enum Pick {
    /// The n-th last one that was made, also if Redis lost it.
    Recent(u8),
    /// The n-th last one with this status; as `Recent` if there is none.
    With(Status, u8),
    /// One that never was.
    Unknown,
}

/// Whose user id a call carries.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    Owner,
    User(u8),
}

/// Which idempotency record a hold names.
#[derive(Clone, Copy, Debug)]
pub enum Key {
    Fresh,
    /// One of a few of this user.
    Shared(u8),
}

/// Which key of its own an operation on a booking has.
#[derive(Clone, Copy, Debug)]
pub enum RequestKey {
    None,
    /// One of a few of this booking, asking for one thing or another.
    Shared(u8, u8),
}

/// Nonces.
#[derive(Clone, Copy, Debug)]
pub enum Nonce {
    Fresh,
    /// The last of the booking's record.
    Last,
}

/// The time that has to have passed, against now.
#[derive(Clone, Copy, Debug)]
pub enum Before {
    Past,
    Now,
}

/// An operation on the scripts.
#[derive(Clone, Debug)]
pub enum Act {
    Hold {
        user: u8,
        seats: Vec<u8>,
        /// Whether the numbers are those of free seats.
        free: bool,
        key: Key,
        layout: Known,
        window: Window,
        room: Room,
        /// Whether an admin asks, whom the user's limit does not bind.
        exempt: bool,
    },
    Search {
        user: u8,
        quantity: u8,
        place: Place,
        together: bool,
        key: Key,
        look: Look,
        exempt: bool,
    },
    /// The n-th last hold under its key, as a client repeats it: a new attempt.
    Retry {
        nth: u8,
        /// Repeats the first one's sender.
        exempt: bool,
    },
    /// The n-th last hold's booking id, from this user for these seats under a fresh key.
    ReuseId {
        nth: u8,
        user: u8,
        seats: Vec<u8>,
    },
    /// The attempt of the n-th last hold is given up.
    Abort {
        nth: u8,
        own_nonce: bool,
        before: Before,
    },
    Begin {
        booking: Pick,
        who: Who,
        nonce: Nonce,
        lease_s: u8,
        attempts_max: u8,
        key: RequestKey,
    },
    EndLease {
        booking: Pick,
        lease: Known,
    },
    EndAttempt {
        booking: Pick,
        own_nonce: bool,
        before: Before,
    },
    TakeOver {
        booking: Pick,
        nonce: Nonce,
        lease_s: u8,
    },
    /// Its provider says that it is paid.
    Late {
        booking: Pick,
        seats: Vec<u8>,
    },
    Commit {
        booking: Pick,
        lease: Known,
        own_payment: bool,
    },
    Cancel {
        booking: Pick,
        who: Who,
    },
    Extend {
        booking: Pick,
        who: Who,
        nonce: Nonce,
        key: RequestKey,
        room: Room,
    },
    Expire {
        batch: u8,
    },
    Block {
        seats: Vec<u8>,
        layout: Known,
    },
    /// The n last bookings, if they ended so long ago.
    Forget {
        count: u8,
        version: Known,
        keep_s: u8,
    },
    Unload {
        version: Known,
    },
    /// The n last bookings that Redis lost, as sold ones, and blocked seats.
    Place {
        own_token: bool,
        count: u8,
        blocked: Vec<u8>,
    },
    Unblock {
        seats: Vec<u8>,
        layout: Known,
    },
    Settle {
        booking: Pick,
        outcome: Outcome,
        newer: u8,
        /// Of a booking that Redis never knew.
        seats: Vec<u8>,
        /// Whether these numbers are those of taken seats.
        taken: bool,
    },
    Update {
        revision: Known,
        status: EventStatus,
        on_sale_in_s: i8,
        off_sale_in_s: i8,
    },
    Get {
        booking: Pick,
    },
    /// A beat, needed or only if the log is empty.
    Beat {
        needed: bool,
        room: Room,
    },
    Load {
        generation: Known,
    },
    Open {
        own_token: bool,
    },
}

/// Where seats are searched.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    Anywhere,
    Section(u8),
    /// Where one seat costs no more than in this section.
    NoDearerThan(u8),
}

/// How much of the event one call of a search may look at.
#[derive(Clone, Copy, Debug)]
pub enum Look {
    All,
    /// So many seats, and so many runs that would leave a seat alone.
    Little(u8, u8),
}

/// How long saved answers are given again.
#[derive(Clone, Copy, Debug)]
pub enum Window {
    Always,
    TenSeconds,
}

/// Room in the log when a call comes.
#[derive(Clone, Copy, Debug)]
pub enum Room {
    Plenty,
    /// The log is as long as it may be.
    None,
    /// One entry fits in.
    One,
}
