//! The frame of every page: one file that loads nothing.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::plot::tone;

/// Forbids everything but the styles of the page itself.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
const STYLE: &str = concat!(
    include_str!("style/palette.css"),
    include_str!("style/series.css"),
    include_str!("style/page.css")
);

/// A section of a page with its place in the navigation.
pub struct Section {
    /// The target of links.
    pub id: &'static str,
    pub title: &'static str,
    pub content: Markup,
}

/// Renders a page: its head, a navigation to its sections, these, and the foot.
pub fn render(
    title: &str,
    kind: &str,
    banner: Markup,
    sections: &[Section],
    foot: Markup,
) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#content" { "Skip to the results" }
                (tone::patterns())
                header {
                    p.brand { (mark()) strong { "Holdfast" } span { (kind) } }
                    (banner)
                    nav aria-label="Sections" {
                        ul { @for one in sections { li { a href={"#" (one.id)} { (one.title) } } } }
                    }
                }
                main #content {
                    @for one in sections {
                        section id=(one.id) aria-labelledby={(one.id) "-title"} {
                            h2 id={(one.id) "-title"} { (one.title) }
                            (one.content)
                        }
                    }
                }
                footer { (foot) }
            }
        }
    }
    .into_string()
}

/// The brackets that mean "held".
fn mark() -> Markup {
    html! {
        svg.brand-mark viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" {
            path d="M8 3H3V21H8M16 3H21V21H16" {}
            circle cx="12" cy="12" r="3" {}
        }
    }
}

/// A figure with its label and an optional sparkline.
pub struct Tile {
    pub label: String,
    pub value: String,
    /// The unit, or what the value is part of.
    pub beside: String,
    pub spark: Option<Markup>,
}

/// Renders tiles.
pub fn tiles(tiles: &[Tile]) -> Markup {
    html! {
        dl.tiles {
            @for tile in tiles {
                div.tile {
                    dt { (tile.label) }
                    dd { span.value { (tile.value) } " " span.beside { (tile.beside) } }
                    @if let Some(spark) = &tile.spark { dd.spark-box { (spark) } }
                }
            }
        }
    }
}

/// Renders whether everything is as it should be.
pub fn verdict(is_good: bool, good: &str, bad: &str) -> Markup {
    let (class, shape, text) = match is_good {
        true => ("badge is-ok", "M3 8.5l3.2 3.2L13 5", good),
        false => ("badge is-bad", "M4 4l8 8M12 4l-8 8", bad),
    };
    html! {
        p class=(class) {
            svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" { path d=(shape) {} }
            (text)
        }
    }
}

/// A table in a card. Columns from `numbers` on are numbers.
pub struct Table<'a> {
    pub caption: &'a str,
    pub heads: &'a [&'a str],
    pub numbers: usize,
    pub rows: Vec<Vec<String>>,
}

/// Renders a table; without rows, that there are none.
pub fn table(table: &Table) -> Markup {
    html! {
        div.card.scroll tabindex="0" role="region" aria-label=(table.caption) {
            table {
                caption { (table.caption) }
                @if table.rows.is_empty() {
                    tbody { tr { td.empty { "None" } } }
                } @else {
                    thead {
                        tr {
                            @for (index, head) in table.heads.iter().enumerate() {
                                th.number[index >= table.numbers] scope="col" { (head) }
                            }
                        }
                    }
                    tbody { @for row in &table.rows { (table_row(row, table.numbers)) } }
                }
            }
        }
    }
}

fn table_row(row: &[String], numbers: usize) -> Markup {
    html! {
        tr {
            @for (index, cell) in row.iter().enumerate() {
                @if index == 0 {
                    th scope="row" { (cell) }
                } @else {
                    td.number[index >= numbers] { (cell) }
                }
            }
        }
    }
}
