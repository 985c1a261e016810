//! A map that every request reads and few change: readers take no lock and touch no shared counter.
//!
//! A change copies the map and replaces it whole, so it costs time in proportion to the number of
//! entries. Readers see the map of before or after a change, never one in between.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use foldhash::fast::RandomState;

type Map<K, V> = HashMap<K, V, RandomState>;

/// The map. Values should be cheap to clone.
#[derive(Debug)]
pub struct CopyOnWriteMap<K, V> {
    map: ArcSwap<Map<K, V>>,
    /// Held by a change.
    writer: Mutex<()>,
}

impl<K, V> Default for CopyOnWriteMap<K, V> {
    fn default() -> Self {
        CopyOnWriteMap { map: ArcSwap::default(), writer: Mutex::default() }
    }
}

impl<K: Copy + Eq + Hash, V: Clone> CopyOnWriteMap<K, V> {
    /// The current map.
    pub fn load(&self) -> Guard<Arc<Map<K, V>>> {
        self.map.load()
    }

    /// Calls `read` with a value, without cloning it.
    pub fn with<R>(&self, key: K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.map.load().get(&key).map(read)
    }

    /// A clone of a value.
    pub fn get(&self, key: K) -> Option<V> {
        self.with(key, V::clone)
    }

    /// Changes the map. Changes run one after another; `change` must not change the same map again.
    pub fn change<R>(&self, change: impl FnOnce(&mut Map<K, V>) -> R) -> R {
        // A change that panics leaves the map as it was.
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut map = Map::clone(&self.map.load());
        let result = change(&mut map);
        self.map.store(Arc::new(map));
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn change_is_visible_to_its_thread_at_once_and_to_others_in_order() {
        let map = CopyOnWriteMap::<u32, u32>::default();
        assert_eq!(map.get(1), None);
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut last = 0;
                while last < 10_000 {
                    let value = map.get(1).unwrap_or_default();
                    assert!(value >= last);
                    last = value;
                }
                is_done.store(true, Ordering::Relaxed);
            });
            for number in 1..=10_000 {
                map.change(|map| map.insert(1, number));
                assert_eq!(map.get(1), Some(number));
            }
        });
        assert!(is_done.into_inner());
        map.change(HashMap::clear);
        assert_eq!(map.get(1), None);
    }
}
