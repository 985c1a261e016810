//! The HTTP API: one module per resource, the table of routes, and the server.
//!
//! A handler reads top to bottom: gates, path, query and body in this order, the use case of `sale`, the
//! response. Everything that is the same for all handlers is in `endpoint`.
//!
//! | step of a request | where |
//! |---|---|
//! | connection limits and deadlines | `http::connections`, `http::transport` |
//! | CORS preflights and headers | `http::cors` |
//! | the route: declared in `router`; busy ones are found by `fast_routes` | `router`, `fast_routes` |
//! | checks, trace, panics, problems, headers, metrics around each handler | `endpoint` |
//! | origin, caller, rates and limits | `gates` |
//! | path and query parameters | `http::params` |
//! | body: bytes, JSON, fields | `http::body`, `http::fields`, `idempotency` |
//! | the use case | one module per resource |
//! | pushed updates: `updates` checks the request, `push` runs the connection | `updates`, `push` |
//! | the console's routes | `admin` |
//! | admin requests are recorded | `admin_audit` |
//! | refusals | `refusals`, `http::problem` |
//! | pages for people | `web` (files of `web/dist`), `docs` |
//! | memory of responses | `http::outgoing`, `http::response_memory` |

mod admin;
mod admin_audit;
mod blocks;
mod bookings;
mod cache_stats;
#[cfg(test)]
mod cors_tests;
mod docs;
pub(crate) mod endpoint;
mod event_gauges;
mod events;
mod fast_routes;
#[cfg(test)]
mod fixtures;
mod gates_setup;
mod health;
mod idempotency;
mod monitoring;
pub(crate) mod openapi;
mod pages;
mod refusals;
mod route_metrics;
pub(crate) mod router;
mod sales;
mod seat_ids;
pub(crate) mod seats;
mod server;
mod server_error_log;
pub(crate) mod state;
mod unknown_outcomes;
mod updates;
pub(crate) mod waiting_room;
mod web;
mod webhooks;

pub use gates_setup::start_gates;
pub use server::{Listeners, run};

/// Name of this program in logs, metrics and `/health`.
pub const SERVICE: &str = crate::telemetry::metrics::API;
