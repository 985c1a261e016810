//! From connected services to gates at work: with what operators changed so far, and tasks that
//! follow what they change, flush what was noted and forget who is idle.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Gates, Quotas};
use crate::config::Config;
use crate::domain::Policy;
use crate::lifecycle::Shutdown;
use crate::sale::policy::{PolicyFollower, PolicyWatch};
use crate::start::{Services, StartError, refusal};
use crate::telemetry::Metrics;

impl Gates {
    /// Gates that go by what operators changed so far, with their background tasks, which end when
    /// shutdown is requested.
    ///
    /// # Errors
    /// If the settings' rules cannot be, a key that tokens are verified with cannot be used, or
    /// MongoDB does not answer.
    pub async fn start(
        services: &Services,
        config: &Arc<Config>,
        metrics: &Metrics,
        shutdown: &Shutdown,
    ) -> Result<Arc<Self>, StartError> {
        let quotas = Quotas::new(services.engine.clone(), metrics);
        let gates = Gates::new(config.clone(), quotas.clone(), metrics);
        let gates = Arc::new(gates.map_err(|error| StartError(error.to_string()))?);
        let follower = Arc::new(Following { gates: gates.clone(), metrics: metrics.clone() });
        let (engine, archive) = (services.engine.clone(), services.archive.clone());
        let watch = PolicyWatch::begin(engine, archive, config.base_policy(), follower).await;
        let watch = watch.map_err(|error| refusal(error, config))?;
        gates.supervise(services, watch, quotas, metrics, shutdown);
        Ok(gates)
    }

    fn supervise(
        self: &Arc<Self>,
        services: &Services,
        watch: PolicyWatch,
        quotas: Quotas,
        metrics: &Metrics,
        shutdown: &Shutdown,
    ) {
        let supervisor = &services.supervisor;
        let (gates, metrics, stop) = (self.clone(), metrics.clone(), shutdown.clone());
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
}

/// Gates that go by what operators change; which revision they do is a metric.
struct Following {
    gates: Arc<Gates>,
    metrics: Metrics,
}

impl PolicyFollower for Following {
    fn adopt(&self, policy: Policy) {
        let revision = policy.revision;
        self.gates.adopt(policy);
        self.metrics.policy_revision.set(revision);
    }

    fn note_unusable(&self, is_unusable: bool) {
        self.metrics.policy_unusable.set(is_unusable.into());
    }
}
