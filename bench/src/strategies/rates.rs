//! How many grants and refusals a second each strategy can give, how long responses take when all
//! have the same load, and the rate at which each breaks.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Bench;
use super::contender::Sale;
use super::drive::{Drive, Seen};
use super::sales::oversold;
use crate::decisions::median;
use crate::load::Requests;

/// Seats and length of the first, uncounted round.
const WARM_UP_SEATS: u32 = 3_000;
const WARM_UP_TIME: Duration = Duration::from_millis(700);
/// Seats of a sold-out event, and users who ask for them in turn.
const SOLD_SEATS: u32 = 100;
const REFUSED_USERS: usize = 10_000;
/// Of a mixed load, one request in so many is for a seat that is free.
const GRANT_EVERY: usize = 10;
/// Seats for a round of grants, beyond what the last one sold.
const SEATS_FACTOR: f64 = 1.6;
const SEATS_SPARE: f64 = 500.0;
const SEATS_MAX: f64 = 400_000.0;
/// The equal load, as a share of what the slowest can serve.
const EQUAL_SHARE: f64 = 0.5;
/// The first step towards the limit, as a share of what closed loops suggest.
const BREAK_FIRST: f64 = 0.5;
const BREAK_STEPS_MAX: usize = 14;
/// Where a strategy counts as broken.
const BREAK_P99_MS: f64 = 1_000.0;
const BREAK_FAILED_SHARE: f64 = 0.01;
/// Least share of a step's requests that are answered when its time is over.
const BREAK_SERVED_SHARE: f64 = 0.9;

/// A round in a closed loop.
#[derive(Clone, Debug, Serialize)]
pub struct RateRound {
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub failed: u64,
    pub oversold: u64,
    pub redis_commands: f64,
    pub database_operations: f64,
    /// How long after the last response all bookings were in MongoDB.
    pub documents_after_ms: f64,
    /// Grants without a document in MongoDB at the end.
    pub missing_documents: u64,
}

/// A round of mixed requests in an open loop.
#[derive(Clone, Debug, Serialize)]
pub struct MixRound {
    pub rate: f64,
    pub granted: u64,
    pub refused: u64,
    pub failed: u64,
    pub oversold: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub grants_p50_ms: f64,
    pub grants_p99_ms: f64,
    /// Share of the requests that were granted or refused before the round's time was over.
    pub served_share: f64,
    pub redis_commands: f64,
    pub database_operations: f64,
    /// Grants without a document in MongoDB at the end.
    pub missing_documents: u64,
}

/// Where a strategy breaks.
#[derive(Clone, Debug, Serialize)]
pub struct Break {
    /// The highest rate that it served, requests a second.
    pub last_good_per_second: f64,
    /// The rate that it did not serve; `None`: the steps ended before.
    pub breaks_at_per_second: Option<f64>,
    pub reason: String,
    pub steps: Vec<MixRound>,
}

/// What a strategy can serve, requests a second.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    pub grants: f64,
    pub refusals: f64,
}

impl Estimate {
    /// The same of mixed requests.
    fn mixed(self) -> f64 {
        let share = 1.0 / GRANT_EVERY as f64;
        1.0 / (share / self.grants + (1.0 - share) / self.refusals)
    }
}

/// Seats that are sold already, and the users who ask for them.
fn sold_seat(number: usize) -> u32 {
    number as u32 % SOLD_SEATS + 1
}

impl Bench {
    /// Warms up every strategy; returns what each can roughly serve.
    pub(super) async fn warm_up(&self) -> Result<Vec<Estimate>, Box<dyn Error>> {
        let mut estimates = Vec::new();
        for who in 0..self.contenders.len() {
            self.tell("warm-up", who, 0);
            let grants = self.grant(who, WARM_UP_SEATS, WARM_UP_TIME).await?;
            let refusals = self.refuse(who, WARM_UP_TIME).await?;
            estimates.push(Estimate { grants: grants.per_second, refusals: refusals.per_second });
        }
        eprintln!();
        Ok(estimates)
    }

    /// Measures grants and refusals a second; returns what each can serve.
    pub(super) async fn rates(
        &mut self,
        mut estimates: Vec<Estimate>,
    ) -> Result<Vec<Estimate>, Box<dyn Error>> {
        let time = self.options.round_time();
        for round in 0..self.options.rounds() {
            for who in self.turns(round) {
                self.tell("grants", who, round);
                let seats = estimates[who].grants * time.as_secs_f64() * SEATS_FACTOR + SEATS_SPARE;
                let found = self.grant(who, seats.min(SEATS_MAX) as u32, time).await?;
                estimates[who].grants = found.per_second;
                self.found[who].grants.push(found);
            }
            for who in self.turns(round) {
                self.tell("refusals", who, round);
                let found = self.refuse(who, time).await?;
                self.found[who].refusals.push(found);
            }
        }
        eprintln!();
        let of = |rounds: &[RateRound]| median(rounds.iter().map(|one| one.per_second).collect());
        let estimates = self
            .found
            .iter()
            .map(|f| Estimate { grants: of(&f.grants), refusals: of(&f.refusals) });
        Ok(estimates.collect())
    }

