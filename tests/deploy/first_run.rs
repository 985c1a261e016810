//! The first minutes: the build's line of progress, the block of `make run`, the sale of `make demo`.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::support::servers::{free_port, state_dir};
use crate::support::{eventually, unique_name};

/// Bound of one program's run.
const WITHIN: Duration = Duration::from_secs(240);
/// Columns of a terminal.
const COLUMNS_MAX: usize = 80;

/// A cargo that prints as cargo does, and names the programs that are built already.
const CARGO: &str = r#"#!/usr/bin/env python3
import json, os, sys
if sys.argv[1] == "--version":
    print("cargo 99.0.0")
    sys.exit()
print("    Updating crates.io index", file=sys.stderr)
for n in range(1, 5):
    print(f"   Compiling crate-{n} v1.0.0", file=sys.stderr)
    drawn = "=" * n + ">" + " " * (4 - n)
    print(f"    Building [{drawn}] {n}/4: crate-{n}, other(build.rs)\r", end="", file=sys.stderr, flush=True)
if os.environ.get("CARGO_FAILS"):
    print("error[E0308]: mismatched types", file=sys.stderr)
    sys.exit(101)
for name in os.listdir(os.environ["BUILT"]):
    if name in ("holdfast-api", "holdfast-worker", "holdfastctl", "holdfast-flash-sale"):
        program = os.path.join(os.environ["BUILT"], name)
        print(json.dumps({"target": {"name": name}, "executable": program}))
"#;

const BUILD: &str = r#"
import sys, pathlib
sys.path.insert(0, "deploy")
import build, progress
from packages import Missing
from process import Children
progress.QUIET_SECONDS = 0
state = pathlib.Path(sys.argv[1])
try:
    print(sorted(build.build(Children(state / "pids"), state, "dev")))
except Missing as missing:
    print("FAILED", missing.what)
"#;

const ON_A_TERMINAL: &str = "import pty, sys; pty.spawn(sys.argv[1:])";

/// A folder of its own, and a command of `deploy` that uses it.
struct Folder {
    path: PathBuf,
    port: u16,
}

impl Folder {
    fn new() -> Self {
        let path = state_dir().join(unique_name());
        let cargo = path.join("bin/cargo");
        std::fs::create_dir_all(cargo.parent().unwrap()).unwrap();
        std::fs::write(&cargo, CARGO).unwrap();
        std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
        Folder { path, port: free_port() }
    }

