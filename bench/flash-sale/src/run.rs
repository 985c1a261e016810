//! A run from beginning to end: the sale, the wait until it settles, the checks.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use holdfast_bench_report::result::{ArchiveLag, Checked, RunResult, Settled};
use holdfast_bench_report::{compare, html, read};

use crate::Failure;
use crate::behind::{Behind, Measuring};
use crate::books::Books;
use crate::check::{BookingReports, against_archive, against_itself};
use crate::history::{End, Line, Written};
use crate::options::{CheckOptions, CompareOptions, ProgressKind, ReportOptions, RunOptions};
use crate::outcome::{Findings, is_clean, result};
use crate::plan::Crowd;
use crate::prepare::{held_seats, open};
use crate::progress::{View, Waiting};
use crate::sampler::seats_pause;
use crate::sell::sell;
use crate::series::Recorder;
use crate::shop::Shop;
use crate::text;

/// Pause between two reads of the number of held seats.
const HELD_PAUSE: Duration = Duration::from_millis(500);
/// Bound of the wait until the log's entries at the time of `verify` are archived. Other events may share their
/// partition, and still be selling when this sale has settled.
const VERIFY_WAIT: Duration = Duration::from_secs(60);
/// Bound of the wait until the reconciler has closed the intents of payments that were first answered 202: after a
/// rush there are thousands, and it closes them in batches. It ends as soon as nothing differs.
const RECONCILE_WAIT: Duration = Duration::from_secs(120);

/// Runs a sale and prints the result; returns whether it is free of contradictions.
pub async fn run(options: RunOptions) -> Result<bool, Failure> {
    options.check()?;
    let options = options.scaled();
    let crowd = Crowd::draw(&options)?;
    // Connects first, so that a missing service is reported before the sale begins.
    let books = match options.no_verify {
        true => None,
        false => Some(Books::connect(&options.config).await?),
    };
    let (shop, written) = open(options, crowd).await?;
    let shop = Arc::new(shop);
    let (behind, measuring) = Behind::watch(books.clone(), ids(&shop));
    let recorder = Recorder::start(shop.clone(), behind.clone())?;
    let view = View::of_sale(shop.clone(), recorder.watch());
    sell(&shop).await?;
    drop(view);
    let end = End {
        calls: shop.tally.lock().calls,
        ended_ns: shop.last_answer_ns.load(Ordering::Relaxed),
    };
    let settled = settle(&shop, books.as_ref(), (behind, measuring), end.ended_ns).await?;
    let record = recorder.end().await?;
    let mut checked = Checked { calls: end.calls, ..Checked::default() };
    shop.history.write(Line::End(end)).await;
    let failure = check_run(&shop, written, books.as_ref(), &mut checked).await.err();
    if let Some(error) = &failure {
        checked.problems.push(format!("the checks could not be completed: {error}"));
    }
    if settled.held_seats > 0 && shop.options.event.is_none() {
        checked.problems.push(format!("{} seats are still held", settled.held_seats));
    }
    let programs = match &books {
        Some(books) => books.programs().await,
        None => Default::default(),
    };
    let result = result(&shop, Findings { record, settled, checked, programs });
    leave(&shop.options, &result)?;
    failure.map_or(Ok(result.clean), Err)
}

/// Makes every check of a finished run. If one fails, `checked` has what is known until then.
async fn check_run(
    shop: &Shop,
    written: Written,
    books: Option<&Books>,
    checked: &mut Checked,
) -> Result<(), Failure> {
    let history = &shop.options.history;
    if shop.options.keeps_history() {
        checked.history = Some(history.display().to_string());
    }
    let reports = match written.finish().await? {
        Some(reports) => reports,
        None => BookingReports::read(history)?,
    };
    let kind = shop.options.output.progress;
    check_reports(&reports, books, VERIFY_WAIT, kind, checked).await
}

/// Prints the result, and writes the files that the options name.
fn leave(options: &RunOptions, result: &RunResult) -> Result<(), Failure> {
    let output = &options.output;
    let json = serde_json::to_string_pretty(result)?;
    if let Some(path) = &output.result {
        write(path, &json)?;
    }
    if let Some(path) = &output.report {
        write(path, &html::report(result))?;
    }
    say(&if output.json { json } else { text::of_run(result) })
}

/// Checks an existing history; returns whether it is free of contradictions.
pub async fn check(options: CheckOptions) -> Result<bool, Failure> {
    let books = match options.no_verify {
        true => None,
        false => Some(Books::connect(&options.config).await?),
    };
    let wait = Duration::from_secs(options.wait_seconds);
    let reports = BookingReports::read(&options.history)?;
    let history = Some(options.history.display().to_string());
    let mut checked = Checked { history, ..Checked::default() };
    check_reports(&reports, books.as_ref(), wait, ProgressKind::Auto, &mut checked).await?;
    let json = serde_json::to_string_pretty(&checked)?;
    say(&if options.json { json } else { text::of_checks(&checked) })?;
    Ok(is_clean(&checked))
}

