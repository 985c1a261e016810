//! The integration tests, one binary, on real servers over sockets.

mod acl;
mod api;
mod architecture;
mod archive;
mod bad_input;
mod contract;
mod ctl;
mod deploy;
mod engine;
mod faults;
mod gates;
mod hostile;
mod live;
mod metrics;
mod model;
mod paying;
mod payments;
mod push;
mod races;
mod restore;
mod secrets;
mod support;
mod tls;
mod traces;
mod waiting_room;
mod worker;
