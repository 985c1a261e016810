//! The scripts on a real Redis with a clock that the test sets, and one small event.

use std::fmt::Debug;
use std::sync::Arc;

use holdfast::domain::event::LoadState;
use holdfast::domain::idempotency::seats_fingerprint;
use holdfast::domain::layout::{Row, Section};
use holdfast::domain::{
    BookingId, Event, EventId, EventStatus, Inventory, Layout, OrphanRule, Partition, SeatId,
    UserId,
};
use holdfast::redis::scripts::{ClockSource, Scripts};
use holdfast::redis::{
    Detail, Engine, EventSnapshot, HoldCall, HoldReply, NotAfter, Observer, OpenEventReply, Read,
    RedisSettings, ScriptReply, SeatSelection, Timed, new_nonce,
};

use super::servers::{Flavor, Server, shared_redis};
use super::unique_name;

/// Where the swapped clock starts, Unix ms.
pub const START_MS: i64 = 1_800_000_000_000;

/// Nobody looks at the metrics of these tests.
pub struct NoObserver;
impl Observer for NoObserver {
    fn script_called(&self, _: &'static str, _: &'static str, _: f64) {}
}

/// Settings for a Redis under a name of the test's own.
pub fn settings(url: String, namespace: String) -> RedisSettings {
    RedisSettings {
        address: url.as_str().try_into().unwrap(),
        namespace,
        partitions: 4,
        clients: 2,
        timeout_ms: 2_000,
        in_flight_max: 10_000,
    }
}

/// More entries than the log of any test has.
pub const PLENTY: u64 = 1_000_000;

/// One open event on an engine with a swapped clock.
pub struct Stage {
    pub engine: Engine,
    pub event: Event,
}

/// The event that tests sell: row A of 3, row B of 5, and 4 places on the floor.
pub fn small_event(id: u32) -> Event {
    let row = |row: &str, seats| Row { row: row.into(), seats };
    let sections = vec![
        Section {
            name: "Stalls".into(),
            price: 5_000,
            rows: Some(vec![row("A", 3), row("B", 5)]),
            capacity: None,
        },
        Section { name: "Floor".into(), price: 2_000, rows: None, capacity: Some(4) },
    ];
    Event {
        id: EventId(id),
        name: "Test".into(),
        description: String::new(),
        venue: String::new(),
        currency: "EUR".into(),
        starts_at_ms: None,
        on_sale_at_ms: None,
        off_sale_at_ms: None,
        hold_ttl_ms: 60_000,
        max_hold_ms: 150_000,
        max_seats_per_user: 4,
        orphan_rule: OrphanRule::Off,
        cancel_policy: Default::default(),
        status: EventStatus::OnSale,
        revision: 1,
        edits: 0,
        load_state: LoadState::New,
        generation: 1,
        layout_version: 1,
        seat_names_have_section: true,
        layout: Arc::new(Layout::new(sections).unwrap()),
        created_at_ms: START_MS,
    }
}

impl Stage {
    /// A fresh event 1, open, at `START_MS`.
    pub async fn new(flavor: Flavor) -> Self {
        Stage::with_event(flavor, small_event(1)).await
    }

    /// This event, open, at `START_MS`.
    pub async fn with_event(flavor: Flavor, event: Event) -> Self {
        let stage = Stage::unopened(flavor, event).await;
        stage.load_and_open().await;
        stage
    }

    /// The small event, open, at `START_MS`, on a Redis of the test's own.
    pub async fn on(redis: &Server) -> Self {
        let stage = Stage::unopened_on(redis, small_event(1)).await;
        stage.load_and_open().await;
        stage
    }

    /// This event, not in Redis yet, at `START_MS`.
    pub async fn unopened(flavor: Flavor, event: Event) -> Self {
        Stage::unopened_on(shared_redis(flavor), event).await
    }

    async fn unopened_on(redis: &Server, event: Event) -> Self {
        let settings = settings(redis.url(), unique_name());
        let engine = Engine::connect(
            settings,
            Scripts::embedded(ClockSource::Swapped),
            Arc::new(NoObserver),
        )
        .await
        .unwrap();
        let stage = Stage { engine, event };
        stage.set_clock(START_MS).await;
        stage
    }

    /// Loads the event with every seat free, and opens it.
    pub async fn load_and_open(&self) {
        let token = self.load().await;
        self.expect("ok", self.engine.open_event(&self.event, &token).await.unwrap());
    }

