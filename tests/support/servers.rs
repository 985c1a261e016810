//! Real servers for the tests: Redis, Valkey, a one-master Redis Cluster, MongoDB. Found or
//! fetched by `deploy/services.py`, run in the foreground by the test process, gone with it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Bound of a server's start; the first one may be downloaded.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Times that a server is started whose port was taken meanwhile.
const STARTS_MAX: u32 = 5;
/// The same where a port has to be got back: 18 seconds of pauses in all.
const RESTARTS_MAX: u32 = 9;
/// And how much longer each time before it is started again.
const PAUSE_BETWEEN_STARTS: Duration = Duration::from_millis(500);

/// Ports of servers.
const PORTS: std::ops::Range<u16> = 10_000..30_000;
/// Most ports that are tried.
const PORT_TRIES_MAX: usize = 200;

/// Which Redis a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// `redis-server` of PATH.
    Redis,
    /// Valkey of PATH or PyPI.
    Valkey,
    /// Whichever is there, as a cluster of one master: cross-slot mistakes show.
    Cluster,
}

/// A server process that a test can stop, freeze, kill and start again.
pub struct Server {
    spec: Value,
    child: Mutex<Child>,
    cluster: bool,
}

impl Server {
    /// The address clients use.
    pub fn url(&self) -> String {
        let url = self.spec["url"].as_str().expect("spec has a url").to_owned();
        if self.cluster { url.replacen("redis://", "redis-cluster://", 1) } else { url }
    }

    /// Sends a Redis one command; the first line of its reply.
    pub fn command(&self, words: &[&str]) -> String {
        redis_command(&format!("127.0.0.1:{}", self.spec["port"]), words).unwrap()
    }

    /// Sends a Redis one command; its reply, a list of texts.
    pub fn list(&self, words: &[&str]) -> Vec<String> {
        redis_list(&format!("127.0.0.1:{}", self.spec["port"]), words).unwrap()
    }

    /// Sends a Redis one command; all lines of its reply, a text.
    pub fn command_lines(&self, words: &[&str]) -> Vec<String> {
        let mut reply = redis_send(&format!("127.0.0.1:{}", self.spec["port"]), words).unwrap();
        let header = read_line(&mut reply).unwrap();
        let bytes: usize = header.strip_prefix('$').and_then(|n| n.parse().ok()).expect("a text");
        let mut text = vec![0; bytes];
        reply.read_exact(&mut text).unwrap();
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }

    /// Sends a Redis one command that answers with a text.
    pub fn command_value(&self, words: &[&str]) -> String {
        let mut reply = redis_send(&format!("127.0.0.1:{}", self.spec["port"]), words).unwrap();
        read_line(&mut reply).unwrap();
        read_line(&mut reply).unwrap()
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.spec["port"].as_u64().expect("spec has a port") as u16
    }

    /// Changes the address that clients get.
    pub fn reached_at(mut self, url: String) -> Self {
        self.spec["url"] = Value::from(url);
        self
    }

