//! The Lua scripts, embedded: assembled from `lua/` with their includes, known by SHA1.

use std::sync::LazyLock;

macro_rules! sources {
    ($dir:literal, $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../lua/", $dir, $name, ".lua"))),)*]
    };
}

const INCLUDES: &[(&str, &str)] = sources!(
    "includes/",
    "append_entry",
    "best_run",
    "commit_transition",
    "count_seats",
    "end_booking",
    "find_seats",
    "holds_its_seats",
    "lapse",
    "load_event",
    "lower_mark",
    "note_attempt",
    "now",
    "now_swapped",
    "offer_seats",
    "own_booking",
    "pack_booking",
    "read_booking",
    "release_overdue",
    "release_overdue_of",
    "reply",
    "scan_section",
    "seats_left_alone",
    "seats_takeable",
    "set_seat",
    "take_seats",
    "unpack_booking",
);

macro_rules! scripts {
    ($($variant:ident = $name:literal,)*) => {
        /// One script, by its verb.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "each script's header in lua/ is its documentation")]
        pub enum Script { $($variant,)* }

        /// All scripts.
        pub const SCRIPTS: &[Script] = &[$(Script::$variant,)*];

        const SOURCES: &[(&str, &str)] = sources!("", $($name),*);
    };
}

scripts! {
    Abort = "abort",
    Beat = "beat",
    Block = "block",
    Cancel = "cancel",
    Clock = "clock",
    ConfirmAbort = "confirm_abort",
    ConfirmBegin = "confirm_begin",
    ConfirmCommit = "confirm_commit",
    Expire = "expire",
    Extend = "extend",
    Forget = "forget",
    GetBooking = "get_booking",
    Hold = "hold",
    LoadBookings = "load_bookings",
    OpenEvent = "open_event",
    Settle = "settle",
    Snapshot = "snapshot",
    UnloadEvent = "unload_event",
    UpdateEvent = "update_event",
}

impl Script {
    /// The script's file name without its ending; also its label in metrics.
    pub fn name(self) -> &'static str {
        SOURCES[self as usize].0
    }
}

/// Whose time the scripts go by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockSource {
    /// Redis' `TIME`.
    #[default]
    Redis,
    /// A key that tests set (`includes/now_swapped.lua`).
    Swapped,
}

/// A script as it is sent.
#[derive(Clone, Debug)]
pub struct Assembled {
    /// Its text with the includes in place.
    pub text: String,
    /// SHA1 of the text, lower-case hex.
    pub sha1: String,
}

/// All scripts, assembled for one clock.
pub fn assembled(clock: ClockSource) -> &'static [Assembled] {
    static REDIS: LazyLock<Vec<Assembled>> = LazyLock::new(|| assemble_all(ClockSource::Redis));
    static SWAPPED: LazyLock<Vec<Assembled>> = LazyLock::new(|| assemble_all(ClockSource::Swapped));
    match clock {
        ClockSource::Redis => &REDIS,
        ClockSource::Swapped => &SWAPPED,
    }
}

fn assemble_all(clock: ClockSource) -> Vec<Assembled> {
    SOURCES
        .iter()
        .map(|(_, source)| {
            let text = assemble(source, clock);
            let sha1 = fred::util::sha1_hash(&text);
            Assembled { text, sha1 }
        })
        .collect()
}

/// Puts each `-- @include name` line's file in its place. An include that does not exist leaves
/// a call to an unknown function, which the contract test finds.
fn assemble(source: &str, clock: ClockSource) -> String {
    let mut text = String::with_capacity(source.len() * 3);
    for line in source.lines() {
        match line.strip_prefix("-- @include ") {
            Some(name) => text.push_str(include(name, clock)),
            None => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

fn include(name: &str, clock: ClockSource) -> &'static str {
    let name = match (name, clock) {
        ("now", ClockSource::Swapped) => "now_swapped",
        (name, _) => name,
    };
    INCLUDES.iter().find(|row| row.0 == name).map_or("", |row| row.1)
}

/// What a script's header declares; the contract test compares it with the Rust side.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Names of the keys, in order.
    pub keys: Vec<String>,
    /// Names of the arguments, in order.
    pub argv: Vec<String>,
    /// Reply codes.
    pub codes: Vec<String>,
}

/// Reads a script's header.
pub fn header(script: Script) -> Header {
    let mut header = Header::default();
    let mut current = "";
    for line in SOURCES[script as usize].1.lines().skip(1) {
        let Some(comment) = line.strip_prefix("--") else { break };
        let comment = comment.trim_start();
        let mut words = comment;
        for label in ["KEYS:", "ARGV:", "Reply:", "Codes:"] {
            if let Some(rest) = comment.strip_prefix(label) {
                (current, words) = (label, rest);
            }
        }
        let list = match current {
            "KEYS:" => &mut header.keys,
            "ARGV:" => &mut header.argv,
            "Codes:" => &mut header.codes,
            _ => continue,
        };
        list.extend(words.split_whitespace().map(str::to_owned));
    }
    header
}
