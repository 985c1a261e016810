//! Collects the parts; what cannot be had is noted and left out.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;
use serde_json::json;

use super::redact::{redis_info, secrets_of, without_secrets};
use crate::archive::Archive;
use crate::config::Config;
use crate::ctl::failure::Failure;
use crate::ctl::health::{get, reachable};
use crate::ctl::output::CommandResult;
use crate::ctl::status::StatusReader;
use crate::domain::time::iso8601;
use crate::redis::Engine;
use crate::sale::Audit;
use crate::sale::control::ControlStore;
use crate::sale::lag::Lag;

/// Longest metrics of one process, bytes.
const METRICS_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Longest readiness of one process, bytes.
const HEALTH_BYTES_MAX: u64 = 64 * 1024;
/// Longest INFO of one node of Redis, bytes.
const INFO_BYTES_MAX: usize = 256 * 1024;
/// Nodes of Redis, at most.
const NODES_MAX: usize = 100;
/// Events in `status`, and admin acts, at most.
const EVENTS_MAX: u32 = 100;
const ACTS_MAX: u32 = 500;

/// What was collected.
pub(super) struct Bundle {
    parts: BTreeMap<String, String>,
    /// What could not be had, and why.
    pub missing: Vec<String>,
}

/// An admin act without its author and object.
#[derive(Serialize)]
struct Act {
    at: String,
    act: String,
    /// `ok`, or that it failed; absent while it is under way.
    result: Option<&'static str>,
}

impl Bundle {
    /// Collects everything that can be had.
    pub async fn collect(config: &Config, addresses: &[SocketAddr]) -> Self {
        let mut bundle = Bundle { parts: BTreeMap::new(), missing: Vec::new() };
        bundle.add("settings.toml", config.to_commented_toml());
        bundle.add("versions.json", versions().to_string());
        let mut reader = StatusReader::new(config, EVENTS_MAX);
        match reader.read().await {
            Ok(status) => {
                bundle.add("status.txt", status.text());
                bundle.add_json("status.json", &status);
            }
            Err(failure) => bundle.miss("status", &failure),
        }
        match reader.engine() {
            Some(engine) => bundle.collect_redis(engine).await,
            None => bundle.missing.push("lag, redis: Redis does not answer".to_owned()),
        }
        match reader.archive() {
            Some(archive) => bundle.collect_mongodb(archive).await,
            None => bundle.missing.push("mongodb, audit: MongoDB does not answer".to_owned()),
        }
        let of_settings = [config.listen, config.worker_listen].map(reachable);
        let addresses = if addresses.is_empty() { &of_settings[..] } else { addresses };
        for address in addresses {
            bundle.collect_process(*address).await;
        }
        bundle
    }

    async fn collect_redis(&mut self, engine: &Engine) {
        match Lag::read(engine).await {
            Ok(lag) => {
                self.add("lag.txt", lag.text());
                self.add_json("lag.json", &lag);
            }
            Err(error) => self.miss("lag", &error.into()),
        }
        let nodes = engine.nodes_info().await;
        for (number, node) in nodes.into_iter().take(NODES_MAX).enumerate() {
            match node.answer {
                Ok(info) => {
                    let info: String = redis_info(&info).chars().take(INFO_BYTES_MAX).collect();
                    self.add(&format!("redis-{number}.txt"), info);
                }
                Err(error) => self.miss(&format!("redis-{number}"), &error.into()),
            }
        }
    }

    async fn collect_mongodb(&mut self, archive: &Archive) {
        match facts(archive).await {
            Ok(facts) => self.add_json("mongodb.json", &facts),
            Err(failure) => self.miss("mongodb", &failure),
        }
        match ControlStore::new(archive.clone()).running().await {
            Ok(processes) => self.add_json("processes.json", &processes),
            Err(error) => self.miss("processes", &error.into()),
        }
        match Audit::new(archive.clone()).entries(None, None, ACTS_MAX).await {
            Ok(acts) => {
                let act = |one: crate::sale::AuditEntry| Act {
                    at: iso8601(one.at_ms),
                    act: one.act,
                    result: one.result.map(|text| if text == "ok" { "ok" } else { "not ok" }),
                };
                self.add_json("audit.json", &acts.into_iter().map(act).collect::<Vec<Act>>());
            }
            Err(error) => self.miss("audit", &error.into()),
        }
    }

    async fn collect_process(&mut self, address: SocketAddr) {
        let name = address.to_string().replace(['[', ']', ':'], "_");
        for (what, path, bytes_max) in [
            ("health", "/health/ready", HEALTH_BYTES_MAX),
            ("metrics", "/metrics", METRICS_BYTES_MAX),
        ] {
            match get(address, path, bytes_max).await {
                // A process that is not ready says why.
                Ok((200 | 503, body)) => self.add(&format!("{what}-{name}.txt"), body),
                Ok((status, _)) => {
                    self.missing.push(format!("{what} of {address}: it answers {status}"));
                }
                Err(failure) => self.miss(&format!("{what} of {address}"), &failure),
            }
        }
    }

    fn add(&mut self, name: &str, text: String) {
        self.parts.insert(name.to_owned(), text);
    }

    fn add_json(&mut self, name: &str, value: &impl Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.add(name, text),
            Err(error) => self.miss(name, &error.into()),
        }
    }

    fn miss(&mut self, what: &str, why: &Failure) {
        self.missing.push(format!("{what}: {why}"));
    }

    /// The files, without the secrets of the settings.
    pub fn parts(&self, config: &Config) -> Vec<(String, String)> {
        let secrets = secrets_of(config);
        let readme = ("README.txt".to_owned(), self.readme());
        let parts = self.parts.iter().map(|(name, text)| (name.clone(), text.clone()));
        let all = std::iter::once(readme).chain(parts);
        all.map(|(name, text)| (name, without_secrets(&text, &secrets))).collect()
    }

    fn readme(&self) -> String {
        let mut text = format!(
            "Collected by holdfastctl {} debug-bundle. Secrets are masked (***); user ids, bookings,\n\
             addresses of clients and the authors of admin acts are left out.\n\n",
            env!("CARGO_PKG_VERSION"),
        );
        for name in self.parts.keys() {
            text.push_str(&format!("{name}\n"));
        }
        text.push_str("\nWhat could not be had:\n");
        match self.missing.as_slice() {
            [] => text.push_str("nothing is missing\n"),
            missing => missing.iter().for_each(|one| text.push_str(&format!("- {one}\n"))),
        }
        text
    }
}

/// The versions of this tool and of its machine.
fn versions() -> serde_json::Value {
    let output = std::process::Command::new("uname").arg("-srm").output();
    let system = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    json!({
        "holdfastctl": env!("CARGO_PKG_VERSION"),
        "system": system.unwrap_or_default(),
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
    })
}

async fn facts(archive: &Archive) -> Result<serde_json::Value, Failure> {
    let info = archive.server_info().await?;
    let refunds = archive.refund_counts(jiff::Timestamp::now().as_millisecond()).await?;
    Ok(json!({
        "version": info.version,
        "replica_set": info.replica_set,
        "sharded": info.sharded,
        "refunds": refunds,
    }))
}
