//! Who comes, when, and what for: arrivals are drawn before the sale begins, and the rest of a buyer
//! follows from the seed and its number. Nothing that happens later moves an arrival.

use std::net::Ipv4Addr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::Failure;
use crate::arrivals::Arrivals;
use crate::options::RunOptions;

/// Spreads neighbouring seeds and buyer numbers over all generators (the golden ratio's bits).
const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// Streams of chance for the arrivals of each part; buyers have theirs from 1 on.
const PEOPLE_STREAM: u64 = 0;
const QUIET_STREAM: u64 = u64::MAX;
const BOT_STREAM: u64 = u64::MAX - 1;
/// First bytes of people's and of bots' addresses.
const PEOPLE_NETWORK: u8 = 10;
const BOT_NETWORK: u8 = 11;

/// The part of the crowd that a buyer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Buyers of the first event.
    People,
    /// Buyers of the second event.
    Quiet,
    /// Bots.
    Bot,
}

impl Part {
    /// The index of the event that it buys.
    pub fn event(self) -> usize {
        usize::from(self == Part::Quiet)
    }
}

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
    /// Its part of the crowd.
    pub part: Part,
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
    /// How long it waits in a waiting room.
    pub patience: Duration,
    /// Chance for what it meets on its way.
    pub rng: StdRng,
}

/// Every buyer's arrival, ascending.
pub struct Crowd(Vec<(Duration, Part)>);

impl Crowd {
    /// Draws the arrivals.
    ///
    /// # Errors
    /// If a trace cannot be read.
    pub fn draw(options: &RunOptions) -> Result<Self, Failure> {
        let mut all = Vec::new();
        let mut part = |part, schedule: &Arrivals, count, stream| -> Result<(), Failure> {
            let rng = &mut generator(options.seed, stream);
            let arrivals = schedule.draw(count, options.spike_shape(), rng)?;
            all.extend(arrivals.into_iter().map(|at| (at, part)));
            Ok(())
        };
        part(Part::People, &options.arrivals, options.buyers, PEOPLE_STREAM)?;
        if options.quiet.seats.is_some() {
            let schedule = Arrivals::Constant(options.quiet.rate);
            part(Part::Quiet, &schedule, options.quiet.buyers, QUIET_STREAM)?;
        }
        let mut rng = generator(options.seed, BOT_STREAM);
        for _ in 0..options.bots.number {
            all.push((options.bots.span.draw(&mut rng).mul_f64(rng.random()), Part::Bot));
        }
        all.sort_by_key(|(at, part)| (*at, *part));
        Ok(Crowd(all))
    }

    /// Returns how many come.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns how many of them are bots.
    pub fn bots(&self) -> usize {
        self.0.iter().filter(|(_, part)| *part == Part::Bot).count()
    }

    /// Returns when a buyer arrives; `None` after the last.
    pub fn arrives(&self, number: usize) -> Option<Duration> {
        self.0.get(number).map(|(at, _)| *at)
    }

    /// Returns a buyer's plan, the same each time. Numbers are below [`Self::len`].
    pub fn plan(&self, options: &RunOptions, number: u32) -> Plan {
        let (arrives, part) = self.0[number as usize];
        let n = u64::from(number);
        let mut rng = generator(options.seed, n + 1);
        let network = if part == Part::Bot { BOT_NETWORK } else { PEOPLE_NETWORK };
        let addresses = match part {
            Part::Bot => Some(options.bots.addresses),
            Part::People | Part::Quiet => options.addresses,
        };
        Plan {
            number,
            part,
            arrives,
            user: options.users.filter(|_| part != Part::Bot).map_or(n, |users| n % users),
            address: address(network, addresses.map_or(n, |addresses| n % addresses)),
            wanted: options.wants.draw(&mut rng),
            intent: intent(options, &mut rng),
            keyed: rng.random_bool(options.keyed),
            double_click: rng.random_bool(options.double_click),
            patience: options.room.patience.draw(&mut rng),
            rng,
        }
    }

