//! Process start: connects to Redis and MongoDB, checks their configuration, and builds the sale's parts from
//! the settings.

mod attempts;
mod certificates;
mod checks;
mod commands;
mod control;
mod log_level;
mod observers;
mod probes;
mod program;
mod reload;
mod reloading;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use crate::archive::{Archive, ArchiveConfig, ArchiveError};
use crate::config::Config;
use crate::config::values::PaymentProvider;
use crate::domain::TokenKeys;
use crate::domain::admission_token::SECRET_BYTES_MIN;
use crate::faults::Faults;
use crate::lifecycle::Shutdown;
use crate::lifecycle::Supervisor;
use crate::live::{LiveObserver, LiveSettings, LiveState};
use crate::otlp::{Export, OtlpSettings};
use crate::payments::{
    GuardedProvider, Provider, Simulated, SimulatedSettings, Stripe, StripeSettings, Traced,
};
use crate::redis::scripts::{ClockSource, Scripts};
use crate::redis::{
    AddressFault, Engine, Observer, RedisError, RedisSettings, ServerFacts, WORKER_GROUP,
};
use crate::sale::{Observers, Parts, PaymentService, Sale, SaleSettings};
use crate::telemetry::Metrics;

pub use certificates::show as show_certificates;
pub use commands::{ApiArguments, WorkerArguments, server_commands};
pub use observers::show_breakers;
use probes::PendingServices;
pub use program::{Failure, program};
use reload::RoomTokens;
pub use reload::{Prepared, Reloadable, Reloads};
pub use reloading::ReloadSource;
use waiting::WaitLimit;
pub use waiting::connect_patiently;

/// Why a process does not start; the text says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// An observer that records nothing, for tools.
pub struct Unobserved;

impl Observer for Unobserved {
    fn script_called(&self, _: &'static str, _: &'static str, _: f64) {}
}