/// Makes a page of a result.
pub fn report(options: &ReportOptions) -> Result<bool, Failure> {
    let result = read_result(&options.result)?;
    let path = options.output.clone().unwrap_or_else(|| options.result.with_extension("html"));
    write(&path, &html::report(&result))?;
    say(&path.display().to_string())?;
    Ok(true)
}

/// Compares two results: prints a table, or writes a page.
pub fn compare(options: &CompareOptions) -> Result<bool, Failure> {
    let (first, second) = (read_result(&options.first)?, read_result(&options.second)?);
    match &options.output {
        Some(path) => {
            write(path, &compare::html(&first, &second))?;
            say(&path.display().to_string())?;
        }
        None => say(compare::text(&first, &second).trim_end())?,
    }
    Ok(true)
}

/// Prints a text on standard output. A closed pipe (`head`) is not an error.
pub fn say(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn read_result(path: &Path) -> Result<RunResult, Failure> {
    let shown = path.display();
    let json =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    read::run(&json).map_err(|error| format!("{shown}: {error}").into())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let written = std::fs::write(path, text);
    written.map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

fn ids(shop: &Shop) -> Vec<u32> {
    shop.events.iter().map(|event| event.id).collect()
}

/// Waits until no hold is left and the archive has everything.
async fn settle(
    shop: &Shop,
    books: Option<&Books>,
    (behind, measuring): (Behind, Measuring),
    last_answer_ns: u64,
) -> Result<Settled, Failure> {
    let what = "waiting for the last holds to lapse and for the archive";
    let _waiting = Waiting::show(what, shop.options.output.progress);
    let began = Instant::now();
    let until = began + Duration::from_secs(shop.options.settle_seconds);
    let events = ids(shop);
    let caught_up = async {
        let Some(books) = books else { return Ok(None) };
        let in_time = books.await_archive(&events, until).await?;
        let last_answer = shop.began + Duration::from_nanos(last_answer_ns);
        Ok::<_, Failure>(in_time.then(|| last_answer.elapsed().as_secs_f64()))
    };
    let watcher = format!("{}-settle", shop.name);
    let pause = seats_pause(shop).max(HELD_PAUSE);
    let no_holds = async {
        loop {
            let (held, over) = (held_seats(shop, &watcher).await, Instant::now() >= until);
            match held {
                Ok(held) if held == 0 || over => return Ok::<_, Failure>(held),
                Err(error) if over => return Err(error),
                Ok(_) | Err(_) => tokio::time::sleep(pause).await,
            }
        }
    };
    // Measures the sales alone: expiries that follow are archived, too, but are not part of the figure.
    let (caught_up_seconds, held) = tokio::join!(caught_up, no_holds);
    let (caught_up_seconds, held_seats) = (caught_up_seconds?, held?);
    if let Some(books) = books {
        books.await_archive(&events, until).await?;
    }
    drop(measuring);
    let (behind_entries_max, looks_failed) = behind.most();
    let archive = books.map(|_| ArchiveLag { behind_entries_max, looks_failed, caught_up_seconds });
    Ok(Settled { held_seats, archive, seconds: began.elapsed().as_secs_f64() })
}

async fn check_reports(
    reports: &BookingReports,
    books: Option<&Books>,
    wait: Duration,
    progress: ProgressKind,
    checked: &mut Checked,
) -> Result<(), Failure> {
    let _waiting = Waiting::show("checking", progress);
    let confirmed = reports.bookings.values().filter(|one| one.confirmed_ns.is_some());
    checked.calls = reports.calls;
    checked.bookings = reports.bookings.len() as u64;
    checked.confirmed = confirmed.count() as u64;
    checked.problems = against_itself(reports);
    let Some(books) = books else { return Ok(()) };
    let events: Vec<u32> = reports.run.events.iter().map(|one| one.event).collect();
    let report = books.verify(&events, wait).await?;
    checked.verify = Some(serde_json::to_value(&report)?);
    for event in &events {
        let archived = books.bookings(*event).await?;
        let counts = report.events.iter().find(|one| one.event == *event && one.loaded);
        let sold = counts.map(|one| u64::from(one.sold));
        checked.problems.extend(against_archive(reports, *event, &archived, sold));
    }
    let payments = books.reconcile(&events, wait.max(RECONCILE_WAIT)).await?;
    checked.reconcile = Some(serde_json::to_value(payments)?);
    Ok(())
}
