//! The gates that every request passes before its use case. Their order is one function,
//! [`Gates::enter`], followed by `quotas` ([`Screened::admit`]). Each gate refuses or passes a
//! request; one that only observes counts what it would have refused. Gates know no routes.

mod address;
mod admin;
mod bots;
mod caller;
mod failed_keys;
mod identity;
mod keys;
mod meters;
pub mod other_sites;
mod quotas;
mod rate;
mod rules;
mod screened;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use arc_swap::ArcSwap;

use crate::config::{Config, KeyError, LiveConfig};
use crate::domain::admission_token::AdmissionToken;
use crate::domain::rules::RuleError;
use crate::domain::{BookingId, EventId, Policy, RouteClass, UserId};
use crate::lifecycle::Shutdown;
use crate::telemetry::Metrics;
use crate::telemetry::spans::{Span, SpanKind};

use crate::http::problem::Problem;
pub use crate::http::request_head::RequestHead;

pub(super) use address::is_from_this_machine;
pub use caller::{Caller, NamesUsers, named_user, user_of};
use failed_keys::FailedKeys;
use identity::Identity;
use meters::{Gate, Meters};
use quotas::{Counted, Grant};
pub use quotas::{Quotas, RateLimitHeaders};
pub use rules::Rules;
pub use screened::{Admitted, Screened};

/// How often idle addresses are evicted. Under the shipped rule one is idle after two seconds.
const EVICT_INTERVAL: Duration = Duration::from_secs(2);

/// All gates of one server.
pub struct Gates {
    config: LiveConfig,
    identity: ArcSwap<Identity>,
    rules: ArcSwap<Rules>,
    quotas: Quotas,
    failed_keys: FailedKeys,
    meters: Meters,
}

impl Gates {
    /// Creates gates under the settings' policy, until [`Gates::adopt`] replaces it.
    ///
    /// # Errors
    /// If the settings' rules are invalid (`Config::check` refuses such), or a key file cannot be
    /// used.
    pub fn new(config: LiveConfig, quotas: Quotas, metrics: &Metrics) -> Result<Self, GatesError> {
        let settings = config.load_full();
        let policy = Policy::new(&settings.base_policy(), &Default::default())?;
        let rules = Rules::new(policy, None);
        Ok(Gates {
            identity: ArcSwap::from_pointee(Identity::new(&settings)?),
            rules: ArcSwap::from_pointee(rules),
            quotas,
            failed_keys: FailedKeys::new(config.clone(), metrics),
            meters: Meters::new(metrics),
            config,
        })
    }

    /// Replaces the policy. Counts in this process are kept where a rule's limit is the same.
    pub fn adopt(&self, policy: Policy) {
        let before = self.rules.load();
        self.rules.store(Arc::new(Rules::new(policy, Some(&before))));
    }

    /// The settings in effect.
    pub fn config(&self) -> &LiveConfig {
        &self.config
    }

    /// Reads the keys that tokens are verified with by these settings; `None` if nothing about
    /// identity has changed.
    ///
    /// # Errors
    /// If a key file cannot be used.
    pub fn prepare_identity(&self, new: &Config) -> Result<Option<NewIdentity>, KeyError> {
        let next = Identity::new(new)?;
        let is_same = self.identity.load().is_same_as(&next);
        Ok(Some(NewIdentity(Arc::new(next))).filter(|_| !is_same))
    }

    /// Identifies users by these keys from now on. Tokens verified before are verified again.
    pub fn adopt_identity(&self, new: NewIdentity) {
        self.identity.store(new.0);
    }

    /// The rules in force.
    pub fn rules(&self) -> arc_swap::Guard<Arc<Rules>> {
        self.rules.load()
    }

    /// Evicts addresses whose burst is whole again; returns how many are left.
    pub fn evict_idle_now(&self) -> usize {
        self.failed_keys.evict_idle(Instant::now());
        self.rules.load().evict_idle()
    }

    /// Applies the gates without I/O, in this order:
    ///
    /// 1. `address`: determines the client's address, trusting configured proxies alone;
    /// 2. `access`: the lists of addresses;
    /// 3. `rate`: the request rate of the address, over all its users, in this process;
    /// 4. `identity`: the user, proven or named by a trusted source;
    /// 5. `access` again: the lists of users;
    /// 6. `caller_rate`: the request rate of the user; of the address, where none is proven;
    /// 7. `bots`: automated clients that nothing vouches for;
    /// 8. `blocks`: callers over a shared limit, by this process' counts.
    ///
    /// A proof of work would come between 7 and 8. Identity costs more than a rate: 3 bounds what
    /// one address can make it cost, by a number that no office of honest users reaches. A proof
    /// that fails counts in 6 as a request of its address.
    ///
    /// Admins pass 1 to 3 and then their own gate, `admin`: they may be programs, and no rule
    /// limits them. That includes routes of users, if the request shows an admin key; gate 6 counts
    /// a wrong one. On all other routes a request with a right key passes 5 to 8.
    ///
    /// # Errors
    /// The first gate's refusal.
    pub fn enter(
        &self,
        request: &HttpRequest,
        class: RouteClass,
        now: Instant,
    ) -> Result<Caller, Problem> {
        self.enter_as(request, class, now, None)
    }

