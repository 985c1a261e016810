//! Runs sequences on a real Redis and on the model, side by side, and says where they differ.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::config::Config;
use fred::types::{Builder, ClusterHash, CustomCommand, Value};
use holdfast::domain::event::LoadState;
use holdfast::domain::layout::{Row, Section};
use holdfast::domain::wanted::{Place, neighbours, places};
use holdfast::domain::{Event, EventId, EventStatus, Inventory, Layout, Partition, SeatId};
use holdfast::redis::scripts::Scripts;
use holdfast::redis::{
    AbortMode, Answer, BlockCall, Body, Code, Engine, HoldCall, Load, NotAfter, RedisError,
    RedisSettings, SettleCall, Wanted,
};

use super::call::{Asked, Call, Hold, Sent, Which};
use super::operations::{Hall, Op, Sequence, Setting};
use super::rules::HOUSE;
use super::sale::{self, EventState, Operated, Sale};
use super::world::World;
use super::{CHECK_EVERY, START_MS};
use crate::support::engine::NoObserver;
use crate::support::{Flavor, servers, unique_name};

/// How long an idempotency record lives; by Redis' own clock, so none ends during a test.
pub const RECORD_TTL_MS: i64 = 86_400_000;
/// Calls that one search may need.
const SCANS_MAX: usize = 200;
/// Bound of one command: a difference must not come from a busy machine.
const TIMEOUT_MS: u64 = 20_000;

/// Where Redis is not as the model.
#[derive(Clone, Debug)]
pub struct Difference {
    /// After how many operations.
    pub at: usize,
    pub what: String,
    /// No answer at all, or a script that ended in an error.
    pub failed: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} operations: {}", self.at, self.what)
    }
}

impl From<RedisError> for Difference {
    fn from(error: RedisError) -> Self {
        Difference { at: 0, what: format!("{error:?}"), failed: true }
    }
}

/// Says that the model is right and Redis wrong.
pub fn differs(what: String) -> Difference {
    Difference { at: 0, what, failed: false }
}

/// One Redis with one set of scripts.
pub struct Stage {
    pub engine: Engine,
    /// For what the engine does not do: setting the clock, reading keys.
    client: Client,
    next_event: AtomicU32,
    /// How often each script gave each answer.
    pub met: RefCell<Met>,
}

/// Script and code, and how often they were met.
pub type Met = BTreeMap<(&'static str, &'static str), usize>;

impl Stage {
    pub async fn new(flavor: Flavor, scripts: Scripts) -> Self {
        let url = servers::shared_redis(flavor).url();
        let settings = RedisSettings {
            url: url.clone(),
            namespace: unique_name(),
            partitions: 1,
            clients: 1,
            timeout_ms: TIMEOUT_MS,
            in_flight_max: 100,
        };
        let engine = Engine::connect(settings, scripts, Arc::new(NoObserver)).await.unwrap();
        let client = Builder::from_config(Config::from_url(&url).unwrap()).build().unwrap();
        client.init().await.unwrap();
        Stage { engine, client, next_event: AtomicU32::new(1), met: Default::default() }
    }

    /// Runs a sequence on an event of its own; answers with the number of its operations.
    pub async fn run(&self, sequence: &Sequence) -> Result<usize, Difference> {
        let id = EventId(self.next_event.fetch_add(1, Ordering::Relaxed));
        let mut run = Run::new(self, event(id, sequence.setting), sequence.setting);
        let mut result = run.begin().await;
        let mut done = 0;
        for op in &sequence.ops {
            if result.is_err() {
                break;
            }
            done += 1;
            result = run.step(op).await;
            if result.is_ok() && done % CHECK_EVERY == 0 {
                result = run.check().await;
            }
        }
        if result.is_ok() {
            result = run.check().await;
        }
        run.forget().await;
        result.map(|()| done).map_err(|difference| Difference { at: done, ..difference })
    }

    /// Sends a plain command.
    pub async fn raw(&self, name: &'static str, args: Vec<String>) -> Value {
        let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
        self.client.custom(command, args).await.unwrap()
    }
}

/// Where a search goes on: sections that it has not seen to their end, and free seats of the
/// first of them that it has found.
struct Rest {
    places: Vec<Place>,
    kept: Vec<SeatId>,
    /// Whether an earlier call was somewhere else.
    resumed: bool,
}

