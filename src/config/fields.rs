//! All settings: name, type, default and documentation. This table generates the struct, the
//! defaults, the list of known names, the text of `--print-config` and what a reload applies, so they
//! cannot disagree. A setting that ends with `, reload` changes at run time (SIGHUP, `holdfastctl
//! reload`); all others need a restart.

use std::net::SocketAddr;

use serde::Deserialize;

use super::table::{Field, is_reloadable, settings};
use super::values::{
    AdminKey, Auth, Detail, FilePath, JwtAlgorithm, LogFormat, Network, OnRisk, PaymentProvider,
    ProxyHeader, Secret, ServiceUrl, bot_user_agents,
};
use crate::domain::policy::{AllRules, Profile};
use crate::domain::{Mode, RuleChange};
use crate::faults::FaultPoint;

settings! {
    /// Address and port of the API. Beyond loopback an admin key and `token_secrets` are required,
    /// and either tokens (`auth = "jwt"`) or `identity_proxies`.
    listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8000));
    /// Address and port of the worker's `/metrics` and `/health`.
    worker_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8001));
    /// Address and port of the API's `/metrics` and `/health`, for monitoring. They need no key: let
    /// nobody else reach it.
    metrics_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8002));
    /// Whether the API serves `/metrics` on `listen`, too, for everybody who reaches it.
    metrics_public: bool = false;

    /// Redis 7.0 or newer, or Valkey: `redis://`, with TLS `rediss://`; `redis-cluster://`,
    /// `rediss-cluster://`; `redis-sentinel://`, `rediss-sentinel://`; `redis+unix://`; or the same
    /// with `valkey`. Further nodes: `?node=host:port`. Sentinels: `sentinelServiceName`,
    /// `sentinelUsername`, `sentinelPassword`.
    redis_url: ServiceUrl = "redis://127.0.0.1:6379".into();
    /// CA certificates (PEM) to verify Redis' certificates with. Empty: the public CAs. These four
    /// settings need a scheme with TLS.
    redis_tls_ca_file: FilePath = FilePath::default(), reload;
    /// Client certificate (PEM), if Redis requires one, with its private key in
    /// `redis_tls_key_file`.
    redis_tls_cert_file: FilePath = FilePath::default(), reload;
    /// Private key (PEM) of `redis_tls_cert_file`, without a passphrase.
    redis_tls_key_file: FilePath = FilePath::default(), reload;
    /// Name in the certificates of all Redis servers and Sentinels. Empty: the host of the
    /// connection.
    redis_tls_server_name: String = String::new();
    /// First segment of every Redis key: letters, digits, `_` and `-`.
    redis_namespace: String = "hf1".to_owned();
    /// Redis connections per process for commands, besides one of each HTTP thread (log readers have
    /// their own).
    redis_clients: u32 = 2;
    /// Timeout of one Redis call, milliseconds, 100 to 900. A call that has not begun by then is
    /// never run.
    redis_timeout_ms: u64 = 500;
    /// Concurrent calls per process to one Redis (each node of a Cluster is one). More are refused
    /// with 503 at once, and not sent. Requests are refused sooner when replies begin to take more than
    /// a fifth of `redis_timeout_ms`.
    redis_in_flight_max: u32 = 2_000;
    /// Number of Redis replicas to wait for before a change of a booking is answered (reported as
    /// `durability`); 0: none. A missing replica is no failure.
    redis_wait_replicas: u32 = 0;
    /// How long to wait for replicas, milliseconds; with `redis_timeout_ms` at most 900.
    redis_wait_timeout_ms: u64 = 100;
    /// What to do if Redis does not persist to disk: `warn`, `refuse` or `ignore`.
    redis_persistence: OnRisk = OnRisk::Warn;
    /// What to do if Redis may evict keys (`maxmemory-policy` is not `noeviction`): `warn`,
    /// `refuse` or `ignore`.
    redis_eviction: OnRisk = OnRisk::Warn;

    /// MongoDB, standalone or replica set: `mongodb://` or `mongodb+srv://`. TLS: `tls=true`,
    /// `tlsCAFile`, `tlsCertificateKeyFile`.
    mongodb_url: ServiceUrl = "mongodb://127.0.0.1:27017".into();
    /// Name of the archive's database.
    mongodb_database: String = "holdfast".to_owned();
    /// Timeout of one MongoDB command, milliseconds.
    mongodb_timeout_ms: u64 = 5_000;

    /// Number of partitions. Recorded in MongoDB by the first process; a process with another
    /// number refuses to start.
    partitions: u16 = 16;

    /// How long a hold lasts unless the event says otherwise, seconds.
    hold_ttl_seconds: u32 = 300;
    /// How long a hold can last with extensions unless the event says otherwise, seconds.
    max_hold_seconds: u32 = 900;
    /// Seats one user can hold and own unless the event says otherwise.
    max_seats_per_user: u32 = 10;
    /// ISO 4217 code of prices unless the event says otherwise. The payment provider must charge it.
    currency: String = "EUR".to_owned();
    /// Minimum lifetime of an idempotency record, seconds; not below max_hold_seconds. While its
    /// booking is held, being paid or sold, it lives as long as Redis has that booking.
    idempotency_ttl_seconds: u32 = 86_400;

    /// How long a confirmation waits for the archive before it is answered with 202, milliseconds.
    confirm_wait_ms: u64 = 3_000;
    /// How long a payment in progress excludes other attempts for its booking, milliseconds.
    confirm_lease_ms: u64 = 60_000;
    /// How often unsettled payments are reconciled, milliseconds.
    reconcile_interval_ms: u64 = 1_000;
    /// Maximum number of payment attempts per booking.
    confirm_attempts_max: u32 = 10;
    /// Maximum number of holds with an unknown outcome waiting to be undone, per process; further
    /// ones end by their deadline.
    abort_queue_max: u32 = 10_000;

    /// Payment provider: `stripe`, or `simulated`, which keeps books without moving money.
    payment_provider: PaymentProvider = PaymentProvider::Simulated;
    /// Timeout of one call to the payment provider, milliseconds.
    payment_timeout_ms: u64 = 5_000;
    /// Address of Stripe's API, or of a server with the same API.
    stripe_url: ServiceUrl = "https://api.stripe.com".into();
    /// Stripe's secret API key. Required with `payment_provider = "stripe"`.
    stripe_secret_key: Secret = Secret::default();
    /// Secret of the provider's webhook signatures, 32 bytes or more. Empty: webhooks are off.
    payment_webhook_secret: Secret = Secret::default(), reload;
    /// Minimum duration of each call to the simulated provider, milliseconds.
    simulated_latency_ms: u64 = 0;
    /// Share of simulated charges that are declined, percent.
    simulated_decline_percent: u32 = 0;
    /// Share of simulated charges that succeed without a response, percent.
    simulated_timeout_percent: u32 = 0;
    /// Share of simulated charges that fail before anything is charged, percent.
    simulated_error_percent: u32 = 0;

    /// Maximum length of one partition's booking log; above it new holds get 503 until the archive
    /// has caught up.
    log_entries_max: u64 = 1_000_000;

    /// Maximum age of the newest booking-log entry, milliseconds, for requests that cannot succeed to be
    /// refused from memory; above it they go to Redis. A quiet log gets a few empty entries per
    /// second while it is needed.
    live_staleness_ms: u64 = 1_000;
    /// How long an unused event stays in a process's memory, seconds.
    live_idle_seconds: u64 = 900;
    /// Maximum number of seats in a process's memory, about 40 bytes each; further events are sold
    /// without a live view.
    live_seats_max: usize = 10_000_000;
    /// Minimum time that archived entries stay in the booking log, seconds.
    log_keep_seconds: u64 = 300, reload;
    /// Minimum time that a booking without a sale (expired, cancelled, voided) stays in Redis,
    /// seconds. It leaves Redis once it is archived, too; the archive then serves it.
    ended_keep_seconds: u64 = 86_400;

    /// Name of this worker among the log's readers: stable over restarts, unique among running
    /// workers. Empty: host name and port.
    worker_consumer: String = String::new();
    /// Log entries per batch, 1 to 1,000.
    worker_batch_entries: u32 = 500;
    /// Batches that one worker processes at a time.
    worker_batches_in_flight: u32 = 4;
    /// After how long an unfinished batch of another worker is taken over, milliseconds. Longer
    /// than the longest write to the archive.
    worker_reclaim_idle_ms: u64 = 30_000;
    /// Attempts at an entry before it is parked as a dead letter.
    worker_deliveries_max: u32 = 5;
    /// How often overdue holds are released on quiet events, milliseconds.
    sweep_interval_ms: u64 = 500;
    /// Whether the worker automatically restores what Redis lost: missing events, writes lost by a
    /// failover or a truncated file. If off, a loss is an alarm and `holdfastctl restore` repairs it.
    restore_on_loss: bool = true, reload;
    /// For tests: a step of a sale at which the worker kills or stops itself, as `after_claims:kill`
    /// or `after_outcomes:stop:2` (the second time). Empty: none.
    worker_fault_point: FaultPoint = FaultPoint::default();
    /// For tests: the same for a step of a sale in the API, as `after_charge:kill`.
    api_fault_point: FaultPoint = FaultPoint::default();

    /// How clients are authenticated: `jwt`, by a signed token (`Authorization: Bearer`), or
    /// `trusted`, which accepts the `X-User-Id` of `identity_proxies`, and in direct requests on
    /// this machine `X-User-Id` and `?user_id=`.
    auth: Auth = Auth::Trusted;
    /// Signature algorithm of tokens: `HS256` (a shared secret) or `RS256` (a public key). Others
    /// are refused.
    jwt_algorithm: JwtAlgorithm = JwtAlgorithm::Hs256, reload;
    /// Files with the keys to verify tokens with, one each, 8 at most: secrets of 32 bytes or more,
    /// or RSA public keys in PEM. Several during a key rotation.
    jwt_key_files: Vec<FilePath> = Vec::new(), reload;
    /// Required audience (`aud`) of tokens. Required with `auth = "jwt"`.
    jwt_audience: String = String::new(), reload;
    /// Required issuer (`iss`) of tokens; empty: any with a valid signature.
    jwt_issuer: String = String::new(), reload;
    /// Claims that mark a token as a backend's, whose user agent is not checked, as `name=value`: the
    /// claim equals the value, is a list with it, or has it as a word. `realm_access.roles=shop`
    /// selects a nested claim. Users must not be able to get such a token. 16 at most; empty: none.
    jwt_backend_claims: Vec<String> =
        vec!["scope=holdfast:backend".to_owned(), "roles=holdfast:backend".to_owned()], reload;
    /// Tolerated clock difference for the validity of tokens, seconds.
    jwt_leeway_seconds: u64 = 30, reload;
    /// Admin keys as `name:` and the hex SHA-256 of the key. The name appears in logs and in the
    /// audit log. Without any, admin calls are open to direct requests on this machine.
    admin_keys_sha256: Vec<AdminKey> = Vec::new(), reload;
    /// Wrong admin keys per minute from one address (IPv6: a /64); beyond it all requests with keys
    /// from there are refused (429), whatever the limit rules say. Per process.
    admin_key_failures_per_minute: u32 = 60, reload;
    /// Secrets that sign the waiting room's tokens, as `id:` and 32 bytes or more; the same for every
    /// API process. The first signs, all verify (8 at most): several during a rotation, separated by
    /// commas in a variable. Empty, only on loopback: each process generates its own, and its tokens
    /// end with it.
    token_secrets: Vec<Secret> = Vec::new(), reload;
    /// Lifetime of a waiting room's token, seconds: longer than anybody waits.
    waiting_room_token_ttl_seconds: u32 = 86_400;
    /// Sessions and open places of a waiting room at a time, unless its operator sets otherwise.
    waiting_room_max_concurrent: u32 = 1_000;
    /// How long a waiting room's session lasts unless its operator sets otherwise, seconds.
    waiting_room_session_seconds: u32 = 300;
    /// How long a served place may be claimed unless its operator sets otherwise, seconds. Clients
    /// that are next poll about every second.
    waiting_room_claim_seconds: u32 = 30;
    /// Whether waiting rooms switch on and off automatically unless their operators set otherwise.
    waiting_room_auto: bool = false;
    /// Attempts per second to hold seats of one event, over all processes, at which such a room
    /// switches on once they last three seconds. About half of the sale's capacity (`make bench-sale`).
    waiting_room_surge_per_second: u32 = 1_000;
    /// It switches off once nobody waits and attempts stay below this for a minute.
    waiting_room_calm_per_second: u32 = 250;
    /// Proxies whose `proxy_header` is trusted for the client's address, and for nothing else:
    /// addresses or CIDR ranges.
    trusted_proxies: Vec<Network> = Vec::new(), reload;
    /// Gateways whose `X-User-Id` is trusted, with `auth = "trusted"`: addresses or CIDR ranges. They
    /// must set that header themselves and remove the client's. A gateway that also forwards clients'
    /// addresses is named in `trusted_proxies`, too.
    identity_proxies: Vec<Network> = Vec::new(), reload;
    /// Host names of this server (`Host`), besides `localhost` and loopback addresses, without ports.
    /// If set, requests with another one are refused. Empty: any name is accepted, except for
    /// requests from this machine where those need no key or token. 100 at most.
    allowed_hosts: Vec<String> = Vec::new(), reload;
    /// The header with the client's address: `x-forwarded-for` or `forwarded` (RFC 7239). The other
    /// one is ignored.
    proxy_header: ProxyHeader = ProxyHeader::XForwardedFor, reload;

    /// How strict the limit and bot rules are: `standard`, or `strict`, which enforces all.
    profile: Profile = Profile::Standard, reload;
    /// Mode of all limit and bot rules: `enforce`, `observe` (count and log, let pass), `off`, or
    /// `each`, by its own mode.
    limits: AllRules = AllRules::Each, reload;
    /// Changes of the shipped limit rules by `name`, and further rules: `scope`, `routes`,
    /// `quota` and `window_seconds` or `per_second` and `burst`, `mode`, `when_redis_is_away`.
    limit_rules: Vec<RuleChange> = Vec::new(), reload;
    /// Regular expressions of the user agents of programs, case-insensitive.
    bot_user_agents: Vec<String> = bot_user_agents(), reload;
    /// Headers that every honest client sends; a client without one is treated as a program.
    bot_required_headers: Vec<String> = vec!["user-agent".to_owned(), "accept".to_owned()], reload;
    /// How programs are treated: `enforce` refuses them, `observe` counts them, `off` ignores them.
    /// Callers on this machine are observed, with `auth = "trusted"`.
    bot_mode: Mode = Mode::Enforce, reload;

    /// Maximum length of a request's body, bytes; a longer one is answered with 413.
    http_body_bytes_max: usize = 64 * 1024;
    /// Maximum length of an admin request's body, bytes (layouts are long); else 413.
    http_admin_body_bytes_max: usize = 8 * 1024 * 1024;
    /// How long a request's body may take to arrive, milliseconds; then 408.
    http_body_timeout_ms: u64 = 5_000;
    /// How long a request's head may take to arrive, from its first byte, milliseconds; then 408.
    http_header_timeout_ms: u64 = 5_000;
    /// How long an idle connection is kept, seconds.
    http_keep_alive_seconds: u64 = 30;
    /// Open connections per HTTP thread; further ones wait to be accepted.
    http_connections_max: usize = 25_000;
    /// Open connections per address and process (IPv6: a /64); further ones get a response that says
    /// so and are closed. Not for configured proxies, nor for this machine with `auth = "trusted"`.
    http_connections_per_address_max: usize = 1_000;
    /// How long a client may accept no byte of its response before its connection is closed,
    /// milliseconds.
    http_stall_timeout_ms: u64 = 30_000;
    /// Minimum throughput of a client, bytes per second, once a response has waited for it for
    /// `http_stall_timeout_ms`; slower connections are closed. Also for WebSockets and event streams.
    http_response_bytes_per_second_min: u64 = 1_024;
    /// How long one response may wait for its client in total, milliseconds; then its connection is
    /// closed. The server's own time does not count.
    http_response_wait_ms: u64 = 300_000;
    /// Bytes of responses in one process's memory: cached seat maps, and all that is being sent.
    /// Beyond it the slowest readers are disconnected; if that is not enough, large responses are
    /// refused (503).
    http_response_bytes_max: usize = 256 * 1024 * 1024;
    /// Whether `/docs` and `/openapi.json` are served.
    docs_enabled: bool = true, reload;
    /// Open WebSockets and event streams per process.
    sockets_max: usize = 20_000;
    /// Open WebSockets and event streams per address (IPv6: a /64). Not for this machine with
    /// `auth = "trusted"`, nor for allowed addresses.
    sockets_per_address_max: usize = 200;
    /// How long changes of seats are collected, at most, before they are pushed together,
    /// milliseconds.
    push_tick_ms: u64 = 50;
    /// How often open sockets are pinged, and idle event streams sent a comment, milliseconds.
    socket_ping_interval_ms: u64 = 20_000;
    /// How long a WebSocket may send nothing, not even a pong, before it is closed, milliseconds.
    socket_idle_timeout_ms: u64 = 60_000;
    /// Maximum number of times per second that an event's seat map and counts are read and rendered;
    /// requests in between share a result.
    seat_map_renders_per_second: u32 = 5;
    /// How long browsers and proxies may cache seat maps and counts (`Cache-Control: max-age`),
    /// seconds; 0: not without revalidation.
    seat_map_max_age_seconds: u32 = 5, reload;
    /// Availability shown to clients without an admin key: `exact` numbers, or `coarse` words
    /// (`AVAILABLE`, `FEW_LEFT`, `SOLD_OUT`). Seat maps show every seat's state either way.
    public_availability: Detail = Detail::Exact, reload;
    /// Sites whose pages may read responses (CORS) and open WebSockets, as `https://tickets.example`;
    /// `http://localhost:*` is every port of this machine; `*` is all, but not on loopback where clients
    /// need no key or token. Empty: none.
    cors_origins: Vec<String> = Vec::new(), reload;
    /// Headers that those pages may send, besides those of the API; `*` is all. A browser refuses a
    /// whole request for one that is not listed. 100 at most.
    cors_extra_headers: Vec<String> = Vec::new(), reload;
    /// HTTP threads; 0 is one per processor.
    http_workers: usize = 0;

    /// `json`, one object per line, or `text`.
    log_format: LogFormat = LogFormat::Json;
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or directives such as
    /// `info,holdfast::api=debug`.
    log_level: String = "info".to_owned(), reload;

    /// Where traces go: a collector of OpenTelemetry that takes OTLP over HTTP, such as
    /// `http://127.0.0.1:4318`; `/v1/traces` is appended to an address without a path. A user and
    /// password in it are sent as Basic authentication. Empty: traces are not recorded.
    otlp_url: ServiceUrl = "".into();
    /// Traces recorded, of a million new ones; 0: none at all.
    trace_sample_per_million: u32 = 10_000;
    /// Traces recorded in addition because their caller has set the `sampled` flag of `traceparent`, a
    /// second and process; beyond that the share above applies to them, too.
    trace_caller_per_second: u32 = 10;

    /// How long API and worker wait at start for Redis and MongoDB to become available, seconds; 0:
    /// not at all; -1: for ever. An error that waiting cannot solve (a wrong password, a version
    /// that is too old, another number of partitions) ends the start at once.
    start_wait_seconds: i64 = 30;
    /// How long the API still accepts requests after SIGTERM while `/health/ready` already returns
    /// 503, milliseconds.
    shutdown_notice_ms: u64 = 200;
    /// How long requests in progress may take to finish after SIGTERM, seconds.
    shutdown_seconds: u64 = 10;
}
