//! A waiting room in a real Redis and in the model at once: each answer and, after each step, the
//! whole state have to agree, and what the room promises has to hold.

use std::collections::BTreeMap;

use holdfast::domain::{BookingId, DrawState, Floors, Method, RoomSettings, RoomState};
use holdfast::redis::{RoomAdmission, RoomClaimReply, RoomJoinReply, RoomPlace};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::books::{Books, Hall, Who};
use super::promises::{Promises, Ran, agree, promise};
use super::room::{Room, of};
use crate::support::engine::START_MS;

/// Seats of each event.
pub const SEATS: u32 = 7;
const USERS: u32 = 10;
/// Processes that ask, each with what it remembers.
const PROCESSES: usize = 3;

/// One event, its room, and those who come.
pub struct World<'a> {
    room: &'a mut Room,
    random: StdRng,
    books: Books,
    saved: Option<Books>,
    processes: [Floors; PROCESSES],
    /// What the archive recorded: how many are in the draw.
    fixed: Option<u64>,
    tokens: BTreeMap<String, Vec<(u64, i64)>>,
    free: Vec<u32>,
    holds: Vec<(BookingId, String, u32)>,
    promises: Promises,
}

impl<'a> World<'a> {
    /// A new event of this id.
    pub async fn new(room: &'a mut Room, id: u32, mut random: StdRng) -> Self {
        room.revision = 0;
        room.settings = settings(&mut random);
        let gathers = random.random_bool(0.3);
        room.draw = if gathers { DrawState::Gathering } else { DrawState::None };
        room.draw_joined = 0;
        room.open(id).await;
        let mut books = Books::new(START_MS);
        books.configure(1, &room.settings, (room.draw, 0), Floors::default());
        World {
            room,
            random,
            books,
            saved: None,
            processes: Default::default(),
            fixed: None,
            tokens: BTreeMap::new(),
            free: (1..=SEATS).collect(),
            holds: Vec::new(),
            promises: Promises::default(),
        }
    }

    fn hall(&self) -> Hall {
        Hall { free: self.free.len() as u64, held: self.holds.len() as u64 }
    }

    /// Makes one step, compares, and looks whether what is promised holds.
    pub async fn step(&mut self) -> Ran {
        match self.random.random_range(0..1000) {
            0..220 => self.join().await?,
            220..470 => self.claim().await?,
            470..620 => self.admit().await?,
            620..780 => self.pass_time().await,
            780..840 => self.leave().await?,
            840..900 => self.hold().await?,
            900..935 => self.end_hold().await,
            935..960 => self.change().await?,
            960..975 => self.save().await,
            975..986 => self.lose(true).await?,
            986..989 => self.lose(false).await?,
            989..993 => self.processes[self.random.random_range(0..PROCESSES)] = Floors::default(),
            _ => self.draw().await?,
        }
        self.look().await
    }

    fn user(&mut self) -> String {
        format!("u{}", self.random.random_range(0..USERS))
    }

    /// A number's place: in these draws the last to join is the first.
    fn place(&self, number: u64) -> u64 {
        match self.fixed {
            Some(joiners) if number <= joiners => joiners + 1 - number,
            _ => number,
        }
    }

    fn learn(&mut self, process: usize, floors: Floors) {
        self.processes[process] = self.processes[process].max(floors);
    }

    async fn join(&mut self) -> Ran {
        let (name, process) = (self.user(), self.random.random_range(0..PROCESSES));
        let (user, floors, hall) =
            (self.room.stage.user(&name), self.processes[process], self.hall());
        let mut known = None;
        let joined = loop {
            let answer = self.room.engine().room_join(self.room.id(), &user, known, floors).await;
            let joined = answer.map_err(|error| error.to_string())?;
            agree("join", &joined, &self.books.join(&name, known, floors, hall))?;
            match joined {
                RoomJoinReply::PlaceNeeded { number } => known = Some((number, self.place(number))),
                joined => break joined,
            }
        };
        let (RoomJoinReply::Given { number, floors: now, .. }
        | RoomJoinReply::Replayed { number, floors: now, .. }) = joined
        else {
            return Ok(());
        };
        let tokens = self.tokens.entry(name.clone()).or_default();
        if tokens.last().is_none_or(|token| token.0 != number) {
            tokens.push((number, self.room.now_ms));
        }
        if number > self.promises.floors.joined {
            promise(number > floors.joined && self.promises.given.insert(number), || {
                format!("number {number} was given before: {floors:?}")
            })?;
        }
        self.learn(process, now);
        Ok(())
    }

    /// Somebody's token, mostly the newest; often one of those who are in.
    fn token(&mut self) -> Option<(String, u64, i64)> {
        let mut name = self.user();
        let inside: Vec<&String> = self.books.sessions.keys().collect();
        if let (Some(user), true) = (inside.choose(&mut self.random), self.random.random_bool(0.4))
        {
            name = user.to_string();
        }
        let tokens = self.tokens.get(&name)?;
        let newest = self.random.random_bool(0.9);
        let token = if newest { tokens.last() } else { tokens.choose(&mut self.random) };
        token.map(|token| (name, token.0, token.1))
    }

