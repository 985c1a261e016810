//! Validates `log_level`.
//!
//! The filter accepts any word as a module name, so a misspelt level would silently log everything of
//! a module that does not exist.

use crate::spelling::nearest;

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
/// Declares this crate's modules.
const MAP: &str = include_str!("../lib.rs");
/// This crate and its programs.
const OWN: [&str; 4] = ["holdfast", "holdfast_api", "holdfast_worker", "holdfastctl"];

/// Checks a level or a list of directives.
///
/// # Errors
/// Names the invalid part, and what may be meant.
pub fn check(text: &str) -> Result<(), String> {
    if text.contains("://") {
        return Err("that is a URL; try info or debug".to_owned());
    }
    let filter = tracing_subscriber::EnvFilter::try_new(text);
    filter.map_err(|error| format!("{error}; try info or info,holdfast::api=debug"))?;
    // A span's fields may contain commas; the filter has parsed those.
    if text.contains('[') {
        return Ok(());
    }
    let mut directives = text.split(',');
    directives.try_for_each(|directive| match directive.rsplit_once('=') {
        Some((target, level)) => check_level(level).and_then(|()| check_target(target)),
        None => check_level(directive),
    })
}

fn check_level(word: &str) -> Result<(), String> {
    let lower = word.to_ascii_lowercase();
    if LEVELS.contains(&lower.as_str()) || matches!(word, "0" | "1" | "2" | "3" | "4" | "5") {
        return Ok(());
    }
    let hint = match nearest(&lower, LEVELS) {
        Some(level) => format!("did you mean {level}?"),
        None => "levels are error, warn, info, debug, trace and off; a module's is written \
            holdfast::api=debug"
            .to_owned(),
    };
    Err(format!("{word:?} is no level; {hint}"))
}

fn check_target(target: &str) -> Result<(), String> {
    let mut parts = target.split("::");
    let root = parts.next().unwrap_or_default();
    if !OWN.contains(&root) {
        return match nearest(root, OWN) {
            Some(own) => Err(format!("{root:?} is no crate; did you mean {own}?")),
            None => Ok(()),
        };
    }
    match parts.next() {
        Some(module) if root == "holdfast" && !modules().any(|known| known == module) => {
            let near = nearest(module, modules());
            let near = near.map(|near| format!("; did you mean holdfast::{near}?"));
            Err(format!("holdfast has no module {module:?}{}", near.unwrap_or_default()))
        }
        _ => Ok(()),
    }
}

fn modules() -> impl Iterator<Item = &'static str> {
    MAP.lines().filter_map(|line| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line.strip_prefix("mod ")?.strip_suffix(';')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_pass() {
        for text in [
            "info",
            "WARN",
            "off",
            "info,holdfast::api=debug",
            "warn,holdfast=trace,fred=debug,actix_server::worker=info",
            "holdfast_api=debug",
        ] {
            check(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        }
    }

    #[test]
    fn misspelt_level_or_module_is_refused_with_a_hint() {
        for (text, expected) in [
            ("loud", "\"loud\" is no level; levels are error"),
            ("debgu", "did you mean debug?"),
            ("", "no level"),
            ("info,", "no level"),
            ("holdfast", "is no level"),
            ("info,holdfast::api", "is no level"),
            ("holdfast=loud", "try info"),
            ("holdfsat=debug", "did you mean holdfast?"),
            ("holdfast::aip=debug", "did you mean holdfast::api?"),
        ] {
            let fault = check(text).unwrap_err();
            assert!(fault.contains(expected), "{text}: {fault}");
        }
    }

    #[test]
    fn modules_are_read_from_the_crate_root() {
        let found: Vec<&str> = modules().collect();
        assert!(found.contains(&"api") && found.contains(&"worker"), "{found:?}");
    }
}
