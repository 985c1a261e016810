//! Bookings and users as 64 bits, keyed by this process: a view knows them again, and nobody can
//! choose names that meet.

use std::hash::{BuildHasher, RandomState};

use crate::domain::{BookingId, UserId};

use super::fold::{FREE, HOUSE};

/// Hashes under one key. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Hashes(RandomState);

impl Hashes {
    /// A user.
    pub fn user(&self, user: &UserId) -> u64 {
        self.0.hash_one(user.as_str())
    }

    /// A booking; never [`FREE`] or [`HOUSE`].
    pub fn booking(&self, booking: BookingId) -> u64 {
        match self.0.hash_one(booking.uuid().as_u128()) {
            FREE | HOUSE => 1,
            hash => hash,
        }
    }
}
