//! Checks settings and their relations at start. Every message says how to correct the fault.

use crate::domain::limits::HOLD_SECONDS_MAX;
use crate::domain::policy::{LivePolicy, USER_AGENTS_MAX};
use crate::domain::{Chargeable, Policy};

use super::fields::Config;
use super::layers::ConfigError;
use super::values::PaymentProvider;

/// Longest Redis timeout: responses are sent within a second even while Redis is frozen, so the
/// timeout must leave time for the rest of a response.
const REDIS_TIMEOUT_MS_MAX: u64 = 900;
/// Shortest Redis timeout that works on a busy machine.
const REDIS_TIMEOUT_MS_MIN: u64 = 100;
/// Minimum time that an ended booking is kept: longer than any call can be late, so that a hold that
/// runs twice finds its booking.
const ENDED_KEEP_SECONDS_MIN: u64 = 1;
/// Longest lifetime of a waiting room's token: a rotated key stays in use for so long.
const TOKEN_TTL_SECONDS_MAX: u64 = 30 * 86_400;
/// Most entries per batch: the maximum of one command of the archive.
const BATCH_ENTRIES_MAX: u32 = 1_000;
/// Sequential provider calls of one payment: create, charge.
const PAYMENT_CALLS: u64 = 2;
/// Sequential commands of one archive write: claims, outcomes, documents.
const ARCHIVE_COMMANDS: u64 = 3;

impl Config {
    /// Checks each setting's range and their relations, and lists all faults.
    pub fn check(&self) -> Result<(), ConfigError> {
        let faults = self.faults();
        if faults.is_empty() { Ok(()) } else { Err(ConfigError(faults.join("\n"))) }
    }

