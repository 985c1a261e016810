//! What a load costs Redis and MongoDB by their own counts: Redis' of commands (`INFO
//! commandstats`, where commands of scripts count as well), MongoDB's of operations
//! (`serverStatus`).

use std::error::Error;
use std::time::{Duration, Instant};

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::InfoKind;
use fred::types::config::Config;
use mongodb::bson::{Bson, Document, doc};

/// Commands of Redis that are the measurement's own.
const OWN_COMMANDS: [&str; 4] = ["client|setname", "client|setinfo", "info", "ping"];
/// Operations of MongoDB that are counted. Others are the drivers' (`hello`) and the measurement's
/// own.
const OPERATIONS: [&str; 5] = ["insert", "query", "update", "delete", "getmore"];

/// Redis is quiet when it has at most so many commands in such a time.
const QUIET_WINDOW: Duration = Duration::from_millis(100);
const QUIET_COMMANDS: u64 = 20;
/// How long it is waited for.
const QUIET_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads both servers' counts.
pub struct Counters {
    redis: Client,
    mongodb: mongodb::Client,
}

/// Counts at one moment.
#[derive(Clone, Copy)]
pub struct Counts {
    at: Instant,
    redis: u64,
    mongodb: u64,
}

/// Counts of a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub redis: f64,
    pub mongodb: f64,
}

impl Counters {
    /// Connects.
    ///
    /// # Errors
    /// If one of them does not respond.
    pub async fn connect(redis: &str, mongodb: &mongodb::Client) -> Result<Self, Box<dyn Error>> {
        let redis = Client::new(Config::from_url(redis)?, None, None, None);
        redis.init().await?;
        Ok(Counters { redis, mongodb: mongodb.clone() })
    }

    /// Reads them.
    ///
    /// # Errors
    /// If one of them does not respond.
    pub async fn now(&self) -> Result<Counts, Box<dyn Error>> {
        let stats: String = self.redis.info(Some(InfoKind::CommandStats)).await?;
        let calls = stats.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let calls = rest.split(',').next()?.parse::<u64>().ok()?;
            (!OWN_COMMANDS.contains(&name)).then_some(calls)
        });
        let redis = calls.sum();
        let admin = self.mongodb.database("admin");
        let status: Document = admin.run_command(doc! { "serverStatus": 1 }).await?;
        let counters = status.get_document("opcounters")?;
        let number = |value: &Bson| value.as_i64().or_else(|| value.as_i32().map(i64::from));
        let operations = OPERATIONS.iter().filter_map(|name| number(counters.get(name)?));
        let mongodb = u64::try_from(operations.sum::<i64>())?;
        Ok(Counts { at: Instant::now(), redis, mongodb })
    }

    /// Waits until a program's work after its last response is done, as far as Redis sees it.
    ///
    /// # Errors
    /// If one of them does not respond.
    pub async fn quiet(&self) -> Result<Counts, Box<dyn Error>> {
        let (began, mut before) = (Instant::now(), self.now().await?);
        loop {
            tokio::time::sleep(QUIET_WINDOW).await;
            let now = self.now().await?;
            if now.redis - before.redis <= QUIET_COMMANDS || began.elapsed() > QUIET_TIMEOUT {
                return Ok(now);
            }
            before = now;
        }
    }

    /// What nobody's requests cost a second: the programs that wait.
    ///
    /// # Errors
    /// If one of them does not respond.
    pub async fn background(&self, time: Duration) -> Result<Cost, Box<dyn Error>> {
        let before = self.now().await?;
        tokio::time::sleep(time).await;
        let now = self.now().await?;
        let (cost, seconds) = (now.since(&before), (now.at - before.at).as_secs_f64());
        Ok(Cost { redis: cost.redis / seconds, mongodb: cost.mongodb / seconds })
    }

    /// Versions of both servers.
    ///
    /// # Errors
    /// If one of them does not respond.
    pub async fn versions(&self) -> Result<[String; 2], Box<dyn Error>> {
        let info: String = self.redis.info(Some(InfoKind::Server)).await?;
        let value = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
        let redis = match value("valkey_version:") {
            Some(version) => format!("Valkey {version}"),
            None => format!("Redis {}", value("redis_version:").unwrap_or("unknown")),
        };
        let admin = self.mongodb.database("admin");
        let build: Document = admin.run_command(doc! { "buildInfo": 1 }).await?;
        let mongodb = format!("speaks for {}", build.get_str("version").unwrap_or("unknown"));
        Ok([redis, mongodb])
    }
}

impl Counts {
    /// What was added since.
    pub fn since(&self, before: &Counts) -> Cost {
        Cost {
            redis: self.redis.saturating_sub(before.redis) as f64,
            mongodb: self.mongodb.saturating_sub(before.mongodb) as f64,
        }
    }

    /// The same for each of so many requests, without what waiting programs cost meanwhile.
    pub fn each(&self, before: &Counts, requests: u64, background: Cost) -> Cost {
        let (cost, seconds) = (self.since(before), (self.at - before.at).as_secs_f64());
        let requests = requests.max(1) as f64;
        Cost {
            redis: (cost.redis - background.redis * seconds).max(0.0) / requests,
            mongodb: (cost.mongodb - background.mongodb * seconds).max(0.0) / requests,
        }
    }
}
