//! The filter of log lines, which can be replaced while the process runs.
//!
//! A disabled line costs what it costs without a replaceable filter: whether a call site is enabled is
//! cached at the call site, and computed again when the filter is replaced.

use std::sync::OnceLock;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::reload;

/// Targets that are off unless enabled by name: the server's own start messages.
const QUIET: &str = "actix_server=warn";

/// Replaces the filter of this process.
type Replace = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

/// A process has one filter, as it has one subscriber.
static REPLACE: OnceLock<Replace> = OnceLock::new();

/// Why the filter was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum LogFilterError {
    /// The directives are invalid.
    #[error(transparent)]
    Invalid(#[from] ParseError),
    /// The filter does not exist any more.
    #[error(transparent)]
    Gone(#[from] reload::Error),
}

/// The layer with this filter, which [`set`] replaces.
///
/// # Errors
/// If the directives are invalid.
pub fn layer<S: Subscriber + 'static>(
    directives: &str,
) -> Result<reload::Layer<EnvFilter, S>, LogFilterError> {
    let (layer, handle) = reload::Layer::new(parse(directives)?);
    // A second subscriber in one process cannot be installed, either.
    let _ = REPLACE.set(Box::new(move |filter| handle.reload(filter)));
    Ok(layer)
}

/// Replaces the filter. Returns false in a process that writes no log (a test, a tool).
///
/// # Errors
/// If the directives are invalid: nothing changes.
pub fn set(directives: &str) -> Result<bool, LogFilterError> {
    let filter = parse(directives)?;
    let Some(replace) = REPLACE.get() else { return Ok(false) };
    replace(filter)?;
    Ok(true)
}

fn parse(directives: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(format!("{QUIET},{directives}"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing_subscriber::layer::{Context, SubscriberExt};

    use super::*;

    struct Count(&'static AtomicUsize);

    impl<S: Subscriber> tracing_subscriber::Layer<S> for Count {
        fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn replaced_filter_applies_to_call_sites_that_were_seen_before() {
        static LINES: AtomicUsize = AtomicUsize::new(0);
        let (layer, handle) = reload::Layer::new(parse("info").unwrap());
        let subscriber = tracing_subscriber::registry().with(layer).with(Count(&LINES));
        tracing::subscriber::with_default(subscriber, || {
            let log = || {
                tracing::debug!(target: "holdfast::log_filter_test", "line");
                LINES.load(Ordering::Relaxed)
            };
            assert_eq!(log(), 0);
            handle.reload(parse("warn,holdfast::log_filter_test=debug").unwrap()).unwrap();
            assert_eq!(log(), 1);
            handle.reload(parse("info").unwrap()).unwrap();
            assert_eq!(log(), 1);
        });
        assert!(set("holdfast=loud").is_err());
    }
}
