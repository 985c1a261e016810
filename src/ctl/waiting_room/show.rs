//! `waiting-room show`.

use serde::Serialize;

use crate::config::Config;
use crate::ctl::failure::Failure;
use crate::ctl::output::CommandResult;
use crate::domain::{EventId, Floors, Method};
use crate::start;

/// Show the state of an event's waiting room
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl waiting-room show 7
  watch -n1 holdfastctl waiting-room show 7")]
pub(in crate::ctl) struct Arguments {
    /// The event's id
    #[arg(value_name = "EVENT")]
    event: u32,
}

/// The state of a room.
#[derive(Serialize)]
pub(super) struct Room {
    event: u32,
    /// `fifo`, `passthrough` or `reject`; null while it is off.
    method: Option<&'static str>,
    by_surge: bool,
    queue_size: u64,
    active_sessions: u32,
    unclaimed_places: u32,
    owed_places: u32,
    max_concurrent: u32,
    joined: u64,
    served: u64,
    draw: &'static str,
    is_sold_out: bool,
}

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<Room, Failure> {
        let engine = start::existing_engine(config).await?;
        let state = engine.room_look(EventId(self.event), 0, 0, Floors::default()).await?;
        Ok(Room {
            event: self.event,
            method: state.method.map(Method::as_str),
            by_surge: state.by_surge,
            queue_size: state.queue_size(),
            active_sessions: state.live,
            unclaimed_places: state.unclaimed,
            owed_places: state.owed,
            max_concurrent: state.max_concurrent,
            joined: state.floors.joined,
            served: state.floors.served,
            draw: state.draw.as_str(),
            is_sold_out: state.is_sold_out,
        })
    }
}

impl CommandResult for Room {
    fn text(&self) -> String {
        let Some(method) = self.method else {
            return format!("The waiting room of event {} is off.", self.event);
        };
        format!(
            "The waiting room of event {} is on ({method}{}).\n\
             {} wait, {} of {} are in, {} places are open, {} people are owed one.\n\
             Numbers given: {}; places served: {}; draw: {}.",
            self.event,
            if self.by_surge { ", by surge" } else { "" },
            self.queue_size,
            self.active_sessions,
            self.max_concurrent,
            self.unclaimed_places,
            self.owed_places,
            self.joined,
            self.served,
            self.draw,
        )
    }
}
