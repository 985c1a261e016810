//! The waiting room once more, as plain rules over [`Books`], person by person and place by place.
//! The scripts have to answer as it does.

use holdfast::domain::{DrawState, Floors, Method, RoomSettings};
use holdfast::redis::{RoomAdmission, RoomClaimReply, RoomJoinReply};

use super::books::{Batch, Books, Fate, Hall, Who};

const MINUTE_MS: i64 = 60_000;
/// Shortest time between two batches, ms; and into how many a claim window or minute is divided.
const BATCH_EVERY_MS: u64 = 200;
const BATCHES_A_SPAN: u64 = 100;
const BATCHES_MAX: usize = 128;

impl Books {
    fn raise(&mut self, floors: Floors) {
        if floors.served > self.served {
            self.served = floors.served;
            self.books_from = floors.served + 1;
        }
        self.joined = self.joined.max(floors.joined).max(self.served);
    }

    fn lapse_owed(&mut self) {
        if self.now_ms < self.late_until_ms {
            return;
        }
        for _ in 0..std::mem::take(&mut self.late) {
            let Some((_, _, user)) = self.owed.pop_first() else { break };
            let number = self.fates[&user].0;
            self.fates.insert(user, (number, Fate::GivenUp));
        }
    }

    /// Whether the user was owed a place.
    fn drop_owed(&mut self, user: &str) -> bool {
        let Some(rank) = self.rank(user) else { return false };
        self.owed.retain(|entry| entry.2 != user);
        if rank < self.late {
            self.late -= 1;
        }
        true
    }

    /// `draw_joined` counts once it is fixed.
    pub fn configure(
        &mut self,
        revision: u64,
        settings: &RoomSettings,
        draw: (DrawState, u64),
        floors: Floors,
    ) -> bool {
        self.raise(floors);
        if revision <= self.revision {
            return false;
        }
        (self.revision, self.settings) = (revision, settings.clone());
        if draw.0 != DrawState::Gathering || self.draw == DrawState::None {
            (self.draw, self.draw_joined) = draw;
        }
        self.raise(Floors { joined: draw.1, served: 0 });
        true
    }

    pub fn freeze(&mut self) {
        if self.draw == DrawState::Gathering {
            (self.draw, self.draw_joined) = (DrawState::Frozen, self.joined);
        }
    }

    pub fn join(
        &mut self,
        user: &str,
        known: Option<(u64, u64)>,
        floors: Floors,
        hall: Hall,
    ) -> RoomJoinReply {
        match (self.settings.on, self.settings.method) {
            (false, _) => return RoomJoinReply::RoomOff,
            (true, Method::Passthrough) => return RoomJoinReply::RoomOpen,
            (true, Method::Reject) => return RoomJoinReply::RoomRejects,
            (true, Method::Fifo) => {}
        }
        self.raise(floors);
        let stays = match self.fates.get(user).copied() {
            Some((number, Fate::Waits)) => {
                let drawn = self.draw == DrawState::Fixed && number <= self.draw_joined;
                let place = match known.filter(|known| known.0 == number) {
                    _ if !drawn => number,
                    None => return RoomJoinReply::PlaceNeeded { number },
                    Some((_, place)) => place,
                };
                let alive = place > self.served
                    || place < self.books_from
                    || self.open_batch(place).is_some()
                    || self.rank(user).is_some();
                alive.then_some(number)
            }
            Some((number, Fate::Became { .. })) => self.session_end(user).map(|_| number),
            _ => None,
        };
        if let Some(number) = stays {
            let (floors, revision) = (self.floors(), self.revision);
            return RoomJoinReply::Replayed { number, floors, revision };
        }
        if hall.free == 0 && hall.held == 0 {
            return RoomJoinReply::SoldOut;
        }
        self.joined += 1;
        self.fates.insert(user.to_owned(), (self.joined, Fate::Waits));
        let (number, floors) = (self.joined, self.floors());
        RoomJoinReply::Given { number, floors, revision: self.revision }
    }

