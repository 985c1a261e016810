//! The integration tests, one binary, on real servers over sockets.

mod contract;
mod engine;
mod faults;
mod support;
