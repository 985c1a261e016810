//! The domain of a sale: ids, seats, layouts, bookings, log entries, rules. Pure: no I/O, no clock.

pub mod activity;
pub mod admission_token;
pub mod alternatives;
pub mod availability;
pub mod booking;
pub mod cursor;
pub mod draw;
pub mod durability;
pub mod entry;
pub mod event;
pub mod idempotency;
pub mod ids;
pub mod intent;
pub mod inventory;
pub mod layout;
pub mod limits;
pub mod live_policy;
pub mod money;
pub mod network;
pub mod outcome;
pub mod policy;
pub mod rules;
pub mod sale_times;
pub mod seat;
pub mod seat_request;
pub mod socket_ticket;
pub mod subject;
pub mod time;
pub mod waiting_room;

pub use admission_token::{AdmissionToken, DeploymentTag, TokenFault, TokenKeys};
pub use alternatives::{ALTERNATIVES_MAX, alternatives};
pub use availability::Availability;
pub use booking::{Booking, RecordError, Status};
pub use draw::{Draw, PublicDraw};
pub use durability::Durability;
pub use entry::{Entry, HouseBlock, Kind, LogId, Transition};
pub use event::{Event, EventChange, EventStamp, EventStatus, EventSummary, LoadState, Seating};
pub use ids::{BookingId, EventId, Partition, SeatId, UserId};
pub use intent::movement::{self, Movement, MovementKind, SeenRefunds};
pub use intent::refund::{self, RefundCounts, RefundProgress, RefundState};
pub use intent::{Intent, IntentState};
pub use inventory::{Inventory, SeatCounts};
pub use layout::{Layout, Section};
pub use money::{Chargeable, Currency};
pub use network::{ClientNetwork, Network};
pub use outcome::Outcome;
pub use policy::Policy;
pub use rules::{
    Counting, Limit, Mode, Place, RouteClass, Rule, RuleChange, Scope, WhenRedisIsAway,
};
pub use sale_times::SaleTimes;
pub use seat::SeatState;
pub use seat_request::{OrphanRule, Quantity};
pub use subject::Subject;
pub use waiting_room::{
    DrawState, Floors, Method, RoomChange, RoomSettings, RoomState, Surge, YoungBatch,
};
