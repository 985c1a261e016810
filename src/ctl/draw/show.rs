//! `draw show`: the published draw, from the archive.

use serde::Serialize;

use crate::config::Config;
use crate::domain::draw::DrawStatus;
use crate::domain::{EventId, PublicDraw};
use crate::start;

use super::super::failure::Failure;
use super::super::output::CommandResult;

/// Show an event's draw: its commitment, and once it is fixed all data to verify it
///
/// With --json: the response of GET /api/v1/events/ID/waiting-room/draw. The secret is not shown
/// before the draw is fixed.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl draw show --event 7
  holdfastctl draw show --event 7 --json | holdfastctl draw verify --event 7 --file -")]
pub(in crate::ctl) struct Arguments {
    /// The event's id
    #[arg(long, value_name = "ID")]
    event: u32,
}

/// A draw as published.
#[derive(Serialize)]
#[serde(transparent)]
pub(in crate::ctl) struct Draw(PublicDraw);

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<Draw, Failure> {
        let event = EventId(self.event);
        let room = start::existing_archive(config).await?.stored_room(event).await?;
        let draw = room.and_then(|room| room.draw).ok_or_else(|| {
            Failure::new(format!(
                "event {event} has no draw: its waiting room was never opened before its sale \
                 with a shuffle"
            ))
        })?;
        Ok(Draw(draw.public(event)))
    }
}

impl CommandResult for Draw {
    fn text(&self) -> String {
        let PublicDraw { event_id, algorithm, commitment, opened_at, .. } = &self.0;
        let mut text = format!(
            "event {event_id}: {}\n  algorithm   {algorithm}\n  commitment  {commitment}\n  \
             opened at   {opened_at}",
            match self.0.status {
                DrawStatus::Gathering => "people gather for the draw",
                DrawStatus::Fixed => "the draw is fixed",
            }
        );
        let joiners = self.0.joiners.map(|joiners| joiners.to_string());
        let later = [
            ("fixed at", &self.0.fixed_at),
            ("joiners", &joiners),
            ("joins hash", &self.0.joins_hash),
            ("secret", &self.0.secret),
        ];
        for (name, value) in later {
            if let Some(value) = value {
                text += &format!("\n  {name:<12}{value}");
            }
        }
        text
    }
}
