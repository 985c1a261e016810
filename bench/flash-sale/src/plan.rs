//! Who comes, when, and what for: drawn whole before the sale begins, from one seed. Nothing that
//! happens later moves an arrival.

use std::net::Ipv4Addr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::options::RunOptions;

/// Spreads neighbouring seeds and buyer numbers over all generators (the golden ratio's bits).
const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a buyer does with a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Pays.
    Pay {
        /// The first card is declined.
        declined_first: bool,
        /// Cancels once the booking is CONFIRMED.
        returns: bool,
    },
    /// Cancels.
    Cancel,
    /// Walks away.
    Abandon,
}

/// One buyer.
#[derive(Debug)]
pub struct Plan {
    /// Its number, from 0 in order of arrival.
    pub number: u32,
    /// When it arrives, after the sale's beginning.
    pub arrives: Duration,
    /// Which user it is, from 0.
    pub user: u64,
    /// Where it calls from.
    pub address: Ipv4Addr,
    /// How many seats it wants.
    pub wanted: u32,
    /// What it does with them.
    pub intent: Intent,
    /// Whether it names its requests.
    pub keyed: bool,
    /// Whether it sends each hold two times at once.
    pub double_click: bool,
    /// Chance for what it meets on its way.
    pub rng: StdRng,
}

/// Every buyer, in order of arrival.
pub fn crowd(options: &RunOptions) -> Vec<Plan> {
    let arrivals = arrivals(options);
    let users = options.users.unwrap_or(options.buyers);
    let addresses = options.addresses.unwrap_or(options.buyers);
    let one = |(number, arrives): (usize, Duration)| {
        // `BUYERS_MAX` is far below what a u32 holds.
        let number = number as u32;
        let mut rng = generator(options.seed, u64::from(number) + 1);
        Plan {
            number,
            arrives,
            user: u64::from(number) % users,
            address: address(u64::from(number) % addresses),
            wanted: options.wants.draw(&mut rng),
            intent: intent(options, &mut rng),
            keyed: rng.random_bool(options.keyed),
            double_click: rng.random_bool(options.double_click),
            rng,
        }
    };
    arrivals.into_iter().enumerate().map(one).collect()
}

/// The spike, and at random moments (a Poisson process) everybody else.
fn arrivals(options: &RunOptions) -> Vec<Duration> {
    let mut rng = generator(options.seed, 0);
    let spike = (options.buyers as f64 * options.spike).round() as u64;
    let mut arrivals: Vec<Duration> = Vec::with_capacity(options.buyers as usize);
    let span = options.spike_span.draw(&mut rng);
    arrivals.extend((0..spike).map(|_| span.mul_f64(rng.random::<f64>())));
    let mut at_seconds = 0.0;
    for _ in spike..options.buyers {
        at_seconds -= (1.0 - rng.random::<f64>()).ln() / options.rate;
        arrivals.push(Duration::from_secs_f64(at_seconds));
    }
    arrivals.sort_unstable();
    arrivals
}

fn intent(options: &RunOptions, rng: &mut StdRng) -> Intent {
    let declined_first = rng.random_bool(options.declined);
    let returns = rng.random_bool(options.returned);
    let chance: f64 = rng.random();
    if chance < options.pay {
        Intent::Pay { declined_first, returns }
    } else if chance < options.pay + options.cancel {
        Intent::Cancel
    } else {
        Intent::Abandon
    }
}

fn generator(seed: u64, stream: u64) -> StdRng {
    StdRng::seed_from_u64(seed.wrapping_add(stream.wrapping_mul(SEED_STEP)))
}

/// The nth address of 10.0.0.0/8.
fn address(n: u64) -> Ipv4Addr {
    let [_, b, c, d] = (n as u32).to_be_bytes();
    Ipv4Addr::new(10, b, c, d)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: RunOptions,
    }

    fn options(flags: &str) -> RunOptions {
        let words = std::iter::once("run").chain(flags.split_whitespace());
        let options = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).options;
        options.check().unwrap();
        options
    }

    #[test]
    fn the_spike_comes_at_once_and_the_others_at_their_rate() {
        let crowd = crowd(&options("--buyers 10000 --spike 30% --spike-span 500ms --rate 1000"));
        assert_eq!(crowd.len(), 10_000);
        assert!(crowd.is_sorted_by_key(|plan| plan.arrives));
        let early = crowd.iter().filter(|plan| plan.arrives < Duration::from_millis(500)).count();
        // 3,000 of the spike and about 500 of those who come all the time.
        assert!((3_350..3_650).contains(&early), "{early}");
        let last = crowd[9_999].arrives.as_secs_f64();
        assert!((6.6..7.4).contains(&last), "{last}");
    }

    #[test]
    fn one_seed_draws_one_crowd() {
        let shape = |seed: u64| {
            let crowd = crowd(&options(&format!("--buyers 200 --seed {seed}")));
            crowd.iter().map(|p| (p.arrives, p.wanted, p.intent, p.keyed)).collect::<Vec<_>>()
        };
        assert_eq!(shape(7), shape(7));
        assert_ne!(shape(7), shape(8));
    }

    #[test]
    fn shares_of_the_crowd_are_as_asked() {
        let crowd = crowd(&options("--buyers 10000 --pay 50% --cancel 20% --declined 0 --keyed 1"));
        let count = |want: fn(&Intent) -> bool| crowd.iter().filter(|p| want(&p.intent)).count();
        let pay = count(|intent| matches!(intent, Intent::Pay { declined_first: false, .. }));
        let cancel = count(|intent| *intent == Intent::Cancel);
        assert!((4_800..5_200).contains(&pay) && (1_850..2_150).contains(&cancel));
        assert!(crowd.iter().all(|plan| plan.keyed));
    }

    #[test]
    fn identities_are_as_many_as_asked() {
        let crowd = crowd(&options("--buyers 1000 --users 10 --addresses 300"));
        let users: HashSet<u64> = crowd.iter().map(|plan| plan.user).collect();
        let addresses: HashSet<Ipv4Addr> = crowd.iter().map(|plan| plan.address).collect();
        assert_eq!((users.len(), addresses.len()), (10, 300));
        assert!(addresses.contains(&Ipv4Addr::new(10, 0, 1, 43)));
    }

    #[test]
    fn contradictions_are_refused() {
        let cases = [
            ("--pay 80% --cancel 30%", "more than everybody"),
            ("--settle-seconds 5", "before the last hold lapses"),
            ("--section Floor", "need --by quantity"),
            ("--url localhost:8000", "must begin with http"),
        ];
        for (flags, expected) in cases {
            let words = std::iter::once("run").chain(flags.split_whitespace());
            let error = Cli::try_parse_from(words).unwrap().options.check().unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
