//! Scenarios: named sets of options, which the command line overrides.

use std::ffi::{OsStr, OsString};

/// A named set of options.
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it simulates, in one sentence.
    pub about: &'static str,
    /// Its options.
    words: &'static str,
    /// What `--quick` adds.
    quick: &'static str,
}

/// Every scenario.
pub const SCENARIOS: [Scenario; 7] = [
    Scenario {
        name: "last-ten-seats",
        about: "a crowd within two seconds, for the last ten seats",
        words: "--buyers 1000 --seats 10 --spike 100% --spike-span 2s --wants 1 --front 1 \
                --retries 3 --hold-ttl-seconds 10",
        quick: "--buyers 200 --hold-ttl-seconds 3 --think exponential:300ms --retry-pause exponential:300ms",
    },
    Scenario {
        name: "hot-seat",
        about: "everybody wants the same seat, and tries again",
        words: "--buyers 5000 --seats 10 --spike 100% --spike-span 2s --wants 1 --one-seat \
                --look once --retries 2 --hold-ttl-seconds 10",
        quick: "--buyers 200 --hold-ttl-seconds 3 --think exponential:300ms --retry-pause exponential:300ms",
    },
    Scenario {
        name: "stadium",
        about: "a large hall: a rush at the opening, then a steady crowd",
        words: "--buyers 120000 --seats 50000 --spike 10% --spike-span 60s --rate 350 \
                --look once --retries 4 --in-flight 2000 --settle-seconds 300",
        quick: "--buyers 600 --seats 200 --spike-span 1s --rate 100 --hold-ttl-seconds 3 \
                --think exponential:300ms --retry-pause exponential:300ms",
    },
    Scenario {
        name: "waiting-room",
        about: "a waiting room lets a few in at a time; most wait, ask as often as the server says, \
                and leave",
        words: "--buyers 1000000 --seats 20000 --arrivals ramp:1000..3000/60s --room 2000 \
                --room-session-seconds 60 --patience uniform:30s..240s --by quantity --split \
                --wants 1..4 --retries 1 --think exponential:5s --in-flight 2000 --history none \
                --settle-seconds 300",
        quick: "--buyers 300 --seats 100 --arrivals ramp:20..100/3s --room 20 \
                --hold-ttl-seconds 3 --patience uniform:1s..5s --think exponential:300ms --retry-pause exponential:300ms",
    },
    Scenario {
        name: "bots",
        about: "9 of 10 requests are from bots: few addresses, programs' user agents or none, no \
                pauses; the server's limits must be enforced",
        words: "--buyers 2000 --seats 3000 --seats-per-user 4 --rate 150 --bots 220 \
                --bot-calls 300 --bot-addresses 20 --bot-span 15s",
        quick: "--buyers 60 --seats 100 --rate 30 --bots 6 --bot-calls 300 --bot-addresses 2 \
                --bot-span 1s --hold-ttl-seconds 3 --think exponential:300ms --retry-pause exponential:300ms",
    },
    Scenario {
        name: "abandoned-carts",
        about: "most people walk away from their seats, which come back and are sold again",
        words: "--buyers 10000 --seats 2000 --rate 150 --spike 30% --pay 25% --cancel 5% \
                --hold-ttl-seconds 5 --retries 3",
        quick: "--buyers 200 --seats 40 --rate 40 --hold-ttl-seconds 2 \
                --think exponential:300ms --retry-pause exponential:300ms",
    },
    Scenario {
        name: "two-events",
        about: "a rush for one event while another sells quietly beside it, whose latencies are \
                reported apart",
        words: "--buyers 20000 --seats 5000 --spike 60% --quiet-seats 5000 --quiet-buyers 1500 \
                --quiet-rate 30",
        quick: "--buyers 200 --seats 100 --rate 30 --quiet-seats 100 --quiet-buyers 40 \
                --quiet-rate 10 --hold-ttl-seconds 3 --think exponential:300ms --retry-pause exponential:300ms",
    },
];

/// Options of a new event, which are left out where `--event` names one.
const OF_NEW_EVENTS: [&str; 4] = ["--seats", "--hold-ttl-seconds", "--seats-per-user", "--room"];
/// The option of a second new event, which cannot be beside one that `--event` names.
const SECOND_EVENT: &str = "--quiet-seats";

/// Returns a scenario by its name.
pub fn named(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|one| one.name == name)
}

