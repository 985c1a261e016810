//! The alerts that are shipped: about metrics that processes export, read up somewhere, each tested by
//! `promtool` where that is installed, and about processes that set what they export.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use holdfast::config::Config;
use holdfast::telemetry::Metrics;
use serde_yaml_ng::Value;

use super::{file, root};
use crate::support::api::{Api, Place, places};
use crate::support::http::Client;
use crate::support::servers::{available, free_port, private_redis, shared_mongodb};
use crate::support::{Flavor, eventually};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const ALERTS: &str = "deploy/prometheus/alerts.yml";
const CASES: &str = "deploy/prometheus/alerts_test.yml";
/// Series that are not of our table.
const OF_OTHERS: [&str; 2] = ["up", "process_start_time_seconds"];
/// Requires `promtool`; CI sets it where it could install it.
const MUST_RUN: &str = "PROMTOOL_REQUIRED";

fn rules() -> Vec<Value> {
    let alerts: Value = serde_yaml_ng::from_str(&file(ALERTS)).unwrap();
    let groups = alerts["groups"].as_sequence().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_sequence().unwrap()).cloned().collect()
}

/// On the search path, or where `.ci/run` unpacks it.
fn promtool() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let own = root().join(".holdfast/promtool/usr/bin");
    let folders = std::env::split_paths(&path).chain([own]);
    folders.map(|folder| folder.join("promtool")).find(|program| program.is_file())
}

#[test]
fn alerts_are_about_metrics_that_there_are_and_name_what_to_read() {
    let known = Metrics::new("test").names();
    let operations = file("docs/OPERATIONS.md");
    let headings: BTreeSet<&str> = operations
        .lines()
        .filter_map(|line| Some(line.strip_prefix('#')?.trim_start_matches('#').trim()))
        .collect();
    let rules = rules();
    assert!(rules.len() >= 10);
    for rule in rules {
        let expr = rule["expr"].as_str().unwrap();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words: Vec<&str> = expr.split(|c| !is_word(c)).collect();
        let named: Vec<&&str> = words.iter().filter(|word| word.starts_with("holdfast_")).collect();
        assert!(!named.is_empty() || words.iter().any(|word| OF_OTHERS.contains(word)), "{expr}");
        assert!(named.iter().all(|name| known.contains(**name)), "{expr}");
        let read = rule["annotations"]["read"].as_str().unwrap();
        assert!(headings.contains(read), "docs/OPERATIONS.md has no section {read:?}");
    }
    let scraped: Value =
        serde_yaml_ng::from_str(&file("deploy/prometheus/prometheus.yml")).unwrap();
    let config = Config::default();
    let expected = [config.metrics_listen, config.worker_listen].map(|address| address.to_string());
    let targets = scraped["scrape_configs"].as_sequence().unwrap();
    let targets =
        targets.iter().map(|job| job["static_configs"][0]["targets"][0].as_str().unwrap());
    assert!(targets.eq(expected.iter().map(String::as_str)));
}

/// Whether a case expects the alert to fire, by its name.
fn expectations(name: &str) -> BTreeSet<bool> {
    let cases: Value = serde_yaml_ng::from_str(&file(CASES)).unwrap();
    let cases = cases["tests"].as_sequence().unwrap().iter();
    let tests = cases.flat_map(|case| case["alert_rule_test"].as_sequence().unwrap());
    let of_alert = tests.filter(|test| test["alertname"] == name);
    of_alert.map(|test| test.get("exp_alerts").is_some()).collect()
}

#[test]
fn every_alert_is_tested_to_fire_and_to_be_silent() {
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        assert_eq!(expectations(name), [false, true].into(), "{CASES} lacks a case of {name}");
    }
}

#[test]
fn alerts_fire_when_they_are_meant_to() {
    let Some(promtool) = promtool() else {
        assert!(std::env::var_os(MUST_RUN).is_none(), "promtool is not here");
        eprintln!("skipped: promtool is not here (Debian's package prometheus has it)");
        return;
    };
    for arguments in [["check", "rules", ALERTS], ["test", "rules", CASES]] {
        let output = Command::new(&promtool).current_dir(root()).args(arguments).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
    }
}

async fn exported(process: &Client) -> String {
    process.get("/metrics").send().await.text()
}

/// The value of each metric without labels that a text has.
fn plain(text: &str) -> impl Iterator<Item = (&str, f64)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        (!name.contains('{')).then(|| (name, value.parse().unwrap()))
    })
}

/// A worker that cannot read the log stops exporting its old state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_without_redis_exports_no_old_state_of_the_log() {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    let redis = private_redis(flavor);
    let place = Place::new(&redis, shared_mongodb());
    let address = format!("127.0.0.1:{}", free_port());
    let _worker = place.worker_at_work(&[("HOLDFAST_WORKER_LISTEN", &address)]).await;
    let worker = Client::new(&format!("http://{address}"));
    let exports = async |is_ready: f64, has_log: bool| {
        let text = exported(&worker).await;
        let log = ["log_length", "log_pending", "log_lag_seconds", "dead_letters"];
        let has = log.map(|name| text.contains(&format!("\nholdfast_{name}{{")));
        has == [has_log; 4] && plain(&text).any(|one| one == ("holdfast_worker_ready", is_ready))
    };
    eventually("the metric is exported", PATIENCE, async || exports(1.0, true).await).await;
    redis.kill();
    eventually("it is no longer exported", PATIENCE, async || exports(0.0, false).await).await;
    tokio::task::block_in_place(|| redis.restart());
    eventually("it is exported again", PATIENCE, async || exports(1.0, true).await).await;
}

/// What a healthy system exports makes no alert true that compares one metric with a number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn healthy_processes_export_nothing_that_alerts() {
    let place = Place::shared();
    let api = Api::program(&place, &[]).await;
    let address = format!("127.0.0.1:{}", free_port());
    let _worker = place.worker_at_work(&[("HOLDFAST_WORKER_LISTEN", &address)]).await;
    let worker = Client::new(&format!("http://{address}"));
    let event = api.event(places(3)).await;
    api.held("ann", event, &[1]).await;
    let is_well = async || {
        let texts = [exported(&api).await, exported(&worker).await];
        texts.iter().flat_map(|text| plain(text)).all(|(name, value)| {
            let is_ok = match name {
                "holdfast_admission_share" => value >= 0.5,
                "holdfast_worker_ready" => value == 1.0,
                "holdfast_live_stale"
                | "holdfast_live_missing"
                | "holdfast_policy_unusable"
                | "holdfast_panics_total"
                | "holdfast_log_forks_total"
                | "holdfast_double_sale_prevented_total" => value == 0.0,
                _ => true,
            };
            if !is_ok {
                eprintln!("{name} is {value}");
            }
            is_ok
        })
    };
    eventually("nothing that alerts is exported", PATIENCE, is_well).await;
    let text = exported(&worker).await;
    for exported in ["holdfast_admission_share", "holdfast_worker_ready"] {
        assert!(plain(&text).any(|(name, _)| name == exported), "{exported}");
    }
}
