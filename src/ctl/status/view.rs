//! `status` as text: a usual deployment fits 80 columns and 24 lines.

use super::events::{EventSeats, Events};
use super::{LogStatus, MongoFacts, RedisFacts, Service, Status, WorkerStatus};
use crate::ctl::output::{Column, CommandResult, or_dash, printable, table};
use crate::ctl::time::span;

/// Maximum length of a name.
const NAME_CHARS_MAX: usize = 30;
/// Maximum number of workers listed.
const WORKERS_MAX: usize = 4;
/// Maximum number of issues listed.
const ATTENTION_MAX: usize = 6;

impl CommandResult for Status {
    fn text(&self) -> String {
        let mut parts = self.head();
        parts.push(events(&self.events));
        if !self.workers.is_empty() {
            parts.push(workers(&self.workers));
        }
        parts.extend(attention(&self.attention));
        parts.join("\n")
    }

    fn is_incomplete(&self) -> bool {
        let is_partial = |log: &LogStatus| !log.lag.silent_partitions.is_empty();
        let are_there = self.redis.is_there() && self.mongodb.is_there();
        !are_there || self.log.as_ref().is_some_and(is_partial)
    }
}

impl Status {
    /// The lines about the services and the log.
    pub(in crate::ctl) fn head(&self) -> Vec<String> {
        let mut parts =
            vec![service("Redis", &self.redis, redis), service("MongoDB", &self.mongodb, mongodb)];
        parts.extend(self.log.as_ref().map(log));
        parts
    }

    /// The events on sale that were read, newest first.
    pub(in crate::ctl) fn events_on_sale(&self) -> &[EventSeats] {
        &self.events.on_sale
    }

    /// What needs attention, at most as many lines as are shown.
    pub(in crate::ctl) fn attention_lines(&self) -> &[String] {
        &self.attention[..self.attention.len().min(ATTENTION_MAX)]
    }

    /// The reader of the booking log with this name.
    pub(in crate::ctl) fn worker(&self, name: &str) -> Option<&WorkerStatus> {
        self.workers.iter().find(|worker| worker.name == name)
    }
}

fn service<T>(name: &str, service: &Service<T>, facts_line: fn(&T) -> String) -> String {
    match service {
        Service::There { facts, .. } => format!("{name:<8} {}", facts_line(facts)),
        Service::Away { error, .. } => format!("{name:<8} AWAY: {}", printable(error)),
    }
}

fn redis(facts: &RedisFacts) -> String {
    let used = bytes(facts.memory_used_bytes);
    let memory = match facts.memory_limit_bytes {
        Some(limit) => format!("{used} of {}", bytes(limit)),
        None => format!("{used}, no limit"),
    };
    let node = if facts.cluster { "a cluster's " } else { "" };
    format!(
        "{} {}, {node}{}, {memory}, {}, AOF {}",
        facts.flavor,
        facts.version,
        facts.role,
        facts.eviction_policy,
        if facts.append_only { "on" } else { "off" },
    )
}

fn mongodb(facts: &MongoFacts) -> String {
    let kind = match (&facts.replica_set, facts.sharded) {
        (Some(name), _) => format!("replica set {}", printable(name)),
        (None, true) => "sharded".to_owned(),
        (None, false) => "standalone".to_owned(),
    };
    format!("{}, {kind}", facts.version)
}

fn log(log: &LogStatus) -> String {
    let (totals, partitions) = (&log.lag.totals, &log.lag.partitions);
    let longest = partitions.iter().map(|one| one.length).max().unwrap_or(0);
    let pending = partitions.iter().filter_map(|one| one.oldest_pending_seconds);
    let oldest = match pending.reduce(f64::max) {
        Some(seconds) => format!(" (oldest {})", span(seconds)),
        None => String::new(),
    };
    let newest = partitions.iter().filter_map(|one| one.newest_seconds).reduce(f64::min);
    format!(
        "Log      {} entries in {} of {} partitions, the longest has {longest} of {}\n         \
         last entry {} ago, waiting {}, pending {}{oldest}, behind {}\n         \
         dead letters {}",
        totals.length,
        partitions.iter().filter(|one| one.is_used()).count(),
        partitions.len(),
        log.entries_max,
        newest.map_or_else(|| "-".to_owned(), span),
        or_dash(totals.waiting),
        totals.pending,
        span(totals.behind_seconds),
        totals.dead_letters,
    )
}

