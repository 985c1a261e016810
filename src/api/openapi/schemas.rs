//! What clients send, and errors, as the document describes them. Requests are read field by
//! field (`fields`), for better messages than a derived reader gives; these declarations are for
//! the document alone.

use utoipa::ToSchema;

/// An error.
#[derive(ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Names the kind of error.
    #[schema(example = "urn:holdfast:problem:seats_unavailable")]
    pub r#type: String,
    /// The kind of error in words, always the same.
    #[schema(example = "Seats are not available")]
    pub title: String,
    /// The HTTP status.
    #[schema(example = 409)]
    pub status: u16,
    /// What is wrong with this request and how to mend it.
    #[schema(example = "Seats 210, 211, 212 are not available")]
    pub detail: String,
    /// The code to compare.
    #[schema(example = "seats_unavailable")]
    pub error: String,
    /// Names this request in our logs; also in `X-Trace-Id`.
    #[schema(example = "4bf92f3577b34da6a3ce929d0e0e4736")]
    pub trace_id: String,
}

/// A request for seats.
#[derive(ToSchema)]
#[schema(as = Hold)]
pub struct HoldBody {
    /// The event.
    #[schema(example = 1)]
    pub event_id: u32,
    /// 1 to 10 seats, each once; or leave it out and send `quantity`.
    #[schema(example = json!([210, 211, 212]), min_items = 1, max_items = 10)]
    pub seat_ids: Option<Vec<u32>>,
    /// How many seats, 1 to 10, if they are not named.
    pub quantity: Option<u32>,
    /// In which section; in any one if absent.
    pub section: Option<String>,
    /// Whether they must be side by side where seats have rows; true if absent.
    pub together: Option<bool>,
    /// The highest price of one seat, in the currency's minor unit.
    pub max_price: Option<i64>,
    /// The request's own key, if not in a header.
    #[schema(rename = "idempotencyKey")]
    pub idempotency_key: Option<String>,
}

/// How a booking is paid.
#[derive(ToSchema)]
#[schema(as = Confirm)]
pub struct ConfirmBody {
    /// What the payment provider is told; `card_ok` if absent.
    #[schema(example = "card_ok")]
    pub payment_method: Option<String>,
    /// What the client believes it costs; refused if it is another amount.
    #[schema(example = 15_000)]
    pub amount: Option<i64>,
}

/// How a waiting room is to be; what is absent stays as it was.
#[derive(ToSchema)]
#[schema(as = EnableRoom)]
pub struct EnableRoomBody {
    /// Sessions and open places at a time.
    #[schema(example = 100)]
    pub max_concurrent: Option<u32>,
    /// How long a session lasts, seconds.
    #[schema(example = 300)]
    pub session_duration: Option<u32>,
    /// How long one lasts with renewals, seconds.
    pub session_cap: Option<u32>,
    /// Whether asking where one stands renews a session.
    pub renew: Option<bool>,
    /// How long a served place may be claimed, seconds.
    pub claim_window: Option<u32>,
    /// Most places opened in any minute; 0: as many as come free.
    pub per_minute: Option<u32>,
    /// `fifo`, `passthrough` (lets everybody through) or `reject` (lets nobody in).
    pub method: Option<String>,
    /// Shuffle those who join before the sale begins.
    pub shuffle: Option<bool>,
    /// Not on at once, but by itself when attempts surge, and off again.
    pub automatic: Option<bool>,
    /// Attempts a second at which it goes on by itself.
    pub surge_per_second: Option<u32>,
    /// Attempts a second below which it goes off again.
    pub calm_per_second: Option<u32>,
}

/// A draw as everybody may know it.
#[derive(ToSchema)]
#[schema(as = Draw)]
pub struct DrawBody {
    /// The event.
    #[schema(example = 1)]
    pub event_id: u32,
    /// How places are computed.
    #[schema(example = "feistel-sha256-v1")]
    pub algorithm: String,
    /// What the secret was committed to before anybody joined, hex.
    pub commitment: String,
    /// When people began to gather.
    pub opened_at: String,
    /// `gathering` or `fixed`.
    #[schema(example = "fixed")]
    pub status: String,
    /// How many are in it: the numbers 1 to this.
    pub joiners: Option<u64>,
    /// The running hash of their joins, hex.
    pub joins_hash: Option<String>,
    /// The secret, once the draw is fixed, hex.
    pub secret: Option<String>,
    /// When that was.
    pub fixed_at: Option<String>,
}