    /// The same for a request whose user is proven by the waiting room's token. Identity takes
    /// precedence over that.
    fn enter_as(
        &self,
        request: &HttpRequest,
        class: RouteClass,
        now: Instant,
        owner: Option<&UserId>,
    ) -> Result<Caller, Problem> {
        let mut span = Span::child("gates", SpanKind::Internal);
        let entered = self.enter_each(request, class, now, owner);
        if let Err(problem) = &entered {
            span.set("holdfast.problem", problem.code.as_str());
        }
        entered
    }

    fn enter_each(
        &self,
        request: &HttpRequest,
        class: RouteClass,
        now: Instant,
        owner: Option<&UserId>,
    ) -> Result<Caller, Problem> {
        let rules = self.rules.load();
        let mut meter = self.meters.begin();
        let mut caller = address::of_client(&self.config.load(), request, class);
        meter.passes(Gate::Access, rules.access_of_address(&mut caller))?;
        meter.passes(Gate::Rate, rules.rate_of_address(&caller, now))?;
        let shows_key = admin::key_is_shown(request);
        if class == RouteClass::Admin {
            return Ok(caller);
        }
        if shows_key && is_of_users(class) {
            let admin = self.act_for_user(request, &mut caller, now);
            self.admit_admin(admin, &caller, now)?;
            return Ok(caller);
        }
        caller.allowed |= shows_key && self.check_key(request, &caller, now).is_ok();
        let identity = self.identify(request, &mut caller);
        meter.record(Gate::Identity, identity.as_ref().copied());
        if identity.is_ok() && caller.user.is_none() {
            caller.user = owner.cloned();
        }
        // Where identity failed there is no user to look up.
        meter.passes(Gate::Access, rules.access_of_user(&mut caller))?;
        meter.passes(Gate::CallerRate, rules.rate_of_caller(&caller, now))?;
        identity?;
        meter.passes(Gate::Bots, rules.bots(request, &caller))?;
        meter.passes(Gate::Blocks, self.quotas.check_blocked(&rules.policy, &caller))?;
        Ok(caller)
    }

    /// Evicts idle addresses, until shutdown is requested.
    pub async fn evict_idle(self: Arc<Self>, metrics: Metrics, shutdown: Shutdown) {
        let addresses = metrics.limiter_entries.with_label_values(&["addresses"]);
        while shutdown.sleep_or_shutdown(EVICT_INTERVAL).await {
            let gates = self.clone();
            // A million addresses take some tens of milliseconds: not on a serving thread.
            match tokio::task::spawn_blocking(move || gates.evict_idle_now()).await {
                Ok(left) => addresses.set(i64::try_from(left).unwrap_or(i64::MAX)),
                // Ends this task as well: without eviction memory grows, which must be noticed.
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime shuts down.
                Err(_) => return,
            }
        }
    }

    fn identify(&self, request: &HttpRequest, caller: &mut Caller) -> Result<Verdict, Problem> {
        if let Some(identified) = self.identity.load().of_user(request, caller)? {
            caller.may_be_program |= identified.is_backend;
            caller.user = Some(identified.user);
        }
        Ok(Verdict::Passed)
    }

    /// Identifies an admin on a route of users: no rule limits it, and it may name a user.
    fn act_for_user(
        &self,
        request: &HttpRequest,
        caller: &mut Caller,
        now: Instant,
    ) -> Result<(), Problem> {
        caller.admin = Some(self.check_key(request, caller, now)?);
        caller.user = identity::named(request)?;
        caller.allowed = true;
        Ok(())
    }
}

/// What users are identified by after a reload.
pub struct NewIdentity(Arc<Identity>);

/// An error in the gates' settings; the text explains how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatesError {
    /// In the limit rules.
    #[error("limit_rules: {0}")]
    Rules(#[from] RuleError),
    /// In the keys that tokens are verified with.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// A gate's verdict on a request that it does not refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Passed,
    /// It passes, but a rule that only observes would have refused it.
    Observed,
}

