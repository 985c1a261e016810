//! What a run of refused holds costs Redis and MongoDB, by their own counts: Redis' of commands
//! (`INFO commandstats`, where commands of scripts count as well), MongoDB's of operations
//! (`serverStatus`). The cost of an idle sale is counted first, for the same time.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use fred::interfaces::ClientLike;
use fred::types::InfoKind;
use fred::types::config::Config;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use super::load::{Load, exchange};

/// The most commands that a refusal may cost Redis: without flushes of limit counts, and in total.
const COMMANDS_TARGET: f64 = 0.01;
const TOTAL_TARGET: f64 = 0.05;
/// Commands of the script `limit` beside one TIME.
const LIMIT_COMMANDS: [&str; 5] = ["hdel", "hget", "hset", "pexpire", "pttl"];
/// How the API counts calls of that script.
const LIMIT_CALLS: &str = r#"holdfast_script_duration_seconds_count{script="limit"} "#;
/// Commands that reading the counts costs.
const OWN_COMMANDS: [&str; 3] = ["client|setname", "info", "ping"];

/// Reads both servers' counts.
pub struct Counters {
    redis: fred::clients::Client,
    mongodb: mongodb::Client,
}

/// Counts at one moment.
#[derive(Clone, Default)]
struct Counts {
    commands: BTreeMap<String, u64>,
    operations: BTreeMap<String, u64>,
    limit_calls: u64,
}

/// The cost of a run.
pub struct Cost {
    seconds: u64,
    refusals: f64,
    idle: Counts,
    run: Counts,
}

impl Counters {
    /// Connects.
    ///
    /// # Errors
    /// If one of them does not respond.
    pub async fn connect(redis_url: &str, mongodb_url: &str) -> Result<Self, Box<dyn Error>> {
        let redis = fred::clients::Client::new(Config::from_url(redis_url)?, None, None, None);
        redis.init().await?;
        let mongodb = mongodb::Client::with_uri_str(mongodb_url).await?;
        Ok(Counters { redis, mongodb })
    }

    /// Returns the cost of a run of this load.
    ///
    /// # Errors
    /// If the load or a counter fails.
    pub async fn of(&self, load: &Load, seconds: u64) -> Result<Cost, Box<dyn Error>> {
        let time = Duration::from_secs(seconds);
        let start = self.now(load).await?;
        tokio::time::sleep(time).await;
        let idle = self.now(load).await?;
        let rate = load.run(time).await?;
        let end = self.now(load).await?;
        let (run, idle) = (end.since(&idle), idle.since(&start));
        Ok(Cost { seconds, refusals: rate * seconds as f64, idle, run })
    }

    async fn now(&self, load: &Load) -> Result<Counts, Box<dyn Error>> {
        let stats: String = self.redis.info(Some(InfoKind::CommandStats)).await?;
        let lines = stats.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let calls = rest.split(',').next()?.parse().ok()?;
            (!OWN_COMMANDS.contains(&name)).then(|| (name.to_owned(), calls))
        });
        let commands = lines.collect();
        let admin = self.mongodb.database("admin");
        let status: Document = admin.run_command(doc! { "serverStatus": 1 }).await?;
        let counters = status.get_document("opcounters")?;
        let number = |value: &mongodb::bson::Bson| {
            let whole = value.as_i64().or_else(|| value.as_i32().map(i64::from));
            whole.and_then(|number| u64::try_from(number).ok())
        };
        let operations =
            counters.iter().filter_map(|(name, value)| Some((name.clone(), number(value)?)));
        let operations = operations.collect();
        let text = metrics(load.address).await?;
        let calls = text.lines().find_map(|line| line.strip_prefix(LIMIT_CALLS));
        let limit_calls = calls.unwrap_or("0").parse()?;
        Ok(Counts { commands, operations, limit_calls })
    }
}

/// Returns the metrics of an API process.
///
/// # Errors
/// If it does not respond.
pub async fn metrics(api: SocketAddr) -> Result<String, Box<dyn Error>> {
    let request = b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    let answer = exchange(api, request).await.map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(
            "this address has no /metrics: start the API with HOLDFAST_METRICS_PUBLIC=true".into(),
        );
    }
    Ok(String::from_utf8(answer.body)?)
}

impl Counts {
    fn since(&self, before: &Counts) -> Counts {
        let difference = |now: &BTreeMap<String, u64>, then: &BTreeMap<String, u64>| {
            let each = now.iter().map(|(name, count)| {
                (name.clone(), count - then.get(name).copied().unwrap_or_default())
            });
            each.filter(|(_, count)| *count > 0).collect()
        };
        Counts {
            commands: difference(&self.commands, &before.commands),
            operations: difference(&self.operations, &before.operations),
            limit_calls: self.limit_calls - before.limit_calls,
        }
    }

    fn commands(&self) -> u64 {
        self.commands.values().sum()
    }

    /// Commands that bring counts of limits to Redis: the calls, and what these do.
    fn flushes(&self) -> u64 {
        let inner = LIMIT_COMMANDS.iter().filter_map(|name| self.commands.get(*name));
        // Each call asks for the time once.
        if self.limit_calls == 0 { 0 } else { 2 * self.limit_calls + inner.sum::<u64>() }
    }

    fn operations(&self) -> u64 {
        self.operations.values().sum()
    }
}

impl Cost {
    /// Commands a refusal, without those that bring counts of limits to Redis.
    fn commands_each(&self) -> f64 {
        self.run.commands().saturating_sub(self.run.flushes()) as f64 / self.refusals
    }

    /// Commands a refusal, all together: an idle deployment's own as well.
    fn total_each(&self) -> f64 {
        self.run.commands() as f64 / self.refusals
    }

    /// Prints the cost.
    pub fn print(&self) {
        let Cost { seconds, refusals, idle, run } = self;
        println!("\nwhat {refusals:.0} refusals cost in {seconds} s");
        println!(
            "Redis commands, without flushes of limit counts  {:>9}  {:.5} a refusal (at most \
             {COMMANDS_TARGET}); while nobody asks {}",
            run.commands().saturating_sub(run.flushes()),
            self.commands_each(),
            idle.commands().saturating_sub(idle.flushes()),
        );
        println!(
            "flushes of limit counts                          {:>9}  commands in {} calls",
            run.flushes(),
            run.limit_calls
        );
        println!(
            "all of them                                      {:>9}  {:.5} a refusal (at most \
             {TOTAL_TARGET})",
            run.commands(),
            self.total_each(),
        );
        println!(
            "MongoDB operations                               {:>9}  while nobody asks {}",
            run.operations(),
            idle.operations()
        );
    }

    /// Returns the cost as JSON.
    pub fn json(&self) -> Value {
        let counts = |counts: &Counts| {
            json!({
                "redis_commands": counts.commands,
                "redis_limit_calls": counts.limit_calls,
                "redis_flush_commands": counts.flushes(),
                "mongodb_operations": counts.operations,
            })
        };
        json!({
            "seconds": self.seconds,
            "refusals": self.refusals,
            "redis_commands_a_refusal": self.commands_each(),
            "redis_commands_target": COMMANDS_TARGET,
            "redis_commands_total_a_refusal": self.total_each(),
            "redis_commands_total_target": TOTAL_TARGET,
            "run": counts(&self.run),
            "idle": counts(&self.idle),
        })
    }
}
