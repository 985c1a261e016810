//! The Lua scripts and their typed calls: one request struct and one reply enum per script.
//!
//! What each script guarantees is stated in its header under `lua/`.

pub(super) mod booking;
pub(super) mod call;
pub(super) mod confirm;
pub(super) mod event;
pub(super) mod hold;
pub(super) mod log;
pub(super) mod reply;
mod reply_fields;
pub(super) mod restore;
pub(super) mod room;
pub(super) mod room_upkeep;
pub(super) mod settle;
pub(super) mod snapshot;
mod source;

pub use call::EVENT_KEYS;
pub use reply::{EventReply, Fields, ScriptReply, Timed};
pub use source::{Assembled, ClockSource, Header, SCRIPTS, Script, Scripts, header};

use call::ScriptCall;
pub(super) use call::new_nonce;

use super::limits::LimitCall;

/// The keys, arguments and replies of a script as this side knows them.
#[derive(Clone, Debug)]
pub struct Contract {
    /// The script.
    pub script: Script,
    /// Names of the keys.
    pub keys: Vec<&'static str>,
    /// Names of the arguments.
    pub arguments: Vec<&'static str>,
    /// Reply codes with the names of their fields.
    pub replies: Vec<(&'static str, Vec<&'static str>)>,
}

impl Contract {
    fn of<C: ScriptCall>() -> Self {
        Contract {
            script: C::SCRIPT,
            keys: C::key_names(),
            arguments: C::argument_names(),
            replies: C::Reply::variants(),
        }
    }
}

/// The contracts of all scripts.
pub fn contracts() -> Vec<Contract> {
    vec![
        Contract::of::<booking::AbortCall<'_>>(),
        Contract::of::<log::BeatCall<'_>>(),
        Contract::of::<event::BlockScriptCall<'_>>(),
        Contract::of::<booking::CancelCall<'_>>(),
        Contract::of::<log::ClockCall>(),
        Contract::of::<confirm::ConfirmAbortCall<'_>>(),
        Contract::of::<confirm::ConfirmBeginCall<'_>>(),
        Contract::of::<confirm::ConfirmCommitCall<'_>>(),
        Contract::of::<confirm::ConfirmLateCall<'_>>(),
        Contract::of::<confirm::ConfirmTakeoverCall<'_>>(),
        Contract::of::<booking::ExpireCall<'_>>(),
        Contract::of::<booking::ExtendCall<'_>>(),
        Contract::of::<booking::ForgetCall<'_>>(),
        Contract::of::<snapshot::FreeSeatsCall<'_>>(),
        Contract::of::<booking::GetBookingCall<'_>>(),
        Contract::of::<hold::HoldCall<'_>>(),
        Contract::of::<LimitCall<'_>>(),
        Contract::of::<restore::LoadBookingsCall<'_>>(),
        Contract::of::<event::OpenEventCall<'_>>(),
        Contract::of::<restore::RaiseGenerationCall<'_>>(),
        Contract::of::<restore::RestoreBookingsCall<'_>>(),
        Contract::of::<room_upkeep::RoomAdmitCall>(),
        Contract::of::<room::RoomClaimCall<'_>>(),
        Contract::of::<room_upkeep::RoomConfigureCall<'_>>(),
        Contract::of::<room_upkeep::RoomDrawCall>(),
        Contract::of::<room::RoomJoinCall<'_>>(),
        Contract::of::<room::RoomLeaveCall<'_>>(),
        Contract::of::<room_upkeep::RoomLookCall>(),
        Contract::of::<restore::SealLoadCall<'_>>(),
        Contract::of::<settle::SettleCall<'_>>(),
        Contract::of::<snapshot::SnapshotCall>(),
        Contract::of::<event::UnloadEventCall<'_>>(),
        Contract::of::<event::UpdateEventCall<'_>>(),
    ]
}
