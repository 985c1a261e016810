//! Bookings and users as 64 bits, keyed by this process: a view knows them again, and nobody can
//! choose names that meet.

use std::hash::{BuildHasher, RandomState};

use crate::domain::{BookingId, UserId};

use super::fold::{FREE, HOUSE};

/// A user, as the views of this process know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder(pub(super) u64);

impl Holder {
    /// Nobody.
    pub const NOBODY: Holder = Holder(0);
}

/// Hashes under one key. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Hashes(RandomState);

impl Hashes {
    /// A user.
    pub fn user(&self, user: &UserId) -> Holder {
        match self.0.hash_one(user.as_str()) {
            0 => Holder(1),
            hash => Holder(hash),
        }
    }

    /// A booking; never [`FREE`] or [`HOUSE`].
    pub fn booking(&self, booking: BookingId) -> u64 {
        match self.0.hash_one(booking.uuid().as_u128()) {
            FREE | HOUSE => 1,
            hash => hash,
        }
    }
}
