//! One event's waiting room on a real Redis, with the clock in the test's hand.

use std::sync::Arc;

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::config::Config;
use fred::types::{Builder, ClusterHash, CustomCommand, Value};
use holdfast::domain::layout::Section;
use holdfast::domain::{
    BookingId, DrawState, Event, EventId, Floors, Layout, RoomSettings, RoomState, SeatId,
};
use holdfast::redis::scripts::{ClockSource, Scripts};
use holdfast::redis::{
    Engine, HoldCall, HoldReply, NotAfter, RoomClaimReply, RoomConfiguration, RoomJoinReply,
    RoomPlace, SeatSelection, Timed, new_nonce,
};

use crate::support::engine::{NoObserver, START_MS, Stage, settings, small_event};
use crate::support::servers::{Flavor, shared_redis};
use crate::support::unique_name;

/// Begins the running hash of the joins.
pub const COMMITMENT: &str = "c0ffee";
/// How long a room that is off is kept, ms.
pub const KEEP_MS: u64 = 86_400_000;
/// No bound beside the room's own.
pub const ANY: u32 = u32::MAX;
/// The room's keys, by what follows `waiting_room`.
const KEYS: [&str; 6] = ["", "_numbers", "_sessions", "_owed", "_left", "_leavers"];

/// A room that lets in so many, with claim windows and sessions of two and ten seconds.
pub fn of(max_concurrent: u32) -> RoomSettings {
    RoomSettings {
        on: true,
        max_concurrent,
        claim_ms: 2_000,
        session_ms: 10_000,
        session_cap_ms: 20_000,
        ..RoomSettings::default()
    }
}

/// A room, and what MongoDB would have of it.
pub struct Room {
    pub stage: Stage,
    client: Client,
    pub now_ms: i64,
    pub revision: u64,
    pub settings: RoomSettings,
    pub draw: DrawState,
    pub draw_joined: u64,
}

impl Room {
    /// Event 1 with so many seats, on sale, and its room.
    pub async fn new(flavor: Flavor, seats: u32, settings: RoomSettings) -> Self {
        let scripts = Scripts::embedded(ClockSource::Swapped);
        let mut room = Room::unopened(flavor, scripts, seats, settings).await;
        room.open(1).await;
        room
    }

    /// No event yet.
    pub async fn unopened(
        flavor: Flavor,
        scripts: Scripts,
        seats: u32,
        room: RoomSettings,
    ) -> Self {
        let url = shared_redis(flavor).url();
        let engine = settings(url.clone(), unique_name());
        let engine = Engine::connect(engine, scripts, Arc::new(NoObserver)).await.unwrap();
        engine.pin_not_after(NotAfter(i64::MAX));
        let client = Builder::from_config(Config::from_url(&url).unwrap()).build().unwrap();
        client.init().await.unwrap();
        let floor =
            Section { name: "Floor".into(), price: 1_000, rows: None, capacity: Some(seats) };
        let day_ms = 86_400_000;
        let event = Event {
            layout: Arc::new(Layout::new(vec![floor]).unwrap()),
            max_seats_per_user: seats,
            hold_ttl_ms: day_ms,
            max_hold_ms: day_ms,
            ..small_event(1)
        };
        Room {
            stage: Stage { engine, event },
            client,
            now_ms: START_MS,
            revision: 0,
            settings: room,
            draw: DrawState::None,
            draw_joined: 0,
        }
    }

    /// The same event under another id, on sale, with the room as it is set.
    pub async fn open(&mut self, id: u32) {
        self.stage.event.id = EventId(id);
        self.set_clock(START_MS).await;
        self.stage.load_and_open().await;
        self.configure(Floors::default()).await;
    }

    pub fn engine(&self) -> &Engine {
        &self.stage.engine
    }

    pub fn id(&self) -> EventId {
        self.stage.event.id
    }

    /// A plain command about one key.
    pub async fn raw(&self, command: &'static str, words: &[&str]) -> Value {
        let words: Vec<Value> = words.iter().map(|word| Value::from(*word)).collect();
        let command = CustomCommand::new_static(command, ClusterHash::FirstKey, false);
        self.client.custom(command, words).await.unwrap()
    }

    fn slot_key(&self, rest: &str) -> String {
        self.engine().keys().log(self.stage.partition()).replace(":log", &format!(":{rest}"))
    }

    pub fn keys(&self) -> [String; 6] {
        KEYS.map(|name| self.slot_key(&format!("waiting_room{name}:{}", self.id().0)))
    }

    pub async fn set_clock(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        self.raw("SET", &[&self.slot_key("test_clock"), &now_ms.to_string()]).await;
    }

    pub async fn advance(&mut self, ms: i64) {
        self.set_clock(self.now_ms + ms).await;
    }

    /// Redis forgets the room.
    pub async fn forget(&self) {
        for key in self.keys() {
            self.raw("DEL", &[&key]).await;
        }
    }

    /// Keeps the room as it is now, for `cut`.
    pub async fn save(&self) {
        for key in self.keys() {
            self.raw("DEL", &[&format!("{key}:saved")]).await;
            self.raw("COPY", &[&key, &format!("{key}:saved")]).await;
        }
    }

    /// Redis forgets what it wrote since `save`.
    pub async fn cut(&self) {
        self.forget().await;
        for key in self.keys() {
            self.raw("COPY", &[&format!("{key}:saved"), &key]).await;
        }
    }

