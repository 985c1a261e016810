//! What monitoring reads of the API (`http/monitoring.rs`): metrics, and whether it is ready.

use actix_web::http::StatusCode;

use super::health::{self, HealthBody};
use super::state::State;
use crate::http::monitoring::Monitored;

impl Monitored for State {
    type Health = HealthBody;

    fn metrics(&self) -> String {
        self.metrics.redis_in_flight.set(self.sale.redis_in_flight() as i64);
        self.metrics.redis_thread_connections.set(self.sale.redis_thread_connections() as i64);
        self.metrics.render()
    }

    fn health(&self) -> (StatusCode, HealthBody) {
        health::assess(self)
    }
}
