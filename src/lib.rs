//! Holdfast: an admission engine for flash sales.
#![forbid(unsafe_code)]

pub mod archive;
pub mod domain;
pub mod redis;
pub mod sale;
