//! The gates: what a request passes before it reaches the sale, in one order, written in
//! [`Gates::enter`] and [`pass`]. Each refuses, or lets pass; one that only observes counts what
//! it would have refused.

mod address;
mod admin;
mod bots;
mod identity;
mod meters;
mod quotas;
mod rate;
mod start;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use arc_swap::ArcSwap;

use crate::config::Config;
use crate::domain::policy::Access;
use crate::domain::rules::RuleError;
use crate::domain::{BookingId, ClientNetwork, EventId, Mode, Place, Policy, RouteClass, UserId};
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;

use super::problem::{Code, Problem};
use super::state::Call;

use bots::Bots;
use identity::Identity;
pub use identity::KeyError;
use meters::{Gate, Meters};
use quotas::NoPlace;
pub use quotas::{LimitsTold, Quotas};
use rate::AddressRates;

/// How often idle addresses are forgotten. With the shipped rule one is idle after two seconds.
const FORGET_INTERVAL: Duration = Duration::from_secs(2);

/// Who asks, as far as the gates know.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The client's address; `None` where the connection has none (a Unix socket).
    pub address: Option<IpAddr>,
    /// Whether a proxy says that it forwarded the request.
    pub forwarded: bool,
    /// Whether the connection is one from where a user may just be named: this machine's own, or
    /// a trusted proxy's.
    pub vouched: bool,
    /// The user, if one is named.
    pub user: Option<UserId>,
    /// The name of the admin key that was shown on a route of users.
    pub admin: Option<String>,
    /// What the request is about, by its path.
    pub event: Option<EventId>,
    /// What kind of request it is.
    pub class: RouteClass,
    /// On this machine, and believed whoever it says it is: a developer.
    pub on_loopback: bool,
    /// On the list of those whom no rule holds up.
    pub allowed: bool,
}

impl Caller {
    /// As limits count it.
    pub fn client(&self) -> Option<ClientNetwork> {
        self.address.map(ClientNetwork::of)
    }
}

/// The policy in the form in which requests meet it.
pub struct Rules {
    /// What is to be done.
    pub policy: Policy,
    bots: Bots,
    /// One a rule that counts in this process.
    rates: Vec<Arc<AddressRates>>,
    no_place: NoPlace,
}

impl Rules {
    fn new(policy: Policy, before: &[Arc<AddressRates>]) -> Self {
        Rules {
            bots: Bots::new(&policy.bots),
            rates: rates(&policy, before),
            no_place: NoPlace::default(),
            policy,
        }
    }
}

/// Everything that gates know. One a server.
pub struct Gates {
    config: Arc<Config>,
    identity: Identity,
    rules: ArcSwap<Rules>,
    quotas: Quotas,
    meters: Meters,
}

impl Gates {
    /// Gates that go by the settings until [`Gates::adopt`] tells them more.
    ///
    /// # Errors
    /// If the settings' rules cannot be (`Config::check` has refused such), or a key file cannot
    /// be used.
    pub fn new(config: Arc<Config>, quotas: Quotas, metrics: &Metrics) -> Result<Self, GatesError> {
        let policy = Policy::new(&config.base_policy(), &Default::default())?;
        let rules = Rules::new(policy, &[]);
        Ok(Gates {
            identity: Identity::new(&config)?,
            rules: ArcSwap::from_pointee(rules),
            quotas,
            meters: Meters::new(metrics),
            config,
        })
    }

    /// Goes by this policy from now on. What is counted in this process goes on where the rule's
    /// limit is as it was.
    pub fn adopt(&self, policy: Policy) {
        let before = self.rules.load();
        self.rules.store(Arc::new(Rules::new(policy, &before.rates)));
    }

    /// What they go by now.
    pub fn rules(&self) -> arc_swap::Guard<Arc<Rules>> {
        self.rules.load()
    }

    /// Forgets addresses that have been quiet for long enough to start anew; gives how many are
    /// left.
    pub fn forget_idle(&self) -> usize {
        self.rules.load().rates.iter().map(|rate| rate.forget_idle()).sum()
    }

