//! Whose holds have lapsed: told to those who watch for one user in one event, from the log, in
//! whichever process the worker or a script has released them.
//!
//! One map says who watches; what nobody watches for costs a look into it, and nobody else is woken.
//! Each user has one short list of what came last, however many watch; whoever falls behind by more
//! than [`NOTICES_MAX`] misses the oldest, and is told how many.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::{BookingId, Entry, EventId, Kind, SeatId, UserId};

/// Notices kept for a user.
pub const NOTICES_MAX: usize = 16;

/// A hold that lapsed.
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

/// Who watches for whose expiries in this process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Expiries {
    watched: Arc<Mutex<Watched>>,
}

type Watched = HashMap<(EventId, UserId), Arc<Notices>>;

/// What one user is told.
#[derive(Debug, Default)]
struct Notices {
    news: Notify,
    last: Mutex<Last>,
}

/// The last notices, and how many there were in all.
#[derive(Debug, Default)]
struct Last {
    count: u64,
    kept: VecDeque<Arc<Expired>>,
}

/// Watches for one user's expiries in one event, from now on.
#[derive(Debug)]
pub struct ExpiryWatch {
    all: Expiries,
    key: (EventId, UserId),
    notices: Arc<Notices>,
    /// How many were seen, or missed.
    seen: u64,
}

/// What a watch gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A hold has lapsed.
    Expired(Arc<Expired>),
    /// So many were not kept for long enough.
    Missed(u64),
}

impl Expiries {
    /// Learns from an entry of the log.
    pub fn learn(&self, entry: &Entry) {
        if entry.kind != Kind::Expired {
            return;
        }
        let (Some(event), Some(transition)) = (entry.event, &entry.transition) else { return };
        // Locked to the end: a watch that ends meanwhile counts who has the notices.
        let watched = lock(&self.watched);
        let Some(notices) = watched.get(&(event, transition.user.clone())) else { return };
        let expired = Expired {
            event,
            booking: transition.booking,
            seats: transition.seats.clone(),
            time_ms: entry.time_ms,
        };
        let mut last = lock(&notices.last);
        last.count += 1;
        last.kept.push_back(Arc::new(expired));
        if last.kept.len() > NOTICES_MAX {
            last.kept.pop_front();
        }
        drop(last);
        notices.news.notify_waiters();
    }

    /// Begins to watch.
    pub fn watch(&self, event: EventId, user: &UserId) -> ExpiryWatch {
        let key = (event, user.clone());
        let notices = lock(&self.watched).entry(key.clone()).or_default().clone();
        let seen = lock(&notices.last).count;
        ExpiryWatch { all: self.clone(), key, notices, seen }
    }

    /// For how many users and events anybody watches.
    pub fn len(&self) -> usize {
        lock(&self.watched).len()
    }

    /// Whether nobody watches.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ExpiryWatch {
    /// The next notice; waits for it. May be dropped and asked again.
    pub async fn next(&mut self) -> Notice {
        loop {
            // Before the look, so that nothing comes between.
            let notices = self.notices.clone();
            let news = notices.news.notified();
            if let Some(notice) = self.take() {
                return notice;
            }
            news.await;
        }
    }

    fn take(&mut self) -> Option<Notice> {
        let last = lock(&self.notices.last);
        let behind = last.count - self.seen;
        let kept = last.kept.len() as u64;
        if behind > kept {
            self.seen = last.count - kept;
            return Some(Notice::Missed(behind - kept));
        }
        // At most as many as are kept.
        let next = last.kept.get((kept - behind) as usize)?.clone();
        self.seen += 1;
        Some(Notice::Expired(next))
    }
}

impl Drop for ExpiryWatch {
    fn drop(&mut self) {
        let mut watched = lock(&self.all.watched);
        // The map's and this watch's own.
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
mod tests {
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
                idempotency: String::new(),
                fingerprint: String::new(),
                trace: String::new(),
            }),
            house: None,
            detail: String::new(),
            link: Link { tag: String::new(), prev_id: LogId::default(), prev_tag: String::new() },
        }
    }

    fn expired(owner: &str, number: u64) -> Entry {
        entry(Kind::Expired, EVENT, owner, number)
    }

    fn next(watch: &mut ExpiryWatch) -> Option<Notice> {
        watch.next().now_or_never()
    }

    #[test]
    fn owners_alone_are_told() {
        let expiries = Expiries::default();
        expiries.learn(&expired("ann", 1));
        let (mut ann, mut again) =
            (expiries.watch(EVENT, &user("ann")), expiries.watch(EVENT, &user("ann")));
        let mut bob = expiries.watch(EVENT, &user("bob"));
        let mut elsewhere = expiries.watch(EventId(8), &user("ann"));
        expiries.learn(&entry(Kind::Cancelled, EVENT, "ann", 2));
        expiries.learn(&expired("ann", 3));
        for watch in [&mut ann, &mut again] {
            let Some(Notice::Expired(notice)) = next(watch) else { panic!("nothing") };
            assert_eq!(notice.booking, BookingId::new(EVENT, 1, 3));
            assert_eq!((&notice.seats[..], notice.time_ms), (&[SeatId(3)][..], 5_000));
            assert_eq!(next(watch), None);
        }
        assert_eq!((next(&mut bob), next(&mut elsewhere)), (None, None));
    }

    #[test]
    fn who_is_behind_is_told_how_far() {
        let expiries = Expiries::default();
        let mut watch = expiries.watch(EVENT, &user("ann"));
        let many = NOTICES_MAX as u64 + 3;
        (0..many).for_each(|number| expiries.learn(&expired("ann", number)));
        assert_eq!(next(&mut watch), Some(Notice::Missed(3)));
        let mut told = 3;
        while let Some(Notice::Expired(notice)) = next(&mut watch) {
            assert_eq!(notice.booking, BookingId::new(EVENT, 1, told));
            told += 1;
        }
        assert_eq!(many, told);
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let expiries = Expiries::default();
        let mut watch = expiries.watch(EVENT, &user("ann"));
        let waits = async { watch.next().await };
        let learns = async { expiries.learn(&expired("ann", 1)) };
        let (notice, ()) = tokio::join!(waits, learns);
        assert!(matches!(notice, Notice::Expired(_)));
    }

    #[test]
    fn nobody_is_kept_after_the_last_watch() {
        let expiries = Expiries::default();
        let (one, two) = (expiries.watch(EVENT, &user("ann")), expiries.watch(EVENT, &user("ann")));
        drop(one);
        assert_eq!(expiries.len(), 1);
        drop(two);
        assert!(expiries.is_empty());
    }
}