    /// The next revision of the settings; whether Redis took it.
    pub async fn configure(&mut self, floors: Floors) -> bool {
        self.revision += 1;
        let room = RoomConfiguration {
            revision: self.revision,
            settings: &self.settings,
            draw: self.draw,
            draw_joined: self.draw_joined,
            commitment: COMMITMENT,
            keep_ms: KEEP_MS,
        };
        self.engine().room_configure(self.id(), &room, floors).await.unwrap()
    }

    /// Other settings, as an operator makes them.
    pub async fn change(&mut self, change: impl FnOnce(&mut RoomSettings)) {
        change(&mut self.settings);
        assert!(self.configure(Floors::default()).await);
    }

    /// Other times of the event's sale, as an operator sets them.
    pub async fn move_sale(&mut self, on_sale_at_ms: i64, off_sale_at_ms: Option<i64>) {
        let event = &mut self.stage.event;
        (event.on_sale_at_ms, event.off_sale_at_ms) = (Some(on_sale_at_ms), off_sale_at_ms);
        event.revision += 1;
        let updated = self.engine().update_event(&self.stage.event).await.unwrap();
        self.stage.expect("ok", updated);
    }

    pub async fn try_join(&self, user: &str) -> RoomJoinReply {
        let user = self.stage.user(user);
        self.engine().room_join(self.id(), &user, None, Floors::default()).await.unwrap()
    }

    /// Joins; the number.
    pub async fn join(&self, user: &str) -> u64 {
        match self.try_join(user).await {
            RoomJoinReply::Given { number, .. } | RoomJoinReply::Replayed { number, .. } => number,
            other => panic!("{user}: {other:?}"),
        }
    }

    /// Claims by a number that is the place as well.
    pub async fn claim(&self, user: &str, number: u64) -> RoomClaimReply {
        self.claim_at(user, number, number, Floors::default()).await
    }

    pub async fn claim_at(
        &self,
        user: &str,
        number: u64,
        place: u64,
        floors: Floors,
    ) -> RoomClaimReply {
        let user = self.stage.user(user);
        let place = RoomPlace { user: &user, number, place, issued_ms: START_MS };
        self.engine().room_claim(self.id(), place, floors).await.unwrap().reply
    }

    pub async fn leave(&self, user: &str, number: u64) -> bool {
        let user = self.stage.user(user);
        let place = RoomPlace { user: &user, number, place: number, issued_ms: START_MS };
        self.engine().room_leave(self.id(), place, Floors::default()).await.unwrap().0
    }

    /// Opens places; how many.
    pub async fn admit(&self) -> u64 {
        let floors = Floors::default();
        let admitted = self.engine().room_admit(self.id(), &self.settings, ANY, floors);
        admitted.await.unwrap().expect("a room that is on").opened
    }

    /// The same once the time between two batches has passed.
    pub async fn admit_next(&mut self) -> u64 {
        self.advance(1_000).await;
        self.admit().await
    }

    pub async fn look(&self) -> RoomState {
        self.look_with(0, u64::MAX >> 12).await
    }

    pub async fn look_with(&self, attempts: u64, known_left: u64) -> RoomState {
        let floors = Floors::default();
        self.engine().room_look(self.id(), attempts, known_left, floors).await.unwrap()
    }

    pub async fn hold(&self, user: &str, number: u64, seat: u32) -> Timed<HoldReply> {
        self.hold_as(user, number, seat, &new_nonce()).await
    }

    /// A hold under this idempotency digest.
    pub async fn hold_as(
        &self,
        user: &str,
        number: u64,
        seat: u32,
        digest: &str,
    ) -> Timed<HoldReply> {
        let seats = [SeatId(seat)];
        let call = HoldCall {
            event: self.stage.event.id,
            generation: self.stage.event.generation,
            layout_version: self.stage.event.layout_version,
            currency: &self.stage.event.currency,
            booking: BookingId::new(self.id(), START_MS as u64, rand::random()),
            user: &self.stage.user(user),
            nonce: &new_nonce(),
            selection: SeatSelection::named(&seats, 1_000),
            idempotency: digest,
            fingerprint: "f",
            trace: "",
            idempotency_ttl_ms: 86_400_000,
            replay_window_ms: 0,
            log_entries_max: 1_000_000,
            room_number: number,
            exempt: false,
        };
        self.engine().hold(&call, NotAfter(i64::MAX)).await.unwrap()
    }

    /// Pays a held booking.
    pub async fn sell(&self, booking: BookingId, user: &str) {
        let (engine, event) = (self.engine(), &self.stage.event);
        let user = self.stage.user(user);
        let begun = engine.confirm_begin(event, booking, &user, &new_nonce(), 30_000, 3).await;
        let lease = begun.unwrap().into_booking().unwrap().lease;
        let sold = engine.confirm_commit(event.generation, booking, lease, "pay").await.unwrap();
        self.stage.expect("ok", sold);
    }
}

/// The session's end.
#[track_caller]
pub fn session(claimed: RoomClaimReply) -> i64 {
    match claimed {
        RoomClaimReply::Session { ends_ms, .. } => ends_ms,
        other => panic!("no session: {other:?}"),
    }
}

/// How many are owed a place before this one.
#[track_caller]
pub fn owed(claimed: RoomClaimReply) -> u64 {
    match claimed {
        RoomClaimReply::Owed { before_them, .. } => before_them,
        other => panic!("nothing is owed: {other:?}"),
    }
}

#[track_caller]
pub fn refused(refusal: RoomClaimReply, claimed: RoomClaimReply) {
    assert_eq!(claimed, refusal);
}

#[track_caller]
pub fn waits(claimed: RoomClaimReply) {
    assert!(matches!(claimed, RoomClaimReply::Waiting { .. }), "{claimed:?}");
}
