//! The live view's text: pure, from what is known at a moment.

use std::collections::BTreeMap;

use holdfast_bench_report::result::{Point, Queue, Seats, StepLatency};

use crate::history::Operation;

/// Steps that "now" is about.
const NOW_STEPS: usize = 3;
/// Widest view, and the narrowest that is drawn whole.
const WIDTH_MAX: usize = 110;
const WIDTH_MIN: usize = 40;
/// Column in which values begin.
const NAME_COLUMNS: usize = 9;
/// Heights of a sparkline.
const SPARKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What is known at a moment.
#[derive(Debug, Default)]
pub struct Frame {
    /// Since the sale's beginning; 0 before.
    pub seconds: u64,
    /// Buyers who have finished, and all.
    pub done: u64,
    /// All buyers.
    pub buyers: u64,
    /// Calls so far.
    pub calls: u64,
    /// Calls under way.
    pub in_flight: u64,
    /// The latest points, oldest first.
    pub points: Vec<Point>,
    /// Name and latest seats of each event.
    pub seats: Vec<(String, Seats)>,
    /// The latest waiting room.
    pub queue: Option<Queue>,
    /// Faults that last.
    pub faults: Vec<String>,
}

impl Frame {
    /// Returns the view's lines for a terminal of this many columns.
    pub fn lines(&self, columns: usize) -> Vec<String> {
        let width = columns.saturating_sub(1).clamp(WIDTH_MIN, WIDTH_MAX);
        let mut lines = vec![self.buyers_line(width), self.calls_line(width)];
        lines.extend(self.latency_lines());
        lines.extend(self.outcome_line());
        lines.extend(self.seats.iter().map(|(name, seats)| seats_line(name, *seats, width)));
        lines.extend(self.queue.map(|queue| {
            let Queue { waiting, inside } = queue;
            named("queue", &format!("{} waiting, {} inside", count(waiting), count(inside)))
        }));
        lines.extend(self.archive_line());
        lines.extend(self.faults.iter().map(|fault| named("FAULT", fault)));
        let most = columns.saturating_sub(1);
        lines.into_iter().map(|line| line.chars().take(most).collect()).collect()
    }

    /// Returns the same in one line, for a log.
    pub fn line(&self) -> String {
        let mut parts = vec![
            format!("{} of {} buyers done", count(self.done), count(self.buyers)),
            format!("{} calls, {}/s", count(self.calls), count(self.rate())),
        ];
        let latencies = self.latest();
        parts.extend(
            latencies
                .get(Operation::Hold.as_str())
                .map(|one| format!("hold p50 {} p99 {}", ms(one.p50_ms), ms(one.p99_ms))),
        );
        for (name, Seats { free, held, sold }) in &self.seats {
            parts.push(format!("{name}: {sold} sold, {held} held, {free} free"));
        }
        parts.extend(self.queue.map(|queue| format!("{} in the queue", count(queue.waiting))));
        parts.extend(self.behind().map(|behind| format!("archive {behind} behind")));
        parts.extend(self.faults.iter().cloned());
        format!("{} {}", clock(self.seconds), parts.join(" · "))
    }

    fn recent(&self) -> &[Point] {
        &self.points[self.points.len().saturating_sub(NOW_STEPS)..]
    }

    /// Calls a second now.
    fn rate(&self) -> u64 {
        self.a_second(self.recent().iter().map(calls_of).sum())
    }

    /// Divides the latest steps' calls by the time that these steps took.
    fn a_second(&self, calls: u64) -> u64 {
        let earlier = self.points.len() - self.recent().len();
        let seconds = |point: Option<&Point>| point.map_or(0.0, |point| point.seconds);
        let began = seconds(earlier.checked_sub(1).and_then(|last| self.points.get(last)));
        let took = seconds(self.points.last()) - began;
        if took > 0.0 { (calls as f64 / took).round() as u64 } else { 0 }
    }

    fn behind(&self) -> Option<u64> {
        self.points.last()?.archive_behind_entries
    }

    /// Latencies of the last steps: the median weighted by calls, the worst of the 99th percentiles.
    fn latest(&self) -> BTreeMap<String, StepLatency> {
        let mut all: BTreeMap<String, StepLatency> = BTreeMap::new();
        for (name, step) in self.recent().iter().flat_map(|point| &point.operations) {
            let sum = all.entry(name.clone()).or_default();
            let calls = sum.calls + step.calls;
            let weighted = sum.p50_ms * sum.calls as f64 + step.p50_ms * step.calls as f64;
            sum.p50_ms = weighted / calls.max(1) as f64;
            sum.p99_ms = sum.p99_ms.max(step.p99_ms);
            sum.calls = calls;
        }
        all
    }

    fn buyers_line(&self, width: usize) -> String {
        let text = format!(" {} of {} buyers done", count(self.done), count(self.buyers));
        let cells = width.saturating_sub(NAME_COLUMNS + text.chars().count());
        named(&clock(self.seconds), &(bar(&[(self.done, '█')], self.buyers, cells) + &text))
    }

    fn calls_line(&self, width: usize) -> String {
        let text = format!(
            " {}/s · {} in all · {} under way",
            count(self.rate()),
            count(self.calls),
            count(self.in_flight)
        );
        let cells = width.saturating_sub(NAME_COLUMNS + text.chars().count());
        let calls: Vec<u64> = self.points.iter().map(calls_of).collect();
        named("calls", &(sparkline(&calls, cells) + &text))
    }

