//! How often an address asks, in this process: a rate with a burst, kept by `governor`. Addresses
//! that were quiet for as long as their burst takes to come back are forgotten, so what is kept
//! is bounded by the addresses that asked within two intervals of forgetting.

use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::domain::{ClientNetwork, Limit};

/// One rule's limiter.
pub struct AddressRates {
    name: String,
    limit: Limit,
    clock: DefaultClock,
    limiter: DefaultKeyedRateLimiter<ClientNetwork>,
}

impl AddressRates {
    /// Nobody has asked yet.
    pub fn new(name: &str, limit: Limit) -> Self {
        let (per_second, burst) = match limit {
            Limit::Rate { per_second, burst } => (per_second, burst),
            // `RuleChange::apply` lets rates alone count in a process.
            Limit::Window { quota, .. } => (quota, quota),
        };
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst));
        let limiter = RateLimiter::keyed(quota);
        AddressRates { name: name.to_owned(), limit, clock: DefaultClock::default(), limiter }
    }

    /// Whether it counts for this rule as it is.
    pub fn is_of(&self, name: &str, limit: &Limit) -> bool {
        self.name == name && self.limit == *limit
    }

    /// Counts one request, or says how long to wait, ms.
    pub fn check(&self, client: ClientNetwork) -> Result<(), u64> {
        self.limiter.check_key(&client).map_err(|over| {
            let wait = over.wait_time_from(self.clock.now());
            u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
        })
    }

    /// Forgets those whose burst is whole again; gives how many are left.
    pub fn forget_idle(&self) -> usize {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
        self.limiter.len()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn client(number: u32) -> ClientNetwork {
        ClientNetwork::of(IpAddr::V4(Ipv4Addr::from_bits(number)))
    }

    #[test]
    fn a_burst_passes_and_no_more() {
        let rates = AddressRates::new("r", Limit::Rate { per_second: 1, burst: 5 });
        let passed = (0..20).filter(|_| rates.check(client(1)).is_ok()).count();
        assert_eq!(passed, 5);
        assert!((1..=1_000).contains(&rates.check(client(1)).unwrap_err()));
        assert!(rates.check(client(2)).is_ok());
    }

    #[test]
    fn a_million_quiet_addresses_are_forgotten() {
        let rates = AddressRates::new("r", Limit::Rate { per_second: 1_000, burst: 1 });
        for number in 0..1_000_000 {
            assert!(rates.check(client(number)).is_ok());
        }
        // Each is whole again after a millisecond: those of the last are all that can be left.
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert_eq!(rates.forget_idle(), 0);
    }
}