/// A sequence under way.
pub struct Run<'a> {
    pub stage: &'a Stage,
    pub event: Event,
    pub sale: Sale,
    world: World,
    /// The token of the last load.
    token: String,
    /// How far the log was read and compared.
    pub read: super::log::Reading,
}

impl<'a> Run<'a> {
    fn new(stage: &'a Stage, event: Event, setting: Setting) -> Self {
        Run {
            stage,
            sale: Sale::new(START_MS, fresh(&event)),
            world: World::new(event.clone(), setting.users),
            event,
            token: String::new(),
            read: Default::default(),
        }
    }

    pub fn partition(&self) -> Partition {
        self.stage.engine.keys().partition_of(self.event.id)
    }

    async fn begin(&mut self) -> Result<(), Difference> {
        self.set_clock(START_MS).await;
        self.load_and_open().await
    }

    async fn step(&mut self, op: &Op) -> Result<(), Difference> {
        match op {
            Op::Pass(step) => self.set_clock(World::after(*step, &self.sale)).await,
            Op::Do(act, manner) => {
                if let Some(sent) = self.world.call(act, *manner, &self.sale) {
                    return self.send(&sent).await;
                }
            }
            Op::Delay(act, manner) => {
                self.world.call(act, *manner, &self.sale);
            }
            Op::Again(nth) => {
                if let Some(sent) = self.world.again(*nth) {
                    return self.send(&sent).await;
                }
            }
            Op::Lose => self.lose().await,
            Op::Restart => {
                self.lose().await;
                return self.load_and_open().await;
            }
        }
        Ok(())
    }

    async fn lose(&mut self) {
        self.world.lose(&self.sale);
        self.sale.event = None;
        let keys = self.stage.engine.keys().event_keys(self.event.id);
        let events = keys.into_iter().filter(|key| !is_partitions(key));
        self.stage.raw("DEL", events.collect()).await;
    }

    async fn load_and_open(&mut self) -> Result<(), Difference> {
        let operated = self.sale.fresh.operated.clone();
        let (generation, not_after_ms) = (self.world.generation, self.sale.now_ms);
        for call in [Call::Load(operated), Call::Open { own_token: true }] {
            self.send(&Sent { not_after_ms, generation, call }).await?;
        }
        Ok(())
    }

    async fn set_clock(&mut self, now_ms: i64) {
        self.sale.now_ms = now_ms;
        let log = self.stage.engine.keys().log(self.partition());
        let key = log.replace(":log", ":test_clock");
        self.stage.raw("SET", vec![key, now_ms.to_string()]).await;
    }

    /// Makes a call, and as many more as a search needs.
    async fn send(&mut self, sent: &Sent) -> Result<(), Difference> {
        let mut rest = None;
        for _ in 0..SCANS_MAX {
            rest = self.send_once(sent, rest.as_ref()).await?;
            if rest.is_none() {
                return Ok(());
            }
        }
        Err(differs(format!("the search does not end: {sent:#?}")))
    }

    /// Makes a call, in Redis and in the model; says where a search goes on.
    async fn send_once(
        &mut self,
        sent: &Sent,
        rest: Option<&Rest>,
    ) -> Result<Option<Rest>, Difference> {
        self.stage.engine.pin_not_after(NotAfter(sent.not_after_ms));
        let answer = self.answer(sent, rest).await?;
        let expected = self.sale.call(sent, &answer, rest.is_some_and(|rest| rest.resumed));
        let met = (sent.call.script().name(), answer.code.word());
        *self.stage.met.borrow_mut().entry(met).or_default() += 1;
        if let Some(event) = &self.sale.event {
            self.world.generation = self.world.generation.max(event.generation);
        }
        if answer != expected {
            let text = format!("{sent:#?}\nanswered {answer:#?}\ninstead of {expected:#?}");
            return Err(differs(text));
        }
        let Body::Scan(scan) = answer.body else { return Ok(None) };
        let places = rest.map_or_else(|| self.from_start(sent).places, |rest| rest.places.clone());
        let Some(section) = scan.section else {
            return Ok(Some(self.from_start(sent)));
        };
        let mut places = places[section..].to_vec();
        places[0].first = scan.seat;
        Ok(Some(Rest { places, kept: scan.kept, resumed: true }))
    }

