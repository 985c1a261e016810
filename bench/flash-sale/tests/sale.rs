//! A small sale from end to end: real Redis and MongoDB, the API and the worker served from this
//! process, and the program as people run it. Then its history is forged, and must be caught.

// Other tests use the rest of it.
#[allow(dead_code)]
#[path = "../../../tests/support/servers.rs"]
mod servers;

mod histories;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use histories::{bot_calls, forged, lines, sum};
use holdfast::config::Config;
use holdfast::domain::policy::AllRules;
use holdfast::lifecycle::{Trigger, shutdown_channel};
use holdfast::telemetry::Metrics;
use holdfast::{api, start, worker};
use serde_json::{Value, json};
use servers::{Flavor, Server};

/// Bound of a program's run, the first of which waits for holds to lapse.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(240);
const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// printf %s open-sesame | sha256sum
const ADMIN_KEY: &str = "open-sesame";
const ADMIN_KEY_HASH: &str = "ops:d7ecdf25eaf3deba0f2628771dbdd22d4138ab6cf38f91ed02a2ca0dec7c8ab7";

/// A deployment of its own.
struct Deployment {
    url: String,
    redis: Server,
    /// In the MongoDB that both tests share. A worker restores the events of its database into its
    /// own Redis.
    database: String,
    _triggers: [Trigger; 2],
}

impl Deployment {
    /// Starts one that counts what the gates would say of simulated buyers, as `make bench-sale` does.
    async fn start() -> Self {
        Self::start_with(AllRules::Observe).await
    }

    async fn start_with(limits: AllRules) -> Self {
        let flavor = if servers::available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
        let redis = servers::private_redis(flavor);
        let database = format!("sale_{}", servers::free_port());
        let config = Arc::new(Config {
            listen: LOOPBACK,
            worker_listen: LOOPBACK,
            redis_url: redis.url().as_str().into(),
            mongodb_url: servers::shared_mongodb().url().as_str().into(),
            mongodb_database: database.clone(),
            trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
            identity_proxies: vec!["127.0.0.1".parse().unwrap()],
            admin_keys_sha256: vec![ADMIN_KEY_HASH.parse().unwrap()],
            // This machine may be busy with other tests; this one is not about time-outs.
            redis_timeout_ms: 900,
            http_workers: 1,
            // Events beside each other share a log, and the checks of one sale see another's entries.
            partitions: 1,
            limits,
            metrics_listen: ([127, 0, 0, 1], 0).into(),
            ..Config::default()
        });
        let (worker_trigger, ending) = shutdown_channel();
        let metrics = Metrics::new(worker::SERVICE);
        let services = start::connect(&config, &metrics).await.unwrap();
        let listener = TcpListener::bind(config.worker_listen).unwrap();
        tokio::spawn(worker::run(listener, config.clone(), services, metrics, ending));

        let (api_trigger, ending) = shutdown_channel();
        let metrics = Metrics::new(api::SERVICE);
        let services = start::connect(&config, &metrics).await.unwrap();
        let sale = start::sale(&services, &config, &metrics, &ending).unwrap();
        let gates = api::start_gates(&services, &config, &metrics, &ending).await.unwrap();
        let listeners = api::Listeners::bind(&config).unwrap();
        let url = format!("http://{}", listeners.clients.local_addr().unwrap());
        tokio::spawn(async move {
            api::run(listeners, config, sale, gates, metrics, ending).await.unwrap();
        });
        Deployment { url, redis, database, _triggers: [worker_trigger, api_trigger] }
    }

    /// Runs the program against it: its exit code, and what it prints as JSON.
    async fn program(&self, words: &[&str]) -> (i32, Value) {
        let output = self.output(&[words, &["--json"]].concat()).await;
        let said = String::from_utf8_lossy(&output.stderr);
        let json = serde_json::from_slice(&output.stdout);
        (output.status.code().unwrap(), json.unwrap_or_else(|error| panic!("{error}: {said}")))
    }