    /// The gates that cost no I/O, in their order:
    ///
    /// 1. `address`: who the client is on the network, believed from configured proxies alone;
    /// 2. `access`: the lists, of addresses;
    /// 3. `rate`: how often the address asks, in this process;
    /// 4. `identity`: which user it proves or, where that is enough, says to be;
    /// 5. `access` again, of users;
    /// 6. `bots`: whether a program asks;
    /// 7. `blocks`: whether Redis has said lately that this caller is over a limit.
    ///
    /// What proves work would stand between 6 and 7. Rates come before identity, which costs
    /// more. Admins meet 1 to 3 and then their own gate: a program may well be one. That holds on
    /// the routes of users too, if they show their key there.
    ///
    /// # Errors
    /// The first gate's refusal.
    pub fn enter(
        &self,
        request: &HttpRequest,
        class: RouteClass,
        now: Instant,
    ) -> Result<Caller, Problem> {
        let rules = self.rules.load();
        let mut meter = self.meters.begin();
        let mut caller = address::of_client(&self.config, request, class);
        meter.passes(Gate::Access, access_of_address(&rules, &mut caller))?;
        meter.passes(Gate::Rate, rate(&rules, &caller, now))?;
        if class == RouteClass::Admin {
            return Ok(caller);
        }
        if is_of_users(class) && admin::key_is_shown(request) {
            meter.passes(Gate::Admin, self.act_for_user(request, &mut caller))?;
            return Ok(caller);
        }
        meter.passes(Gate::Identity, self.identify(request, &mut caller))?;
        meter.passes(Gate::Access, access_of_user(&rules, &mut caller))?;
        meter.passes(Gate::Bots, bots(&rules, request, &caller))?;
        meter.passes(Gate::Blocks, self.quotas.check_blocked(&rules.policy, &caller))?;
        Ok(caller)
    }

    /// Forgets what is idle, until shutdown is requested.
    pub async fn keep_small(self: Arc<Self>, metrics: Metrics, shutdown: Shutdown) {
        let addresses = metrics.limiter_entries.with_label_values(&["addresses"]);
        while shutdown.rest(FORGET_INTERVAL).await {
            let gates = self.clone();
            // A million addresses take some tens of milliseconds: not on a thread that serves.
            match tokio::task::spawn_blocking(move || gates.forget_idle()).await {
                Ok(left) => addresses.set(i64::try_from(left).unwrap_or(i64::MAX)),
                // Ours as well: what is never forgotten grows, and has to be noticed.
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime ends.
                Err(_) => return,
            }
        }
    }

    fn identify(&self, request: &HttpRequest, caller: &mut Caller) -> Result<Verdict, Problem> {
        caller.user = self.identity.of_user(request, caller)?;
        Ok(Verdict::Passed)
    }

    /// An admin on a route of users: no rule holds it up, and it says for whom it acts.
    fn act_for_user(&self, request: &HttpRequest, caller: &mut Caller) -> Result<Verdict, Problem> {
        caller.admin = Some(admin::check_key(&self.config, request, caller)?);
        caller.user = identity::named(request)?;
        caller.allowed = true;
        Ok(Verdict::Passed)
    }
}

/// Why there can be no gates; the text says how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatesError {
    /// The settings' rules.
    #[error("limit_rules: {0}")]
    Rules(#[from] RuleError),
    /// The keys that tokens are verified with.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// What a gate says of a request that it does not refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing speaks against it.
    Passed,
    /// A rule that only observes would have refused it.
    Observed,
}

/// The routes whose requests are about a user's bookings.
fn is_of_users(class: RouteClass) -> bool {
    matches!(class, RouteClass::Hold | RouteClass::Bookings | RouteClass::BookingChanges)
}

fn access_of_address(rules: &Rules, caller: &mut Caller) -> Result<Verdict, Problem> {
    let access = caller.address.and_then(|a| rules.policy.access_of_address(a, unix_now_ms));
    listed(access, caller)
}

fn access_of_user(rules: &Rules, caller: &mut Caller) -> Result<Verdict, Problem> {
    let access = caller.user.as_ref().and_then(|u| rules.policy.access_of_user(u, unix_now_ms));
    listed(access, caller)
}

fn listed(access: Option<Access>, caller: &mut Caller) -> Result<Verdict, Problem> {
    match access {
        None => Ok(Verdict::Passed),
        Some(Access::Allow) => {
            caller.allowed = true;
            Ok(Verdict::Passed)
        }
        Some(Access::Deny) => Err(bots::automated()),
    }
}

fn rate(rules: &Rules, caller: &Caller, now: Instant) -> Result<Verdict, Problem> {
    let Some(client) = caller.client().filter(|_| !caller.allowed) else {
        return Ok(Verdict::Passed);
    };
    let in_process = rules.policy.rules.iter().filter(|rule| rule.place == Place::Process);
    let mut verdict = Verdict::Passed;
    for (rule, rate) in in_process.zip(&rules.rates) {
        let mode = rules.policy.mode_of(rule, caller.on_loopback);
        if mode == Mode::Off || !rule.counts(caller.class) {
            continue;
        }
        if let Err(wait_ms) = rate.check(client, now) {
            if mode == Mode::Enforce {
                return Err(quotas::over(rule, 0, wait_ms));
            }
            verdict = Verdict::Observed;
        }
    }
    Ok(verdict)
}

fn bots(rules: &Rules, request: &HttpRequest, caller: &Caller) -> Result<Verdict, Problem> {
    let mode = rules.policy.bots_mode(caller.on_loopback);
    if caller.allowed || mode == Mode::Off || !rules.bots.tells(request, caller.class) {
        return Ok(Verdict::Passed);
    }
    if mode == Mode::Enforce { Err(bots::automated()) } else { Ok(Verdict::Observed) }
}

