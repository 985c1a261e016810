//! Every setting: its name, type and default, and what it means. This table is the struct, the
//! defaults, the list of known names and the text of `--print-config`, so they cannot disagree.

use std::net::SocketAddr;

use serde::Deserialize;

use super::values::{
    AdminKey, Auth, Detail, FilePath, JwtAlgorithm, LogFormat, Network, OnRisk, PaymentProvider,
    ProxyHeader, Secret, ServiceUrl,
};
use crate::domain::policy::{AllRules, BasePolicy, BotRules, Profile};
use crate::domain::{Mode, RoomSettings, RuleChange, Surge};
use crate::faults::FaultPoint;

/// A setting as documentation has it.
pub(super) struct Field {
    /// Its name in the file; `HOLDFAST_` and its capitals in the environment.
    pub name: &'static str,
    /// What it means, line by line.
    pub doc: &'static [&'static str],
    /// Its type, as this file writes it.
    pub kind: &'static str,
}

impl Field {
    /// Whether its value is or holds a secret, so that no message repeats it.
    pub fn is_secret(&self) -> bool {
        ["Secret", "ServiceUrl", "AdminKey", "FilePath"]
            .iter()
            .any(|secret| self.kind.contains(secret))
    }
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr;)+) => {
        /// All settings of Holdfast, shared by its binaries. Units stand in the names.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $name: $type,)+
        }

        impl Default for Config {
            fn default() -> Self {
                Config { $($name: $default,)+ }
            }
        }

        /// What one source (a file, the environment) says; absent settings are left alone.
        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct Layer {
            $($name: Option<$type>,)+
        }

        impl Layer {
            /// Lays this source above what `config` has.
            pub fn apply(self, config: &mut Config) {
                $(if let Some(value) = self.$name { config.$name = value; })+
            }
        }

        /// Name and documentation of every setting, in order.
        pub(super) const FIELDS: &[Field] =
            &[$(Field {
                name: stringify!($name),
                doc: &[$($doc),+],
                kind: stringify!($type),
            },)+];

        impl Config {
    /// The settings of waiting rooms that nobody set anything for.
    pub fn room_defaults(&self) -> RoomSettings {
        let session_ms = u64::from(self.waiting_room_session_seconds) * 1_000;
        let defaults = RoomSettings::default();
        RoomSettings {
            max_concurrent: self.waiting_room_max_concurrent,
            session_ms,
            session_cap_ms: defaults.session_cap_ms.max(session_ms),
            claim_ms: u64::from(self.waiting_room_claim_seconds) * 1_000,
            surge: Surge {
                automatic: self.waiting_room_auto,
                on_per_second: self.waiting_room_surge_per_second,
                off_per_second: self.waiting_room_calm_per_second,
                ..defaults.surge
            },
            ..defaults
        }
    }

            /// The settings' values in the order of [`FIELDS`], secrets masked.
            pub(super) fn shown(&self) -> Vec<toml::Value> {
                // Serializing these plain types cannot fail; a defect would show as an empty text.
                let show = |value: Result<toml::Value, toml::ser::Error>| {
                    value.unwrap_or_else(|_| toml::Value::String(String::new()))
                };
                vec![$(show(toml::Value::try_from(&self.$name)),)+]
            }
        }
    };
}

