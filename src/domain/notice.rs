//! What those who wait in a room are told of their place, unasked.

/// One thing to tell the owner of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Still waiting.
    Position {
        /// How many are before them, they included.
        position: u64,
        /// How long that may take, seconds.
        estimated_wait_seconds: u64,
        /// When to ask again, for those who would ask, seconds.
        refresh_after_seconds: u64,
    },
    /// Their session has begun.
    Admitted {
        /// Until when it lasts, Unix ms by Redis' time.
        session_ends_ms: i64,
    },
    /// Every seat is sold; nobody will be admitted.
    SoldOut,
    /// The token has no place any more, for this reason: it lapsed, was given back, or used.
    Refused {
        /// Why, for people.
        detail: String,
    },
    /// The room is off: nobody needs to wait.
    Off,
}
