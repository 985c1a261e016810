//! Changes of a room's settings: absent fields keep their value.

use super::{Method, RoomSettings};

/// Switches a room on, or arms it for a surge, with these settings changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomChange {
    /// How it admits people.
    pub method: Option<Method>,
    /// Maximum number of sessions and open places at a time.
    pub max_concurrent: Option<u32>,
    /// Maximum number of places opened per minute; 0: as many as become free.
    pub per_minute: Option<u32>,
    /// How long a session lasts.
    pub session_seconds: Option<u32>,
    /// How long a session lasts with renewals. If absent, it is raised to the session's length.
    pub session_cap_seconds: Option<u32>,
    /// How long a served place may be claimed.
    pub claim_seconds: Option<u32>,
    /// Whether a status query renews a session.
    pub renews: Option<bool>,
    /// Whether those who join before the sale begins are shuffled when it does.
    pub shuffle: Option<bool>,
    /// Whether it switches on automatically when attempts surge, instead of now.
    pub automatic: Option<bool>,
    /// Attempts per second at which it switches on automatically.
    pub surge_per_second: Option<u32>,
    /// Attempts per second below which it switches off. If absent, it is lowered to the former.
    pub calm_per_second: Option<u32>,
}

impl RoomChange {
    /// Applies the change.
    pub fn apply(&self, room: &mut RoomSettings) {
        let ms = |seconds: u32| u64::from(seconds) * 1_000;
        // An armed room is not switched on manually.
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
    /// Switches the room off; no surge switches it on.
    pub fn switch_off(&mut self) {
        self.on = false;
        self.surge.automatic = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_switches_on_unless_automatic() {
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
    fn longer_session_raises_its_cap() {
        let mut room = RoomSettings::default();
        let change = RoomChange { session_seconds: Some(7_200), ..RoomChange::default() };
        change.apply(&mut room);
        assert_eq!((room.session_ms, room.session_cap_ms), (7_200_000, 7_200_000));
        assert_eq!(room.check(), Ok(()));
    }
}
