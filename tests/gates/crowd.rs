//! Several processes with the same limits, and what can be proved of the answers they gave.

use std::time::{Duration, Instant};

use rand::RngExt;

use crate::support::api::{Api, Place};
use crate::support::http::{Ask, Client, Reply};

/// Every rule by its own mode.
pub const EACH: (&str, &str) = ("HOLDFAST_LIMITS", "each");
/// What a browser sends beside `Accept`, so that it is not taken for a program.
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

/// One request: it was decided at some moment between the two.
#[derive(Debug)]
pub struct Asked {
    pub sent: Instant,
    pub answered: Instant,
    pub reply: Reply,
}

/// Sends a request and notes when.
pub async fn asked(ask: Ask) -> Asked {
    let sent = Instant::now();
    let reply = ask.send().await;
    Asked { sent, answered: Instant::now(), reply }
}

/// From the first that was sent to the last that was answered.
pub fn span(all: &[Asked]) -> Duration {
    let first = all.iter().map(|one| one.sent).min().expect("somebody asked");
    let last = all.iter().map(|one| one.answered).max().expect("somebody asked");
    last - first
}

/// Those that were let through: refused by no limit.
pub fn passed(all: &[Asked]) -> Vec<&Asked> {
    all.iter().filter(|one| one.reply.status != 429).collect()
}

/// Panics if some window provably has more than `most` requests that were let through. The n-th of
/// the moments at which they were decided lies between the n-th sent and the n-th answered.
pub fn no_window_has_more(all: &[Asked], most: usize, window: Duration) {
    let passed = passed(all);
    let mut sent: Vec<Instant> = passed.iter().map(|one| one.sent).collect();
    let mut answered: Vec<Instant> = passed.iter().map(|one| one.answered).collect();
    sent.sort();
    answered.sort();
    for (first, last) in sent.iter().zip(answered.iter().skip(most)) {
        let apart = *last - *first;
        assert!(apart >= window, "{} passed within {apart:?}", most + 1);
    }
}
