//! The HTTP toolkit: everything about requests and responses that knows no route.

pub mod body;
pub mod connections;
pub mod cors;
pub mod fields;
pub mod head;
pub mod headers;
pub mod origin;
pub mod outgoing;
pub mod params;
pub mod per_client;
pub mod problem;
pub mod reply;
pub mod request_head;
pub mod response_memory;
pub mod transport;
pub mod upgrade;
