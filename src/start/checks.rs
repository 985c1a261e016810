//! Whether the services are fit for a sale: what is wrong, what it would cost, how to mend it.

use crate::archive::ServerInfo;
use crate::config::Config;
use crate::config::values::OnRisk;
use crate::redis::ServerFacts;

use super::StartError;

/// The oldest major version of Redis whose scripts check what we rely on.
const REDIS_MAJOR_MIN: u32 = 7;

/// Redis: recent enough, evicting nothing, keeping what it is told.
pub(super) fn redis(facts: &ServerFacts, config: &Config) -> Result<(), StartError> {
    let ServerFacts { flavor, version, eviction_policy, append_only, major, .. } = facts;
    if *major < REDIS_MAJOR_MIN {
        let found = format!("{flavor} {version} is too old");
        return Err(StartError(format!("{found}: use Redis 7.0 or newer, or Valkey")));
    }
    tracing::info!(flavor, version, "redis answers");
    if eviction_policy != "noeviction" {
        let risk = format!(
            "{flavor} may evict keys when memory is short (maxmemory-policy {eviction_policy}), \
             and with them seats and bookings: CONFIG SET maxmemory-policy noeviction"
        );
        weigh(config.redis_eviction, "redis_eviction", risk)?;
    }
    if !append_only {
        let risk = format!(
            "{flavor} keeps no append-only file: if it restarts, holds and sales that are not \
             archived yet are lost: CONFIG SET appendonly yes"
        );
        weigh(config.redis_persistence, "redis_persistence", risk)?;
    }
    Ok(())
}

/// A Redis' replicas: as many as answers wait for.
pub(super) fn replicas(facts: &ServerFacts, wanted: u32) {
    let ServerFacts { flavor, replicas, .. } = facts;
    if *replicas < u64::from(wanted) {
        tracing::warn!(
            "{flavor} has {replicas} replicas, redis_wait_replicas is {wanted}: until there are as \
             many, answers are `accepted`, each after redis_wait_timeout_ms"
        );
    }
}

/// MongoDB: any version the driver takes will do; what it is goes to the log.
pub(super) fn mongodb(info: &ServerInfo) {
    let ServerInfo { version, replica_set, sharded } = info;
    tracing::info!(version, replica_set, sharded, "mongodb answers");
    if replica_set.is_none() && !sharded {
        tracing::warn!("mongodb is a standalone server: if its disk is lost, so is the archive");
    }
}

fn weigh(on_risk: OnRisk, setting: &str, risk: String) -> Result<(), StartError> {
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
    fn a_fit_redis_is_taken() {
        assert_eq!(redis(&facts(), &strict()), Ok(()));
    }

    #[test]
    fn an_unfit_redis_is_refused_with_the_remedy() {
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
    fn risks_can_be_taken() {
        let risky = ServerFacts { append_only: false, ..facts() };
        assert_eq!(redis(&risky, &Config::default()), Ok(()));
    }
}
