//! The programs that are compared: how each is started, and what it is known for.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use mongodb::Collection;
use mongodb::bson::Document;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::Options;
use crate::bare::BOOKINGS;
use crate::beside::{self, post, until};

/// How long a program may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a program may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long documents that are written in the background are waited for.
const DOCUMENTS_TIMEOUT: Duration = Duration::from_secs(30);
const DOCUMENTS_PAUSE: Duration = Duration::from_millis(50);
/// Price of every seat, minor units.
const PRICE: i64 = 100;
/// The name of Holdfast among the others.
pub const HOLDFAST: &str = "holdfast";
const EXPRESS: &str = "express";

/// A strategy.
pub struct Strategy {
    pub name: &'static str,
    pub label: &'static str,
    pub best_at: &'static str,
    pub gives_up: &'static str,
}

/// All of them, in the order of the tables.
pub const STRATEGIES: [Strategy; 8] = [
    Strategy {
        name: "optimistic",
        label: "Version field in MongoDB",
        best_at: "No second database: nothing but MongoDB decides",
        gives_up: "Three operations a booking, retries; a crash leaves seats without booking",
    },
    Strategy {
        name: "lock-document",
        label: "Lock document in MongoDB",
        best_at: "Any check fits between lock and write; locks expire by themselves",
        gives_up: "Five operations a booking; a stopped process can oversell when its lock expires",
    },
    Strategy {
        name: "single-writer",
        label: "Queue with one writer",
        best_at: "No two decisions compete; one write for many bookings",
        gives_up: "One process is the limit; a crash loses the orders that it took",
    },
    Strategy {
        name: "counter",
        label: "Redis counter without script",
        best_at: "The shortest program; a refusal is one GET",
        gives_up: "Oversells: the check and the decrement are two commands; knows no seats",
    },
    Strategy {
        name: "set-nx",
        label: "SET NX for each seat",
        best_at: "One command for each seat; abandoned seats come back by expiry",
        gives_up: "Overlapping requests refuse each other; a badly timed stop sells a seat twice",
    },
    Strategy {
        name: "script-and-write",
        label: "Script, then MongoDB",
        best_at: "Decides in one command; what was answered is in MongoDB",
        gives_up: "Every winner waits for MongoDB; a crash in between loses seats; nothing expires",
    },
    Strategy {
        name: EXPRESS,
        label: "Express, node-redis, script",
        best_at: "The least code that most teams know; winners wait for Redis alone",
        gives_up: "A crash loses bookings that were answered; nothing expires",
    },
    Strategy {
        name: HOLDFAST,
        label: "Holdfast",
        best_at: "Refuses from memory; one script grants and logs; holds expire, payments",
        gives_up: "Documents follow a moment later; until then Redis and its file have them",
    },
];

/// A running program.
pub struct Contender {
    pub strategy: &'static Strategy,
    pub address: SocketAddr,
    bookings: Collection<Document>,
    child: Option<Child>,
}

/// A strategy that does not run here.
pub struct Skipped {
    pub strategy: &'static Strategy,
    pub reason: String,
}

/// Starts all programs that can run here; Holdfast runs already.
///
/// # Errors
/// If one of them does not start.
pub async fn start(
    options: &Options,
    mongodb: &mongodb::Client,
) -> Result<(Vec<Contender>, Vec<Skipped>), Box<dyn Error>> {
    let (mut running, mut skipped) = (Vec::new(), Vec::new());
    let folder = std::env::current_exe()?.parent().map(Path::to_path_buf).unwrap_or_default();
    for strategy in &STRATEGIES {
        let name = strategy.name;
        if name != HOLDFAST && !options.only.is_empty() && !options.only.iter().any(|n| n == name) {
            continue;
        }
        let program = match name {
            HOLDFAST => {
                let database = mongodb.database(&options.mongodb_database);
                let (address, bookings) =
                    (beside::address(&options.url)?, database.collection("bookings"));
                running.push(Contender { strategy, address, bookings, child: None });
                continue;
            }
            EXPRESS => match express(&options.express).await {
                Ok(words) => words,
                Err(reason) => {
                    println!("{} is left out: {reason}", strategy.label);
                    skipped.push(Skipped { strategy, reason });
                    continue;
                }
            },
            _ => vec![folder.join("holdfast-strategies").display().to_string(), name.to_owned()],
        };
        running.push(launch(strategy, &program, options, mongodb).await?);
    }
    Ok((running, skipped))
}