    /// Every request is for another seat. Counts end when all bookings are in MongoDB.
    async fn grant(
        &self,
        who: usize,
        seats: u32,
        time: Duration,
    ) -> Result<RateRound, Box<dyn Error>> {
        let contender = &self.contenders[who];
        let before = contender.documents().await?;
        let sale = contender.sale(seats).await?;
        let requests = (1..=seats).map(|seat| sale.request(&format!("g{seat}"), seat));
        let drive = Drive {
            address: contender.address,
            requests: Arc::new(Requests::new(requests)),
            repeats: false,
            connections: self.options.connections,
            rate: None,
            time,
        };
        let counts = self.counters.now().await?;
        let seen = drive.run().await?;
        let wanted = before + seen.granted.len() as u64 + 1;
        let (documents, documents_after_ms) = contender.documents_until(wanted).await?;
        let counts_after = self.worked_off(who).await?;
        let winners: Vec<u32> = seen.winners.iter().map(|index| *index as u32 + 1).collect();
        let cost = counts_after.each(&counts, seen.total(), self.background_of(who));
        Ok(RateRound {
            per_second: seen.grants_per_second(),
            p50_ms: seen.percentile_ms(0.5),
            p99_ms: seen.percentile_ms(0.99),
            failed: seen.failed,
            oversold: oversold(contender, &winners, seats),
            redis_commands: cost.redis,
            database_operations: cost.mongodb,
            documents_after_ms,
            missing_documents: wanted.saturating_sub(documents),
        })
    }

    /// Sells the first seats of an event.
    async fn sell_out(&self, who: usize, sale: Sale) -> Result<(), Box<dyn Error>> {
        let requests =
            (0..SOLD_SEATS as usize).map(|n| sale.request(&format!("s{n}"), sold_seat(n)));
        let drive = Drive {
            address: self.contenders[who].address,
            requests: Arc::new(Requests::new(requests)),
            repeats: false,
            connections: SOLD_SEATS as usize / 10,
            rate: None,
            time: WARM_UP_TIME * 10,
        };
        let seen = drive.run().await?;
        match seen.granted.len() == SOLD_SEATS as usize {
            true => Ok(()),
            false => Err(format!("{} of {SOLD_SEATS} seats were sold", seen.granted.len()).into()),
        }
    }

    /// Every request is for a seat that is sold.
    async fn refuse(&self, who: usize, time: Duration) -> Result<RateRound, Box<dyn Error>> {
        let contender = &self.contenders[who];
        let before = contender.documents().await?;
        let sale = contender.sale(SOLD_SEATS).await?;
        self.sell_out(who, sale).await?;
        contender.documents_until(before + u64::from(SOLD_SEATS) + 1).await?;
        let requests =
            (0..REFUSED_USERS).map(|user| sale.request(&format!("r{user}"), sold_seat(user)));
        let drive = Drive {
            address: contender.address,
            requests: Arc::new(Requests::new(requests)),
            repeats: true,
            connections: self.options.connections,
            rate: None,
            time,
        };
        let counts = self.counters.now().await?;
        let seen = drive.run().await?;
        let counts_after = self.worked_off(who).await?;
        let cost = counts_after.each(&counts, seen.total(), self.background_of(who));
        Ok(RateRound {
            per_second: seen.refusals_per_second(),
            p50_ms: seen.percentile_ms(0.5),
            p99_ms: seen.percentile_ms(0.99),
            failed: seen.failed,
            // Everything was sold before.
            oversold: seen.granted.len() as u64,
            redis_commands: cost.redis,
            database_operations: cost.mongodb,
            documents_after_ms: 0.0,
            missing_documents: 0,
        })
    }

    /// Measures latencies with the same load for everybody, which the slowest can bear.
    pub(super) async fn equal_load(&mut self, all: &[Estimate]) -> Result<(), Box<dyn Error>> {
        let slowest = all.iter().map(|one| one.mixed()).fold(f64::INFINITY, f64::min);
        let tens = (slowest * EQUAL_SHARE / 10.0).floor();
        self.equal_rate = (tens * 10.0).max(10.0);
        for round in 0..self.options.rounds() {
            for who in self.turns(round) {
                self.tell("equal load", who, round);
                let found = self.mix(who, self.equal_rate, self.options.round_time()).await?;
                self.found[who].equal.push(found);
            }
        }
        eprintln!();
        Ok(())
    }

