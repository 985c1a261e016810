//! The stream of an event's booking log.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{KEY, event, keyed, ops};
use crate::support::api::{Place, small_event};

/// An open stream, line by line.
struct Lines {
    answer: reqwest::Response,
    read: Vec<u8>,
}

impl Lines {
    async fn open(address: &str, event: u64) -> Self {
        let url = format!("http://{address}/api/v1/admin/events/{event}/log");
        let ask = reqwest::Client::new().get(url).header("X-Admin-Key", KEY);
        let answer = ask.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
        Lines { answer, read: Vec::new() }
    }

    async fn next(&mut self) -> Value {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            let piece = timeout(Duration::from_secs(60), self.answer.chunk()).await;
            self.read.extend(piece.expect("a line in time").unwrap().expect("no end"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_is_followed_from_the_hold_to_the_block() {
    let api = keyed(&Place::shared()).await;
    let id = event(&api, small_event()).await;
    let mut lines = Lines::open(api.address(), id).await;
    let started = lines.next().await;
    assert_eq!((&started["type"], &started["event_id"]), (&json!("started"), &json!(id)));
    let held = api.held("ann", id, &[1, 2]).await;
    let line = lines.next().await;
    let facts = ["type", "kind", "booking_id", "user_id", "status", "version", "total_amount"];
    assert_eq!(
        facts.map(|name| line[name].clone()),
        [
            json!("entry"),
            json!("hold"),
            held["id"].clone(),
            json!("ann"),
            json!("HOLD"),
            json!(1),
            json!(10_000)
        ]
    );
    assert_eq!((&line["seat_ids"], &line["seat_labels"]), (&json!([1, 2]), &json!(["A-1", "A-2"])));
    assert_eq!((&line["section"], &line["by"]), (&json!("Stalls"), &Value::Null));
    api.act("ann", &held, "cancel").await.json(200);
    assert_eq!(lines.next().await["kind"], "cancelled");
    let blocks = api.post(&format!("/api/v1/events/{id}/blocks"));
    ops(blocks.json(json!({ "seat_ids": [3], "reason": "press" }))).await.json(200);
    let line = lines.next().await;
    let facts = ["kind", "booking_id", "by", "detail"].map(|name| line[name].clone());
    assert_eq!(facts, [json!("blocked"), Value::Null, json!("ops"), json!("press")]);
    let pause = api.ask(reqwest::Method::PATCH, &format!("/api/v1/events/{id}"));
    ops(pause.json(json!({ "status": "PAUSED" }))).await.json(200);
    let line = lines.next().await;
    assert_eq!(line["kind"], "event");
    assert!(line["detail"].as_str().unwrap().starts_with("PAUSED"), "{line}");
    // Another event's entries are not in it.
    let other = event(&api, small_event()).await;
    api.held("bob", other, &[1]).await;
    let resume = api.ask(reqwest::Method::PATCH, &format!("/api/v1/events/{id}"));
    ops(resume.json(json!({ "status": "ON_SALE" }))).await.json(200);
    assert_eq!(lines.next().await["kind"], "event");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_bounded_and_end_with_the_server() {
    let api = keyed(&Place::shared()).await;
    let id = event(&api, small_event()).await;
    let missing = api.get("/api/v1/admin/events/4000000000/log");
    ops(missing).await.problem(404, "event_unknown");
    let head = api.ask(reqwest::Method::HEAD, &format!("/api/v1/admin/events/{id}/log"));
    assert_eq!(ops(head).await.status, 200);
    let mut open = Vec::new();
    let refused = loop {
        let url = format!("http://{}/api/v1/admin/events/{id}/log", api.address());
        let ask = reqwest::Client::new().get(url).header("X-Admin-Key", KEY);
        let answer = ask.send().await.unwrap();
        match answer.status().as_u16() {
            200 => open.push(answer),
            status => break status,
        }
        assert!(open.len() <= 16, "bounded");
    };
    assert_eq!((refused, open.len()), (429, 16));
    drop(open.split_off(1));
    let mut last = open.pop().unwrap();
    api.stop().await;
    let bound = Duration::from_secs(60);
    while timeout(bound, last.chunk()).await.expect("it ends").is_ok_and(|piece| piece.is_some()) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_and_continued_sale_is_pushed() {
    let api = keyed(&Place::shared()).await;
    let id = event(&api, small_event()).await;
    let mut socket = api.socket(id).await;
    let mut stream = api.stream_with(id, "", &[]).await;
    assert_eq!(socket.next_message().await["type"], "snapshot");
    assert_eq!(stream.next_message().await["type"], "connected");
    assert_eq!(stream.next_message().await["type"], "snapshot");
    let change = async |body: Value| {
        let patch = api.ask(reqwest::Method::PATCH, &format!("/api/v1/events/{id}"));
        ops(patch.json(body)).await.json(200);
    };
    for status in ["PAUSED", "ON_SALE", "CLOSED"] {
        change(json!({ "status": status })).await;
        for message in [socket.next_message().await, stream.next_message().await] {
            let facts = ["type", "event_id", "status", "on_sale_at", "off_sale_at"];
            assert_eq!(
                facts.map(|name| message[name].clone()),
                [json!("event_status"), json!(id), json!(status), Value::Null, Value::Null]
            );
            assert!(super::super::is_time(&message["timestamp"]), "{message}");
        }
    }
    api.stop().await;
}
