//! Shows how a sale goes while it goes: several lines redrawn in place on a terminal, a line every ten
//! seconds elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossterm::terminal::{Clear, ClearType, size};
use crossterm::{cursor, queue, style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;

use crate::frame::Frame;
use crate::options::ProgressKind;
use crate::series::Watch;
use crate::shop::Shop;

/// How often the view is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(250);
/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Points that a view needs: as many as a sparkline has cells.
const POINTS_MAX: usize = 110;
/// Columns and rows of a terminal that does not say how many it has.
const SIZE_DEFAULT: (u16, u16) = (80, 24);

/// Shows a sale until it is dropped.
pub struct View {
    task: Option<JoinHandle<()>>,
    is_live: bool,
}

impl View {
    /// Shows a sale on standard error.
    pub fn of_sale(shop: Arc<Shop>, watch: Watch) -> Self {
        let is_terminal = stderr().is_terminal();
        let task = match shop.options.output.progress {
            ProgressKind::None => None,
            ProgressKind::Auto if is_terminal => Some(tokio::spawn(draw(shop, watch))),
            ProgressKind::Auto | ProgressKind::Lines => Some(tokio::spawn(print(shop, watch))),
        };
        let is_live = is_terminal && task.is_some();
        View { task, is_live }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let Some(task) = self.task.take() else { return };
        task.abort();
        if self.is_live {
            // The cursor rests at the view's first line.
            let _ = queue!(stderr(), Clear(ClearType::FromCursorDown));
            let _ = stderr().flush();
        }
    }
}

async fn draw(shop: Arc<Shop>, watch: Watch) {
    loop {
        let (columns, rows) = size().unwrap_or(SIZE_DEFAULT);
        let mut lines = frame(&shop, &watch).lines(columns.into());
        // More would scroll, and could not be drawn over.
        lines.truncate(usize::from(rows.saturating_sub(1)));
        // If the terminal is closed, the view ends and the sale continues.
        if redraw(&lines).is_err() {
            return;
        }
        tokio::time::sleep(DRAWN_EVERY).await;
    }
}

/// Draws the lines from the cursor on, and puts it back to the first of them.
fn redraw(lines: &[String]) -> std::io::Result<()> {
    let mut out = stderr().lock();
    queue!(out, Clear(ClearType::FromCursorDown))?;
    for line in lines {
        queue!(out, style::Print(line), style::Print("\r\n"))?;
    }
    queue!(out, cursor::MoveUp(lines.len() as u16), cursor::MoveToColumn(0))?;
    out.flush()
}

async fn print(shop: Arc<Shop>, watch: Watch) {
    loop {
        tokio::time::sleep(LINE_EVERY).await;
        eprintln!("{}", frame(&shop, &watch).line());
    }
}

fn frame(shop: &Shop, watch: &Watch) -> Frame {
    let record = watch.lock();
    let points = &record.points[record.points.len().saturating_sub(POINTS_MAX)..];
    let (points, queue) = (points.to_vec(), record.queue);
    let seats = shop.events.iter().filter_map(|event| {
        let seats = record.seats.get(&event.id)?;
        Some((event.name.clone(), *seats))
    });
    let seats = seats.collect();
    let open = record.incidents.iter().filter(|one| one.ended_seconds.is_none());
    let faults = open.map(|one| one.what.clone()).collect();
    drop(record);
    let counts = shop.tally.lock();
    Frame {
        seconds: Instant::now().saturating_duration_since(shop.began).as_secs(),
        done: counts.done(),
        buyers: shop.crowd.len() as u64,
        calls: counts.calls,
        in_flight: shop.client.in_flight() as u64,
        points,
        seats,
        queue,
        faults,
    }
}

/// A spinner on a terminal that says what is being waited for.
pub struct Waiting(ProgressBar);

impl Waiting {
    /// Shows it.
    pub fn show(what: &'static str, kind: ProgressKind) -> Self {
        let is_shown = stderr().is_terminal() && kind == ProgressKind::Auto;
        let target = match is_shown {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let bar = match ProgressStyle::with_template("{elapsed_precise} {spinner} {msg}") {
            Ok(style) => bar.with_style(style),
            // An invalid template must not end the run: the default style is used.
            Err(_) => bar,
        };
        bar.set_message(what);
        bar.enable_steady_tick(DRAWN_EVERY);
        Waiting(bar)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
