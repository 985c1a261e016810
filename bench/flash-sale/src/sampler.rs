//! Reads of the API beside the sale: the seats, the waiting room, and the health of each process. They use
//! connections of their own, so that a busy sale does not hold them up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_bench_report::result::{Queue, Seats};
use hyper::Method;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::Failure;
use crate::client::{Client, HttpRequest, Target};
use crate::prepare::{admin_key, request};
use crate::shop::Shop;

/// Longest of these calls: the next step begins a second after this one.
const TIMEOUT: Duration = Duration::from_millis(900);
/// Pause between two reads of one event's seats without an admin key: the server grants 20 a minute.
/// Several events share them.
const PUBLIC_PAUSE: Duration = Duration::from_secs(4);
/// Connections of this kind to each process.
const CALLS_MAX: usize = 8;

/// Reads the API during a sale.
pub struct Sampler {
    shop: Arc<Shop>,
    /// One client a process.
    clients: Vec<Arc<Client>>,
    headers: Vec<(&'static str, String)>,
    /// When the seats may be read again.
    next_seats: Instant,
}

/// One look.
#[derive(Debug, Default)]
pub struct Sample {
    /// Seats by event; without those that could not be read.
    pub seats: BTreeMap<u32, Seats>,
    /// The waiting room, where the run has one.
    pub queue: Option<Queue>,
    /// Each process' faults, such as `redis unavailable`.
    pub faults: Vec<String>,
    /// The server's version, if it was read.
    pub version: Option<String>,
}

impl Sampler {
    /// Creates a sampler of a sale.
    ///
    /// # Errors
    /// If no HTTP client can be made.
    pub fn new(shop: Arc<Shop>) -> Result<Self, Failure> {
        let client = |url: &String| {
            Client::new(Target {
                urls: vec![url.clone()],
                in_flight_max: CALLS_MAX,
                timeout: TIMEOUT,
            })
            .map(Arc::new)
        };
        let clients = shop.options.url.iter().map(client).collect::<Result<_, _>>()?;
        let mut headers = admin_key(&shop.options);
        headers.push(("x-user-id", format!("{}-watch", shop.name)));
        Ok(Sampler { shop, clients, headers, next_seats: Instant::now() })
    }

    /// Looks once, within a second; the last look reads the seats even if a pause has not ended.
    pub async fn look(&mut self, is_last: bool) -> Sample {
        let mut sample = Sample::default();
        let seats_due = is_last || Instant::now() >= self.next_seats;
        let (seats, queue, health) = tokio::join!(
            async {
                match seats_due {
                    true => self.seats().await,
                    false => (BTreeMap::new(), None),
                }
            },
            self.queue(),
            self.health(),
        );
        sample.queue = queue;
        (sample.faults, sample.version) = health;
        if seats_due {
            let least = seats_pause(&self.shop);
            self.next_seats = Instant::now() + seats.1.unwrap_or(least).max(least);
            sample.seats = seats.0;
        }
        sample
    }

    fn get(
        &self,
        client: &Arc<Client>,
        path: String,
    ) -> impl Future<Output = Result<(u16, Value), Option<Duration>>> + Send + use<> {
        let client = client.clone();
        let request = HttpRequest { headers: self.headers.clone(), ..request(Method::GET, path) };
        async move {
            match client.call(&request).await.reply {
                Ok(reply) if reply.status == 429 => Err(reply.retry_after),
                Ok(reply) => Ok((reply.status, reply.json())),
                Err(_) => Err(None),
            }
        }
    }

    /// The seats by event, and how long to wait before the next read if the server said so.
    async fn seats(&self) -> (BTreeMap<u32, Seats>, Option<Duration>) {
        let mut reads = JoinSet::new();
        for event in &self.shop.events {
            let id = event.id;
            let read = self.get(&self.clients[0], format!("/api/v1/events/{id}/availability"));
            reads.spawn(async move { (id, read.await) });
        }
        let (mut all, mut pause) = (BTreeMap::new(), None);
        for (id, read) in reads.join_all().await {
            match read {
                Ok((200, body)) => all.extend(seats_of(&body).map(|seats| (id, seats))),
                Ok(_) => {}
                Err(retry_after) => pause = pause.max(retry_after),
            }
        }
        (all, pause)
    }

    async fn queue(&self) -> Option<Queue> {
        let event = self.shop.events.iter().find(|event| event.has_room)?;
        let path = format!("/api/v1/events/{}/waiting-room/stats", event.id);
        let (_, body) = self.get(&self.clients[0], path).await.ok()?;
        Some(Queue {
            waiting: body["queue_size"].as_u64()?,
            inside: body["active_sessions"].as_u64()?,
        })
    }

    async fn health(&self) -> (Vec<String>, Option<String>) {
        let mut reads = JoinSet::new();
        for (client, url) in self.clients.iter().zip(&self.shop.options.url) {
            let (read, url) = (self.get(client, "/health/ready".to_owned()), url.clone());
            reads.spawn(async move { (url, read.await) });
        }
        let (mut faults, mut version) = (Vec::new(), None);
        for (url, read) in reads.join_all().await {
            match read {
                Ok((_, body)) => {
                    version = body["version"].as_str().map(str::to_owned).or(version);
                    faults.extend(
                        faults_of(&body).into_iter().map(|fault| format!("{fault} ({url})")),
                    );
                }
                Err(_) => faults.push(format!("not reachable ({url})")),
            }
        }
        (faults, version)
    }
}

/// Returns the pause between two reads of the seats, which the server limits for those without an
/// admin key.
pub fn seats_pause(shop: &Shop) -> Duration {
    match shop.options.admin_key {
        Some(_) => Duration::ZERO,
        None => PUBLIC_PAUSE * shop.events.len() as u32,
    }
}

/// Reads counts of seats; blocked ones count as sold, because nobody can have them.
fn seats_of(body: &Value) -> Option<Seats> {
    let number = |name: &str| body[name].as_u64();
    Some(Seats {
        free: number("available_seats")?,
        held: number("held_seats")?,
        sold: number("booked_seats")? + number("blocked_seats").unwrap_or(0),
    })
}

/// Returns the parts that a health report does not call ok.
fn faults_of(body: &Value) -> Vec<String> {
    let Some(checks) = body["checks"].as_object() else {
        return vec!["unreadable health report".to_owned()];
    };
    let bad = checks.iter().filter(|(_, state)| *state != "ok");
    bad.map(|(part, state)| format!("{part} {}", state.as_str().unwrap_or("unknown"))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn health_report_names_what_is_not_ok() {
        let body =
            json!({ "checks": { "redis": "unavailable", "mongodb": "ok", "live": "stale" } });
        let mut faults = faults_of(&body);
        faults.sort();
        assert_eq!(faults, ["live stale", "redis unavailable"]);
        assert!(faults_of(&json!({ "checks": { "redis": "ok" } })).is_empty());
        assert_eq!(faults_of(&json!({})).len(), 1);
    }

    #[test]
    fn coarse_counts_are_no_counts() {
        let exact =
            json!({ "available_seats": 3, "held_seats": 2, "booked_seats": 4, "blocked_seats": 1 });
        let seats = seats_of(&exact).unwrap();
        assert_eq!((seats.free, seats.held, seats.sold), (3, 2, 5));
        assert!(seats_of(&json!({ "is_sold_out": false })).is_none());
    }
}
