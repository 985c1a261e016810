//! Request rates of addresses and users in this process: a rate with a burst, kept by `governor`.
//! A caller is evicted once its burst is whole again, so memory is bounded by the callers of two
//! eviction intervals.
//!
//! A caller over its rate stays over until its wait ends, whatever else it sends. Each thread
//! caches that moment, so a flood from one caller does not contend for the shared limiter.

use std::cell::Cell;
use std::hash::BuildHasher;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use thread_local::ThreadLocal;

use crate::domain::{ClientNetwork, Limit, Rule, UserId};

/// Cached callers of one thread; those of one slot displace each other.
const OVER_SLOTS: usize = 256;

/// A caller, as rates count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RateKey {
    /// A client's address.
    Client(ClientNetwork),
    /// A hash of a user's id, keyed by a secret of the limiter. The probability that any two of a
    /// million users share one is 3 in a hundred million.
    User(u64),
}

/// A caller over its rate, and the end of its wait.
type Over = Cell<Option<(RateKey, Instant)>>;

type Limiter = RateLimiter<
    RateKey,
    DashMapStateStore<RateKey, RandomState>,
    DefaultClock,
    NoOpMiddleware<<DefaultClock as Clock>::Instant>,
>;

/// One rule's limiter.
pub struct CallerRates {
    name: String,
    limit: Limit,
    clock: DefaultClock,
    limiter: Limiter,
    hashes: RandomState,
    over: ThreadLocal<Box<[Over]>>,
}

impl CallerRates {
    /// An unused limiter.
    pub fn new(name: &str, limit: Limit) -> Self {
        let (per_second, burst) = match limit {
            Limit::Rate { per_second, burst } => (per_second, burst),
            // `RuleChange::apply` lets rates alone count in a process.
            Limit::Window { quota, .. } => (quota, quota),
        };
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst));
        let (clock, hashes) = (DefaultClock::default(), RandomState::default());
        CallerRates {
            name: name.to_owned(),
            limit,
            limiter: Limiter::dashmap_with_clock_and_hasher(quota, clock.clone(), hashes.clone()),
            clock,
            hashes,
            over: ThreadLocal::new(),
        }
    }

    /// Whether it counts for this rule, with this limit.
    pub fn is_of(&self, rule: &Rule) -> bool {
        self.name == rule.name && self.limit == rule.limit
    }

    /// A user's key in this limiter.
    pub fn user(&self, user: &UserId) -> RateKey {
        RateKey::User(self.hashes.hash_one(user))
    }

    /// Counts one request, or returns how long to wait, ms.
    pub fn check(&self, caller: RateKey, now: Instant) -> Result<(), u64> {
        let slots = self.over.get_or(|| (0..OVER_SLOTS).map(|_| Cell::new(None)).collect());
        let slot = &slots[self.hashes.hash_one(caller) as usize % OVER_SLOTS];
        if let Some((_, until)) = slot.get().filter(|(who, _)| *who == caller)
            && now < until
        {
            return Err(whole_ms(until - now));
        }
        self.limiter.check_key(&caller).map_err(|over| {
            let wait = over.wait_time_from(self.clock.now());
            // `now` is not later than the limiter's clock: the wait never ends too late.
            slot.set(Some((caller, now + wait)));
            whole_ms(wait)
        })
    }

    /// Evicts callers whose burst is whole again; returns how many are left.
    pub fn evict_idle(&self) -> usize {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
        self.limiter.len()
    }
}

fn whole_ms(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn client(number: u32) -> RateKey {
        RateKey::Client(ClientNetwork::of(IpAddr::V4(Ipv4Addr::from_bits(number))))
    }

    #[test]
    fn caller_passes_its_burst_and_no_more() {
        let rates = CallerRates::new("r", Limit::Rate { per_second: 1, burst: 5 });
        let passed = (0..20).filter(|_| rates.check(client(1), Instant::now()).is_ok()).count();
        assert_eq!(passed, 5);
        assert!((1..=1_000).contains(&rates.check(client(1), Instant::now()).unwrap_err()));
        assert!(rates.check(client(2), Instant::now()).is_ok());
        let [ann, bob] = ["ann", "bob"].map(|name| rates.user(&name.parse().unwrap()));
        let passed = (0..20).filter(|_| rates.check(ann, Instant::now()).is_ok()).count();
        assert_eq!((passed, rates.check(bob, Instant::now())), (5, Ok(())));
    }

    /// The cache changes no verdict.
    #[test]
    fn cached_caller_passes_as_soon_as_the_limiter_lets_it() {
        let rates = CallerRates::new("r", Limit::Rate { per_second: 50, burst: 1 });
        // One more than there are slots: two at least share one.
        let clients = || (0..=OVER_SLOTS as u32).map(client);
        let began = Instant::now();
        let mut passed = 0;
        while began.elapsed() < Duration::from_millis(500) {
            passed +=
                clients().filter(|client| rates.check(*client, Instant::now()).is_ok()).count();
        }
        let each = began.elapsed().as_secs_f64() * 50.0;
        let most = (each + 2.0) * (OVER_SLOTS + 1) as f64;
        assert!((passed as f64) < most, "{passed} of {most}");
        std::thread::sleep(Duration::from_millis(40));
        assert_eq!(
            clients().filter(|client| rates.check(*client, Instant::now()).is_ok()).count(),
            OVER_SLOTS + 1
        );
    }

    #[test]
    fn idle_addresses_are_evicted() {
        let rates = CallerRates::new("r", Limit::Rate { per_second: 1_000, burst: 1 });
        for number in 0..1_000_000 {
            assert!(rates.check(client(number), Instant::now()).is_ok());
        }
        // Each burst is whole again after a millisecond.
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert_eq!(rates.evict_idle(), 0);
    }
}
