//! Waits for Redis and MongoDB at the start: for both concurrently, within `start_wait_seconds`, and
//! reports which services are pending and why.
//!
//! | what an attempt finds | result |
//! |---|---|
//! | no connection, no reply, a Redis that is loading its data or is a replica | another attempt, until the time is over |
//! | refused credentials, an unusable URL or server, another deployment's database | the start fails at once |
//! | SIGTERM | the process ends in order |

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::attempts::{self, ConnectFailure};
use super::probes::{PendingServices, StartupProbes};
use super::{Reloads, Services, StartError, observers, provider_of};
use crate::backoff::Backoff;
use crate::config::Config;
use crate::lifecycle::Shutdown;
use crate::lifecycle::Supervisor;
use crate::otlp::Export;
use crate::telemetry::Metrics;

/// Pauses between two attempts: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often a pending service is logged.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// How long to wait for the services.
#[derive(Clone, Copy, Debug)]
pub(super) enum WaitLimit {
    Within(Duration),
    Forever,
}

impl WaitLimit {
    pub fn from_config(config: &Config) -> Self {
        match u64::try_from(config.start_wait_seconds) {
            Ok(seconds) => WaitLimit::Within(Duration::from_secs(seconds)),
            Err(_) => WaitLimit::Forever,
        }
    }

    /// The remaining time.
    fn remaining(self, waited: Duration) -> Duration {
        match self {
            WaitLimit::Within(bound) => bound.saturating_sub(waited),
            WaitLimit::Forever => Duration::MAX,
        }
    }
}

/// Connects to both services and waits for them as configured; returns `None` if shutdown is requested
/// meanwhile. Answers probes on the listeners while it waits.
///
/// # Errors
/// If a service is not available in time, or is unusable.
pub async fn connect_patiently(
    service: &'static str,
    listeners: &[&TcpListener],
    config: &Config,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Result<Option<Services>, StartError> {
    let pending = PendingServices::default();
    let probes = StartupProbes::start(service, listeners, &pending);
    let _probes = probes.map_err(|error| StartError(format!("cannot answer probes: {error}")))?;
    tokio::select! {
        connected = connect_within(WaitLimit::from_config(config), &pending, config, metrics) => {
            let mut services = connected?;
            services.traces = super::traces(service, config, &services.supervisor)?;
            Ok(Some(services))
        }
        () = shutdown.requested() => {
            tracing::info!(waited_for = pending.services().join(", "), "ending before the start");
            Ok(None)
        }
    }
}

pub(super) async fn connect_within(
    limit: WaitLimit,
    pending: &PendingServices,
    config: &Config,
    metrics: &Metrics,
) -> Result<Services, StartError> {
    let observer = Arc::new(observers::RedisMetrics::new(metrics));
    let redis = limit.wait("redis", pending, || attempts::redis(config, observer.clone()));
    let mongodb = limit.wait("mongodb", pending, || attempts::mongodb(config));
    // A permanent failure of one service ends the wait for both.
    let (engine, (archive, deployment_id)) = tokio::try_join!(redis, mongodb)?;
    let provider = provider_of(config, &archive)?;
    super::show_certificates(config, metrics);
    let supervisor = Supervisor::new(metrics);
    let traces = Export::default();
    let reloads = Reloads::new(config);
    Ok(Services { engine, archive, provider, supervisor, deployment_id, reloads, traces })
}

impl WaitLimit {
    async fn wait<T, F>(
        self,
        service: &'static str,
        pending: &PendingServices,
        attempt: impl Fn() -> F,
    ) -> Result<T, StartError>
    where
        F: Future<Output = Result<T, ConnectFailure>>,
    {
        let began = Instant::now();
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        let mut logged_at: Option<Instant> = None;
        loop {
            let StartError(reason) = match attempt().await {
                Ok(connected) => {
                    if pending.remove(service) {
                        let waited_seconds = began.elapsed().as_secs();
                        tracing::info!(waited_seconds, "{service} is available");
                    }
                    return Ok(connected);
                }
                Err(ConnectFailure::Permanent(error)) => return Err(error),
                Err(ConnectFailure::Temporary(error)) => error,
            };
            let waited = began.elapsed();
            let remaining = self.remaining(waited);
            if remaining.is_zero() {
                return Err(StartError(timeout_text(reason, logged_at.map(|_| waited))));
            }
            if logged_at.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
                logged_at = Some(Instant::now());
                let (waited_seconds, up_to) = (waited.as_secs(), self.to_string());
                tracing::warn!(reason, waited_seconds, up_to, "waiting for {service}");
            }
            pending.insert(service, reason);
            sleep(backoff.pause().min(remaining)).await;
        }
    }
}

impl std::fmt::Display for WaitLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WaitLimit::Within(bound) => write!(f, "{} s", bound.as_secs()),
            WaitLimit::Forever => f.write_str("for ever"),
        }
    }
}

fn timeout_text(reason: String, waited: Option<Duration>) -> String {
    match waited {
        Some(waited) => {
            format!("{reason} (waited for {} s: start_wait_seconds)", waited.as_secs())
        }
        None => reason,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn temporary() -> ConnectFailure {
        ConnectFailure::Temporary(StartError("not there".to_owned()))
    }

    #[tokio::test]
    async fn wait_ends_when_the_service_is_available() {
        let (pending, attempts) = (PendingServices::default(), AtomicU32::new(0));
        let attempt = || {
            let number = attempts.fetch_add(1, Ordering::Relaxed);
            let services = pending.services();
            async move {
                assert_eq!(services.is_empty(), number == 0);
                if number < 3 { Err(temporary()) } else { Ok(number) }
            }
        };
        assert_eq!(WaitLimit::Forever.wait("redis", &pending, attempt).await, Ok(3));
        assert_eq!(pending.services(), Vec::<&str>::new());
    }

    #[tokio::test]
    async fn wait_is_bounded_and_zero_means_one_attempt() {
        let pending = PendingServices::default();
        let attempts = AtomicU32::new(0);
        let attempt = || {
            attempts.fetch_add(1, Ordering::Relaxed);
            async { Err::<(), _>(temporary()) }
        };
        let bounded = WaitLimit::Within(Duration::from_millis(300));
        let error = bounded.wait("redis", &pending, attempt).await.unwrap_err().0;
        assert_eq!(error, "not there (waited for 0 s: start_wait_seconds)");
        assert!(attempts.swap(0, Ordering::Relaxed) > 1);
        let none = WaitLimit::Within(Duration::ZERO);
        let error = none.wait("redis", &pending, attempt).await.unwrap_err().0;
        assert_eq!((error.as_str(), attempts.load(Ordering::Relaxed)), ("not there", 1));
    }

    #[tokio::test]
    async fn permanent_failure_ends_the_wait() {
        let permanent =
            || async { Err::<(), _>(ConnectFailure::Permanent(StartError("too old".to_owned()))) };
        let waited = WaitLimit::Forever.wait("redis", &PendingServices::default(), permanent).await;
        assert_eq!(waited, Err(StartError("too old".to_owned())));
    }
}
