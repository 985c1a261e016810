//! Response bodies of the waiting room.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::draw::{DrawStatus, PublicDraw};
use crate::domain::time::iso8601;
use crate::domain::{EventId, Method, RoomSettings, RoomState};
use crate::http::words;
use crate::sale::waiting_room::{QueueStatus, SETTINGS_APPLY_WITHIN_SECONDS, Ticket};

/// `refresh_after_seconds` of a status that does not wait, seconds.
const REFRESH_ADMITTED_SECONDS: u64 = 10;
const ADMITTED: &str = "You can now proceed to book tickets";
const CLOSED: &str = "The sale has ended. You need not wait any longer";
const SOLD_OUT: &str = "Every seat is sold. You need not wait any longer";

/// The settings of a waiting room that was switched.
#[derive(Serialize, ToSchema)]
pub struct ChangedBody {
    /// What was done.
    #[schema(example = "Waiting room enabled")]
    message: &'static str,
    /// Sessions and open places at a time.
    #[schema(example = 100)]
    max_concurrent_users: u32,
    /// How long a session lasts, seconds.
    #[schema(example = 300)]
    session_duration_seconds: u64,
    /// `fifo`, `passthrough` or `reject`.
    #[schema(value_type = words::QueueMethod)]
    method: &'static str,
    /// Most places opened in any minute; 0: as many as come free.
    #[schema(example = 0)]
    per_minute: u32,
    /// How long a served place may be claimed, seconds.
    #[schema(example = 30)]
    claim_window_seconds: u64,
    /// Whether it switches itself on when attempts surge.
    automatic: bool,
    /// Whether those who join before the sale begins are shuffled when it does.
    shuffle: bool,
    /// Within which time all processes apply this, seconds; the one that answers does already.
    #[schema(example = 1)]
    effective_within_seconds: u64,
}

impl ChangedBody {
    /// The waiting room is on, or switches itself on when attempts surge.
    pub fn on(settings: &RoomSettings) -> Self {
        let message = match settings.on {
            true => "Waiting room enabled",
            false => "Waiting room goes on by itself when attempts surge",
        };
        ChangedBody { message, ..ChangedBody::off(settings) }
    }

    /// The waiting room is off.
    pub fn off(settings: &RoomSettings) -> Self {
        ChangedBody {
            message: "Waiting room disabled",
            max_concurrent_users: settings.max_concurrent,
            session_duration_seconds: settings.session_ms / 1_000,
            method: settings.method.as_str(),
            per_minute: settings.per_minute,
            claim_window_seconds: settings.claim_ms / 1_000,
            automatic: settings.surge.automatic,
            shuffle: settings.shuffle,
            effective_within_seconds: SETTINGS_APPLY_WITHIN_SECONDS,
        }
    }
}

/// A place in line.
#[derive(Serialize, ToSchema)]
pub struct JoinedBody {
    /// Sent with status requests and with the booking; null where no waiting room is on.
    #[schema(required = true)]
    token: Option<String>,
    /// The position of its owner.
    #[serde(flatten)]
    queue_status: QueueStatusBody,
}

impl JoinedBody {
    /// The body of a ticket.
    pub fn new(ticket: Ticket) -> Self {
        JoinedBody {
            token: ticket.token,
            queue_status: QueueStatusBody::new(ticket.queue_status, false),
        }
    }
}

/// A position in the waiting room.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct QueueStatusBody {
    /// Whether its owner may book.
    pub admitted: bool,
    /// `queued`, `gathering` (before the draw), `admitted`, `open` (nobody has to wait), `sold_out` or
    /// `closed` (the sale has ended).
    #[schema(value_type = words::QueueStatus)]
    pub status: &'static str,
    /// Places to be served before this one; 0 once it was, null before the draw and after the sale.
    #[schema(example = 120, required = true)]
    pub position: Option<u64>,
    /// Estimate of how long that takes; null where there is none, and with `sold_out` and `closed`.
    #[schema(example = 60, required = true)]
    pub estimated_wait_seconds: Option<u64>,
    /// When to repeat the status request.
    #[schema(example = 6)]
    pub refresh_after_seconds: u64,
    /// What is left of the session, seconds; only during one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64, required = false)]
    pub session_seconds_left: Option<u64>,
    /// When the sale begins, and the draw is made; with a session, when a postponed sale continues. Only
    /// before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, example = "2026-03-01T18:00:00.000Z", required = false)]
    pub on_sale_at: Option<String>,
    /// The status for people to read.
    #[schema(example = "You are number 120 in line")]
    pub message: String,
    /// The status for clients of Cloudflare's waiting room.
    #[serde(rename = "cfWaitingRoom", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = CfWaitingRoom, required = false)]
    pub cf_waiting_room: Option<CfWaitingRoom>,
}

