//! The course of a sale: one point a second, and what happened to the deployment meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use holdfast_bench_report::result::{Incident, Point, Queue, Seats, Series, StepLatency};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::Failure;
use crate::behind::Behind;
use crate::history::Operation;
use crate::sampler::{Sample, Sampler};
use crate::shop::Shop;
use crate::tally::{OutcomeClass, Step};

/// Length of a step.
const STEP: Duration = Duration::from_secs(1);
/// Share of a step's calls that must have failed to be an incident, and fewest of them.
const FAILED_SHARE: f64 = 0.05;
const FAILED_MIN: u64 = 5;
/// What such an incident is called.
const FAILING: &str = "calls fail";

/// What was recorded so far.
#[derive(Default)]
pub struct Record {
    /// One a step.
    pub points: Vec<Point>,
    /// In order of their beginning.
    pub incidents: Vec<Incident>,
    /// When each event was first seen without a free seat, seconds.
    pub sold_out: BTreeMap<u32, f64>,
    /// The latest known seats by event.
    pub seats: BTreeMap<u32, Seats>,
    /// The latest known waiting room.
    pub queue: Option<Queue>,
    /// The server's version.
    pub version: Option<String>,
}

/// Records in the background.
pub struct Recorder {
    record: Arc<Mutex<Record>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Access to the record while it grows.
#[derive(Clone)]
pub struct Watch(Arc<Mutex<Record>>);

impl Watch {
    /// Locks the record, briefly.
    pub fn lock(&self) -> MutexGuard<'_, Record> {
        // A poisoned lock still guards complete points: a point is pushed whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder {
    /// Begins with the sale.
    ///
    /// # Errors
    /// If no HTTP client can be made.
    pub fn start(shop: Arc<Shop>, behind: Behind) -> Result<Self, Failure> {
        let mut sampler = Sampler::new(shop.clone())?;
        let record = Arc::new(Mutex::new(Record::default()));
        let watch = Watch(record.clone());
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let began = shop.began;
            let mut end = began + STEP;
            loop {
                let is_last = tokio::select! {
                    () = tokio::time::sleep_until(end.into()) => false,
                    _ = &mut stopped => true,
                };
                // A machine that is too busy makes a step longer; steps that were missed are not made up for.
                let seconds = Instant::now().saturating_duration_since(began).as_secs_f64();
                let step = shop.tally.end_step();
                let sample = sampler.look(is_last).await;
                let ids: Vec<u32> = shop.events.iter().map(|event| event.id).collect();
                watch.lock().add(seconds, &ids, &step, sample, behind.now());
                if is_last {
                    break;
                }
                end = next_end(began, Instant::now());
            }
        });
        Ok(Recorder { record, stop, task })
    }

    /// Returns access to the record.
    pub fn watch(&self) -> Watch {
        Watch(self.record.clone())
    }

    /// Ends; returns the record with a last, shorter step.
    pub async fn end(self) -> Result<Record, Failure> {
        // It ends by itself only by a panic, which the next line reports.
        let _ = self.stop.send(());
        self.task.await?;
        Ok(std::mem::take(&mut *Watch(self.record).lock()))
    }
}

impl Record {
    fn add(
        &mut self,
        seconds: f64,
        events: &[u32],
        step: &Step,
        sample: Sample,
        behind: Option<u64>,
    ) {
        for (event, seats) in &sample.seats {
            if seats.free == 0 {
                self.sold_out.entry(*event).or_insert(seconds);
            }
        }
        self.seats.extend(&sample.seats);
        self.queue = sample.queue.or(self.queue);
        self.version = sample.version.or(self.version.take());
        let mut faults = sample.faults;
        if is_failing(step) {
            faults.push(FAILING.to_owned());
        }
        self.note(seconds, &faults);
        let by_event = events.iter().zip(&step.events);
        self.points.push(Point {
            seconds,
            operations: latencies(&step.people),
            outcomes: named(&step.outcomes),
            bot_outcomes: named(&step.bot_outcomes),
            events: by_event.map(|(event, one)| (*event, latencies(one))).collect(),
            seats: sample.seats,
            queue: sample.queue,
            archive_behind_entries: behind,
        });
    }

