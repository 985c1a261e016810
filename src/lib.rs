//! Holdfast: an admission engine for flash sales. Who holds which seat, exactly once.
//!
//! ```text
//!  api ──► sale ──► redis ──► one Lua script: seats, booking, deadline, log entry
//!                                  │
//!  live ◄── booking log ◄──────────┤        worker ──► archive: claims, outcome
//!  (views, confirmations)          └──────► worker ──► redis:   settle
//! ```
//!
//! Modules import downwards only, in this order: [`api`], `worker`, `ctl` · [`start`] · [`sale`] ·
//! [`live`] · [`archive`], [`payments`] · [`redis`] · [`domain`]; [`config`], [`telemetry`],
//! [`backoff`], [`circuit_breaker`], [`faults`], [`secrets`], [`lifecycle`], [`otlp`] and `https` serve them all. `docs/ARCHITECTURE.md` walks one booking through all of it.

// Handlers await what awaits scripts that await the client library: deeper than the default.
#![recursion_limit = "256"]
#![forbid(unsafe_code)]

pub mod api;
pub mod archive;
pub mod backoff;
pub mod circuit_breaker;
pub mod config;
mod copy_on_write;
pub mod ctl;
pub mod domain;
pub mod faults;
pub mod gates;
mod http;
mod https;
pub mod lifecycle;
pub mod live;
pub mod otlp;
pub mod payments;
mod push;
pub mod redis;
pub mod sale;
pub mod secrets;
mod spelling;
pub mod start;
pub mod telemetry;
pub mod worker;
