//! Confirmations that wait for their booking to be settled. The booking log wakes them, so it does not
//! matter in which process the worker runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::domain::{Booking, BookingId, Entry, Kind};

/// How a booking was settled.
#[derive(Clone, Debug)]
pub enum Settled {
    /// The archive confirmed its sale, by the log entry of this time, Unix ms.
    Confirmed(Arc<Booking>, i64),
    /// It was voided or cancelled.
    Otherwise,
}

/// The waiting confirmations of this process, each for at most `confirm_wait`. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Settlements {
    waiting: Arc<Mutex<HashMap<BookingId, watch::Sender<Option<Settled>>>>>,
}

/// One waiting confirmation. Created before the sale is committed, so that no settlement is missed.
#[derive(Debug)]
pub struct Waiter {
    settlements: Settlements,
    booking: BookingId,
    settled: watch::Receiver<Option<Settled>>,
}

impl Settlements {
    /// Starts to wait for a booking's settlement.
    pub fn expect(&self, booking: BookingId) -> Waiter {
        let mut waiting = self.lock();
        let sender = waiting.entry(booking).or_insert_with(|| watch::channel(None).0);
        let settled = sender.subscribe();
        Waiter { settlements: self.clone(), booking, settled }
    }

    /// Wakes the waiters of the entry's booking if the entry settles it.
    pub fn on_entry(&self, entry: &Entry) {
        let is_settled = matches!(entry.kind, Kind::Confirmed | Kind::Voided | Kind::Cancelled);
        if let (true, Some(transition)) = (is_settled, &entry.transition)
            && let Some(sender) = self.lock().get(&transition.booking)
        {
            sender.send_replace(Some(match entry.kind {
                Kind::Confirmed => {
                    Settled::Confirmed(Arc::new(transition.to_booking()), entry.time_ms)
                }
                _ => Settled::Otherwise,
            }));
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

    fn lock(&self) -> MutexGuard<'_, HashMap<BookingId, watch::Sender<Option<Settled>>>> {
        // Nothing under this lock panics half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Waits at most `bound`; returns how the booking was settled, `None` if it was not.
    pub async fn settled(&mut self, bound: Duration) -> Option<Settled> {
        let settled = self.settled.wait_for(Option::is_some);
        tokio::time::timeout(bound, settled).await.ok()?.ok()?.clone()
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
    use crate::domain::{EventId, LogId, Status};

    #[tokio::test]
    async fn booking_is_removed_with_its_last_waiter() {
        let settlements = Settlements::default();
        let booking = BookingId::new(EventId(1), 1, 1);
        let mut one = settlements.expect(booking);
        let two = settlements.expect(booking);
        assert!(one.settled(Duration::ZERO).await.is_none());
        drop(one);
        assert_eq!(settlements.len(), 1);
        drop(two);
        assert!(settlements.is_empty());
    }

    #[tokio::test]
    async fn confirmed_booking_is_known_from_its_entry() {
        let settlements = Settlements::default();
        let booking = BookingId::new(EventId(7), 1, 2);
        let line = |kind: &str, status: &str| {
            format!(
                "2\t{kind}\t7\t1\t5\t10\tt2\t9-0 t1\t{booking}\t1\t{status}\t4\tann\t3,4\t900\tEUR\t5\t20\
                 \t\t1\t0\tpay\t7\t8\t0\tk\tf\t\tsettle"
            )
        };
        let entry = |kind, status| Entry::parse(LogId::default(), &line(kind, status)).unwrap();
        let mut waiter = settlements.expect(booking);
        settlements.on_entry(&entry("sold", "COMMITTED"));
        assert!(waiter.settled(Duration::ZERO).await.is_none(), "the archive has not decided");
        settlements.on_entry(&entry("confirmed", "CONFIRMED"));
        let settled = waiter.settled(Duration::ZERO).await;
        let Some(Settled::Confirmed(found, 10)) = settled else { panic!("{settled:?}") };
        assert_eq!((found.status, found.paid_ms, found.confirmed_ms), (Status::Confirmed, 7, 8));
        settlements.on_entry(&entry("cancelled", "CANCELLED"));
        assert!(matches!(waiter.settled(Duration::ZERO).await, Some(Settled::Otherwise)));
    }
}
