//! Results on standard output: tables for people, JSON for programs.

use std::io::{ErrorKind, Write, stdout};
use std::process::ExitCode;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::failure::Failure;

/// Exit code of a result with problems.
const EXIT_PROBLEMS: u8 = 1;

/// Exit code of an incomplete result: the same as of a failure.
const EXIT_INCOMPLETE: u8 = super::EXIT_FAILURE;

/// A command's result.
pub(super) trait CommandResult: Serialize {
    /// The result as text.
    fn text(&self) -> String;

    /// Whether it contains problems.
    fn has_problems(&self) -> bool {
        false
    }

    /// Whether a part of it is missing.
    fn is_incomplete(&self) -> bool {
        false
    }
}

/// How results are printed.
pub(super) struct Output {
    pub json: bool,
}

impl Output {
    /// Prints a result.
    pub fn show(&self, result: &impl CommandResult) -> Result<ExitCode, Failure> {
        let text = match self.json {
            true => serde_json::to_string_pretty(result)?,
            false => result.text(),
        };
        self.text(&text)?;
        Ok(match result {
            _ if result.is_incomplete() => ExitCode::from(EXIT_INCOMPLETE),
            _ if result.has_problems() => ExitCode::from(EXIT_PROBLEMS),
            _ => ExitCode::SUCCESS,
        })
    }

    /// Prints a text.
    pub fn text(&self, text: &str) -> Result<ExitCode, Failure> {
        match writeln!(stdout(), "{}", text.trim_end()) {
            // The reader has closed the pipe: `holdfastctl lag | head -3`.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(ExitCode::SUCCESS),
        }
    }
}

/// A column of a table.
pub(super) enum Column {
    /// Text, aligned left.
    Words(&'static str),
    /// Numbers, aligned right.
    Number(&'static str),
}

/// Formats a table without lines: columns aligned, two spaces between them.
pub(super) fn table<const N: usize>(columns: [Column; N], rows: Vec<[String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let heads = columns.iter().map(|column| match column {
        Column::Words(head) | Column::Number(head) => *head,
    });
    table.set_header(heads);
    let rows = rows.into_iter().map(|row| row.map(|cell| printable(&cell)));
    table.add_rows(rows);
    for (column, kind) in table.column_iter_mut().zip(&columns) {
        column.set_padding((0, 2));
        if matches!(kind, Column::Number(_)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// Removes control characters, which a terminal would interpret, from a foreign text.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A number that may be unknown.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = vec![["a".into(), "1".into()], ["bcd\u{1b}[2J".into(), "234".into()]];
        let text = table([Column::Words("name"), Column::Number("n")], rows);
        assert_eq!(text, "name       n\na          1\nbcd?[2J  234");
    }
}
