//! Starts the gates: reads what operators changed so far, then runs the tasks that follow further
//! changes, flush the limits' counts and evict idle callers.

use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Config;
use crate::domain::Policy;
use crate::gates::{Gates, Quotas};
use crate::lifecycle::Shutdown;
use crate::sale::policy::{PolicyFollower, PolicyWatch};
use crate::start::{Services, StartError, refusal};
use crate::telemetry::Metrics;

/// Starts gates under the current policy, with their background tasks, which end when shutdown is
/// requested.
///
/// # Errors
/// If the settings' rules are invalid, a key that tokens are verified with cannot be used, or
/// MongoDB does not answer.
pub async fn start_gates(
    services: &Services,
    config: &Arc<Config>,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Result<Arc<Gates>, StartError> {
    let quotas = Quotas::new(services.engine.clone(), metrics);
    let gates = Gates::new(config.clone(), quotas.clone(), metrics);
    let gates = Arc::new(gates.map_err(|error| StartError(error.to_string()))?);
    let follower = Arc::new(PolicyAdopter { gates: gates.clone(), metrics: metrics.clone() });
    let (engine, archive) = (services.engine.clone(), services.archive.clone());
    let watch = PolicyWatch::begin(engine, archive, config.base_policy(), follower).await;
    let watch = watch.map_err(|error| refusal(error, config))?;
    supervise(services, &gates, watch, quotas, metrics, shutdown);
    Ok(gates)
}

fn supervise(
    services: &Services,
    gates: &Arc<Gates>,
    watch: PolicyWatch,
    quotas: Quotas,
    metrics: &Metrics,
    shutdown: &Shutdown,
) {
    let supervisor = &services.supervisor;
    let (gates, metrics, stop) = (gates.clone(), metrics.clone(), shutdown.clone());
    let evict_idle = move || gates.clone().evict_idle(metrics.clone(), stop.clone());
    supervisor.spawn("limits_cleanup", shutdown, evict_idle);
    let stop = shutdown.clone();
    let keep_flushed = move || quotas.clone().keep_flushed(stop.clone());
    supervisor.spawn("limits_flush", shutdown, keep_flushed);
    let (anew, first, stop) = (watch.anew(), Mutex::new(Some(watch)), shutdown.clone());
    supervisor.spawn("policy", shutdown, move || {
        let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.unwrap_or_else(|| anew.anew()).run(stop.clone())
    });
}

/// Passes each new policy to the gates; its revision is a metric.
struct PolicyAdopter {
    gates: Arc<Gates>,
    metrics: Metrics,
}

impl PolicyFollower for PolicyAdopter {
    fn adopt(&self, policy: Policy) {
        let revision = policy.revision;
        self.gates.adopt(policy);
        self.metrics.policy_revision.set(revision);
    }

    fn note_unusable(&self, is_unusable: bool) {
        self.metrics.policy_unusable.set(is_unusable.into());
    }
}
