//! The HTTP API: gates, one module per resource, errors as problem+json, its own description.
//!
//! [`run`] serves the binary and the tests alike. A handler reads what it needs in the order it
//! says, asks the sale, and renders; what is the same for all of them is in `endpoint`.
//!
//! | what a request meets | where |
//! |---|---|
//! | its path, if it has no parameters | `front` |
//! | how many connections its client has | `connections` |
//! | whether a page of another site asks | `other_sites` |
//! | deadlines of heads, bodies and responses | `transport` |
//! | the memory of responses that are not read | `response_memory`, `outgoing` |
//! | bounds of its head, trace, panics, counting | `endpoint`, `head` |
//! | who asks and whether it may | `gates` |
//! | what admins do is recorded | `acts` |
//! | path and query | `params` |
//! | body: bounds, JSON, fields | `body`, `fields`, `idempotency` |
//! | the use case | `events`, `seats`, `bookings`, `webhooks` |
//! | what is in memory | `cache_stats` |
//! | pushed updates | `updates`, over connections that `upgrade` hands on to `push` |
//! | a refusal | `problem` |
//! | what browsers are told | `headers`, `cors` |

mod admin_audit;
mod blocks;
mod bookings;
mod cache_stats;
mod docs;
pub(crate) mod endpoint;
mod events;
mod fast_routes;
mod fault_log;
#[cfg(test)]
mod fixtures;
mod gates_setup;
mod health;
mod idempotency;
pub(crate) mod openapi;
mod pages;
mod refusals;
pub(crate) mod router;
mod sales;
pub(crate) mod seats;
mod server;
pub(crate) mod state;
mod unknown_outcomes;
mod updates;
pub(crate) mod waiting_room;
mod webhooks;

pub use gates_setup::start_gates;
pub use server::{bind, run};

/// What this program calls itself in logs, metrics and `/health`.
pub const SERVICE: &str = crate::telemetry::metrics::API;
