//! A frame of `top` as text.

use super::{EventPace, Frame, ProcessLine};
use crate::ctl::output::{Column, printable, table};
use crate::ctl::status::{EventSeats, Takings};
use crate::ctl::time::span;
use crate::domain::money::format_amount;
use crate::domain::time::iso8601;

/// Longest name of an event, characters.
const NAME_CHARS_MAX: usize = 24;
/// Lines for processes, at most; a third of the screen.
const PROCESSES_SHARE: usize = 3;

impl Frame {
    /// The frame for a screen of this size; what does not fit is counted.
    pub fn text(&self, columns: u16, lines: u16) -> String {
        let all = usize::from(lines);
        let mut parts = vec![format!("holdfast top · {}", self.at)];
        parts.extend(self.status.head());
        parts.push(self.totals());
        let attention = self.status.attention_lines();
        let processes = self.processes((all / PROCESSES_SHARE).max(2));
        let used = parts.iter().map(|part| part.lines().count()).sum::<usize>();
        let below = processes.lines().count() + attention.len() + 3;
        parts.push(String::new());
        parts.push(self.events(all.saturating_sub(used + below).max(2)));
        parts.push(String::new());
        parts.push(processes);
        if !attention.is_empty() {
            parts.push(String::new());
            parts.extend(attention.iter().map(|line| format!("! {}", printable(line))));
        }
        let cut = |line: &str| line.chars().take(usize::from(columns)).collect::<String>();
        parts.join("\n").lines().take(all).map(cut).collect::<Vec<String>>().join("\n")
    }

    /// The sums over all events that are shown.
    fn totals(&self) -> String {
        let sum = |of: fn(&EventPace) -> f64| self.pace.values().map(of).sum::<f64>();
        format!(
            "Pace     holds {}/s, refused {}/s, waiting {}, in sessions {}",
            rate(sum(|one| one.holds_per_second)),
            rate(sum(|one| one.refusals_per_second)),
            self.pace.values().map(|one| one.queue).sum::<u64>(),
            self.pace.values().map(|one| u64::from(one.sessions)).sum::<u64>(),
        )
    }

    /// The events, in so many lines at most, the heading included.
    fn events(&self, lines: usize) -> String {
        let events = self.status.events_on_sale();
        if events.is_empty() {
            return "No event is on sale.".to_owned();
        }
        let fits = events.len() < lines;
        let shown = if fits { events.len() } else { lines.saturating_sub(2).max(1) };
        let columns = [
            Column::Number("event"),
            Column::Words("name"),
            Column::Number("free"),
            Column::Number("held"),
            Column::Number("sold"),
            Column::Number("takings"),
            Column::Number("holds/s"),
            Column::Number("refused/s"),
            Column::Number("queue"),
            Column::Number("in"),
        ];
        let rows = events.iter().take(shown).map(|one| self.event(one)).collect();
        let text = table(columns, rows);
        match events.len() - shown.min(events.len()) {
            0 => text,
            more => format!("{text}\nand {more} more"),
        }
    }

    fn event(&self, one: &EventSeats) -> [String; 10] {
        let pace = self.pace.get(&one.id).copied().unwrap_or_default();
        let takings = |takings: &Takings| format_amount(takings.amount, &takings.currency);
        let of_room = |count: String| if pace.has_room { count } else { "-".to_owned() };
        let name: String =
            one.name.as_deref().unwrap_or("-").chars().take(NAME_CHARS_MAX).collect();
        [
            one.id.to_string(),
            name,
            one.free.to_string(),
            one.held.to_string(),
            one.sold.to_string(),
            one.takings.as_ref().map_or_else(|| "-".to_owned(), takings),
            rate(pace.holds_per_second),
            rate(pace.refusals_per_second),
            of_room(pace.queue.to_string()),
            of_room(pace.sessions.to_string()),
        ]
    }

    fn processes(&self, lines: usize) -> String {
        let Some(processes) = &self.processes else {
            return "Processes are not known while MongoDB does not answer.".to_owned();
        };
        if processes.is_empty() {
            return "No process of Holdfast runs.".to_owned();
        }
        let shown = if processes.len() < lines { processes.len() } else { lines.max(3) - 2 };
        let columns = [
            Column::Words("process"),
            Column::Words("version"),
            Column::Number("up"),
            Column::Words("logs"),
            Column::Words("reading the log"),
            Column::Words(""),
        ];
        let rows = processes.iter().take(shown).map(|one| self.process(one)).collect();
        let text = table(columns, rows);
        match processes.len() - shown.min(processes.len()) {
            0 => text,
            more => format!("{text}\nand {more} more"),
        }
    }

    fn process(&self, one: &ProcessLine) -> [String; 6] {
        let logs = match one.log_level_until_ms {
            Some(until) => format!("{} until {}", one.log_level, iso8601(until)),
            None => one.log_level.clone(),
        };
        // A worker reads the log by the name of its host and port, unless its settings name it.
        let host = one.name.split_once('@').map_or("", |(_, host)| host);
        let reads = match self.status.worker(host) {
            Some(worker) => {
                format!("{} ago, {} pending", span(worker.last_read_seconds), worker.pending)
            }
            None => String::new(),
        };
        let refused = one.has_refused_reload.then(|| "REFUSED THE LAST RELOAD".to_owned());
        let breakers = one.breakers.iter().map(|breaker| format!("BREAKER {breaker}"));
        let notes = breakers.chain(refused).collect::<Vec<String>>().join(", ");
        [one.name.clone(), one.version.clone(), span(one.uptime_seconds), logs, reads, notes]
    }
}

fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => "0".to_owned(),
        few if few < 10.0 => format!("{few:.1}"),
        many => format!("{many:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_short() {
        assert_eq!([0.0, 0.2, 9.94, 12.4].map(rate), ["0", "0.2", "9.9", "12"]);
    }
}
