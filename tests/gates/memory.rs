//! Idle addresses are evicted from the limiters.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::test::TestRequest;
use holdfast::config::Config;
use holdfast::domain::RouteClass;
use holdfast::domain::policy::AllRules;
use holdfast::lifecycle::shutdown_channel;
use holdfast::telemetry::Metrics;
use holdfast::{api, start};

use crate::support::api::Place;
use crate::support::eventually;

/// Different addresses.
const ADDRESSES: u32 = 1_000_000;
/// Threads that send their requests.
const THREADS: u32 = 2;
/// The first address.
const FIRST: u32 = 0x0b00_0000;
/// How long all of it may take on a busy machine.
const BOUND: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_idle_addresses_are_evicted() {
    let config = Arc::new(Config { limits: AllRules::Each, ..Place::shared().config() });
    let metrics = Metrics::new("test");
    let services = start::connect(&config, &metrics).await.unwrap();
    let (_trigger, shutdown) = shutdown_channel();
    let gates = api::start_gates(&services, &config, &metrics, &shutdown).await.unwrap();
    let size = metrics.limiter_entries.with_label_values(&["addresses"]);
    assert_eq!(size.get(), 0);

    let share = |thread: u32| {
        let gates = gates.clone();
        tokio::task::spawn_blocking(move || {
            for number in (thread..ADDRESSES).step_by(THREADS as usize) {
                let address = SocketAddr::from((Ipv4Addr::from_bits(FIRST + number), 1));
                let request = TestRequest::get().peer_addr(address).to_http_request();
                // The gates up to the addresses' rate, which lets each of them pass.
                assert!(gates.enter(&request, RouteClass::Admin, Instant::now()).is_ok());
            }
        })
    };
    let crowd: Vec<_> = (0..THREADS).map(share).collect();
    eventually("addresses are counted", BOUND, async || size.get() > 0).await;
    for thread in crowd {
        thread.await.unwrap();
    }
    eventually("addresses are evicted", BOUND, async || size.get() == 0).await;
    let passed = r#"holdfast_gate_verdicts_total{gate="rate",verdict="passed"} 1000000"#;
    assert!(metrics.render().contains(passed));
}
