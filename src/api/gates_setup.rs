//! Starts the gates: reads what operators changed so far, then runs the tasks that follow further
//! changes, flush the limits' counts and evict idle callers.

use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Config;
use crate::domain::Policy;
use crate::domain::policy::BasePolicy;
use crate::gates::{Gates, NewIdentity, Quotas};
use crate::lifecycle::Shutdown;
use crate::sale::policy::{PolicyFollower, PolicyInForce, PolicyWatch};
use crate::start::{Prepared, Reloadable, Services, StartError, refusal};
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
    let settings = services.reloads.settings().clone();
    let gates = Gates::new(settings, quotas.clone(), metrics);
    let gates = Arc::new(gates.map_err(|error| StartError(error.to_string()))?);
    let follower = Arc::new(PolicyAdopter { gates: gates.clone(), metrics: metrics.clone() });
    let (engine, archive) = (services.engine.clone(), services.archive.clone());
    let in_force = Arc::new(PolicyInForce::new(config.base_policy(), follower));
    let watch = PolicyWatch::begin(engine, archive, in_force.clone()).await;
    let watch = watch.map_err(|error| refusal(error, config))?;
    let (reloads, reloadable) = (&services.reloads, gates.clone());
    reloads.register_first(Arc::new(GatesReload { gates: reloadable, in_force }));
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

/// Takes over the settings of policy and identity.
struct GatesReload {
    gates: Arc<Gates>,
    in_force: Arc<PolicyInForce>,
}

impl Reloadable for GatesReload {
    fn prepare(&self, new: &Config) -> Result<Prepared, String> {
        let base = new.base_policy();
        let unusable = |error| {
            format!(
                "limit_rules: with the changes that operators made (holdfastctl limits): {error}"
            )
        };
        let changed = self.gates.config().load().base_policy() != base;
        if changed {
            self.in_force.check_base(&base).map_err(unusable)?;
        }
        let identity = self.gates.prepare_identity(new).map_err(|error| error.to_string())?;
        let text = "jwt_*: tokens are verified by other keys or claims".to_owned();
        let changes = identity.is_some().then_some(text).into_iter().collect();
        let next = GatesChange { base: Some(base).filter(|_| changed), identity };
        let (gates, in_force) = (self.gates.clone(), self.in_force.clone());
        Ok(Prepared { changes, apply: Box::new(move || next.apply(&gates, &in_force)) })
    }
}

/// What changes of the gates.
struct GatesChange {
    base: Option<BasePolicy>,
    identity: Option<NewIdentity>,
}

impl GatesChange {
    fn apply(self, gates: &Gates, in_force: &PolicyInForce) -> Result<(), String> {
        // First: an operator may just have changed what it must fit.
        if let Some(base) = self.base {
            in_force.adopt_base(base).map_err(|error| error.to_string())?;
        }
        if let Some(identity) = self.identity {
            gates.adopt_identity(identity);
        }
        Ok(())
    }
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
