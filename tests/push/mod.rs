//! Pushed updates: WebSockets and event streams, their bounds and their end.

mod bounds;
mod ending;
mod expiries;
mod forks;
mod frames;
mod resuming;
mod room;
mod seats;
mod sockets;
mod streams;
mod tickets;
mod upgrades;

use holdfast::config::Config;

use crate::support::api::{Api, Place, places};

/// An API with these changes to the tests' settings, and an event.
async fn api_with(settings: impl FnOnce(Config) -> Config) -> (Api, u64) {
    let api = Api::here(settings(Place::shared().config())).await.patient();
    let event = api.event(places(4)).await;
    (api, event)
}
