//! What a waiting room promises, looked at from outside.

use std::collections::BTreeSet;

use holdfast::domain::Floors;

/// Why a sequence was ended: Redis differs from the model, or broke a promise.
pub type Ran = Result<(), String>;

/// Redis has to answer as the model.
pub fn agree<T: PartialEq + std::fmt::Debug>(what: &str, redis: &T, model: &T) -> Ran {
    if redis == model {
        return Ok(());
    }
    Err(format!("{what}: Redis {redis:?}, the model {model:?}"))
}

/// What holds whatever the model says.
pub fn promise(holds: bool, what: impl Fn() -> String) -> Ran {
    if holds { Ok(()) } else { Err(what()) }
}

/// What must hold whatever the model says, gathered from the answers alone.
#[derive(Default)]
pub struct Promises {
    /// Since the last loss: given numbers, and those that became sessions.
    pub given: BTreeSet<u64>,
    pub begun: BTreeSet<(String, u64)>,
    /// When so many places were opened, while the cap on them stood.
    pub openings: Vec<(i64, u64)>,
    /// Live sessions and unclaimed places.
    pub taken: u64,
    pub floors: Floors,
}
