//! Holdfast: an admission engine for flash sales.
#![forbid(unsafe_code)]

pub mod api;
pub mod archive;
pub mod config;
pub mod domain;
pub mod live;
pub mod payments;
pub mod redis;
pub mod sale;
pub mod shutdown;
pub mod start;
pub mod telemetry;
pub mod worker;