/// Returns the scenarios with their sentences and options.
pub fn list() -> String {
    let mut text = String::new();
    for Scenario { name, about, words, quick } in &SCENARIOS {
        text.push_str(&format!("{name}\n  {about}\n    {}\n", spaced(words)));
        text.push_str(&format!("  --quick adds\n    {}\n\n", spaced(quick)));
    }
    text + "Options on the command line override a scenario's, such as --scenario stadium --scale 0.1"
}

fn spaced(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Puts a scenario's options before those of the command line, so that these override them.
///
/// # Errors
/// If there is no such scenario, it needs two new events and `--event` names one, or `--quick` has no
/// scenario to shorten.
pub fn expand(words: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let is_run = words.get(1).is_some_and(|word| word == "run");
    let own = words.get(2..).filter(|_| is_run).unwrap_or_default();
    let is_quick = own.iter().any(|word| word == "--quick");
    let Some(name) = value_of(own, "--scenario") else {
        let error = "--quick shortens a scenario; give --scenario, or --scale";
        return if is_quick { Err(error.to_owned()) } else { Ok(words) };
    };
    let scenario = named(&name).ok_or_else(|| {
        let names = SCENARIOS.map(|one| one.name).join(", ");
        format!("no scenario {name:?}; there are {names}")
    })?;
    let has_event = value_of(own, "--event").is_some();
    if has_event && scenario.words.contains(SECOND_EVENT) {
        return Err(format!(
            "--scenario {name} sells two events that it creates; leave --event out"
        ));
    }
    let quick = if is_quick { scenario.quick } else { "" };
    let mut all = words[..2].to_vec();
    let mut given = scenario.words.split_whitespace().chain(quick.split_whitespace());
    while let Some(word) = given.next() {
        if has_event && OF_NEW_EVENTS.contains(&word) {
            given.next();
        } else {
            all.push(word.into());
        }
    }
    all.extend_from_slice(own);
    Ok(all)
}

fn value_of(words: &[OsString], name: &str) -> Option<String> {
    let mut found = None;
    for (index, word) in words.iter().enumerate() {
        let Some(word) = word.to_str() else { continue };
        if word == name {
            found = words.get(index + 1).and_then(|value: &OsString| OsStr::to_str(value));
        } else if let Some(value) =
            word.strip_prefix(name).and_then(|value| value.strip_prefix('='))
        {
            found = Some(value);
        }
    }
    found.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::{Arguments, Command, options::RunOptions};

    use super::*;

    fn parsed(flags: &str) -> RunOptions {
        let words = format!("holdfast-flash-sale run {flags}");
        let words = expand(words.split_whitespace().map(OsString::from).collect()).unwrap();
        let arguments = Arguments::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
        let Command::Run(options) = arguments.command else { panic!("no run") };
        options.check().unwrap();
        *options
    }

    #[test]
    fn every_scenario_can_be_run_in_full_quickly_and_in_small() {
        for Scenario { name, .. } in &SCENARIOS {
            let full = parsed(&format!("--scenario {name}"));
            let quick = parsed(&format!("--scenario {name} --quick")).scaled();
            let small = parsed(&format!("--scenario={name} --scale 0.001")).scaled();
            for less in [&quick, &small] {
                assert!(less.buyers < full.buyers && less.buyers >= 20, "{name}");
                assert!(less.seats <= full.seats, "{name}");
            }
            assert!(quick.buyers <= 1_000, "{name}");
        }
    }

    #[test]
    fn flags_override_the_scenario() {
        let options = parsed("--buyers 77 --scenario last-ten-seats --wants 2");
        assert_eq!((options.buyers, options.seats), (77, 10));
        assert_eq!(options.wants, "2".parse().unwrap());
        let options = parsed("--scenario last-ten-seats --event 7");
        assert_eq!((options.event, options.buyers), (Some(7), 1_000));
        let options = parsed("--scenario waiting-room --event 7");
        assert_eq!((options.event, options.room.limit), (Some(7), None));
    }

    #[test]
    fn unknown_scenarios_are_refused() {
        let expand = |words: &str| {
            let words = words.split_whitespace().map(OsString::from).collect();
            expand(words).unwrap_err()
        };
        assert!(expand("x run --scenario stadion").contains("last-ten-seats"));
        assert!(expand("x run --quick").contains("--scenario"));
        assert!(expand("x run --scenario two-events --event 7").contains("leave --event out"));
    }
}
