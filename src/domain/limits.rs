//! Bounds that are part of the contract. What operators may set is in `config`; these are fixed.

/// Seats in one booking of a user's.
pub const SEATS_PER_BOOKING_MAX: usize = 10;
/// Seats in one booking that an admin makes for a user. Bounded by what one call of `hold` may cost
/// Redis (a search for so many seats tries shorter and shorter runs), and by [`PRICE_MAX`].
pub const ADMIN_SEATS_PER_BOOKING_MAX: usize = 50;
/// Seats that one call of an admin blocks or releases.
pub const BLOCK_SEATS_MAX: usize = 1_000;
/// Bytes of the reason of a block.
pub const REASON_BYTES_MAX: usize = 200;
/// Seats in one event.
pub const SEATS_PER_EVENT_MAX: u32 = 1_000_000;
/// Sections in one event.
pub const SECTIONS_MAX: usize = 500;
/// Rows in one event.
pub const ROWS_MAX: usize = 100_000;
/// Bytes of a section's or a row's name.
pub const LABEL_BYTES_MAX: usize = 64;
/// Bytes of an event's name or venue.
pub const NAME_BYTES_MAX: usize = 200;
/// Bytes of an event's description.
pub const DESCRIPTION_BYTES_MAX: usize = 5_000;
/// Bytes of a user id.
pub const USER_ID_BYTES_MAX: usize = 128;
/// Bytes of an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// A seat's highest price, in the currency's minor unit. A booking's amount, of
/// [`ADMIN_SEATS_PER_BOOKING_MAX`] of them, has the 14 digits at most that Lua prints exactly.
pub const PRICE_MAX: i64 = 1_000_000_000_000;
/// Longest hold and longest extended hold, seconds.
pub const HOLD_SECONDS_MAX: u32 = 24 * 3600;
