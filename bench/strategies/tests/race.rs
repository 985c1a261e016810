//! Each strategy against real servers: 50 users want one of 3 seats at the same moment, and ask two
//! processes that share nothing but Redis and MongoDB.

// Other tests use the rest of it.
#[allow(dead_code)]
#[path = "../../../tests/support/servers.rs"]
mod servers;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use servers::Flavor;

const USERS: u32 = 50;
const SEATS: u32 = 3;
/// Processes of a strategy.
const PROCESSES: usize = 2;
/// Bound of the time until bookings that are written in the background are there.
const DOCUMENTS_TIMEOUT: Duration = Duration::from_secs(10);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);

/// A program that sells seats, ended on drop.
struct Program {
    port: u16,
    child: Child,
}

impl Program {
    fn start(words: &[&str], namespace: &str) -> Self {
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .args(["--namespace", namespace, "--redis-url", &redis().url()])
            .args(["--mongodb-url", &servers::shared_mongodb().url()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        servers::reap_later(child.id());
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Program { port: line.trim().parse().unwrap(), child }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Sends a POST; returns the status and the body.
fn post(port: u16, path: &str, user: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(RESPONSE_TIMEOUT)).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\nx-user-id: {user}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

fn redis() -> &'static servers::Server {
    let flavor = if servers::available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    servers::shared_redis(flavor)
}

/// What a race came to.
struct Race {
    event: u64,
    /// The bookings that were granted, and whose seats they are.
    granted: Vec<(String, u64)>,
    /// The statuses of the others.
    others: Vec<u16>,
    programs: Vec<Program>,
    namespace: String,
}

impl Race {
    fn run(words: &[&str], name: &str) -> Self {
        let namespace = format!("race_{name}_{}", std::process::id());
        let programs: Vec<Program> =
            (0..PROCESSES).map(|_| Program::start(words, &namespace)).collect();
        let sections = json!([{ "name": "Floor", "price": 100, "capacity": SEATS }]);
        let new = json!({ "name": "Race", "currency": "EUR", "sections": sections });
        let (status, event) = post(programs[0].port, "/api/v1/events", "operator", &new);
        assert_eq!(status, 201, "{event}");
        let event = event["id"].as_u64().unwrap();
        let gate = Arc::new(Barrier::new(USERS as usize));
        let users: Vec<_> = (0..USERS)
            .map(|user| {
                let (gate, port) = (gate.clone(), programs[user as usize % PROCESSES].port);
                std::thread::spawn(move || {
                    let wanted = json!({ "event_id": event, "seat_ids": [user % SEATS + 1] });
                    gate.wait();
                    post(port, "/api/v1/bookings", &format!("u{user}"), &wanted)
                })
            })
            .collect();
        let (mut granted, mut others) = (Vec::new(), Vec::new());
        for user in users {
            match user.join().unwrap() {
                (201, booking) => {
                    let seat = booking["seat_ids"][0].as_u64().unwrap();
                    granted.push((booking["id"].as_str().unwrap().to_owned(), seat));
                }
                (status, _) => others.push(status),
            }
        }
        Race { event, granted, others, programs, namespace }
    }

    /// All seats are sold, each once, nobody else got anything, and every booking has its document.
    async fn assert_sound(mut self) {
        let mut seats: Vec<u64> = self.granted.iter().map(|(_, seat)| *seat).collect();
        seats.sort_unstable();
        assert_eq!(seats, (1..=u64::from(SEATS)).collect::<Vec<u64>>());
        assert_eq!(self.others, vec![409; (USERS - SEATS) as usize]);
        self.assert_documents().await;
        // Of two seats one is sold, for all processes: both stay as they are.
        let both = json!({ "event_id": self.event, "seat_ids": [1, 2] });
        let last = self.programs.pop().unwrap();
        assert_eq!(post(last.port, "/api/v1/bookings", "late", &both).0, 409);
    }

    async fn assert_documents(&self) {
        let url = servers::shared_mongodb().url();
        let mongodb = mongodb::Client::with_uri_str(&url).await.unwrap();
        let bookings = mongodb.database(&self.namespace).collection::<Document>("bookings");
        let began = Instant::now();
        loop {
            let documents = bookings.count_documents(doc! {}).await.unwrap();
            if documents == self.granted.len() as u64 {
                break;
            }
            let is_early = documents < self.granted.len() as u64;
            assert!(is_early && began.elapsed() < DOCUMENTS_TIMEOUT, "{documents} documents");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for (id, seat) in &self.granted {
            let booking = bookings.find_one(doc! { "_id": id }).await.unwrap().unwrap();
            let place = format!("{}:{seat}", self.event);
            assert_eq!(booking.get_array("places").unwrap()[0].as_str(), Some(place.as_str()));
        }
    }
}

fn race(strategy: &str) -> Race {
    let name = strategy.replace('-', "_");
    Race::run(&[env!("CARGO_BIN_EXE_holdfast-strategies"), strategy], &name)
}

#[tokio::test]
async fn optimistic_sells_every_seat_once() {
    race("optimistic").assert_sound().await;
}

#[tokio::test]
async fn lock_document_sells_every_seat_once() {
    race("lock-document").assert_sound().await;
}

#[tokio::test]
async fn single_writer_sells_every_seat_once() {
    race("single-writer").assert_sound().await;
}

#[tokio::test]
async fn set_nx_sells_every_seat_once() {
    race("set-nx").assert_sound().await;
}

#[tokio::test]
async fn script_and_write_sells_every_seat_once() {
    race("script-and-write").assert_sound().await;
}

/// It may oversell, which is what it is there to show, and it writes every booking that it grants.
#[tokio::test]
async fn counter_sells_at_least_all_seats() {
    let race = race("counter");
    assert!(race.granted.len() >= SEATS as usize, "{} were granted", race.granted.len());
    assert!(race.others.iter().all(|status| *status == 409), "{:?}", race.others);
    race.assert_documents().await;
}

#[tokio::test]
async fn express_sells_every_seat_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("express");
    if !folder.join("node_modules").is_dir() {
        eprintln!("skipped: no packages (npm ci --prefix bench/strategies/express)");
        return;
    }
    let server = folder.join("server.js");
    let words = ["node", server.to_str().unwrap(), "--processes", "2"];
    Race::run(&words, "express").assert_sound().await;
}
