//! The log level in effect: the settings' own, or for a time the one that an operator asked for.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::archive::LogOverride;
use crate::telemetry::log_filter;

/// The log level of one process.
pub struct LogLevel {
    state: Mutex<State>,
}

struct State {
    /// The setting `log_level`.
    configured: String,
    /// What an operator asked for, and when it ends by this process' clock, Unix ms.
    temporary: Option<(LogOverride, i64)>,
    /// What the filter was set to last.
    in_effect: String,
}

impl LogLevel {
    /// The level of the settings, with which logging was initialised.
    pub fn new(configured: &str) -> Self {
        let configured = configured.to_owned();
        let in_effect = configured.clone();
        LogLevel { state: Mutex::new(State { configured, temporary: None, in_effect }) }
    }

    /// Adopts the level of the settings. One for a time stays in effect until it ends.
    pub fn configure(&self, directives: &str, now_ms: i64) {
        let mut state = self.lock();
        state.configured = directives.to_owned();
        state.apply(now_ms);
    }

    /// Adopts what an operator asks for now, and ends what is over.
    pub fn follow(&self, asked: Option<&LogOverride>, now_ms: i64) {
        let mut state = self.lock();
        let known = state.temporary.as_ref().map(|(known, _)| known);
        if known != asked {
            // A clock that is behind the operator's does not prolong it.
            let until_ms = |asked: &LogOverride| asked.until_ms.min(now_ms + asked.for_ms);
            state.temporary = asked.map(|asked| (asked.clone(), until_ms(asked)));
        }
        state.apply(now_ms);
    }

    /// Ends what is over.
    pub fn end_if_over(&self, now_ms: i64) {
        self.lock().apply(now_ms);
    }

    /// The level in effect, and until when, Unix ms, if it is one for a time.
    pub fn in_effect(&self, now_ms: i64) -> (String, Option<i64>) {
        let state = self.lock();
        (state.in_effect.clone(), state.temporary_at(now_ms).map(|(_, until_ms)| *until_ms))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn temporary_at(&self, now_ms: i64) -> Option<&(LogOverride, i64)> {
        self.temporary.as_ref().filter(|(_, until_ms)| now_ms < *until_ms)
    }

    fn apply(&mut self, now_ms: i64) {
        let temporary = self.temporary_at(now_ms);
        let by = temporary.map(|(asked, _)| asked.by.clone());
        let wanted = temporary.map_or(&self.configured, |(asked, _)| &asked.directives).clone();
        if wanted == self.in_effect {
            return;
        }
        let from = std::mem::replace(&mut self.in_effect, wanted.clone());
        // Before and after: one of the levels may be `off` or `error`.
        tracing::warn!(from, to = wanted, by, "the log level changes");
        match log_filter::set(&wanted) {
            Ok(_) => tracing::warn!(from, to = wanted, by, "the log level has changed"),
            // Settings and the operator's tool have checked it; it may be of a newer version.
            Err(error) => {
                tracing::error!(%error, directives = wanted, "the log level cannot be set")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(directives: &str, until_ms: i64) -> LogOverride {
        let directives = directives.to_owned();
        LogOverride { process: None, directives, until_ms, for_ms: 100, by: "ops".into() }
    }

    #[test]
    fn level_for_a_time_outlives_a_reload_and_ends_by_itself() {
        let level = LogLevel::new("info");
        let debug = asked("debug", 1_100);
        level.follow(Some(&debug), 1_000);
        assert_eq!(level.in_effect(1_000), ("debug".to_owned(), Some(1_100)));
        level.configure("warn", 1_050);
        assert_eq!(level.in_effect(1_050).0, "debug");
        level.follow(Some(&debug), 1_100);
        assert_eq!(level.in_effect(1_100), ("warn".to_owned(), None));
        level.follow(Some(&asked("trace", 9_000)), 1_200);
        assert_eq!(level.in_effect(1_200), ("trace".to_owned(), Some(1_300)), "clocks differ");
        level.follow(None, 1_250);
        assert_eq!(level.in_effect(1_250), ("warn".to_owned(), None));
    }
}
