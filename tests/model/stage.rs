//! Runs sequences on a real Redis and on the model, side by side, and says where they differ.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::config::Config;
use fred::types::{Builder, ClusterHash, CustomCommand, Value};
use holdfast::domain::{Event, EventId, Partition};
use holdfast::redis::scripts::Scripts;
use holdfast::redis::{Engine, RedisError, RedisSettings};

use super::call::{Call, Sent};
use super::hall::{event, fresh};
use super::operations::{Op, Sequence, Setting};
use super::sale::Sale;
use super::world::World;
use super::{CHECK_EVERY, START_MS};
use crate::support::engine::NoObserver;
use crate::support::{Flavor, servers, unique_name};

/// How long an idempotency record lives; by Redis' own clock, so none ends during a test.
pub const RECORD_TTL_MS: i64 = 86_400_000;
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
            address: url.as_str().try_into().unwrap(),
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
        self.run_seen(sequence, async |_: EventId| Ok(())).await
    }

    /// The same; `seen` looks at the event after each operation.
    pub async fn run_seen(
        &self,
        sequence: &Sequence,
        seen: impl AsyncFn(EventId) -> Result<(), Difference>,
    ) -> Result<usize, Difference> {
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
            if result.is_ok() {
                result = seen(id).await;
            }
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

/// A sequence under way.
pub struct Run<'a> {
    pub stage: &'a Stage,
    pub event: Event,
    pub sale: Sale,
    pub world: World,
    /// The token of the last load.
    pub token: String,
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
