//! `waiting-room enable` and `disable`.

use serde::Serialize;

use crate::config::Config;
use crate::ctl::failure::Failure;
use crate::ctl::output::CommandResult;
use crate::domain::{EventId, Method, RoomChange, RoomSettings, UserId};
use crate::sale::waiting_room::{RoomEdit, RoomStore};
use crate::start;

/// Switch an event's waiting room on, or change one that is on
///
/// From then on, holds are refused to users without a session in it. Absent values keep what was set
/// before, or default to the `waiting_room_*` settings. With --automatic it switches on when attempts
/// surge, and off again.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl waiting-room enable 7 --max-concurrent 100 --session-seconds 300
  holdfastctl waiting-room enable 7 --automatic true --surge-per-second 800
  holdfastctl waiting-room enable 7 --shuffle true   # before its sale begins
  holdfastctl waiting-room enable 7 --method reject  # lets nobody in")]
pub(in crate::ctl) struct Enable {
    /// The event's id
    #[arg(value_name = "EVENT")]
    event: u32,
    /// Maximum number of sessions and open places at a time
    #[arg(long, value_name = "NUMBER")]
    max_concurrent: Option<u32>,
    /// Maximum number of places opened per minute; 0: as many as become free
    #[arg(long, value_name = "NUMBER")]
    per_minute: Option<u32>,
    /// How long a session lasts
    #[arg(long, value_name = "SECONDS")]
    session_seconds: Option<u32>,
    /// How long a session lasts with renewals
    #[arg(long, value_name = "SECONDS")]
    session_cap_seconds: Option<u32>,
    /// Whether a status query renews a session
    #[arg(long, value_name = "BOOL")]
    renew: Option<bool>,
    /// How long a served place may be claimed
    #[arg(long, value_name = "SECONDS")]
    claim_seconds: Option<u32>,
    /// fifo, passthrough (admits everybody) or reject (admits nobody)
    #[arg(long, value_parser = method)]
    method: Option<Method>,
    /// Whether those who join before the sale begins are shuffled when it does
    #[arg(long, value_name = "BOOL")]
    shuffle: Option<bool>,
    /// Whether it switches on automatically when attempts surge, instead of now
    #[arg(long, value_name = "BOOL")]
    automatic: Option<bool>,
    /// Attempts per second at which it switches on
    #[arg(long, value_name = "NUMBER")]
    surge_per_second: Option<u32>,
    /// Attempts per second below which it switches off
    #[arg(long, value_name = "NUMBER")]
    calm_per_second: Option<u32>,
    /// Name of the operator
    #[arg(long, value_name = "NAME", env = "USER", default_value = "holdfastctl")]
    by: UserId,
}

/// Switch an event's waiting room off
///
/// Everybody may book again. Places are kept for as long as their tokens are valid.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  holdfastctl waiting-room disable 7")]
pub(in crate::ctl) struct Disable {
    /// The event's id
    #[arg(value_name = "EVENT")]
    event: u32,
    /// Name of the operator
    #[arg(long, value_name = "NAME", env = "USER", default_value = "holdfastctl")]
    by: UserId,
}

fn method(word: &str) -> Result<Method, String> {
    word.parse().map_err(|()| "it is fifo, passthrough or reject".to_owned())
}

/// The changed room.
#[derive(Serialize)]
pub(super) struct Changed {
    event: u32,
    revision: u64,
    settings: RoomSettings,
}

impl Enable {
    pub(super) fn target(&self) -> String {
        format!("event {}", self.event)
    }

    pub(super) async fn run(self, config: &Config) -> Result<Changed, Failure> {
        let change = self.change();
        changed(config, self.event, &self.by, move |room: &mut RoomSettings| change.apply(room))
            .await
    }

    fn change(&self) -> RoomChange {
        RoomChange {
            method: self.method,
            max_concurrent: self.max_concurrent,
            per_minute: self.per_minute,
            session_seconds: self.session_seconds,
            session_cap_seconds: self.session_cap_seconds,
            claim_seconds: self.claim_seconds,
            renews: self.renew,
            shuffle: self.shuffle,
            automatic: self.automatic,
            surge_per_second: self.surge_per_second,
            calm_per_second: self.calm_per_second,
        }
    }
}

impl Disable {
    pub(super) fn target(&self) -> String {
        format!("event {}", self.event)
    }

    pub(super) async fn run(self, config: &Config) -> Result<Changed, Failure> {
        changed(config, self.event, &self.by, RoomSettings::switch_off).await
    }
}

async fn changed(
    config: &Config,
    event: u32,
    by: &UserId,
    edit: impl RoomEdit,
) -> Result<Changed, Failure> {
    let engine = start::existing_engine(config).await?;
    let archive = start::existing_archive(config).await?;
    let store = RoomStore::of(&engine, &archive, &start::sale_settings(config));
    let stored = store.change(EventId(event), by.as_str(), edit).await?;
    Ok(Changed { event, revision: stored.revision, settings: stored.settings })
}

impl CommandResult for Changed {
    fn text(&self) -> String {
        let room = &self.settings;
        let is = match (room.on, room.surge.automatic) {
            (true, _) => format!("on ({})", room.method.as_str()),
            (false, true) => {
                format!("going on by itself at {} attempts a second", room.surge.on_per_second)
            }
            (false, false) => "off".to_owned(),
        };
        format!(
            "The waiting room of event {} is {is}: {} at a time, sessions of {} s, {} s to claim.",
            self.event,
            room.max_concurrent,
            room.session_ms as f64 / 1_000.0,
            room.claim_ms as f64 / 1_000.0,
        )
    }
}
