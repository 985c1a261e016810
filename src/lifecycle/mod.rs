//! Starting and ending background tasks: a shutdown signal that every loop sees, and a supervisor
//! that restarts tasks which end unexpectedly.

mod shutdown;
mod supervisor;

pub use shutdown::{Shutdown, Trigger, shutdown_channel};
pub use supervisor::{STEADY_AFTER, Supervisor};