    async fn claim(&mut self) -> Ran {
        let Some((name, number, issued_ms)) = self.token() else { return Ok(()) };
        let process = self.random.random_range(0..PROCESSES);
        let (floors, place, user) =
            (self.processes[process], self.place(number), self.room.stage.user(&name));
        let token = RoomPlace { user: &user, number, place, issued_ms };
        let lived = self.books.session_end(&name).is_some();
        let claimed = self.room.engine().room_claim(self.room.id(), token, floors).await;
        let claimed = claimed.map_err(|error| error.to_string())?.reply;
        let who = Who { user: &name, number, place, issued_ms };
        agree("claim", &claimed, &self.books.claim(who, floors))?;
        let (RoomClaimReply::Waiting { floors: now }
        | RoomClaimReply::Owed { floors: now, .. }
        | RoomClaimReply::Session { floors: now, .. }) = claimed
        else {
            return Ok(());
        };
        if matches!(claimed, RoomClaimReply::Session { .. }) {
            promise(place <= now.served, || format!("{place} let in, {} served", now.served))?;
            promise(lived || self.promises.begun.insert((name.clone(), number)), || {
                format!("{number} of {name} became a session twice")
            })?;
        }
        self.learn(process, now);
        Ok(())
    }

    async fn leave(&mut self) -> Ran {
        let Some((name, number, issued_ms)) = self.token() else { return Ok(()) };
        let process = self.random.random_range(0..PROCESSES);
        let (floors, place, user) =
            (self.processes[process], self.place(number), self.room.stage.user(&name));
        let token = RoomPlace { user: &user, number, place, issued_ms };
        let left = self.room.engine().room_leave(self.room.id(), token, floors).await;
        let left = left.map_err(|error| error.to_string())?;
        let who = Who { user: &name, number, place, issued_ms };
        agree("leave", &left, &self.books.leave(who, floors))?;
        self.learn(process, left.1);
        Ok(())
    }

    async fn admit(&mut self) -> Ran {
        let process = self.random.random_range(0..PROCESSES);
        let (floors, hall) = (self.processes[process], self.hall());
        let most = if self.random.random_bool(0.1) { 2 } else { u32::MAX };
        let (id, settings) = (self.room.id(), &self.room.settings);
        let admitted = self.room.engine().room_admit(id, settings, most, floors).await;
        let admitted = admitted.map_err(|error| error.to_string())?;
        let was_unclaimed = self.books.state(hall, 0).unclaimed;
        agree("admit", &admitted, &self.books.admit(most, floors, hall))?;
        let Some(RoomAdmission { opened, floors: now, .. }) = admitted else { return Ok(()) };
        self.learn(process, now);
        if opened > 0 {
            promise(opened + u64::from(was_unclaimed) <= hall.free, || {
                format!("{opened} opened beside {was_unclaimed}, {} seats free", hall.free)
            })?;
            self.opened(opened)?;
        }
        Ok(())
    }

    /// The cap a minute, by what was opened while it stood.
    fn opened(&mut self, opened: u64) -> Ran {
        let cap = u64::from(self.room.settings.per_minute);
        let now_ms = self.room.now_ms;
        if cap == 0 {
            return Ok(());
        }
        let openings = &mut self.promises.openings;
        openings.push((now_ms, opened));
        let minute = openings.iter().filter(|(at_ms, _)| (*at_ms - now_ms).abs() < 60_000);
        let sum: u64 = minute.map(|opening| opening.1).sum();
        promise(sum <= cap, || format!("{sum} opened within a minute, {cap} allowed"))
    }

    /// Mostly to a moment at which something ends, or just before it.
    async fn pass_time(&mut self) {
        let now_ms = self.room.now_ms;
        let mut moments: Vec<i64> = self.books.sessions.values().copied().collect();
        moments.push(self.books.late_until_ms);
        for batch in &self.books.batches {
            moments.push(batch.until_ms);
            if self.random.random_bool(0.1) {
                moments.push(batch.opened_ms + 60_000);
            }
        }
        moments.retain(|moment| *moment > now_ms);
        let ends_ms = moments.choose(&mut self.random).copied();
        let next_ms = match ends_ms.filter(|_| self.random.random_bool(0.5)) {
            Some(ends_ms) => ends_ms - i64::from(self.random.random_bool(0.3)),
            None => now_ms + [1, 60, 200, 700, 3_000_i64].choose(&mut self.random).unwrap(),
        };
        // Now and then the clock is set back.
        let back_ms = if self.random.random_bool(0.02) { 70_000 } else { 0 };
        if back_ms > 0 {
            // What was over and not cleared away is back.
            (self.promises.openings, self.promises.taken) = (Vec::new(), u64::MAX);
        }
        self.books.now_ms = next_ms - back_ms;
        self.room.set_clock(next_ms - back_ms).await;
    }

