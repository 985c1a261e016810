//! Holdfast's programs as processes: started with given settings, stopped, frozen, killed; and their
//! logs.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use super::servers::{reap_later, state_dir};
use super::{eventually, unique_name};

/// Bound of a program's start: a busy machine connects slowly.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a program is started whose services do not answer.
pub const STARTS_MAX: u32 = 5;
/// What a program that ended for this reason says.
const SILENT: [&str; 2] = ["Start Redis", "Start MongoDB"];

/// Whether this, said by a program that ended at its start, is that a service did not answer.
pub fn was_left_alone(text: &str) -> bool {
    SILENT.iter().any(|advice| text.contains(advice))
}

/// One running program; killed when dropped.
pub struct Process {
    child: Mutex<Child>,
    log: PathBuf,
    errors: PathBuf,
}

impl Process {
    /// Starts a program with these settings and nothing else of our environment.
    pub fn start(program: &str, settings: &[(String, String)]) -> Self {
        Process::start_with(program, &[], settings)
    }

    /// The same with arguments.
    pub fn start_with(program: &str, arguments: &[&str], settings: &[(String, String)]) -> Self {
        let stem = state_dir().join(unique_name());
        let (log, errors) = (stem.with_extension("log"), stem.with_extension("err"));
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(File::create(&log).unwrap())
            .stderr(File::create(&errors).unwrap())
            .spawn()
            .expect("the program starts");
        reap_later(child.id());
        Process { child: Mutex::new(child), log, errors }
    }

    /// The same, once its log has a line that satisfies, and that line. A program does not wait for
    /// services that are silent when it starts: then it is started again, as supervisors do.
    pub async fn started(
        program: &str,
        settings: &[(String, String)],
        satisfies: impl Fn(&Value) -> bool,
    ) -> (Self, Value) {
        for _ in 1..STARTS_MAX {
            let process = Process::start(program, settings);
            if let Some(line) = process.line_unless_ended("it starts", &satisfies).await {
                return (process, line);
            }
            let text = process.error_text();
            assert!(was_left_alone(&text), "it ended: {text}");
        }
        let process = Process::start(program, settings);
        let line = process.log_line("it starts", satisfies).await;
        (process, line)
    }

    /// All of its log so far, as it is.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Every whole line of its log so far.
    pub fn log_lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let parse = |line: &str| serde_json::from_str(line).expect("a log line is JSON");
        whole.lines().map(parse).collect()
    }

    /// The log's first line that satisfies, once it is there.
    pub async fn log_line(&self, what: &str, satisfies: impl Fn(&Value) -> bool) -> Value {
        let found = self.line_unless_ended(what, &satisfies).await;
        found.unwrap_or_else(|| panic!("it ended: {}", self.error_text()))
    }

    /// The same; `None` if the program ends before.
    async fn line_unless_ended(
        &self,
        what: &str,
        satisfies: &impl Fn(&Value) -> bool,
    ) -> Option<Value> {
        let mut found = None;
        eventually(what, START_TIMEOUT, async || {
            let has_ended = self.exited().is_some();
            found = self.log_lines().into_iter().find(satisfies);
            found.is_some() || has_ended
        })
        .await;
        found
    }

    /// What it wrote to standard error.
    pub fn error_text(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap()
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Asks it to reload its settings (SIGHUP).
    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    /// Kills it (SIGKILL).
    pub fn kill(&self) {
        self.signal("KILL");
    }

    /// Stops it where it is (SIGSTOP).
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it run again (SIGCONT).
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Bytes of memory that it has now (its resident set).
    pub fn memory_bytes(&self) -> u64 {
        let pid = self.child.lock().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        let kilobytes = line.trim().trim_end_matches("kB").trim();
        kilobytes.parse::<u64>().expect("a number") << 10
    }

    /// Whether it is stopped, by itself or by us.
    pub fn is_frozen(&self) -> bool {
        let pid = self.child.lock().unwrap().id().to_string();
        let state = Command::new("ps").args(["-o", "state=", "-p", &pid]).output().unwrap();
        state.stdout.starts_with(b"T")
    }

    /// Its exit status, if it has ended.
    pub fn exited(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    /// Its exit status, once it has ended.
    pub async fn ended(&self, bound: Duration) -> ExitStatus {
        eventually("the program ends", bound, async || self.exited().is_some()).await;
        self.exited().expect("eventually() saw it")
    }

    fn signal(&self, name: &str) {
        let pid = self.child.lock().unwrap().id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(status.success(), "kill -{name} {pid}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}