fn events(events: &Events) -> String {
    let mut text = match &events.by_status {
        Some(counts) => {
            let count = |word: &str| counts.get(word).copied().unwrap_or(0);
            format!(
                "Events   {} on sale, {} scheduled, {} paused, {} closed; {} not opened",
                count("ON_SALE"),
                count("SCHEDULED"),
                count("PAUSED"),
                count("CLOSED"),
                events.unopened.len(),
            )
        }
        None => format!("Events   {} in Redis", events.on_sale.len() as u64 + events.more),
    };
    if events.on_sale.is_empty() {
        return text;
    }
    let columns = [
        Column::Number("event"),
        Column::Words("name"),
        Column::Number("seats"),
        Column::Number("free"),
        Column::Number("held"),
        Column::Number("sold"),
        Column::Number("blocked"),
    ];
    let row = |one: &EventSeats| {
        [
            one.id.to_string(),
            shortened(&or_dash(one.name.as_ref())),
            one.seats.to_string(),
            one.free.to_string(),
            one.held.to_string(),
            one.sold.to_string(),
            one.blocked.to_string(),
        ]
    };
    text = format!("{text}\n\n{}", table(columns, events.on_sale.iter().map(row).collect()));
    if events.more > 0 {
        text.push_str(&format!("\nand {} more; --events shows more", events.more));
    }
    text.push('\n');
    text
}

fn workers(workers: &[WorkerStatus]) -> String {
    let columns = [Column::Words("worker"), Column::Number("last read"), Column::Number("pending")];
    let row = |one: &WorkerStatus| {
        [shortened(&one.name), span(one.last_read_seconds), one.pending.to_string()]
    };
    let text = table(columns, workers.iter().take(WORKERS_MAX).map(row).collect());
    match workers.len().saturating_sub(WORKERS_MAX) {
        0 => text,
        more => format!("{text}\nand {more} more; --json lists them"),
    }
}

fn attention(lines: &[String]) -> Option<String> {
    let shown: Vec<String> = lines.iter().take(ATTENTION_MAX).map(|line| printable(line)).collect();
    let text = format!("\nLook at  {}", shown.join("\n         "));
    match lines.len().saturating_sub(ATTENTION_MAX) {
        _ if lines.is_empty() => None,
        0 => Some(text),
        more => Some(format!("{text}\n         and {more} more; --json lists them")),
    }
}

/// Truncates a name to leave room for the other columns.
fn shortened(name: &str) -> String {
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some(_) => name.chars().take(NAME_CHARS_MAX - 1).chain(['…']).collect(),
        None => name.to_owned(),
    }
}

/// Formats bytes: `812 B`, `3.1 MB`.
fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB")];
    match UNITS.iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", count as f64 / *size as f64),
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_names_are_short() {
        assert_eq!((bytes(812), bytes(3_250_586)), ("812 B".to_owned(), "3.1 MB".to_owned()));
        assert_eq!(shortened(&"x".repeat(31)).chars().count(), 30);
        assert_eq!(shortened("Gala"), "Gala");
    }

    /// The widest usual deployment: eight events, four workers, no issues.
    #[test]
    fn usual_deployment_fits_the_screen() {
        let status = fixture(8, 4);
        let text = status.text();
        assert!(text.lines().count() <= 24, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(!status.is_incomplete());
    }

    #[test]
    fn omitted_items_are_counted() {
        let mut status = fixture(8, 7);
        status.events.more = 3;
        status.attention = (0..8).map(|n| format!("thing {n}")).collect();
        let text = status.text();
        assert!(text.contains("and 3 more; --events"), "{text}");
        assert!(
            text.contains("and 3 more; --json") && text.contains("and 2 more; --json"),
            "{text}"
        );
    }

    fn fixture(events: u32, workers: u32) -> Status {
        use crate::sale::lag::{Lag, LagTotals};
        let event = |id| EventSeats {
            id: 100_000 + id,
            name: Some("A name that is longer than there is room for".into()),
            seats: 1_000_000,
            free: 400_000,
            held: 100_000,
            sold: 400_000,
            blocked: 100_000,
            takings: None,
        };
        let worker = |n| WorkerStatus {
            name: format!("host-with-a-long-name.example.org:{n}"),
            last_read_seconds: 0.4,
            pending: 500,
        };
        Status {
            redis: Service::There {
                connected: true,
                facts: RedisFacts {
                    flavor: "valkey",
                    version: "9.1.0".into(),
                    cluster: true,
                    role: "master".into(),
                    memory_used_bytes: 3 << 29,
                    memory_limit_bytes: Some(16 << 30),
                    eviction_policy: "noeviction".into(),
                    append_only: true,
                    connected_clients: 12,
                    silent_nodes: Vec::new(),
                },
            },
            mongodb: Service::There {
                connected: true,
                facts: MongoFacts {
                    version: "8.2.0".into(),
                    replica_set: Some("rs0".into()),
                    sharded: false,
                },
            },
            log: Some(LogStatus {
                lag: Lag {
                    totals: LagTotals {
                        length: 1_234_567,
                        waiting: Some(10_000),
                        pending: 500,
                        behind_seconds: 0.4,
                        dead_letters: 0,
                    },
                    partitions: Vec::new(),
                    silent_partitions: Vec::new(),
                },
                entries_max: 1_000_000,
            }),
            events: Events {
                by_status: Some([("ON_SALE", 8), ("CLOSED", 4_000)].into()),
                unopened: Vec::new(),
                lost: Some(Vec::new()),
                on_sale: (0..events).map(event).collect(),
                more: 0,
            },
            refunds: Some(Default::default()),
            workers: (0..workers).map(worker).collect(),
            attention: Vec::new(),
        }
    }
}
