//! Redis falls back to an older copy of its data at chosen moments: copy, act, kill, put the copy back,
//! restart on the same port. With one or two workers, which die with Redis or survive it, and with an
//! API process that survives it or a new one.

use std::path::Path;

use super::*;

mod generations;
mod given_up;
mod loads;
mod moments;
mod second;
mod unnoticed;

/// Which processes run, and which die with Redis.
#[derive(Clone, Copy, Debug)]
struct Crash {
    workers: usize,
    /// How many of the workers die; as many are started afterwards.
    dying: usize,
    /// Whether the API process dies, and another is started.
    api_dies: bool,
}

/// The combinations of one or two workers, of which some die with Redis, and an API process that may.
const CRASHES: [Crash; 7] = [
    Crash { workers: 1, dying: 1, api_dies: true },
    Crash { workers: 1, dying: 1, api_dies: false },
    Crash { workers: 1, dying: 0, api_dies: true },
    Crash { workers: 2, dying: 2, api_dies: true },
    Crash { workers: 2, dying: 2, api_dies: false },
    Crash { workers: 2, dying: 1, api_dies: false },
    Crash { workers: 2, dying: 0, api_dies: false },
];

/// All processes die, and no worker is restarted.
const ALL_DIE: Crash = Crash { workers: 0, dying: 0, api_dies: true };

impl Place {
    async fn workers(&self, count: usize) -> Vec<WorkerProcess> {
        let mut workers = Vec::new();
        for _ in 0..count {
            workers.push(self.worker().await);
        }
        workers
    }

    /// Kills Redis and puts the copy back. Restarts as many workers as died, and the API.
    async fn fall_back(
        mut self,
        copy: &Path,
        crash: Crash,
        workers: &mut Vec<WorkerProcess>,
    ) -> Self {
        // Dropped, they are killed.
        workers.truncate(workers.len() - crash.dying);
        self.redis.kill();
        self.redis.put_back_writes(copy);
        tokio::task::block_in_place(|| self.redis.restart());
        // A surviving process reconnects.
        let answers = async || self.world.engine.ping().await.is_ok();
        eventually("Redis answers", SOON, answers).await;
        if crash.api_dies {
            self.world = self.world.started_anew(&self.redis, shared_mongodb()).await;
        }
        workers.extend(self.workers(crash.dying).await);
        self
    }

    /// The status that its owner is shown.
    async fn shown(&self, booking: &Booking) -> Option<Status> {
        let shown = self.world.sale.booking(&booking.user, booking.id).await;
        shown.ok().map(|view| view.booking.status)
    }

    /// Waits until Redis itself has the booking in this state.
    async fn becomes(&self, booking: &Booking, status: Status) {
        let has_status = async || self.world.status(booking.id).await == Some(status);
        eventually("Redis has the status", REPAIRED, has_status).await;
    }

    async fn end(self, workers: Vec<WorkerProcess>) {
        self.world.verified().await;
        assert!(workers.into_iter().all(WorkerProcess::stop));
        self.world.stop().await;
    }
}
