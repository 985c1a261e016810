//! Several processes with the same limits, and what their responses prove.

use std::time::{Duration, Instant};

use rand::RngExt;

use crate::support::api::{Api, Place};
use crate::support::http::{Ask, Client, Reply};

/// Every rule by its own mode.
pub const EACH: (&str, &str) = ("HOLDFAST_LIMITS", "each");
/// A browser's header, so that requests do not look automated.
pub const BROWSER: (&str, &str) = ("User-Agent", "Mozilla/5.0");

/// The rule `requests` with this quota and window, as a setting; `more` are further changes.
pub fn requests(quota: u32, window_seconds: u32, more: &str) -> String {
    format!("[{{name=\"requests\",quota={quota},window_seconds={window_seconds}}}{more}]")
}

/// API processes of one place.
pub struct Crowd {
    pub apis: Vec<Api>,
}

impl Crowd {
    pub async fn new(place: &Place, processes: usize, rules: &str) -> Self {
        let settings = [EACH, ("HOLDFAST_LIMIT_RULES", rules)];
        let mut apis = Vec::new();
        for _ in 0..processes {
            apis.push(Api::program(place, &settings).await);
        }
        Crowd { apis }
    }

    /// Any of the processes.
    pub fn any(&self) -> Client {
        self.apis[rand::rng().random_range(0..self.apis.len())].client()
    }

    /// A metric's sum over the processes.
    pub async fn labelled_metric(&self, labelled: &str) -> f64 {
        let mut sum = 0.0;
        for api in &self.apis {
            sum += api.labelled_metric(labelled).await;
        }
        sum
    }
}

/// One request and its response: it was decided between the two moments.
#[derive(Debug)]
pub struct Exchange {
    pub sent: Instant,
    pub received: Instant,
    pub reply: Reply,
}

/// Sends a request and measures when.
pub async fn exchange(ask: Ask) -> Exchange {
    let sent = Instant::now();
    let reply = ask.send().await;
    Exchange { sent, received: Instant::now(), reply }
}

/// From the first request sent to the last response received.
pub fn span(all: &[Exchange]) -> Duration {
    let first = all.iter().map(|one| one.sent).min().expect("a request");
    let last = all.iter().map(|one| one.received).max().expect("a request");
    last - first
}

/// Requests that no limit refused.
pub fn passed(all: &[Exchange]) -> Vec<&Exchange> {
    all.iter().filter(|one| one.reply.status != 429).collect()
}

/// Panics if some window provably has more than `most` requests that no limit refused. The n-th
/// decision lies between the n-th request sent and the n-th response received.
pub fn no_window_has_more(all: &[Exchange], most: usize, window: Duration) {
    let passed = passed(all);
    let mut sent: Vec<Instant> = passed.iter().map(|one| one.sent).collect();
    let mut received: Vec<Instant> = passed.iter().map(|one| one.received).collect();
    sent.sort();
    received.sort();
    for (first, last) in sent.iter().zip(received.iter().skip(most)) {
        let apart = *last - *first;
        assert!(apart >= window, "{} passed within {apart:?}", most + 1);
    }
}
