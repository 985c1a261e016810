//! Notifies users of their expired holds, from the booking log: it does not matter which process
//! released them.
//!
//! A watch covers one user in one event. An entry without a watch costs one lookup in a map and wakes
//! nothing. Each watched user has one short list of the latest notices, shared by all watches; a watch
//! that falls behind by more than [`NOTICES_MAX`] misses the oldest and gets their number.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::{BookingId, Entry, EventId, Kind, SeatId, UserId};

/// Notices kept per user.
pub const NOTICES_MAX: usize = 16;

/// An expired hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The event.
    pub event: EventId,
    /// The booking.
    pub booking: BookingId,
    /// Its seats, ascending.
    pub seats: Vec<SeatId>,
    /// When it was released, by Redis' clock, Unix ms.
    pub time_ms: i64,
}

/// The watches of this process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Expiries {
    watched: Arc<Mutex<Watched>>,
}

type Watched = HashMap<(EventId, UserId), Arc<Notices>>;

/// One user's notices.
#[derive(Debug, Default)]
struct Notices {
    added: Notify,
    recent: Mutex<RecentNotices>,
}

/// The latest notices, and the total number of notices so far.
#[derive(Debug, Default)]
struct RecentNotices {
    total: u64,
    latest: VecDeque<Arc<Expired>>,
}

/// Watches for one user's expiries in one event, from now on.
#[derive(Debug)]
pub struct ExpiryWatch {
    all: Expiries,
    key: (EventId, UserId),
    notices: Arc<Notices>,
    /// The number of notices that were returned or missed.
    seen: u64,
}

/// An item of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A hold has expired.
    Expired(Arc<Expired>),
    /// So many notices were dropped before the watch read them.
    Missed(u64),
}

impl Expiries {
    /// Adds a notice if the entry is a watched user's expired hold.
    pub fn on_entry(&self, entry: &Entry) {
        if entry.kind != Kind::Expired {
            return;
        }
        let (Some(event), Some(transition)) = (entry.event, &entry.transition) else { return };
        // Held to the end: a watch that is dropped counts the owners of the notices under this lock.
        let watched = lock(&self.watched);
        let Some(notices) = watched.get(&(event, transition.user.clone())) else { return };
        let expired = Expired {
            event,
            booking: transition.booking,
            seats: transition.seats.clone(),
            time_ms: entry.time_ms,
        };
        let mut recent = lock(&notices.recent);
        recent.total += 1;
        recent.latest.push_back(Arc::new(expired));
        if recent.latest.len() > NOTICES_MAX {
            recent.latest.pop_front();
        }
        drop(recent);
        notices.added.notify_waiters();
    }

    /// Starts a watch: it returns notices from now on.
    pub fn watch(&self, event: EventId, user: &UserId) -> ExpiryWatch {
        let key = (event, user.clone());
        let notices = lock(&self.watched).entry(key.clone()).or_default().clone();
        let seen = lock(&notices.recent).total;
        ExpiryWatch { all: self.clone(), key, notices, seen }
    }

    /// The number of watched pairs of user and event.
    pub fn len(&self) -> usize {
        lock(&self.watched).len()
    }

    /// Whether there are no watches.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ExpiryWatch {
    /// Waits for the next notice. Cancel-safe.
    pub async fn next(&mut self) -> Notice {
        loop {
            // Registered before the check, so that no notice is missed in between.
            let notices = self.notices.clone();
            let added = notices.added.notified();
            if let Some(notice) = self.take() {
                return notice;
            }
            added.await;
        }
    }

    fn take(&mut self) -> Option<Notice> {
        let recent = lock(&self.notices.recent);
        let behind = recent.total - self.seen;
        let kept = recent.latest.len() as u64;
        if behind > kept {
            self.seen = recent.total - kept;
            return Some(Notice::Missed(behind - kept));
        }
        // `behind` is at most `kept` here.
        let next = recent.latest.get((kept - behind) as usize)?.clone();
        self.seen += 1;
        Some(Notice::Expired(next))
    }
}

