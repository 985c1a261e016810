//! One attempt to connect to each service, and whether its failure may be temporary.

use std::sync::Arc;

use super::{StartError, archive_config, checks, nodes_facts, redis_away, redis_settings, refusal};
use crate::archive::{Archive, ArchiveError, is_insecure};
use crate::config::Config;
use crate::redis::scripts::{ClockSource, Scripts};
use crate::redis::{Engine, Observer, RedisError, ServerFacts};

/// Why an attempt to connect to a service failed.
#[derive(Debug)]
pub(super) enum ConnectFailure {
    /// It may pass by itself.
    Temporary(StartError),
    /// Waiting does not help.
    Permanent(StartError),
}

impl From<ConnectFailure> for StartError {
    fn from(failure: ConnectFailure) -> Self {
        let (ConnectFailure::Temporary(error) | ConnectFailure::Permanent(error)) = failure;
        error
    }
}

/// Connects to Redis and checks its configuration; logs warnings about its settings.
pub(super) async fn redis(
    config: &Config,
    observer: Arc<dyn Observer>,
) -> Result<Engine, ConnectFailure> {
    let away = |error: RedisError| {
        let is_lasting = error.is_lasting();
        let error = redis_away(error, config);
        if is_lasting { ConnectFailure::Permanent(error) } else { ConnectFailure::Temporary(error) }
    };
    let scripts = Scripts::embedded(ClockSource::Redis);
    let settings = redis_settings(config).map_err(ConnectFailure::Permanent)?;
    let engine = Engine::connect(settings, scripts, observer).await.map_err(away)?;
    let checked = match nodes_facts(&engine).await {
        Ok(nodes) => check_nodes(&nodes, config),
        Err(error) => Err(away(error)),
    };
    let checked = match checked {
        Ok(()) => check_format(&engine, config).await,
        failed => failed,
    };
    match checked {
        Ok(()) => Ok(engine),
        Err(failure) => {
            engine.close().await;
            Err(failure)
        }
    }
}

/// Checks that Redis has no data of a build with another format. A partition that does not answer now is
/// not checked: what it has is refused when it is read.
async fn check_format(engine: &Engine, config: &Config) -> Result<(), ConnectFailure> {
    for partition in engine.keys().all_partitions() {
        if engine.has_other_format(partition).await.unwrap_or(false) {
            return Err(ConnectFailure::Permanent(StartError(format!(
                "the data in redis at {} are of another version of Holdfast ({partition}): end its sales \
                 with that version and unload them (holdfastctl events unload), or start on an empty \
                 Redis and restore what was sold from MongoDB (holdfastctl restore)",
                config.redis_url
            ))));
        }
    }
    Ok(())
}

/// Checks that no node fails permanently and at least one is usable now; other nodes of a Cluster may
/// become usable later.
fn check_nodes(nodes: &[ServerFacts], config: &Config) -> Result<(), ConnectFailure> {
    let (mut has_usable, mut temporary) = (false, None);
    for facts in nodes {
        match check_node(facts, config) {
            Ok(()) => has_usable = true,
            Err(ConnectFailure::Temporary(error)) => {
                temporary = Some(ConnectFailure::Temporary(error))
            }
            Err(permanent) => return Err(permanent),
        }
    }
    temporary.filter(|_| !has_usable).map_or(Ok(()), Err)
}

fn check_node(facts: &ServerFacts, config: &Config) -> Result<(), ConnectFailure> {
    let ServerFacts { flavor, is_loading, role, primary, .. } = facts;
    let where_to = &config.redis_url;
    if *is_loading {
        let text = format!("{flavor} at {where_to} is loading its data");
        return Err(ConnectFailure::Temporary(StartError(text)));
    }
    if role != "master" {
        return Err(ConnectFailure::Temporary(StartError(format!(
            "{flavor} at {where_to} is a replica of {primary} and takes no writes: set \
             HOLDFAST_REDIS_URL to its primary, or to the Sentinels that know it"
        ))));
    }
    checks::redis(facts, config).map_err(ConnectFailure::Permanent)
}

/// Connects to the archive, claims it for this deployment and creates its indexes; returns it with the
/// deployment's id.
pub(super) async fn mongodb(config: &Config) -> Result<(Archive, String), ConnectFailure> {
    let refused = |error: ArchiveError| {
        let is_lasting = error.is_lasting();
        let error = refusal(error, config);
        if is_lasting { ConnectFailure::Permanent(error) } else { ConnectFailure::Temporary(error) }
    };
    let archive = Archive::connect(&archive_config(config)).await.map_err(refused)?;
    checks::mongodb(&archive.server_info().await.map_err(refused)?);
    if is_insecure(&config.mongodb_url) {
        tracing::warn!(
            "mongodb_url disables the check of the server's certificate: an attacker in between can \
             read and change everything (tlsInsecure, tlsAllowInvalidCertificates)"
        );
    }
    archive.prepare(config.partitions).await.map_err(refused)?;
    let deployment_id = archive.deployment_id().await.map_err(refused)?;
    Ok((archive, deployment_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(change: impl FnOnce(&mut ServerFacts)) -> ServerFacts {
        let mut facts = checks::tests::facts();
        change(&mut facts);
        facts
    }

    #[test]
    fn replica_and_loading_are_temporary_and_an_old_version_is_permanent() {
        let config = Config::default();
        let check = |change: fn(&mut ServerFacts)| check_node(&facts(change), &config);
        assert!(check(|_| ()).is_ok());
        let Err(ConnectFailure::Temporary(error)) = check(|facts| facts.is_loading = true) else {
            panic!("loading is temporary");
        };
        assert!(error.0.contains("is loading its data"), "{error}");
        let replica = check(|facts| {
            facts.role = "slave".to_owned();
            facts.primary = "10.0.0.7:6379".to_owned();
        });
        let Err(ConnectFailure::Temporary(error)) = replica else {
            panic!("a replica is temporary")
        };
        assert!(error.0.contains("is a replica of 10.0.0.7:6379"), "{error}");
        assert!(matches!(check(|facts| facts.major = 6), Err(ConnectFailure::Permanent(_))));
    }
}
