//! The sale: starts every buyer at its arrival, and everybody who waits in the waiting room when it is
//! time to ask again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Failure;
use crate::buyer::{Buyer, Turn};
use crate::line::Line;
use crate::plan::Part;
use crate::shop::Shop;

/// Most buyers that are started before ended ones are looked at.
const STARTED_AT_ONCE_MAX: usize = 256;

/// Runs every buyer and waits until the last has finished.
///
/// # Errors
/// If a buyer's task panicked.
pub async fn sell(shop: &Arc<Shop>) -> Result<(), Failure> {
    let mut sale = Sale { shop, tasks: JoinSet::new(), line: Line::default(), next: 0 };
    loop {
        sale.collect()?;
        let now = Instant::now();
        let mut started = 0;
        while started < STARTED_AT_ONCE_MAX && sale.start_due(now) {
            started += 1;
        }
        let Some(next) = sale.next_due() else {
            match sale.tasks.join_next().await {
                Some(ended) => sale.ended(ended?),
                None => return Ok(()),
            }
            continue;
        };
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => {}
            Some(ended) = sale.tasks.join_next() => sale.ended(ended?),
        }
    }
}

struct Sale<'a> {
    shop: &'a Arc<Shop>,
    tasks: JoinSet<Turn>,
    line: Line,
    /// The number of the next who arrives.
    next: usize,
}

impl Sale<'_> {
    /// Takes the tasks that have ended. Until then each keeps its memory.
    fn collect(&mut self) -> Result<(), Failure> {
        while let Some(ended) = self.tasks.try_join_next() {
            self.ended(ended?);
        }
        Ok(())
    }

    fn ended(&mut self, turn: Turn) {
        if let Turn::Waits(waiter) = turn {
            self.line.push(waiter);
        }
    }

    /// Returns when the next one arrives or asks again.
    fn next_due(&self) -> Option<Instant> {
        [self.arrival(), self.line.next_due()].into_iter().flatten().min()
    }

    fn arrival(&self) -> Option<Instant> {
        self.shop.crowd.arrives(self.next).map(|after: Duration| self.shop.began + after)
    }

    /// Starts one who is due; returns whether there was one.
    fn start_due(&mut self, now: Instant) -> bool {
        let shop = self.shop.clone();
        if self.arrival().is_some_and(|arrival| arrival <= now) {
            // `BUYERS_MAX` is far below what a u32 holds.
            let buyer = Buyer::new(shop, self.next as u32);
            self.next += 1;
            match buyer.plan.part {
                Part::Bot => self.tasks.spawn(async move {
                    buyer.run_bot().await;
                    Turn::Finished
                }),
                Part::People | Part::Quiet => self.tasks.spawn(buyer.run()),
            };
            return true;
        }
        match self.line.pop_due(now) {
            Some(waiter) => {
                self.tasks.spawn(Buyer::of_waiter(shop, waiter).run());
                true
            }
            None => false,
        }
    }
}
