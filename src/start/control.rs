//! Follows what operators ask of all processes, and records that this one runs.
//!
//! | what may happen | result |
//! |---|---|
//! | MongoDB does not answer | no new request is read; a log level for a time still ends in time |
//! | the operator's tool dies after its change | each process carries it out nevertheless |
//! | a process starts while a reload is requested | it reloads once more, which is harmless |
//! | a process restarts during a log level for a time | it adopts the level until its end |
//! | a process ends without removing its record | it counts as running for 20 s more |

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Services;
use super::reload::Reloader;
use crate::archive::{Archive, ProcessRecord, ReloadAnswer, ReloadRequest};
use crate::circuit_breaker::BreakerState;
use crate::lifecycle::{Shutdown, host_name};
use crate::payments::Provider;
use crate::redis::Engine;
use crate::sale::control::{FORGOTTEN_AFTER, READ_INTERVAL, RECORD_INTERVAL, log_level_of, ms};

/// A request that is older than this process by more was answered by the process before it, ms.
const OLD_REQUEST_MS: i64 = 120_000;
/// Bound of the removal of the record when the process ends.
const FORGET_BOUND: Duration = Duration::from_millis(500);

/// What identifies a process to operators, and what it reports of itself.
#[derive(Clone)]
pub struct Identity {
    record: ProcessRecord,
    services: BreakerReporters,
}

/// Reports the circuit breakers of a process.
#[derive(Clone)]
struct BreakerReporters {
    engine: Engine,
    archive: Archive,
    provider: Arc<dyn Provider>,
}

impl BreakerReporters {
    /// Those that are not closed.
    fn unclosed(&self) -> Vec<String> {
        let all = [
            ("redis", self.engine.breaker()),
            ("mongodb", self.archive.breaker()),
            ("payments", self.provider.breaker()),
        ];
        let unclosed = all.into_iter().filter(|(_, report)| report.state != BreakerState::Closed);
        unclosed.map(|(name, report)| format!("{name}: {}", report.state.as_str())).collect()
    }
}

impl Identity {
    /// A process of this program with this address, started at a time, Unix ms.
    pub fn new(
        service: &'static str,
        address: SocketAddr,
        services: &Services,
        started_ms: i64,
    ) -> Self {
        let record = ProcessRecord {
            name: format!("{service}@{}:{}", host_name(), address.port()),
            start: format!("{:08x}", rand::random::<u32>()),
            service: service.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: i64::from(std::process::id()),
            started_ms,
            ..ProcessRecord::default()
        };
        let services = BreakerReporters {
            engine: services.engine.clone(),
            archive: services.archive.clone(),
            provider: services.provider.clone(),
        };
        Identity { record, services }
    }
}

/// Follows until shutdown is requested, then removes the record.
pub async fn follow(
    archive: Archive,
    identity: Identity,
    reloader: Arc<Reloader>,
    shutdown: Shutdown,
) {
    let mut follower = Follower {
        archive,
        record: identity.record,
        breakers: identity.services,
        reloader,
        answered: String::new(),
        recorded: None,
        is_silent: false,
    };
    loop {
        // A turn may be cut off: its result is no longer needed.
        tokio::select! {
            () = follower.turn() => {}
            () = shutdown.requested() => {}
        }
        if !shutdown.sleep_or_shutdown(READ_INTERVAL).await {
            break;
        }
    }
    let before_ms = now_ms() - ms(FORGOTTEN_AFTER);
    let forget = follower.archive.forget_processes(&follower.record, before_ms);
    if !matches!(tokio::time::timeout(FORGET_BOUND, forget).await, Ok(Ok(()))) {
        tracing::debug!("this process' record is not removed: it counts as running for a moment");
    }
}

struct Follower {
    archive: Archive,
    record: ProcessRecord,
    breakers: BreakerReporters,
    reloader: Arc<Reloader>,
    /// The request to reload that was carried out last.
    answered: String,
    /// When the record was written last.
    recorded: Option<Instant>,
    /// Whether MongoDB did not answer the last time.
    is_silent: bool,
}

impl Follower {
    async fn turn(&mut self) {
        match self.archive.control().await {
            Ok(control) => {
                self.is_silent = false;
                let asked = log_level_of(&control, &self.record.name, now_ms());
                self.reloader.log_level().follow(asked, now_ms());
                if let Some(request) = control.reload {
                    self.answer(request).await;
                }
            }
            Err(error) => {
                if !self.is_silent {
                    tracing::debug!(%error, "operators' requests cannot be read");
                }
                self.is_silent = true;
                self.reloader.log_level().end_if_over(now_ms());
            }
        }
        let level = self.reloader.log_level().in_effect(now_ms());
        let is_due = self.recorded.is_none_or(|at| at.elapsed() >= RECORD_INTERVAL);
        let has_changed = self.breakers.unclosed() != self.record.breakers;
        if is_due
            || has_changed
            || level != (self.record.log_level.clone(), self.record.log_level_until_ms)
        {
            self.write_record().await;
        }
    }

    async fn answer(&mut self, request: ReloadRequest) {
        let is_old = request.at_ms < self.record.started_ms - OLD_REQUEST_MS;
        if request.id == self.answered || is_old {
            return;
        }
        let answer = self.reloader.clone().reload("holdfastctl reload").await;
        self.answered.clone_from(&request.id);
        self.record.reload = Some(ReloadAnswer { request: request.id, ..answer });
        self.recorded = None;
    }

    async fn write_record(&mut self) {
        let level = self.reloader.log_level();
        (self.record.log_level, self.record.log_level_until_ms) = level.in_effect(now_ms());
        self.record.breakers = self.breakers.unclosed();
        self.record.seen_ms = now_ms();
        match self.archive.record_process(&self.record).await {
            Ok(()) => self.recorded = Some(Instant::now()),
            // Written again at the next turn.
            Err(error) => tracing::debug!(%error, "this process' record cannot be written"),
        }
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
