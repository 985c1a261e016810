//! Counts what each client has open, such as connections. Memory is bounded by the total count.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::IntGauge;

use crate::domain::ClientNetwork;

/// Counts by client; a client with nothing open has no entry.
pub struct PerClient {
    open: Mutex<HashMap<ClientNetwork, usize>>,
    clients: IntGauge,
}

impl PerClient {
    /// Empty counts; the gauge shows the number of clients.
    pub fn new(clients: IntGauge) -> Self {
        PerClient { open: Mutex::default(), clients }
    }

    /// Adds one for a client; returns its count.
    pub fn enter(&self, client: ClientNetwork) -> usize {
        let mut open = self.lock();
        let count = open.entry(client).or_default();
        *count += 1;
        let now = *count;
        self.clients.set(open.len() as i64);
        now
    }

    /// Removes one of a client.
    pub fn leave(&self, client: ClientNetwork) {
        let mut open = self.lock();
        if let Entry::Occupied(mut count) = open.entry(client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        // The memory of a rush is freed when it is over.
        if open.is_empty() {
            open.shrink_to_fit();
        }
        self.clients.set(open.len() as i64);
    }

    /// The count of a client.
    pub fn count(&self, client: ClientNetwork) -> usize {
        self.lock().get(&client).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientNetwork, usize>> {
        // No code panics while it is held.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gauge, and whether memory is allocated.
    #[cfg(test)]
    pub fn state(&self) -> (i64, bool) {
        (self.clients.get(), self.lock().capacity() > 0)
    }
}