impl LiveObserver for Unobserved {
    fn view(&self, _: &'static str) {}
    fn beat(&self) {}
    fn state(&self, _: &LiveState) {}
}

/// The connected services of a process.
pub struct Services {
    /// Redis.
    pub engine: Engine,
    /// MongoDB.
    pub archive: Archive,
    /// The payment provider.
    pub provider: Arc<dyn Provider>,
    /// The supervisor of the process' background tasks.
    pub supervisor: Supervisor,
    /// The archive's id, which identifies the deployment in tokens.
    pub deployment_id: String,
    /// The settings in effect, and the parts that a reload changes.
    pub reloads: Reloads,
    /// The export of traces, if it is on; the last spans are sent when it is finished.
    pub traces: Export,
}

/// Connects to both services and checks them, without waiting for them.
///
/// # Errors
/// If a service does not respond, is too old, belongs to another deployment, or has a configuration that
/// the settings refuse.
pub async fn connect(config: &Config, metrics: &Metrics) -> Result<Services, StartError> {
    let limit = WaitLimit::Within(Duration::ZERO);
    waiting::connect_within(limit, &PendingServices::default(), config, metrics).await
}

/// The payment provider, which is also logged.
fn provider_of(config: &Config, archive: &Archive) -> Result<Arc<dyn Provider>, StartError> {
    let provider = provider(config, archive)?;
    match config.payment_provider {
        PaymentProvider::Simulated => tracing::warn!(
            "payments are simulated: no money moves (payment_provider = \"simulated\")"
        ),
        PaymentProvider::Stripe => tracing::info!(url = %config.stripe_url, "payments by stripe"),
    }
    Ok(provider)
}

/// Starts the export of traces, if it is on.
///
/// # Errors
/// If the collector's address or credentials cannot be sent in a request.
fn traces(
    service: &'static str,
    config: &Config,
    supervisor: &Supervisor,
) -> Result<Export, StartError> {
    let Some(collector) = config.otlp_collector().map_err(|error| StartError(error.0))? else {
        return Ok(Export::default());
    };
    let settings = OtlpSettings {
        url: collector.url,
        credentials: collector.credentials,
        service,
        per_million: config.trace_sample_per_million,
        caller_per_second: config.trace_caller_per_second,
    };
    let export = Export::start(settings, supervisor)
        .map_err(|error| StartError(format!("otlp_url: {error}")))?;
    let per_million = config.trace_sample_per_million;
    tracing::info!(url = %config.otlp_url, per_million, "exporting traces");
    Ok(export)
}

/// The payment provider. Sends no request yet.
///
/// # Errors
/// If the settings cannot be sent in a request to it.
pub fn provider(config: &Config, archive: &Archive) -> Result<Arc<dyn Provider>, StartError> {
    let timeout = Duration::from_millis(config.payment_timeout_ms);
    let provider: Arc<dyn Provider> = match config.payment_provider {
        PaymentProvider::Simulated => Arc::new(Simulated::new(
            archive,
            SimulatedSettings {
                latency: Duration::from_millis(config.simulated_latency_ms),
                timeout,
                decline_percent: config.simulated_decline_percent,
                timeout_percent: config.simulated_timeout_percent,
                error_percent: config.simulated_error_percent,
            },
        )),
        PaymentProvider::Stripe => {
            let stripe = Stripe::new(&StripeSettings {
                url: config.stripe_url.expose(),
                secret_key: config.stripe_secret_key.expose(),
                timeout,
            });
            Arc::new(stripe.map_err(|error| StartError(format!("stripe: {error}")))?)
        }
    };
    Ok(Arc::new(GuardedProvider::new(Arc::new(Traced::new(provider)))))
}

/// The signing keys of the waiting room's tokens. Without configured secrets, which is allowed on loopback,
/// the process generates one, logs the consequences and shows it in metrics.
///
/// # Errors
/// If the secrets cannot be used.
fn token_keys(
    config: &Config,
    deployment_id: &str,
    metrics: &Metrics,
) -> Result<TokenKeys, StartError> {
    let configured = config.token_keys(deployment_id).map_err(|error| StartError(error.0))?;
    metrics.token_secret_generated.set(configured.is_none().into());
    if let Some(keys) = configured {
        return Ok(keys);
    }
    tracing::warn!(
        "token_secrets has no secret: admission tokens end with this process, and no other process \
         accepts them (HOLDFAST_TOKEN_SECRETS=k1:<openssl rand -hex 32>)"
    );
    let secret: [u8; SECRET_BYTES_MIN] = rand::random();
    let deployment = config.deployment_tag(deployment_id);
    TokenKeys::new(deployment, &[("process", &secret)])
        .map_err(|fault| StartError(fault.to_string()))
}

/// Connects to Redis and checks its configuration; logs warnings about its settings.
pub async fn engine(config: &Config, observer: Arc<dyn Observer>) -> Result<Engine, StartError> {
    Ok(attempts::redis(config, observer).await?)
}

/// The facts of every node that responds.
///
/// # Errors
/// If no node responds: the reason of one.
async fn nodes_facts(engine: &Engine) -> Result<Vec<ServerFacts>, RedisError> {
    let (mut facts, mut error) = (Vec::new(), None);
    for one in engine.nodes_facts().await {
        match one.answer {
            Ok(found) => facts.push(found),
            Err(why) => {
                tracing::warn!(node = one.node, partitions = one.partitions, error = %why, "a node of redis does not respond");
                error = Some(why);
            }
        }
    }
    match error {
        Some(error) if facts.is_empty() => Err(error),
        _ => Ok(facts),
    }
}

/// Makes answers wait for Redis' replicas, if configured. With fewer replicas the process still starts:
/// answers say `accepted` until there are enough.
///
/// # Errors
/// If Redis accepts no more connections.
pub async fn replication(services: &Services, config: &Config) -> Result<(), StartError> {
    let Services { engine, supervisor, .. } = services;
    let (replicas, wait_ms) = (config.redis_wait_replicas, config.redis_wait_timeout_ms);
    if replicas == 0 {
        return Ok(());
    }
    let away = |error| redis_away(error, config);
    let facts = nodes_facts(engine).await.map_err(away)?;
    facts.iter().for_each(|one| checks::replicas(one, replicas));
    let bound = Duration::from_millis(wait_ms);
    engine.ask_replicas(replicas, bound, supervisor).await.map_err(away)
}

/// Connects to Redis without checking its configuration, for tools.
pub async fn existing_engine(config: &Config) -> Result<Engine, StartError> {
    let settings = RedisSettings { clients: 1, ..redis_settings(config)? };
    let scripts = Scripts::embedded(ClockSource::Redis);
    let engine = Engine::connect(settings, scripts, Arc::new(Unobserved)).await;
    engine.map_err(|error| redis_away(error, config))
}

/// Connects to the archive, claims it for this deployment and creates its indexes.
pub async fn archive(config: &Config) -> Result<Archive, StartError> {
    Ok(attempts::mongodb(config).await?.0)
}

/// Connects to the archive and checks that it is this deployment's, without writing, for tools.
pub async fn existing_archive(config: &Config) -> Result<Archive, StartError> {
    let refused = |error| refusal(error, config);
    let archive = Archive::connect(&archive_config(config)).await.map_err(refused)?;
    archive.recognise(config.partitions).await.map_err(refused)?;
    Ok(archive)
}

/// Both services and the provider, for tools.
pub async fn existing(config: &Config) -> Result<Services, StartError> {
    let (engine, archive) = (existing_engine(config).await?, existing_archive(config).await?);
    let provider = provider(config, &archive)?;
    // Its metrics are unused: a tool has no supervised tasks.
    let supervisor = Supervisor::new(&Metrics::new("holdfastctl"));
    // A tool issues no tokens and needs no id.
    let deployment_id = String::new();
    let traces = Export::default();
    let reloads = Reloads::new(config);
    Ok(Services { engine, archive, provider, supervisor, deployment_id, reloads, traces })
}

fn redis_away(error: RedisError, config: &Config) -> StartError {
    let where_to = &config.redis_url;
    StartError(format!("{error}. Start Redis, or set HOLDFAST_REDIS_URL, now {where_to}"))
}

/// Why the archive cannot be used, and what to change.
pub(crate) fn refusal(error: ArchiveError, config: &Config) -> StartError {
    let (ArchiveError::Unavailable(_) | ArchiveError::NotRun(_)) = error else {
        return StartError(error.to_string());
    };
    let where_to = &config.mongodb_url;
    StartError(format!("{error}. Start MongoDB, or set HOLDFAST_MONGODB_URL, now {where_to}"))
}

/// Starts the sale on these services, with its background tasks, which end at shutdown.
///
/// # Errors
/// If the secrets of the waiting room's tokens cannot be used.
pub fn sale(
    services: &Services,
    config: &Config,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Result<Sale, StartError> {
    let parts = Parts {
        engine: services.engine.clone(),
        // A request does not wait for a database that does not answer.
        archive: services.archive.promptly(),
        provider: services.provider.clone(),
        keys: token_keys(config, &services.deployment_id, metrics)?,
        settings: sale_settings(config),
        live: live_settings(config),
        supervisor: services.supervisor.clone(),
    };
    let observers = Observers {
        sale: Arc::new(observers::SaleMetrics::new(metrics)),
        live: Arc::new(observers::LiveMetrics::new(metrics)),
    };
    let faults = Arc::new(Faults::new(config.api_fault_point));
    let sale = Sale::start(parts, observers, faults, shutdown);
    services.reloads.register(Arc::new(RoomTokens {
        rooms: sale.waiting_room().clone(),
        settings: services.reloads.settings().clone(),
        deployment_id: services.deployment_id.clone(),
    }));
    Ok(sale)
}

/// The payment service of the worker and the operator's tool.
pub fn payments(
    services: &Services,
    config: &Config,
    metrics: &Metrics,
    faults: Arc<Faults>,
) -> PaymentService {
    PaymentService::new(
        services.engine.clone(),
        services.archive.clone(),
        services.provider.clone(),
        &sale_settings(config),
        Arc::new(observers::SaleMetrics::new(metrics)),
        faults,
    )
}

/// Raises the soft limit of open files to the hard limit: every connection is a file, and the usual soft
/// limit is 1,024.
pub fn raise_open_files() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "raising the limit of open files failed");
    }
}

