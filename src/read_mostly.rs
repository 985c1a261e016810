//! A table that every request reads and few change: each thread keeps copies of what it looked up,
//! until the table changes. A look takes no lock and counts no owners, both of which threads would
//! have to pass from processor to processor.
//!
//! A look sees every change that its own thread made, or that was made known to it; another's it
//! may see a moment late, as with any table that is read without a lock.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use foldhash::fast::RandomState;
use thread_local::ThreadLocal;

/// Copies that one thread keeps. They also keep what they are of in memory until the thread looks
/// again.
const COPIES_MAX: usize = 16;

/// The table. Values are cheap to clone.
#[derive(Debug)]
pub struct ReadMostly<K: Send, V: Send> {
    table: RwLock<HashMap<K, V>>,
    /// Rises with every change.
    version: AtomicU64,
    copies: ThreadLocal<RefCell<Copies<K, V>>>,
}

/// What one thread looked up.
#[derive(Debug)]
struct Copies<K, V> {
    /// The table's, at the oldest.
    version: u64,
    found: HashMap<K, V, RandomState>,
}

impl<K: Send, V: Send> Default for ReadMostly<K, V> {
    fn default() -> Self {
        ReadMostly {
            table: RwLock::default(),
            version: AtomicU64::new(0),
            copies: ThreadLocal::new(),
        }
    }
}

impl<K: Copy + Eq + Hash + Send, V: Clone + Send> ReadMostly<K, V> {
    /// Looks at a value, which the look must not look for again.
    pub fn with<R>(&self, key: K, look: impl FnOnce(&V) -> R) -> Option<R> {
        let copies =
            self.copies.get_or(|| RefCell::new(Copies { version: 0, found: HashMap::default() }));
        let mut copies = copies.borrow_mut();
        let version = self.version.load(Ordering::Acquire);
        if copies.version != version {
            copies.found.clear();
            copies.version = version;
        }
        if !copies.found.contains_key(&key) {
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            let value = table.get(&key)?.clone();
            if copies.found.len() >= COPIES_MAX {
                copies.found.clear();
            }
            copies.found.insert(key, value);
        }
        copies.found.get(&key).map(look)
    }

    /// A copy of a value.
    pub fn get(&self, key: K) -> Option<V> {
        self.with(key, V::clone)
    }

    /// Changes the table.
    pub fn change<R>(&self, change: impl FnOnce(&mut HashMap<K, V>) -> R) -> R {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut table);
        self.version.fetch_add(1, Ordering::Release);
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn a_change_is_seen_by_who_made_it_and_by_others_soon() {
        let table = ReadMostly::<u32, u32>::default();
        assert_eq!(table.get(1), None);
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // What is seen never goes back, and the last change is.
                let mut seen = 0;
                while seen < 10_000 {
                    let now = table.get(1).unwrap_or_default();
                    assert!(now >= seen);
                    seen = now;
                }
                is_done.store(true, Ordering::Relaxed);
            });
            for number in 1..=10_000 {
                table.change(|table| table.insert(1, number));
                assert_eq!(table.get(1), Some(number));
            }
        });
        assert!(is_done.into_inner());
        table.change(HashMap::clear);
        assert_eq!(table.get(1), None);
    }

    #[test]
    fn a_thread_keeps_few_copies() {
        let table = ReadMostly::<u32, u32>::default();
        table.change(|table| table.extend((0..100).map(|n| (n, n))));
        assert!((0..100).all(|n| table.get(n) == Some(n)));
        assert!(table.copies.get().unwrap().borrow().found.len() <= COPIES_MAX);
    }
}
