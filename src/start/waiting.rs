//! Waiting at the start for Redis and MongoDB: both at the same time, within `start_wait_seconds`,
//! saying what is waited for and why.
//!
//! | what an attempt meets | what follows |
//! |---|---|
//! | no connection, no answer, a Redis that loads its data or is a replica | another attempt, until the time is up |
//! | refused credentials, a URL or a server that will not do, another deployment's database | the start fails at once |
//! | SIGTERM | the start ends in order |

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::probes::Probes;
use super::{Services, StartError, attempts, observers, provider_of};
use crate::backoff::Backoff;
use crate::config::Config;
use crate::lifecycle::Shutdown;
use crate::lifecycle::Supervisor;
use crate::telemetry::Metrics;

/// Pauses between two attempts: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often it is logged what is waited for.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Why an attempt to reach a service failed.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// It may pass by itself.
    Passing(StartError),
    /// Waiting does not help.
    Lasting(StartError),
}

impl From<Obstacle> for StartError {
    fn from(obstacle: Obstacle) -> Self {
        let (Obstacle::Passing(error) | Obstacle::Lasting(error)) = obstacle;
        error
    }
}

/// What is waited for, by service, and why.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Waiting {
    /// The services that are waited for.
    pub fn services(&self) -> Vec<&'static str> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, String>> {
        // Nothing under this lock panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    Within(Duration),
    Forever,
}

impl Patience {
    pub fn of(config: &Config) -> Self {
        match u64::try_from(config.start_wait_seconds) {
            Ok(seconds) => Patience::Within(Duration::from_secs(seconds)),
            Err(_) => Patience::Forever,
        }
    }

    /// How much of it is left.
    fn left(self, waited: Duration) -> Duration {
        match self {
            Patience::Within(bound) => bound.saturating_sub(waited),
            Patience::Forever => Duration::MAX,
        }
    }
}

/// Connects to both services, and waits for them as the settings say; `None` if shutdown is
/// requested meanwhile. Probes on the listener are answered while it waits.
///
/// # Errors
/// If one is not there in time, or will not do.
pub async fn connect_patiently(
    service: &'static str,
    listener: &TcpListener,
    config: &Config,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Result<Option<Services>, StartError> {
    let waiting = Waiting::default();
    let probes = Probes::answer(service, listener, waiting.clone());
    let _probes = probes.map_err(|error| StartError(format!("cannot answer probes: {error}")))?;
    tokio::select! {
        connected = connect_within(Patience::of(config), &waiting, config, metrics) => {
            connected.map(Some)
        }
        () = shutdown.requested() => {
            tracing::info!(waited_for = waiting.services().join(", "), "ending before the start");
            Ok(None)
        }
    }
}

pub(super) async fn connect_within(
    patience: Patience,
    waiting: &Waiting,
    config: &Config,
    metrics: &Metrics,
) -> Result<Services, StartError> {
    let observer = Arc::new(observers::RedisMetrics::new(metrics));
    let redis = patience.wait("redis", waiting, || attempts::redis(config, observer.clone()));
    let mongodb = patience.wait("mongodb", waiting, || attempts::mongodb(config));
    // Whichever fails for good ends it, whatever the other waits for.
    let (engine, (archive, deployment_id)) = tokio::try_join!(redis, mongodb)?;
    let provider = provider_of(config, &archive)?;
    let supervisor = Supervisor::new(metrics);
    Ok(Services { engine, archive, provider, supervisor, deployment_id })
}

impl Patience {
    async fn wait<T, F>(
        self,
        service: &'static str,
        waiting: &Waiting,
        attempt: impl Fn() -> F,
    ) -> Result<T, StartError>
    where
        F: Future<Output = Result<T, Obstacle>>,
    {
        let began = Instant::now();
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        let mut told_at: Option<Instant> = None;
        loop {
            let StartError(reason) = match attempt().await {
                Ok(connected) => {
                    if waiting.lock().remove(service).is_some() {
                        let waited_seconds = began.elapsed().as_secs();
                        tracing::info!(waited_seconds, "{service} is there");
                    }
                    return Ok(connected);
                }
                Err(Obstacle::Lasting(error)) => return Err(error),
                Err(Obstacle::Passing(error)) => error,
            };
            let waited = began.elapsed();
            let left = self.left(waited);
            if left.is_zero() {
                return Err(StartError(given_up(reason, told_at.map(|_| waited))));
            }
            if told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                told_at = Some(Instant::now());
                let (waited_seconds, up_to) = (waited.as_secs(), self.to_string());
                tracing::warn!(reason, waited_seconds, up_to, "waiting for {service}");
            }
            waiting.lock().insert(service, reason);
            sleep(backoff.pause().min(left)).await;
        }
    }
}

impl std::fmt::Display for Patience {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Patience::Within(bound) => write!(f, "{} s", bound.as_secs()),
            Patience::Forever => f.write_str("for ever"),
        }
    }
}

fn given_up(reason: String, waited: Option<Duration>) -> String {
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

    fn passing() -> Obstacle {
        Obstacle::Passing(StartError("not there".to_owned()))
    }

    #[tokio::test]
    async fn wait_ends_when_the_service_comes() {
        let (waiting, attempts) = (Waiting::default(), AtomicU32::new(0));
        let attempt = || {
            let number = attempts.fetch_add(1, Ordering::Relaxed);
            let seen = waiting.services();
            async move {
                assert_eq!(seen.is_empty(), number == 0);
                if number < 3 { Err(passing()) } else { Ok(number) }
            }
        };
        assert_eq!(Patience::Forever.wait("redis", &waiting, attempt).await, Ok(3));
        assert_eq!(waiting.services(), Vec::<&str>::new());
    }

    #[tokio::test]
    async fn wait_is_bounded_and_none_means_one_attempt() {
        let waiting = Waiting::default();
        let attempts = AtomicU32::new(0);
        let attempt = || {
            attempts.fetch_add(1, Ordering::Relaxed);
            async { Err::<(), _>(passing()) }
        };
        let bounded = Patience::Within(Duration::from_millis(300));
        let error = bounded.wait("redis", &waiting, attempt).await.unwrap_err().0;
        assert_eq!(error, "not there (waited for 0 s: start_wait_seconds)");
        assert!(attempts.swap(0, Ordering::Relaxed) > 1);
        let none = Patience::Within(Duration::ZERO);
        let error = none.wait("redis", &waiting, attempt).await.unwrap_err().0;
        assert_eq!((error.as_str(), attempts.load(Ordering::Relaxed)), ("not there", 1));
    }

    #[tokio::test]
    async fn what_waiting_does_not_mend_fails_at_once() {
        let lasting =
            || async { Err::<(), _>(Obstacle::Lasting(StartError("too old".to_owned()))) };
        let waited = Patience::Forever.wait("redis", &Waiting::default(), lasting).await;
        assert_eq!(waited, Err(StartError("too old".to_owned())));
    }
}
