//! Holdfast: an admission engine for flash sales.
#![forbid(unsafe_code)]

pub mod archive;
pub mod config;
pub mod ctl;
pub mod domain;
pub mod live;
pub mod payments;
pub mod redis;
pub mod sale;
pub mod setup;
pub mod shutdown;
pub mod telemetry;
