//! The boards of all events that anybody follows, each moved by a task of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::channel::{Counts, EventChannel};
use super::seats::{SeatUpdates, Wishes};
use super::sockets::Kind;
use crate::config::Config;
use crate::domain::EventId;
use crate::http::response_memory::ResponseMemory;
use crate::lifecycle::Shutdown;
use crate::lifecycle::Supervisor;
use crate::live::Live;
use crate::sale::Sale;
use crate::telemetry::Metrics;

/// The boards of a process: at most as many as there are sockets.
pub struct ChannelRegistry {
    live: Live,
    supervisor: Supervisor,
    runtime: Handle,
    shutdown: Shutdown,
    pace: Duration,
    counts: Counts,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    boards: HashMap<EventId, Arc<EventChannel>>,
    tasks: JoinSet<()>,
}

impl ChannelRegistry {
    /// None are followed yet. Must be called within the runtime that is to move them.
    pub fn new(
        sale: &Sale,
        config: &Config,
        memory: &Arc<ResponseMemory>,
        metrics: &Metrics,
        shutdown: Shutdown,
    ) -> Self {
        ChannelRegistry {
            live: sale.live().clone(),
            supervisor: sale.supervisor().clone(),
            runtime: Handle::current(),
            shutdown,
            pace: Duration::from_millis(config.push_tick_ms),
            counts: Counts::new(memory, metrics),
            open: Mutex::default(),
        }
    }

    /// The seats of an event, which the caller knows to exist, as a source of news.
    pub fn follow(self: &Arc<Self>, event: EventId, kind: Kind, wishes: Wishes) -> SeatUpdates {
        let mut open = self.open();
        while open.tasks.try_join_next().is_some() {}
        if let Some(board) = open.boards.get(&event) {
            return SeatUpdates::new(board.clone(), kind, wishes);
        }
        let board = Arc::new(EventChannel::new(self.live.slot(event), self.counts.clone()));
        // Followed before it is moved: nobody takes it for a deserted one.
        let news = SeatUpdates::new(board.clone(), kind, wishes);
        open.boards.insert(event, board.clone());
        // A board that nothing moves would be silent for all who come later, too.
        let boards = self.clone();
        let moves = move || boards.clone().moves(board.clone());
        open.tasks.spawn_on(self.supervisor.until_done("event_channel", moves), &self.runtime);
        news
    }

    /// Turns a board whenever its view has changed, until nobody follows it.
    async fn moves(self: Arc<Self>, board: Arc<EventChannel>) {
        let mut changes = board.slot().changes();
        let mut next = Instant::now();
        loop {
            changes.borrow_and_update();
            // A change that comes after a quiet time is told at once; what follows is gathered.
            if board.turn() {
                next = Instant::now() + self.pace;
            }
            tokio::select! {
                changed = changes.changed() => {
                    // The board keeps the slot.
                    if changed.is_err() {
                        return;
                    }
                }
                () = board.deserted() => {
                    if self.closes(&board) {
                        return;
                    }
                    continue;
                }
                () = self.shutdown.requested() => return,
            }
            tokio::time::sleep_until(next).await;
        }
    }

    /// Takes a board down if nobody follows it.
    fn closes(&self, board: &EventChannel) -> bool {
        let mut open = self.open();
        let is_deserted = board.followers() == 0;
        if is_deserted {
            open.boards.remove(&board.event());
        }
        is_deserted
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing under this lock panics half-way through a change.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
