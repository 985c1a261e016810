//! A crowd in several processes, on services that come and go: whatever a process refused by itself
//! was true, by the booking log's own record, at most `live_staleness_ms` before; nobody was kept
//! from a booking that the same process had granted; and nothing was granted that the log has not.

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
use super::{fresh, tells_what_redis_holds, writes_at_once};
use crate::support::servers::{Flavor, Server, available, private_redis, shared_mongodb};
use crate::support::size;
use crate::support::world::{World, answered, impatient};
use callers::{Caller, Grant, Refusal, Told};
use judge::BookingReport;

/// Requests of the run in the suite.
const REQUESTS: usize = 25_000;
/// Another number of them for the long run, as `make soundness` asks for.
const REQUESTS_VARIABLE: &str = "SOUNDNESS_REQUESTS";
/// Callers at a time.
const CALLERS: usize = 24;
/// When views of each process are stale.
const STALENESS_MS: [u64; 3] = [1_000, 1_000, 400];
/// How long holds last in each event, seconds.
const HOLD_SECONDS: [u32; 4] = [1, 2, 2, 300];
/// A process' tail stands still for so long, and until its view is stale.
const HELD_UP: Duration = Duration::from_millis(1_600);
/// Redis is away for so long.
const AWAY: Duration = Duration::from_millis(1_300);
/// Between two disturbances.
const CALM: Duration = Duration::from_millis(700);
/// Entries that are read at once.
const PAGE: u64 = 1_000;

/// All who ask, and whom they ask.
struct Crowd {
    redis: Server,
    worlds: Vec<World>,
    events: Vec<Event>,
    /// Held by each caller for a request; whoever has it alone finds everything at rest.
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

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    fn note_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Disturbs, again and again, until there were enough requests; each kind once at least.
    async fn disturb(&self, requests: usize, mut rng: StdRng) {
        let mut round = 0;
        while round < DISTURBANCES || self.requests.load(Ordering::Relaxed) < requests {
            tokio::time::sleep(CALM).await;
            self.disturb_once(round % DISTURBANCES, &mut rng).await;
            self.comes_back().await;
            round += 1;
        }
        self.is_over.store(true, Ordering::Relaxed);
    }

