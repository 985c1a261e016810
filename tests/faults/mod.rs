//! What breaks: servers frozen, killed and restarted under a running sale.

mod redis_away;
