//! Mutants of the scripts that the model detects: with each of these changes, every one a plausible
//! mistake, Redis differs from the model.

use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast::redis::scripts::{ClockSource, Scripts};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::runtime::Builder;

use super::stage::{Difference, Stage};
use super::strategies::sequences;
use super::{AT_ONCE, LENGTH, flavor};
use crate::support::sample;

/// Operations within which a change must be noticed.
const OPERATIONS_MAX: usize = 60_000;
/// The same sequences every time.
const SEED: [u8; 16] = *b"the same mutants";

struct Mutant {
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

macro_rules! mutants {
    ($($name:literal in $file:literal: $from:literal => $to:literal;)*) => {
        [$(Mutant { name: $name, file: $file, from: $from, to: $to }),*]
    };
}

const MUTANTS: [Mutant; 57] = mutants! {
    "a hold lapses before its deadline" in "includes/lapse":
        "b.status ~= 'HOLD' or b.deadline > now" => "b.status ~= 'HOLD'";
    "a late hold takes effect" in "hold":
        "now > not_after" => "false";
    "a late payment takes seats that others hold" in "confirm_late":
        "not are_free(seats)" => "false";
    "a sale has no end" in "includes/is_over":
        " or ev.off_sale_at > 0 and now >= ev.off_sale_at" => "";
    "an event is unloaded although it has changed" in "unload_event":
        "ev.version ~= event_version" => "false";
    "a hold lapses too late by a millisecond" in "includes/lapse":
        "b.deadline > now" => "b.deadline >= now";
    "an ended booking still counts against its user" in "includes/end_booking":
        "b.user, -count" => "b.user, 0";
    "an ended booking remains its seats' holder" in "includes/end_booking":
        "redis.call('HDEL', holders_key, seat)" => "";
    "an ended booking frees seats of others" in "includes/end_booking":
        "if redis.call('HGET', holders_key, seat) == b.id then" => "if true then";
    "an end is not indexed" in "includes/end_booking":
        "redis.call('ZADD', ended_key, now, b.id)" => "";
    "a transition is not logged" in "includes/commit_transition":
        "append_entry(kind, ev.id" => "string.len(kind, ev.id";
    "a booking's version stays" in "includes/commit_transition":
        "b.version = b.version + 1" => "";
    "the event's version stays" in "includes/commit_transition":
        "ev.version = ev.version + 1" => "";
    "an entry is not linked to" in "includes/append_entry":
        "redis.call('SET', link_key, id .. ' ' .. tag)" => "";
    "a seat that comes free is not counted" in "includes/set_seat":
        "available_delta = available_delta + 1" => "";
    "a row's mark is lost" in "includes/set_seat":
        "old == lower and state or string.upper(state)" => "state";
    "an older generation may go on" in "includes/load_event":
        "generation and generation ~= f[2]" => "false";
    "a booking is anybody's" in "includes/own_booking":
        " or b.user ~= user" => "";
    "a ninth attempt pushes the first one out" in "includes/note_attempt":
        "b.nonce .. ',' .. nonce or '*'" => "b.nonce .. ',' .. nonce or nonce";
    "a repeated request is not noted" in "hold":
        "b.status == 'HOLD' and note_attempt(b)" => "false";
    "a quick hold takes seats that others have" in "hold":
        "free and (states[count] == 'a' or states[count] == 'A')" => "true";
    "a quick hold passes the user's limit" in "hold":
        "+ count <= tonumber(e[10])" => "+ count <= tonumber(e[10]) + 1";
    "a quick hold leaves overdue holds" in "hold":
        "(not e[13] or now < tonumber(e[13]))" => "true";
    "a quick hold repeats a request" in "hold":
        "redis.call('EXISTS', idempotency_key, room_key) == 0" => "true";
    "a quick hold loses a row's mark" in "hold":
        "states[at] == 'a' and 'h' or 'H'" => "'h'";
    "a quick hold is no deadline of its event" in "hold":
        "not e[13] or deadline < tonumber(e[13])" => "false";
    "a quick hold takes a paused sale's seats" in "hold":
        "e[5] == 'ON_SALE'" => "e[5] ~= 'CLOSED'";
    "a quick hold comes before the sale" in "hold":
        "now >= tonumber(e[6])" => "true";
    "a quick hold's entry is not linked to" in "hold":
        "redis.call('SET', link_key, entry .. ' ' .. tag)" => "";
    "a quick hold is not counted against its user" in "hold":
        "redis.call('HINCRBY', users_key, user, count)" => "";
    "a quick hold passes the limit of the log" in "hold":
        "redis.call('XLEN', log_key) < log_entries_max" => "true";
    "a deadline does not count for its event" in "includes/set_deadline":
        "b.deadline < ev.next_deadline" => "false";
    "a key may be used for another request" in "hold":
        "saved_fingerprint ~= fingerprint" => "false";
    "overdue holds of the wanted seats are not ended" in "hold":
        "release_overdue_of(wanted)" => "";
    "a user's own overdue holds count" in "hold":
        "released = release_overdue(overdue_batch_max)" => "";
    "a paid booking's request is not indexed" in "includes/index_request":
        "redis.call('HSET', requests_key, b.idempotency, b.id .. ' ' .. b.fingerprint)" => "";
    "an ended booking's request stays indexed" in "includes/index_request":
        "redis.call('HDEL', requests_key, b.idempotency)" => "";
    "an extension passes the limit of the log" in "extend":
        "redis.call('XLEN', log_key) >= log_entries_max" => "false";
    "a beat passes the limit of the log" in "beat":
        "redis.call('XLEN', log_key) >= log_entries_max" => "false";
    "a late extension takes effect" in "extend":
        "now > not_after" => "false";
    "an extension passes the longest hold" in "extend":
        "math.min(now + ev.hold_ttl, cap)" => "now + ev.hold_ttl";
    "an extension under its key extends again" in "extend":
        "redis.call('EXISTS', idempotency_key) == 1" => "false";
    "the key of a sold payment may come with another card" in "confirm_begin":
        "string.match(saved, '^%S+ (%S+)$') ~= fingerprint" => "false";
    "the key of a declined payment may not" in "confirm_begin":
        "if idempotency_ttl > 0 and (b.status == 'COMMITTED' or b.status == 'CONFIRMED') then" =>
        "if idempotency_ttl > 0 then";
    "a payment commits under any lease" in "confirm_commit":
        " or b.lease ~= lease" => "";
    "a confirmation keeps its deadline" in "confirm_begin":
        "redis.call('ZREM', deadlines_key, b.id)" => "";
    "an abort overtakes the hold it undoes" in "abort":
        "now <= not_before" => "now < not_before";
    "a search leaves a seat alone without need" in "includes/best_run":
        "after ~= FREE or beyond == FREE" => "true";
    "a search crosses the end of a row" in "includes/scan_section":
        "local bytes = redis.call('GETRANGE', seats_key, start, math.min(last, start + limit + count))" =>
        "local bytes = string.lower(redis.call('GETRANGE', seats_key, start, math.min(last, start + limit + count)))";
    "a search never goes back to seats that came free" in "includes/lower_mark":
        "mark and tonumber(mark) > tonumber(seat)" => "false";
    "a search that goes on forgets what it found" in "includes/find_seats":
        "table.concat(seats, ',') end" => "'' end";
    "the orphan rule holds to the end of the sale" in "includes/seats_left_alone":
        "ev.available * RELAXED_BELOW_ONE_IN < ev.total" => "false";
    "the house takes held seats" in "block":
        "if #taken > 0 then" => "if false then";
    "a sale ends too late by a millisecond" in "includes/is_over":
        "now >= ev.off_sale_at" => "now > ev.off_sale_at";
    "every user is exempt from the limit" in "hold":
        "ARGV[15] == '1'" => "true";
    "the limit binds admins, too" in "hold":
        "not exempt and seats_of_user()" => "seats_of_user()";
    "a late verdict undoes a cancellation" in "settle":
        " or (b.status == 'CANCELLED' and b.paid > 0)" => "";
};

/// Runs sequences until one differs; `None` if none does within the bound.
fn first_difference(mutant: &Mutant) -> Option<(usize, Difference)> {
    let change = (mutant.file, mutant.from, mutant.to);
    let scripts = Scripts::changed(ClockSource::Swapped, &[change]);
    let scripts = scripts.unwrap_or_else(|error| panic!("{}: {error}", mutant.name));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let stage = runtime.block_on(Stage::new(flavor(), scripts));
    let rng = TestRng::from_seed(RngAlgorithm::XorShift, &SEED);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut operations = 0;
    while operations < OPERATIONS_MAX {
        let sequence = sequences(LENGTH).new_tree(&mut runner).unwrap().current();
        match runtime.block_on(stage.run(&sequence)) {
            Ok(agreed) => operations += agreed,
            Err(difference) => return Some((operations + difference.at, difference)),
        }
    }
    None
}

#[test]
#[ignore = "run by make mutants"]
fn each_changed_script_differs() {
    let mutants = sample(&MUTANTS);
    let (next, unnoticed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match first_difference(mutant) {
                        // A script that ends in an error would be noticed by anything.
                        Some((_, d)) if d.failed => panic!("{}: {d}", mutant.name),
                        Some((operations, _)) => {
                            println!("noticed after {operations} operations: {}", mutant.name);
                        }
                        None => {
                            println!("NOT NOTICED: {}", mutant.name);
                            unnoticed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    assert_eq!(unnoticed.into_inner(), 0, "changes that the model does not notice");
}
