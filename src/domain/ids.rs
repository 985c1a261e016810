//! Identifiers: an event id determines its partition, a booking id contains its event.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::limits::USER_ID_BYTES_MAX;

/// An event id: a small positive integer assigned by MongoDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub u32);

/// A seat of one event, numbered from 1 in layout order. Seat `n` is byte `n` of the inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SeatId(pub u32);

/// A partition of all events; its keys and its booking log share one Redis slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(pub u16);

macro_rules! display_inner {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
display_inner!(EventId, SeatId, Partition);

impl EventId {
    /// This event's partition: `crc32(decimal id) mod partitions`.
    pub fn partition(self, partitions: u16) -> Partition {
        let crc = crc32fast::hash(self.0.to_string().as_bytes());
        // The remainder is below a u16, so the cast loses nothing.
        Partition((crc % u32::from(partitions)) as u16)
    }
}

/// A booking id: a UUID of version 8 that contains its creation time, its event and 42 random bits,
/// so that the id alone locates the booking.
///
/// Layout (RFC 9562, section 5.8): 48 bits Unix milliseconds · version · 12 random bits ·
/// variant · 32 bits event id · 30 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BookingId(Uuid);

impl BookingId {
    /// Creates an id. `unix_ms` orders ids roughly by age and decides nothing.
    pub fn new(event: EventId, unix_ms: u64, random: u64) -> Self {
        let mut bytes = [0u8; 16];
        bytes[..6].copy_from_slice(&unix_ms.to_be_bytes()[2..]);
        let high = (random & 0xfff) as u16;
        bytes[6..8].copy_from_slice(&high.to_be_bytes());
        // custom_c holds 62 bits: the event id above 30 random ones.
        let low = (u64::from(event.0) << 30) | ((random >> 12) & 0x3fff_ffff);
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        BookingId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// The event this booking belongs to.
    pub fn event(self) -> EventId {
        let (_, low) = self.0.as_u64_pair();
        // The two top bits are the variant; the next 32 are the event.
        EventId(((low >> 30) & 0xffff_ffff) as u32)
    }

    /// The id as a UUID.
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for BookingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a UUID, or not one of ours (version 8).
    #[error("a booking id is a UUID as returned when the booking was made")]
    Booking,
    /// Empty, too long, or with control characters.
    #[error("a user id has 1 to {USER_ID_BYTES_MAX} bytes and no control characters")]
    User,
}

impl FromStr for BookingId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let uuid = Uuid::parse_str(text).map_err(|_| IdError::Booking)?;
        if uuid.get_version_num() != 8 {
            return Err(IdError::Booking);
        }
        Ok(BookingId(uuid))
    }
}

/// A user: an opaque text chosen by the client's system.
///
/// Control characters are refused, so that a user id fits in a tab-separated record.
///
/// Cheap to clone: several rules count a request by its user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

impl UserId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for UserId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let fits = (1..=USER_ID_BYTES_MAX).contains(&text.len());
        if !fits || text.chars().any(char::is_control) {
            return Err(IdError::User);
        }
        Ok(UserId(text.into()))
    }
}

impl Serialize for UserId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booking_id_carries_its_event() {
        for event in [0, 1, 77, u32::MAX] {
            for random in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
                let id = BookingId::new(EventId(event), 1_763_700_000_123, random);
                assert_eq!(id.event(), EventId(event));
                assert_eq!(id.uuid().get_version_num(), 8);
                assert_eq!(id.to_string().parse(), Ok(id));
            }
        }
    }

    #[test]
    fn foreign_uuids_are_refused() {
        for text in ["", "x", "67e55044-10b1-426f-9247-bb680e5fe0c8"] {
            assert_eq!(text.parse::<BookingId>(), Err(IdError::Booking));
        }
    }

    #[test]
    fn partitions_are_pinned() {
        // A changed function would look up every event in the wrong partition.
        let got: Vec<u16> = (1..=6).map(|n| EventId(n).partition(16).0).collect();
        assert_eq!(got, [7, 13, 11, 8, 14, 4]);
    }

    #[test]
    fn user_ids_are_bounded() {
        assert!("a".repeat(USER_ID_BYTES_MAX).parse::<UserId>().is_ok());
        for bad in ["", "a\tb", "a\nb", &"a".repeat(USER_ID_BYTES_MAX + 1)] {
            assert_eq!(bad.parse::<UserId>(), Err(IdError::User));
        }
    }
}
