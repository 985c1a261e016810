//! Operators' settings of a waiting room.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

const MINUTE_MS: u64 = 60_000;

/// Maximum number of sessions of one room.
pub const CONCURRENT_MAX: u32 = 1_000_000;
/// Longest session, ms: a day.
pub const SESSION_MS_MAX: u64 = 24 * 60 * MINUTE_MS;
/// Longest claim window, ms: an hour.
pub const CLAIM_MS_MAX: u64 = 60 * MINUTE_MS;
/// Shortest session and claim window, ms: shorter ones would end before the response arrives.
pub const SPAN_MS_MIN: u64 = 100;

/// How a room that is on admits people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// First come, first served.
    #[default]
    Fifo,
    /// Admits everybody, and counts.
    Passthrough,
    /// Admits nobody.
    Reject,
}

impl Method {
    /// The name in settings, responses and Redis.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Fifo => "fifo",
            Method::Passthrough => "passthrough",
            Method::Reject => "reject",
        }
    }
}

impl FromStr for Method {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        let all = [Method::Fifo, Method::Passthrough, Method::Reject];
        all.into_iter().find(|method| method.as_str() == word).ok_or(())
    }
}

/// When a room switches on and off automatically.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Surge {
    /// Whether it does so.
    pub automatic: bool,
    /// Hold attempts per second, over all processes, that switch it on …
    pub on_per_second: u32,
    /// … once they last this long, ms.
    pub on_after_ms: u64,
    /// It switches off once nobody waits and attempts stay below this …
    pub off_per_second: u32,
    /// … for so long, ms.
    pub off_after_ms: u64,
}

impl Default for Surge {
    fn default() -> Self {
        Surge {
            automatic: false,
            on_per_second: 1_000,
            on_after_ms: 3_000,
            off_per_second: 250,
            off_after_ms: MINUTE_MS,
        }
    }
}

/// Operators' settings of one event's room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoomSettings {
    /// Whether it is switched on manually.
    pub on: bool,
    /// Its method while it is on.
    pub method: Method,
    /// Maximum number of sessions and open places at a time.
    pub max_concurrent: u32,
    /// Maximum number of places opened per minute; 0: as many as become free.
    pub per_minute: u32,
    /// How long a session lasts, ms.
    pub session_ms: u64,
    /// How long a session lasts with renewals, ms.
    pub session_cap_ms: u64,
    /// Whether using a session renews it.
    pub renews: bool,
    /// How long a served place may be claimed, ms.
    pub claim_ms: u64,
    /// Whether those who join before the sale begins are shuffled when it does.
    pub shuffle: bool,
    /// When it switches on and off automatically.
    pub surge: Surge,
}

impl Default for RoomSettings {
    fn default() -> Self {
        RoomSettings {
            on: false,
            method: Method::Fifo,
            max_concurrent: 1_000,
            per_minute: 0,
            session_ms: 5 * MINUTE_MS,
            session_cap_ms: 20 * MINUTE_MS,
            renews: false,
            claim_ms: MINUTE_MS / 2,
            shuffle: false,
            surge: Surge::default(),
        }
    }
}

impl RoomSettings {
    /// Validates the settings.
    ///
    /// # Errors
    /// The fault, and how to correct it.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                return Ok(());
            }
            Err(format!("{name} is {value}; it can be {min} to {max}"))
        };
        within("max_concurrent", self.max_concurrent.into(), 1, CONCURRENT_MAX.into())?;
        within("session_ms", self.session_ms, SPAN_MS_MIN, SESSION_MS_MAX)?;
        within("claim_ms", self.claim_ms, SPAN_MS_MIN, CLAIM_MS_MAX)?;
        if self.session_cap_ms < self.session_ms || self.session_cap_ms > SESSION_MS_MAX {
            return Err(format!(
                "session_cap_ms is {}; it can be session_ms ({}) to {SESSION_MS_MAX}",
                self.session_cap_ms, self.session_ms
            ));
        }
        let Surge { automatic, on_per_second, off_per_second, .. } = self.surge;
        if automatic && (on_per_second == 0 || off_per_second > on_per_second) {
            return Err(format!(
                "a room cannot switch on at {on_per_second} holds per second and off below \
                 {off_per_second}: on must be at least 1, off at most that"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_settings_are_refused_by_name() {
        assert_eq!(RoomSettings::default().check(), Ok(()));
        type Change = fn(&mut RoomSettings);
        let wrong: [(&str, Change); 6] = [
            ("max_concurrent", |room| room.max_concurrent = 0),
            ("max_concurrent", |room| room.max_concurrent = CONCURRENT_MAX + 1),
            ("session_ms", |room| room.session_ms = 99),
            ("claim_ms", |room| room.claim_ms = CLAIM_MS_MAX + 1),
            ("session_cap_ms", |room| room.session_cap_ms = room.session_ms - 1),
            ("off at most", |room| {
                room.surge = Surge { automatic: true, off_per_second: 2_000, ..room.surge };
            }),
        ];
        for (word, change) in wrong {
            let mut settings = RoomSettings::default();
            change(&mut settings);
            assert!(settings.check().unwrap_err().contains(word), "{word}");
        }
    }
}
