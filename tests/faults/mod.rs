//! Faults: servers and processes frozen, killed and restarted during a running sale.

mod breakers;
mod cluster;
mod http;
mod late_writes;
mod mongodb_away;
mod overload;
mod primaries;
mod readiness;
mod redis_away;
mod replicas;
mod starting;
mod tasks;
mod worker;