/// The command that starts the Express program, or why it cannot run here.
async fn express(folder: &Path) -> Result<Vec<String>, String> {
    let node = Command::new("node").arg("--version").stderr(Stdio::null()).output().await;
    if !node.is_ok_and(|output| output.status.success()) {
        return Err("node is not installed".to_owned());
    }
    if !folder.join("node_modules").is_dir() {
        return Err(format!("its packages are missing (npm ci --prefix {})", folder.display()));
    }
    Ok(vec!["node".to_owned(), folder.join("server.js").display().to_string()])
}

async fn launch(
    strategy: &'static Strategy,
    program: &[String],
    options: &Options,
    mongodb: &mongodb::Client,
) -> Result<Contender, Box<dyn Error>> {
    // Data of its own: documents of another run would be counted.
    let name = strategy.name.replace('-', "_");
    let namespace = format!("strategies_{name}_{:08x}", rand::random::<u32>());
    let mut child = Command::new(&program[0])
        .args(&program[1..])
        .args(["--redis-url", &options.redis_url, "--mongodb-url", &options.mongodb_url])
        .args(["--namespace", &namespace, "--until-stdin-closes"])
        .env("NODE_ENV", "production")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{} does not start: {error}", program[0]))?;
    let stdout = child.stdout.take().ok_or("the program has no output")?;
    let mut line = String::new();
    let mut stdout = BufReader::new(stdout);
    tokio::time::timeout(START_TIMEOUT, stdout.read_line(&mut line)).await??;
    let port = line.trim().parse();
    let port = port.map_err(|_| format!("{} does not tell its port: {line}", strategy.name))?;
    let bookings = mongodb.database(&namespace).collection("bookings");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    Ok(Contender { strategy, address, bookings, child: Some(child) })
}

/// Seats on sale.
#[derive(Clone, Copy)]
pub struct Sale {
    event: u64,
}

impl Sale {
    /// Builds a request for one seat.
    pub fn request(self, user: &str, seat: u32) -> Vec<u8> {
        let body = json!({ "event_id": self.event, "seat_ids": [seat] });
        post(BOOKINGS, user, seat as usize, &body)
    }
}

impl Contender {
    /// Whether this is Holdfast.
    pub fn is_holdfast(&self) -> bool {
        self.strategy.name == HOLDFAST
    }

    /// Whether a request names seats; otherwise it is for any.
    pub fn names_seats(&self) -> bool {
        self.strategy.name != "counter"
    }

    /// Puts the seats 1 to `seats` on sale.
    ///
    /// # Errors
    /// If the event does not open.
    pub async fn sale(&self, seats: u32) -> Result<Sale, Box<dyn Error>> {
        let event: Value = json!({
            "name": "Strategies", "currency": "EUR", "hold_ttl_seconds": 3_600,
            "max_hold_seconds": 3_600,
            // One more, which is bought to see that the event is open.
            "sections": [{ "name": "Floor", "price": PRICE, "capacity": seats + 1 }],
        });
        let sale = Sale { event: beside::event(self.address, &event).await? };
        until(self.address, &sale.request("opener", seats + 1), 201).await?;
        Ok(sale)
    }

    /// Number of bookings' documents.
    ///
    /// # Errors
    /// If MongoDB does not respond.
    pub async fn documents(&self) -> Result<u64, Box<dyn Error>> {
        Ok(self.bookings.estimated_document_count().await?)
    }

    /// Waits until there are so many documents; returns how many there are, and how long that took,
    /// ms.
    ///
    /// # Errors
    /// If MongoDB does not respond.
    pub async fn documents_until(&self, wanted: u64) -> Result<(u64, f64), Box<dyn Error>> {
        let began = Instant::now();
        loop {
            let documents = self.documents().await?;
            if documents >= wanted || began.elapsed() > DOCUMENTS_TIMEOUT {
                return Ok((documents, began.elapsed().as_secs_f64() * 1e3));
            }
            tokio::time::sleep(DOCUMENTS_PAUSE).await;
        }
    }

    /// Ends the program, unless it is Holdfast.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn stop(mut self) -> Result<(), Box<dyn Error>> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        drop(child.stdin.take());
        if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
            child.kill().await?;
        }
        self.bookings.client().database(&self.bookings.namespace().db).drop().await?;
        Ok(())
    }
}

/// The default place of the Express program, from the repository's root.
pub fn express_folder() -> PathBuf {
    PathBuf::from("bench/strategies/express")
}
