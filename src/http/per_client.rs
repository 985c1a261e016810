//! How many of something each client has open. Bounded by what is open in all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::IntGauge;

use crate::domain::ClientNetwork;

/// Counts by client; those who have nothing open are forgotten.
pub struct PerClient {
    open: Mutex<HashMap<ClientNetwork, usize>>,
    clients: IntGauge,
}

impl PerClient {
    /// Nothing is open yet; how many clients there are is shown by `clients`.
    pub fn new(clients: IntGauge) -> Self {
        PerClient { open: Mutex::default(), clients }
    }

    /// One more; gives how many there are now.
    pub fn enter(&self, client: ClientNetwork) -> usize {
        let mut open = self.lock();
        let count = open.entry(client).or_default();
        *count += 1;
        let now = *count;
        self.clients.set(open.len() as i64);
        now
    }

    /// One less.
    pub fn leave(&self, client: ClientNetwork) {
        let mut open = self.lock();
        if let Entry::Occupied(mut count) = open.entry(client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        // A rush that is over leaves no room behind.
        if open.is_empty() {
            open.shrink_to_fit();
        }
        self.clients.set(open.len() as i64);
    }

    /// How many the client has.
    pub fn open_of(&self, client: ClientNetwork) -> usize {
        self.lock().get(&client).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientNetwork, usize>> {
        // Nothing panics while it is held; were it so, the counts are whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many clients there are, as metrics show it, and whether memory is kept for them.
    #[cfg(test)]
    pub fn shown(&self) -> (i64, bool) {
        (self.clients.get(), self.lock().capacity() > 0)
    }
}
