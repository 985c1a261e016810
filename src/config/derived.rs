//! Values derived from settings: the base policy of the gates, the defaults of waiting rooms.

use super::Config;
use crate::domain::policy::{BasePolicy, BotRules};
use crate::domain::{Mode, RoomSettings, Surge};

impl Config {
    /// The policy of the gates according to the settings.
    pub fn base_policy(&self) -> BasePolicy {
        BasePolicy {
            profile: self.profile,
            all_rules: self.limits,
            rules: self.limit_rules.clone(),
            bots: BotRules {
                mode: self.bot_mode,
                mode_on_loopback: Some(Mode::Observe).filter(|_| self.bot_mode != Mode::Off),
                user_agents: self.bot_user_agents.clone(),
                required_headers: self.bot_required_headers.clone(),
            },
        }
    }

    /// The settings of waiting rooms without settings of their own.
    pub fn room_defaults(&self) -> RoomSettings {
        let session_ms = u64::from(self.waiting_room_session_seconds) * 1_000;
        let defaults = RoomSettings::default();
        RoomSettings {
            max_concurrent: self.waiting_room_max_concurrent,
            session_ms,
            session_cap_ms: defaults.session_cap_ms.max(session_ms),
            claim_ms: u64::from(self.waiting_room_claim_seconds) * 1_000,
            surge: Surge {
                automatic: self.waiting_room_auto,
                on_per_second: self.waiting_room_surge_per_second,
                off_per_second: self.waiting_room_calm_per_second,
                ..defaults.surge
            },
            ..defaults
        }
    }
}
