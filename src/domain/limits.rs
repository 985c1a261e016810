//! Fixed bounds that are part of the contract; configurable ones are in `config`.

/// Most seats in a user's booking.
pub const SEATS_PER_BOOKING_MAX: usize = 10;
/// Most seats in a booking that an admin makes for a user. Bounded by what one call of `hold` may
/// cost Redis (a search for this many seats tries shorter and shorter runs), and by [`PRICE_MAX`].
pub const ADMIN_SEATS_PER_BOOKING_MAX: usize = 50;
/// Most seats that one admin request blocks or releases.
pub const BLOCK_SEATS_MAX: usize = 1_000;
/// Most bytes of a block's reason.
pub const REASON_BYTES_MAX: usize = 200;
/// Most seats in one event.
pub const SEATS_PER_EVENT_MAX: u32 = 1_000_000;
/// Most sections in one event.
pub const SECTIONS_MAX: usize = 500;
/// Most rows in one event.
pub const ROWS_MAX: usize = 100_000;
/// Most bytes of a section's or row's name.
pub const LABEL_BYTES_MAX: usize = 64;
/// Most bytes of an event's name or venue.
pub const NAME_BYTES_MAX: usize = 200;
/// Most bytes of an event's description.
pub const DESCRIPTION_BYTES_MAX: usize = 5_000;
/// Most bytes of a user id.
pub const USER_ID_BYTES_MAX: usize = 128;
/// Most bytes of an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// A seat's highest price, in the currency's minor unit. A booking's amount, of
/// [`ADMIN_SEATS_PER_BOOKING_MAX`] of them, has the 14 digits at most that Lua prints exactly.
pub const PRICE_MAX: i64 = 1_000_000_000_000;
/// Longest hold and longest extended hold, seconds.
pub const HOLD_SECONDS_MAX: u32 = 24 * 3600;
