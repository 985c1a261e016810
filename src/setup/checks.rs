//! What Redis must be like so that a sale survives: new enough, keeping every key, keeping them
//! on disk. The last two are for operators to judge (`warn`, `refuse`, `ignore`).

use crate::config::Config;
use crate::config::values::OnRisk;
use crate::redis::ServerFacts;

/// The oldest Redis with everything the scripts use; Valkey speaks for it from its first version.
const REDIS_MAJOR_MIN: u32 = 7;
/// The one eviction policy that never drops a seat.
const KEEPS_ALL_KEYS: &str = "noeviction";

/// Why this Redis should not run a sale; each text says how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Risk {
    /// The server lacks what the scripts use.
    #[error("Redis {0} is too old: Holdfast needs Redis 7.0 or newer, or Valkey")]
    TooOld(String),
    /// Seats and bookings may be dropped when memory is short.
    #[error(
        "Redis may drop seats and bookings when its memory is full (maxmemory-policy {0}): set \
         `maxmemory-policy noeviction` in redis.conf; redis_eviction = \"ignore\" starts without"
    )]
    Evicts(String),
    /// A restart loses what was not archived yet.
    #[error(
        "Redis keeps nothing on disk, a restart loses holds and sales under way: set \
         `appendonly yes` in redis.conf; redis_persistence = \"ignore\" starts without"
    )]
    Forgets,
}

/// Judges the facts; what is only to be warned about is logged.
pub(super) fn check_redis(facts: &ServerFacts, config: &Config) -> Result<(), Risk> {
    if facts.major < REDIS_MAJOR_MIN {
        return Err(Risk::TooOld(facts.version.clone()));
    }
    if facts.eviction_policy != KEEPS_ALL_KEYS {
        judge(config.redis_eviction, Risk::Evicts(facts.eviction_policy.clone()))?;
    }
    if !facts.append_only {
        judge(config.redis_persistence, Risk::Forgets)?;
    }
    Ok(())
}

fn judge(on_risk: OnRisk, risk: Risk) -> Result<(), Risk> {
    match on_risk {
        OnRisk::Refuse => return Err(risk),
        OnRisk::Warn => tracing::warn!("{risk}"),
        OnRisk::Ignore => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safe() -> ServerFacts {
        ServerFacts {
            flavor: "redis",
            version: "7.0.15".into(),
            major: 7,
            eviction_policy: KEEPS_ALL_KEYS.into(),
            append_only: true,
        }
    }

    #[test]
    fn risks_are_refused_only_where_the_operator_says_so() {
        let evicting = ServerFacts { eviction_policy: "allkeys-lru".into(), ..safe() };
        let forgetful = ServerFacts { append_only: false, ..safe() };
        let strict = Config {
            redis_eviction: OnRisk::Refuse,
            redis_persistence: OnRisk::Refuse,
            ..Config::default()
        };
        assert_eq!(check_redis(&safe(), &strict), Ok(()));
        assert_eq!(check_redis(&evicting, &strict), Err(Risk::Evicts("allkeys-lru".into())));
        assert_eq!(check_redis(&forgetful, &strict), Err(Risk::Forgets));
        for facts in [evicting, forgetful] {
            assert_eq!(check_redis(&facts, &Config::default()), Ok(()));
        }
    }

    #[test]
    fn an_old_server_is_always_refused() {
        let old = ServerFacts { version: "6.2.1".into(), major: 6, ..safe() };
        let lax = Config { redis_eviction: OnRisk::Ignore, ..Config::default() };
        assert_eq!(check_redis(&old, &lax), Err(Risk::TooOld("6.2.1".into())));
    }
}
