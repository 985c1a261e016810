//! The gates at work: limits over several processes, with Redis there and away.

mod crowd;
mod limits;
mod limits_alone;
