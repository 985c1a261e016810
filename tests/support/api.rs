//! The API for tests: served in this process or run as a program, on servers that tests share, under a
//! unique namespace.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use holdfast::archive::Archive;
use holdfast::config::Config;
use holdfast::domain::policy::AllRules;
use holdfast::domain::{DeploymentTag, TokenKeys};
use holdfast::lifecycle::{Supervisor, Trigger, shutdown_channel};
use holdfast::redis::Engine;
use holdfast::start::Services;
use holdfast::telemetry::Metrics;
use holdfast::{api, start};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::http::{Client, Reply};
use super::process::Process;
use super::servers::{Flavor, Server, available, shared_mongodb, shared_redis};
use super::unique_name;

/// Redis timeout where timeouts are not tested: machines are busy at times.
const PATIENT_MS: u64 = 900;
/// Redis timeout where latency is tested.
pub const PROMPT: (&str, &str) = ("HOLDFAST_REDIS_TIMEOUT_MS", "500");
/// How long a connection may be silent where that is not what is tested: a machine that stalls for
/// some seconds would have connections closed under clients that are about to use them.
const SILENCE_MS: u64 = 60_000;
/// The same between two requests.
const KEEP_ALIVE_SECONDS: u64 = 3_600;
/// Most attempts to connect to services that do not respond.
const CONNECTS_MAX: u32 = 5;

/// Bound until a change is visible.
const SHOWN_BOUND: Duration = Duration::from_secs(60);
/// How long it must then remain visible: several refreshes of the server.
const SHOWN_STILL: Duration = Duration::from_millis(700);
/// Interval of reads.
const SHOWN_STEP: Duration = Duration::from_millis(20);

/// The worker's program.
const WORKER: &str = env!("CARGO_BIN_EXE_holdfast-worker");

/// The secret of admission tokens.
pub const TOKEN_SECRET: &str = "test:a secret of thirty-two bytes at least";

/// The number in a token, as its owner may read it: behind the deployment's tag and the event.
pub fn number_in(token: &str) -> u64 {
    let payload = token.split('.').nth(2).expect("a payload");
    let bytes = data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap();
    u64::from_be_bytes(bytes[12..20].try_into().unwrap())
}

/// One deployment: its two servers, and its unique name on both.
#[derive(Clone)]
pub struct Place {
    redis_url: String,
    mongodb_url: String,
    name: String,
}

impl Place {
    pub fn new(redis: &Server, mongodb: &Server) -> Self {
        Place { redis_url: redis.url(), mongodb_url: mongodb.url(), name: unique_name() }
    }

    /// The same for Redis at this URL.
    pub fn at(redis_url: String, mongodb: &Server) -> Self {
        Place { redis_url, mongodb_url: mongodb.url(), name: unique_name() }
    }

    /// Uses the servers that all tests share, on whichever Redis is installed.
    pub fn shared() -> Self {
        let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
        Place::new(shared_redis(flavor), shared_mongodb())
    }

    /// Its namespace in Redis, and its database in MongoDB.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The settings of a server in this process.
    pub fn config(&self) -> Config {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            metrics_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            // Tests read them beside their other requests.
            metrics_public: true,
            redis_url: self.redis_url.as_str().into(),
            redis_namespace: self.name.clone(),
            mongodb_url: self.mongodb_url.as_str().into(),
            mongodb_database: self.name.clone(),
            http_workers: 1,
            http_header_timeout_ms: SILENCE_MS,
            http_body_timeout_ms: SILENCE_MS,
            http_keep_alive_seconds: KEEP_ALIVE_SECONDS,
            redis_timeout_ms: PATIENT_MS,
            token_secrets: vec![TOKEN_SECRET.into()],
            limits: AllRules::Observe,
            shutdown_notice_ms: 0,
            ..Config::default()
        }
    }

    /// Returns the settings of a program, overridden by these.
    pub fn environment(&self, above: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = [
            ("HOLDFAST_LISTEN", "127.0.0.1:0"),
            ("HOLDFAST_WORKER_LISTEN", "127.0.0.1:0"),
            ("HOLDFAST_METRICS_LISTEN", "127.0.0.1:0"),
            ("HOLDFAST_METRICS_PUBLIC", "true"),
            ("HOLDFAST_REDIS_URL", &self.redis_url),
            ("HOLDFAST_REDIS_NAMESPACE", &self.name),
            ("HOLDFAST_MONGODB_URL", &self.mongodb_url),
            ("HOLDFAST_MONGODB_DATABASE", &self.name),
            ("HOLDFAST_HTTP_WORKERS", "1"),
            ("HOLDFAST_HTTP_HEADER_TIMEOUT_MS", &SILENCE_MS.to_string()),
            ("HOLDFAST_HTTP_BODY_TIMEOUT_MS", &SILENCE_MS.to_string()),
            ("HOLDFAST_HTTP_KEEP_ALIVE_SECONDS", &KEEP_ALIVE_SECONDS.to_string()),
            ("HOLDFAST_REDIS_TIMEOUT_MS", &PATIENT_MS.to_string()),
            ("HOLDFAST_TOKEN_SECRETS", TOKEN_SECRET),
            // Tests ask more often than any honest client; those of limits say so.
            ("HOLDFAST_LIMITS", "observe"),
        ];
        let all = own.iter().chain(above);
        all.map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    /// A worker of this place: the real program.
    pub fn worker(&self) -> Process {
        self.worker_with(&[])
    }

    /// The same with other settings.
    pub fn worker_with(&self, settings: &[(&str, &str)]) -> Process {
        Process::start(WORKER, &self.worker_environment(settings))
    }

    /// The same, once it works.
    pub async fn worker_at_work(&self, settings: &[(&str, &str)]) -> Process {
        let works = |line: &Value| line["message"] == "working";
        Process::started(WORKER, &self.worker_environment(settings), works).await.0
    }

    fn worker_environment(&self, settings: &[(&str, &str)]) -> Vec<(String, String)> {
        let name = unique_name();
        let mut all = vec![("HOLDFAST_WORKER_CONSUMER", name.as_str())];
        all.extend(settings);
        self.environment(&all)
    }

    /// What its processes sign admission tokens with.
    pub async fn token_keys(&self) -> TokenKeys {
        let id = self.services().await.1.deployment_id().await.unwrap();
        let deployment = DeploymentTag::of(&self.name, &id);
        let (key, secret) = TOKEN_SECRET.split_once(':').unwrap();
        TokenKeys::new(deployment, &[(key, secret.as_bytes())]).unwrap()
    }

    /// Connects to Redis and MongoDB directly.
    pub async fn services(&self) -> (Engine, Archive) {
        let services = connected(&self.config(), &Metrics::new("test")).await;
        (services.engine, services.archive)
    }
}

