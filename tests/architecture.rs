//! The borders between modules: which module may import which, and no import cycle between files
//! other than parent and child. Reads the sources as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use regex::Regex;

/// What each top-level module may import besides itself. `docs/ARCHITECTURE.md` says what they are.
const MAY_IMPORT: [(&str, &[&str]); 24] = [
    ("backoff", &[]),
    ("circuit_breaker", &[]),
    ("copy_on_write", &[]),
    ("faults", &[]),
    ("spelling", &[]),
    ("domain", &[]),
    ("secrets", &["domain"]),
    ("telemetry", &["domain", "secrets"]),
    ("lifecycle", &["backoff", "faults", "telemetry"]),
    ("https", &[]),
    ("otlp", &["backoff", "https", "lifecycle", "telemetry"]),
    ("redis", &["domain", SHARED]),
    ("archive", &["domain", SHARED]),
    ("payments", &["archive", "domain", SHARED]),
    ("config", &["archive", "redis", "domain", SHARED]),
    ("live", &["redis", "domain", SHARED]),
    ("sale", &["live", "payments", "archive", "redis", "domain", SHARED]),
    ("start", &["sale", "live", "payments", "archive", "redis", "domain", "config", SHARED]),
    ("http", &["domain", "config", SHARED]),
    ("gates", &["http", "redis", "domain", "config", SHARED]),
    ("push", &["http", "live", "domain", "config", SHARED]),
    ("api", &["push", "gates", "http", BELOW, SHARED]),
    ("worker", &["http", BELOW, SHARED]),
    ("ctl", &[BELOW, SHARED]),
];
/// Stands for the modules that serve all others, `config` excluded: it validates the addresses of
/// the services, so it lies above them.
const SHARED: &str = "(shared)";
const SHARED_MODULES: [&str; 10] = [
    "backoff",
    "circuit_breaker",
    "copy_on_write",
    "faults",
    "https",
    "lifecycle",
    "otlp",
    "secrets",
    "spelling",
    "telemetry",
];
/// Stands for everything from `start` down.
const BELOW: &str = "(start and below)";
const BELOW_MODULES: [&str; 8] =
    ["start", "config", "sale", "live", "payments", "archive", "redis", "domain"];

/// A source file: its module's path, and the paths that it imports.
#[derive(Debug, Default)]
struct Module {
    /// Paths from the crate's root, such as `redis::keys::Keys`.
    imports: BTreeSet<String>,
    /// What the module calls by another path: name → path from the crate's root.
    reexports: BTreeMap<String, String>,
}

/// The modules of a crate by path; the root is the empty path.
struct Crate(BTreeMap<String, Module>);

impl Crate {
    /// Reads the sources below a folder.
    fn read(folder: &Path) -> Self {
        let mut files = Vec::new();
        collect(folder, folder, &mut files);
        Crate::of(files.iter().map(|(path, source)| (path.as_str(), source.as_str())))
    }

