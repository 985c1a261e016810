//! Reloading settings while programs run: by SIGHUP and by the operator's tool; log levels for a time.

mod ctl;
mod effects;
mod tokens;
mod worker;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::{Api, Place, places};
use crate::support::process::Process;
use crate::support::servers::state_dir;
use crate::support::tokens::{self as jwt, OTHER_SECRET, SECRET, secret_file};
use crate::support::{eventually, unique_name};

/// Bound of what a program does in the background.
const DONE: Duration = Duration::from_secs(60);
/// SHA-256 of `open-sesame`, an admin key.
const KEY_SHA256: &str = "d7ecdf25eaf3deba0f2628771dbdd22d4138ab6cf38f91ed02a2ca0dec7c8ab7";
const KEY: &str = "open-sesame";

/// A program with a settings file.
pub struct Reloaded<'a> {
    pub process: &'a Process,
    pub file: PathBuf,
}

/// A settings file of its own with this text.
pub fn settings_file(text: &str) -> PathBuf {
    let path = state_dir().join(unique_name()).with_extension("toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// Starts an API with this settings file. What a test changes in the file is left out of the
/// environment, which would override it.
pub async fn api_with(place: &Place, file: &PathBuf) -> Api {
    let mut environment = place.environment(&[("HOLDFAST_CONFIG", file.to_str().unwrap())]);
    let text = std::fs::read_to_string(file).unwrap();
    environment.retain(|(name, _)| {
        let setting = name.trim_start_matches("HOLDFAST_").to_lowercase();
        !text.lines().any(|line| line.starts_with(&format!("{setting} =")))
    });
    Api::program_in(&environment).await
}

impl Reloaded<'_> {
    /// Ends of reloads so far.
    fn ends(&self) -> Vec<Value> {
        let is_end = |line: &Value| {
            let message = line["message"].as_str().unwrap_or_default();
            message == "the settings are reloaded" || message.starts_with("the settings are not")
        };
        self.process.log_lines().into_iter().filter(is_end).collect()
    }

    /// Reloads with this file; returns the line that says what became of it.
    pub async fn reload(&self, text: &str) -> Value {
        let before = self.ends().len();
        std::fs::write(&self.file, text).unwrap();
        self.process.hang_up();
        eventually("the reload has ended", DONE, async || self.ends().len() > before).await;
        self.ends().pop().unwrap()
    }

    /// Reloads with this file, which is sound.
    pub async fn adopt(&self, text: &str) {
        let line = self.reload(text).await;
        assert_eq!(line["message"], "the settings are reloaded", "{text}: {line}");
    }
}

/// The settings of an API that verifies tokens.
fn jwt_settings(keys: &[&str], more: &str) -> String {
    let keys = serde_json::to_string(keys).unwrap();
    format!(
        "auth = \"jwt\"\njwt_key_files = {keys}\njwt_audience = \"{}\"\n{more}\n",
        jwt::AUDIENCE
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_rotates_keys_and_log_level_without_a_lost_request() {
    let (old, new) = (secret_file(SECRET), secret_file(OTHER_SECRET));
    let key = format!("admin_keys_sha256 = [\"ops:{KEY_SHA256}\"]");
    let file = settings_file(&jwt_settings(&[&old], &key));
    let place = Place::shared();
    let api = api_with(&place, &file).await;
    let running = Reloaded { process: api.process(), file };
    let client = api.client();
    let asked = tokio::spawn(async move {
        let mut statuses = Vec::new();
        for _ in 0..200 {
            let token = jwt::token("ann");
            let reply = client.get("/api/v1/bookings").token(&token).send().await;
            statuses.push(reply.status);
        }
        statuses
    });
    let whoami = async |key: &str| {
        api.get("/api/v1/admin/whoami").header("X-Admin-Key", key).send().await.status
    };
    let with_new = async || {
        let token = jwt::hs256(OTHER_SECRET, &jwt::claims("ann"));
        api.get("/api/v1/bookings").token(&token).send().await.status
    };
    assert_eq!((whoami(KEY).await, whoami("second").await, with_new().await), (200, 403, 401));
    // printf %s second | sha256sum
    let second = "16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4";
    let keys = format!(
        "admin_keys_sha256 = [\"ops:{KEY_SHA256}\", \"next:{second}\"]\nlog_level = \"debug\""
    );
    running.adopt(&jwt_settings(&[&old, &new], &keys)).await;
    assert_eq!((whoami(KEY).await, whoami("second").await, with_new().await), (200, 200, 200));
    assert_eq!(asked.await.unwrap(), [200; 200], "a request was lost");
    let lines = running.process.log_lines();
    assert!(lines.iter().any(|line| line["level"] == "debug"), "the log level is not debug");
    let changes: Vec<&str> = lines.iter().filter_map(|line| line["change"].as_str()).collect();
    assert!(changes.contains(&"log_level: \"info\" → \"debug\""), "{changes:?}");
    assert!(changes.contains(&"admin_keys_sha256: [\"ops:***\"] → [\"ops:***\", \"next:***\"]"));
    assert!(changes.iter().any(|change| change.starts_with("jwt_*:")), "{changes:?}");
    // The old one ends: its tokens, too, although they were verified before.
    let keys = format!("admin_keys_sha256 = [\"next:{second}\"]");
    running.adopt(&jwt_settings(&[&new], &keys)).await;
    let old_token = api.get("/api/v1/bookings").token(&jwt::token("ann")).send().await.status;
    assert_eq!((whoami(KEY).await, whoami("second").await, old_token), (403, 200, 401));
    assert_eq!(with_new().await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_file_changes_nothing_and_says_why() {
    let secret = secret_file(SECRET);
    let file = settings_file(&jwt_settings(&[&secret], "docs_enabled = true"));
    let place = Place::shared();
    let api = api_with(&place, &file).await;
    let running = Reloaded { process: api.process(), file };
    let sound = jwt_settings(&[&secret], "docs_enabled = false\nlog_level = \"debug\"");
    for (fault, expected) in [
        ("docs_enable = true", "line 7: unknown setting docs_enable; did you mean docs_enabled?"),
        ("jwt_leeway_seconds = 601", "line 7: jwt_leeway_seconds = 601: must be 0 to 600"),
        ("jwt_issuer = 7", "line 7: jwt_issuer: "),
        ("partitions = [", "line 7: "),
        ("cors_origins = [\"tickets.example\"]", "line 7: cors_origins: \"tickets.example\" is no"),
    ] {
        let line = running.reload(&format!("{sound}\n{fault}\n")).await;
        assert_eq!(line["message"], "the settings are not reloaded: nothing changes");
        let reason = line["reason"].as_str().unwrap();
        let path = running.file.to_str().unwrap();
        assert!(reason.starts_with(path) && reason.contains(expected), "{fault}: {reason}");
    }
    // A file that the settings name.
    std::fs::write(&secret, "short").unwrap();
    let line = running.reload(&sound).await;
    let reason = line["reason"].as_str().unwrap();
    assert!(reason.contains("jwt_key_files") && reason.contains("has 5 bytes"), "{reason}");
    std::fs::remove_file(&running.file).unwrap();
    let before = running.ends().len();
    running.process.hang_up();
    eventually("refused", DONE, async || running.ends().len() > before).await;

    assert_ne!(api.get("/docs").send().await.status, 404, "docs_enabled has changed");
    let token = jwt::token("ann");
    assert_eq!(api.get("/api/v1/bookings").token(&token).send().await.status, 200);
    let lines = running.process.log_lines();
    assert!(lines.iter().all(|line| line["level"] != "debug"), "log_level has changed");
    let metrics = api.get("/metrics").send().await.text();
    assert!(metrics.contains("holdfast_config_reloads_total{result=\"refused\"} 7"), "{metrics}");
    assert!(metrics.contains("\nholdfast_config_last_reload_success 0"), "{metrics}");
    let timestamp = "holdfast_config_last_reload_success_timestamp_seconds";
    let before = api.metric(timestamp).await;
    std::fs::write(&secret, SECRET).unwrap();
    running.adopt(&sound).await;
    assert!(api.metric(timestamp).await > before);
    assert_eq!(api.get("/docs").send().await.status, 404);
    let metrics = api.get("/metrics").send().await.text();
    assert!(metrics.contains("\nholdfast_config_last_reload_success 1"), "{metrics}");
    assert!(metrics.contains("holdfast_config_reloads_total{result=\"ok\"} 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_a_restart_or_is_overridden_is_named() {
    let file = settings_file("log_level = \"info\"\n");
    let place = Place::shared();
    let api = api_with(&place, &file).await;
    let running = Reloaded { process: api.process(), file };
    let text = "log_level = \"info\"\nhold_ttl_seconds = 60\nredis_timeout_ms = 300\n";
    let line = running.reload(text).await;
    assert_eq!((&line["changed"], &line["needs_restart"]), (&json!(0), &json!(1)), "{line}");
    let lines = running.process.log_lines();
    let restart = lines
        .iter()
        .find(|line| line["message"].as_str().unwrap_or_default().ends_with("it needs a restart"));
    assert_eq!(restart.unwrap()["change"], "hold_ttl_seconds: 300 → 60");
    let overridden = lines.iter().find_map(|line| line["settings"].as_str());
    assert_eq!(overridden, Some("redis_timeout_ms"));
    let event = api.event(places(2)).await;
    let body = api.get(&format!("/api/v1/events/{event}")).send().await.json(200);
    assert_eq!(body["hold_ttl_seconds"], 300, "{body}");
}
