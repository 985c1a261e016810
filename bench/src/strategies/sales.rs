//! Sales: every user asks once for one seat, all at once, and there are far fewer seats than users.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Bench;
use super::contender::Contender;
use super::drive::{Drive, Seen};
use crate::load::Requests;

/// Bound of a sale.
const SALE_TIME_MAX: Duration = Duration::from_secs(60);

/// A sale.
pub struct Case {
    pub key: &'static str,
    pub label: &'static str,
    pub users: usize,
    pub seats: u32,
}

/// The sales, in the order of the tables.
pub const CASES: [Case; 3] = [
    Case { key: "users_1000_seats_10", label: "1,000 users, 10 seats", users: 1_000, seats: 10 },
    Case {
        key: "users_10000_seats_100",
        label: "10,000 users, 100 seats",
        users: 10_000,
        seats: 100,
    },
    Case { key: "hot_seat", label: "one seat, 5,000 users", users: 5_000, seats: 1 },
];

/// The figures of one sale.
#[derive(Clone, Debug, Serialize)]
pub struct CaseRound {
    pub granted: u64,
    pub refused: u64,
    pub failed: u64,
    /// Grants of seats that somebody else had already.
    pub oversold: u64,
    /// Of all responses.
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// From the first request to the last response.
    pub seconds: f64,
    /// Bookings in MongoDB at the end, the opener's left out.
    pub documents: u64,
    /// Grants without a document in MongoDB at the end.
    pub missing_documents: u64,
    /// How long after the last response they were there.
    pub documents_after_ms: f64,
    /// One failure, as an example.
    pub failure: Option<String>,
}

/// Grants beyond the first for each seat; where requests do not name seats, beyond the number of
/// seats.
pub fn oversold(contender: &Contender, winners: &[u32], seats: u32) -> u64 {
    if !contender.names_seats() {
        return (winners.len() as u64).saturating_sub(seats.into());
    }
    let mut owners: BTreeMap<u32, u64> = BTreeMap::new();
    for seat in winners {
        *owners.entry(*seat).or_default() += 1;
    }
    owners.values().map(|count| count - 1).sum()
}

impl Bench {
    /// Runs all sales.
    pub(super) async fn sales(&mut self) -> Result<(), Box<dyn Error>> {
        for round in 0..self.options.sale_rounds() {
            for (index, case) in CASES.iter().enumerate() {
                for who in self.turns(round) {
                    self.tell(case.label, who, round);
                    let found = self.sell(who, case, round).await?;
                    self.found[who].cases[index].push(found);
                }
            }
        }
        eprintln!();
        Ok(())
    }

    async fn sell(
        &self,
        who: usize,
        case: &Case,
        round: usize,
    ) -> Result<CaseRound, Box<dyn Error>> {
        let contender = &self.contenders[who];
        let before = contender.documents().await?;
        let sale = contender.sale(case.seats).await?;
        let seat_of = |user: usize| user as u32 % case.seats + 1;
        let request = |user: usize| sale.request(&format!("c{round}-{user}"), seat_of(user));
        let drive = Drive {
            address: contender.address,
            requests: Arc::new(Requests::new((0..case.users).map(request))),
            repeats: false,
            connections: self.options.sale_connections,
            rate: None,
            time: SALE_TIME_MAX,
        };
        let seen = drive.run().await?;
        let winners: Vec<u32> = seen.winners.iter().map(|user| seat_of(*user)).collect();
        // The opener's, too.
        let wanted = before + winners.len() as u64 + 1;
        let (documents, documents_after_ms) = contender.documents_until(wanted).await?;
        self.settled(who).await?;
        Ok(CaseRound {
            oversold: oversold(contender, &winners, case.seats),
            documents: documents.saturating_sub(before + 1),
            missing_documents: wanted.saturating_sub(documents),
            documents_after_ms,
            ..CaseRound::of(&seen)
        })
    }
}

impl CaseRound {
    fn of(seen: &Seen) -> Self {
        CaseRound {
            granted: seen.granted.len() as u64,
            refused: seen.refused.len() as u64,
            failed: seen.failed,
            oversold: 0,
            p50_ms: seen.percentile_ms(0.5),
            p99_ms: seen.percentile_ms(0.99),
            seconds: seen.seconds,
            documents: 0,
            missing_documents: 0,
            documents_after_ms: 0.0,
            failure: seen.failure.clone(),
        }
    }
}
