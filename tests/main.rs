//! The integration tests, one binary, on real servers over sockets.

mod contract;
mod ctl;
mod engine;
mod faults;
mod support;