/// The status in the format of Cloudflare's waiting room.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CfWaitingRoom {
    in_waiting_room: bool,
    wait_time_known: bool,
    /// Minutes, rounded up.
    wait_time: u64,
    wait_time_formatted: String,
    queue_is_full: bool,
    queue_all: bool,
    refresh_interval_seconds: u64,
    queueing_method: &'static str,
    #[serde(rename = "isFIFOQueue")]
    is_fifo_queue: bool,
    is_random_queue: bool,
    is_passthrough_queue: bool,
    is_reject_queue: bool,
    is_event_active: bool,
    is_event_prequeueing: bool,
    shuffle_at_event_start: bool,
}

impl QueueStatusBody {
    /// The body of a queue_status.
    pub fn new(queue_status: QueueStatus, with_cf: bool) -> Self {
        let mut body = QueueStatusBody {
            admitted: super::is_admitted(&queue_status),
            status: "open",
            position: Some(0),
            estimated_wait_seconds: Some(0),
            refresh_after_seconds: REFRESH_ADMITTED_SECONDS,
            session_seconds_left: None,
            on_sale_at: None,
            message: ADMITTED.to_owned(),
            cf_waiting_room: None,
        };
        match queue_status {
            QueueStatus::Open => {}
            QueueStatus::Admitted { left_seconds, on_sale_at_ms, .. } => {
                body.status = "admitted";
                body.session_seconds_left = Some(left_seconds);
                body.on_sale_at = on_sale_at_ms.map(iso8601);
                if let Some(at) = &body.on_sale_at {
                    body.message = format!("You keep your place; the sale goes on at {at}");
                }
            }
            QueueStatus::Waiting { position, wait_seconds, refresh_seconds } => {
                body.status = "queued";
                body.position = Some(position);
                body.estimated_wait_seconds = Some(wait_seconds);
                body.refresh_after_seconds = refresh_seconds;
                body.message = format!("You are number {position} in line");
            }
            QueueStatus::Gathering { refresh_seconds, on_sale_at_ms, .. } => {
                body.on_sale_at = Some(iso8601(on_sale_at_ms));
                body.status = "gathering";
                body.position = None;
                body.estimated_wait_seconds = None;
                body.refresh_after_seconds = refresh_seconds;
                body.message =
                    "You are in the draw; it gives positions when the sale begins".to_owned();
            }
            QueueStatus::SoldOut => {
                body.status = "sold_out";
                body.position = None;
                body.estimated_wait_seconds = None;
                body.message = SOLD_OUT.to_owned();
            }
            QueueStatus::Closed => {
                body.status = "closed";
                body.position = None;
                body.estimated_wait_seconds = None;
                body.message = CLOSED.to_owned();
            }
        }
        body.cf_waiting_room = with_cf.then(|| CfWaitingRoom::new(&body));
        body
    }
}

impl CfWaitingRoom {
    fn new(body: &QueueStatusBody) -> Self {
        let gathers = body.status == "gathering";
        let minutes = body.estimated_wait_seconds.map(|seconds| seconds.div_ceil(60));
        let formatted = match minutes {
            None => "unavailable".to_owned(),
            Some(1) => "1 minute".to_owned(),
            Some(minutes) => format!("{minutes} minutes"),
        };
        CfWaitingRoom {
            in_waiting_room: matches!(body.status, "queued" | "gathering"),
            wait_time_known: minutes.is_some(),
            wait_time: minutes.unwrap_or_default(),
            wait_time_formatted: formatted,
            queue_is_full: false,
            queue_all: false,
            refresh_interval_seconds: body.refresh_after_seconds,
            queueing_method: if gathers { "random" } else { Method::Fifo.as_str() },
            is_fifo_queue: !gathers,
            is_random_queue: gathers,
            is_passthrough_queue: false,
            is_reject_queue: false,
            is_event_active: !gathers,
            is_event_prequeueing: gathers,
            shuffle_at_event_start: gathers,
        }
    }
}

/// A place that was given up.
#[derive(Serialize, ToSchema)]
pub struct LeftBody {
    /// What was done.
    #[schema(example = "You left the waiting room")]
    message: &'static str,
}

impl LeftBody {
    /// The body, which is always the same.
    pub fn new() -> Self {
        LeftBody { message: "You left the waiting room" }
    }
}

/// A waiting room's figures.
#[derive(Serialize, ToSchema)]
pub struct StatsBody {
    /// The event.
    #[schema(example = 1)]
    event_id: u32,
    /// Whether it is on.
    enabled: bool,
    /// `fifo`, `passthrough` or `reject`; null while it is off.
    #[schema(value_type = Option<words::QueueMethod>, required = true)]
    method: Option<&'static str>,
    /// Users who wait, those included who were served and have not claimed yet.
    #[schema(example = 1200)]
    queue_size: u64,
    /// Live sessions.
    #[schema(example = 98)]
    active_sessions: u32,
    /// Sessions and open places at a time.
    #[schema(example = 100)]
    max_concurrent: u32,
    /// How long a session lasts, seconds.
    #[schema(example = 300)]
    session_duration_seconds: u64,
    /// How many more can be admitted now.
    #[schema(example = 2)]
    slots_available: u32,
    /// The highest number that was assigned.
    #[schema(example = 5000)]
    joined: u64,
    /// The highest place that was served.
    #[schema(example = 3800)]
    served: u64,
    /// Whether it switched itself on.
    by_surge: bool,
}