    /// All faults; each begins with the setting's name, where it is one setting's.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        self.check_ranges(&mut faults);
        self.check_services(&mut faults);
        self.check_relations(&mut faults);
        self.check_payments(&mut faults);
        self.check_traces(&mut faults);
        self.check_unused(&mut faults);
        self.check_secrets(&mut faults);
        self.check_identity(&mut faults);
        self.check_proxies(&mut faults);
        self.check_hosts(&mut faults);
        self.check_tokens(&mut faults);
        faults.extend(
            self.room_defaults().check().map_err(|why| format!("waiting_room_*: {why}")).err(),
        );
        self.check_origins(&mut faults);
        self.check_policy(&mut faults);
        faults
    }

    fn check_ranges(&self, faults: &mut Vec<String>) {
        let mut range = |name: &str, value: u64, min: u64, max: u64| {
            if !(min..=max).contains(&value) {
                faults.push(format!("{name} = {value}: must be {min} to {max}"));
            }
        };
        range("partitions", self.partitions.into(), 1, 1_024);
        range("redis_clients", self.redis_clients.into(), 1, 64);
        range(
            "redis_timeout_ms",
            self.redis_timeout_ms,
            REDIS_TIMEOUT_MS_MIN,
            REDIS_TIMEOUT_MS_MAX,
        );
        range("redis_wait_replicas", self.redis_wait_replicas.into(), 0, 16);
        range("redis_wait_timeout_ms", self.redis_wait_timeout_ms, 1, REDIS_TIMEOUT_MS_MAX);
        range("redis_in_flight_max", self.redis_in_flight_max.into(), 1, 1_000_000);
        range("mongodb_timeout_ms", self.mongodb_timeout_ms, 100, 60_000);
        range("hold_ttl_seconds", self.hold_ttl_seconds.into(), 1, HOLD_SECONDS_MAX.into());
        range("max_hold_seconds", self.max_hold_seconds.into(), 1, HOLD_SECONDS_MAX.into());
        range("max_seats_per_user", self.max_seats_per_user.into(), 1, 1_000_000);
        range("idempotency_ttl_seconds", self.idempotency_ttl_seconds.into(), 1, 7 * 86_400);
        range("confirm_wait_ms", self.confirm_wait_ms, 0, 30_000);
        range("reconcile_interval_ms", self.reconcile_interval_ms, 10, 600_000);
        range("confirm_attempts_max", self.confirm_attempts_max.into(), 1, 1_000);
        range("payment_timeout_ms", self.payment_timeout_ms, 100, 60_000);
        range("simulated_latency_ms", self.simulated_latency_ms, 0, 60_000);
        range("abort_queue_max", self.abort_queue_max.into(), 1, 1_000_000);
        range("log_entries_max", self.log_entries_max, 1_000, 100_000_000);
        range("live_staleness_ms", self.live_staleness_ms, 100, 10_000);
        range("live_idle_seconds", self.live_idle_seconds, 1, 86_400);
        range("live_seats_max", self.live_seats_max as u64, 0, 1_000_000_000);
        range("ended_keep_seconds", self.ended_keep_seconds, ENDED_KEEP_SECONDS_MIN, 365 * 86_400);
        range(
            "worker_batch_entries",
            self.worker_batch_entries.into(),
            1,
            BATCH_ENTRIES_MAX.into(),
        );
        range("worker_batches_in_flight", self.worker_batches_in_flight.into(), 1, 64);
        range("worker_deliveries_max", self.worker_deliveries_max.into(), 1, 100);
        range("sweep_interval_ms", self.sweep_interval_ms, 10, 60_000);
        range("http_body_bytes_max", self.http_body_bytes_max as u64, 1_024, 16 << 20);
        range("http_admin_body_bytes_max", self.http_admin_body_bytes_max as u64, 1_024, 64 << 20);
        range("http_body_timeout_ms", self.http_body_timeout_ms, 100, 60_000);
        range("http_header_timeout_ms", self.http_header_timeout_ms, 100, 60_000);
        range("http_keep_alive_seconds", self.http_keep_alive_seconds, 1, 3_600);
        range("http_connections_max", self.http_connections_max as u64, 1, 1_000_000);
        range(
            "http_connections_per_address_max",
            self.http_connections_per_address_max as u64,
            1,
            1_000_000,
        );
        range("http_stall_timeout_ms", self.http_stall_timeout_ms, 100, 600_000);
        let least = self.http_response_bytes_per_second_min;
        range("http_response_bytes_per_second_min", least, 1, 1 << 30);
        range("http_response_wait_ms", self.http_response_wait_ms, 1_000, 86_400_000);
        let bytes_max = self.http_response_bytes_max as u64;
        range("http_response_bytes_max", bytes_max, 32 << 20, 1 << 40);
        let failures = self.admin_key_failures_per_minute;
        range("admin_key_failures_per_minute", failures.into(), 1, 100_000);
        range("sockets_max", self.sockets_max as u64, 0, 1_000_000);
        range("sockets_per_address_max", self.sockets_per_address_max as u64, 1, 1_000_000);
        range("push_tick_ms", self.push_tick_ms, 1, 10_000);
        range("socket_ping_interval_ms", self.socket_ping_interval_ms, 10, 600_000);
        range("socket_idle_timeout_ms", self.socket_idle_timeout_ms, 20, 3_600_000);
        range("seat_map_renders_per_second", self.seat_map_renders_per_second.into(), 1, 100);
        range("seat_map_max_age_seconds", self.seat_map_max_age_seconds.into(), 0, 3_600);
        range("http_workers", self.http_workers as u64, 0, 1_024);
        range("jwt_leeway_seconds", self.jwt_leeway_seconds, 0, 600);
        range(
            "waiting_room_token_ttl_seconds",
            self.waiting_room_token_ttl_seconds.into(),
            1,
            TOKEN_TTL_SECONDS_MAX,
        );
        range("shutdown_notice_ms", self.shutdown_notice_ms, 0, 60_000);
        range("shutdown_seconds", self.shutdown_seconds, 1, 600);
    }

    fn check_relations(&self, faults: &mut Vec<String>) {
        let redis_ms = self.redis_timeout_ms.saturating_add(self.redis_wait_timeout_ms);
        if self.redis_wait_replicas > 0 && redis_ms > REDIS_TIMEOUT_MS_MAX {
            faults.push(format!(
                "redis_timeout_ms and redis_wait_timeout_ms are {redis_ms} together, but a caller is \
                 answered within a second: make them {REDIS_TIMEOUT_MS_MAX} at most"
            ));
        }
        let listeners = [
            ("listen", self.listen),
            ("worker_listen", self.worker_listen),
            ("metrics_listen", self.metrics_listen),
        ];
        for (index, (name, address)) in listeners.into_iter().enumerate() {
            let mut others = listeners[..index].iter();
            let same = others.find(|other| other.1 == address && address.port() != 0);
            if let Some((other, _)) = same {
                faults
                    .push(format!("{other} and {name} are both {address}: give one another port"));
            }
        }
        if self.socket_idle_timeout_ms <= self.socket_ping_interval_ms {
            faults.push(format!(
                "socket_idle_timeout_ms = {} closes sockets before they are pinged: it must be above \
                 socket_ping_interval_ms = {}",
                self.socket_idle_timeout_ms, self.socket_ping_interval_ms
            ));
        }
        if self.max_hold_seconds < self.hold_ttl_seconds {
            faults.push(format!(
                "max_hold_seconds = {} is below hold_ttl_seconds = {}: raise the one or lower \
                 the other",
                self.max_hold_seconds, self.hold_ttl_seconds
            ));
        }
        if self.idempotency_ttl_seconds < self.max_hold_seconds {
            faults.push(format!(
                "idempotency_ttl_seconds = {} can end before a hold does: it must be at least \
                 max_hold_seconds = {}",
                self.idempotency_ttl_seconds, self.max_hold_seconds
            ));
        }
        // Saturating: values out of range are listed, too, and must not cause a panic here.
        let payment_ms = self
            .confirm_wait_ms
            .saturating_add(self.redis_timeout_ms.saturating_mul(2))
            .saturating_add(self.mongodb_timeout_ms.saturating_mul(2))
            .saturating_add(self.payment_timeout_ms.saturating_mul(PAYMENT_CALLS));
        if self.confirm_lease_ms <= payment_ms {
            faults.push(format!(
                "confirm_lease_ms = {} can end while a payment is under way: it must be above \
                 {payment_ms} (confirm_wait_ms + 2 redis_timeout_ms + 2 mongodb_timeout_ms + \
                 {PAYMENT_CALLS} payment_timeout_ms)",
                self.confirm_lease_ms
            ));
        }
        let write_ms = self.mongodb_timeout_ms.saturating_mul(ARCHIVE_COMMANDS);
        let write_ms = write_ms.saturating_add(self.redis_timeout_ms);
        if self.worker_reclaim_idle_ms <= write_ms {
            faults.push(format!(
                "worker_reclaim_idle_ms = {} can end while a batch is being written: it must be \
                 above {write_ms} ({ARCHIVE_COMMANDS} mongodb_timeout_ms + redis_timeout_ms)",
                self.worker_reclaim_idle_ms
            ));
        }
    }

    fn check_policy(&self, faults: &mut Vec<String>) {
        let base = self.base_policy();
        if let Err(error) = Policy::new(&base, &LivePolicy::default()) {
            faults.push(format!("limit_rules: {error}"));
        }
        if base.bots.user_agents.len() > USER_AGENTS_MAX {
            faults.push(format!("bot_user_agents: {USER_AGENTS_MAX} patterns at most"));
        }
        let patterns = base.bots.user_agents.iter();
        let wrong = patterns.filter_map(|pattern| {
            regex::bytes::RegexBuilder::new(pattern).unicode(false).build().err()
        });
        faults.extend(
            wrong.map(|error| format!("bot_user_agents: {}", error.to_string().replace('\n', " "))),
        );
        let names = base.bots.required_headers.iter();
        let wrong = names.filter(|name| name.parse::<hyper::header::HeaderName>().is_err());
        faults.extend(wrong.map(|name| format!("bot_required_headers: {name:?} is no header")));
    }

    /// The currencies and amounts that the payment provider charges.
    pub fn chargeable(&self) -> Chargeable {
        match self.payment_provider {
            PaymentProvider::Simulated => Chargeable::Everything,
            PaymentProvider::Stripe => Chargeable::ByStripe,
        }
    }

    fn check_payments(&self, faults: &mut Vec<String>) {
        if let Err(why) = self.chargeable().currency(&self.currency) {
            faults.push(format!("currency = {:?}: {why}", self.currency));
        }
        let key_is_missing =
            self.payment_provider == PaymentProvider::Stripe && self.stripe_secret_key.is_empty();
        if key_is_missing {
            faults.push(
                "payment_provider = \"stripe\" needs stripe_secret_key: set \
                 HOLDFAST_STRIPE_SECRET_KEY"
                    .to_owned(),
            );
        }
        self.check_stripe_url(faults);
        if self.simulated_latency_ms >= self.payment_timeout_ms {
            faults.push(format!(
                "simulated_latency_ms = {} leaves no call an answer: it must be below \
                 payment_timeout_ms = {}",
                self.simulated_latency_ms, self.payment_timeout_ms
            ));
        }
        let shares = [
            self.simulated_decline_percent,
            self.simulated_timeout_percent,
            self.simulated_error_percent,
        ];
        let percent: u64 = shares.into_iter().map(u64::from).sum();
        if percent > 100 {
            faults.push(format!(
                "simulated_decline_percent, simulated_timeout_percent and \
                 simulated_error_percent are {percent} together: lower them to 100 at most"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound() {
        Config::default().check().unwrap();
    }

    #[test]
    fn contradictions_are_refused_in_one_line_each() {
        type Break = fn(&mut Config);
        let cases: [(Break, &str); 26] = [
            (|c| c.seat_map_renders_per_second = 0, "must be 1 to 100"),
            (|c| c.socket_idle_timeout_ms = 20_000, "before they are pinged"),
            (|c| c.jwt_leeway_seconds = 601, "jwt_leeway_seconds"),
            (|c| c.waiting_room_token_ttl_seconds = 0, "waiting_room_token_ttl_seconds"),
            (|c| c.worker_listen = c.listen, "listen and worker_listen are both 127.0.0.1:8000"),
            (|c| c.metrics_listen = c.listen, "listen and metrics_listen are both 127.0.0.1:8000"),
            (|c| c.metrics_listen = c.worker_listen, "worker_listen and metrics_listen are both"),
            (|c| c.max_hold_seconds = 10, "below hold_ttl_seconds"),
            (|c| c.idempotency_ttl_seconds = 899, "can end before a hold does"),
            (|c| c.confirm_lease_ms = 5_000, "confirm_lease_ms = 5000 can end"),
            (|c| c.worker_reclaim_idle_ms = 5_000, "worker_reclaim_idle_ms = 5000 can end"),
            (
                |c| (c.redis_wait_replicas, c.redis_timeout_ms) = (1, 900),
                "redis_timeout_ms and redis_wait_timeout_ms are 1000 together",
            ),
            (|c| c.redis_namespace = "a{b}".into(), "redis_namespace"),
            (|c| c.redis_url = "http://h".into(), "redis_url = \"http://h\": it must begin"),
            (|c| c.payment_timeout_ms = 25_000, "2 payment_timeout_ms)"),
            (|c| c.payment_provider = PaymentProvider::Stripe, "HOLDFAST_STRIPE_SECRET_KEY"),
            (|c| c.stripe_url = "http://stripe.example".into(), "must begin with https://"),
            (|c| c.stripe_url = "https:".into(), "has no scheme"),
            (|c| c.simulated_latency_ms = 5_000, "below payment_timeout_ms = 5000"),
            (|c| c.simulated_decline_percent = 101, "101 together"),
            (|c| c.log_level = "holdfast=loud".into(), "log_level"),
            (|c| c.currency = "ZZZ".into(), "currency = \"ZZZ\": \"ZZZ\" is not a currency"),
            (|c| c.currency = "eur".into(), "is not a currency code of ISO 4217"),
            (
                |c| {
                    c.currency = "IQD".into();
                    c.payment_provider = PaymentProvider::Stripe;
                    c.stripe_secret_key = "sk".into();
                },
                "currency = \"IQD\": Stripe does not charge IQD",
            ),
            (|c| c.start_wait_seconds = -2, "start_wait_seconds"),
            (|c| c.start_wait_seconds = 86_401, "start_wait_seconds"),
        ];
        for (break_it, expected) in cases {
            let mut config = Config::default();
            break_it(&mut config);
            let message = config.check().unwrap_err().0;
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains('\n'), "one fault, one line: {message}");
        }
    }

    #[test]
    fn all_faults_are_listed() {
        let config = Config { partitions: 0, redis_timeout_ms: 5_000, ..Config::default() };
        assert_eq!(config.check().unwrap_err().0.lines().count(), 2);
    }
}
