//! The Lua scripts and their typed calls: one request struct and one reply enum per script.
//!
//! What each script guarantees is stated in its header under `lua/`.

pub(super) mod call;
pub(super) mod hold;
pub(super) mod reply;
mod source;

pub use call::EVENT_KEYS;
pub use reply::{EventReply, Fields, ScriptReply, Timed};
pub use source::{Assembled, ClockSource, Header, SCRIPTS, Script, Scripts, header};

use call::ScriptCall;

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
    vec![Contract::of::<hold::HoldCall<'_>>()]
}
