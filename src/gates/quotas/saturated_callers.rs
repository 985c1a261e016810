//! Who found no place in the ledger a moment ago. In a crowd that is most callers: their places are
//! taken until Redis has counted them, or their windows are over. Each thread remembers them for
//! [`KEPT`], and such a request costs no look at what all threads share.
//!
//! Only rules that observe are concerned: where one that is enforced has no place, Redis is asked.
//! Such a rule is told of a caller who goes on and on once in [`KEPT`] or more, not of each request
//! that would find a place in between: enough to see who is over a rule of one in two seconds.

use std::cell::Cell;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use thread_local::ThreadLocal;

use crate::gates::Caller;

/// How long a caller is remembered.
const KEPT: Duration = Duration::from_secs(1);
/// Callers that a thread remembers: 256 KB, which is to stay in its processor's cache. Those of one
/// slot displace each other.
const SLOTS: usize = 65_536;
/// How exactly it is known until when, ms: the times go round in 17 minutes.
const STEP_MS: u64 = 16;
const STEPS_KEPT: u16 = (KEPT.as_millis() as u64 / STEP_MS) as u16;

/// A caller as bits of a hash that do not choose the slot, and until when it is remembered, in
/// steps. Where two callers or two times are alike, a request is not noted for a moment.
type Slot = Cell<(u16, u16)>;

/// Callers of one policy.
pub struct SaturatedCallers {
    origin: Instant,
    hashes: RandomState,
    threads: ThreadLocal<Box<[Slot]>>,
}

impl Default for SaturatedCallers {
    fn default() -> Self {
        SaturatedCallers {
            origin: Instant::now(),
            hashes: RandomState::default(),
            threads: ThreadLocal::new(),
        }
    }
}

impl SaturatedCallers {
    /// Whether a request like this one found none a moment ago; if it did not, `finds` says
    /// whether it does now.
    pub(super) fn unless_known<E>(
        &self,
        caller: &Caller,
        now: Instant,
        finds: impl FnOnce() -> Result<bool, E>,
    ) -> Result<(), E> {
        let hash = self.hashes.hash_one((&caller.user, caller.address, caller.event, caller.class));
        let slots = self.threads.get_or(|| (0..SLOTS).map(|_| Slot::default()).collect());
        let slot = &slots[hash as usize % SLOTS];
        let caller = (hash >> 48) as u16;
        let since = now.saturating_duration_since(self.origin);
        let now = (since.as_millis() as u64 / STEP_MS) as u16;
        let (known, until) = slot.get();
        if known == caller && (1..=STEPS_KEPT).contains(&until.wrapping_sub(now)) {
            return Ok(());
        }
        if !finds()? {
            slot.set((caller, now.wrapping_add(STEPS_KEPT)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventId, RouteClass};

    fn caller(user: &str) -> Caller {
        Caller {
            address: Some([127, 0, 0, 1].into()),
            user: Some(user.parse().unwrap()),
            event: Some(EventId(1)),
            ..Caller::unknown(RouteClass::Hold)
        }
    }

    #[test]
    fn who_found_none_is_not_looked_for_again_for_a_moment() {
        let (saturated_callers, now) = (SaturatedCallers::default(), Instant::now());
        let looks = |caller: &Caller, at: Instant, finds: bool| {
            let mut looked = false;
            let find = || {
                looked = true;
                Ok::<bool, ()>(finds)
            };
            saturated_callers.unless_known(caller, at, find).unwrap();
            looked
        };
        let ann = caller("ann");
        assert!(looks(&ann, now, true) && looks(&ann, now, false), "who found one is looked for");
        assert!(!looks(&ann, now, true) && !looks(&ann, now + KEPT / 2, true));
        let of_another_kind = [
            Caller { event: Some(EventId(2)), ..ann.clone() },
            Caller { class: RouteClass::Seats, ..ann.clone() },
            Caller { address: None, ..ann.clone() },
            caller("bob"),
        ];
        assert!(of_another_kind.iter().all(|other| looks(other, now, true)));
        assert!(looks(&ann, now + KEPT + Duration::from_millis(1), true));
    }
}