    /// A crate of these files: path below `src`, source.
    fn of<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let files = files.filter(|(path, _)| !is_test(path) && !path.starts_with("bin/"));
        let modules = files.map(|(path, source)| {
            let module = module_of(path);
            let parsed = parse(&module, source);
            (module, parsed)
        });
        Crate(modules.collect())
    }

    /// The module that defines what a path names, following re-exports; `None` if it is outside.
    fn definition(&self, path: &str) -> Option<&str> {
        let mut path = path.to_owned();
        // Re-exports of re-exports are few levels deep.
        for _ in 0..8 {
            let (module, rest) = self.longest_module(&path)?;
            let name = rest.split("::").next().unwrap_or_default();
            match self.0[module].reexports.get(name) {
                Some(target) if !name.is_empty() && *target != path => path = target.clone(),
                _ => return Some(module),
            }
        }
        None
    }

    fn longest_module<'a>(&'a self, path: &str) -> Option<(&'a str, String)> {
        let segments: Vec<&str> = path.split("::").collect();
        (1..=segments.len()).rev().find_map(|n| {
            let (module, _) = self.0.get_key_value(&segments[..n].join("::"))?;
            Some((module.as_str(), segments[n..].join("::")))
        })
    }

    /// Each module with the modules it imports from, itself excluded.
    fn dependencies(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let of = |(name, module): (&'_ String, &'_ Module)| {
            let targets = module.imports.iter().filter_map(|path| self.definition(path));
            targets.filter(|target| target != name).collect()
        };
        self.0.iter().map(|one| (one.0.as_str(), of(one))).collect()
    }

    /// Imports that the table of modules does not allow.
    fn upward_imports(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (module, targets) in self.dependencies() {
            let from = top(module);
            let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == from) else {
                if !module.is_empty() {
                    wrong.push(format!("{module}: {from} is missing in the table of modules"));
                }
                continue;
            };
            let is_allowed = |to: &str| {
                allowed.iter().any(|one| match *one {
                    SHARED => SHARED_MODULES.contains(&to),
                    BELOW => BELOW_MODULES.contains(&to),
                    name => name == to,
                })
            };
            let upward = targets.into_iter().filter(|to| top(to) != from && !is_allowed(top(to)));
            wrong.extend(upward.map(|to| format!("{module} imports {to}")));
        }
        wrong
    }

    /// Groups of files that import each other in a circle; parent and child may.
    fn cycles(&self) -> Vec<Vec<&str>> {
        let mut graph = self.dependencies();
        for (module, targets) in &mut graph {
            targets.retain(|target| !is_ancestor(module, target) && !is_ancestor(target, module));
        }
        let reached: BTreeMap<&str, BTreeSet<&str>> =
            graph.keys().map(|module| (*module, reachable(&graph, module))).collect();
        let mut seen = BTreeSet::new();
        let mut cycles = Vec::new();
        for (module, targets) in &reached {
            if !targets.contains(module) || seen.contains(module) {
                continue;
            }
            let circle: Vec<&str> =
                targets.iter().filter(|other| reached[*other].contains(module)).copied().collect();
            seen.extend(circle.iter().copied());
            cycles.push(circle);
        }
        cycles
    }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("fixtures")
}

/// `a/b.rs` and `a/b/mod.rs` are `a::b`.
fn module_of(path: &str) -> String {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    if path == "lib" { String::new() } else { path.replace('/', "::") }
}

fn top(module: &str) -> &str {
    module.split("::").next().unwrap_or_default()
}

fn is_ancestor(one: &str, other: &str) -> bool {
    one.is_empty() || other.strip_prefix(one).is_some_and(|rest| rest.starts_with("::"))
}

fn reachable<'a>(graph: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = graph[from].iter().copied().collect();
    while let Some(module) = open.pop() {
        if reached.insert(module) {
            open.extend(graph.get(module).into_iter().flatten().copied());
        }
    }
    reached
}

/// The imports of one source, without its comments, literals and inline tests.
fn parse(module: &str, source: &str) -> Module {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let noise = Regex::new(r#"(?s)//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])'"#).unwrap();
    let source = noise.replace_all(source, " ");
    let mut parsed = Module::default();
    let uses = Regex::new(r"(?s)\b(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);").unwrap();
    for found in uses.captures_iter(&source) {
        let is_public = found.get(1).is_some();
        for (path, name) in leaves(&found[2]) {
            let Some(path) = resolve(module, &path) else { continue };
            if is_public {
                parsed.reexports.insert(name, path.clone());
            }
            parsed.imports.insert(path);
        }
    }
    let inline = Regex::new(r"\b(?:crate|super)(?:::[A-Za-z_][A-Za-z0-9_]*)+").unwrap();
    let rest = uses.replace_all(&source, " ");
    parsed
        .imports
        .extend(inline.find_iter(&rest).filter_map(|path| resolve(module, path.as_str())));
    parsed
}

/// The paths of a `use` tree, each with the name that it gives.
fn leaves(tree: &str) -> Vec<(String, String)> {
    let tree = tree.trim();
    if let Some((prefix, group)) = tree.split_once('{') {
        let group = group.trim_end().trim_end_matches('}');
        let inner = split_group(group).into_iter().flat_map(leaves);
        return inner.map(|(path, name)| (format!("{}{path}", prefix.trim()), name)).collect();
    }
    let (path, alias) = match tree.split_once(" as ") {
        Some((path, alias)) => (path.trim(), alias.trim()),
        None => (tree, tree.rsplit("::").next().unwrap_or_default()),
    };
    let path = path.trim_end_matches("::self").trim_end_matches("self");
    if tree.is_empty() { Vec::new() } else { vec![(path.to_owned(), alias.to_owned())] }
}

/// Splits at commas outside of braces.
fn split_group(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_i32, 0, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[start..]);
    parts
}