    fn begin_session(&mut self, who: Who) -> RoomClaimReply {
        let ends_ms = self.now_ms + self.settings.session_ms as i64;
        let cap_ms = self.now_ms + self.settings.session_cap_ms as i64;
        self.sessions.insert(who.user.to_owned(), ends_ms);
        self.fates.insert(who.user.to_owned(), (who.number, Fate::Became { cap_ms }));
        RoomClaimReply::Session { ends_ms, cap_ms, floors: self.floors() }
    }

    fn session(&mut self, user: &str, cap_ms: i64) -> RoomClaimReply {
        let Some(mut ends_ms) = self.session_end(user) else {
            return RoomClaimReply::SessionEnded;
        };
        if self.settings.renews {
            ends_ms = ends_ms.max(cap_ms.min(self.now_ms + self.settings.session_ms as i64));
            self.sessions.insert(user.to_owned(), ends_ms);
        }
        RoomClaimReply::Session { ends_ms, cap_ms, floors: self.floors() }
    }

    pub fn claim(&mut self, who: Who, floors: Floors) -> RoomClaimReply {
        match (self.settings.on, self.settings.method) {
            (false, _) => return RoomClaimReply::RoomOff,
            (true, Method::Passthrough) => return RoomClaimReply::RoomOpen,
            (true, _) => {}
        }
        self.raise(Floors { joined: floors.joined.max(who.number), ..floors });
        self.lapse_owed();
        let known = self.fates.get(who.user).copied();
        let forgotten = known.is_none_or(|known| known.0 < who.number);
        match known {
            Some((number, _)) if number > who.number => {
                return RoomClaimReply::NumberSuperseded;
            }
            Some((_, Fate::Became { cap_ms })) if !forgotten => {
                return self.session(who.user, cap_ms);
            }
            Some((_, Fate::GivenUp)) if !forgotten => {
                return RoomClaimReply::PlaceGivenUp;
            }
            _ => {}
        }
        if forgotten {
            self.fates.insert(who.user.to_owned(), (who.number, Fate::Waits));
            self.sessions.remove(who.user);
            self.drop_owed(who.user);
        }
        if self.settings.method == Method::Reject {
            return RoomClaimReply::RoomRejects;
        }
        if self.is_drawing() || who.place > self.served {
            return RoomClaimReply::Waiting { floors: self.floors() };
        }
        if self.rank(who.user).is_none() {
            let books_from = self.books_from;
            match self.open_batch(who.place) {
                Some(batch) if batch.unclaimed > 0 => {
                    batch.unclaimed -= 1;
                    return self.begin_session(who);
                }
                None if !forgotten && who.place >= books_from => {
                    return RoomClaimReply::PlaceLapsed;
                }
                _ => {}
            }
            self.owed.insert((who.number, who.issued_ms / 1_000, who.user.to_owned()));
        }
        let before = self.rank(who.user).unwrap();
        if before < self.late {
            self.drop_owed(who.user);
            return self.begin_session(who);
        }
        RoomClaimReply::Owed { before_them: before as u64, floors: self.floors() }
    }

    pub fn leave(&mut self, who: Who, floors: Floors) -> (bool, Floors) {
        self.raise(Floors { joined: floors.joined.max(who.number), ..floors });
        self.lapse_owed();
        let known = self.fates.get(who.user).copied();
        if known.is_some_and(|(number, fate)| number > who.number || fate == Fate::GivenUp) {
            return (false, self.floors());
        }
        self.fates.insert(who.user.to_owned(), (who.number, Fate::GivenUp));
        self.leavers.push(who.number);
        self.sessions.remove(who.user);
        let was_owed = self.drop_owed(who.user);
        let had_session = matches!(known, Some((_, Fate::Became { .. })));
        if was_owed || had_session {
            return (true, self.floors());
        }
        if who.place > self.served {
            if !self.is_drawing() {
                self.left.insert(who.number, who.place);
            }
        } else if let Some(batch) = self.open_batch(who.place) {
            batch.unclaimed = batch.unclaimed.saturating_sub(1);
        }
        (true, self.floors())
    }

