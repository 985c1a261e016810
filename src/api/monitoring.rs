//! What monitoring reads of the API (`http/monitoring.rs`): metrics, and whether it is ready.

use actix_web::http::StatusCode;

use super::health::{self, HealthBody};
use super::state::State;
use crate::http::monitoring::Monitored;
use crate::start::show_breakers;

impl Monitored for State {
    type Health = HealthBody;

    fn metrics(&self) -> String {
        self.metrics.redis_in_flight.set(self.sale.redis_in_flight() as i64);
        self.metrics.redis_thread_connections.set(self.sale.redis_thread_connections() as i64);
        self.metrics.redis_concurrency_limit.set(self.sale.redis_concurrency_limit() as i64);
        let refused = &self.metrics.overload_rejected;
        refused.inc_by(self.sale.overload_refusals().saturating_sub(refused.get()));
        show_breakers(&self.metrics, &self.sale.breakers());
        self.metrics.render()
    }

    fn health(&self) -> (StatusCode, HealthBody) {
        health::assess(self)
    }
}