    /// Runs the program against it.
    async fn output(&self, words: &[&str]) -> Output {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_holdfast-flash-sale"))
            .args(words)
            .env_clear()
            .env("FLASH_SALE_ADMIN_KEY", ADMIN_KEY)
            .env("HOLDFAST_REDIS_URL", self.redis.url())
            .env("HOLDFAST_MONGODB_URL", servers::shared_mongodb().url())
            .env("HOLDFAST_MONGODB_DATABASE", &self.database)
            .env("HOLDFAST_PARTITIONS", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        tokio::time::timeout(PROGRAM_TIMEOUT, output).await.unwrap().unwrap()
    }

    /// Runs a scenario's quick form: its result, and its history.
    async fn scenario(&self, name: &str) -> (Value, PathBuf) {
        let history = servers::state_dir().join(format!("{name}.jsonl"));
        let words = ["run", "--scenario", name, "--quick", "--url", &self.url, "--history"];
        let history_word = [history.to_str().unwrap()];
        let (code, result) = self.program(&[&words[..], &history_word].concat()).await;
        assert_eq!((code, &result["clean"]), (0, &Value::Bool(true)), "{name}: {result:#}");
        let finished = sum(&result["fates"]) + sum(&result["bot_fates"]);
        assert_eq!(result["buyers"].as_u64(), Some(finished), "{name}: {result:#}");
        assert_eq!(result["checked"]["reconcile"]["clean"], true, "{name}: {result:#}");
        let points = result["series"]["points"].as_array().unwrap();
        let calls = |part: &str| points.iter().map(|point| sum(&point[part])).sum::<u64>();
        let in_points = calls("outcomes") + points.iter().map(bot_calls).sum::<u64>();
        assert_eq!(result["checked"]["calls"].as_u64(), Some(in_points), "{name}: {result:#}");
        (result, history)
    }

    /// Sends an admin's POST; returns the body.
    fn post(&self, path: &str, body: &Value) -> Value {
        let response = post(&self.url, &format!("x-admin-key: {ADMIN_KEY}"), path, body);
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 20"), "{response}");
        serde_json::from_str(body).unwrap()
    }

    /// Checks a history: its exit code and its problems, in one text.
    async fn check(&self, history: &Path, flags: &[&str]) -> (i32, String) {
        let words = [&["check", history.to_str().unwrap()], flags].concat();
        let (code, checked) = self.program(&words).await;
        (code, checked["problems"].to_string())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clean_sale_passes_and_forged_histories_fail() {
    let deployment = Deployment::start().await;
    let history = servers::state_dir().join("sale.jsonl");
    let crowd = "run --buyers 300 --seats 100 --rate 60 --spike 30% --hold-ttl-seconds 3 \
        --think exponential:500ms --pay 60% --cancel 15% --returned 10% --double-click 10%";
    let mut words: Vec<&str> = crowd.split_whitespace().collect();
    words.extend(["--url", &deployment.url, "--history", history.to_str().unwrap()]);
    let (code, summary) = deployment.program(&words).await;
    assert_eq!((code, &summary["clean"]), (0, &Value::Bool(true)), "{summary:#}");

    // Every buyer finished, every call is recorded, and every kind of result occurred.
    assert_eq!(sum(&summary["fates"]), 300, "{summary:#}");
    let holds = &summary["operations"]["hold"];
    assert_eq!(sum(&holds["outcomes"]), holds["calls"].as_u64().unwrap());
    assert!(holds["outcomes"]["409 seats_unavailable"].as_u64() > Some(0), "{holds:#}");
    assert!(holds["latency_ms"]["p50"].as_f64() > Some(0.0), "{holds:#}");
    for fate in ["bought", "abandoned", "cancelled", "went_without"] {
        assert!(summary["fates"][fate].as_u64() > Some(0), "{fate}: {summary:#}");
    }
    assert_eq!(summary["checked"]["verify"]["clean"], true);
    assert_eq!(summary["settled"]["held_seats"], 0);
    let calls = lines(&history).len() - 2;
    assert_eq!(summary["checked"]["calls"].as_u64(), Some(calls as u64));

    assert_eq!(deployment.check(&history, &[]).await, (0, "[]".to_owned()));
    forged_double_sale_is_detected(&deployment, &history).await;
    forged_purchase_is_detected(&deployment, &history).await;
    truncated_history_is_refused(&history);
}

/// Sends a POST with one more header; returns the response.
fn post(url: &str, header: &str, path: &str, body: &Value) -> String {
    let host = url.strip_prefix("http://").unwrap();
    let body = body.to_string();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: {host}\r\n{header}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

/// Another event fills the same log: there are always entries that are not archived yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sale_is_clean_while_another_event_sells_on() {
    let deployment = Deployment::start().await;
    let event = json!({
        "name": "Other",
        "currency": "EUR",
        "sections": [{ "name": "Floor", "price": 100, "capacity": 10_000 }],
    });
    let other = deployment.post("/api/v1/events", &event)["id"].clone();
    let (url, is_over) = (deployment.url.clone(), Arc::new(AtomicBool::new(false)));
    let stop = is_over.clone();
    let selling = std::thread::spawn(move || {
        let seats = (1..=10_000).take_while(|_| !stop.load(Ordering::Relaxed));
        let hold = |seat| {
            let body = json!({ "event_id": other, "seat_ids": [seat] });
            post(&url, &format!("x-user-id: other-{seat}"), "/api/v1/bookings", &body)
        };
        seats.map(hold).filter(|response| response.starts_with("HTTP/1.1 201")).count()
    });
    let history = servers::state_dir().join("beside.jsonl");
    let crowd = "run --buyers 30 --seats 30 --rate 30 --hold-ttl-seconds 2 --think 0s";
    let mut words: Vec<&str> = crowd.split_whitespace().collect();
    words.extend(["--url", &deployment.url, "--history", history.to_str().unwrap()]);
    let (code, summary) = deployment.program(&words).await;
    is_over.store(true, Ordering::Relaxed);
    assert_eq!((code, &summary["clean"]), (0, &Value::Bool(true)), "{summary:#}");
    assert!(selling.join().unwrap() > 100, "the other event sold too little to disturb");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sale_by_quantity_is_clean() {
    let deployment = Deployment::start().await;
    let history = servers::state_dir().join("quantity.jsonl");
    let crowd = "run --by quantity --buyers 150 --seats 100 --rate 60 --wants 1..4 --split \
        --hold-ttl-seconds 3 --think exponential:300ms --users 120";
    let mut words: Vec<&str> = crowd.split_whitespace().collect();
    words.extend(["--url", &deployment.url, "--history", history.to_str().unwrap()]);
    let (code, summary) = deployment.program(&words).await;
    assert_eq!((code, &summary["clean"]), (0, &Value::Bool(true)), "{summary:#}");
    let holds = &summary["operations"]["hold"]["outcomes"];
    assert!(holds["201"].as_u64() > Some(20), "{holds:#}");
    assert!(summary["operations"]["map"].is_null(), "the server chooses: {summary:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sale_behind_a_waiting_room_is_clean() {
    let deployment = Deployment::start().await;
    let rows: Value = ["A", "B", "C"].map(|row| json!({ "row": row, "seats": 20 })).into();
    let sections = json!([{ "name": "Stalls", "price": 4_500, "rows": rows }]);
    let event =
        json!({ "name": "Rush", "currency": "EUR", "hold_ttl_seconds": 5, "sections": sections });
    let id = deployment.post("/api/v1/events", &event)["id"].to_string();
    let settings = json!({ "max_concurrent": 20, "session_duration": 5, "claim_window": 5 });
    deployment.post(&format!("/api/v1/events/{id}/waiting-room/enable"), &settings);

    let history = servers::state_dir().join("room.jsonl");
    let crowd = "run --direct --buyers 60 --rate 60 --think exponential:300ms --retry-pause 300ms \
        --patience 10s --event";
    let mut words: Vec<&str> = crowd.split_whitespace().collect();
    words.extend([&id, "--url", &deployment.url, "--history", history.to_str().unwrap()]);
    let (code, summary) = deployment.program(&words).await;
    assert_eq!((code, &summary["clean"]), (0, &Value::Bool(true)), "{summary:#}");
    assert_eq!(sum(&summary["fates"]), 60, "{summary:#}");
    let (operations, fates) = (&summary["operations"], &summary["fates"]);
    assert!(fates["bought"].as_u64() > Some(10) && fates["refused"].is_null(), "{summary:#}");
    // Who chooses for longer than a session lasts joins again.
    assert!(operations["join"]["outcomes"]["200"].as_u64() >= Some(60), "{operations:#}");
    assert!(operations["wait"]["calls"].as_u64() > Some(0), "{operations:#}");
    assert!(operations["leave"]["calls"].as_u64() > Some(0), "{operations:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_is_clean_where_limits_are_enforced() {
    let deployment = Deployment::start_with(AllRules::Each).await;
    let run = |name| deployment.scenario(name);
    // A few at a time: all seven at once are more than a small machine serves.
    let (few, room) = tokio::join!(run("last-ten-seats"), run("waiting-room"));
    let (seat, carts) = tokio::join!(run("hot-seat"), run("abandoned-carts"));
    let (stadium, two) = tokio::join!(run("stadium"), run("two-events"));
    let bots = run("bots").await.0;

    assert!(sold_seats(&few.0) <= 10, "{:#}", few.0["events"]);
    let bought = seat.0["fates"].get("bought").map_or(0, |bought| bought.as_u64().unwrap());
    let sold = sold_seats(&seat.0);
    assert!(bought <= sold && sold <= 1, "{sold} {:#}", seat.0["fates"]);
    let refused = &stadium.0["operations"]["hold"]["outcomes"]["409 seats_unavailable"];
    assert!(refused.as_u64() > Some(0), "{:#}", stadium.0["operations"]);
    assert!(room.0["fates"]["left_line"].as_u64() > Some(0), "{:#}", room.0["fates"]);
    let points = room.0["series"]["points"].as_array().unwrap();
    assert!(points.iter().any(|point| point["queue"]["waiting"].as_u64() > Some(0)));
    assert!(carts.0["fates"]["abandoned"].as_u64() > carts.0["fates"]["cancelled"].as_u64());

    let quiet = &two.0["events"][1]["operations"]["hold"];
    assert!(quiet["latency_ms"]["p50"].as_f64() > Some(0.0), "{:#}", two.0["events"]);
    forged_double_sale_is_detected(&deployment, &two.1).await;

    let refused = |operations: &Value, code: &str| -> u64 {
        let all = operations.as_object().unwrap().values();
        all.map(|one| one["outcomes"][code].as_u64().unwrap_or(0)).sum()
    };
    assert!(refused(&bots["bot_operations"], "403 automated_access") > 0, "{bots:#}");
    assert_eq!(refused(&bots["operations"], "403 automated_access"), 0);
    let limited = refused(&bots["bot_operations"], "429 rate_limit_exceeded");
    assert!(limited > 0, "{:#}", bots["bot_operations"]);
    result_is_shown(&deployment, &few.0, &seat.0).await;
}

/// Returns the seats sold at the end, which the API and `verify` must count alike.
fn sold_seats(result: &Value) -> u64 {
    let sold = result["events"][0]["sold_seats"].as_u64().unwrap();
    let verified = result["checked"]["verify"]["events"][0]["sold"].as_u64().unwrap();
    assert_eq!(sold, verified, "{:#}", result["events"]);
    let last = result["series"]["points"].as_array().unwrap().last().unwrap();
    let id = result["event"].to_string();
    assert_eq!(last["seats"][&id]["sold"].as_u64().unwrap(), verified, "{last:#}");
    verified
}

/// A result is read back as it was written, and shown as a page and beside another.
async fn result_is_shown(deployment: &Deployment, one: &Value, other: &Value) {
    let read = holdfast_bench_report::read::run(&one.to_string()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), *one);
    let folder = servers::state_dir();
    let paths = ["one.json", "other.json", "page.html"].map(|name| folder.join(name));
    std::fs::write(&paths[0], one.to_string()).unwrap();
    std::fs::write(&paths[1], other.to_string()).unwrap();
    let [one, other, page] = paths.each_ref().map(|path| path.to_str().unwrap());
    let output = deployment.output(&["report", one, "-o", page]).await;
    assert!(output.status.success(), "{output:?}");
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.contains("last-ten-seats") && html.contains("<svg"));
    let output = deployment.output(&["compare", one, other]).await;
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("hot-seat"), "{output:?}");
    let output = deployment.output(&["report", page]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrivals_come_from_a_trace() {
    let deployment = Deployment::start().await;
    let folder = servers::state_dir();
    let (trace, history) = (folder.join("trace"), folder.join("trace.jsonl"));
    let schedule = format!("trace:{}", trace.display());
    let words = ["run", "--url", &deployment.url, "--seats", "200", "--hold-ttl-seconds", "2"];
    let more = ["--think", "0s", "--arrivals", &schedule, "--history", history.to_str().unwrap()];
    let words = [&words[..], &more].concat();

    std::fs::write(&trace, "# ticket office\n0.1 5\n0.5\n1.25 4\n").unwrap();
    let (code, result) = deployment.program(&words).await;
    assert_eq!((code, result["buyers"].as_u64()), (0, Some(10)), "{result:#}");
    let first = |buyer: u64| {
        let of_buyer = |line: &&Value| line["buyer"] == buyer && line["line"] == "call";
        lines(&history).iter().filter(of_buyer).map(|line| line["due_ns"].as_u64()).min()
    };
    assert_eq!(
        [first(0), first(5), first(9)].map(|due| due.flatten()),
        [Some(100_000_000), Some(500_000_000), Some(1_250_000_000),]
    );

    std::fs::write(&trace, "0.1 5\nnoon\n").unwrap();
    let output = deployment.output(&words).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("trace:2:"), "{said}");
}

/// A second buyer gets CONFIRMED for seats that are sold.
async fn forged_double_sale_is_detected(deployment: &Deployment, history: &Path) {
    let forged = forged(history, "double.jsonl", |lines| {
        let last = lines.iter().filter_map(|line| line["answered_ns"].as_u64()).max().unwrap();
        let cancels: Vec<Value> = lines
            .iter()
            .filter(|l| l["operation"] == "cancel")
            .map(|l| l["about"].clone())
            .collect();
        let sold = lines.iter().find(|line| {
            line["booking"]["status"] == "CONFIRMED" && !cancels.contains(&line["about"])
        });
        let sold = sold.unwrap()["about"].clone();
        let of_sold = |line: &&Value| line["booking"]["id"] == sold;
        let mut copies: Vec<Value> = lines.iter().filter(of_sold).cloned().collect();
        for (step, copy) in copies.iter_mut().enumerate() {
            let at = last + 1_000_000 * (2 * step as u64 + 1);
            copy["user"] = "eve".into();
            copy["key"] = Value::Null;
            copy["sent_ns"] = at.into();
            copy["answered_ns"] = (at + 1_000_000).into();
            copy["booking"]["id"] = "forged".into();
            copy["booking"]["user"] = "eve".into();
            if !copy["about"].is_null() {
                copy["about"] = "forged".into();
            }
        }
        lines.extend(copies);
    });
    let (code, problems) = deployment.check(&forged, &["--no-verify"]).await;
    assert!(code == 1 && problems.contains("DOUBLE SALE of seat"), "{code} {problems}");
    let (code, problems) = deployment.check(&forged, &[]).await;
    assert!(code == 1 && problems.contains("LOST booking forged of eve"), "{code} {problems}");
}

/// A buyer who let the hold lapse gets CONFIRMED, which only the archive contradicts.
async fn forged_purchase_is_detected(deployment: &Deployment, history: &Path) {
    let forged = forged(history, "purchase.jsonl", |lines| {
        let abouts: Vec<Value> = lines.iter().map(|line| line["about"].clone()).collect();
        let is_left = |line: &&Value| {
            line["booking"]["status"] == "HOLD" && !abouts.contains(&line["booking"]["id"])
        };
        // The last hold of all, so that nobody had its seats afterwards.
        let mut look = lines.iter().rev().find(is_left).unwrap().clone();
        look["operation"] = "look".into();
        look["about"] = look["booking"]["id"].clone();
        look["booking"]["status"] = "CONFIRMED".into();
        lines.push(look);
    });
    let (code, problems) = deployment.check(&forged, &[]).await;
    let is_detected = problems.contains("reported CONFIRMED, in the archive none");
    assert!(code == 1 && is_detected, "{code} {problems}");
}

fn truncated_history_is_refused(history: &Path) {
    let text = std::fs::read_to_string(history).unwrap();
    let cut = history.with_file_name("cut.jsonl");
    std::fs::write(&cut, &text[..text.trim_end().rfind('\n').unwrap() + 1]).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_holdfast-flash-sale"))
        .args(["check", "--no-verify", cut.to_str().unwrap()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("cut off"), "{said}");
}