    fn forget_batches(&mut self) {
        let (now_ms, claim_ms) = (self.now_ms, self.settings.claim_ms as i64);
        for batch in &mut self.batches {
            if batch.opened_ms > now_ms {
                batch.opened_ms = now_ms;
                batch.until_ms = batch.until_ms.min(now_ms + claim_ms);
                self.late_until_ms = self.late_until_ms.min(now_ms + claim_ms);
            }
            if now_ms >= batch.until_ms {
                batch.unclaimed = 0;
            }
        }
        let capped = self.settings.per_minute > 0;
        self.batches.retain(|batch| {
            now_ms < batch.until_ms || (capped && now_ms - batch.opened_ms < MINUTE_MS)
        });
    }

    pub fn admit(&mut self, places_max: u32, floors: Floors, hall: Hall) -> Option<RoomAdmission> {
        self.raise(floors);
        if !self.settings.on || self.settings.method != Method::Fifo {
            return None;
        }
        self.lapse_owed();
        let now_ms = self.now_ms;
        self.sessions.retain(|_, ends_ms| *ends_ms > now_ms);
        let newest_ms = self.batches.iter().map(|batch| batch.opened_ms.min(self.now_ms)).max();
        self.forget_batches();
        let (live, unclaimed) = (self.live(), self.unclaimed());
        let most = u64::from(self.settings.max_concurrent.min(places_max));
        let taken = live + unclaimed;
        let mut open = (most.min(hall.free + hall.held).saturating_sub(taken))
            .min(hall.free.saturating_sub(unclaimed));
        if self.settings.per_minute > 0 {
            let minute = self.batches.iter().filter(|b| self.now_ms - b.opened_ms < MINUTE_MS);
            let opened: u64 = minute.map(|batch| batch.opened).sum();
            open = open.min(u64::from(self.settings.per_minute).saturating_sub(opened));
        }
        let claim_ms = self.settings.claim_ms;
        let capped = self.settings.per_minute > 0;
        let span_ms = if capped { claim_ms.max(MINUTE_MS as u64) } else { claim_ms };
        let every_ms = BATCH_EVERY_MS.max(span_ms / BATCHES_A_SPAN) as i64;
        let too_soon = newest_ms.is_some_and(|newest_ms| self.now_ms - newest_ms < every_ms);
        let owed = self.owed.len() as u64;
        let admitted =
            |opened, floors, unclaimed| RoomAdmission { opened, floors, live, unclaimed, owed };
        if open == 0 || too_soon || self.batches.len() >= BATCHES_MAX || self.is_drawing() {
            return Some(admitted(0, self.floors(), unclaimed));
        }
        let until_ms = self.now_ms + claim_ms as i64;
        let mut late = 0;
        if self.late == 0 && owed > 0 {
            late = open.min(owed);
            (self.late, self.late_until_ms) = (late as usize, until_ms);
        }
        let first = self.served + 1;
        let (mut last, mut present) = (self.served, 0);
        while last < self.joined {
            let left = self.left.values().any(|place| *place == last + 1);
            if !left && present == open - late {
                break;
            }
            present += u64::from(!left);
            last += 1;
        }
        self.left.retain(|_, place| *place > last);
        if last > self.served || late > 0 {
            self.served = last;
            let opened = present + late;
            let opened_ms = self.now_ms;
            self.batches.push(Batch {
                first,
                last,
                opened_ms,
                until_ms,
                unclaimed: present,
                opened,
            });
        }
        Some(admitted(late + present, self.floors(), unclaimed + late + present))
    }
}
