//! From connected services to gates at work: with what operators changed so far, and tasks that
//! follow what they change, flush what was noted and forget who is idle.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::{Gates, Quotas};
use crate::config::Config;
use crate::domain::Policy;
use crate::sale::policy::{PolicyFollower, PolicyWatch};
use crate::shutdown::Shutdown;
use crate::start::{Services, StartError, refusal};
use crate::telemetry::Metrics;

impl Gates {
    /// Gates that go by what operators changed so far, with the handles of their background tasks,
    /// which end when shutdown is requested.
    ///
    /// # Errors
    /// If the settings' rules cannot be, a key that tokens are verified with cannot be used, or
    /// MongoDB does not answer.
    pub async fn start(
        services: &Services,
        config: &Arc<Config>,
        metrics: &Metrics,
        shutdown: &Shutdown,
    ) -> Result<(Arc<Self>, Vec<JoinHandle<()>>), StartError> {
        let quotas = Quotas::new(services.engine.clone(), metrics);
        let flush = quotas.clone().keep_flushed(shutdown.clone());
        let gates = Gates::new(config.clone(), quotas, metrics);
        let gates = Arc::new(gates.map_err(|error| StartError(error.to_string()))?);
        let follower = Arc::new(Following { gates: gates.clone(), metrics: metrics.clone() });
        let (engine, archive) = (services.engine.clone(), services.archive.clone());
        let watch = PolicyWatch::begin(engine, archive, config.base_policy(), follower).await;
        let watch = watch.map_err(|error| refusal(error, config))?;
        let small = gates.clone().keep_small(metrics.clone(), shutdown.clone());
        let watch = watch.run(shutdown.clone());
        let tasks = vec![tokio::spawn(small), tokio::spawn(flush), tokio::spawn(watch)];
        Ok((gates, tasks))
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
