//! What breaks: servers frozen, killed and restarted under a running sale.

mod http;
mod redis_away;
