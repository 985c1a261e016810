//! A waiting room as operators watch it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{DrawState, Method, RoomSettings};
use crate::http::words;
use crate::sale::RoomOverview;

/// A waiting room with its settings.
#[derive(Serialize, ToSchema)]
pub struct RoomOverviewBody {
    /// `off`, `on`, `surge` (it switched itself on) or `draw` (people join a draw).
    #[schema(value_type = words::RoomStatus)]
    status: &'static str,
    /// Whether it switches itself on when attempts surge; null while MongoDB does not answer, or if it
    /// never had settings.
    #[schema(required = true)]
    is_automatic: Option<bool>,
    /// Users who wait.
    #[schema(example = 18_204)]
    waiting: u64,
    /// Users who were let in.
    #[schema(example = 1_118)]
    admitted: u64,
    /// Live sessions.
    #[schema(example = 198)]
    sessions: u32,
    /// Sessions and open places at a time.
    #[schema(example = 200)]
    max_concurrent_users: u32,
    /// How long a session lasts, seconds.
    #[schema(example = 300)]
    session_duration_seconds: u64,
    /// `fifo`, `passthrough` or `reject`; null while it is off.
    #[schema(value_type = Option<words::QueueMethod>, required = true)]
    method: Option<&'static str>,
    /// Most places opened in any minute; 0: as many as come free; null as in `is_automatic`.
    #[schema(required = true)]
    per_minute: Option<u32>,
    /// Whether those who join before the sale are shuffled; null as in `is_automatic`.
    #[schema(required = true)]
    shuffle: Option<bool>,
}

impl RoomOverviewBody {
    /// The body of a room.
    pub fn new(room: &RoomOverview) -> Self {
        let (state, settings) = (&room.state, room.stored.as_ref().map(|one| &one.settings));
        let of = |value: fn(&RoomSettings) -> u32| settings.map(value);
        let is = |value: fn(&RoomSettings) -> bool| settings.map(value);
        RoomOverviewBody {
            status: match (state.method, state.by_surge, state.draw) {
                (None, ..) => "off",
                (Some(_), _, DrawState::Gathering) => "draw",
                (Some(_), true, _) => "surge",
                (Some(_), false, _) => "on",
            },
            is_automatic: is(|settings| settings.surge.automatic),
            waiting: state.queue_size(),
            admitted: state.floors.served,
            sessions: state.live,
            max_concurrent_users: state.max_concurrent,
            session_duration_seconds: state.session_ms / 1_000,
            method: state.method.map(Method::as_str),
            per_minute: of(|settings| settings.per_minute),
            shuffle: is(|settings| settings.shuffle),
        }
    }
}