/// Connects as programs do at their start, and again if a service does not respond.
async fn connected(config: &Config, metrics: &Metrics) -> Services {
    for _ in 1..CONNECTS_MAX {
        match start::connect(config, metrics).await {
            Ok(services) => return services,
            Err(error) => eprintln!("connecting again: {error}"),
        }
    }
    start::connect(config, metrics).await.unwrap()
}

/// A ready API and its client.
pub struct Api {
    client: Client,
    /// `host:port` of its metrics.
    monitoring: String,
    running: Running,
}

enum Running {
    Here { trigger: Trigger, served: JoinHandle<()>, supervisor: Supervisor },
    Program(Process),
}

impl Deref for Api {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Api {
    /// Served in this process; ends when dropped.
    pub async fn here(config: Config) -> Self {
        let listeners = api::Listeners::bind(&config).unwrap();
        let base = format!("http://{}", listeners.clients.local_addr().unwrap());
        let monitoring = listeners.monitoring.local_addr().unwrap().to_string();
        let (config, metrics) = (Arc::new(config), Metrics::new(api::SERVICE));
        let services = connected(&config, &metrics).await;
        let (trigger, shutdown) = shutdown_channel();
        let sale = start::sale(&services, &config, &metrics, &shutdown).unwrap();
        let gates = api::start_gates(&services, &config, &metrics, &shutdown).await.unwrap();
        let supervisor = services.supervisor;
        let served = tokio::spawn(async move {
            api::run(listeners, config, sale, gates, metrics, shutdown).await.unwrap();
        });
        let running = Running::Here { trigger, served, supervisor };
        Api { client: Client::new(&base), monitoring, running }
    }

    /// Runs the program, with its place's settings overridden by these.
    pub async fn program(place: &Place, settings: &[(&str, &str)]) -> Self {
        Api::program_in(&place.environment(settings)).await
    }

    /// Runs the program in this environment.
    pub async fn program_in(environment: &[(String, String)]) -> Self {
        let serves = |line: &Value| line["message"] == "serving";
        let path = env!("CARGO_BIN_EXE_holdfast-api");
        let (program, serving) = Process::started(path, environment, serves).await;
        let base = format!("http://{}", serving["address"].as_str().unwrap());
        let serves = |line: &Value| line["message"] == "serving metrics";
        let serving = program.log_line("it serves metrics", serves).await;
        let monitoring = serving["address"].as_str().unwrap().to_owned();
        Api { client: Client::new(&base), monitoring, running: Running::Program(program) }
    }

    /// A client of its own port for metrics and health.
    pub fn monitoring(&self) -> Client {
        Client::new(&format!("http://{}", self.monitoring))
    }

    /// The same with a patient client.
    pub fn patient(self) -> Self {
        Api { client: self.client.patient(), ..self }
    }

    /// A client that outlives it.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The supervisor of the background tasks of a server in this process.
    pub fn supervisor(&self) -> &Supervisor {
        match &self.running {
            Running::Here { supervisor, .. } => supervisor,
            Running::Program(_) => panic!("this API is a process of its own"),
        }
    }