/// Whether requests of a class are about a user's bookings.
fn is_of_users(class: RouteClass) -> bool {
    matches!(class, RouteClass::Hold | RouteClass::Bookings | RouteClass::BookingChanges)
}

impl Gates {
    /// Passes a request of anybody through all gates: those without I/O, then `quotas`, one round
    /// trip to Redis at most.
    pub async fn pass(&self, head: &RequestHead, class: RouteClass) -> Result<Caller, Problem> {
        self.pass_owner(head, class, None).await
    }

    /// The same of a request that may show a token of the waiting room.
    pub async fn pass_owner(
        &self,
        head: &RequestHead,
        class: RouteClass,
        token: Option<&AdmissionToken>,
    ) -> Result<Caller, Problem> {
        self.pass_proven(head, class, token.map(|token| &token.user)).await
    }

    /// The same of a request that may prove its user by a token or ticket that this server has signed.
    pub async fn pass_proven(
        &self,
        head: &RequestHead,
        class: RouteClass,
        owner: Option<&UserId>,
    ) -> Result<Caller, Problem> {
        let mut caller = self.enter_as(&head.http, class, head.started, owner)?;
        caller.event = event_of_path(&head.http);
        Screened::new(self, head, caller).admit().await.map(Admitted::into_caller)
    }

    /// Passes a request for a page that is the same for all clients through the gates that look at
    /// addresses: the lists and the rate.
    pub fn pass_address(&self, head: &RequestHead) -> Result<(), Problem> {
        let rules = self.rules.load();
        let mut meter = self.meters.begin();
        let mut caller = address::of_client(&self.config.load(), &head.http, RouteClass::Events);
        meter.passes(Gate::Access, rules.access_of_address(&mut caller))?;
        meter.passes(Gate::Rate, rules.rate_of_address(&caller, head.started))
    }

    /// Passes a request of a user, or of an admin who acts for one, through all gates.
    pub async fn pass_user(
        &self,
        head: &RequestHead,
        class: RouteClass,
    ) -> Result<Caller, Problem> {
        let mut screened = self.screen(head, class)?;
        if let Some(event) = event_of_path(&head.http) {
            screened.set_event(event);
        }
        screened.admit().await.map(Admitted::into_caller)
    }

    /// Passes a request of a user, or of an admin who acts for one, through the gates without I/O.
    ///
    /// # Errors
    /// The first gate's refusal; or that no user is named.
    pub fn screen<'a>(
        &'a self,
        head: &'a RequestHead,
        class: RouteClass,
    ) -> Result<Screened<'a>, Problem> {
        let caller = self.enter(&head.http, class, head.started)?;
        if caller.user.is_none() && caller.admin.is_none() {
            let missing = Err(self.identity.load().missing());
            self.meters.begin().passes(Gate::Identity, missing)?;
        }
        Ok(Screened::new(self, head, caller))
    }
}

impl Gates {
    /// The last gate, `quotas`: counts a request in Redis, under the limits that all processes
    /// share.
    async fn count(&self, head: &RequestHead, caller: &Caller) -> Result<Counted, Problem> {
        let mut meter = self.meters.begin();
        if !self.quotas.counts_any(&self.rules.load().policy, caller) {
            meter.passes(Gate::Quotas, Ok(Verdict::Passed))?;
            return Ok(Counted::nothing());
        }
        let rules = self.rules.load_full();
        let counted = self.quotas.count(&rules.policy, caller, &head.http).await;
        meter.record(Gate::Quotas, counted.as_ref().map(|counted| counted.verdict));
        counted
    }

    /// Counts a request in this process, as refused.
    fn count_refused(&self, head: &RequestHead, caller: &Caller) {
        self.quotas.count_refused(&self.rules.load().policy, caller, head.started);
    }

    /// Resets what rules with `forgiven_by_booking` have counted; in Redis, if `in_redis`.
    fn forgive(&self, caller: &Caller, in_redis: bool) {
        self.quotas.forgive(&self.rules.load().policy, caller, in_redis);
    }

    /// Takes a request that was granted nothing new out of the rules that count grants.
    fn take_back(&self, grants: Vec<Grant>) {
        self.quotas.take_back(grants);
    }
}

/// The event in a path, by its own id or a booking's.
fn event_of_path(request: &HttpRequest) -> Option<EventId> {
    let path = request.match_info();
    let event = || path.get("event_id")?.parse().ok().map(EventId);
    let booking = || path.get("booking_id")?.parse::<BookingId>().ok().map(|id| id.event());
    event().or_else(booking)
}
