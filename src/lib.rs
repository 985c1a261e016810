//! Holdfast: an admission engine for flash sales.
#![forbid(unsafe_code)]

pub mod api;
pub mod config;
pub mod domain;
pub mod redis;
pub mod sale;
pub mod shutdown;
pub mod telemetry;