/// The connection settings of Redis. Reads the files of certificates and keys.
///
/// # Errors
/// If the address or one of the files cannot be used; waiting does not help.
pub fn redis_settings(config: &Config) -> Result<RedisSettings, StartError> {
    let unusable = |fault: AddressFault| match fault {
        // This fault names its setting.
        AddressFault::Tls(fault) => StartError(fault.to_string()),
        fault => StartError(format!("redis_url: {fault}")),
    };
    let address = config.redis_address().map_err(unusable)?;
    address.load().map_err(unusable)?;
    Ok(RedisSettings {
        address,
        namespace: config.redis_namespace.clone(),
        partitions: config.partitions,
        clients: config.redis_clients as usize,
        timeout_ms: config.redis_timeout_ms,
        in_flight_max: config.redis_in_flight_max as usize,
    })
}

/// The connection settings of the archive.
pub fn archive_config(config: &Config) -> ArchiveConfig {
    ArchiveConfig {
        url: config.mongodb_url.expose().to_owned(),
        database: config.mongodb_database.clone(),
        op_timeout_ms: config.mongodb_timeout_ms,
    }
}

/// The settings of live views.
pub fn live_settings(config: &Config) -> LiveSettings {
    LiveSettings {
        staleness: Duration::from_millis(config.live_staleness_ms),
        idle: Duration::from_secs(config.live_idle_seconds),
        seats_max: config.live_seats_max,
        log_entries_max: config.log_entries_max,
    }
}

