//! Redis: connections, key names, the scripts as typed calls, and the booking log.
//!
//! No other module depends on the client library or on key names.

mod activity;
mod address;
mod clock;
mod connect;
mod connection;
mod consumers;
mod dead_letters;
mod dial;
mod engine;
mod error;
mod format;
mod gates;
mod keys;
mod lane;
mod lane_state;
mod limits;
mod log;
mod nodes;
mod pipeline;
mod replication;
mod resp;
mod restoring;
mod retention;
mod routing;
mod scan;
pub mod scripts;
mod tickets;
mod tls;
mod value;

pub use activity::{Field, WINDOW_STEPS};
pub use address::{AddressFault, Credentials, Deployment, NodeAddress, RedisAddress};
pub use clock::NotAfter;
pub use clock::RedisClock;
pub use connect::{RedisSettings, ServerFacts};
pub use consumers::Consumer;
pub use dead_letters::DeadLetter;
pub use engine::{Engine, Observer};
pub use error::RedisError;
pub use keys::Keys;
pub use lane::LaneReader;
pub use lane_state::LogLink;
pub use limits::{LimitAction, LimitCheck, Standing};
pub use log::{LogState, Pending, Read, WORKER_GROUP};
pub use nodes::NodeAnswer;
pub use restoring::EventState;
pub use retention::EndedBooking;
pub use routing::serve_requests_here;
pub use scan::{Cursor, Page, StoredBooking};
pub use scripts::booking::{
    AbortReply, Attempt, CancelReply, ExpireReply, ExtendReply, ForgetReply, GetBookingReply,
    IdempotencyRecord,
};
pub use scripts::call::new_nonce;
pub use scripts::confirm::{
    AbortMode, ConfirmAbortReply, ConfirmBeginReply, ConfirmCommitReply, ConfirmLateReply,
    ConfirmTakeoverReply,
};
pub use scripts::event::{
    BlockAction, BlockCall, BlockReply, OpenEventReply, UnloadEventReply, UpdateEventReply,
};
pub use scripts::hold::{HoldCall, HoldReply, ScanBounds, ScanPosition, SeatSelection};
pub use scripts::log::BeatReply;
pub use scripts::restore::{
    LoadBookingsReply, RaiseGenerationReply, RestoreBookingsReply, SealLoadReply,
};
pub use scripts::room::{RoomClaimReply, RoomJoinReply, RoomPlace};
pub use scripts::room_upkeep::{RoomAdmission, RoomConfiguration};
pub use scripts::settle::{SettleReply, Settlement};
pub use scripts::snapshot::{Detail, EventSnapshot};
pub use scripts::{EventReply, ScriptReply, Timed};
pub use tls::{NewTls, TlsFault, TlsFiles};
