//! One attempt to reach each service, and whether what it met may pass by itself.

use std::sync::Arc;

use super::waiting::Obstacle;
use super::{StartError, archive_config, checks, nodes_facts, redis_away, redis_settings, refusal};
use crate::archive::{Archive, ArchiveError, is_insecure};
use crate::config::Config;
use crate::redis::scripts::{ClockSource, Scripts};
use crate::redis::{Engine, Observer, RedisError, ServerFacts};

/// Redis, connected and found fit. What the settings say to warn about is logged.
pub(super) async fn redis(
    config: &Config,
    observer: Arc<dyn Observer>,
) -> Result<Engine, Obstacle> {
    let away = |error: RedisError| {
        let is_lasting = error.is_lasting();
        let error = redis_away(error, config);
        if is_lasting { Obstacle::Lasting(error) } else { Obstacle::Passing(error) }
    };
    let scripts = Scripts::embedded(ClockSource::Redis);
    let settings = redis_settings(config).map_err(Obstacle::Lasting)?;
    let engine = Engine::connect(settings, scripts, observer).await.map_err(away)?;
    let fit = match nodes_facts(&engine).await {
        Ok(nodes) => all_fit(&nodes, config),
        Err(error) => Err(away(error)),
    };
    match fit {
        Ok(()) => Ok(engine),
        Err(obstacle) => {
            engine.close().await;
            Err(obstacle)
        }
    }
}

/// Whether no node is unfit for good, and at least one is fit now: the others of a Cluster may come.
fn all_fit(nodes: &[ServerFacts], config: &Config) -> Result<(), Obstacle> {
    let (mut has_fit, mut passing) = (false, None);
    for facts in nodes {
        match fit(facts, config) {
            Ok(()) => has_fit = true,
            Err(Obstacle::Passing(error)) => passing = Some(Obstacle::Passing(error)),
            Err(lasting) => return Err(lasting),
        }
    }
    passing.filter(|_| !has_fit).map_or(Ok(()), Err)
}

fn fit(facts: &ServerFacts, config: &Config) -> Result<(), Obstacle> {
    let ServerFacts { flavor, is_loading, role, primary, .. } = facts;
    let where_to = &config.redis_url;
    if *is_loading {
        let text = format!("{flavor} at {where_to} is loading its data");
        return Err(Obstacle::Passing(StartError(text)));
    }
    if role != "master" {
        return Err(Obstacle::Passing(StartError(format!(
            "{flavor} at {where_to} is a replica of {primary} and takes no writes: set \
             HOLDFAST_REDIS_URL to its primary, or to the Sentinels that know it"
        ))));
    }
    checks::redis(facts, config).map_err(Obstacle::Lasting)
}

/// The archive, reached, claimed for this deployment and indexed, and its id.
pub(super) async fn mongodb(config: &Config) -> Result<(Archive, String), Obstacle> {
    let refused = |error: ArchiveError| {
        let is_lasting = error.is_lasting();
        let error = refusal(error, config);
        if is_lasting { Obstacle::Lasting(error) } else { Obstacle::Passing(error) }
    };
    let archive = Archive::connect(&archive_config(config)).await.map_err(refused)?;
    checks::mongodb(&archive.server_info().await.map_err(refused)?);
    if is_insecure(&config.mongodb_url) {
        tracing::warn!(
            "mongodb_url says not to check the server's certificate: whoever is between can read \
             and change everything (tlsInsecure, tlsAllowInvalidCertificates)"
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
    fn replica_and_loading_may_pass_and_an_old_version_does_not() {
        let config = Config::default();
        let fit = |change: fn(&mut ServerFacts)| fit(&facts(change), &config);
        assert!(fit(|_| ()).is_ok());
        let Err(Obstacle::Passing(error)) = fit(|facts| facts.is_loading = true) else {
            panic!("loading passes");
        };
        assert!(error.0.contains("is loading its data"), "{error}");
        let replica = fit(|facts| {
            facts.role = "slave".to_owned();
            facts.primary = "10.0.0.7:6379".to_owned();
        });
        let Err(Obstacle::Passing(error)) = replica else { panic!("a failover passes") };
        assert!(error.0.contains("is a replica of 10.0.0.7:6379"), "{error}");
        assert!(matches!(fit(|facts| facts.major = 6), Err(Obstacle::Lasting(_))));
    }
}