impl StatsBody {
    /// The body of a room's state.
    pub fn new(event: EventId, state: &RoomState) -> Self {
        StatsBody {
            event_id: event.0,
            enabled: state.method.is_some(),
            method: state.method.map(Method::as_str),
            queue_size: state.queue_size(),
            active_sessions: state.live,
            max_concurrent: state.max_concurrent,
            session_duration_seconds: state.session_ms / 1_000,
            slots_available: state.slots_available(),
            joined: state.floors.joined,
            served: state.floors.served,
            by_surge: state.by_surge,
        }
    }
}

/// The public state of a draw.
#[derive(Serialize, ToSchema)]
#[schema(as = Draw)]
pub struct DrawBody {
    /// The event.
    #[schema(example = 1)]
    event_id: u32,
    /// How places are computed.
    #[schema(example = "feistel-sha256-v1")]
    algorithm: String,
    /// The commitment to the secret, made before the first user joined, hex.
    commitment: String,
    /// When users could begin to join.
    #[schema(format = DateTime)]
    opened_at: String,
    /// `gathering` or `fixed`.
    #[schema(value_type = words::DrawStatus)]
    status: DrawStatus,
    /// How many users are in it: the numbers 1 to this.
    #[schema(required = true)]
    joiners: Option<u64>,
    /// The running hash of their joins, hex.
    #[schema(required = true)]
    joins_hash: Option<String>,
    /// The secret, once the draw is fixed, hex.
    #[schema(required = true)]
    secret: Option<String>,
    /// When that was.
    #[schema(format = DateTime, required = true)]
    fixed_at: Option<String>,
}

impl From<PublicDraw> for DrawBody {
    fn from(draw: PublicDraw) -> Self {
        DrawBody {
            event_id: draw.event_id.0,
            algorithm: draw.algorithm,
            commitment: draw.commitment,
            opened_at: draw.opened_at,
            status: draw.status,
            joiners: draw.joiners,
            joins_hash: draw.joins_hash,
            secret: draw.secret,
            fixed_at: draw.fixed_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_standing_has_its_status() {
        let shown =
            |queue_status| serde_json::to_value(QueueStatusBody::new(queue_status, false)).unwrap();
        let waiting = QueueStatus::Waiting { position: 5, wait_seconds: 70, refresh_seconds: 7 };
        assert_eq!(
            shown(waiting),
            serde_json::json!({
                "admitted": false, "status": "queued", "position": 5,
                "estimated_wait_seconds": 70, "refresh_after_seconds": 7,
                "message": "You are number 5 in line",
            })
        );
        let session =
            |on_sale_at_ms| QueueStatus::Admitted { ends_ms: 9, left_seconds: 4, on_sale_at_ms };
        let postponed = shown(session(Some(1_772_388_000_000)));
        assert_eq!(postponed["on_sale_at"], "2026-03-01T18:00:00.000Z");
        assert!(postponed["message"].as_str().unwrap().contains("goes on at 2026-03-01"));
        let admitted = shown(session(None));
        assert_eq!(admitted["message"], "You can now proceed to book tickets");
        assert_eq!(
            (&admitted["admitted"], &admitted["session_seconds_left"]),
            (&true.into(), &4.into())
        );
        let on_sale_at_ms = 1_772_388_000_000;
        let gathering =
            shown(QueueStatus::Gathering { joined: 9, refresh_seconds: 2, on_sale_at_ms });
        assert_eq!(gathering["position"], serde_json::Value::Null);
        assert_eq!(gathering["on_sale_at"], "2026-03-01T18:00:00.000Z");
        assert_eq!(shown(QueueStatus::SoldOut)["status"], "sold_out");
        let closed = shown(QueueStatus::Closed);
        assert_eq!((&closed["status"], &closed["admitted"]), (&"closed".into(), &false.into()));
        assert_eq!(shown(QueueStatus::Open)["admitted"], true);
    }

    #[test]
    fn cloudflare_clients_get_their_format() {
        let waiting = QueueStatus::Waiting { position: 5, wait_seconds: 70, refresh_seconds: 7 };
        let body = serde_json::to_value(QueueStatusBody::new(waiting, true)).unwrap();
        let cf = &body["cfWaitingRoom"];
        assert_eq!((&cf["inWaitingRoom"], &cf["waitTime"]), (&true.into(), &2.into()));
        assert_eq!(
            (&cf["waitTimeFormatted"], &cf["isFIFOQueue"]),
            (&"2 minutes".into(), &true.into())
        );
        assert_eq!(cf["refreshIntervalSeconds"], 7);
    }
}