settings! {
    /// Address and port of the API. Beyond loopback an admin key and `token_secrets` are required,
    /// and either tokens (`auth = "jwt"`) or `identity_proxies`.
    listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8000));
    /// Address and port of the worker's `/metrics` and `/health`.
    worker_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8001));

    /// Redis 7.0 or newer, or Valkey: `redis://`, with TLS `rediss://`; `redis-cluster://`,
    /// `rediss-cluster://`; `redis-sentinel://`, `rediss-sentinel://`; `redis+unix://`; or the same
    /// with `valkey`. Further nodes: `?node=host:port`. Sentinels: `sentinelServiceName`,
    /// `sentinelUsername`, `sentinelPassword`.
    redis_url: ServiceUrl = "redis://127.0.0.1:6379".into();
    /// Certificates in PEM of the authorities that Redis' certificates are from. Empty: the public
    /// ones. These four need a scheme with TLS; files are read at start.
    redis_tls_ca_file: FilePath = FilePath::default();
    /// This client's certificate in PEM, where Redis asks for one, with its private key in
    /// `redis_tls_key_file`.
    redis_tls_cert_file: FilePath = FilePath::default();
    /// The private key in PEM of `redis_tls_cert_file`, without a passphrase.
    redis_tls_key_file: FilePath = FilePath::default();
    /// The name that Redis' certificates are for, of all servers and Sentinels. Empty: the host that
    /// is connected to.
    redis_tls_server_name: String = String::new();
    /// First segment of every Redis key: letters, digits, `_` and `-`.
    redis_namespace: String = "hf1".to_owned();
    /// Redis connections of one process for commands (readers of the log have their own).
    redis_clients: u32 = 2;
    /// How long one Redis call may take, milliseconds, 100 to 900. What has not begun by then
    /// never will.
    redis_timeout_ms: u64 = 500;
    /// Calls under way at one Redis (each node of a Cluster is one), of one process. More are refused
    /// with 503 at once, and not sent. Requests are refused sooner where answers begin to take most of
    /// `redis_timeout_ms`.
    redis_in_flight_max: u32 = 2_000;
    /// Replicas of Redis that are asked, before a change of a booking is answered, whether they
    /// have it (`durability` says so then); 0: none. What they lack is no failure.
    redis_wait_replicas: u32 = 0;
    /// How long they are waited for, milliseconds; with `redis_timeout_ms` at most 900.
    redis_wait_timeout_ms: u64 = 100;
    /// What to do when Redis keeps nothing on disk: `warn`, `refuse` or `ignore`.
    redis_persistence: OnRisk = OnRisk::Warn;
    /// What to do when Redis may evict keys (`maxmemory-policy` is not `noeviction`): `warn`,
    /// `refuse` or `ignore`.
    redis_eviction: OnRisk = OnRisk::Warn;

    /// MongoDB, standalone or replica set: `mongodb://` or `mongodb+srv://`. TLS: `tls=true`,
    /// `tlsCAFile`, `tlsCertificateKeyFile`.
    mongodb_url: ServiceUrl = "mongodb://127.0.0.1:27017".into();
    /// Name of the archive's database.
    mongodb_database: String = "holdfast".to_owned();
    /// How long one MongoDB command may take, milliseconds.
    mongodb_timeout_ms: u64 = 5_000;

    /// Number of partitions. Recorded in MongoDB by the first process; one that has another
    /// number refuses to start.
    partitions: u16 = 16;

    /// How long a hold lasts where the event does not say, seconds.
    hold_ttl_seconds: u32 = 300;
    /// How long a hold can last with extensions where the event does not say, seconds.
    max_hold_seconds: u32 = 900;
    /// Seats one user can hold and own where the event does not say.
    max_seats_per_user: u32 = 10;
    /// ISO 4217 code of prices where the event does not say. One that the payment provider charges.
    currency: String = "EUR".to_owned();
    /// How long a request is remembered at least, seconds; not below max_hold_seconds. One whose booking
    /// is held, being paid for or sold is remembered as long as Redis has that booking.
    idempotency_ttl_seconds: u32 = 86_400;

    /// How long a confirmation waits for the archive before it answers 202, milliseconds.
    confirm_wait_ms: u64 = 3_000;
    /// How long a payment under way keeps its booking from other attempts, milliseconds.
    confirm_lease_ms: u64 = 60_000;
    /// How often money that is not settled is looked after, milliseconds.
    reconcile_interval_ms: u64 = 1_000;
    /// Payment attempts a booking has.
    confirm_attempts_max: u32 = 10;
    /// Holds with an unknown outcome that wait to be undone, in one process; beyond it their
    /// time-to-live is what undoes them.
    abort_queue_max: u32 = 10_000;

    /// Who moves the money: `stripe`, or `simulated`, which moves none and keeps books as if it did.
    payment_provider: PaymentProvider = PaymentProvider::Simulated;
    /// How long one call of the payment provider may take, milliseconds.
    payment_timeout_ms: u64 = 5_000;
    /// Address of Stripe's API, or of a server of the same shapes.
    stripe_url: ServiceUrl = "https://api.stripe.com".into();
    /// Stripe's secret API key. Required with `payment_provider = "stripe"`.
    stripe_secret_key: Secret = Secret::default();
    /// Secret with which the provider signs its webhooks, 32 bytes or more. Empty: webhooks are off.
    payment_webhook_secret: Secret = Secret::default();
    /// How long each call of the simulated provider takes at least, milliseconds.
    simulated_latency_ms: u64 = 0;
    /// Share of simulated charges that are declined, percent.
    simulated_decline_percent: u32 = 0;
    /// Share of simulated charges that succeed and are never answered, percent.
    simulated_timeout_percent: u32 = 0;
    /// Share of simulated charges that fail before anything is charged, percent.
    simulated_error_percent: u32 = 0;

    /// Entries of one partition's booking log; above it new holds get 503 until the archive has
    /// caught up.
    log_entries_max: u64 = 1_000_000;

    /// How old the newest entry of a booking log may be, milliseconds, for hopeless requests to be
    /// refused from memory; above that they go to Redis. A quiet log gets a few empty entries a second
    /// while somebody asks.
    live_staleness_ms: u64 = 1_000;
    /// How long an event that nobody asks about stays in a process's memory, seconds.
    live_idle_seconds: u64 = 900;
    /// Seats of all events in a process's memory, some 40 bytes each; events beyond that are sold without.
    live_seats_max: usize = 10_000_000;
    /// How long archived entries stay in the booking log at least, seconds.
    log_keep_seconds: u64 = 300;
    /// How long a booking that ended without a sale (expired, cancelled, voided) stays in Redis
    /// at least, seconds. It leaves once it is archived, too; the archive then shows it.
    ended_keep_seconds: u64 = 86_400;

    /// Name of this worker among the log's readers: stable over restarts, unique among running
    /// workers. Empty: host name and port.
    worker_consumer: String = String::new();
    /// Log entries of one batch, 1 to 1,000.
    worker_batch_entries: u32 = 500;
    /// Batches one worker has under way at a time.
    worker_batches_in_flight: u32 = 4;
    /// After how long an unfinished batch of another worker is taken over, milliseconds. Longer
    /// than the longest write to the archive.
    worker_reclaim_idle_ms: u64 = 30_000;
    /// Tries an entry has before it is parked as a dead letter.
    worker_deliveries_max: u32 = 5;
    /// How often overdue holds are released on quiet events, milliseconds.
    sweep_interval_ms: u64 = 500;
    /// Whether the worker repairs by itself what Redis lost: events that are gone, writes that a
    /// failover or a cut file took. Off, a loss is an alarm and `holdfastctl restore` repairs it.
    restore_on_loss: bool = true;
    /// For tests: a step of a sale at which the worker harms itself, as `after_claims:kill` or
    /// `after_outcomes:stop:2` (the second time). Empty: none.
    worker_fault_point: FaultPoint = FaultPoint::default();
    /// For tests: the same for a step of a sale in the API, as `after_charge:kill`.
    api_fault_point: FaultPoint = FaultPoint::default();

    /// How callers prove who they are: `jwt`, by a signed token (`Authorization: Bearer`), or
    /// `trusted`, which believes the `X-User-Id` of `identity_proxies`, and in direct requests on
    /// this machine `X-User-Id` and `?user_id=`.
    auth: Auth = Auth::Trusted;
    /// How tokens are signed: `HS256` (a shared secret) or `RS256` (a public key). Tokens signed
    /// otherwise are refused.
    jwt_algorithm: JwtAlgorithm = JwtAlgorithm::Hs256;
    /// Files with the keys that tokens are verified with, one each, 8 at most: secrets of 32
    /// bytes or more, or RSA public keys in PEM. Several while keys are being changed. Read at
    /// start.
    jwt_key_files: Vec<FilePath> = Vec::new();
    /// The audience (`aud`) that tokens must be for. Required with `auth = "jwt"`.
    jwt_audience: String = String::new();
    /// The issuer (`iss`) that tokens must be from; empty: any that has a key.
    jwt_issuer: String = String::new();
    /// Claims that mark a token as a backend's, whose user agent is not judged, as `name=value`: the
    /// claim is that value, a list with it, or words between spaces. `realm_access.roles=shop` looks
    /// into a claim. Users must not be able to get such a token. 16 at most; empty: none is.
    jwt_backend_claims: Vec<String> =
        vec!["scope=holdfast:backend".to_owned(), "roles=holdfast:backend".to_owned()];
    /// How far clocks may be apart where tokens begin and expire, seconds.
    jwt_leeway_seconds: u64 = 30;
    /// Admin keys as `name:` and the hex SHA-256 of the key. The name is shown in logs and in the
    /// record of admin acts. With none, admin calls are open to direct requests on this machine.
    admin_keys_sha256: Vec<AdminKey> = Vec::new();
    /// Wrong admin keys of one address (of a /64, with IPv6) a minute, at once or spread; beyond it
    /// all from there are refused (429), whatever the limit rules say. In each process.
    admin_key_failures_per_minute: u32 = 60;
    /// Secrets that the waiting room's tokens are signed with, as `id:` and 32 bytes or more; the
    /// same for every API process. The first signs, all verify (8 at most): several while they
    /// are being changed, in a variable between commas. Empty, on loopback alone: each process makes up its own, and its tokens
    /// end with it.
    token_secrets: Vec<Secret> = Vec::new();
    /// How long a waiting room's token is worth anything, seconds: longer than anybody waits.
    waiting_room_token_ttl_seconds: u32 = 86_400;
    /// Sessions and open places of a waiting room at a time, where its operator does not say.
    waiting_room_max_concurrent: u32 = 1_000;
    /// How long a waiting room's session lasts where its operator does not say, seconds.
    waiting_room_session_seconds: u32 = 300;
    /// How long a place that was served may be claimed where its operator does not say, seconds.
    /// Clients of those who are next ask every second or so.
    waiting_room_claim_seconds: u32 = 30;
    /// Whether waiting rooms switch themselves on and off where their operators do not say.
    waiting_room_auto: bool = false;
    /// Attempts to hold seats of one event a second, over all processes, at which such a room goes
    /// on once they last three seconds. About half of what the sale can serve (`make bench-sale`).
    waiting_room_surge_per_second: u32 = 1_000;
    /// It goes off once nobody waits and attempts stay below this for a minute.
    waiting_room_calm_per_second: u32 = 250;
    /// Proxies that are believed from which address a request comes (`proxy_header`), and nothing
    /// else: addresses or CIDR ranges.
    trusted_proxies: Vec<Network> = Vec::new();
    /// Gateways that are believed which user asks (`X-User-Id`), with `auth = "trusted"`: addresses
    /// or CIDR ranges. They must set that header themselves and remove the client's. One that also
    /// forwards clients' addresses is named in `trusted_proxies`, too.
    identity_proxies: Vec<Network> = Vec::new();
    /// Names by which this server is called (`Host`), beside `localhost` and loopback addresses,
    /// without ports. Set, requests that use another one are refused. Empty: any name is good, but
    /// not for requests from this machine where those need no key or token. 100 at most.
    allowed_hosts: Vec<String> = Vec::new();
    /// The header in which they say for whom: `x-forwarded-for` or `forwarded` (RFC 7239). The
    /// other one is not read.
    proxy_header: ProxyHeader = ProxyHeader::XForwardedFor;

    /// How strict the limit and bot rules are: `standard`, or `strict`, which enforces all.
    profile: Profile = Profile::Standard;
    /// All limit and bot rules at once: `enforce`, `observe` (count and log, let pass), `off`, or
    /// `each`, by its own mode.
    limits: AllRules = AllRules::Each;
    /// Changes of the shipped limit rules by `name`, and rules of their own: `scope`, `routes`,
    /// `quota` and `window_seconds` or `per_second` and `burst`, `mode`, `when_redis_is_away`.
    limit_rules: Vec<RuleChange> = Vec::new();
    /// Regular expressions of the user agents that are programs, case aside.
    bot_user_agents: Vec<String> = bot_user_agents();
    /// Headers that every honest client sends; who lacks one is a program.
    bot_required_headers: Vec<String> = vec!["user-agent".to_owned(), "accept".to_owned()];
    /// What happens to programs: `enforce` refuses them, `observe` counts them, `off` looks away.
    /// Callers on this machine are observed, with `auth = "trusted"`.
    bot_mode: Mode = Mode::Enforce;

    /// Bytes of a request's body; more is answered 413.
    http_body_bytes_max: usize = 64 * 1024;
    /// Bytes of the body of an admin's request (layouts are long); more is answered 413.
    http_admin_body_bytes_max: usize = 8 * 1024 * 1024;
    /// How long a request's body may take to arrive, milliseconds; then 408.
    http_body_timeout_ms: u64 = 5_000;
    /// How long a request's head may take to arrive, from its first byte, milliseconds; then 408.
    http_header_timeout_ms: u64 = 5_000;
    /// How long an idle connection is kept, seconds.
    http_keep_alive_seconds: u64 = 30;
    /// Open connections of one HTTP thread; more wait to be accepted.
    http_connections_max: usize = 25_000;
    /// Open connections of one address in one process (of a /64, with IPv6); more are told so and
    /// closed. Not of configured proxies, nor of this machine with `auth = "trusted"`.
    http_connections_per_address_max: usize = 1_000;
    /// How long a client may take no byte of what was sent to it before its connection is closed,
    /// milliseconds.
    http_stall_timeout_ms: u64 = 30_000;
    /// The least throughput of a client for which a response waits, bytes a second, once it has waited
    /// for `http_stall_timeout_ms`; slower ones are cut off. WebSockets and event streams, too.
    http_response_bytes_per_second_min: u64 = 1_024;
    /// How long one response may wait for its client in all, milliseconds; then it is cut off. The
    /// server's own time does not count.
    http_response_wait_ms: u64 = 300_000;
    /// Bytes of answers that one process keeps in memory: seat maps that are kept rendered, and all
    /// that is being sent. Beyond it the slowest readers are cut off; if that is not enough, large
    /// answers are refused (503).
    http_response_bytes_max: usize = 256 * 1024 * 1024;
    /// Whether `/docs` and `/openapi.json` are served.
    docs_enabled: bool = true;
    /// Open WebSockets and event streams of one process.
    sockets_max: usize = 20_000;
    /// The same of one address (of a /64, with IPv6). Not of this machine with `auth = "trusted"`,
    /// nor of those on the list of the allowed.
    sockets_per_address_max: usize = 200;
    /// How long changes of seats are gathered, at most, before they are told together, milliseconds.
    push_tick_ms: u64 = 50;
    /// How often open sockets are pinged, and idle event streams sent a comment, milliseconds.
    socket_ping_interval_ms: u64 = 20_000;
    /// How long a WebSocket may send nothing, not even the answer to a ping, before it is closed,
    /// milliseconds.
    socket_idle_timeout_ms: u64 = 60_000;
    /// How often a second an event's seat map and counts are looked up and rendered anew, at the
    /// most; whoever asks in between gets what was rendered for the others.
    seat_map_renders_per_second: u32 = 5;
    /// How long browsers and proxies may keep seat maps and counts (`Cache-Control: max-age`),
    /// seconds; 0: they ask each time.
    seat_map_max_age_seconds: u32 = 5;
    /// What callers who are no admins see of how much is left: `exact` numbers, or `coarse` words
    /// (`AVAILABLE`, `FEW_LEFT`, `SOLD_OUT`). Seat maps show every seat's state either way.
    public_availability: Detail = Detail::Exact;
    /// Sites whose pages may read answers (CORS) and open WebSockets, as `https://tickets.example`; `*` is all,
    /// but not on loopback where callers need no key or token. Empty: none.
    cors_origins: Vec<String> = Vec::new();
    /// Headers that those pages may send, beside those that the API knows; `*` is all. A browser
    /// refuses a whole request for one that is not listed. 100 at most.
    cors_extra_headers: Vec<String> = Vec::new();
    /// HTTP threads; 0 is one per processor.
    http_workers: usize = 0;

    /// `json`, one object a line, or `text`.
    log_format: LogFormat = LogFormat::Json;
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or directives such as
    /// `info,holdfast::api=debug`.
    log_level: String = "info".to_owned();

    /// How long API and worker wait at their start for a Redis and a MongoDB that are not there yet,
    /// seconds; 0: not at all; -1: for ever. What waiting does not mend (a wrong password, a version
    /// that is too old, another number of partitions) ends the start at once.
    start_wait_seconds: i64 = 30;
    /// How long the API still accepts requests after SIGTERM while `/health/ready` already
    /// answers 503, milliseconds.
    shutdown_notice_ms: u64 = 200;
    /// How long requests under way may take to finish after SIGTERM, seconds.
    shutdown_seconds: u64 = 10;
}

/// Programs that say what they are. `Cubot` is a phone.
fn bot_user_agents() -> Vec<String> {
    let patterns = [
        r"(^|[^u])bot\b",
        "crawler",
        "spider",
        "scrapy",
        r"^curl\b",
        r"^wget\b",
        "python-requests",
        r"python-urllib",
        "aiohttp",
        "httpx",
        "go-http-client",
        r"^java/",
        "libwww-perl",
        "headlesschrome",
        "phantomjs",
        "selenium",
        "puppeteer",
        "playwright",
    ];
    patterns.map(str::to_owned).to_vec()
}

impl Config {
    /// What the gates go by, as far as the settings say.
    pub fn base_policy(&self) -> BasePolicy {
        BasePolicy {
            profile: self.profile,
            all_rules: self.limits,
            rules: self.limit_rules.clone(),
            bots: BotRules {
                mode: self.bot_mode,
                mode_on_loopback: Some(Mode::Observe).filter(|_| self.bot_mode != Mode::Off),
                user_agents: self.bot_user_agents.clone(),
                required_headers: self.bot_required_headers.clone(),
            },
        }
    }
}
