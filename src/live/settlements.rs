//! Confirmations that wait for their booking to be settled. The booking log wakes them, so it does not
//! matter in which process the worker runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::domain::{BookingId, Entry, Kind};

/// The waiting confirmations of this process, each for at most `confirm_wait`. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Settlements {
    waiting: Arc<Mutex<HashMap<BookingId, watch::Sender<bool>>>>,
}

/// One waiting confirmation. Created before the sale is committed, so that no settlement is missed.
#[derive(Debug)]
pub struct Waiter {
    settlements: Settlements,
    booking: BookingId,
    settled: watch::Receiver<bool>,
}

impl Settlements {
    /// Starts to wait for a booking's settlement.
    pub fn expect(&self, booking: BookingId) -> Waiter {
        let mut waiting = self.lock();
        let sender = waiting.entry(booking).or_insert_with(|| watch::channel(false).0);
        let settled = sender.subscribe();
        Waiter { settlements: self.clone(), booking, settled }
    }

    /// Wakes the waiters of the entry's booking if the entry settles it.
    pub fn on_entry(&self, entry: &Entry) {
        let is_settled = matches!(entry.kind, Kind::Confirmed | Kind::Voided | Kind::Cancelled);
        if let (true, Some(transition)) = (is_settled, &entry.transition)
            && let Some(sender) = self.lock().get(&transition.booking)
        {
            sender.send_replace(true);
        }
    }

    /// The number of bookings with waiters.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there are no waiters.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BookingId, watch::Sender<bool>>> {
        // Nothing under this lock panics half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Waits at most `bound`; returns whether the booking was settled.
    pub async fn settled(&mut self, bound: Duration) -> bool {
        let settled = self.settled.wait_for(|settled| *settled);
        matches!(tokio::time::timeout(bound, settled).await, Ok(Ok(_)))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.settlements.lock();
        // The count includes this waiter's own receiver.
        if waiting.get(&self.booking).is_some_and(|sender| sender.receiver_count() <= 1) {
            waiting.remove(&self.booking);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::EventId;

    #[tokio::test]
    async fn booking_is_removed_with_its_last_waiter() {
        let settlements = Settlements::default();
        let booking = BookingId::new(EventId(1), 1, 1);
        let mut one = settlements.expect(booking);
        let two = settlements.expect(booking);
        assert!(!one.settled(Duration::ZERO).await);
        drop(one);
        assert_eq!(settlements.len(), 1);
        drop(two);
        assert!(settlements.is_empty());
    }
}
