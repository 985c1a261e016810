//! `docker-compose.yml`: its variables are settings, nothing is reachable that need not be, and Redis and
//! MongoDB are fit for a sale. `make deploy-check` has docker compose itself read it.

use std::collections::{BTreeMap, BTreeSet};

use holdfast::config::Config;
use serde_yaml_ng::Value;

use super::{file, is_health_check, is_pinned, programs, root};

const API: [&str; 2] = ["api-1", "api-2"];
const WORKERS: [&str; 2] = ["worker-1", "worker-2"];

/// What an operator has set.
type Variables = BTreeMap<String, String>;

/// The variables of `deploy/new_secrets.py`, and further ones.
fn operator(further: &[(&str, &str)]) -> Variables {
    let secrets = [
        ("MONGODB_ROOT_PASSWORD", "r00t"),
        ("MONGODB_PASSWORD", "m0ng0"),
        ("REDIS_API_PASSWORD", "ap1"),
        ("REDIS_WORKER_PASSWORD", "w0rker"),
        ("REDIS_CTL_PASSWORD", "ct1"),
        ("GRAFANA_PASSWORD", "gr4fana"),
        ("ADMIN_KEY_SHA256", &"ab".repeat(32)),
        ("TOKEN_SECRETS", &format!("k1:{}", "cd".repeat(32))),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let further = further.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    secrets.into_iter().chain(further).collect()
}

/// Puts variables in, as compose does: `${NAME:?message}` must be set, `${NAME:-default}` and
/// `${NAME-default}` need not; `$$` is a dollar.
fn interpolated(text: &str, variables: &Variables) -> String {
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        done.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            done.push('$');
            rest = after;
            continue;
        }
        let (inner, after) = after.strip_prefix('{').unwrap().split_once('}').unwrap();
        let end = inner.find([':', '-']).expect("a variable with a default or a message");
        let (name, kind) = inner.split_at(end);
        let given = variables.get(name).map(String::as_str);
        done.push_str(match (given, kind) {
            (Some(value), kind) if !value.is_empty() || kind.starts_with('-') => value,
            (None, kind) if kind.starts_with('-') => &kind[1..],
            (_, kind) if kind.starts_with(":-") => &kind[2..],
            _ => panic!("{inner} is not set"),
        });
        rest = after;
    }
    done + rest
}

/// The names of the variables in a text.
fn variables_of(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let starts = lines.flat_map(|line| line.match_indices("${").map(|(at, _)| &line[at + 2..]));
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    starts.map(|text| text.chars().take_while(|c| is_name(*c)).collect()).collect()
}

fn compose() -> Value {
    let mut compose: Value = serde_yaml_ng::from_str(&file("docker-compose.yml")).unwrap();
    // Merged mappings may merge others.
    for _ in 0..4 {
        compose.apply_merge().unwrap();
    }
    compose
}