    /// With the newest token, or another number.
    async fn hold(&mut self) -> Ran {
        let (Some((name, number, _)), Some(seat)) = (self.token(), self.free.last().copied())
        else {
            return Ok(());
        };
        let number = if self.random.random_bool(0.1) { 0 } else { number };
        let settings = &self.books.settings;
        let guarded = settings.on && settings.method != Method::Passthrough;
        let has = self.books.fates.get(&name).map(|fate| fate.0);
        let expected = match self.books.session_end(&name) {
            None if guarded => "session_required",
            Some(_) if guarded && has != Some(number) => "number_superseded",
            _ => "ok",
        };
        let answer = self.room.hold(&name, number, seat).await;
        agree("hold", &answer.code(), &expected)?;
        if expected == "ok" {
            let booking = answer.into_booking().map_err(|error| error.to_string())?;
            self.free.pop();
            self.holds.push((booking.id, name, seat));
        }
        Ok(())
    }

    /// Sells or gives up.
    async fn end_hold(&mut self) {
        if self.holds.is_empty() {
            return;
        }
        let (id, name, seat) = self.holds.swap_remove(0);
        if self.random.random_bool(0.15) {
            self.room.sell(id, &name).await;
            self.books.sessions.remove(&name);
        } else {
            let (event, user) = (&self.room.stage.event, self.room.stage.user(&name));
            let answer = self.room.engine().cancel(event, id, &user).await.unwrap();
            self.room.stage.expect("ok", answer);
            self.free.push(seat);
        }
    }

    async fn change(&mut self) -> Ran {
        self.room.settings = settings(&mut self.random);
        self.promises.openings.clear();
        let floors = self.processes[self.random.random_range(0..PROCESSES)];
        self.configure(floors).await
    }

    async fn configure(&mut self, floors: Floors) -> Ran {
        if let Some(joiners) = self.fixed {
            (self.room.draw, self.room.draw_joined) = (DrawState::Fixed, joiners);
        }
        let took = self.room.configure(floors).await;
        let room = &*self.room;
        let draw = (room.draw, room.draw_joined);
        agree(
            "configure",
            &took,
            &self.books.configure(room.revision, &room.settings, draw, floors),
        )
    }

    /// Freezes who is in the draw, has the archive record it, brings it back.
    async fn draw(&mut self) -> Ran {
        let frozen = self.room.engine().room_draw(self.room.id()).await.unwrap();
        self.books.freeze();
        let gathered = matches!(self.books.draw, DrawState::Gathering | DrawState::Frozen);
        let joiners = gathered.then_some(self.books.draw_joined);
        agree("draw", &frozen.map(|frozen| frozen.0), &joiners)?;
        if let Some(joiners) = joiners.filter(|_| self.random.random_bool(0.5)) {
            self.fixed.get_or_insert(joiners);
            return self.configure(Floors::default()).await;
        }
        Ok(())
    }

    async fn save(&mut self) {
        self.room.save().await;
        self.saved = Some(self.books.clone());
    }

    /// Redis forgets what it wrote last, or all of the room; somebody brings the room back.
    async fn lose(&mut self, only_the_last: bool) -> Ran {
        match self.saved.clone() {
            Some(saved) if only_the_last => {
                self.room.cut().await;
                self.books = saved;
                self.books.now_ms = self.room.now_ms;
            }
            _ => {
                self.room.forget().await;
                self.books = Books::new(self.room.now_ms);
            }
        }
        self.promises = Promises { taken: u64::MAX, ..Promises::default() };
        self.configure(self.processes[0]).await
    }

    async fn look(&mut self) -> Ran {
        let (hall, last) = (self.hall(), self.books.state(self.hall(), 0).left_total);
        let known_left = last.saturating_sub(2);
        let state: RoomState = self.room.look_with(0, known_left).await;
        agree("state", &state, &self.books.state(hall, known_left))?;
        let before = std::mem::replace(&mut self.promises.floors, state.floors);
        promise(before.max(state.floors) == state.floors, || {
            format!("{before:?} fell to {:?}", state.floors)
        })?;
        // Fewer sessions than there are end none; no new ones come.
        let taken = u64::from(state.live + state.unclaimed);
        let most = u64::from(state.max_concurrent).max(self.promises.taken);
        promise(taken <= most, || format!("{taken} let in at a time, {most} allowed"))?;
        self.promises.taken = taken;
        Ok(())
    }
}

fn settings(random: &mut StdRng) -> RoomSettings {
    let session_ms = *[500, 2_000, 8_000].choose(random).unwrap();
    RoomSettings {
        on: random.random_bool(0.95),
        method: match random.random_range(0..12) {
            0 => Method::Passthrough,
            1 => Method::Reject,
            _ => Method::Fifo,
        },
        max_concurrent: random.random_range(1..6),
        per_minute: *[0, 0, 3, 8].choose(random).unwrap(),
        claim_ms: *[300, 1_000, 4_000].choose(random).unwrap(),
        session_ms,
        session_cap_ms: session_ms + random.random_range(0..2_000),
        renews: random.random_bool(0.5),
        ..of(1)
    }
}
