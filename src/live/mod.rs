//! What a process learns by following the booking log.

mod settlements;
mod tail;

pub use settlements::{Settlements, Waiter};
pub use tail::follow;