    fn state(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn python(&self, words: &[&str]) -> Command {
        let mut command = Command::new("python3");
        let path = format!("{}/bin:{}", self.state(), std::env::var("PATH").unwrap());
        let built = Path::new(env!("CARGO_BIN_EXE_holdfast-api")).parent().unwrap();
        assert!(built.join("holdfast-flash-sale").exists(), "build the whole workspace");
        command
            .args(words)
            .current_dir(super::root())
            .env("PATH", path)
            .env("BUILT", built)
            .env("HOLDFAST_LISTEN", format!("127.0.0.1:{}", self.port))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn demo(&self, words: &[&str]) -> Command {
        let all = ["deploy/demo.py", "--countdown", "0", "--state", self.state()];
        self.python(&[&all, words].concat())
    }
}

/// Asks a program to end, as Ctrl-C does; returns whether it ends well.
async fn interrupted(mut child: Child) -> bool {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut status = None;
    eventually("it has ended", WITHIN, async || {
        status = child.try_wait().unwrap();
        status.is_some()
    })
    .await;
    status.unwrap().success()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn build_shows_progress_and_keeps_lines_in_a_log() {
    let folder = Folder::new();
    let output = folder.python(&["-c", BUILD, folder.state()]).output().unwrap();
    let shown = text(&output);
    assert!(shown.contains("['holdfast-api', 'holdfast-flash-sale',"), "{shown}");
    assert!(shown.contains("4/4 crate-4") && shown.contains("Build    profile dev, "), "{shown}");
    assert!(!shown.contains("Compiling"), "{shown}");
    let log = std::fs::read_to_string(folder.path.join("logs/build.log")).unwrap();
    assert!(log.contains("Updating") && log.contains("Compiling crate-4"), "{log}");
    assert!(!log.contains("Building"), "{log}");

    let words = ["-c", ON_A_TERMINAL, "python3", "-c", BUILD, folder.state()];
    let shown = text(&folder.python(&words).output().unwrap());
    let drawn: Vec<&str> = shown.split('\r').filter(|part| part.ends_with("\u{1b}[K")).collect();
    assert!(drawn.iter().any(|part| part.contains("[########################] 4/4")), "{shown}");
    assert!(drawn.iter().all(|part| part.len() < COLUMNS_MAX + 3), "{shown}");
}

#[test]
fn failed_build_shows_the_end_of_its_log() {
    let folder = Folder::new();
    let mut command = folder.python(&["-c", BUILD, folder.state()]);
    let shown = text(&command.env("CARGO_FAILS", "1").output().unwrap());
    let (_, failure) = shown.split_once("FAILED").unwrap_or_else(|| panic!("{shown}"));
    assert!(failure.contains("logs/build.log, ends:"), "{shown}");
    assert!(failure.contains("error[E0308]: mismatched types"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_says_where_all_is_and_a_demo_ends_with_a_clean_verdict() {
    let folder = Folder::new();
    let mut command = folder.python(&["deploy/run.py", "--state", folder.state()]);
    let mut run = command.stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(run.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut block = Vec::new();
    for line in lines {
        block.push(line);
        if block.last().unwrap().starts_with("Ctrl-C stops everything") {
            break;
        }
    }
    block_fits_and_its_commands_work(&folder, &block);

    let output = folder.demo(&["--buyers", "40"]).output().unwrap();
    let shown = text(&output);
    assert!(output.status.success(), "{shown}");
    for part in ["/events/3\n", "/console\n", "Buyers      40: ", "Clean: 1 event"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.contains("sent to the waiting room"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= COLUMNS_MAX), "{shown}");

    let child = folder.demo(&["--buyers", "2000"]).spawn().unwrap();
    let crowd = folder.path.join("demo/pids/crowd.pid");
    eventually("the crowd has come", WITHIN, async || crowd.exists()).await;
    assert!(interrupted(child).await, "the demo");
    assert!(!crowd.exists());
    assert!(interrupted(run).await, "make run");
}

fn block_fits_and_its_commands_work(folder: &Folder, block: &[String]) {
    let whole = block.join("\n");
    // The state folder of a test has a long name; that of `make run` is .holdfast/PORT.
    let usual = whole.replace(folder.state(), ".holdfast/8000");
    let program = env!("CARGO_BIN_EXE_holdfastctl");
    let usual = usual.replace(program, "target/debug/holdfastctl");
    assert!(usual.lines().all(|line| line.chars().count() <= COLUMNS_MAX), "{usual}");
    for path in ["/events/1", "/console", "/docs/"] {
        assert!(whole.contains(&format!("http://127.0.0.1:{}{path}", folder.port)), "{whole}");
    }
    assert!(whole.contains("Pages of http://localhost:*, http://127.0.0.1:* may\n"), "{whole}");
    let is_command = |line: &&String| line.contains("export ") || line.contains("holdfastctl ");
    let commands: Vec<&str> = block.iter().filter(is_command).map(|line| line.trim()).collect();
    assert_eq!(commands.len(), 3, "{whole}");
    let output = Command::new("sh").args(["-ec", &commands.join("\n")]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_demo_stops_what_it_has_started() {
    let folder = Folder::new();
    let child = folder.demo(&["--buyers", "2000"]).spawn().unwrap();
    let crowd = folder.path.join("demo/history.jsonl");
    eventually("the crowd has come", WITHIN, async || crowd.exists()).await;
    assert!(interrupted(child).await);
    let left = std::fs::read_dir(folder.path.join("pids")).unwrap().count();
    assert_eq!(left, 0, "processes are left");
}