/// An event to create.
#[derive(ToSchema)]
#[schema(as = NewEvent)]
pub struct NewEventBody {
    /// What it is called.
    #[schema(example = "Gala")]
    pub name: String,
    /// What it is about.
    pub description: Option<String>,
    /// Where it is.
    #[schema(example = "Grand Hall")]
    pub venue: Option<String>,
    /// ISO 4217 code of its prices.
    #[schema(example = "EUR")]
    pub currency: Option<String>,
    /// When the doors open.
    #[schema(example = "2026-06-01T18:00:00Z")]
    pub starts_at: Option<String>,
    /// When holds begin; at once if absent.
    #[schema(example = "2026-03-01T18:00:00Z")]
    pub on_sale_at: Option<String>,
    /// When holds end; held seats can still be paid. At `starts_at` if absent, and never without that.
    #[schema(example = "2026-06-01T17:00:00Z")]
    pub off_sale_at: Option<String>,
    /// How long a hold lasts.
    #[schema(example = 300)]
    pub hold_ttl_seconds: Option<u32>,
    /// How long a hold can last with extensions.
    #[schema(example = 900)]
    pub max_hold_seconds: Option<u32>,
    /// How many seats one user can hold and own.
    #[schema(example = 10)]
    pub max_seats_per_user: Option<u32>,
    /// `off`, `warn` or `enforce`: what happens to named seats that leave a single one alone.
    #[schema(example = "off")]
    pub orphan_rule: Option<String>,
    /// `allowed` or `not_allowed`: whether confirmed bookings may be cancelled; `allowed` if absent.
    #[schema(example = "allowed")]
    pub cancellation: Option<String>,
    /// Until when they may; at any time if absent.
    #[schema(example = "2026-05-25T18:00:00Z")]
    pub cancel_until: Option<String>,
    /// Its seats, in order: 1 to 500 sections, at most 1,000,000 seats.
    pub sections: Vec<SectionSpec>,
}

/// Seats to block or release: `seat_ids`, or a `section`, or one `row_number` of it.
#[derive(ToSchema)]
#[schema(as = NewBlock)]
pub struct NewBlockBody {
    /// 1 to 1,000 seats.
    #[schema(example = json!([1, 2]))]
    pub seat_ids: Option<Vec<u32>>,
    /// All seats of this section.
    pub section: Option<String>,
    /// Only those of this row.
    pub row_number: Option<String>,
    /// Why.
    #[schema(example = "camera position")]
    pub reason: String,
}

/// A section to create: `rows` of numbered seats, or a `capacity` for general admission.
#[derive(ToSchema)]
#[schema(as = NewSection)]
pub struct SectionSpec {
    /// Its name, unique within the event.
    #[schema(example = "Stalls")]
    pub name: String,
    /// Price of one seat, in the currency's minor unit.
    #[schema(example = 5_000)]
    pub price: i64,
    /// Rows of numbered seats, front to back.
    pub rows: Option<Vec<RowSpec>>,
    /// Number of general-admission tickets.
    pub capacity: Option<u32>,
}

/// A row to create.
#[derive(ToSchema)]
#[schema(as = NewRow)]
pub struct RowSpec {
    /// Its name, unique within the section.
    #[schema(example = "A")]
    pub row: String,
    /// How many seats.
    #[schema(example = 20)]
    pub seats: u32,
}

/// A change to an event; absent fields stay.
#[derive(ToSchema)]
#[schema(as = EventChange)]
pub struct ChangeEventBody {
    /// What it is called.
    pub name: Option<String>,
    /// What it is about.
    pub description: Option<String>,
    /// Where it is.
    pub venue: Option<String>,
    /// When the doors open.
    pub starts_at: Option<String>,
    /// When holds begin.
    pub on_sale_at: Option<String>,
    /// When holds end. Where it is `starts_at`, it moves with that.
    pub off_sale_at: Option<String>,
    /// `ON_SALE`, `PAUSED` or `CLOSED`.
    #[schema(example = "PAUSED")]
    pub status: Option<String>,
    /// `allowed` or `not_allowed`: whether confirmed bookings may be cancelled.
    #[schema(example = "not_allowed")]
    pub cancellation: Option<String>,
    /// Until when they may.
    #[schema(example = "2026-05-25T18:00:00Z")]
    pub cancel_until: Option<String>,
}