    /// A search that has not begun.
    fn from_start(&self, sent: &Sent) -> Rest {
        let places = match &sent.call {
            Call::Hold(Hold { asked: Asked::Search { quantity, .. }, .. }) => {
                places(&self.event.layout, quantity)
            }
            _ => Vec::new(),
        };
        Rest { places, kept: Vec::new(), resumed: false }
    }

    async fn answer(&mut self, sent: &Sent, rest: Option<&Rest>) -> Result<Answer, RedisError> {
        let (engine, generation) = (&self.stage.engine, sent.generation);
        let event = &Event { generation, ..self.event.clone() };
        match &sent.call {
            Call::Hold(hold) => {
                let from_start = self.from_start(sent);
                self.answer_hold(hold, sent, rest.unwrap_or(&from_start)).await
            }
            Call::Block { action, seats, reason, layout_version } => {
                let event = &Event { layout_version: *layout_version, ..event.clone() };
                let call = BlockCall { event, action: *action, seats, actor: HOUSE, reason };
                engine.block(&call).await
            }
            Call::Abort { digest, lost_nonce, not_before_ms } => {
                let not_before = NotAfter(*not_before_ms);
                engine.abort(event.id, generation, digest, lost_nonce, not_before).await
            }
            Call::ConfirmBegin { booking, user, nonce, lease_ms, attempts_max } => {
                engine.confirm_begin(event, *booking, user, nonce, *lease_ms, *attempts_max).await
            }
            Call::ConfirmAbort { booking, which } => {
                engine.confirm_abort(generation, *booking, &mode(which)).await
            }
            Call::ConfirmCommit { booking, lease, payment } => {
                engine.confirm_commit(generation, *booking, *lease, payment).await
            }
            Call::Cancel { booking, user } => engine.cancel(event, *booking, user).await,
            Call::Extend { booking, user, nonce } => {
                engine.extend(event, *booking, user, nonce).await
            }
            Call::Expire { batch } => engine.expire(event.id, generation, *batch).await,
            Call::Settle { outcome, archived } => {
                let outcome = outcome.word();
                let call = SettleCall {
                    generation,
                    outcome,
                    tell_until: None,
                    acknowledge: None,
                    booking: archived,
                };
                engine.settle(&call).await
            }
            Call::UpdateEvent(operated) => engine.update_event(&operated_as(event, operated)).await,
            Call::GetBooking { booking } => engine.get_booking(*booking).await,
            Call::Beat { min_age_ms } => {
                let answer = engine.beat(self.partition(), *min_age_ms).await?;
                Ok(Answer { body: Body::Empty, ..answer })
            }
            Call::Load(operated) => self.answer_load(&operated_as(event, operated)).await,
            Call::Open { own_token } => {
                let token = if *own_token { self.token.as_str() } else { "another" };
                engine.open_event(event, token).await
            }
        }
    }

    async fn answer_hold(
        &self,
        hold: &Hold,
        sent: &Sent,
        rest: &Rest,
    ) -> Result<Answer, RedisError> {
        let (generation, layout_version) = (sent.generation, hold.layout_version);
        let event = &Event { generation, layout_version, ..self.event.clone() };
        let neighbours = match &hold.asked {
            Asked::Named { seats, .. } => neighbours(&event.layout, seats),
            Asked::Search { .. } => Vec::new(),
        };
        let call = HoldCall {
            event,
            booking: hold.booking,
            user: &hold.user,
            nonce: &hold.nonce,
            wanted: match &hold.asked {
                Asked::Named { seats, amount } => Wanted::Seats {
                    seats,
                    amount: *amount,
                    orphan_rule: event.orphan_rule,
                    neighbours: &neighbours,
                },
                Asked::Search { quantity, bounds } => Wanted::Quantity {
                    seats: quantity.seats,
                    split: !quantity.together,
                    places: &rest.places,
                    kept: &rest.kept,
                    resumed: rest.resumed,
                    bounds: *bounds,
                },
            },
            idempotency: &hold.digest,
            fingerprint: &hold.fingerprint,
            trace: &hold.trace,
            idempotency_ttl_ms: RECORD_TTL_MS,
            replay_window_ms: hold.replay_window_ms,
            log_entries_max: hold.log_entries_max,
        };
        self.stage.engine.hold(&call, NotAfter(sent.not_after_ms)).await
    }

