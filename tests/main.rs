//! The integration tests, one binary, on real servers over sockets.

mod archive;
mod contract;
mod engine;
mod faults;
mod support;
mod worker;
