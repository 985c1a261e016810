//! A run from beginning to end: the sale, the wait until it settles, the checks.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, JoinSet};

use crate::Failure;
use crate::books::{ArchiveLag, Books, LOOK_PAUSE};
use crate::buyer::Buyer;
use crate::check::{BookingReports, against_archive, against_itself};
use crate::history::{End, Line};
use crate::options::{CheckOptions, RunOptions};
use crate::plan::{Plan, crowd};
use crate::prepare::{held_seats, open};
use crate::progress::Progress;
use crate::report::{Checked, Settled, Summary, print};
use crate::shop::Shop;

/// Pause between two reads of the number of held seats.
const HELD_PAUSE: Duration = Duration::from_millis(500);

/// Runs a sale and prints the result; returns whether it is free of contradictions.
pub async fn run(options: RunOptions) -> Result<bool, Failure> {
    options.check()?;
    // Connects first, so that a missing service is reported before the sale begins.
    let books = match options.no_verify {
        true => None,
        false => Some(Books::connect(&options.config).await?),
    };
    let plans = crowd(&options);
    let (shop, written) = open(options).await?;
    let shop = Arc::new(shop);
    let behind = Behind::watch(books.clone(), shop.event);
    sell(&shop, plans).await?;
    let end = End {
        calls: shop.tally.lock().calls,
        ended_ns: shop.last_answer_ns.load(Ordering::Relaxed),
    };
    let settled = settle(&shop, books.as_ref(), behind, end.ended_ns).await?;
    shop.history.write(Line::End(end)).await;
    written.finish().await?;
    let mut checked = check_history(&shop.options.history, books.as_ref(), Duration::ZERO).await?;
    if settled.held_seats > 0 && shop.options.event.is_none() {
        checked.problems.push(format!("{} seats are still held", settled.held_seats));
    }
    let clean = checked.is_clean();
    print(&Summary::new(&shop, settled, checked), shop.options.json)?;
    Ok(clean)
}

/// Checks an existing history; returns whether it is free of contradictions.
pub async fn check(options: CheckOptions) -> Result<bool, Failure> {
    let books = match options.no_verify {
        true => None,
        false => Some(Books::connect(&options.config).await?),
    };
    let wait = Duration::from_secs(options.wait_seconds);
    let checked = check_history(&options.history, books.as_ref(), wait).await?;
    print(&checked, options.json)?;
    Ok(checked.is_clean())
}

/// Starts every buyer at its arrival time and waits until the last has finished.
async fn sell(shop: &Arc<Shop>, plans: Vec<Plan>) -> Result<(), Failure> {
    let _progress = Progress::of_sale(shop.clone(), plans.len() as u64);
    let mut buyers = JoinSet::new();
    for plan in plans {
        tokio::time::sleep_until((shop.began + plan.arrives).into()).await;
        let (buyer, shop) = (Buyer::new(shop.clone(), plan), shop.clone());
        buyers.spawn(async move { shop.tally.finished(buyer.run().await) });
    }
    while let Some(done) = buyers.join_next().await {
        done?;
    }
    Ok(())
}

/// Waits until no hold is left and the archive has everything.
async fn settle(
    shop: &Shop,
    books: Option<&Books>,
    behind: Behind,
    last_answer_ns: u64,
) -> Result<Settled, Failure> {
    let _waiting = Progress::waiting("waiting for the last holds to lapse and for the archive");
    let began = Instant::now();
    let until = began + Duration::from_secs(shop.options.settle_seconds);
    let caught_up = async {
        let Some(books) = books else { return Ok(None) };
        let in_time = books.await_archive(shop.event, until).await?;
        let last_answer = shop.began + Duration::from_nanos(last_answer_ns);
        Ok::<_, Failure>(in_time.then(|| last_answer.elapsed().as_secs_f64()))
    };
    let no_holds = async {
        loop {
            let (held, over) = (held_seats(shop).await, Instant::now() >= until);
            match held {
                Ok(held) if held == 0 || over => return Ok::<_, Failure>(held),
                Err(error) if over => return Err(error),
                Ok(_) | Err(_) => tokio::time::sleep(HELD_PAUSE).await,
            }
        }
    };
    // Measures the sales alone: expiries that follow are archived, too, but are not part of the figure.
    let (caught_up_seconds, held) = tokio::join!(caught_up, no_holds);
    let (caught_up_seconds, held_seats) = (caught_up_seconds?, held?);
    if let Some(books) = books {
        books.await_archive(shop.event, until).await?;
    }
    let (behind_entries_max, looks_failed) = behind.end();
    let archive = books.map(|_| ArchiveLag { behind_entries_max, looks_failed, caught_up_seconds });
    Ok(Settled { held_seats, archive, seconds: began.elapsed().as_secs_f64() })
}

/// Measures the archive's lag in the background.
struct Behind {
    most: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    watching: Option<JoinHandle<()>>,
}

impl Behind {
    fn watch(books: Option<Books>, event: u32) -> Self {
        let (most, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (seen, unseen) = (most.clone(), failed.clone());
        let watching = books.map(|books| {
            tokio::spawn(async move {
                loop {
                    match books.behind(event).await {
                        Ok(behind) => seen.fetch_max(behind.unwrap_or(0), Ordering::Relaxed),
                        Err(_) => unseen.fetch_add(1, Ordering::Relaxed),
                    };
                    tokio::time::sleep(LOOK_PAUSE).await;
                }
            })
        });
        Behind { most, failed, watching }
    }

    /// Stops; returns the greatest lag and the number of failed measurements.
    fn end(self) -> (u64, u64) {
        if let Some(watching) = self.watching {
            watching.abort();
        }
        (self.most.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

async fn check_history(
    path: &Path,
    books: Option<&Books>,
    wait: Duration,
) -> Result<Checked, Failure> {
    let _waiting = Progress::waiting("checking");
    let reports = BookingReports::read(path)?;
    let mut checked = Checked::new(path, &reports, against_itself(&reports));
    if let Some(books) = books {
        let event = reports.run.event;
        let report = books.verify(event, wait).await?;
        let archived = books.bookings(event).await?;
        let counts = report.events.iter().find(|one| one.event == event && one.loaded);
        let sold = counts.map(|one| u64::from(one.sold));
        checked.problems.extend(against_archive(&reports, &archived, sold));
        checked.verify = Some(report);
    }
    Ok(checked)
}
