//! Helpers that tests share.

pub mod api;
pub mod certificates;
pub mod cluster;
pub mod consistency;
pub mod counts;
pub mod ctl;
pub mod engine;
pub mod entries;
pub mod followers;
pub mod http;
pub mod otlp;
pub mod primary;
pub mod process;
pub mod proxy;
pub mod servers;
pub mod sockets;
pub mod stopwatch;
pub mod stripe;
pub mod terminator;
pub mod tokens;
pub mod worker;
pub mod world;

use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub use servers::Flavor;

/// A name that no other test of any process uses: key prefix and database.
pub fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("t{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Reads the size of a test from this variable, which the long runs of `make` set.
pub fn size<T: FromStr>(variable: &str, default: T) -> T {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")),
        Err(_) => default,
    }
}

/// Returns the size of a test: `long` in `make test-all`, which sets `LONG_TESTS`, otherwise `short`.
pub fn long_or<T>(long: T, short: T) -> T {
    if std::env::var_os("LONG_TESTS").is_some() { long } else { short }
}

/// Returns the mutants to try: all of them, or those that `MUTANTS_SAMPLE=first:count` selects.
pub fn sample<T>(mutants: &[T]) -> Vec<&T> {
    let Ok(text) = std::env::var("MUTANTS_SAMPLE") else { return mutants.iter().collect() };
    let parse = || {
        let (first, count) = text.split_once(':')?;
        Some((first.parse::<usize>().ok()?, count.parse::<usize>().ok()?))
    };
    let (first, count) = parse().unwrap_or_else(|| panic!("MUTANTS_SAMPLE={text}: first:count"));
    mutants.iter().cycle().skip(first % mutants.len()).take(count.min(mutants.len())).collect()
}

/// Waits until the condition holds, looking every few milliseconds; fails after `bound`.
pub async fn eventually(what: &str, bound: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + bound;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {bound:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Makes one test for each Redis: `on_each_redis!(name, async |flavor| { … })`. For what scripts and
/// their model do; everything else is tested by [`on_one_redis`].
#[macro_export]
macro_rules! on_each_redis {
    ($name:ident, $body:expr) => {
        mod $name {
            use super::*;
            $crate::on_each_redis!(@one redis, $crate::support::Flavor::Redis, $body);
            $crate::on_each_redis!(@one valkey, $crate::support::Flavor::Valkey, $body);
            $crate::on_each_redis!(@one cluster, $crate::support::Flavor::Cluster, $body);
        }
    };
    (@one $(#[$attribute:meta])? $test:ident, $flavor:expr, $body:expr) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $(#[$attribute])?
        async fn $test() {
            if $crate::support::servers::available($flavor) {
                let body = $body;
                body($flavor).await;
            }
        }
    };
}

/// Makes one test on a Redis in Cluster mode, which is the strictest, and one for each other Redis
/// that `make test-all` runs.
#[macro_export]
macro_rules! on_one_redis {
    ($name:ident, $body:expr) => {
        mod $name {
            use super::*;
            $crate::on_each_redis!(
                @one #[ignore = "run by make test-all"]
                redis, $crate::support::Flavor::Redis, $body
            );
            $crate::on_each_redis!(
                @one #[ignore = "run by make test-all"]
                valkey, $crate::support::Flavor::Valkey, $body
            );
            $crate::on_each_redis!(@one cluster, $crate::support::Flavor::Cluster, $body);
        }
    };
}