    /// Begins and ends incidents: `faults` are those of now.
    fn note(&mut self, seconds: f64, faults: &[String]) {
        for incident in self.incidents.iter_mut().filter(|one| one.ended_seconds.is_none()) {
            if !faults.contains(&incident.what) {
                incident.ended_seconds = Some(seconds);
            }
        }
        for fault in faults {
            let is_open = |one: &Incident| one.ended_seconds.is_none() && one.what == *fault;
            if !self.incidents.iter().any(is_open) {
                let what = fault.clone();
                self.incidents.push(Incident { seconds, ended_seconds: None, what });
            }
        }
    }

    /// Returns the points as the result document has them.
    pub fn series(&self) -> Series {
        Series {
            interval_ms: STEP.as_millis() as u64,
            seats_from: "availability".to_owned(),
            points: self.points.clone(),
        }
    }
}

/// Returns the first multiple of a step after `now`.
fn next_end(began: Instant, now: Instant) -> Instant {
    let steps = now.saturating_duration_since(began).as_millis() / STEP.as_millis();
    began + STEP * (steps as u32 + 1)
}

fn is_failing(step: &Step) -> bool {
    let count = |class| step.outcomes.get(&class).copied().unwrap_or(0);
    let failed = count(OutcomeClass::Failed) + count(OutcomeClass::Unavailable);
    let all: u64 = step.outcomes.values().sum();
    failed >= FAILED_MIN && failed as f64 > all as f64 * FAILED_SHARE
}

fn latencies(operations: &BTreeMap<Operation, Histogram<u64>>) -> BTreeMap<String, StepLatency> {
    let latency = |histogram: &Histogram<u64>| {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        StepLatency {
            calls: histogram.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            max_ms: histogram.max() as f64 / 1_000.0,
        }
    };
    operations.iter().map(|(one, found)| (one.as_str().to_owned(), latency(found))).collect()
}

fn named(outcomes: &BTreeMap<OutcomeClass, u64>) -> BTreeMap<String, u64> {
    outcomes.iter().map(|(class, count)| (class.as_str().to_owned(), *count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incident_lasts_while_its_fault_does() {
        let mut record = Record::default();
        let redis = || "redis unavailable".to_owned();
        record.note(1.0, &[redis()]);
        record.note(2.0, &[redis(), "live stale".to_owned()]);
        record.note(3.0, &[]);
        record.note(4.0, &[redis()]);
        let times: Vec<_> =
            record.incidents.iter().map(|one| (one.seconds, one.ended_seconds)).collect();
        assert_eq!(times, [(1.0, Some(3.0)), (2.0, Some(3.0)), (4.0, None)]);
    }

    #[test]
    fn steps_that_were_missed_are_skipped() {
        let began = Instant::now();
        let next = |ms| next_end(began, began + Duration::from_millis(ms)) - began;
        assert_eq!([0, 999, 1_000, 1_001, 7_400].map(|ms| next(ms).as_secs()), [1, 1, 2, 2, 8]);
    }

    #[test]
    fn event_is_sold_out_when_it_is_first_seen_without_a_free_seat() {
        let mut record = Record::default();
        for (seconds, free) in [(1.0, 5), (2.0, 0), (3.0, 2), (4.0, 0)] {
            let seats = BTreeMap::from([(7, Seats { free, held: 1, sold: 4 })]);
            let sample = Sample { seats, ..Sample::default() };
            record.add(seconds, &[7], &Step::default(), sample, Some(3));
        }
        assert_eq!(record.sold_out, BTreeMap::from([(7, 2.0)]));
        assert_eq!(record.points.len(), 4);
        assert_eq!(record.points[2].archive_behind_entries, Some(3));
    }

    #[test]
    fn few_failures_are_no_incident() {
        let step = |granted, failed| Step {
            outcomes: BTreeMap::from([
                (OutcomeClass::Granted, granted),
                (OutcomeClass::Failed, failed),
            ]),
            ..Step::default()
        };
        assert!(is_failing(&step(90, 10)) && is_failing(&step(0, 5)));
        assert!(!is_failing(&step(0, 4)) && !is_failing(&step(1_000, 10)));
    }
}
