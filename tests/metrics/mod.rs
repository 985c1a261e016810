//! The metrics that processes export: where, which, and with what values.

mod port;

use std::time::Duration;

use crate::support::api::{Api, Place};
use crate::support::eventually;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
