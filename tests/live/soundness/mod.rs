//! Many callers in several processes, on services that fail and return. By the booking log's own record,
//! every local refusal was correct at most `live_staleness_ms` before; no caller was kept from a booking
//! that the same process had granted; and every grant is in the log.

mod callers;
mod judge;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use holdfast::domain::event::CancelPolicy;
use holdfast::domain::layout::{Row, Section};
use holdfast::domain::{Entry, Event, EventId, EventStatus, LogId};
use holdfast::redis::scripts::ClockSource;
use holdfast::redis::{Detail, Engine};
use holdfast::sale::{EventChange, NewEvent};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::RwLock;

use super::watch::engine;
use super::{fresh, view_equals_redis, writes_at_once};
use crate::support::servers::{Flavor, Server, available, private_redis, shared_mongodb};
use crate::support::size;
use crate::support::world::{World, answered, impatient};
use callers::{Caller, Grant, Reason, Refusal};
use judge::EventHistory;

/// Requests of the run in the suite.
const REQUESTS: usize = 25_000;
/// Overrides the number for the long run of `make soundness`.
const REQUESTS_VARIABLE: &str = "SOUNDNESS_REQUESTS";
/// Concurrent callers.
const CALLERS: usize = 24;
/// The staleness of each process.
const STALENESS_MS: [u64; 3] = [1_000, 1_000, 400];
/// How long holds last in each event, seconds.
const HOLD_SECONDS: [u32; 4] = [1, 2, 2, 300];
/// How long a process' tail is paused, until its view is stale.
const PAUSED: Duration = Duration::from_millis(1_600);
/// How long Redis is unavailable.
const AWAY: Duration = Duration::from_millis(1_300);
/// The time between two disturbances.
const CALM: Duration = Duration::from_millis(700);
/// Entries per read.
const PAGE: u64 = 1_000;

/// The callers, the processes and the events.
struct Crowd {
    redis: Server,
    worlds: Vec<World>,
    events: Vec<Event>,
    /// Read-locked by each caller during a request; a writer finds no request under way.
    calm: RwLock<()>,
    requests: AtomicUsize,
    is_over: AtomicBool,
}

impl Crowd {
    async fn new(flavor: Flavor) -> Self {
        let redis = private_redis(flavor);
        writes_at_once(&redis);
        let first = World::prompt(&redis, shared_mongodb(), impatient()).await;
        let mut worlds = vec![first];
        for staleness_ms in &STALENESS_MS[1..] {
            let staleness = Duration::from_millis(*staleness_ms);
            worlds.push(worlds[0].beside(&redis, shared_mongodb(), staleness).await);
        }
        let mut events = Vec::new();
        for hold_seconds in HOLD_SECONDS {
            let id = answered(async || worlds[0].sale.create_event(hall(hold_seconds)).await).await;
            let id = id.unwrap().event.id;
            events.push(worlds[0].archive.event(id).await.unwrap().unwrap());
        }
        let (requests, is_over) = Default::default();
        Crowd { redis, worlds, events, calm: RwLock::new(()), requests, is_over }
    }

