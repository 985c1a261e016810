//! `draw verify`: recomputes a draw from its published data.

use serde::Serialize;

use crate::domain::draw::DrawFault;
use crate::domain::{EventId, PublicDraw};

use super::super::failure::Failure;
use super::super::output::{Column, CommandResult, table};
use super::fetch;

/// Verify an event's draw from public data alone, and compute anybody's place in it
///
/// Takes the response of GET /api/v1/events/ID/waiting-room/draw, from the API itself or from a
/// file, and nothing else: neither Redis, MongoDB nor trust in the organiser is needed. Checks that
/// the secret matches the commitment that was published before anybody joined, and computes places
/// from it. Give the commitment that you noted before the draw: without it, you trust the organiser
/// that the one shown now is the same.
///
/// Exits with 1 if the draw does not match its commitment, 2 if it cannot be verified (yet).
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl draw verify --event 7 --url https://tickets.example --number 4711
  holdfastctl draw verify --event 7 --file draw.json --commitment 9f86…
  curl -s https://tickets.example/api/v1/events/7/waiting-room/draw | \\
    holdfastctl draw verify --event 7 --file - --number 1,2,3 --json")]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub(in crate::ctl) struct Arguments {
    /// The event's id
    #[arg(long, value_name = "ID")]
    event: u32,
    /// Fetch it from this API
    #[arg(long, value_name = "URL", group = "source")]
    url: Option<String>,
    /// Read this file; `-` is standard input
    #[arg(long, value_name = "FILE", group = "source")]
    file: Option<String>,
    /// Compute the places of these numbers
    #[arg(long = "number", value_name = "NUMBER", value_delimiter = ',',
          value_parser = clap::value_parser!(u64).range(1..))]
    numbers: Vec<u64>,
    /// The commitment as it was expected before the draw, hex
    #[arg(long, value_name = "HEX")]
    commitment: Option<String>,
}

/// The result of a verification.
#[derive(Serialize)]
pub(in crate::ctl) struct Report {
    /// Whether the draw matches its commitment.
    as_committed: bool,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
    /// The published data.
    draw: PublicDraw,
    /// The requested places, if computed.
    places: Vec<NumberPlace>,
}

#[derive(Serialize)]
struct NumberPlace {
    number: u64,
    place: u64,
    /// Whether the number was in the draw; one that was not is its own place.
    drawn: bool,
}

impl Arguments {
    pub(super) async fn run(self) -> Result<Report, Failure> {
        let event = EventId(self.event);
        let text = match (&self.url, &self.file) {
            (Some(url), _) => fetch::api(url, event).await?,
            (None, file) => fetch::file(file.as_deref().unwrap_or("-"))?,
        };
        let draw: PublicDraw = serde_json::from_str(&text)
            .map_err(|error| Failure::new(format!("this is not a draw: {error}")))?;
        if draw.event_id != event {
            let other = draw.event_id;
            return Err(Failure::new(format!("this is the draw of event {other}, not of {event}")));
        }
        self.check(draw)
    }

    fn check(&self, draw: PublicDraw) -> Result<Report, Failure> {
        let mut problems = Vec::new();
        let expected =
            self.commitment.as_deref().map(|expected| expected.trim().to_ascii_lowercase());
        if let Some(expected) = expected.filter(|expected| *expected != draw.commitment) {
            let shown = &draw.commitment;
            problems.push(format!("the commitment was {expected}, the one shown now is {shown}"));
        }
        let mut places = Vec::new();
        match draw.draw() {
            Ok(computed) => places.extend(self.numbers.iter().map(|number| NumberPlace {
                number: *number,
                place: computed.place(*number),
                drawn: *number <= computed.joiners(),
            })),
            Err(fault @ DrawFault::Commitment(_)) => problems.push(fault.to_string()),
            // A replaced commitment is reported before the draw, too.
            Err(DrawFault::Gathering) if !problems.is_empty() => {}
            Err(fault) => return Err(Failure::new(format!("the draw: {fault}"))),
        }
        Ok(Report { as_committed: problems.is_empty(), problems, draw, places })
    }
}

impl CommandResult for Report {
    fn text(&self) -> String {
        let PublicDraw { event_id, joiners, fixed_at, .. } = &self.draw;
        if self.has_problems() {
            let problems = self.problems.join("\n  ");
            return format!(
                "event {event_id}: the draw is NOT as it was committed to\n  {problems}"
            );
        }
        let mut text = format!(
            "event {event_id}: the draw is as it was committed to; {} joined, fixed at {}",
            joiners.unwrap_or_default(),
            fixed_at.as_deref().unwrap_or("an unknown time"),
        );
        if !self.places.is_empty() {
            let columns = [Column::Number("NUMBER"), Column::Number("PLACE"), Column::Words("")];
            let row = |placed: &NumberPlace| {
                let word = if placed.drawn { "" } else { "joined after the draw" };
                [placed.number.to_string(), placed.place.to_string(), word.to_owned()]
            };
            text += "\n";
            text += &table(columns, self.places.iter().map(row).collect());
        }
        text
    }

    fn has_problems(&self) -> bool {
        !self.as_committed
    }
}
