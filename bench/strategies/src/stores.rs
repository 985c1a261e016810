//! Redis and MongoDB, which all strategies share: connections, keys, and the bookings' documents.

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fred::clients::{Client, Pool};
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::config::{Config, ConnectionConfig};
use mongodb::bson::{Document, doc};
use mongodb::error::{ErrorKind, WriteFailure};
use mongodb::options::{Acknowledgment, ClientOptions, CollectionOptions, WriteConcern};
use mongodb::{Collection, Database};

/// Why a request failed: neither granted nor refused.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Connections to Redis. Each carries many commands at once.
const REDIS_CONNECTIONS: usize = 4;
/// Connections to MongoDB: each carries one command at a time.
const MONGODB_CONNECTIONS: u32 = 128;
/// Bound of a command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
/// MongoDB's code for an `_id` that is there already.
const DUPLICATE_KEY: i32 = 11_000;

/// One request for seats.
#[derive(Clone, Debug)]
pub struct Order {
    /// Id of the booking, should it become one.
    pub id: String,
    pub event: u64,
    /// Distinct, ascending, and of the event.
    pub seats: Vec<u32>,
    pub user: String,
}

impl Order {
    /// The booking's document.
    pub fn document(&self) -> Document {
        let places: Vec<String> = self.places().collect();
        doc! {
            "_id": &self.id,
            "event_id": self.event as i64,
            "places": places,
            "user": &self.user,
            "created_ms": now_ms(),
        }
    }

    /// `event:seat` of every seat.
    pub fn places(&self) -> impl Iterator<Item = String> {
        self.seats.iter().map(|seat| place(self.event, *seat))
    }
}

/// The name of a seat that no other event's seat has.
pub fn place(event: u64, seat: u32) -> String {
    format!("{event}:{seat}")
}

/// Returns the time, Unix ms.
pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// Connections to both, and the names of this strategy's data.
#[derive(Clone)]
pub struct Stores {
    pub redis: Pool,
    redis_url: String,
    mongodb: Database,
    namespace: String,
}

impl Stores {
    /// Connects.
    ///
    /// # Errors
    /// If one of them does not respond.
    pub async fn connect(redis: &str, mongodb: &str, namespace: &str) -> Result<Self, Failure> {
        let config = Config::from_url(redis)?;
        let pool = Pool::new(config, None, Some(connection()), None, REDIS_CONNECTIONS)?;
        pool.init().await?;
        let mut options = ClientOptions::parse(mongodb).await?;
        options.max_pool_size = Some(MONGODB_CONNECTIONS);
        let database = mongodb::Client::with_options(options)?.database(namespace);
        database.run_command(doc! { "ping": 1 }).await?;
        Ok(Stores {
            redis: pool,
            redis_url: redis.to_owned(),
            mongodb: database,
            namespace: namespace.to_owned(),
        })
    }

    /// Opens a connection to Redis for blocking commands, behind which all others would wait.
    pub async fn blocking_redis(&self) -> Result<Client, Failure> {
        let config = Config::from_url(&self.redis_url)?;
        let client = Client::new(config, None, Some(connection()), None);
        client.init().await?;
        Ok(client)
    }

    /// The key of this name.
    pub fn key(&self, name: impl std::fmt::Display) -> String {
        format!("{}:{name}", self.namespace)
    }

    /// A collection whose writes a majority of the replica set has in its journal.
    pub fn durable(&self, name: &str) -> Collection<Document> {
        let concern = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
        self.collection(name, concern)
    }

    /// A collection whose writes are acknowledged by the primary alone.
    pub fn quick(&self, name: &str) -> Collection<Document> {
        self.collection(name, WriteConcern::builder().w(Acknowledgment::Nodes(1)).build())
    }

    fn collection(&self, name: &str, concern: WriteConcern) -> Collection<Document> {
        let options = CollectionOptions::builder().write_concern(concern).build();
        self.mongodb.collection_with_options(name, options)
    }

    /// The bookings: one document for every win.
    pub fn bookings(&self) -> Collection<Document> {
        self.durable("bookings")
    }

    /// Gives out the next event's id.
    pub async fn next_event(&self) -> Result<u64, Failure> {
        Ok(self.redis.incr(self.key("events")).await?)
    }

    /// Puts an event on sale.
    pub async fn save_event(&self, event: u64, capacity: u32) -> Result<(), Failure> {
        Ok(self.redis.set(self.key(format!("event:{event}")), capacity, None, None, false).await?)
    }

    /// Returns the number of an event's seats; `None`: there is no such event.
    pub async fn capacity(&self, event: u64) -> Result<Option<u32>, Failure> {
        Ok(self.redis.get(self.key(format!("event:{event}"))).await?)
    }
}

fn connection() -> ConnectionConfig {
    ConnectionConfig {
        // A command whose reply was lost is not sent again: it may have been carried out.
        max_command_attempts: 1,
        internal_command_timeout: COMMAND_TIMEOUT,
        ..ConnectionConfig::default()
    }
}

/// Whether a write failed because its `_id` is there already.
pub fn is_duplicate(error: &mongodb::error::Error) -> bool {
    match error.kind.as_ref() {
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == DUPLICATE_KEY,
        ErrorKind::Command(error) => error.code == DUPLICATE_KEY,
        _ => false,
    }
}