/// A path from the crate's root; `None` if it may be another crate's.
fn resolve(module: &str, path: &str) -> Option<String> {
    let path = path.trim().trim_end_matches("::");
    if let Some(rest) = path.strip_prefix("crate::") {
        return Some(rest.to_owned());
    }
    let mut base: Vec<&str> = module.split("::").filter(|part| !part.is_empty()).collect();
    let mut rest = path;
    if !rest.starts_with("super") {
        // A child of this module, or another crate: the latter names no module of ours.
        let rest = rest.strip_prefix("self::").unwrap_or(rest);
        base.push(rest);
        return Some(base.join("::"));
    }
    while let Some(after) = rest.strip_prefix("super") {
        base.pop()?;
        rest = after.trim_start_matches("::");
    }
    if !rest.is_empty() {
        base.push(rest);
    }
    Some(base.join("::"))
}

fn sources() -> Crate {
    Crate::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

#[test]
fn modules_import_downwards_only() {
    let upward = sources().upward_imports();
    assert!(upward.is_empty(), "{} upward imports:\n{}", upward.len(), upward.join("\n"));
}

#[test]
fn files_have_no_import_cycles_but_parent_and_child() {
    let sources = sources();
    let cycles = sources.cycles();
    let shown: Vec<String> = cycles.iter().map(|circle| circle.join(", ")).collect();
    assert!(shown.is_empty(), "{} cycles:\n{}", shown.len(), shown.join("\n"));
}

#[test]
fn upward_import_is_found_through_a_reexport() {
    let files = [
        ("lib.rs", "pub mod redis;\npub mod sale;"),
        ("redis/mod.rs", "mod keys;\nuse crate::sale::Hold;"),
        ("redis/keys.rs", "// use crate::api::Nothing;\n"),
        ("sale/mod.rs", "mod hold;\npub use hold::Hold;"),
        ("sale/hold.rs", "use crate::redis::Keys;\npub struct Hold;"),
    ];
    assert_eq!(Crate::of(files.into_iter()).upward_imports(), ["redis imports sale::hold"]);
}

#[test]
fn cycle_is_found_through_a_reexport_and_an_inline_path() {
    let files = [
        ("lib.rs", "pub mod sale;"),
        ("sale/mod.rs", "mod hold;\nmod price;\nmod seat;\npub use hold::Hold;"),
        ("sale/hold.rs", "use super::{price::{self, Price}, Nothing};\npub struct Hold;"),
        ("sale/price.rs", "fn of(seat: &super::seat::Seat) {}"),
        ("sale/seat.rs", "use super::Hold;\n#[cfg(test)]\nmod tests { use crate::sale::Hold; }"),
    ];
    let sources = Crate::of(files.into_iter());
    assert_eq!(sources.cycles(), [["sale::hold", "sale::price", "sale::seat"]]);
}

#[test]
fn parent_and_child_may_import_each_other() {
    let files = [
        ("lib.rs", "pub mod sale;"),
        ("sale/mod.rs", "mod hold;\nuse hold::Hold;\npub struct Sale;"),
        ("sale/hold.rs", "use super::Sale;\npub struct Hold;"),
    ];
    assert!(Crate::of(files.into_iter()).cycles().is_empty());
}
