//! The comparison for terminals.

use std::fmt::Write;

use super::{Row, checks, fates, operations, outcomes, totals, warnings};
use crate::format;
use crate::result::RunResult;

/// Compares two runs as text.
pub fn text(first: &RunResult, second: &RunResult) -> String {
    let mut text = String::new();
    for (name, run) in [("A", first), ("B", second)] {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{name}  {}, {}, {}, {}",
            clean_line(&run.scenario),
            clean_line(&format::date(&run.began)),
            clean_line(&run.machine.version),
            if run.clean { "clean" } else { "NOT CLEAN" }
        );
    }
    for warning in warnings(first, second) {
        let _ = writeln!(text, "\nWARNING: {}", clean_line(&warning));
    }
    push(&mut text, "Whole run", &totals(first, second));
    for (name, rows) in operations(first, second) {
        push(&mut text, &format!("{name}, latency"), &rows);
    }
    push(&mut text, "Responses", &outcomes(first, second));
    push(&mut text, "Buyers", &fates(first, second));
    let rows = checks(first, second)
        .into_iter()
        .map(|[name, first, second]| [name, first, second, String::new(), String::new()]);
    push_cells(&mut text, "Checks", rows.collect());
    text
}

fn push(text: &mut String, title: &str, rows: &[Row]) {
    let cells = rows.iter().map(|row| {
        [
            row.name.clone(),
            row.cell(row.first),
            row.cell(row.second),
            row.ratio_text(),
            row.change().word().to_owned(),
        ]
    });
    push_cells(text, title, cells.collect());
}

fn push_cells(text: &mut String, title: &str, rows: Vec<[String; 5]>) {
    if rows.is_empty() {
        return;
    }
    let head = [title, "A", "B", "B / A", ""].map(str::to_owned);
    let rows: Vec<[String; 5]> =
        std::iter::once(head).chain(rows).map(|row| row.map(|cell| clean_line(&cell))).collect();
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [name, first, second, ratio, _] = [0, 1, 2, 3, 4].map(width);
    text.push('\n');
    for [title, a, b, times, change] in &rows {
        let line = format!("{title:name$}  {a:>first$}  {b:>second$}  {times:>ratio$}  {change}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// Returns a text without control characters, which could move a terminal's cursor.
fn clean_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
