//! Panics of this process: each is a defect, logged where it happens and counted wherever it is
//! caught.

use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::line_budget::LineBudget;

/// Panics so far. One number a process, as the hook is.
static PANICS: AtomicU64 = AtomicU64::new(0);
/// A client that has found one could cause it as often as it likes.
static BUDGET: LineBudget = LineBudget::new(10);

/// Logs and counts panics from now on, instead of printing them.
pub(super) fn watch() {
    std::panic::set_hook(Box::new(record));
}

/// How many panics there were since [`watch`].
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
