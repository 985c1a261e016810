//! The gates at work: limits over several processes, with Redis there and away, and changed while
//! they run.

mod backends;
mod crowd;
mod gateways;
mod limits;
mod limits_alone;
mod live;
mod memory;
mod offices;
mod rush;