fn names(map: &Value) -> BTreeSet<String> {
    let map = map.as_mapping().expect("a mapping");
    map.keys().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn words(list: &Value) -> Vec<String> {
    let list = list.as_sequence().expect("a list");
    list.iter().map(|word| word.as_str().expect("a text").to_owned()).collect()
}

fn environment(service: &Value, variables: &Variables) -> Vec<(String, String)> {
    let map = service["environment"].as_mapping().expect("variables as a mapping");
    let text = |value: &Value| interpolated(value.as_str().expect("a text"), variables);
    map.iter().map(|(name, value)| (name.as_str().unwrap().to_owned(), text(value))).collect()
}

/// The settings of a service, as the program reads them.
fn settings(compose: &Value, name: &str, variables: &Variables) -> Result<Config, String> {
    let settings = environment(&compose["services"][name], variables);
    let foreign = settings.iter().find(|(name, _)| !name.starts_with("HOLDFAST_"));
    assert_eq!(foreign, None, "{name}");
    Config::load(None, settings).map_err(|error| error.0)
}

#[test]
fn every_variable_is_documented() {
    let documented = file("docs/OPERATIONS.md");
    let variables = variables_of(&file("docker-compose.yml"));
    assert!(variables.len() > 20, "{variables:?}");
    for name in &variables {
        assert!(documented.contains(&format!("`{name}`")), "docs/OPERATIONS.md: {name}");
    }
    // What the tool makes is what is asked for without a default.
    for name in operator(&[]).keys() {
        assert!(variables.contains(name) && file("deploy/new_secrets.py").contains(name), "{name}");
    }
}

#[test]
fn programs_take_the_settings() {
    let compose = compose();
    let variables = operator(&[]);
    for name in API {
        let config = settings(&compose, name, &variables).unwrap();
        assert_eq!(config.redis_url.expose(), "redis://holdfast-api:ap1@redis:6379");
        assert_eq!(config.admin_keys_sha256.len(), 1);
        assert!(config.token_keys("").unwrap().is_some());
        // nginx alone reaches it, and is the proxy that it trusts.
        assert!(config.listen.ip().is_loopback());
        assert_eq!(config.trusted_proxies.len(), 1);
        assert!(config.trusted_proxies[0].contains(config.listen.ip()));
        assert!(config.metrics_listen.ip().is_unspecified());
        assert!(!config.trusts_this_machine());
    }
    for name in WORKERS {
        let config = settings(&compose, name, &variables).unwrap();
        assert_eq!(config.redis_url.expose(), "redis://holdfast-worker:w0rker@redis:6379");
        assert_eq!(config.worker_consumer, name);
        assert!(config.worker_listen.ip().is_unspecified());
    }
    let ctl = settings(&compose, "ctl", &variables).unwrap();
    assert_eq!(ctl.redis_url.expose(), "redis://holdfast-ctl:ct1@redis:6379");
    for name in API.into_iter().chain(WORKERS) {
        let config = settings(&compose, name, &variables).unwrap();
        let mongodb = "mongodb://holdfast:m0ng0@mongodb:27017/?replicaSet=rs0&authSource=holdfast";
        assert_eq!(config.mongodb_url.expose(), mongodb);
        let grace = compose["services"][name]["stop_grace_period"].as_str().unwrap();
        let grace: u64 = grace.trim_end_matches('s').parse().unwrap();
        assert!(grace * 1_000 > config.shutdown_notice_ms + config.shutdown_seconds * 1_000);
    }
}

#[test]
fn stripe_and_gateways_are_set_by_variables_alone() {
    let compose = compose();
    let stripe = operator(&[
        ("PAYMENT_PROVIDER", "stripe"),
        ("STRIPE_SECRET_KEY", "sk_test_1"),
        ("PAYMENT_WEBHOOK_SECRET", "whsec_0123456789abcdef0123456789abcdef"),
        ("CURRENCY", "USD"),
    ]);
    for name in API.into_iter().chain(WORKERS) {
        let config = settings(&compose, name, &stripe).unwrap();
        assert_eq!(config.stripe_secret_key.expose(), "sk_test_1");
        assert_eq!(config.currency, "USD");
        assert!(!config.payment_webhook_secret.is_empty());
    }
    let gateways = operator(&[
        ("AUTH", "trusted"),
        ("IDENTITY_PROXIES", "127.0.0.1"),
        ("JWT_KEY_FILES", ""),
        ("JWT_AUDIENCE", ""),
        ("ALLOWED_HOSTS", "tickets.example,localhost"),
    ]);
    let config = settings(&compose, "api-1", &gateways).unwrap();
    assert_eq!((config.identity_proxies.len(), config.allowed_hosts.len()), (1, 2));
    // Half of it is refused, and says what is missing.
    let half = operator(&[("AUTH", "trusted"), ("JWT_KEY_FILES", ""), ("JWT_AUDIENCE", "")]);
    assert!(settings(&compose, "api-1", &half).unwrap_err().contains("identity_proxies"));
}

#[test]
fn each_process_has_a_port_and_a_name_of_its_own() {
    let compose = compose();
    let variables = operator(&[]);
    let mut ports = BTreeSet::new();
    for name in API {
        let config = settings(&compose, name, &variables).unwrap();
        // All are in one network namespace.
        assert!(ports.insert(config.listen.port()) && ports.insert(config.metrics_listen.port()));
        let upstream = format!("server {} ", config.listen);
        assert!(file("deploy/nginx/nginx.conf").contains(&upstream), "{upstream}");
        let target = format!("gateway:{}", config.metrics_listen.port());
        assert!(file("deploy/prometheus/compose.yml").contains(&target), "{target}");
    }
    for name in WORKERS {
        assert!(file("deploy/prometheus/compose.yml").contains(&format!("{name}:8001")));
    }
    let published = words(&compose["services"]["gateway"]["ports"]);
    let inside = published[0].rsplit(':').next().unwrap();
    assert!(file("deploy/nginx/nginx.conf").contains(&format!("listen {inside} ")));
}

#[test]
fn every_service_is_bounded_and_has_few_rights() {
    let compose = compose();
    for name in names(&compose["services"]) {
        let service = &compose["services"][name.as_str()];
        let image = service["image"].as_str().unwrap();
        let is_ours = image == "holdfast:local";
        assert!(is_ours || is_pinned(image), "{name}: {image} is not pinned");
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(words(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(words(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert!(service["mem_limit"].is_string(), "{name} has no memory limit");
        assert!(service["pids_limit"].is_number(), "{name} has no limit of processes");
        assert!(service["logging"]["options"]["max-size"].is_string(), "{name}: logs grow");
        // Images that run as root unless told otherwise.
        let runs_as_root = ["redis:", "mongo:", "nginx:"].iter().any(|own| image.starts_with(own));
        assert!(!runs_as_root || service["user"].is_string(), "{name} runs as root");
        if is_ours && name != "ctl" {
            assert!(programs().contains(&words(&service["command"])[0]), "{name}");
            let health = words(&service["healthcheck"]["test"]);
            assert!(health[0] == "CMD" && is_health_check(&health[1..]), "{name}: {health:?}");
        }
    }
    assert_eq!(compose["services"]["api-1"]["build"]["dockerfile"], "deploy/Dockerfile");
}

#[test]
fn references_lead_somewhere() {
    let compose = compose();
    let services = names(&compose["services"]);
    let variables = operator(&[]);
    for name in &services {
        let service = &compose["services"][name.as_str()];
        let networks = service.get("networks").map(words).unwrap_or_default();
        for network in networks {
            assert!(names(&compose["networks"]).contains(&network), "{name}: {network}");
        }
        for volume in service.get("volumes").map(words).unwrap_or_default() {
            let volume = interpolated(&volume, &variables);
            let source = volume.split_once(':').unwrap().0;
            let is_there = match source.strip_prefix("./") {
                // Made by deploy/new_secrets.py, and by nobody else.
                Some("secrets/keys") => file(".gitignore").contains("/secrets/"),
                Some(path) => root().join(path).exists(),
                None => names(&compose["volumes"]).contains(source),
            };
            assert!(is_there, "{name}: {source}");
        }
        let depends_on = service.get("depends_on").and_then(Value::as_mapping);
        for (other, how) in depends_on.into_iter().flatten() {
            let other = &compose["services"][other];
            match how["condition"].as_str().unwrap() {
                "service_healthy" => assert!(other.get("healthcheck").is_some(), "{name}"),
                "service_completed_successfully" => assert_eq!(other["restart"], "no", "{name}"),
                "service_started" => assert_eq!(how["restart"], true, "{name}"),
                condition => panic!("{name}: {condition}"),
            }
        }
    }
}

#[test]
fn only_nginx_and_monitoring_are_published_and_only_on_loopback() {
    let compose = compose();
    let services = names(&compose["services"]);
    let variables = operator(&[]);
    let published: Vec<&String> = services
        .iter()
        .filter(|name| compose["services"][name.as_str()].get("ports").is_some())
        .collect();
    assert_eq!(published, ["gateway", "grafana", "prometheus"]);
    for name in published {
        for port in words(&compose["services"][name.as_str()]["ports"]) {
            assert!(interpolated(&port, &variables).starts_with("127.0.0.1:"), "{name}: {port}");
        }
    }
    // The address of a proxy that is trusted must not depend on the network.
    assert!(!file("docker-compose.yml").contains("subnet:"));
    for name in API {
        assert_eq!(compose["services"][name]["network_mode"], "service:gateway");
    }
    assert_eq!(compose["networks"]["storage"]["internal"], true);
    assert!(compose["networks"]["outside"].get("internal").is_none());
    for name in ["redis", "mongodb", "mongodb-init"] {
        assert_eq!(words(&compose["services"][name]["networks"]), ["storage"], "{name}");
    }
    // They talk to the payment provider.
    for name in WORKERS.into_iter().chain(["gateway", "ctl"]) {
        assert!(words(&compose["services"][name]["networks"]).contains(&"outside".to_owned()));
    }
}

#[test]
fn redis_and_mongodb_are_fit_for_a_sale() {
    let start = file("deploy/redis/start.sh");
    let script: String = start.lines().filter(|line| !line.starts_with('#')).collect();
    for needed in ["--appendonly yes", "--appendfsync everysec", "--maxmemory-policy noeviction"] {
        assert!(script.contains(needed), "{needed}");
    }
    assert!(script.contains("user default off"));
    let compose = compose();
    let mongodb = words(&compose["services"]["mongodb"]["command"]).pop().unwrap();
    assert!(mongodb.contains("--replSet rs0") && mongodb.contains("--keyFile "), "{mongodb}");
    let init = file("deploy/mongodb/init.js");
    assert!(init.contains("_id: 'rs0'") && init.contains("'mongodb:27017'"));
    assert!(init.contains("role: 'readWrite', db: 'holdfast'"));
}
