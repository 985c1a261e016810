//! The tables, for a terminal and as Markdown.

use super::super::sales::CASES;
use super::{Case, Report, Row};

/// A table: its title, the headings, and the rows.
struct Table {
    title: String,
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Report {
    /// All tables as one text.
    pub(super) fn tables(&self, is_markdown: bool) -> String {
        let mut tables = vec![self.rates(), self.latencies(), self.costs(), self.limits()];
        tables.extend((0..CASES.len()).map(|case| self.sales(case)));
        tables.push(self.characters());
        let mut text = self.conditions();
        for table in tables {
            text.push_str(&if is_markdown { table.markdown() } else { table.plain() });
        }
        for (name, reason) in &self.skipped {
            text.push_str(&format!("\nLeft out: {name}, because {reason}.\n"));
        }
        text
    }

    fn conditions(&self) -> String {
        let (machine, how) = (&self.machine, &self.how);
        format!(
            "{} processors ({}) for everything: load, programs, {} and a MongoDB that {}; \
             {} build.\nMedians of {} rounds of {} ms. All programs have the same Redis and \
             MongoDB in one run, in turns.\n",
            machine.processors,
            machine.processor,
            machine.redis,
            machine.mongodb,
            machine.build,
            how.rounds,
            how.round_ms,
        )
    }

    fn table(
        &self,
        title: String,
        headings: &[&'static str],
        cells: impl Fn(&Row) -> Vec<String>,
    ) -> Table {
        let rows = self.strategies.iter().map(|row| {
            let mut all = vec![row.label.to_owned()];
            all.extend(cells(row));
            all
        });
        let headings = [&["Strategy"], headings].concat();
        Table { title, headings, rows: rows.collect() }
    }

    fn rates(&self) -> Table {
        let title = format!(
            "Requests a second, {} connections, closed loop: every request is granted, or every \
             one is refused",
            self.how.connections
        );
        let headings = ["Grants/s", "Refusals/s", "All in MongoDB after"];
        self.table(title, &headings, |row| {
            let after = format!("{} ms", whole(row.documents_after_ms));
            vec![whole(row.grants_per_second), whole(row.refusals_per_second), after]
        })
    }

    fn latencies(&self) -> Table {
        let title = format!(
            "The same load for all: {} requests a second (open loop), nine of ten are refused",
            whole(self.equal_rate)
        );
        let headings = ["p50", "p99", "p50 of grants", "p99 of grants", "Failed"];
        self.table(title, &headings, |row| {
            let load = &row.equal_load;
            let all = [load.p50_ms, load.p99_ms, load.grants_p50_ms, load.grants_p99_ms];
            let mut cells: Vec<String> = all.into_iter().map(ms).collect();
            cells.push(load.failed.to_string());
            cells
        })
    }

    fn costs(&self) -> Table {
        let title =
            "Redis commands (those inside of scripts count) and MongoDB operations, by the \
                     servers' own counts"
                .to_owned();
        let headings = [
            "Redis: a request of the equal load",
            "a grant",
            "a refusal",
            "MongoDB: a request of the equal load",
            "a grant",
            "a refusal",
        ];
        self.table(title, &headings, |row| {
            let all = [
                row.redis_commands_per_request,
                row.redis_commands_per_grant,
                row.redis_commands_per_refusal,
                row.database_operations_per_request,
                row.database_operations_per_grant,
                row.database_operations_per_refusal,
            ];
            all.into_iter().map(|count| format!("{count:.2}")).collect()
        })
    }

    fn limits(&self) -> Table {
        let title =
            "Where it breaks: the same mix, the rate raised until p99 > 1 s, more than 1 % \
                     fail, or a tenth is not served in time"
                .to_owned();
        let headings = ["Last good rate", "Breaks at", "By", "Oversold in all"];
        self.table(title, &headings, |row| {
            let breaks = row.breaks_at_per_second.map_or_else(|| "-".to_owned(), whole);
            let (by, oversold) = (row.breaks_by.clone(), row.oversold.to_string());
            vec![whole(row.last_good_per_second), breaks, by, oversold]
        })
    }

    fn sales(&self, case: usize) -> Table {
        let case = &CASES[case];
        let title = format!("A sale: {}, each asks once, all at once", case.label);
        let headings = ["Granted", "Refused", "Failed", "Oversold", "p50", "p99", "Took"];
        self.table(title, &headings, |row| row.cases.get(case.key).map_or(Vec::new(), sale))
    }

    fn characters(&self) -> Table {
        let title = "What each is best at, and what it gives up".to_owned();
        let headings = ["Best at", "Gives up"];
        self.table(title, &headings, |row| vec![row.best_at.to_owned(), row.gives_up.to_owned()])
    }
}

fn sale(case: &Case) -> Vec<String> {
    let counts = [case.granted, case.refused, case.failed, case.oversold as f64];
    let mut cells: Vec<String> = counts.into_iter().map(whole).collect();
    cells.extend([ms(case.p50_ms), ms(case.p99_ms), format!("{:.2} s", case.seconds)]);
    cells
}

fn ms(number: f64) -> String {
    format!("{number:.1} ms")
}

/// A whole number in groups of three digits.
fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Table {
    fn plain(&self) -> String {
        let width = |column: usize| {
            let cells =
                self.rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count());
            cells.chain([self.headings[column].len()]).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded = cells.zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column == 0 || is_text(cell) {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
        let mut text = format!("\n{}\n", self.title);
        text.push_str(&line(&mut self.headings.iter().copied()));
        for row in &self.rows {
            text.push_str(&line(&mut row.iter().map(String::as_str)));
        }
        text
    }

    fn markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
        };
        let mut text = format!("\n{}:\n\n", self.title);
        text.push_str(&line(&mut self.headings.iter().copied()));
        let is_text = |column: usize| {
            let cells = self.rows.first().and_then(|row| row.get(column));
            column == 0 || cells.is_some_and(|cell| is_text(cell))
        };
        let rule =
            (0..self.headings.len()).map(|column| if is_text(column) { "---" } else { "--:" });
        text.push_str(&line(&mut rule.collect::<Vec<_>>().into_iter()));
        for row in &self.rows {
            text.push_str(&line(&mut row.iter().map(String::as_str)));
        }
        text
    }
}

/// Whether a cell is a text rather than a figure.
fn is_text(cell: &str) -> bool {
    !cell.starts_with(|first: char| first.is_ascii_digit() || first == '-')
}
