//! The settings in effect, which a reload replaces while requests read them.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::Config;

/// The settings in effect. Cheap to clone; all clones see a change. Reading takes no lock.
///
/// INVARIANT: only settings that are marked as reloadable ever change, so a value that was copied at
/// start stays right.
#[derive(Clone, Debug)]
pub struct LiveConfig(Arc<ArcSwap<Config>>);

impl LiveConfig {
    /// The settings, for a moment.
    pub fn load(&self) -> Guard<Arc<Config>> {
        self.0.load()
    }

    /// The settings as they are now, to keep.
    pub fn load_full(&self) -> Arc<Config> {
        self.0.load_full()
    }

    /// Replaces the settings whole.
    pub fn store(&self, config: Config) {
        self.0.store(Arc::new(config));
    }
}

impl From<Arc<Config>> for LiveConfig {
    fn from(config: Arc<Config>) -> Self {
        LiveConfig(Arc::new(ArcSwap::new(config)))
    }
}

impl From<&Config> for LiveConfig {
    fn from(config: &Config) -> Self {
        Arc::new(config.clone()).into()
    }
}
