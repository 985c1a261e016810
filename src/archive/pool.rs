//! The driver's pool of connections, counted by its events, for metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mongodb::event::EventHandler;
use mongodb::event::cmap::CmapEvent;

use crate::telemetry::Metrics;

/// What the pool has done.
#[derive(Debug, Default)]
pub(super) struct PoolCounts {
    opened: AtomicU64,
    closed: AtomicU64,
    requested: AtomicU64,
    given: AtomicU64,
    failed: AtomicU64,
}

/// The pool at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    /// Open connections.
    pub connections: u64,
    /// Operations that wait for one.
    pub waiting: u64,
    /// Operations that got none.
    pub failed: u64,
}

impl PoolCounts {
    /// The driver's handler, which counts here.
    pub fn handler(self: &Arc<Self>) -> EventHandler<CmapEvent> {
        let counts = self.clone();
        EventHandler::callback(move |event| counts.note(&event))
    }

    fn note(&self, event: &CmapEvent) {
        let count = match event {
            CmapEvent::ConnectionCreated(_) => &self.opened,
            CmapEvent::ConnectionClosed(_) => &self.closed,
            CmapEvent::ConnectionCheckoutStarted(_) => &self.requested,
            CmapEvent::ConnectionCheckedOut(_) => &self.given,
            CmapEvent::ConnectionCheckoutFailed(_) => &self.failed,
            _ => return,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub fn state(&self) -> PoolState {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        // Ends first: a difference is then never below zero for what began in between.
        let (closed, given, failed) = (read(&self.closed), read(&self.given), read(&self.failed));
        PoolState {
            connections: read(&self.opened).saturating_sub(closed),
            waiting: read(&self.requested).saturating_sub(given + failed),
            failed,
        }
    }
}

impl PoolState {
    /// Shows it in metrics.
    pub fn show(&self, metrics: &Metrics) {
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.db_pool_size.set(gauge(self.connections));
        metrics.db_pool_overflow.set(gauge(self.waiting));
        Metrics::raise(&metrics.db_check_outs_failed, self.failed);
    }
}
