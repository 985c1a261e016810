//! Panics of this process: each is a defect, logged where it happens and counted even if caught.

use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::line_budget::LineBudget;

/// Panics so far, per process, since the hook is per process.
static PANICS: AtomicU64 = AtomicU64::new(0);
/// Rate-limits the lines: a client could cause a panic repeatedly.
static BUDGET: LineBudget = LineBudget::new(10);

/// Installs a hook that logs and counts panics instead of printing them.
pub(super) fn watch() {
    std::panic::set_hook(Box::new(record));
}

/// The number of panics since [`watch`].
pub(super) fn total() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

fn record(info: &PanicHookInfo<'_>) {
    PANICS.fetch_add(1, Ordering::Relaxed);
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let reason = text.unwrap_or("not a text");
    if let Some(unlogged_before) = BUDGET.take(Instant::now()) {
        tracing::error!(%location, reason, unlogged_before, "a panic: this is a defect");
    }
}
