//! The dashboards that are shipped: every metric and label of their queries is in what real processes export
//! after a sale. (`make dashboards` runs the queries in Prometheus.)

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regex::Regex;
use serde_json::{Value, json};

use super::{file, root};
use crate::support::api::{Api, Place, places};
use crate::support::eventually;
use crate::support::http::Client;
use crate::support::servers::free_port;

const FOLDER: &str = "deploy/grafana/dashboards";
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Labels that Prometheus adds.
const OF_PROMETHEUS: [&str; 2] = ["job", "instance"];
/// What begins the name of a metric.
const METRIC: &str =
    "^(holdfast|booking|bookings|http|cache|db|waiting_room|admission|redis|websocket|process)_";

/// What a query needs of a metric.
type Needs = BTreeSet<(String, String)>;

fn dashboards() -> Vec<Value> {
    let folder = std::fs::read_dir(root().join(FOLDER)).unwrap();
    let paths = folder.map(|entry| entry.unwrap().path());
    paths.map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).collect()
}

fn queries(dashboard: &Value) -> Vec<&str> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap()).collect()
}

/// The metrics of a query with their labels; the empty label: the metric itself.
fn needs(query: &str) -> Needs {
    let metric = Regex::new(METRIC).unwrap();
    let selector = Regex::new(r"([a-z_]+)(?:\{([^}]*(?:\{[^}]*\}[^}]*)*)\})?").unwrap();
    let by = Regex::new(r"by \(([a-z_, ]+)\)").unwrap();
    let matcher = Regex::new(r#"([a-z_]+)\s*[=!]"#).unwrap();
    // What is quoted says nothing here, and may have brackets.
    let quoted = Regex::new(r#""[^"]*""#).unwrap();
    let query = quoted.replace_all(query, "\"\"");
    let groups: Vec<&str> = by
        .captures_iter(&query)
        .flat_map(|found| found.get(1).unwrap().as_str().split(", ").collect::<Vec<_>>())
        .filter(|label| *label != "le")
        .collect();
    let mut needs = Needs::new();
    for found in selector.captures_iter(&query) {
        let name = &found[1];
        if !metric.is_match(name) {
            continue;
        }
        needs.insert((name.to_owned(), String::new()));
        let own = found.get(2).map_or("", |labels| labels.as_str());
        let own = matcher.captures_iter(own).map(|label| label.get(1).unwrap().as_str());
        needs.extend(own.chain(groups.iter().copied()).map(|l| (name.to_owned(), l.to_owned())));
    }
    needs.retain(|(_, label)| !OF_PROMETHEUS.contains(&label.as_str()));
    needs
}

/// The labels of each metric that texts have.
fn exported(texts: &[String]) -> BTreeMap<String, BTreeSet<String>> {
    let label = Regex::new(r#"([a-z_]+)=""#).unwrap();
    let mut exported: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in texts.iter().flat_map(|text| text.lines()).filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let labels = label.captures_iter(line).map(|found| found[1].to_owned());
        exported.entry(name.to_owned()).or_default().extend(labels);
    }
    exported
}

#[test]
fn dashboards_are_provisioned_and_their_panels_explained() {
    let provisioning = file("deploy/grafana/provisioning/dashboards/holdfast.yml");
    assert!(provisioning.contains("/var/lib/grafana/dashboards/holdfast"));
    assert!(file("deploy/grafana/provisioning/datasources/holdfast.yml").contains("prometheus"));
    let mut uids = BTreeSet::new();
    for dashboard in dashboards() {
        assert!(uids.insert(dashboard["uid"].as_str().unwrap().to_owned()));
        let title = dashboard["title"].as_str().unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        assert!((8..=24).contains(&panels.len()), "{title}: {} panels", panels.len());
        let mut ids = BTreeSet::new();
        for panel in panels {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: {}", panel["title"]);
            assert!(panel["description"].as_str().is_some_and(|text| text.len() > 10), "{panel}");
        }
    }
    assert_eq!(uids.len(), 3);
}

#[test]
fn needs_of_a_query_are_its_metrics_and_labels() {
    let query = r#"max by (event_id) (holdfast_event_seats{event_id="$event",state="{free}"}) / booking_attempts_total"#;
    let found: Vec<String> = needs(query).into_iter().map(|(m, l)| format!("{m} {l}")).collect();
    let expected = [
        "booking_attempts_total ",
        "booking_attempts_total event_id",
        "holdfast_event_seats ",
        "holdfast_event_seats event_id",
        "holdfast_event_seats state",
    ];
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_and_label_of_a_dashboard_is_exported() {
    let place = Place::shared();
    let api = Api::program(&place, &[]).await.patient();
    let address = format!("127.0.0.1:{}", free_port());
    let _worker = place.worker_at_work(&[("HOLDFAST_WORKER_LISTEN", &address)]).await;
    let worker = Client::new(&format!("http://{address}"));
    sell(&api).await;
    let mut needs: Needs = dashboards().iter().flat_map(queries).flat_map(self::needs).collect();
    // What Redis may use has no limit here; a failed write to the archive does not occur.
    let absent = ["holdfast_redis_memory_max_bytes", "holdfast_archive_errors_total"];
    needs.retain(|(name, _)| !absent.contains(&name.as_str()));
    assert!(needs.len() > 60, "{needs:?}");
    let mut missing = Vec::new();
    let all_are_there = async || {
        let mut texts = Vec::new();
        for process in [&api.monitoring(), &worker] {
            texts.push(process.get("/metrics").send().await.text());
        }
        let exported = exported(&texts);
        let has = |(name, label): &&(String, String)| {
            exported
                .get(name.as_str())
                .is_some_and(|labels| label.is_empty() || labels.contains(label))
        };
        let left = needs.iter().filter(|need| !has(need));
        missing = left.map(|(name, label)| format!("{name} {label}")).collect::<Vec<_>>();
        if !missing.is_empty() {
            eprintln!("not exported: {missing:?}");
        }
        missing.is_empty()
    };
    eventually("all metrics of the dashboards are exported", PATIENCE, all_are_there).await;
}

/// A sale in which everything happens that a dashboard shows.
async fn sell(api: &Api) {
    let event = api.event(places(10)).await;
    let held = api.held("ann", event, &[1]).await;
    api.act("ann", &held, "confirm").await;
    // From the view, once that is fresh.
    eventually("a hold is refused from the view", PATIENCE, async || {
        api.hold("bob", event, &[1]).await.problem(409, "seats_unavailable");
        api.metric("holdfast_refused_from_view_total").await > 0.0
    })
    .await;
    let room = format!("/api/v1/events/{event}/waiting-room");
    api.post(&format!("{room}/enable")).json(json!({ "max_concurrent": 1 })).send().await.json(200);
    let joined = api.post(&format!("{room}/join")).user("cid").send().await.json(200);
    let token = joined["token"].as_str().unwrap();
    api.get(&format!("{room}/status?token={token}")).send().await.json(200);
    api.get(&format!("/api/v1/events/{event}/seats")).send().await.json(200);
    drop(api.socket(event).await);
}
