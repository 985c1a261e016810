//! Measures the gates without I/O (address, lists, rate, identity, bots, blocks, with their
//! metrics) and the counting of a refusal. Ten thousand callers in turn; each request's head is as
//! warm as one that was just read. `make bench-gates` runs it; `REDIS_URL` names a Redis, which the
//! gates hold but do not call.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::test::TestRequest;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use holdfast::config::Config;
use holdfast::domain::policy::{Access, AccessEntry, AllRules, LivePolicy, Who};
use holdfast::domain::{Policy, RouteClass, RuleChange};
use holdfast::gates::{Gates, Quotas, RequestHead};
use holdfast::start;
use holdfast::telemetry::Metrics;

/// Different callers.
const CALLERS: u32 = 10_000;
/// Requests created before a batch is timed.
const BATCH: BatchSize = BatchSize::NumIterations(16);
/// A browser's user agent.
const USER_AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, \
    like Gecko) Chrome/120.0.0.0 Safari/537.36";
/// A trusted proxy in front of all callers.
const PROXY: &str = "10.0.0.1:4000";

fn config() -> Config {
    Config {
        redis_url: std::env::var("REDIS_URL").expect("REDIS_URL names a Redis").as_str().into(),
        trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network")],
        // Every request passes: a refusal would take another path.
        limit_rules: vec![RuleChange {
            name: "per_address".into(),
            per_second: Some(1_000_000),
            burst: Some(1_000_000),
            ..RuleChange::default()
        }],
        ..Config::default()
    }
}

fn gates(config: &Config) -> Gates {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let metrics = Metrics::new("bench");
    let engine = runtime.block_on(start::engine(config, Arc::new(start::Unobserved)));
    let quotas = Quotas::new(engine.expect("a Redis"), &metrics);
    let gates = Gates::new(config.into(), quotas, &metrics).expect("rules");
    // The engine's tasks live as long as this process.
    std::mem::forget(runtime);
    gates
}

/// A browser's request behind the proxy.
fn request(caller: u32) -> HttpRequest {
    let [_, a, b, c] = caller.to_be_bytes();
    TestRequest::get()
        .uri("/api/v1/events/1/seats")
        .peer_addr(PROXY.parse::<SocketAddr>().expect("an address"))
        .insert_header(("host", "tickets.example"))
        .insert_header(("user-agent", USER_AGENT))
        .insert_header(("accept", "application/json, text/plain, */*"))
        .insert_header(("accept-language", "de-DE,de;q=0.9,en;q=0.8"))
        .insert_header(("x-forwarded-for", format!("6.6.6.6, 203.{a}.{b}.{c}")))
        .insert_header(("x-user-id", format!("user-{caller}")))
        .to_http_request()
}

/// Lists of a large sale: a thousand denied addresses and networks.
fn with_lists(config: &Config) -> Policy {
    let entry = |n: u32| {
        let text = if n.is_multiple_of(10) {
            format!("198.{}.{}.0/24", n / 250, n % 250)
        } else {
            format!("192.0.{}.{}", n / 250, n % 250)
        };
        AccessEntry {
            who: Who::Network(text.parse().expect("a network")),
            access: Access::Deny,
            until_ms: None,
            reason: "bench".into(),
            by: "bench".into(),
            at_ms: 0,
        }
    };
    let live = LivePolicy { access: (0..1_000).map(entry).collect(), ..LivePolicy::default() };
    Policy::new(&config.base_policy(), &live).expect("a policy")
}

fn enter(criterion: &mut Criterion) {
    let config = config();
    let gates = gates(&config);
    let mut caller = 0;
    let mut next = move || {
        caller = (caller + 1) % CALLERS;
        request(caller)
    };
    let enter = |request: &mut HttpRequest| {
        gates.enter(black_box(request), RouteClass::Seats, Instant::now()).expect("it passes")
    };
    let mut group = criterion.benchmark_group("gates without I/O");
    group.measurement_time(Duration::from_secs(5));
    group.bench_function("a seat map", |bench| bench.iter_batched_ref(&mut next, enter, BATCH));
    gates.adopt(with_lists(&config));
    group.bench_function("a seat map, a thousand denied addresses", |bench| {
        bench.iter_batched_ref(&mut next, enter, BATCH);
    });
    group.finish();
}

/// The gates and the count of a hold that is refused in the process, without the rest of it.
fn refuse(criterion: &mut Criterion) {
    let config = config();
    let identity_proxies = config.trusted_proxies.clone();
    let gates = gates(&Config { limits: AllRules::Observe, identity_proxies, ..config });
    let mut caller = 0;
    let mut next = move || {
        caller = (caller + 1) % CALLERS;
        RequestHead::new(request(caller))
    };
    let refuse = |head: &mut RequestHead| {
        gates.screen(black_box(head), RouteClass::Hold).expect("it passes").refuse();
    };
    let mut group = criterion.benchmark_group("a refused hold");
    group.measurement_time(Duration::from_secs(5));
    group.bench_function("gates and count", |bench| {
        bench.iter_batched_ref(&mut next, refuse, BATCH)
    });
    let enter = |head: &mut RequestHead| {
        gates.enter(black_box(&head.http), RouteClass::Hold, head.started).expect("it passes")
    };
    let mut caller = 0;
    let mut next = move || {
        caller = (caller + 1) % CALLERS;
        RequestHead::new(request(caller))
    };
    group.bench_function("gates alone", |bench| bench.iter_batched_ref(&mut next, enter, BATCH));
    group.finish();
}

criterion_group!(benches, enter, refuse);
criterion_main!(benches);
