//! The pace of a sale for operators, summed over all API processes.
//!
//! Each process counts in memory: refused requests with an increment where the request is decided
//! anyway, changes by the booking log that it reads anyway. Every [`STEP_MS`](crate::domain::activity::STEP_MS)
//! it writes what is new, one field per event, so an idle process writes nothing and requests cost Redis
//! nothing. A reader sums the refusals of all processes; changes every process counts alike, so of those
//! the greatest count is right.
//!
//! | what may happen | result |
//! |---|---|
//! | a process ends, or Redis does not answer | what it has not written is missing: at most the last step, or what was not written before it ended |
//! | a process began within a step | it counts fewer changes than others: the greatest count is shown |
//! | the only process is restarted within a step | each part of that step is partial, and the greater one is shown: too few |
//! | the clocks of processes differ | a refusal appears a step earlier or later; changes have Redis' time |
//! | a process of another build counts what this one does not know | it is left out |

mod recorder;
mod series;

pub use series::{Pace, RefusalTotals, Series, pace};

pub(super) use recorder::keep_written;
