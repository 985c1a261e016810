//! What breaks: servers frozen, killed and restarted under a running sale.

mod cluster;
mod http;
mod mongodb_away;
mod readiness;
mod redis_away;
mod replicas;
mod tasks;
mod worker;