    /// Raises the rate in steps until a strategy does not serve it.
    pub(super) async fn breaks(&mut self, all: &[Estimate]) -> Result<(), Box<dyn Error>> {
        self.is_counting = false;
        for who in self.turns(0) {
            let factor = self.options.step_factor();
            let mut rate = all[who].mixed() * BREAK_FIRST;
            let mut found = Break {
                last_good_per_second: 0.0,
                breaks_at_per_second: None,
                reason: "it did not break".to_owned(),
                steps: Vec::new(),
            };
            for step in 0..BREAK_STEPS_MAX {
                self.tell(&format!("{rate:.0} a second"), who, step);
                let round = self.mix(who, rate, self.options.round_time()).await?;
                let broken = round.broken();
                found.steps.push(round);
                match broken {
                    None => {
                        found.last_good_per_second = rate;
                        if found.breaks_at_per_second.is_some() {
                            break;
                        }
                        rate *= factor;
                    }
                    Some(reason) => {
                        found.breaks_at_per_second = Some(rate);
                        found.reason = reason;
                        if found.last_good_per_second > 0.0 {
                            break;
                        }
                        // The first step was too high.
                        rate /= factor * factor;
                    }
                }
            }
            self.settled(who).await?;
            self.found[who].breaks = Some(found);
        }
        eprintln!();
        Ok(())
    }

    /// An open loop of mostly refusals by a sold-out event and some grants by another.
    async fn mix(&self, who: usize, rate: f64, time: Duration) -> Result<MixRound, Box<dyn Error>> {
        let contender = &self.contenders[who];
        let count = (rate * time.as_secs_f64()).ceil() as usize + 1;
        let seats = (count / GRANT_EVERY) as u32 + 1;
        let before = contender.documents().await?;
        let (sold, open) = (contender.sale(SOLD_SEATS).await?, contender.sale(seats).await?);
        self.sell_out(who, sold).await?;
        contender.documents_until(before + u64::from(SOLD_SEATS) + 2).await?;
        let is_open = |number: usize| number.is_multiple_of(GRANT_EVERY);
        let seat_of = |number: usize| (number / GRANT_EVERY) as u32 + 1;
        let requests = (0..count).map(|number| {
            let user = format!("m{number}");
            match is_open(number) {
                true => open.request(&user, seat_of(number)),
                false => sold.request(&user, sold_seat(number)),
            }
        });
        let drive = Drive {
            address: contender.address,
            requests: Arc::new(Requests::new(requests)),
            repeats: false,
            connections: self.options.sale_connections,
            rate: Some(rate),
            time,
        };
        let counts = self.counters.now().await?;
        let seen = drive.run().await?;
        let wanted = before + u64::from(SOLD_SEATS) + seen.granted.len() as u64 + 2;
        let (documents, _) = contender.documents_until(wanted).await?;
        let counts_after = self.worked_off(who).await?;
        let (fresh, again): (Vec<usize>, Vec<usize>) =
            seen.winners.iter().copied().partition(|number| is_open(*number));
        let winners: Vec<u32> = fresh.into_iter().map(seat_of).collect();
        let cost = counts_after.each(&counts, seen.total(), self.background_of(who));
        Ok(MixRound {
            oversold: oversold(contender, &winners, seats) + again.len() as u64,
            redis_commands: cost.redis,
            database_operations: cost.mongodb,
            missing_documents: wanted.saturating_sub(documents),
            ..MixRound::of(rate, &seen)
        })
    }
}

impl MixRound {
    fn of(rate: f64, seen: &Seen) -> Self {
        MixRound {
            rate,
            granted: seen.granted.len() as u64,
            refused: seen.refused.len() as u64,
            failed: seen.failed,
            oversold: 0,
            p50_ms: seen.percentile_ms(0.5),
            p99_ms: seen.percentile_ms(0.99),
            grants_p50_ms: seen.grants_percentile_ms(0.5),
            grants_p99_ms: seen.grants_percentile_ms(0.99),
            served_share: seen.in_time as f64 / seen.total().max(1) as f64,
            redis_commands: 0.0,
            database_operations: 0.0,
            missing_documents: 0,
        }
    }

    /// Why the rate was not served, if it was not.
    fn broken(&self) -> Option<String> {
        let total = self.granted + self.refused + self.failed;
        let failed = self.failed as f64 / total.max(1) as f64;
        if failed > BREAK_FAILED_SHARE {
            Some(format!("{:.1} % failed", failed * 100.0))
        } else if self.p99_ms > BREAK_P99_MS {
            Some(format!("p99 {:.1} s", self.p99_ms / 1e3))
        } else if self.served_share < BREAK_SERVED_SHARE {
            Some(format!("{:.0} % served in time", self.served_share * 100.0))
        } else {
            None
        }
    }
}