    /// The process of a real program.
    pub fn process(&self) -> &Process {
        match &self.running {
            Running::Program(process) => process,
            Running::Here { .. } => panic!("this API is served by the test itself"),
        }
    }

    /// Stops the server in this process and waits until it has ended.
    pub async fn stop(self) {
        match self.running {
            Running::Here { trigger, served, .. } => {
                trigger.request();
                served.await.unwrap();
            }
            Running::Program(process) => drop(process),
        }
    }
}

/// A client of the real program that tests without wishes of their own share. The events they
/// make are theirs alone, and none of them is about services that are away.
pub async fn shared_api() -> Client {
    static SHARED: tokio::sync::OnceCell<Api> = tokio::sync::OnceCell::const_new();
    static PLACE: LazyLock<Place> = LazyLock::new(Place::shared);
    let api = SHARED.get_or_init(|| Api::program(&PLACE, &[("HOLDFAST_CONFIRM_WAIT_MS", "50")]));
    Client::new(&format!("http://{}", api.await.address())).patient()
}

/// Stalls of rows A (3 seats) and B (5) at 5000, a floor of 4 places at 2000.
pub fn small_event() -> Value {
    json!({
        "name": "Gala", "venue": "Hall",
        "sections": [
            { "name": "Stalls", "price": 5000,
              "rows": [{ "row": "A", "seats": 3 }, { "row": "B", "seats": 5 }] },
            { "name": "Floor", "price": 2000, "capacity": 4 },
        ],
    })
}

/// So many places without rows.
pub fn places(capacity: u32) -> Value {
    json!({ "name": "Places", "sections": [{ "name": "Floor", "price": 100, "capacity": capacity }] })
}

impl Client {
    /// Creates an event; its id.
    pub async fn event(&self, event: Value) -> u64 {
        let created = self.post("/api/v1/events").json(event).send().await;
        created.json(201)["id"].as_u64().unwrap()
    }

    /// Sends a hold.
    pub async fn hold(&self, user: &str, event: u64, seats: &[u32]) -> Reply {
        let body = json!({ "event_id": event, "seat_ids": seats });
        self.post("/api/v1/bookings").user(user).json(body).send().await
    }

    /// Holds seats; returns the booking.
    pub async fn held(&self, user: &str, event: u64, seats: &[u32]) -> Value {
        self.hold(user, event, seats).await.json(201)
    }

    /// Sends `confirm`, `extend` or `cancel` of a booking.
    pub async fn act(&self, user: &str, booking: &Value, verb: &str) -> Reply {
        let id = booking["id"].as_str().expect("a booking");
        self.post(&format!("/api/v1/bookings/{id}/{verb}")).user(user).send().await
    }

    /// Reads a booking.
    pub async fn booking(&self, user: &str, booking: &Value) -> Reply {
        let id = booking["id"].as_str().expect("a booking");
        self.get(&format!("/api/v1/bookings/{id}")).user(user).send().await
    }

    /// Waits until the API shows so many free, held and sold seats of an event, and that it continues to:
    /// the counts may be a moment old.
    #[track_caller]
    pub fn counts_become(
        &self,
        event: u64,
        wanted: (u64, u64, u64),
    ) -> impl Future<Output = ()> + '_ {
        let at = std::panic::Location::caller();
        async move {
            let deadline = Instant::now() + SHOWN_BOUND;
            let mut since = None;
            loop {
                let shown = self.counts(event).await;
                since = (shown == wanted).then(|| since.unwrap_or_else(Instant::now));
                if since.is_some_and(|since: Instant| since.elapsed() > SHOWN_STILL) {
                    return;
                }
                assert!(Instant::now() < deadline, "{at}: {shown:?} for {wanted:?}");
                tokio::time::sleep(SHOWN_STEP).await;
            }
        }
    }

    /// Repeats a GET until its body is right, as it may be a moment old; returns the body.
    #[track_caller]
    pub fn shown(
        &self,
        path: String,
        is_right: impl Fn(&Value) -> bool,
    ) -> impl Future<Output = Value> {
        let at = std::panic::Location::caller();
        async move {
            let deadline = Instant::now() + SHOWN_BOUND;
            loop {
                let shown = self.get(&path).send().await.json(200);
                if is_right(&shown) {
                    return shown;
                }
                assert!(Instant::now() < deadline, "{at}: {path} shows {shown}");
                tokio::time::sleep(SHOWN_STEP).await;
            }
        }
    }

    /// Returns an event's free, held and sold seats.
    pub async fn counts(&self, event: u64) -> (u64, u64, u64) {
        let reply = self.get(&format!("/api/v1/events/{event}/availability")).send().await;
        let body = reply.json(200);
        let count = |name: &str| body[name].as_u64().unwrap();
        (count("available_seats"), count("held_seats"), count("booked_seats"))
    }
}
