//! `holdfastctl reload` and `log-level`: two APIs and a worker.

use serde_json::{Value, json};

use super::{DONE, api_with, settings_file};
use crate::support::api::Place;
use crate::support::ctl::{Ran, holdfastctl};
use crate::support::eventually;
use crate::support::process::Process;
use crate::support::servers::{Flavor, available, shared_mongodb, shared_redis};

/// A deployment of its own.
fn place() -> Place {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    Place::new(shared_redis(flavor), shared_mongodb())
}

async fn tool(place: &Place, line: &str) -> Ran {
    let arguments: Vec<&str> = line.split_whitespace().collect();
    holdfastctl(&arguments, &place.environment(&[]), "").await
}

/// Waits until so many processes are known.
async fn are_known(place: &Place, count: usize) {
    eventually("all processes are known", DONE, async || {
        let shown = tool(place, "log-level --json").await.json(0);
        shown["processes"].as_array().unwrap().len() == count
    })
    .await;
}

fn results(reloaded: &Value) -> Vec<(&str, &str)> {
    let processes = reloaded["processes"].as_array().unwrap();
    let mut all = Vec::new();
    for one in processes {
        let name = one["process"].as_str().unwrap().split('@').next().unwrap();
        all.push((name, one["result"].as_str().unwrap()));
    }
    all.sort_unstable();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload_reaches_every_process_and_reports_each() {
    let place = place();
    let files = [0, 1, 2].map(|_| settings_file("docs_enabled = true\n"));
    let apis = [api_with(&place, &files[0]).await, api_with(&place, &files[1]).await];
    let path = files[2].to_str().unwrap();
    let worker = place.worker_at_work(&[("HOLDFAST_CONFIG", path)]).await;
    are_known(&place, 3).await;

    for file in &files {
        std::fs::write(file, "docs_enabled = false\nhold_ttl_seconds = 60\n").unwrap();
    }
    let done = tool(&place, "reload --json").await.json(0);
    let all = [("holdfast-api", "ok"), ("holdfast-api", "ok"), ("holdfast-worker", "ok")];
    assert_eq!(results(&done), all, "{done}");
    for one in done["processes"].as_array().unwrap() {
        assert_eq!(one["changed"], json!(["docs_enabled: true → false"]), "{one}");
        assert_eq!(one["needs_restart"], json!(["hold_ttl_seconds: 300 → 60"]), "{one}");
    }
    for api in &apis {
        assert_eq!(api.get("/docs").send().await.status, 404);
    }
    let acts = tool(&place, "audit --json").await.json(0);
    assert_eq!(
        (&acts["acts"][0]["act"], &acts["acts"][0]["result"]),
        (&json!("ctl reload"), &json!("ok"))
    );

    // One of them has a bad file.
    std::fs::write(&files[1], "docs_enabled = 1\n").unwrap();
    std::fs::write(&files[0], "docs_enabled = true\n").unwrap();
    let ran = tool(&place, "reload").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stdout.contains("REFUSED") && ran.stdout.contains("line 1: docs_enabled"),
        "{ran:?}"
    );
    assert_ne!(apis[0].get("/docs").send().await.status, 404);
    assert_eq!(apis[1].get("/docs").send().await.status, 404);

    // A process that hangs does not answer; one that has ended is not waited for.
    worker.freeze();
    let ran = tool(&place, "reload --wait-seconds 2 --json").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        results(&serde_json::from_str(&ran.stdout).unwrap())
            .contains(&("holdfast-worker", "no_answer"))
    );
    worker.thaw();
    worker.terminate();
    eventually("it has ended", DONE, async || worker.exited().is_some()).await;
    are_known(&place, 2).await;
}

/// Whether a process writes lines of this level, once something happens.
async fn logs_debug(process: &Process, from: usize) -> bool {
    process.log_lines().iter().skip(from).any(|line| line["level"] == "debug")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_level_changes_for_a_time_and_outlives_a_reload_and_a_restart() {
    let place = place();
    let file = settings_file("log_level = \"info\"\n");
    let api = api_with(&place, &file).await;
    let worker = place.worker_at_work(&[]).await;
    are_known(&place, 2).await;
    let shown = tool(&place, "log-level --json").await.json(0);
    for one in shown["processes"].as_array().unwrap() {
        assert_eq!((&one["log_level"], &one["until"]), (&json!("info"), &Value::Null), "{one}");
    }
    for (line, expected) in [
        ("log-level debgu", "did you mean debug?"),
        ("log-level debug --for 25h", "24h at most"),
        ("log-level debug --process nobody", "no process \"nobody\" runs"),
    ] {
        let ran = tool(&place, line).await;
        assert!(ran.code == 2 && ran.stderr.contains(expected), "{ran:?}");
    }

    let name = shown["processes"][0]["process"].as_str().unwrap().to_owned();
    assert!(name.starts_with("holdfast-api@"), "{name}");
    let line = format!("log-level debug --for 5m --process {name} --json");
    let set = tool(&place, &line).await.json(0);
    let processes = set["processes"].as_array().unwrap();
    assert_eq!((processes.len(), &processes[0]["log_level"]), (1, &json!("debug")), "{set}");
    let other = tool(&place, "log-level --json").await.json(0)["processes"][1].clone();
    assert_eq!(other["log_level"], "info");
    // A reload changes what returns, not what is in effect.
    std::fs::write(&file, "log_level = \"warn\"\n").unwrap();
    tool(&place, "reload").await.ended(0);
    let shown = tool(&place, "log-level --json").await.json(0);
    assert_eq!(shown["processes"][0]["log_level"], "debug");
    let from = api.process().log_lines().len();
    eventually("debug lines", DONE, async || {
        let preflight = api.ask(reqwest::Method::OPTIONS, "/api/v1/bookings");
        let preflight = preflight.header("Origin", "https://x.example");
        preflight.header("Access-Control-Request-Method", "POST").send().await;
        logs_debug(api.process(), from).await
    })
    .await;
    let reset = tool(&place, "log-level --reset --json").await.json(0);
    assert_eq!(reset["processes"][0]["log_level"], "warn", "{reset}");

    // It ends by itself, and a process that starts meanwhile adopts it.
    tool(&place, "log-level trace --for 6s").await.ended(0);
    drop(worker);
    let worker = place.worker_at_work(&[]).await;
    let adopts = |line: &Value| line["message"] == "the log level has changed";
    assert_eq!(worker.log_line("it adopts the level", adopts).await["to"], "trace");
    let returns = |line: &Value| adopts(line) && line["to"] == "info";
    worker.log_line("it returns", returns).await;
    eventually("all have returned", DONE, async || {
        let shown = tool(&place, "log-level --json").await.json(0);
        let all = shown["processes"].as_array().unwrap();
        all.iter().all(|one| one["until"].is_null())
    })
    .await;
}
