//! Checks that the services are configured for a sale; each error names the risk and the remedy.

use crate::archive::ServerInfo;
use crate::config::Config;
use crate::config::values::OnRisk;
use crate::redis::ServerFacts;

use super::StartError;

/// The oldest supported major version of Redis: older ones lack script flags.
const REDIS_MAJOR_MIN: u32 = 7;

/// Checks Redis' version, eviction policy and persistence.
pub(super) fn redis(facts: &ServerFacts, config: &Config) -> Result<(), StartError> {
    let ServerFacts { flavor, version, eviction_policy, append_only, major, .. } = facts;
    if *major < REDIS_MAJOR_MIN {
        let found = format!("{flavor} {version} is too old");
        return Err(StartError(format!("{found}: use Redis 7.0 or newer, or Valkey")));
    }
    tracing::info!(flavor, version, "connected to redis");
    if eviction_policy != "noeviction" {
        let risk = format!(
            "{flavor} may evict keys when memory is short (maxmemory-policy {eviction_policy}), \
             and with them seats and bookings: CONFIG SET maxmemory-policy noeviction"
        );
        handle_risk(config.redis_eviction, "redis_eviction", risk)?;
    }
    if !append_only {
        let risk = format!(
            "{flavor} keeps no append-only file: if it restarts, holds and sales that are not \
             archived yet are lost: CONFIG SET appendonly yes"
        );
        handle_risk(config.redis_persistence, "redis_persistence", risk)?;
    }
    Ok(())
}

/// Warns if a Redis has fewer replicas than answers wait for.
pub(super) fn replicas(facts: &ServerFacts, required: u32) {
    let ServerFacts { flavor, replicas, .. } = facts;
    if *replicas < u64::from(required) {
        tracing::warn!(
            "{flavor} has {replicas} replicas, redis_wait_replicas is {required}: until there are as \
             many, answers are `accepted`, each after redis_wait_timeout_ms"
        );
    }
}

/// Logs MongoDB's version and topology. Any version that the driver supports is accepted.
pub(super) fn mongodb(info: &ServerInfo) {
    let ServerInfo { version, replica_set, sharded } = info;
    tracing::info!(version, replica_set, sharded, "connected to mongodb");
    if replica_set.is_none() && !sharded {
        tracing::warn!("mongodb is a standalone server: if its disk is lost, so is the archive");
    }
}

fn handle_risk(on_risk: OnRisk, setting: &str, risk: String) -> Result<(), StartError> {
    match on_risk {
        OnRisk::Ignore => Ok(()),
        OnRisk::Warn => {
            tracing::warn!("{risk}");
            Ok(())
        }
        OnRisk::Refuse => Err(StartError(format!("{risk} (or set {setting} = \"warn\")"))),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn facts() -> ServerFacts {
        ServerFacts {
            flavor: "redis",
            version: "7.0.15".into(),
            major: 7,
            eviction_policy: "noeviction".into(),
            append_only: true,
            replicas: 0,
            role: "master".into(),
            primary: ":".into(),
            is_loading: false,
            memory_used_bytes: 1_000,
            memory_limit_bytes: None,
            clients: 1,
        }
    }

    fn strict() -> Config {
        Config {
            redis_eviction: OnRisk::Refuse,
            redis_persistence: OnRisk::Refuse,
            ..Config::default()
        }
    }

    #[test]
    fn well_configured_redis_is_accepted() {
        assert_eq!(redis(&facts(), &strict()), Ok(()));
    }

    #[test]
    fn misconfigured_redis_is_refused_with_the_remedy() {
        type Break = fn(&mut ServerFacts);
        let cases: [(Break, &str); 3] = [
            (|f| f.major = 6, "too old: use Redis 7.0"),
            (|f| f.eviction_policy = "allkeys-lru".into(), "maxmemory-policy noeviction"),
            (|f| f.append_only = false, "CONFIG SET appendonly yes (or set redis_persistence"),
        ];
        for (break_it, expected) in cases {
            let mut facts = facts();
            break_it(&mut facts);
            let refusal = redis(&facts, &strict()).unwrap_err().0;
            assert!(refusal.contains(expected), "{refusal}");
        }
    }

    #[test]
    fn risks_can_be_accepted() {
        let risky = ServerFacts { append_only: false, ..facts() };
        assert_eq!(redis(&risky, &Config::default()), Ok(()));
    }
}