impl Drop for ExpiryWatch {
    fn drop(&mut self) {
        let mut watched = lock(&self.all.watched);
        // The owners are the map and this watch.
        if Arc::strong_count(&self.notices) <= 2 {
            watched.remove(&self.key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks panics half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::domain::entry::Link;
    use crate::domain::{LogId, Status, Transition};

    const EVENT: EventId = EventId(7);

    fn user(name: &str) -> UserId {
        name.parse().unwrap()
    }

    fn entry(kind: Kind, event: EventId, owner: &str, number: u64) -> Entry {
        Entry {
            id: LogId::default(),
            kind,
            event: Some(event),
            generation: 1,
            event_version: number,
            time_ms: 5_000,
            transition: Some(Transition {
                booking: BookingId::new(event, 1, number),
                user: user(owner),
                seats: vec![SeatId(3)],
                status: Status::Expired,
                version: 2,
                amount: 1,
                currency: "EUR".into(),
                created_ms: 1,
                deadline_ms: 2,
                lease: 0,
                payment: String::new(),
                paid_ms: 0,
                confirmed_ms: 0,
                idempotency: String::new(),
                fingerprint: String::new(),
                trace: String::new(),
            }),
            house: None,
            detail: String::new(),
            link: Link { tag: String::new(), prev_id: LogId::default(), prev_tag: String::new() },
        }
    }

    /// The entry of an expired hold in event 7.
    pub(crate) fn expired(owner: &str, number: u64) -> Entry {
        entry(Kind::Expired, EVENT, owner, number)
    }

    fn next(watch: &mut ExpiryWatch) -> Option<Notice> {
        watch.next().now_or_never()
    }

    #[test]
    fn notice_goes_to_watches_of_the_owner_only() {
        let expiries = Expiries::default();
        expiries.on_entry(&expired("ann", 1));
        let (mut ann, mut again) =
            (expiries.watch(EVENT, &user("ann")), expiries.watch(EVENT, &user("ann")));
        let mut bob = expiries.watch(EVENT, &user("bob"));
        let mut elsewhere = expiries.watch(EventId(8), &user("ann"));
        expiries.on_entry(&entry(Kind::Cancelled, EVENT, "ann", 2));
        expiries.on_entry(&expired("ann", 3));
        for watch in [&mut ann, &mut again] {
            let Some(Notice::Expired(notice)) = next(watch) else { panic!("nothing") };
            assert_eq!(notice.booking, BookingId::new(EVENT, 1, 3));
            assert_eq!((&notice.seats[..], notice.time_ms), (&[SeatId(3)][..], 5_000));
            assert_eq!(next(watch), None);
        }
        assert_eq!((next(&mut bob), next(&mut elsewhere)), (None, None));
    }

    #[test]
    fn late_watch_gets_the_number_of_missed_notices() {
        let expiries = Expiries::default();
        let mut watch = expiries.watch(EVENT, &user("ann"));
        let many = NOTICES_MAX as u64 + 3;
        (0..many).for_each(|number| expiries.on_entry(&expired("ann", number)));
        assert_eq!(next(&mut watch), Some(Notice::Missed(3)));
        let mut number = 3;
        while let Some(Notice::Expired(notice)) = next(&mut watch) {
            assert_eq!(notice.booking, BookingId::new(EVENT, 1, number));
            number += 1;
        }
        assert_eq!(many, number);
    }

    #[tokio::test]
    async fn waiting_watch_is_woken_by_a_notice() {
        let expiries = Expiries::default();
        let mut watch = expiries.watch(EVENT, &user("ann"));
        let waits = async { watch.next().await };
        let learns = async { expiries.on_entry(&expired("ann", 1)) };
        let (notice, ()) = tokio::join!(waits, learns);
        assert!(matches!(notice, Notice::Expired(_)));
    }

    #[test]
    fn user_is_removed_with_the_last_watch() {
        let expiries = Expiries::default();
        let (one, two) = (expiries.watch(EVENT, &user("ann")), expiries.watch(EVENT, &user("ann")));
        drop(one);
        assert_eq!(expiries.len(), 1);
        drop(two);
        assert!(expiries.is_empty());
    }
}
