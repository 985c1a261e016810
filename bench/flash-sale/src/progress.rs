//! How the sale goes, while it goes: a bar on a terminal, nothing elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;

use crate::shop::Shop;

/// How often the bar is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(250);

/// A bar on standard error.
pub struct Progress {
    bar: ProgressBar,
    drawing: Option<JoinHandle<()>>,
}

impl Progress {
    /// Follows a sale.
    pub fn of_sale(shop: Arc<Shop>, buyers: u64) -> Self {
        let bar = bar(buyers, "{elapsed_precise} [{bar:30}] {pos}/{len} buyers done · {msg}");
        if bar.is_hidden() {
            return Progress { bar, drawing: None };
        }
        let drawn = bar.clone();
        let drawing = tokio::spawn(async move {
            loop {
                let (done, message) = now(&shop);
                drawn.set_position(done);
                drawn.set_message(message);
                tokio::time::sleep(DRAWN_EVERY).await;
            }
        });
        Progress { bar, drawing: Some(drawing) }
    }

    /// Says what is being waited for.
    pub fn waiting(what: &'static str) -> Self {
        let bar = bar(0, "{elapsed_precise} {spinner} {msg}");
        bar.set_message(what);
        bar.enable_steady_tick(DRAWN_EVERY);
        Progress { bar, drawing: None }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(drawing) = &self.drawing {
            drawing.abort();
        }
        self.bar.finish_and_clear();
    }
}

fn bar(length: u64, template: &str) -> ProgressBar {
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(Some(length), target);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        // A template of ours that is wrong costs its looks, not the run.
        Err(_) => bar,
    }
}

fn now(shop: &Shop) -> (u64, String) {
    let counts = shop.tally.lock();
    let message = format!(
        "{} calls, {} in flight · seats held {}, sold {}",
        counts.calls,
        shop.client.in_flight(),
        counts.seats_held,
        counts.seats_sold,
    );
    (counts.done(), message)
}
