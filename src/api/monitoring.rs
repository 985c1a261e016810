//! What monitoring reads of the API (`http/monitoring.rs`): metrics, and whether it is ready.

use actix_web::http::StatusCode;

use super::health::{self, HealthBody};
use super::state::State;
use crate::http::monitoring::Monitored;
use crate::start::show_breakers;
use crate::telemetry::Metrics;

impl Monitored for State {
    type Health = HealthBody;

    fn metrics(&self) -> String {
        self.metrics.redis_in_flight.set(self.sale.redis_in_flight() as i64);
        self.metrics.redis_thread_connections.set(self.sale.redis_thread_connections() as i64);
        self.metrics.redis_concurrency_limit.set(self.sale.redis_concurrency_limit() as i64);
        Metrics::raise(&self.metrics.overload_rejected, self.sale.overload_refusals());
        show_breakers(&self.metrics, &self.sale.breakers());
        let cache = self.seat_maps.stats();
        let requests = cache.hits + cache.misses;
        Metrics::raise(&self.metrics.cache_hits, cache.hits);
        Metrics::raise(&self.metrics.cache_requests, requests);
        self.metrics.cache_hit_rate.set(cache.hits as f64 / requests.max(1) as f64);
        let sockets = self.metrics.sockets_open.with_label_values(&["websocket"]).get();
        self.metrics.websocket_connections.set(sockets);
        self.sale.archive_pool().show(&self.metrics);
        self.metrics.render()
    }

    fn health(&self) -> (StatusCode, HealthBody) {
        health::assess(self)
    }
}
