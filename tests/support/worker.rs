//! The real worker, as a process that a test can stop, freeze and kill.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::process::{STARTS_MAX, was_left_alone};
use super::servers::{Server, state_dir};
use super::world::World;
use super::{eventually, unique_name};

/// Bound of a worker's start.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Bound of an answer of its own routes on a busy machine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// After how long these workers take over from each other, ms: little more than their time-outs
/// allow.
const RECLAIM_IDLE_MS: u64 = 7_000;

/// How a worker is run: on the servers of a world, with short times.
pub struct WorkerSpec {
    settings: Vec<(String, String)>,
}

/// A running worker. Killed when dropped.
pub struct WorkerProcess {
    child: Child,
    address: String,
    log: PathBuf,
}

impl WorkerSpec {
    /// A worker on the servers of this world, under a consumer name of its own.
    pub fn new(world: &World, mongodb: &Server) -> Self {
        let redis = world.engine.settings();
        let spec = WorkerSpec { settings: Vec::new() };
        spec.with("redis_url", redis.address.expose())
            .with("redis_namespace", &redis.namespace)
            .with("partitions", &redis.partitions.to_string())
            .with("mongodb_url", &mongodb.url())
            .with("mongodb_database", &redis.namespace)
            .with("mongodb_timeout_ms", "2000")
            .with("redis_timeout_ms", "900")
            .with("redis_persistence", "ignore")
            .with("confirm_wait_ms", "0")
            .with("worker_reclaim_idle_ms", &RECLAIM_IDLE_MS.to_string())
            .with("worker_consumer", &unique_name())
            .with("log_keep_seconds", "3600")
            .with("shutdown_seconds", "5")
    }

    /// The same with another setting.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((format!("HOLDFAST_{}", name.to_uppercase()), value.to_owned()));
        self
    }

    /// Starts it and waits until it works, which is when its services answered it. One whose services were silent is started again, as
    /// supervisors do.
    pub async fn start(self) -> WorkerProcess {
        for _ in 1..STARTS_MAX {
            match self.start_once().await {
                Ok(worker) => return worker,
                Err(log) => assert!(was_left_alone(&log), "the worker does not start: {log}"),
            }
        }
        self.start_once().await.unwrap_or_else(|log| panic!("the worker does not start: {log}"))
    }

    /// The worker that works, or what one that ended has logged.
    async fn start_once(&self) -> Result<WorkerProcess, String> {
        let port = super::servers::free_port();
        let address = format!("127.0.0.1:{port}");
        let log = state_dir().join(format!("worker-{port}.log"));
        let file = File::create(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_holdfast-worker"))
            // No setting, but where tests look for services.
            .env_remove("HOLDFAST_PACKAGES_DIR")
            .env("HOLDFAST_WORKER_LISTEN", &address)
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stderr(file.try_clone().unwrap())
            .stdout(file)
            .spawn()
            .expect("the worker starts");
        super::servers::reap_later(child.id());
        let mut worker = WorkerProcess { child, address, log };
        let mut has_ended = false;
        eventually("the worker works", START_TIMEOUT, async || {
            has_ended = worker.has_ended();
            // It answers while it waits for its services, too.
            let works = worker.log().contains(r#""message":"working""#);
            has_ended || works && worker.get("/health/live").await.is_some()
        })
        .await;
        if has_ended { Err(worker.log()) } else { Ok(worker) }
    }
}

impl WorkerProcess {
    /// Status and body of a GET; `None` if it does not answer.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        let url = format!("http://{}{path}", self.address);
        let client = reqwest::Client::new();
        let answer = client.get(url).timeout(ANSWER_TIMEOUT).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// The value of a metric, named with its labels; 0 while it is not there.
    pub async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics").await.expect("the worker answers");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to end (SIGTERM) and waits until it has; whether it ended in order.
    pub fn stop(mut self) -> bool {
        self.signal("TERM");
        self.child.wait().unwrap().success()
    }

    /// Lets it run again (SIGCONT).
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Whether it is stopped (SIGSTOP), by itself or by us.
    pub fn is_frozen(&self) -> bool {
        let pid = self.child.id().to_string();
        let state = Command::new("ps").args(["-o", "state=", "-p", &pid]).output().unwrap();
        state.stdout.starts_with(b"T")
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(status.success(), "kill -{name} {pid}");
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("log of the worker at {}:\n{log}", self.address);
        }
    }
}