    /// Loads the event with every seat free; the load's token.
    pub async fn load(&self) -> String {
        self.load_with(&Inventory::free(&self.event.layout)).await
    }

    /// Loads the event with this inventory, and opens it.
    pub async fn open_with(&self, inventory: &Inventory) {
        let token = self.load_with(inventory).await;
        self.expect("ok", self.engine.open_event(&self.event, &token).await.unwrap());
    }

    async fn load_with(&self, inventory: &Inventory) -> String {
        match self.engine.load_event(&self.event, inventory).await.unwrap() {
            OpenEventReply::Done { token } => token,
            other => panic!("not loaded: {other:?}"),
        }
    }

    pub fn partition(&self) -> Partition {
        self.engine.keys().partition_of(self.event.id)
    }

    /// Sets the clock that the scripts see.
    pub async fn set_clock(&self, now_ms: i64) {
        let key = self.engine.keys().log(self.partition()).replace(":log", ":test_clock");
        self.raw(&["SET", &key, &now_ms.to_string()]).await;
        // The engine's own estimate follows with the next reply.
        self.engine.redis_time_ms(self.partition()).await.unwrap();
    }

    /// Sends a plain command.
    pub async fn raw(&self, words: &[&str]) -> String {
        let url = self.engine.settings().address.expose().to_owned();
        let address = url.rsplit('/').next().unwrap().to_owned();
        let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
        tokio::task::spawn_blocking(move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            super::servers::redis_command(&address, &words).unwrap()
        })
        .await
        .unwrap()
    }

    /// A hold under a key of its own.
    pub async fn hold(&self, user: &str, seats: &[u32]) -> Timed<HoldReply> {
        self.hold_as(user, seats, &new_nonce(), &new_nonce()).await
    }

    /// A hold under this idempotency digest and nonce.
    pub async fn hold_as(
        &self,
        user: &str,
        seats: &[u32],
        digest: &str,
        nonce: &str,
    ) -> Timed<HoldReply> {
        let booking = BookingId::new(self.event.id, START_MS as u64, rand::random());
        let not_after = self.engine.not_after(self.partition()).await.unwrap();
        self.hold_call(user, seats, digest, nonce, booking, not_after).await
    }

    /// A hold with everything named.
    pub async fn hold_call(
        &self,
        user: &str,
        seats: &[u32],
        digest: &str,
        nonce: &str,
        booking: BookingId,
        not_after: NotAfter,
    ) -> Timed<HoldReply> {
        let seats: Vec<SeatId> = seats.iter().copied().map(SeatId).collect();
        let fingerprint = seats_fingerprint(self.event.id, &seats);
        let call = HoldCall {
            event: self.event.id,
            generation: self.event.generation,
            layout_version: self.event.layout_version,
            currency: &self.event.currency,
            booking,
            user: &self.user(user),
            nonce,
            selection: SeatSelection::named(&seats, self.event.layout.amount(&seats).unwrap_or(0)),
            idempotency: digest,
            fingerprint: &fingerprint,
            trace: "",
            idempotency_ttl_ms: 86_400_000,
            replay_window_ms: 0,
            log_entries_max: PLENTY,
            room_number: 0,
            exempt: false,
        };
        self.engine.hold(&call, not_after).await.unwrap()
    }

    pub fn user(&self, name: &str) -> UserId {
        name.parse().unwrap()
    }

    /// Everything Redis has of the event.
    pub async fn snapshot(&self) -> EventSnapshot {
        self.engine.snapshot(self.event.id, Detail::All).await.unwrap().unwrap()
    }

    /// The inventory as text, without its format byte.
    pub async fn seats(&self) -> String {
        let snapshot = self.snapshot().await;
        String::from_utf8(snapshot.inventory.unwrap().as_bytes()[1..].to_vec()).unwrap()
    }

    /// The whole booking log.
    pub async fn log(&self) -> Vec<Read> {
        self.engine.range(self.partition(), Default::default(), None, 100_000).await.unwrap()
    }

    /// The kinds in the booking log after `opened`.
    pub async fn kinds(&self) -> Vec<&'static str> {
        let log = self.log().await;
        log[1..].iter().map(|read| read.entry.as_ref().unwrap().kind.as_str()).collect()
    }

    #[track_caller]
    pub fn expect<R: ScriptReply + Debug>(&self, code: &str, timed: Timed<R>) -> Timed<R> {
        assert_eq!(timed.code(), code, "{timed:?}");
        timed
    }
}