    fn is_running(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    fn note_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Disturbs repeatedly until there were enough requests; each kind at least once.
    async fn disturb(&self, requests: usize, mut rng: StdRng) {
        let mut round = 0;
        while round < DISTURBANCES || self.requests.load(Ordering::Relaxed) < requests {
            tokio::time::sleep(CALM).await;
            self.disturb_once(round % DISTURBANCES, &mut rng).await;
            self.wait_for_views().await;
            round += 1;
        }
        self.is_over.store(true, Ordering::Relaxed);
    }

    async fn disturb_once(&self, kind: usize, rng: &mut StdRng) {
        let pause =
            |is_paused| self.worlds.iter().for_each(|w| w.sale.live().pause_tails(is_paused));
        match kind {
            0 => {
                let live = self.worlds[rng.random_range(0..self.worlds.len())].sale.live();
                live.pause_tails(true);
                tokio::time::sleep(PAUSED).await;
                live.pause_tails(false);
            }
            1 | 5 => self.cut_tails(),
            2 => {
                self.redis.kill();
                self.start_again();
            }
            3 => {
                self.change(0, EventStatus::Paused, None).await;
                tokio::time::sleep(CALM).await;
                self.change(0, EventStatus::OnSale, None).await;
            }
            4 => {
                // First too short to make any view stale, then too long for one of them.
                for paused_ms in [300, 600] {
                    pause(true);
                    tokio::time::sleep(Duration::from_millis(paused_ms)).await;
                    pause(false);
                    tokio::time::sleep(CALM / 2).await;
                }
            }
            6 => {
                self.redis.freeze();
                tokio::time::sleep(AWAY).await;
                self.redis.thaw();
            }
            7 => {
                let event = &self.events[1];
                let (now_ms, _) = self.worlds[0].sale.live().redis_now_ms(event.id).unwrap();
                self.change(1, EventStatus::OnSale, Some(now_ms + 1_000)).await;
                tokio::time::sleep(CALM * 2).await;
            }
            _ => {
                self.redis.kill();
                tokio::time::sleep(AWAY).await;
                self.start_again();
            }
        }
    }

    fn start_again(&self) {
        tokio::task::block_in_place(|| self.redis.restart());
        writes_at_once(&self.redis);
    }

    async fn change(&self, event: usize, status: EventStatus, on_sale_at_ms: Option<i64>) {
        let id = self.events[event].id;
        let change = EventChange { status: Some(status), on_sale_at_ms, ..Default::default() };
        let sale = &self.worlds[0].sale;
        answered(async || sale.change_event(id, change.clone()).await).await.unwrap();
    }

    /// Kills the tails' connections.
    fn cut_tails(&self) {
        let clients = self.redis.command_lines(&["CLIENT", "LIST"]);
        let tails = clients.iter().filter(|line| line.contains("cmd=xread "));
        for line in tails {
            let id = line.split(' ').next().and_then(|id| id.strip_prefix("id=")).expect("an id");
            self.redis.command(&["CLIENT", "KILL", "ID", id]);
        }
    }

    /// Waits until all views of all processes are fresh, and equal what Redis holds.
    async fn wait_for_views(&self) {
        let _calm = self.calm.write().await;
        for world in &self.worlds {
            for event in &self.events {
                fresh(world.sale.live(), event.id).await;
                view_equals_redis(world, world.sale.live(), event.id).await;
            }
        }
    }

    /// All log entries of an event.
    async fn entries(engine: &Engine, event: EventId) -> Vec<Entry> {
        let (mut entries, mut after) = (Vec::new(), (LogId::default(), String::new()));
        let partition = engine.keys().partition_of(event);
        loop {
            let page = engine.range(partition, after.0.next(), None, PAGE).await.unwrap();
            if page.is_empty() {
                return entries;
            }
            for read in page {
                assert!(read.follows(after.0, &after.1), "the log is linked");
                after = (read.id, read.tag());
                entries.extend(read.entry.ok().filter(|entry| entry.event == Some(event)));
            }
        }
    }

    /// The history of each event by the log; it ends with what Redis holds.
    async fn histories(&self) -> Vec<EventHistory> {
        let mut histories = Vec::new();
        // With longer timeouts than those of the processes.
        let namespace = self.worlds[0].engine.settings().namespace.clone();
        let engine = engine(&self.redis, namespace, ClockSource::Redis).await;
        for event in &self.events {
            let snapshot = engine.snapshot(event.id, Detail::Seats).await;
            let snapshot = snapshot.unwrap().unwrap();
            let entries = Crowd::entries(&engine, event.id).await.into_iter();
            let entries = entries.take_while(|entry| entry.event_version <= snapshot.version);
            let history = EventHistory::of(event, entries);
            assert_eq!(history.version(), snapshot.version);
            history.ends_as(&snapshot.inventory.unwrap());
            histories.push(history);
        }
        histories
    }
}

/// Kinds of disturbance.
const DISTURBANCES: usize = 9;

/// Two rows and a floor, some thirty seats.
fn hall(hold_seconds: u32) -> NewEvent {
    let row = |row: &str, seats| Row { row: row.into(), seats };
    let section =
        |name: &str, price, rows, capacity| Section { name: name.into(), price, rows, capacity };
    NewEvent {
        name: "Soundness".into(),
        description: None,
        venue: None,
        currency: None,
        starts_at_ms: None,
        on_sale_at_ms: None,
        off_sale_at_ms: None,
        hold_ttl_seconds: Some(hold_seconds),
        max_hold_seconds: None,
        max_seats_per_user: Some(10),
        orphan_rule: None,
        cancel_policy: CancelPolicy::default(),
        sections: vec![
            section("Stalls", 50, Some(vec![row("A", 7), row("B", 8)]), None),
            section("Floor", 20, None, Some(12)),
            section("Balcony", 30, Some(vec![row("A", 6)]), None),
        ],
    }
}

/// The name of a refusal's reason.
fn name(reason: &Reason) -> &'static str {
    match reason {
        Reason::Seats(_) => "seats",
        Reason::TooFew => "too few",
        Reason::Paused => "paused",
        Reason::NotOnSale => "not on sale",
    }
}

