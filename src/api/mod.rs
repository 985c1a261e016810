//! The HTTP API: gates, one module per resource, errors as problem+json, its own description.
//!
//! [`run`] serves the binary and the tests alike. A handler reads what it needs in the order it
//! says, asks the sale, and renders; what is the same for all of them is in `endpoint`.
//!
//! | what a request meets | where |
//! |---|---|
//! | bounds of its head, trace, panics, counting | `endpoint`, `head` |
//! | who asks and whether it may | `gates` |
//! | path and query | `params` |
//! | body: bounds, JSON, fields | `body`, `fields`, `idempotency` |
//! | the use case | `events`, `seats`, `bookings`, `webhooks` |
//! | a refusal | `problem` |

mod blocks;
mod body;
mod bookings;
mod endpoint;
mod events;
mod fault_log;
mod fields;
#[cfg(test)]
mod fixtures;
mod gates;
mod head;
mod health;
mod idempotency;
mod openapi;
mod pages;
mod params;
mod problem;
mod reply;
mod router;
mod sales;
mod seats;
mod server;
mod state;
mod webhooks;

pub use gates::{Gates, GatesError, KeyError, Quotas};
pub use server::{bind, run};

/// What this program calls itself in logs, metrics and `/health`.
pub const SERVICE: &str = "holdfast-api";