    /// A load says what became of it in a form of its own.
    async fn answer_load(&mut self, event: &Event) -> Result<Answer, RedisError> {
        let inventory = Inventory::free(&event.layout);
        let code = match self.stage.engine.load_event(event, &inventory).await? {
            Load::Loading { token } => {
                self.token = token;
                Code::Ok
            }
            Load::Open => Code::EventExists,
            Load::Refused(code) => code,
        };
        Ok(Answer { code, now_ms: self.sale.now_ms, body: Body::Empty })
    }

    /// Takes everything out of Redis.
    async fn forget(&self) {
        let keys = self.stage.engine.keys();
        let mut all = keys.event_keys(self.event.id);
        all.extend(self.sale.records.keys().map(|d| keys.idempotency(self.event.id, d)));
        self.stage.raw("DEL", all).await;
    }
}

/// Whether a key is the partition's, not the event's.
fn is_partitions(key: &str) -> bool {
    key.ends_with(":log") || key.ends_with(":link")
}

fn mode(which: &Which) -> AbortMode {
    match which {
        Which::Lease(lease) => AbortMode::Lease(*lease),
        Which::Nonce { nonce, not_before_ms } => {
            AbortMode::Nonce { nonce: nonce.clone(), not_before: NotAfter(*not_before_ms) }
        }
        Which::Lapsed => AbortMode::Lapsed,
    }
}

fn operated_as(event: &Event, operated: &Operated) -> Event {
    Event {
        revision: operated.revision,
        status: operated.status,
        on_sale_at_ms: Some(operated.on_sale_at_ms),
        ..event.clone()
    }
}

/// The event that a sequence sells.
fn event(id: EventId, setting: Setting) -> Event {
    let row = |row: &str, seats| Row { row: row.into(), seats };
    let rows = |name: &str, price, rows: Vec<Row>| Section {
        name: name.into(),
        price,
        rows: Some(rows),
        capacity: None,
    };
    let floor =
        |price, places| Section { name: "Floor".into(), price, rows: None, capacity: Some(places) };
    let sections = match setting.hall {
        Hall::Small => {
            vec![rows("Stalls", 5_000, vec![row("A", 3), row("B", 5)]), floor(2_000, 4)]
        }
        Hall::Wide => vec![
            rows("Stalls", 5_000, vec![row("A", 10), row("B", 7), row("C", 11)]),
            floor(2_000, 12),
            rows("Balcony", 3_000, vec![row("A", 8)]),
        ],
    };
    Event {
        id,
        name: "Model".into(),
        description: String::new(),
        venue: String::new(),
        currency: "EUR".into(),
        starts_at_ms: None,
        on_sale_at_ms: None,
        hold_ttl_ms: 60_000,
        max_hold_ms: i64::from(setting.max_hold_s) * 1_000,
        max_seats_per_user: u32::from(setting.per_user),
        orphan_rule: setting.orphan_rule,
        status: EventStatus::OnSale,
        revision: 1,
        load_state: LoadState::New,
        generation: 1,
        layout_version: 1,
        layout: Arc::new(Layout::new(sections).unwrap()),
        created_at_ms: START_MS,
    }
}

/// The event as a load brings it into Redis.
fn fresh(event: &Event) -> EventState {
    let (mut sections, mut row_starts, mut next) = (Vec::new(), BTreeSet::new(), 1);
    for section in event.layout.sections() {
        let first = SeatId(next);
        let rows = section.rows.iter().flatten().map(|row| row.seats);
        for seats in rows.chain(section.capacity) {
            row_starts.insert(SeatId(next));
            next += seats;
        }
        sections.push(sale::Section {
            name: section.name.clone(),
            first,
            last: SeatId(next - 1),
            price: section.price,
            rows: section.rows.is_some(),
        });
    }
    EventState {
        id: event.id,
        open: false,
        generation: event.generation,
        version: 0,
        operated: Operated {
            revision: event.revision,
            status: event.status,
            on_sale_at_ms: event.on_sale_at_ms.unwrap_or(0),
        },
        layout_version: event.layout_version,
        hold_ttl_ms: event.hold_ttl_ms,
        max_hold_ms: event.max_hold_ms,
        per_user: i64::from(event.max_seats_per_user),
        currency: event.currency.clone(),
        total: next - 1,
        row_starts,
        sections,
        orphan_rule: event.orphan_rule,
        bookings: Default::default(),
        holders: Default::default(),
        blocked: Default::default(),
    }
}
