//! The Lua scripts, embedded: assembled from `lua/` with their includes, known by SHA1.

use std::borrow::Cow;
use std::collections::BTreeMap;

macro_rules! sources {
    ($dir:literal, $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../lua/", $dir, $name, ".lua"))),)*]
    };
}

const INCLUDES: &[(&str, &str)] = sources!(
    "includes/",
    "add_to_count",
    "append_entry",
    "best_run",
    "commit_transition",
    "count_seats",
    "drop_owed",
    "end_booking",
    "find_seats",
    "holds_its_seats",
    "index_request",
    "is_over",
    "is_sold_out",
    "keep_books",
    "lapse",
    "lapse_owed",
    "load_event",
    "load_room",
    "lower_mark",
    "move_beginning",
    "note_attempt",
    "now",
    "now_swapped",
    "offer_seats",
    "open_batch_of",
    "own_booking",
    "pack_booking",
    "raise_floors",
    "read_booking",
    "read_count",
    "read_number",
    "redis_time",
    "release_overdue",
    "release_overdue_of",
    "reply",
    "room_time",
    "scan_section",
    "seats_left_alone",
    "seats_takeable",
    "session_end",
    "set_deadline",
    "set_seat",
    "take_from_count",
    "take_seats",
    "unclaimed_places",
    "unpack_booking",
    "wait_of_count",
    "window_of",
    "without_session",
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

        const SPAN_NAMES: &[&str] = &[$(concat!("EVALSHA ", $name),)*];
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
    ConfirmLate = "confirm_late",
    ConfirmTakeover = "confirm_takeover",
    Expire = "expire",
    Extend = "extend",
    Forget = "forget",
    FreeSeats = "free_seats",
    GetBooking = "get_booking",
    Hold = "hold",
    Limit = "limit",
    LoadBookings = "load_bookings",
    OpenEvent = "open_event",
    RaiseGeneration = "raise_generation",
    RestoreBookings = "restore_bookings",
    RoomAdmit = "room_admit",
    RoomClaim = "room_claim",
    RoomConfigure = "room_configure",
    RoomDraw = "room_draw",
    RoomJoin = "room_join",
    RoomLeave = "room_leave",
    RoomLook = "room_look",
    SealLoad = "seal_load",
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

    /// The name of the spans of its calls.
    pub fn span_name(self) -> &'static str {
        SPAN_NAMES[self as usize]
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

/// The scripts that an engine runs, assembled.
#[derive(Clone, Debug)]
pub struct Scripts(Vec<Assembled>);

/// Texts by file, without the ending: `hold`, `includes/lapse`.
type Files = BTreeMap<String, Cow<'static, str>>;

impl Scripts {
    /// The scripts of this build.
    pub fn embedded(clock: ClockSource) -> Self {
        Scripts::assemble(&embedded_files(), clock)
    }

    /// The scripts of this build with some text of some files replaced: `(file, from, to)`. For
    /// the test that shows that the model notices a changed script.
    ///
    /// # Errors
    /// If there is no such file, or the text does not stand in it exactly once.
    #[doc(hidden)]
    pub fn changed(clock: ClockSource, changes: &[(&str, &str, &str)]) -> Result<Self, String> {
        let mut files = embedded_files();
        for (file, from, to) in changes {
            let text = files.get_mut(*file).ok_or_else(|| format!("there is no {file}.lua"))?;
            match text.matches(from).count() {
                1 => *text = text.replacen(from, to, 1).into(),
                count => return Err(format!("{file}.lua has {from:?} {count} times, not once")),
            }
        }
        Ok(Scripts::assemble(&files, clock))
    }

    /// One of them.
    pub fn get(&self, script: Script) -> &Assembled {
        &self.0[script as usize]
    }

    fn assemble(files: &Files, clock: ClockSource) -> Self {
        let assembled = SOURCES.iter().map(|(name, _)| {
            let text = assemble(files, name, clock);
            let sha1 = fred::util::sha1_hash(&text);
            Assembled { text, sha1 }
        });
        Scripts(assembled.collect())
    }
}

fn embedded_files() -> Files {
    let scripts = SOURCES.iter().map(|(name, text)| ((*name).to_owned(), Cow::from(*text)));
    let includes =
        INCLUDES.iter().map(|(name, text)| (format!("includes/{name}"), Cow::from(*text)));
    scripts.chain(includes).collect()
}

/// Puts each `-- @include name` line's file in its place. An include that does not exist leaves
/// a call to an unknown function, which the contract test finds.
fn assemble(files: &Files, script: &str, clock: ClockSource) -> String {
    let source = files.get(script).map_or("", AsRef::as_ref);
    let mut text = String::with_capacity(source.len() * 3);
    for line in source.lines() {
        match line.strip_prefix("-- @include ") {
            Some(name) => {
                let name = match (name, clock) {
                    ("now", ClockSource::Swapped) => "now_swapped",
                    (name, _) => name,
                };
                text.push_str(files.get(&format!("includes/{name}")).map_or("", AsRef::as_ref));
            }
            None => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

/// What a script's header declares; the contract test compares it with the Rust side.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Names of the keys, in order.
    pub keys: Vec<String>,
    /// Names of the arguments, in order.
    pub argv: Vec<String>,
    /// Reply codes, each with the names of its fields.
    pub replies: Vec<(String, Vec<String>)>,
}

/// Reads a script's header.
pub fn header(script: Script) -> Header {
    let mut header = Header::default();
    let (mut codes, mut fields) = (Vec::new(), String::new());
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
            "Codes:" => &mut codes,
            "Reply:" => {
                fields.push_str(words);
                fields.push(' ');
                continue;
            }
            _ => continue,
        };
        list.extend(words.split_whitespace().map(str::to_owned));
    }
    let named = |code: &String| fields_of(&fields, code);
    header.replies = codes.iter().map(|code| (code.clone(), named(code))).collect();
    header
}

/// The fields of a code in a header's `Reply`: `code now, then by code: a|b field ... · c field`.
/// Text in parentheses explains.
fn fields_of(reply: &str, code: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut depth = 0;
    for c in reply.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    // A list of codes may continue on the next line.
    let plain = plain.replace("| ", "|");
    let by_code = plain.split_once("by code:").map_or("", |(_, by_code)| by_code);
    let mut groups = by_code.split('·').filter_map(|group| group.trim().split_once(' '));
    let found = groups.find(|(codes, _)| codes.split('|').any(|one| one == code));
    found
        .map_or_else(Vec::new, |(_, fields)| fields.split_whitespace().map(str::to_owned).collect())
}
