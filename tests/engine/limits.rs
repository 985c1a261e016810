//! `limit` on a real Redis against a plain model: windows that move, rates, all or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast::domain::{ClientNetwork, EventId, Limit, Subject};
use holdfast::redis::scripts::{ClockSource, Scripts};
use holdfast::redis::{Engine, LimitAction, LimitCheck, NotAfter, RedisError, Standing};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::on_each_redis;
use crate::support::engine::{NoObserver, START_MS, settings};
use crate::support::servers::{Flavor, available, redis_command, shared_redis};
use crate::support::unique_name;

const RULE: &str = "rule";

/// An engine whose scripts read a clock that the test sets.
struct Counter {
    engine: Engine,
    subject: Subject,
    address: String,
}

impl Counter {
    async fn new(flavor: Flavor) -> Self {
        Counter::with(flavor, Scripts::embedded(ClockSource::Swapped)).await
    }

    async fn with(flavor: Flavor, scripts: Scripts) -> Self {
        let redis = shared_redis(flavor);
        let engine =
            Engine::connect(settings(redis.url(), unique_name()), scripts, Arc::new(NoObserver));
        let engine = engine.await.unwrap();
        engine.pin_not_after(NotAfter(i64::MAX));
        let address = format!("127.0.0.1:{}", redis.port());
        let counter = Counter { engine, subject: Subject::User("ann".parse().unwrap()), address };
        counter.set_clock(START_MS);
        counter
    }

    fn raw(&self, words: &[&str]) -> String {
        tokio::task::block_in_place(|| redis_command(&self.address, words).unwrap())
    }

    fn set_clock(&self, now_ms: i64) {
        let partition = self.engine.keys().partition_of_subject(&self.subject);
        let key = self.engine.keys().log(partition).replace(":log", ":test_clock");
        self.raw(&["SET", &key, &now_ms.to_string()]);
    }

    fn check(&self, limit: Limit) -> LimitCheck<'_> {
        LimitCheck {
            subject: &self.subject,
            rule: RULE,
            limit,
            action: LimitAction::Enforce,
            noted: 0,
            uncounted: &[],
        }
    }

    async fn standing(&self, check: LimitCheck<'_>) -> Standing {
        self.engine.limit(&[check]).await.unwrap()[0]
    }

    async fn granted(&self, limit: Limit) -> bool {
        !self.standing(self.check(limit)).await.is_over
    }

    fn key(&self) -> String {
        self.engine.keys().limits(&self.subject)
    }
}

fn shown(standings: Vec<Standing>) -> Vec<(bool, u32)> {
    standings.iter().map(|standing| (standing.is_over, standing.remaining)).collect()
}

fn window(quota: u32, window_ms: u64) -> Limit {
    Limit::Window { quota, window_ms }
}

/// What a rule has counted, in the simplest form.
#[derive(Clone, Default)]
struct Plain {
    /// The requests of a window.
    moments: Vec<i64>,
    /// When all granted requests of a rate are paid for; in thousandths of ms times the rate, so
    /// that nothing is rounded.
    paid_at: i128,
}

impl Plain {
    fn free(&mut self, limit: Limit, now_ms: i64) -> u32 {
        match limit {
            Limit::Window { quota, window_ms } => {
                self.moments.retain(|at| at + window_ms as i64 > now_ms);
                quota.saturating_sub(self.moments.len() as u32)
            }
            Limit::Rate { per_second, burst } => {
                let now = i128::from(now_ms) * i128::from(per_second);
                let due = (self.paid_at - now).max(0);
                ((i128::from(burst) * 1_000 - due) / 1_000) as u32
            }
        }
    }

    /// Takes out one request counted at each of these moments; rates have none.
    fn take_out(&mut self, moments: &[i64]) {
        for moment in moments {
            if let Some(at) = self.moments.iter().rposition(|at| at == moment) {
                self.moments.remove(at);
            }
        }
    }

    fn add(&mut self, limit: Limit, now_ms: i64, requests: u32) {
        match limit {
            Limit::Window { .. } => self.moments.extend(vec![now_ms; requests as usize]),
            Limit::Rate { per_second, .. } => {
                let now = i128::from(now_ms) * i128::from(per_second);
                self.paid_at = self.paid_at.max(now) + i128::from(requests) * 1_000;
            }
        }
    }