/// Fails with the first refusals that were incorrect.
fn judge(histories: &[EventHistory], refusals: &[Refusal], grants: &[Grant]) {
    let mut granted: HashMap<(usize, u32, usize), Vec<&Grant>> = HashMap::new();
    for grant in grants {
        let history = &histories[grant.attempt.event];
        assert!(history.has(grant), "missing in the log: {grant:#?}");
        let key = (grant.attempt.process, grant.attempt.user, grant.attempt.event);
        granted.entry(key).or_default().push(grant);
    }
    let mut faults = Vec::new();
    for refusal in refusals {
        let (attempt, history) = (&refusal.attempt, &histories[refusal.attempt.event]);
        if let Some(fault) = history.fault(refusal, STALENESS_MS[attempt.process] as i64) {
            faults.push(format!("{fault}: {refusal:#?}"));
        }
        let own =
            granted.get(&(attempt.process, attempt.user, attempt.event)).into_iter().flatten();
        for grant in own.filter(|grant| history.is_kept_from(refusal, grant)) {
            faults.push(format!("kept from {grant:#?}: {refusal:#?}"));
        }
    }
    let first = faults.iter().take(3).cloned().collect::<Vec<_>>().join("\n");
    assert!(faults.is_empty(), "{} of {} are wrong: {first}", faults.len(), refusals.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_refusals_were_correct_within_the_staleness() {
    let wanted = size(REQUESTS_VARIABLE, REQUESTS);
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    let crowd = Crowd::new(flavor).await;
    crowd.wait_for_views().await;
    let callers =
        (0..CALLERS).map(|seed| Caller::new(&crowd, StdRng::seed_from_u64(seed as u64)).run());
    let rng = StdRng::seed_from_u64(1_000);
    let (callers, ()) = tokio::join!(join_all(callers), crowd.disturb(wanted, rng));
    let (mut refusals, mut grants) = (Vec::new(), Vec::new());
    for caller in callers {
        refusals.extend(caller.refusals);
        grants.extend(caller.grants);
    }
    let requests = crowd.requests.load(Ordering::Relaxed);
    let mut by_reason: BTreeMap<&str, usize> = BTreeMap::new();
    refusals.iter().for_each(|refusal| *by_reason.entry(name(&refusal.reason)).or_default() += 1);
    println!("{requests} requests, {} granted, refused here: {by_reason:?}", grants.len());
    for (process, world) in crowd.worlds.iter().enumerate() {
        let noted = refusals.iter().filter(|refusal| refusal.attempt.process == process).count();
        assert_eq!(noted, world.refused_from_view(), "process {process}");
        let lost = world.counts.views("broken") + world.counts.views("past");
        assert_eq!(lost, 0, "the log has neither gap nor fork");
    }
    let histories = crowd.histories().await;
    judge(&histories, &refusals, &grants);
    // The run proves something only if there were enough refusals and grants of each kind.
    assert!(refusals.len() > requests / 2 && grants.len() > requests / 200);
    assert!(by_reason.len() == 4, "{by_reason:?}");
    let Crowd { worlds, .. } = crowd;
    for world in worlds {
        world.stop().await;
    }
}