/// The settings of a sale.
pub fn sale_settings(config: &Config) -> SaleSettings {
    let ms = |seconds: u32| i64::from(seconds) * 1_000;
    SaleSettings {
        hold_ttl_ms: ms(config.hold_ttl_seconds),
        max_hold_ms: ms(config.max_hold_seconds),
        max_seats_per_user: config.max_seats_per_user,
        currency: config.currency.clone(),
        chargeable: config.chargeable(),
        idempotency_ttl_ms: ms(config.idempotency_ttl_seconds),
        confirm_wait: Duration::from_millis(config.confirm_wait_ms),
        // `config` bounds it far below the range of an i64.
        confirm_lease_ms: config.confirm_lease_ms as i64,
        ended_keep_seconds: config.ended_keep_seconds,
        confirm_attempts_max: i64::from(config.confirm_attempts_max),
        unfinished_max: config.abort_queue_max as usize,
        log_entries_max: config.log_entries_max,
        token_ttl_ms: ms(config.waiting_room_token_ttl_seconds),
        room_defaults: config.room_defaults(),
        count_queries_per_second: config.seat_map_renders_per_second,
        worker_group: WORKER_GROUP.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_milliseconds() {
        let config = Config { hold_ttl_seconds: 7, max_hold_seconds: 9, ..Config::default() };
        let settings = sale_settings(&config);
        assert_eq!((settings.hold_ttl_ms, settings.max_hold_ms), (7_000, 9_000));
        assert_eq!(settings.idempotency_ttl_ms, 86_400_000);
    }

    #[test]
    fn unavailable_mongodb_is_reported_in_one_line_without_its_password() {
        let config = Config { mongodb_url: "mongodb://ann:pw@h".into(), ..Config::default() };
        let error = ArchiveError::Unavailable("No available servers".to_owned());
        let text = refusal(error, &config).to_string();
        let expected = "MongoDB is unavailable: No available servers. Start MongoDB, or set \
            HOLDFAST_MONGODB_URL, now mongodb://***@h";
        assert_eq!(text, expected);
    }
}