    /// How long until one more is free, found by trying every millisecond.
    fn wait_ms(&self, limit: Limit, now_ms: i64) -> u64 {
        let free = self.clone().free(limit, now_ms);
        if free == limit.quota() {
            return 0;
        }
        let mut waits = 1..;
        waits.find(|wait| self.clone().free(limit, now_ms + wait) > free).unwrap() as u64
    }
}

on_each_redis!(random_requests_count_as_in_a_plain_model, async |flavor| {
    compare_with_model(Counter::new(flavor).await).await;
});

/// Changes of the script, each of which the model must notice.
const CHANGES: &[(&str, &str)] = &[
    // A refused request is counted under the rules that had room.
    ("and not c.over and not refused", "and not c.over"),
    ("if not refused and reply[at] == 0", "if reply[at] == 0"),
    // The quick way counts what only looks, keeps what is over, forgets what is not, or takes what
    // needs the other way.
    ("ARGV[actions + i] ~= 'note' then", "true then"),
    ("<= now - per do first", "< now - per do first"),
    ("and ARGV[counts + i] == '0'", ""),
    ("and ARGV[actions + i] ~= 'forget'", ""),
    ("#logs[i] - quota * 6", "0"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by make mutants"]
async fn changed_script_differs_from_the_model() {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    for (from, to) in CHANGES {
        let change = ("limit", *from, *to);
        let scripts = Scripts::changed(ClockSource::Swapped, &[change]).unwrap();
        let counter = Counter::with(flavor, scripts).await;
        let compared = tokio::spawn(compare_with_model(counter)).await;
        assert!(compared.is_err(), "the model does not notice {to:?} instead of {from:?}");
    }
}

async fn compare_with_model(counter: Counter) {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    // Two windows and a rate, of which one is only observed; a quota that changes midway.
    let mut rules = [
        ("narrow", window(3, 50), LimitAction::Enforce),
        ("wide", window(7, 200), LimitAction::Enforce),
        ("rate", Limit::Rate { per_second: 30, burst: 4 }, LimitAction::Enforce),
        ("seen", window(2, 100), LimitAction::Observe),
    ];
    let mut plain: BTreeMap<String, Plain> = BTreeMap::new();
    let (mut now_ms, mut granted, mut refused, mut taken_out) = (START_MS, 0, 0, 0);
    let mut times = Vec::new();
    for step in 0..600 {
        now_ms += random.random_range(0..40);
        counter.set_clock(now_ms);
        if step == 300 {
            rules[1].1 = window(4, 200);
        }
        // Windows with nothing noted, taken out or forgotten go the quick way.
        let is_quick = random.random_bool(0.4);
        let are_windows = is_quick || random.random_bool(0.5);
        // Moments with a counted request, or with none.
        times.push(now_ms);
        let uncounted: Vec<i64> = match !is_quick && random.random_bool(0.3) {
            true => {
                let some = (0..random.random_range(1..4)).map(|_| random.random_range(0..6));
                some.filter_map(|back| times.iter().rev().nth(back).copied()).collect()
            }
            false => Vec::new(),
        };
        let uncounted = uncounted.as_slice();
        let checks: Vec<LimitCheck<'_>> = rules
            .iter()
            .filter(|(_, limit, _)| !are_windows || matches!(limit, Limit::Window { .. }))
            .map(|(rule, limit, asks)| LimitCheck {
                rule,
                action: match random.random_range(0..100) {
                    0..4 if !is_quick => LimitAction::Forget,
                    4..20 => LimitAction::Note,
                    _ => *asks,
                },
                noted: if !is_quick && random.random_bool(0.3) {
                    random.random_range(1..4)
                } else {
                    0
                },
                uncounted,
                ..counter.check(*limit)
            })
            .collect();
        let standings = counter.engine.limit(&checks).await.unwrap();
        let mut expected = Vec::new();
        for check in &checks {
            let plain = plain.entry(check.rule.to_owned()).or_default();
            if check.action == LimitAction::Forget {
                *plain = Plain::default();
            }
            plain.free(check.limit, now_ms);
            let before = plain.moments.len();
            plain.take_out(check.uncounted);
            taken_out += before - plain.moments.len();
            let taken = check.noted.min(plain.free(check.limit, now_ms));
            plain.add(check.limit, now_ms, taken);
            expected.push((plain.free(check.limit, now_ms) == 0, taken));
        }
        let over = checks
            .iter()
            .zip(&expected)
            .any(|(check, (over, _))| check.action == LimitAction::Enforce && *over);
        for ((check, standing), (is_over, taken)) in checks.iter().zip(standings).zip(expected) {
            let plain = plain.get_mut(check.rule).unwrap();
            let asks = matches!(check.action, LimitAction::Enforce | LimitAction::Observe);
            if asks && !over && !is_over {
                plain.add(check.limit, now_ms, 1);
            }
            let remaining = plain.free(check.limit, now_ms);
            let wait_ms = plain.wait_ms(check.limit, now_ms);
            let model = Standing { is_over, remaining, wait_ms, taken, at_ms: now_ms };
            assert_eq!(standing, model, "step {step}, {check:?}, seed {seed}");
        }
        if over { refused += 1 } else { granted += 1 }
    }
    assert!(granted > 50 && refused > 50, "{granted} granted, {refused} refused");
    assert!(taken_out > 10, "{taken_out} taken out");
}

on_each_redis!(window_slides_and_has_no_boundary, async |flavor| {
    let counter = Counter::new(flavor).await;
    let limit = window(3, 1_000);
    // All at the end of what would be a fixed window: the next one must not grant them again.
    counter.set_clock(START_MS + 999);
    for _ in 0..3 {
        assert!(counter.granted(limit).await);
    }
    for later_ms in [0, 1, 500, 999] {
        counter.set_clock(START_MS + 999 + later_ms);
        let standing = counter.standing(counter.check(limit)).await;
        assert!(standing.is_over, "after {later_ms} ms");
        assert_eq!(standing.wait_ms, 1_000 - later_ms as u64);
    }
    counter.set_clock(START_MS + 1_999);
    assert!(counter.granted(limit).await);
});

on_each_redis!(request_refused_by_one_rule_is_counted_by_none, async |flavor| {
    let counter = Counter::new(flavor).await;
    let wide = LimitCheck { rule: "wide", ..counter.check(window(10, 1_000)) };
    let event = Subject::UserEvent("ann".parse().unwrap(), EventId(5));
    let narrow = LimitCheck { subject: &event, rule: "narrow", ..counter.check(window(1, 1_000)) };
    let ask = async || counter.engine.limit(&[wide, narrow]).await.unwrap();
    assert_eq!(shown(ask().await), [(false, 9), (false, 0)]);
    for _ in 0..3 {
        assert_eq!(shown(ask().await), [(false, 9), (true, 0)]);
    }
    // The same rule, only observed, passes the request and counts nothing beyond its quota.
    let seen = LimitCheck { action: LimitAction::Observe, ..narrow };
    let passed = counter.engine.limit(&[wide, seen]).await.unwrap();
    assert_eq!(shown(passed), [(false, 8), (true, 0)]);
});

on_each_redis!(clock_set_back_locks_no_one_out, async |flavor| {
    let counter = Counter::new(flavor).await;
    for limit in [window(1, 1_000), Limit::Rate { per_second: 1, burst: 1 }] {
        counter.set_clock(START_MS + 3_600_000);
        assert!(counter.granted(limit).await);
        // Earlier requests count for as long as if they were made now.
        counter.set_clock(START_MS);
        let standing = counter.standing(counter.check(limit)).await;
        assert_eq!((standing.is_over, standing.wait_ms), (true, 1_000), "{limit:?}");
        counter.set_clock(START_MS + 1_000);
        assert!(counter.granted(limit).await, "{limit:?}");
    }
});

on_each_redis!(clock_set_back_counts_requests_once_under_several_rules, async |flavor| {
    let counter = Counter::new(flavor).await;
    let narrow = LimitCheck { rule: "narrow", ..counter.check(window(2, 1_000)) };
    let both = [narrow, LimitCheck { rule: "wide", ..counter.check(window(3, 60_000)) }];
    counter.set_clock(START_MS + 3_600_000);
    assert_eq!(shown(counter.engine.limit(&both).await.unwrap()), [(false, 1), (false, 2)]);
    counter.set_clock(START_MS);
    assert_eq!(shown(counter.engine.limit(&both).await.unwrap()), [(false, 0), (false, 1)]);
    assert_eq!(shown(counter.engine.limit(&both).await.unwrap()), [(true, 0), (false, 1)]);
    counter.set_clock(START_MS + 1_000);
    assert_eq!(shown(counter.engine.limit(&both).await.unwrap()), [(false, 1), (false, 0)]);
});

on_each_redis!(counts_expire_by_themselves, async |flavor| {
    let counter = Counter::new(flavor).await;
    let ttl_ms = || -> i64 { counter.raw(&["PTTL", &counter.key()])[1..].parse().unwrap() };
    let long = LimitCheck { rule: "long", ..counter.check(window(5, 3_600_000)) };
    counter.standing(long).await;
    let first_ms = ttl_ms();
    assert!((3_600_000..=3_610_000).contains(&first_ms), "{first_ms}");
    // A shorter rule of the same caller does not shorten it.
    counter.standing(counter.check(window(5, 1_000))).await;
    assert!(ttl_ms() > 3_600_000);
    let forgives = LimitCheck { action: LimitAction::Forget, ..long };
    assert_eq!(counter.standing(forgives).await.remaining, 5);
    let short = LimitCheck { action: LimitAction::Forget, ..counter.check(window(5, 1_000)) };
    counter.standing(short).await;
    assert_eq!(counter.raw(&["EXISTS", &counter.key()]), ":0");
});

on_each_redis!(late_call_is_refused_and_missing_script_is_reloaded, async |flavor| {
    let counter = Counter::new(flavor).await;
    counter.engine.pin_not_after(NotAfter(START_MS - 1));
    let late = counter.engine.limit(&[counter.check(window(1, 1_000))]).await;
    assert!(matches!(late, Err(RedisError::NotRun(_))), "{late:?}");
    assert_eq!(counter.raw(&["EXISTS", &counter.key()]), ":0");
    counter.engine.pin_not_after(NotAfter(START_MS));
    assert_eq!(counter.raw(&["SCRIPT", "FLUSH"]), "+OK");
    assert!(counter.granted(window(1, 1_000)).await);
    assert!(!counter.granted(window(1, 1_000)).await);
});

on_each_redis!(one_call_counts_many_callers, async |flavor| {
    let counter = Counter::new(flavor).await;
    let partition = counter.engine.keys().partition_of_subject(&counter.subject);
    let clients = (0..2_000_u32).map(|n| ClientNetwork::of(std::net::Ipv4Addr::from(n).into()));
    let here = |subject: &Subject| counter.engine.keys().partition_of_subject(subject) == partition;
    let subjects: Vec<Subject> = clients.map(Subject::Address).filter(here).take(200).collect();
    assert_eq!(subjects.len(), 200);
    let note = |subject| LimitCheck {
        subject,
        action: LimitAction::Note,
        noted: 3,
        ..counter.check(window(5, 1_000))
    };
    let checks: Vec<_> = subjects.iter().map(note).collect();
    let first = counter.engine.limit(&checks).await.unwrap();
    let at_ms = START_MS;
    let expected = Standing { is_over: false, remaining: 2, wait_ms: 1_000, taken: 3, at_ms };
    assert!(first.iter().all(|standing| *standing == expected));
    let second = counter.engine.limit(&checks).await.unwrap();
    let expected = Standing { is_over: true, remaining: 0, wait_ms: 1_000, taken: 2, at_ms };
    assert!(second.iter().all(|standing| *standing == expected));
});

on_each_redis!(uncounted_request_leaves_no_trace, async |flavor| {
    let counter = Counter::new(flavor).await;
    let limit = window(3, 1_000);
    let check = counter.check(limit);
    let mut moments = Vec::new();
    for later_ms in [0, 0, 7] {
        counter.set_clock(START_MS + later_ms);
        moments.push(counter.standing(check).await.at_ms);
    }
    assert_eq!(moments, [START_MS, START_MS, START_MS + 7]);
    assert!(counter.standing(check).await.is_over);
    // One of two requests of the same millisecond, and a moment without any.
    let uncounted = [START_MS, START_MS + 3];
    let look = LimitCheck { action: LimitAction::Note, uncounted: &uncounted, ..check };
    let standing = counter.standing(look).await;
    assert_eq!((standing.is_over, standing.remaining, standing.wait_ms), (false, 1, 993));
    // The others count until their own time, so no window grants more.
    assert!(counter.granted(limit).await);
    assert!(!counter.granted(limit).await);
    let all = [START_MS, START_MS + 7, START_MS + 7];
    let standing =
        counter.standing(LimitCheck { action: LimitAction::Note, uncounted: &all, ..check }).await;
    assert_eq!((standing.remaining, standing.wait_ms), (3, 0));
    assert_eq!(counter.raw(&["EXISTS", &counter.key()]), ":0", "an empty count has no key");
});