/// The limiters of the rules that count in this process, in their order; those of before are kept
/// where their limit is the same.
fn rates(policy: &Policy, before: &[Arc<AddressRates>]) -> Vec<Arc<AddressRates>> {
    let in_process = policy.rules.iter().filter(|rule| rule.place == Place::Process);
    let rate = |rule: &crate::domain::Rule| {
        let kept = before.iter().find(|rate| rate.is_of(&rule.name, &rule.limit));
        kept.cloned().unwrap_or_else(|| Arc::new(AddressRates::new(&rule.name, rule.limit)))
    };
    in_process.map(rate).collect()
}

fn unix_now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// All gates of a request that may be anybody's: those without I/O, then `quotas`, one round trip
/// to Redis at most.
pub async fn pass(call: &Call, class: RouteClass) -> Result<Caller, Problem> {
    let mut caller = call.state.gates.enter(&call.request, class, call.started)?;
    caller.event = event_of_path(&call.request);
    count(call, &caller).await?;
    Ok(caller)
}

/// All gates of a request that must be a user's, or an admin's who acts for one.
pub async fn pass_user(call: &Call, class: RouteClass) -> Result<Caller, Problem> {
    let mut caller = enter_user(call, class)?;
    caller.event = event_of_path(&call.request);
    count(call, &caller).await?;
    Ok(caller)
}

/// The gates without I/O, of a request that must be a user's, or an admin's who acts for one;
/// [`count`] is to follow once the event is known, or [`note_refused`].
pub fn enter_user(call: &Call, class: RouteClass) -> Result<Caller, Problem> {
    let gates = &call.state.gates;
    let caller = gates.enter(&call.request, class, call.started)?;
    if caller.user.is_none() && caller.admin.is_none() {
        let missing = Err(gates.identity.missing());
        gates.meters.begin().passes(Gate::Identity, missing)?;
    }
    Ok(caller)
}

/// The user who asks, or for whom an admin does.
pub fn user_of(caller: Caller) -> Result<UserId, Problem> {
    caller.user.ok_or_else(unnamed)
}

/// The same, of a caller who is needed later.
pub fn named_user(caller: &Caller) -> Result<&UserId, Problem> {
    caller.user.as_ref().ok_or_else(unnamed)
}

/// `enter_user` has refused all but admins.
fn unnamed() -> Problem {
    let detail = "Say for which user: the header X-User-Id or the parameter ?user_id=";
    Problem::new(Code::IdentityMissing, detail)
}

/// The last gate, `quotas`: the limits that all processes count together, in Redis.
pub async fn count(call: &Call, caller: &Caller) -> Result<(), Problem> {
    let gates = &call.state.gates;
    let mut meter = gates.meters.begin();
    if !gates.quotas.counts_any(&gates.rules.load().policy, caller) {
        return meter.passes(Gate::Quotas, Ok(Verdict::Passed));
    }
    let rules = gates.rules.load_full();
    meter.passes(Gate::Quotas, gates.quotas.count(&rules.policy, caller, &call.request).await)
}

/// Notes a request that was refused between the gates without I/O and [`count`]: it counts toward
/// its caller's limits, some time later. False where too much is uncounted: it is to be counted at
/// once, and a limit which is used up is what its caller is told.
pub fn note_refused(call: &Call, caller: &Caller) -> bool {
    let gates = &call.state.gates;
    let rules = gates.rules.load();
    gates.quotas.note_refused(&rules.policy, &rules.no_place, caller, call.started)
}

/// Forgives what rules about looking have counted: the caller has booked.
pub fn note_booked(call: &Call, caller: &Caller) {
    let gates = &call.state.gates;
    gates.quotas.note_booked(&gates.rules.load().policy, caller);
}

/// Passes the gates as an admin; gives the name of the key that was shown.
pub async fn pass_admin(call: &Call) -> Result<String, Problem> {
    let gates = &call.state.gates;
    let caller = gates.enter(&call.request, RouteClass::Admin, call.started)?;
    let mut meter = gates.meters.begin();
    let admin = admin::check(&gates.config, &call.request, &caller);
    meter.note(Gate::Admin, admin.as_ref().map(|_| Verdict::Passed));
    admin
}

/// Whether a caller who passed the gates of a route for anybody shows an admin key.
///
/// # Errors
/// If it is none of ours.
pub fn shows_admin_key(call: &Call, caller: &Caller) -> Result<bool, Problem> {
    if !admin::key_is_shown(&call.request) {
        return Ok(false);
    }
    admin::check_key(&call.state.gates.config, &call.request, caller).map(|_| true)
}

/// The event that a path names, itself or by a booking.
fn event_of_path(request: &HttpRequest) -> Option<EventId> {
    let path = request.match_info();
    let event = || path.get("event_id")?.parse().ok().map(EventId);
    let booking = || path.get("booking_id")?.parse::<BookingId>().ok().map(|id| id.event());
    event().or_else(booking)
}

/// Whoever is refused by a limit is told this code.
const OVER: Code = Code::RateLimitExceeded;
