//! Redis: connections, key names, the scripts as typed calls, and the booking log.
//!
//! Nothing outside this module knows the client library or a key's name.

mod address;
mod calls;
mod clock;
mod codes;
mod connect;
mod connection;
mod consumers;
mod dead_letters;
mod engine;
mod error;
mod events;
mod gates;
mod keys;
mod lane;
mod limits;
mod loading;
mod log;
mod nodes;
mod replication;
mod reply;
mod restoring;
mod retention;
mod routing;
mod scan;
pub mod scripts;
mod tls;
mod waiting_room;

pub use address::{AddressFault, Credentials, Deployment, NodeAddress, RedisAddress};
pub use calls::{AbortMode, Attempt, Record, SettleCall, new_nonce};
pub use clock::RedisClock;
pub use codes::{CODES, Code};
pub use connect::{RedisSettings, ServerFacts};
pub use consumers::Consumer;
pub use dead_letters::DeadLetter;
pub use engine::{Engine, NotAfter, Observer};
pub use error::RedisError;
pub use events::{BlockAction, BlockCall, Detail, EventSnapshot, Load};
pub use keys::Keys;
pub use lane::LaneReader;
pub use limits::{LimitCheck, Standing};
pub use log::{LogState, Pending, Read, WORKER_GROUP};
pub use nodes::NodeAnswer;
pub use reply::{Answer, Body};
pub use restoring::EventState;
pub use retention::Ended;
pub use scan::{Cursor, KeptBooking, Page};
pub use scripts::hold::{HoldCall, HoldReply, ScanBounds, ScanPosition, SeatSelection};
pub use scripts::{EventReply, ScriptReply, Timed};
pub use tls::{TlsFault, TlsFiles};
pub use waiting_room::{Admitted, Claimed, Joined, ROOM_KEYS, RoomConfiguration, RoomPlace};
