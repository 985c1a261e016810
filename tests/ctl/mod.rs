//! `holdfastctl` as operators run it: the real binary on real servers, through its `--json`.

mod access;
mod audit;
mod bookings;
mod cancel;
mod config_check;
mod dead_letters;
mod debug_bundle;
mod draw;
mod events;
mod export;
mod health;
mod lag;
mod layouts;
mod ledger;
mod limits;
mod payments;
mod presence;
mod reconcile;
mod restore;
mod seats;
mod status;
mod top;
mod trace;
mod verify;
mod verify_faults;
mod waiting_room;

use std::time::Duration;

use holdfast::domain::{BookingId, EventId};
use holdfast::redis::WORKER_GROUP;
use holdfast::sale::BookingView;

use crate::support::ctl::{Ran, holdfastctl};
use crate::support::servers::{Server, shared_mongodb, shared_redis};
use crate::support::worker::{WorkerProcess, WorkerSpec};
use crate::support::world::{World, answered, sale_settings};
use crate::support::{Flavor, eventually};

/// Bound of what a worker has to archive.
const ARCHIVED_WITHIN: Duration = Duration::from_secs(180);
/// How often a command is given again that a busy machine's services did not answer.
const RUNS_MAX: u32 = 5;
/// Pause before that.
const REPEAT_PAUSE: Duration = Duration::from_millis(500);
/// Commands that change nothing, or may be repeated at any time.
const REPEATABLE: [&str; 13] = [
    "trace",
    "verify",
    "status",
    "lag",
    "audit",
    "restore",
    "reconcile",
    "bookings",
    "payments list",
    "payments show",
    "export ledger",
    "dead-letters list",
    "event list",
];

/// A sale of its own on shared servers, with the tool configured for it.
struct Shop {
    world: World,
    redis: &'static Server,
}

/// Whether a service did not answer, and repeating the command is safe.
fn was_left_alone(line: &str, ran: &Ran) -> bool {
    let did_nothing = ran.stderr.contains("cannot connect to");
    let is_repeatable = REPEATABLE.iter().any(|command| line.starts_with(command));
    let was_silent =
        ran.stderr.contains("did not answer") || ran.stderr.contains("no answer within");
    ran.code == 2 && (did_nothing || (is_repeatable && was_silent))
}

impl Shop {
    async fn new(flavor: Flavor) -> Self {
        let redis = shared_redis(flavor);
        Shop { world: World::without_views(redis, shared_mongodb(), sale_settings()).await, redis }
    }

    /// A shop on any Redis, for tests that do not depend on the flavor.
    async fn any() -> Self {
        Shop::new(Flavor::Valkey).await
    }

    /// A worker of this shop, which parks an unreadable entry at the first attempt.
    async fn worker(&self) -> WorkerProcess {
        self.worker_with(&[]).await
    }

    /// A worker with these settings.
    async fn worker_with(&self, settings: &[(&str, &str)]) -> WorkerProcess {
        let spec = WorkerSpec::new(&self.world, shared_mongodb());
        let spec = spec.with("mongodb_timeout_ms", "5000").with("worker_reclaim_idle_ms", "30000");
        // Small batches: a busy machine's MongoDB handles them in time, too.
        let spec = spec.with("worker_batch_entries", "100");
        let mut spec = spec.with("worker_deliveries_max", "1");
        for (name, value) in settings {
            spec = spec.with(name, value);
        }
        spec.start().await
    }

    /// Waits until a worker has processed the booking logs.
    async fn archived(&self) {
        let engine = &self.world.engine;
        for partition in engine.keys().all_partitions() {
            let newest = engine.last_entry(partition).await.unwrap().unwrap_or_default();
            eventually("the log is archived", ARCHIVED_WITHIN, async || {
                let state = engine.log_state(partition, WORKER_GROUP).await;
                state.is_ok_and(|state| state.watermark() >= newest)
            })
            .await;
        }
    }

    /// The settings, as variables.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let settings = self.world.engine.settings();
        vec![
            ("HOLDFAST_REDIS_URL", settings.address.expose().to_owned()),
            ("HOLDFAST_REDIS_NAMESPACE", settings.namespace.clone()),
            ("HOLDFAST_PARTITIONS", settings.partitions.to_string()),
            ("HOLDFAST_MONGODB_URL", shared_mongodb().url()),
            ("HOLDFAST_MONGODB_DATABASE", settings.namespace.clone()),
            // A busy machine is slow, which is not tested here.
            ("HOLDFAST_REDIS_TIMEOUT_MS", "900".to_owned()),
        ]
    }

    /// Runs `holdfastctl` with this line of arguments.
    async fn ctl(&self, line: &str) -> Ran {
        self.ctl_with(line, &[]).await
    }

    /// Runs it with additional settings.
    async fn ctl_with(&self, line: &str, settings: &[(&str, &str)]) -> Ran {
        self.run(line, settings, "").await
    }

    /// Runs it with this text on standard input.
    async fn ctl_fed(&self, line: &str, text: &str) -> Ran {
        self.run(line, &[], text).await
    }

    async fn run(&self, line: &str, settings: &[(&str, &str)], input: &str) -> Ran {
        let own = self.settings().into_iter().map(|(name, value)| (name.to_owned(), value));
        let above = settings;
        let others = above.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let settings: Vec<(String, String)> = own.chain(others).collect();
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let mut runs = 1;
        loop {
            let ran = holdfastctl(&arguments, &settings, input).await;
            // With other settings a service may be unavailable on purpose.
            if runs == RUNS_MAX || !above.is_empty() || !was_left_alone(line, &ran) {
                return ran;
            }
            runs += 1;
            tokio::time::sleep(REPEAT_PAUSE).await;
        }
    }

    /// Holds seats for a user; retries while a busy machine does not answer.
    async fn hold(&self, event: EventId, user: &str, seats: &[u32]) -> BookingId {
        self.held(event, user, seats).await.booking.id
    }

    async fn held(&self, event: EventId, user: &str, seats: &[u32]) -> BookingView {
        answered(async || self.world.hold(user, event, seats, None).await).await.unwrap()
    }

    /// Holds and buys seats; a worker must run. The sale is confirmed eventually, even if a busy
    /// machine's archive is slow.
    async fn buy(&self, event: EventId, user: &str, seats: &[u32]) -> BookingId {
        let held = self.held(event, user, seats).await;
        answered(async || self.world.confirm(&held).await).await.unwrap();
        self.world.all_confirmed(std::slice::from_ref(&held), ARCHIVED_WITHIN).await;
        held.booking.id
    }

    async fn cancel(&self, user: &str, booking: BookingId) {
        let user = user.parse().unwrap();
        answered(async || self.world.sale.cancel(&user, booking).await).await.unwrap();
    }

    /// A collection of the archive.
    async fn collection(&self, name: &str) -> mongodb::Collection<mongodb::bson::Document> {
        let client = mongodb::Client::with_uri_str(shared_mongodb().url()).await.unwrap();
        client.database(&self.world.engine.settings().namespace).collection(name)
    }
}
