//! `event`: creates, lists, shows and changes events.

mod change;
mod create;
mod layout_file;
mod presence;
mod row_names;
mod view;

use std::process::ExitCode;

use crate::config::Config;
use crate::domain::{EventId, EventStatus};
use crate::sale::{EventChange, EventView, Events, SaleError};
use crate::start;

use super::failure::Failure;
use super::output::Output;
use view::{EventLine, EventList, EventShown};

/// Events per query.
const PAGE: u32 = 100;

#[derive(clap::Subcommand, Debug)]
pub(super) enum Command {
    Create(Box<create::Arguments>),
    /// List all events, by id
    #[command(after_help = "Example:\n  holdfastctl event list")]
    List,
    /// Show an event and its sections with their seats
    #[command(after_help = "Example:\n  holdfastctl event show 1")]
    Show(One),
    Change(change::Arguments),
    /// Stop new holds for now
    ///
    /// Payments of existing holds continue; held seats stay held until their holds expire.
    #[command(after_help = "Example:\n  holdfastctl event pause 1")]
    Pause(One),
    /// Allow holds again, after a pause or a close
    #[command(after_help = "Example:\n  holdfastctl event resume 1")]
    Resume(One),
    /// End the sale: no new holds
    ///
    /// Payments of existing holds continue. `resume` opens it again.
    #[command(after_help = "Example:\n  holdfastctl event close 1")]
    Close(One),
    Unload(presence::UnloadArguments),
    Load(presence::LoadArguments),
}

#[derive(clap::Args, Debug)]
pub(super) struct One {
    /// The event's id
    #[arg(value_name = "ID")]
    event: u32,
}

impl Command {
    /// The act for the audit log.
    pub(super) fn changes(&self) -> Option<(&'static str, String)> {
        let one = |event: u32| format!("event {event}");
        Some(match self {
            Command::List | Command::Show(_) => return None,
            Command::Create(_) => ("event create", String::new()),
            Command::Change(arguments) => ("event change", one(arguments.event())),
            Command::Pause(One { event }) => ("event pause", one(*event)),
            Command::Resume(One { event }) => ("event resume", one(*event)),
            Command::Close(One { event }) => ("event close", one(*event)),
            Command::Unload(arguments) => ("event unload", one(arguments.event())),
            Command::Load(arguments) => ("event load", one(arguments.event())),
        })
    }

    /// Whether it may be the first command of a deployment.
    pub(super) fn begins(&self) -> bool {
        matches!(self, Command::Create(_))
    }

    pub(super) async fn run(self, config: &Config, output: &Output) -> Result<ExitCode, Failure> {
        match self {
            Command::Create(arguments) => {
                let new = arguments.new_event()?;
                // As the first process of a deployment does: this may be the first command.
                let events = events(config, start::archive(config).await?).await?;
                output.show(&EventLine::of(&events.create(new).await?))
            }
            Command::List => output.show(&list(&existing(config).await?).await?),
            Command::Show(One { event }) => {
                output.show(&show(&existing(config).await?, EventId(event)).await?)
            }
            Command::Change(arguments) => {
                let (id, change) = arguments.change();
                output.show(&EventLine::of(&existing(config).await?.change(id, change).await?))
            }
            Command::Pause(one) => set_status(config, output, one, EventStatus::Paused).await,
            Command::Resume(one) => set_status(config, output, one, EventStatus::OnSale).await,
            Command::Close(one) => set_status(config, output, one, EventStatus::Closed).await,
            Command::Unload(arguments) => {
                output.show(&arguments.run(&existing(config).await?).await?)
            }
            Command::Load(arguments) => {
                output.show(&arguments.run(&existing(config).await?).await?)
            }
        }
    }
}

async fn existing(config: &Config) -> Result<Events, Failure> {
    events(config, start::existing_archive(config).await?).await
}

async fn events(config: &Config, archive: crate::archive::Archive) -> Result<Events, Failure> {
    let engine = start::existing_engine(config).await?;
    Ok(Events::new(engine, archive, start::sale_settings(config)))
}

async fn list(events: &Events) -> Result<EventList, Failure> {
    let mut all: Vec<EventLine> = Vec::new();
    let mut after = EventId(0);
    loop {
        let views = events.list(after, PAGE).await?;
        all.extend(views.iter().map(EventLine::of));
        match views.last() {
            Some(last) if views.len() == PAGE as usize => after = last.event.id,
            _ => return Ok(EventList { events: all }),
        }
    }
}

async fn show(events: &Events, id: EventId) -> Result<EventShown, Failure> {
    let view: EventView = events.get(id).await?;
    let map = match events.seat_map(id).await {
        Ok(map) => Some(map),
        Err(SaleError::EventNotLoaded(_) | SaleError::EventUnloaded(_)) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(EventShown::of(&view, map.as_ref()))
}

async fn set_status(
    config: &Config,
    output: &Output,
    one: One,
    status: EventStatus,
) -> Result<ExitCode, Failure> {
    let change = EventChange { status: Some(status), ..EventChange::default() };
    let view = existing(config).await?.change(EventId(one.event), change).await?;
    output.show(&EventLine::of(&view))
}
