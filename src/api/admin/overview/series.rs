//! The series of an overview.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::activity::{Change, STEP_MS, STEPS};
use crate::domain::time::iso8601;
use crate::sale::Series;

/// Counts per step, oldest first. Each list has `points` counts.
#[derive(Serialize, ToSchema)]
pub struct SeriesBody {
    /// Length of a step, seconds.
    #[schema(example = 5)]
    step_seconds: u32,
    /// When the first step began.
    #[schema(format = DateTime)]
    from: String,
    /// How many steps there are. The last two may still rise.
    #[schema(example = 180)]
    points: usize,
    /// Processes that counted anything.
    #[schema(example = 2)]
    processes: usize,
    /// Holds granted.
    held: Vec<u64>,
    /// Bookings paid.
    paid: Vec<u64>,
    /// Sales confirmed by the archive.
    confirmed: Vec<u64>,
    /// Bookings cancelled.
    cancelled: Vec<u64>,
    /// Holds that expired.
    expired: Vec<u64>,
    /// Payments that ended without a sale.
    declined: Vec<u64>,
    /// Seats of the holds granted.
    seats_held: Vec<u64>,
    /// Seats of the sales confirmed.
    seats_confirmed: Vec<u64>,
    /// Seats that came back.
    seats_returned: Vec<u64>,
    /// Requests refused, by place.
    refused: RefusedBody,
    /// Requests refused, by reason; only reasons that occurred.
    refused_by_reason: BTreeMap<&'static str, Vec<u64>>,
}

/// Requests refused per step, by place.
#[derive(Serialize, ToSchema)]
pub struct RefusedBody {
    /// By a process' live view.
    memory: Vec<u64>,
    /// By Redis.
    redis: Vec<u64>,
    /// By the waiting room.
    waiting_room: Vec<u64>,
    /// By limits, access lists and bot rules.
    limits: Vec<u64>,
}

impl SeriesBody {
    /// The body of a series.
    pub fn new(mut series: Series) -> Self {
        let mut of = |change: Change| {
            let found = series.changes.iter_mut().find(|(of, _)| *of == change);
            found.map(|(_, counts)| std::mem::take(counts)).unwrap_or_default()
        };
        let (held, paid, confirmed) = (of(Change::Held), of(Change::Paid), of(Change::Confirmed));
        let (cancelled, expired) = (of(Change::Cancelled), of(Change::Expired));
        let (declined, seats_held) = (of(Change::Declined), of(Change::SeatsHeld));
        let (seats_confirmed, seats_returned) =
            (of(Change::SeatsConfirmed), of(Change::SeatsReturned));
        let mut at = |place: &str| {
            let found = series.refused.iter_mut().find(|(of, _)| *of == place);
            found.map(|(_, counts)| std::mem::take(counts)).unwrap_or_default()
        };
        let refused = RefusedBody {
            memory: at("memory"),
            redis: at("redis"),
            waiting_room: at("waiting_room"),
            limits: at("limits"),
        };
        SeriesBody {
            step_seconds: (STEP_MS / 1_000) as u32,
            from: iso8601(series.from_ms),
            points: STEPS,
            processes: series.processes,
            held,
            paid,
            confirmed,
            cancelled,
            expired,
            declined,
            seats_held,
            seats_confirmed,
            seats_returned,
            refused,
            refused_by_reason: series.refused_by_reason,
        }
    }
}