    fn latency_lines(&self) -> Vec<String> {
        let latest = self.latest();
        let line = |operation: Operation| {
            let one = latest.get(operation.as_str())?;
            let (p50, p99) = (ms(one.p50_ms), ms(one.p99_ms));
            let rate = count(self.a_second(one.calls));
            Some(named(operation.as_str(), &format!("p50 {p50:>9}  p99 {p99:>9}  {rate:>7}/s")))
        };
        Operation::ALL.into_iter().filter_map(line).collect()
    }

    fn outcome_line(&self) -> Option<String> {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for point in self.recent() {
            for (name, calls) in point.outcomes.iter().chain(&point.bot_outcomes) {
                *sums.entry(name).or_default() += calls;
            }
        }
        let all: u64 = sums.values().sum();
        let part = |(name, calls): (&str, u64)| {
            format!("{name} {:.0} %", 100.0 * calls as f64 / all.max(1) as f64)
        };
        let parts: Vec<String> = sums.into_iter().map(part).collect();
        (!parts.is_empty()).then(|| named("outcomes", &parts.join("  ")))
    }

    fn archive_line(&self) -> Option<String> {
        let behind = self.behind()?;
        Some(named("archive", &format!("{} log entries behind", count(behind))))
    }
}

fn calls_of(point: &Point) -> u64 {
    point.outcomes.values().chain(point.bot_outcomes.values()).sum()
}

fn named(name: &str, value: &str) -> String {
    format!("{name:<NAME_COLUMNS$}{value}")
}

fn seats_line(name: &str, seats: Seats, width: usize) -> String {
    let Seats { free, held, sold } = seats;
    let text =
        format!(" {} sold · {} held · {} free ({name})", count(sold), count(held), count(free));
    let cells = width.saturating_sub(NAME_COLUMNS + text.chars().count());
    named("seats", &(bar(&[(sold, '█'), (held, '▒')], free + held + sold, cells) + &text))
}

/// A bar of so many cells; what is left over is light.
fn bar(parts: &[(u64, char)], all: u64, cells: usize) -> String {
    let mut text = String::new();
    let (mut sum, mut drawn) = (0, 0);
    for (part, cell) in parts {
        sum += part;
        let until = (sum as f64 / all.max(1) as f64 * cells as f64).round() as usize;
        let until = until.min(cells);
        text.extend(std::iter::repeat_n(*cell, until.saturating_sub(drawn)));
        drawn = drawn.max(until);
    }
    text.extend(std::iter::repeat_n('░', cells - drawn));
    text
}

/// The last values as a line of blocks.
fn sparkline(values: &[u64], cells: usize) -> String {
    let shown = &values[values.len().saturating_sub(cells)..];
    let most = shown.iter().copied().max().unwrap_or(0).max(1);
    let spark =
        |value: &u64| SPARKS[(*value as usize * (SPARKS.len() - 1)).div_ceil(most as usize)];
    let line: String = shown.iter().map(spark).collect();
    format!("{line:<cells$}")
}

fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

fn ms(value: f64) -> String {
    match value {
        value if value >= 1_000.0 => format!("{:.1} s", value / 1_000.0),
        value if value >= 10.0 => format!("{value:.0} ms"),
        value => format!("{value:.1} ms"),
    }
}

/// A number with separators between thousands.
fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        let point = |seconds: f64, calls: u64, p50: f64, p99: f64| Point {
            seconds,
            operations: BTreeMap::from([(
                "hold".to_owned(),
                StepLatency { calls, p50_ms: p50, p99_ms: p99, ..StepLatency::default() },
            )]),
            outcomes: BTreeMap::from([("granted".to_owned(), calls)]),
            archive_behind_entries: Some(1_234),
            ..Point::default()
        };
        Frame {
            seconds: 83,
            done: 500,
            buyers: 2_000,
            calls: 12_345,
            in_flight: 7,
            points: vec![point(0.5, 100, 2.0, 5.0), point(2.0, 300, 4.0, 20.0)],
            seats: vec![("Flash sale".to_owned(), Seats { free: 50, held: 25, sold: 25 })],
            queue: Some(Queue { waiting: 1_000_000, inside: 100 }),
            faults: vec!["redis unavailable".to_owned()],
        }
    }

    #[test]
    fn view_shows_what_is_known_and_fits_every_width() {
        let text = frame().lines(100).join("\n");
        let expected = [
            "01:23",
            "500 of 2,000 buyers",
            "200/s · 12,345 in all",
            "p50    3.5 ms  p99     20 ms",
            "granted 100 %",
            "25 sold · 25 held · 50 free (Flash sale)",
            "1,000,000 waiting",
            "1,234 log entries behind",
            "FAULT    redis unavailable",
        ];
        for words in expected {
            assert!(text.contains(words), "{words}:\n{text}");
        }
        for columns in [1, 20, 41, 80, 300] {
            let lines = frame().lines(columns);
            assert!(lines.iter().all(|line| line.chars().count() < columns.max(1)), "{columns}");
        }
        assert!(!Frame::default().lines(80).is_empty());
    }

    #[test]
    fn line_for_logs_has_the_same() {
        let line = frame().line();
        for words in ["01:23", "200/s", "hold p50 3.5 ms p99 20 ms", "50 free", "redis"] {
            assert!(line.contains(words), "{words}: {line}");
        }
    }

    #[test]
    fn bars_and_sparklines_have_their_length() {
        assert_eq!(bar(&[(1, '█'), (1, '▒')], 4, 8), "██▒▒░░░░");
        assert_eq!(bar(&[(9, '█')], 4, 4), "████");
        assert_eq!(bar(&[(0, '█')], 0, 3), "░░░");
        assert_eq!(sparkline(&[0, 7, 3], 5), "▁█▄  ");
        assert_eq!(sparkline(&[1, 2, 3, 4], 2).chars().count(), 2);
    }
}