    /// Returns a buyer's chance after a wait in the waiting room that it has passed so often before:
    /// not what it has drawn already, and the same each time.
    pub fn chance_after_wait(&self, options: &RunOptions, number: u32, entries: u32) -> StdRng {
        let waits = u64::from(entries) + 1;
        generator(options.seed, (waits << u32::BITS) | (u64::from(number) + 1))
    }
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

/// The nth address of a network of 24 bits.
fn address(network: u8, n: u64) -> Ipv4Addr {
    let [_, b, c, d] = (n as u32).to_be_bytes();
    Ipv4Addr::new(network, b, c, d)
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

    fn crowd(flags: &str) -> Vec<Plan> {
        let options = options(flags);
        let crowd = Crowd::draw(&options).unwrap();
        (0..crowd.len() as u32).map(|number| crowd.plan(&options, number)).collect()
    }

    #[test]
    fn the_spike_comes_at_once_and_the_others_at_their_rate() {
        let crowd = crowd("--buyers 10000 --spike 30% --spike-span 500ms --rate 1000");
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
            let crowd = crowd(&format!("--buyers 200 --bots 5 --seed {seed}"));
            crowd.iter().map(|p| (p.arrives, p.wanted, p.intent, p.keyed)).collect::<Vec<_>>()
        };
        assert_eq!(shape(7), shape(7));
        assert_ne!(shape(7), shape(8));
    }

    #[test]
    fn every_wait_is_followed_by_another_chance() {
        let options = options("--buyers 3");
        let crowd = Crowd::draw(&options).unwrap();
        let mut chances = vec![crowd.plan(&options, 1).rng];
        for (number, entries) in [(1, 0), (1, 1), (1, 2), (2, 0)] {
            let chance = || crowd.chance_after_wait(&options, number, entries);
            assert_eq!(chance().random::<u64>(), chance().random::<u64>());
            chances.push(chance());
        }
        let drawn: HashSet<u64> = chances.iter_mut().map(|chance| chance.random()).collect();
        assert_eq!(drawn.len(), 5);
    }

    #[test]
    fn shares_of_the_crowd_are_as_asked() {
        let crowd = crowd("--buyers 10000 --pay 50% --cancel 20% --declined 0 --keyed 1");
        let count = |want: fn(&Intent) -> bool| crowd.iter().filter(|p| want(&p.intent)).count();
        let pay = count(|intent| matches!(intent, Intent::Pay { declined_first: false, .. }));
        let cancel = count(|intent| *intent == Intent::Cancel);
        assert!((4_800..5_200).contains(&pay) && (1_850..2_150).contains(&cancel));
        assert!(crowd.iter().all(|plan| plan.keyed));
    }

    #[test]
    fn identities_are_as_many_as_asked() {
        let crowd = crowd("--buyers 1000 --users 10 --addresses 300");
        let users: HashSet<u64> = crowd.iter().map(|plan| plan.user).collect();
        let addresses: HashSet<Ipv4Addr> = crowd.iter().map(|plan| plan.address).collect();
        assert_eq!((users.len(), addresses.len()), (10, 300));
        assert!(addresses.contains(&Ipv4Addr::new(10, 0, 1, 43)));
    }

    #[test]
    fn bots_share_addresses_that_no_buyer_has() {
        let crowd = crowd("--buyers 500 --users 10 --bots 50 --bot-addresses 3 --quiet-seats 10");
        let (bots, people): (Vec<_>, Vec<_>) = crowd.iter().partition(|p| p.part == Part::Bot);
        let addresses: HashSet<Ipv4Addr> = bots.iter().map(|plan| plan.address).collect();
        assert_eq!((bots.len(), addresses.len()), (50, 3));
        assert!(people.iter().all(|plan| !addresses.contains(&plan.address)));
        let users: HashSet<u64> = bots.iter().map(|plan| plan.user).collect();
        assert_eq!(users.len(), 50, "each has an account of its own");
        assert_eq!(people.iter().filter(|plan| plan.part.event() == 1).count(), 1_000);
    }

    #[test]
    fn contradictions_are_refused() {
        let cases = [
            ("--pay 80% --cancel 30%", "more than everybody"),
            ("--settle-seconds 5", "before the last hold lapses"),
            ("--section Floor", "need --by quantity"),
            ("--one-seat --by quantity", "needs --by ids"),
            ("--url localhost:8000", "must begin with http"),
        ];
        for (flags, expected) in cases {
            let words = std::iter::once("run").chain(flags.split_whitespace());
            let error = Cli::try_parse_from(words).unwrap().options.check().unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
