//! Complete SVG files for READMEs and documents: a fixed size, text in the picture, and a ground of
//! their own, so they can be read on pages of any colour. They follow the reader's light or dark
//! theme.

mod bars;
mod lines;

pub use bars::bars;
pub use lines::lines;

use maud::{Markup, PreEscaped, html};

use super::tone;

const WIDTH: f64 = 880.0;
const MARGIN: f64 = 28.0;
/// Where the first chart begins.
const TOP: f64 = 80.0;
/// Letters of a line, at most: there is no room for more.
const LINE_LETTERS_MAX: usize = 130;

const STYLE: &str = concat!(
    include_str!("../../style/palette.css"),
    include_str!("../../style/series.css"),
    include_str!("../../style/picture.css")
);

/// Renders a file of a height: its title, a note below it, and what it shows; `described` in words.
fn file(title: &str, note: &str, height: f64, described: &str, content: &[Markup]) -> String {
    let file = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(WIDTH) height=(height)
            viewBox={"0 0 " (WIDTH) " " (height)} role="img" aria-labelledby="title description" {
            title #title { (title) }
            desc #description { (described) }
            style { (PreEscaped(STYLE)) }
            (tone::definitions())
            rect.ground x="0.5" y="0.5" width=(WIDTH - 1.0) height=(height - 1.0) rx="12" {}
            text.title x=(MARGIN) y=(MARGIN + 18.0) { (cut(title, LINE_LETTERS_MAX / 2)) }
            text.soft.small x=(MARGIN) y=(MARGIN + 38.0) { (cut(note, LINE_LETTERS_MAX)) }
            @for part in content { (part) }
        }
    };
    file.into_string() + "\n"
}

fn cut(text: &str, letters_max: usize) -> String {
    match text.char_indices().nth(letters_max) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}
