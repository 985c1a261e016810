//! What an operator wants of a room: what is not given stays.

use super::{Method, RoomSettings};

/// A room is to be switched on, or to wait for a surge, with these settings changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomChange {
    /// Who gets in.
    pub method: Option<Method>,
    /// Sessions and open places at a time.
    pub max_concurrent: Option<u32>,
    /// Most places opened in any minute; 0: as many as come free.
    pub per_minute: Option<u32>,
    /// How long a session lasts.
    pub session_seconds: Option<u32>,
    /// How long one lasts with renewals. Where it is not given, one that is below the session follows
    /// it.
    pub session_cap_seconds: Option<u32>,
    /// How long a served place may be claimed.
    pub claim_seconds: Option<u32>,
    /// Whether asking where one stands renews a session.
    pub renews: Option<bool>,
    /// Whether those who join before the sale begins are shuffled when it does.
    pub shuffle: Option<bool>,
    /// Whether it goes on by itself when attempts surge, instead of now.
    pub automatic: Option<bool>,
    /// Attempts a second at which it goes on by itself.
    pub surge_per_second: Option<u32>,
    /// Attempts a second below which it goes off again. Where it is not given, it is the other at most.
    pub calm_per_second: Option<u32>,
}

impl RoomChange {
    /// Switches the room on, as wished.
    pub fn apply(&self, room: &mut RoomSettings) {
        let ms = |seconds: u32| u64::from(seconds) * 1_000;
        // To wait until attempts surge is not to be on by hand.
        room.on = self.automatic != Some(true);
        room.method = self.method.unwrap_or(room.method);
        room.max_concurrent = self.max_concurrent.unwrap_or(room.max_concurrent);
        room.per_minute = self.per_minute.unwrap_or(room.per_minute);
        room.session_ms = self.session_seconds.map_or(room.session_ms, ms);
        let cap_ms = room.session_cap_ms.max(room.session_ms);
        room.session_cap_ms = self.session_cap_seconds.map_or(cap_ms, ms);
        room.claim_ms = self.claim_seconds.map_or(room.claim_ms, ms);
        room.renews = self.renews.unwrap_or(room.renews);
        room.shuffle = self.shuffle.unwrap_or(room.shuffle);
        let surge = &mut room.surge;
        surge.automatic = self.automatic.unwrap_or(surge.automatic);
        surge.on_per_second = self.surge_per_second.unwrap_or(surge.on_per_second);
        let calm = surge.off_per_second.min(surge.on_per_second);
        surge.off_per_second = self.calm_per_second.unwrap_or(calm);
    }
}

impl RoomSettings {
    /// Nobody has to wait, and no surge changes that.
    pub fn switch_off(&mut self) {
        self.on = false;
        self.surge.automatic = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_is_by_hand_unless_it_is_to_be_automatic() {
        let mut room = RoomSettings::default();
        let change = |automatic| RoomChange { automatic, ..RoomChange::default() };
        for (automatic, on) in [(Some(true), false), (None, true), (Some(false), true)] {
            change(automatic).apply(&mut room);
            assert_eq!(room.on, on, "{automatic:?}");
        }
        change(Some(true)).apply(&mut room);
        room.switch_off();
        assert!(!room.on && !room.surge.automatic);
    }

    #[test]
    fn longer_sessions_raise_their_cap() {
        let mut room = RoomSettings::default();
        let change = RoomChange { session_seconds: Some(7_200), ..RoomChange::default() };
        change.apply(&mut room);
        assert_eq!((room.session_ms, room.session_cap_ms), (7_200_000, 7_200_000));
        assert_eq!(room.check(), Ok(()));
    }
}