    async fn disturb_once(&self, kind: usize, rng: &mut StdRng) {
        let hold_up = |held_up| self.worlds.iter().for_each(|w| w.sale.live().pause_tails(held_up));
        match kind {
            0 => {
                let live = self.worlds[rng.random_range(0..self.worlds.len())].sale.live();
                live.pause_tails(true);
                tokio::time::sleep(HELD_UP).await;
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
                // Too short for any view to be stale, and too long for one of them.
                for held_up_ms in [300, 600] {
                    hold_up(true);
                    tokio::time::sleep(Duration::from_millis(held_up_ms)).await;
                    hold_up(false);
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

    /// Ends the tails' connections.
    fn cut_tails(&self) {
        let clients = self.redis.command_lines(&["CLIENT", "LIST"]);
        let tails = clients.iter().filter(|line| line.contains("cmd=xread "));
        for line in tails {
            let id = line.split(' ').next().and_then(|id| id.strip_prefix("id=")).expect("an id");
            self.redis.command(&["CLIENT", "KILL", "ID", id]);
        }
    }

    /// All views of all processes are there, fresh, and tell what Redis holds.
    async fn comes_back(&self) {
        let _calm = self.calm.write().await;
        for world in &self.worlds {
            for event in &self.events {
                fresh(world.sale.live(), event.id).await;
                tells_what_redis_holds(world, world.sale.live(), event.id).await;
            }
        }
    }

    /// All that the log has of an event.
    async fn entries(engine: &Engine, event: EventId) -> Vec<Entry> {
        let (mut entries, mut after) = (Vec::new(), (LogId::default(), String::new()));
        let partition = engine.keys().partition_of(event);
        loop {
            let page = engine.range(partition, after.0.next(), None, PAGE).await.unwrap();
            if page.is_empty() {
                return entries;
            }
            for read in page {
                assert!(read.follows(after.0, &after.1), "the log is whole");
                after = (read.id, read.tag().to_owned());
                entries.extend(read.entry.ok().filter(|entry| entry.event == Some(event)));
            }
        }
    }

    /// What the log tells of each event; it is what Redis came to.
    async fn stories(&self) -> Vec<BookingReport> {
        let mut stories = Vec::new();
        // More patient than those of the processes.
        let namespace = self.worlds[0].engine.settings().namespace.clone();
        let engine = engine(&self.redis, namespace, ClockSource::Redis).await;
        for event in &self.events {
            let snapshot = engine.snapshot(event.id, Detail::Seats).await;
            let snapshot = snapshot.unwrap().unwrap();
            let entries = Crowd::entries(&engine, event.id).await.into_iter();
            let entries = entries.take_while(|entry| entry.event_version <= snapshot.version);
            let story = BookingReport::of(event, entries);
            assert_eq!(story.version(), snapshot.version);
            story.ends_as(&snapshot.inventory.unwrap());
            stories.push(story);
        }
        stories
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

/// Refusals by what they said.
fn word(told: &Told) -> &'static str {
    match told {
        Told::Seats(_) => "seats",
        Told::TooFew => "too few",
        Told::Paused => "paused",
        Told::NotOnSale => "not on sale",
    }
}

/// Fails with the first refusals that were not true.
fn judge(stories: &[BookingReport], refusals: &[Refusal], grants: &[Grant]) {
    let mut granted: HashMap<(usize, u32, usize), Vec<&Grant>> = HashMap::new();
    for grant in grants {
        let story = &stories[grant.ask.event];
        assert!(story.has(grant), "the log does not have it: {grant:#?}");
        let key = (grant.ask.process, grant.ask.user, grant.ask.event);
        granted.entry(key).or_default().push(grant);
    }
    let mut faults = Vec::new();
    for refusal in refusals {
        let (ask, story) = (&refusal.ask, &stories[refusal.ask.event]);
        if let Some(fault) = story.fault(refusal, STALENESS_MS[ask.process] as i64) {
            faults.push(format!("{fault}: {refusal:#?}"));
        }
        let own = granted.get(&(ask.process, ask.user, ask.event)).into_iter().flatten();
        for grant in own.filter(|grant| story.is_kept_from(refusal, grant)) {
            faults.push(format!("kept from {grant:#?}: {refusal:#?}"));
        }
    }
    let first = faults.iter().take(3).cloned().collect::<Vec<_>>().join("\n");
    assert!(faults.is_empty(), "{} of {} are wrong: {first}", faults.len(), refusals.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_here_was_taken_a_moment_ago() {
    let wanted = size(REQUESTS_VARIABLE, REQUESTS);
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    let crowd = Crowd::new(flavor).await;
    crowd.comes_back().await;
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
    let mut by_word: BTreeMap<&str, usize> = BTreeMap::new();
    refusals.iter().for_each(|refusal| *by_word.entry(word(&refusal.told)).or_default() += 1);
    println!("{requests} requests, {} granted, refused here: {by_word:?}", grants.len());
    for (process, world) in crowd.worlds.iter().enumerate() {
        let noted = refusals.iter().filter(|refusal| refusal.ask.process == process).count();
        assert_eq!(noted, world.refused_here(), "process {process}");
        let lost = world.counts.views("broken") + world.counts.views("past");
        assert_eq!(lost, 0, "the log has neither gap nor fork");
    }
    let stories = crowd.stories().await;
    judge(&stories, &refusals, &grants);
    // Judging what never happens would prove nothing.
    assert!(refusals.len() > requests / 2 && grants.len() > requests / 200);
    assert!(by_word.len() == 4, "{by_word:?}");
    let Crowd { worlds, .. } = crowd;
    for world in worlds {
        world.stop().await;
    }
}
