//! The alerts that are shipped: about metrics that processes export, read up somewhere, each tested by
//! `promtool` where that is installed, and about processes that set what they export.

use std::collections::{BTreeMap, BTreeSet};
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

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    heading.trim().to_lowercase().replace(' ', "-")
}

/// The text below each heading of a page, by the heading's anchor.
fn sections(page: &str) -> BTreeMap<String, String> {
    let mut sections = BTreeMap::new();
    let mut at = String::new();
    for line in page.lines() {
        match line.strip_prefix('#') {
            Some(heading) => at = anchor(heading.trim_start_matches('#')),
            None => sections
                .entry(at.clone())
                .or_insert_with(String::new)
                .push_str(&[line, "\n"].concat()),
        }
    }
    sections
}

#[test]
fn alerts_are_about_metrics_that_there_are() {
    let known = Metrics::new("test").names();
    let rules = rules();
    assert!(rules.len() >= 10);
    for rule in rules {
        let expr = rule["expr"].as_str().unwrap();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words: Vec<&str> = expr.split(|c| !is_word(c)).collect();
        let known_of = |word: &str| {
            let suffixes = ["", "_bucket", "_count", "_sum"];
            let mut names = suffixes.iter().filter_map(|suffix| word.strip_suffix(suffix));
            names.any(|name| known.contains(name))
        };
        let named: Vec<&&str> = words.iter().filter(|word| word.starts_with("holdfast_")).collect();
        let is_about = words.iter().any(|word| known_of(word) || OF_OTHERS.contains(word));
        assert!(is_about && named.iter().all(|name| known_of(name)), "{expr}");
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

#[test]
fn every_alert_has_its_section_in_operations() {
    let sections = sections(&file("docs/OPERATIONS.md"));
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        let read = format!("docs/OPERATIONS.md#{}", anchor(name));
        assert_eq!(rule["annotations"]["read"], read.as_str());
        let section = sections.get(&anchor(name)).unwrap_or_else(|| panic!("no section {name}"));
        for part in ["**Means**:", "**A buyer sees**:", "**Do**:"] {
            assert!(section.contains(part), "the section {name} lacks {part}");
        }
        assert!(section.contains('`'), "the section {name} names no command and no log line");
    }
}

/// The kinds of cases in which an alert is expected to fire, and to be silent: the word before a group's colon.
fn cases(name: &str) -> BTreeSet<(String, bool)> {
    let cases: Value = serde_yaml_ng::from_str(&file(CASES)).unwrap();
    let mut found = BTreeSet::new();
    for case in cases["tests"].as_sequence().unwrap() {
        let kind = case["name"].as_str().unwrap().split(':').next().unwrap();
        let tests = case["alert_rule_test"].as_sequence().unwrap().iter();
        let of_alert = tests.filter(|test| test["alertname"] == name);
        found.extend(of_alert.map(|test| (kind.to_owned(), test.get("exp_alerts").is_some())));
    }
    found
}

#[test]
fn every_alert_has_its_three_cases() {
    // Their meaning is that something is gone.
    const ABOUT_ABSENCE: [&str; 3] = ["WorkersGone", "ApiGone", "ProcessDown"];
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        let cases = cases(name);
        let has = |kind: &str, fires| cases.contains(&(kind.to_owned(), fires));
        assert!(has("fires", true), "{CASES}: {name} fires in no case");
        assert!(has("healthy", false), "{CASES}: {name} is not silent on a healthy system");
        assert!(!has("healthy", true), "{CASES}: {name} fires on a healthy system");
        let is_about_absence = ABOUT_ABSENCE.contains(&name);
        assert!(has("gone", is_about_absence), "{CASES}: {name} has no case of absent targets");
        assert!(is_about_absence || !has("gone", true), "{CASES}: {name} is misled by absence");
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
