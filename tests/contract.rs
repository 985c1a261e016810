//! Scripts and Rust agree: headers, key counts, reply codes, entry fields, pinned digests.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use holdfast::domain::EventId;
use holdfast::domain::booking::RECORD_FIELDS;
use holdfast::domain::entry::{ENTRY_FIELD, ENTRY_HEAD};
use holdfast::redis::Keys;
use holdfast::redis::scripts::{
    ClockSource, EVENT_KEYS, SCRIPTS, Script, Scripts, contracts, header,
};

/// The digests of the scripts as they are sent. A changed script is a visible change here.
const PINNED: &str = include_str!("scripts.sha1");

#[test]
fn digests_are_pinned() {
    let scripts = Scripts::embedded(ClockSource::Redis);
    let now: String =
        SCRIPTS.iter().map(|s| format!("{} {}\n", scripts.get(*s).sha1, s.name())).collect();
    assert_eq!(
        now, PINNED,
        "scripts changed; if that is meant, tests/scripts.sha1 becomes:\n{now}"
    );
}

/// A script as it is sent.
fn text(script: Script) -> &'static str {
    static SENT: LazyLock<Scripts> = LazyLock::new(|| Scripts::embedded(ClockSource::Redis));
    &SENT.get(script).text
}

/// The same without its comments.
fn code(script: Script) -> String {
    text(script)
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn headers_list_the_codes_that_the_script_answers() {
    let all = contracts();
    let codes = all.iter().flat_map(|contract| &contract.replies).map(|(code, _)| *code);
    let known: BTreeSet<&str> = codes.collect();
    for script in SCRIPTS {
        let text = code(*script);
        // A code is a quoted word; everything else in quotes is not in the table.
        let answered: BTreeSet<&str> =
            text.split('\'').skip(1).step_by(2).filter(|word| known.contains(word)).collect();
        let mut declared: Vec<String> =
            header(*script).replies.into_iter().map(|(code, _)| code).collect();
        if text.contains("local generation = nil") {
            // Such a script takes any generation, so `load_event` never answers this.
            declared.push("generation_mismatch".into());
        }
        let declared: BTreeSet<&str> = declared.iter().map(String::as_str).collect();
        assert_eq!(answered, declared, "{}", script.name());
    }
}

/// Keys, arguments and reply fields: the same names in the same order on both sides.
#[test]
fn typed_calls_match_the_headers() {
    let typed: Vec<Script> = contracts().iter().map(|contract| contract.script).collect();
    assert_eq!(typed, SCRIPTS);
    for contract in contracts() {
        let (header, name) = (header(contract.script), contract.script.name());
        assert_eq!(contract.keys, header.keys, "KEYS of {name}");
        assert_eq!(contract.arguments, header.argv, "ARGV of {name}");
        let sorted = |mut replies: Vec<(String, Vec<String>)>| {
            replies.sort();
            replies
        };
        let texts = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let typed = contract.replies.into_iter();
        let typed = typed.map(|(code, fields)| (code.to_owned(), texts(fields))).collect();
        assert_eq!(sorted(typed), sorted(header.replies), "replies of {name}");
    }
}

/// Redis runs these at its memory limit, so each has a bound, and no other script may.
#[test]
fn scripts_that_run_when_memory_is_short_are_listed_with_their_bounds() {
    let readme = std::fs::read_to_string("lua/README.md").unwrap();
    let section = readme.split("## When memory is short").nth(1).expect("the section");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let listed: BTreeSet<&str> = rows
        .flat_map(|row| row.split('|').next().unwrap_or_default().split('`'))
        .filter(|word| word.starts_with(|c: char| c.is_alphabetic()))
        .collect();
    let allowed: BTreeSet<&str> = SCRIPTS
        .iter()
        .filter(|script| text(**script).lines().next().is_some_and(|l| l.contains("allow-oom")))
        .map(|script| script.name())
        .collect();
    assert_eq!(listed, allowed);
}

#[test]
fn scripts_unpack_exactly_the_keys_and_arguments_they_declare() {
    for script in SCRIPTS {
        let (text, header) = (code(*script), header(*script));
        // `clock` declares its key for routing alone; others take any number.
        if let [list] = header.keys.as_slice()
            && let Some(list) = list.strip_suffix("...")
        {
            assert!(text.contains(&format!("local {list} = KEYS\n")), "{}", script.name());
        } else if *script != Script::Clock {
            assert_eq!(indices(&text, "KEYS["), header.keys.len(), "{} KEYS", script.name());
        }
        // Items of a list are read by its offset.
        let (mut text, mut count) = (text, header.argv.len());
        for list in header.argv.iter().filter_map(|name| name.strip_suffix("...")) {
            let item = format!("ARGV[{list} + i]");
            assert!(text.contains(&item), "{} reads {item}", script.name());
            (text, count) = (text.replace(&item, ""), count - 1);
        }
        assert_eq!(indices(&text, "ARGV["), count, "{} ARGV", script.name());
    }
}

/// The highest index used, provided that all below it are used too.
fn indices(text: &str, array: &str) -> usize {
    let used: BTreeSet<usize> = text
        .split(array)
        .skip(1)
        .map(|rest| rest.split(']').next().unwrap().parse().expect("a literal index"))
        .collect();
    let highest = used.iter().max().copied().unwrap_or(0);
    assert_eq!(used.len(), highest, "gaps in {array}: {used:?}");
    highest
}

#[test]
fn every_include_is_there_and_every_function_is_included() {
    for script in SCRIPTS {
        let text = text(*script);
        let source = std::fs::read_to_string(format!("lua/{}.lua", script.name())).unwrap();
        for include in source.lines().filter_map(|line| line.strip_prefix("-- @include ")) {
            let file = std::fs::read_to_string(format!("lua/includes/{include}.lua")).unwrap();
            assert!(text.contains(&file), "{}: {include}", script.name());
            // Each function is called somewhere beside its own definition.
            let function = if include == "now" { "now_ms(" } else { &format!("{include}(") };
            let calls = code(*script).matches(function).count();
            assert!(calls >= 2, "{} includes {include} without need", script.name());
        }
        for include in std::fs::read_dir("lua/includes").unwrap() {
            let name = include.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
            // `unpack_booking(` is no call of `pack_booking`.
            let is_within_a_name =
                |text: &str| text.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let text = code(*script);
            let call = format!("{name}(");
            let mut calls = text.match_indices(&call);
            let called = calls.any(|(at, _)| !is_within_a_name(&text[..at]));
            let defined = code(*script).contains(&format!("local function {name}("));
            assert!(defined || !called, "{} calls {name} without including it", script.name());
        }
    }
}

#[test]
fn event_keys_have_the_names_that_headers_use() {
    let sent = Keys::new("hf1", 16).event_keys(EventId(1));
    let names: Vec<&str> = sent.iter().map(|key| key.split(':').nth(2).unwrap()).collect();
    assert_eq!(names, EVENT_KEYS);
}

/// A script that keeps a record for a caller's key declares it; no other touches any.
#[test]
fn scripts_about_requests_declare_their_idempotency_record() {
    let event_keys = Keys::new("hf1", 16).event_keys(EventId(1)).len();
    for script in SCRIPTS {
        let keeps =
            matches!(script, Script::Hold | Script::Abort | Script::ConfirmBegin | Script::Extend);
        let keys = header(*script).keys;
        let declared = keys.get(event_keys).is_some_and(|key| key == "idempotency");
        let used = code(*script).contains("idempotency_key");
        assert_eq!((declared, used), (keeps, keeps), "{}", script.name());
    }
}

#[test]
fn entries_have_the_fields_that_rust_reads() {
    let text = include_str!("../lua/includes/append_entry.lua");
    let line = text.split(&format!("'{ENTRY_FIELD}', ")).nth(1).unwrap();
    let line = line.split(")\n").next().unwrap();
    let values: Vec<&str> =
        line.split("..").map(str::trim).filter(|value| *value != r"'\t'").collect();
    let written = [&[r"'2\t'"], &ENTRY_HEAD[1..], &["body", "detail"]].concat();
    let named = values.into_iter().map(|value| if value == "now" { "time" } else { value });
    assert_eq!(named.collect::<Vec<_>>(), written);
}

#[test]
fn records_have_the_fields_that_rust_reads() {
    let text = include_str!("../lua/includes/pack_booking.lua");
    let fields = text.split("b.").skip(1).map(|rest| {
        rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap_or_default()
    });
    assert_eq!(fields.collect::<Vec<_>>(), RECORD_FIELDS[1..]);
}

#[test]
fn no_line_is_longer_than_a_hundred_columns() {
    for script in SCRIPTS {
        for line in text(*script).lines() {
            assert!(line.chars().count() <= 100, "{}: {line}", script.name());
        }
    }
}