    /// Copies a Redis' append-only file as it is now: every write that was answered is in it.
    pub fn saved_writes(&self) -> PathBuf {
        let copy = state_dir().join(format!("saved-writes-{}", self.port()));
        std::fs::create_dir_all(&copy).unwrap();
        for file in std::fs::read_dir(self.writes()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
        copy
    }

    /// Puts such a copy in the place of the append-only file, while it does not run.
    pub fn put_back_writes(&self, saved: &Path) {
        std::fs::remove_dir_all(self.writes()).unwrap();
        std::fs::rename(saved, self.writes()).unwrap();
    }

    fn writes(&self) -> PathBuf {
        state_dir().join(format!("redis-{}", self.port())).join("appendonlydir")
    }

    /// Stops it from running, with its connections open (SIGSTOP).
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it run again (SIGCONT).
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Ends it at once (SIGKILL) and waits until it is gone.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Starts it again on the same port and data.
    pub fn restart(&self) {
        // While it was down somebody's connection may have got its port, for a while.
        let started = (0..RESTARTS_MAX).find_map(|turn| {
            std::thread::sleep(PAUSE_BETWEEN_STARTS * turn);
            started(&self.spec)
        });
        *self.child.lock().unwrap() = started.expect("it starts again");
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// Whether its process is there, frozen or not.
    pub fn is_running(&self) -> bool {
        self.child.lock().unwrap().try_wait().is_ok_and(|ended| ended.is_none())
    }

    fn signal(&self, name: &str) {
        let pid = self.child.lock().unwrap().id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(status.success(), "kill -{name} {pid}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A Redis of its own for one test.
pub fn private_redis(flavor: Flavor) -> Server {
    let mut args: Vec<&str> = Vec::new();
    match flavor {
        Flavor::Redis => args.extend(["--flavor", "redis"]),
        Flavor::Valkey => args.extend(["--flavor", "valkey"]),
        Flavor::Cluster => args.push("--cluster"),
    }
    start("redis", &args, flavor == Flavor::Cluster)
}

/// The same with further arguments of its command line. It may ask for a password.
pub fn private_redis_with(flavor: Flavor, arguments: &[&str]) -> Server {
    let flavor = if flavor == Flavor::Valkey { "valkey" } else { "redis" };
    start_changed("redis", &["--flavor", flavor], false, |spec| {
        let argv = spec["argv"].as_array_mut().expect("spec has a command");
        argv.extend(arguments.iter().map(|word| Value::from(*word)));
    })
}

/// A Sentinel with this configuration file, which names its port; Redis' own program.
pub fn sentinel(port: u16, configuration: &Path) -> Server {
    let log = configuration.with_extension("log");
    let argv = ["redis-server", configuration.to_str().unwrap(), "--sentinel", "--logfile"];
    let argv: Vec<&str> = argv.into_iter().chain([log.to_str().unwrap()]).collect();
    let url = format!("redis://127.0.0.1:{port}");
    let spec = json!({ "argv": argv, "env": {}, "port": port, "url": url, "log": log });
    let child = started(&spec).expect("a sentinel starts");
    Server { spec, child: Mutex::new(child), cluster: false }
}

/// A MongoDB of its own for one test, which keeps what it has journalled when it is killed.
pub fn private_mongodb() -> Server {
    start("mongodb", &["--sync"], false)
}

/// The Redis of this flavor that all tests of this process share.
pub fn shared_redis(flavor: Flavor) -> &'static Server {
    static REDIS: LazyLock<Server> = LazyLock::new(|| private_redis(Flavor::Redis));
    static VALKEY: LazyLock<Server> = LazyLock::new(|| private_redis(Flavor::Valkey));
    static CLUSTER: LazyLock<Server> = LazyLock::new(|| private_redis(Flavor::Cluster));
    match flavor {
        Flavor::Redis => &REDIS,
        Flavor::Valkey => &VALKEY,
        Flavor::Cluster => &CLUSTER,
    }
}

/// The MongoDB that all tests of this process share.
pub fn shared_mongodb() -> &'static Server {
    static MONGODB: LazyLock<Server> = LazyLock::new(|| start("mongodb", &[], false));
    &MONGODB
}

/// Whether this flavor can be had on this machine. With `ALL_FLAVORS` set, as CI
/// does, a missing one fails instead.
pub fn available(flavor: Flavor) -> bool {
    static FLAVORS: LazyLock<Value> = LazyLock::new(|| services(&["flavors"]));
    let there = match flavor {
        Flavor::Redis => FLAVORS["redis"].is_string(),
        Flavor::Valkey => FLAVORS["valkey"].is_string(),
        Flavor::Cluster => true,
    };
    if !there {
        assert!(std::env::var_os("ALL_FLAVORS").is_none(), "{flavor:?} is missing");
        eprintln!("skipped: no {flavor:?} on this machine");
    }
    there
}

/// A Redis in Cluster mode that has no slots and knows no other node yet.
pub fn private_cluster_node() -> Server {
    start_changed("redis", &["--cluster"], false, |spec| spec["post_start"] = Value::Null)
}

fn start(kind: &str, args: &[&str], cluster: bool) -> Server {
    start_changed(kind, args, cluster, |_| {})
}

fn start_changed(kind: &str, args: &[&str], cluster: bool, change: impl Fn(&mut Value)) -> Server {
    let try_once = |_| {
        let port = free_port().to_string();
        let dir = state_dir().join(format!("{kind}-{port}"));
        let dir_text = dir.to_str().expect("a UTF-8 path");
        let mut all = vec!["spec", kind, "--port", &port, "--dir", dir_text];
        all.extend(args);
        let mut spec = services(&all);
        change(&mut spec);
        started(&spec).map(|child| Server { spec, child: Mutex::new(child), cluster })
    };
    (0..STARTS_MAX).find_map(try_once).expect("a server starts")
}

/// Starts it and waits until it answers; `None` if it ended: its port was free a moment ago, but
/// the system may have given it to a connection since.
fn started(spec: &Value) -> Option<Child> {
    let mut child = spawn(spec);
    wait_ready(spec, &mut child).then_some(child)
}

/// Returns a port that nothing listens on. It is below the range of outgoing connections, none of which
/// can take it before the server binds it, or while the server is down.
pub fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut ports = std::iter::repeat_with(|| rand::random_range(PORTS)).take(PORT_TRIES_MAX);
    ports.find(is_free).expect("a free port")
}

/// One folder a test process, removed by the reaper when the process ends.
pub fn state_dir() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("holdfast-test-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Runs the service starter and reads its answer.
fn services(args: &[&str]) -> Value {
    // Members of the workspace have tests, too.
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let script = folders.find_map(|folder| folder.join("deploy/services.py").canonicalize().ok());
    let script = script.expect("deploy/services.py is above");
    let output = Command::new("python3").arg(script).args(args).output().expect("python3 runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "services.py {args:?}: {errors}");
    serde_json::from_slice(&output.stdout).expect("services.py answers JSON")
}

fn spawn(spec: &Value) -> Child {
    let argv: Vec<&str> =
        spec["argv"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    let env = spec["env"].as_object().unwrap().iter();
    let child = Command::new(argv[0])
        .args(&argv[1..])
        .envs(env.map(|(name, value)| (name.as_str(), value.as_str().unwrap())))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server starts");
    reap_later(child.id());
    child
}

/// Ends every process named here, and removes the state folder, when this process ends for
/// whatever reason: a shell that learns the pids over a pipe acts when the pipe closes. A pid that has
/// another process by then, perhaps of another test run, is spared: it began at another time.
pub fn reap_later(pid: u32) {
    static REAPER: LazyLock<Mutex<Child>> = LazyLock::new(|| {
        let script = r#"
            began() { cut -d ' ' -f 22 "/proc/$1/stat" 2>/dev/null || echo unknown; }
            while read -r pid began; do list="$list $pid:$began"; done
            for one in $list; do
                [ "$(began "${one%:*}")" = "${one#*:}" ] && kill -9 "${one%:*}"
            done
            rm -rf "$0""#;
        let child = Command::new("sh")
            .args(["-c", script])
            .arg(state_dir())
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh runs");
        Mutex::new(child)
    });
    let mut reaper = REAPER.lock().unwrap();
    let stdin = reaper.stdin.as_mut().expect("stdin is piped");
    writeln!(stdin, "{pid} {}", began(pid)).expect("the reaper listens");
}

/// When a process began, as the reaper's shell reads it: ticks since the machine's start.
fn began(pid: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.split(' ').nth(21).unwrap_or("unknown").to_owned()
}

/// Whether it answers, in the end; false if it has ended.
fn wait_ready(spec: &Value, child: &mut Child) -> bool {
    let address = format!("127.0.0.1:{}", spec["port"]);
    let is_redis = spec["url"].as_str().unwrap().starts_with("redis");
    let deadline = Instant::now() + START_TIMEOUT;
    let ready = || match is_redis {
        true => redis_command(&address, &["PING"])
            .is_ok_and(|line| line == "+PONG" || line.starts_with("-NOAUTH")),
        false => TcpStream::connect(&address).is_ok(),
    };
    while !ready() {
        assert!(Instant::now() < deadline, "no answer at {address}; log: {}", spec["log"]);
        std::thread::sleep(Duration::from_millis(20));
        if child.try_wait().expect("a child").is_some() {
            return false;
        }
    }
    for command in spec["post_start"].as_array().into_iter().flatten() {
        let words: Vec<&str> =
            command.as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
        // Slots that are assigned already stay assigned: the error of a restart is no news.
        let _ = redis_command(&address, &words);
        while !redis_command(&address, &["SET", "ready", "1"]).is_ok_and(|line| line == "+OK") {
            assert!(Instant::now() < deadline, "the cluster at {address} does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    child.try_wait().expect("a child").is_none()
}

/// Sends one command over a connection of its own; the first line of the reply.
pub fn redis_command(address: &str, words: &[&str]) -> std::io::Result<String> {
    read_line(&mut redis_send(address, words)?)
}

/// The same as a user with a password.
pub fn redis_command_as(
    address: &str,
    user: &str,
    password: &str,
    words: &[&str],
) -> std::io::Result<String> {
    let mut connection = redis_send(address, &["AUTH", user, password])?;
    read_line(&mut connection)?;
    connection.get_mut().write_all(request(words).as_bytes())?;
    read_line(&mut connection)
}

/// The same, for a reply that is a list of texts without line breaks.
fn redis_list(address: &str, words: &[&str]) -> std::io::Result<Vec<String>> {
    let mut reply = redis_send(address, words)?;
    let header = read_line(&mut reply)?;
    let count: usize = header.strip_prefix('*').and_then(|n| n.parse().ok()).expect("a list");
    let mut texts = Vec::with_capacity(count);
    for _ in 0..count {
        read_line(&mut reply)?;
        texts.push(read_line(&mut reply)?);
    }
    Ok(texts)
}

fn redis_send(address: &str, words: &[&str]) -> std::io::Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(request(words).as_bytes())?;
    Ok(BufReader::new(stream))
}

fn request(words: &[&str]) -> String {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    request
}

fn read_line(reply: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    reply.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}
