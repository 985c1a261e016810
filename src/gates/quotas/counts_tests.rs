//! Local counts: when they block, what they send, and what they keep.

use super::super::count::REPORT_KEPT_MAX;
use super::super::flush::FLUSH_INTERVAL;
use super::*;
use crate::domain::rules::shipped;
use crate::domain::{Limit, Rule};

const PARTITION: Partition = Partition(0);
const WINDOW: Duration = Duration::from_secs(60);

fn rule(quota: u32) -> Rule {
    let limit = Limit::Window { quota, window_ms: WINDOW.as_millis() as u64 };
    Rule { limit, ..shipped().remove(1) }
}

fn user(number: usize) -> Subject {
    Subject::User(format!("u{number}").parse().unwrap())
}

fn applied(rule: &Rule, number: usize) -> Applied<'_> {
    let is_looked_up = false;
    Applied { rule, enforced: true, is_looked_up, subject: user(number), partition: PARTITION }
}

fn observed(rule: &Rule, number: usize) -> Applied<'_> {
    Applied { enforced: false, ..applied(rule, number) }
}

fn add(counts: &LocalCounts, applied: Applied<'_>, times: usize, now: Instant) {
    for _ in 0..times {
        counts.add(std::iter::once(applied.clone()), now);
    }
}

fn standing(remaining: u32, wait_ms: u64, taken: u32) -> Standing {
    Standing { is_over: remaining == 0, remaining, wait_ms, taken, at_ms: 0 }
}

fn due(counts: &LocalCounts, now: Instant) -> Vec<(u32, Vec<i64>, bool)> {
    let due = counts.due(PARTITION, FLUSH_INTERVAL, now);
    due.into_iter().map(|one| (one.pending, one.take_back, one.forgives)).collect()
}

#[test]
fn subject_is_blocked_once_its_own_count_reaches_the_quota() {
    let (counts, rule, now) = (LocalCounts::new(1), rule(8), Instant::now());
    add(&counts, applied(&rule, 1), 7, now);
    assert_eq!((counts.wait_ms(&applied(&rule, 1), now), counts.blocked()), (None, 0));
    add(&counts, applied(&rule, 1), 1, now);
    assert!(counts.wait_ms(&applied(&rule, 1), now).is_some());
    assert_eq!(counts.blocked(), 1);
    assert_eq!(counts.wait_ms(&applied(&rule, 2), now), None);
    assert_eq!(counts.wait_ms(&applied(&rule, 1), now + WINDOW), None, "none of them counts");
}

#[test]
fn request_beyond_an_observed_limit_is_reported() {
    let (counts, rule, now) = (LocalCounts::new(1), rule(2), Instant::now());
    let add = |now| counts.add(std::iter::once(observed(&rule, 1)), now);
    assert_eq!([add(now), add(now), add(now)], [false, false, true]);
    assert!(!add(now + WINDOW), "the window is over");
    counts.block(&observed(&rule, 1), &standing(0, 4_000, 0), now + WINDOW);
    assert!(add(now + WINDOW), "Redis reports no room");
}

#[test]
fn subject_is_blocked_once_it_reaches_what_redis_reported_as_remaining() {
    let (counts, rule, now) = (LocalCounts::new(1), rule(8), Instant::now());
    counts.block(&applied(&rule, 1), &standing(2, 4_000, 0), now);
    add(&counts, applied(&rule, 1), 1, now);
    assert_eq!(counts.wait_ms(&applied(&rule, 1), now), None);
    add(&counts, applied(&rule, 1), 1, now);
    assert!(counts.wait_ms(&applied(&rule, 1), now).is_some());
    let later = now + Duration::from_secs(4);
    assert_eq!(counts.wait_ms(&applied(&rule, 1), later), None, "the report is out of date");
}

#[test]
fn report_blocks_until_its_wait_ends_or_it_is_too_old() {
    let (counts, rule, now) = (LocalCounts::new(1), rule(8), Instant::now());
    let hour_ms = 3_600_000;
    counts.block(&applied(&rule, 1), &standing(0, hour_ms, 0), now);
    counts.block(&applied(&rule, 2), &standing(0, 100, 0), now);
    assert_eq!(counts.wait_ms(&applied(&rule, 1), now), Some(hour_ms));
    assert_eq!(counts.wait_ms(&applied(&rule, 1), now + REPORT_KEPT_MAX), None);
    assert_eq!(counts.wait_ms(&applied(&rule, 2), now + Duration::from_millis(99)), Some(1));
    assert_eq!(counts.wait_ms(&applied(&rule, 2), now + Duration::from_millis(100)), None);
    let other = Rule { name: "other".into(), ..rule.clone() };
    assert_eq!(counts.wait_ms(&applied(&other, 1), now), None);
    let raised = self::rule(9);
    assert_eq!(counts.wait_ms(&applied(&raised, 1), now), None, "another limit");
    counts.sweep(PARTITION, now);
    assert_eq!(counts.blocked(), 2);
    counts.sweep(PARTITION, now + REPORT_KEPT_MAX);
    assert_eq!(counts.blocked(), 0);
}

#[test]
fn count_is_sent_at_the_share_or_at_the_flush_interval() {
    let (counts, rule, now) = (LocalCounts::new(1), rule(8), Instant::now());
    add(&counts, applied(&rule, 1), 1, now);
    assert!(!counts.is_urgent(PARTITION) && due(&counts, now).is_empty());
    assert_eq!(due(&counts, now + FLUSH_INTERVAL), [(1, vec![], false)]);
    add(&counts, applied(&rule, 1), 1, now);
    assert!(counts.is_urgent(PARTITION), "two of eight are the share");
    assert_eq!(due(&counts, now), [(2, vec![], false)]);
    assert!(!counts.is_urgent(PARTITION));
}

#[test]
fn what_redis_has_no_room_for_stays_and_blocks() {
    let (counts, rule, now) = (LocalCounts::new(1), rule(8), Instant::now());
    add(&counts, applied(&rule, 1), 5, now);
    let sent = counts.due(PARTITION, FLUSH_INTERVAL, now);
    counts.sent(PARTITION, &sent[0], &standing(0, 1_000, 3), now);
    assert_eq!(counts.wait_ms(&applied(&rule, 1), now), Some(1_000));
    assert!(due(&counts, now + Duration::from_millis(999)).is_empty(), "there is no room yet");
    let later = now + Duration::from_millis(1_000);
    assert_eq!(due(&counts, later), [(2, vec![], false)]);
    // Seven of eight: what is still pending is not granted twice.
    add(&counts, applied(&rule, 1), 6, later);
    assert!(counts.wait_ms(&applied(&rule, 1), later).is_some());
}

#[test]
fn observed_rule_owes_nothing_beyond_the_quota_and_blocks_nobody() {
    let (counts, rule, now) = (LocalCounts::new(1), rule(8), Instant::now());
    add(&counts, observed(&rule, 1), 8, now);
    assert_eq!(counts.blocked(), 0);
    let sent = counts.due(PARTITION, FLUSH_INTERVAL, now);
    counts.sent(PARTITION, &sent[0], &standing(0, 30_000, 3), now);
    add(&counts, observed(&rule, 1), 100, now);
    let later = now + Duration::from_secs(29);
    assert!(due(&counts, later).is_empty());
    counts.sweep(PARTITION, later);
    assert_eq!((counts.blocked(), counts.pending()), (0, 0));
}

#[test]
fn lost_batch_is_dropped_and_unsent_batch_stays() {
    let (counts, rule, now) = (LocalCounts::new(1), rule(8), Instant::now());
    add(&counts, applied(&rule, 1), 3, now);
    counts.take_back(&applied(&rule, 1), 7);
    let mut sent = counts.due(PARTITION, FLUSH_INTERVAL, now);
    assert_eq!((sent[0].pending, &*sent[0].take_back), (3, &[7][..]));
    counts.not_sent(PARTITION, sent.remove(0));
    let sent = counts.due(PARTITION, FLUSH_INTERVAL, now);
    assert_eq!((sent[0].pending, &*sent[0].take_back), (3, &[7][..]));
    counts.lost(PARTITION, &sent[0]);
    assert!(due(&counts, now + FLUSH_INTERVAL).is_empty());
}

#[test]
fn call_takes_grants_back_once() {
    let (counts, rule, now) = (LocalCounts::new(1), rule(8), Instant::now());
    counts.block(&applied(&rule, 1), &standing(0, 4_000, 0), now);
    counts.take_back(&applied(&rule, 1), 7);
    assert_eq!(counts.wait_ms(&applied(&rule, 1), now), None, "there is room for one more");
    let moments = counts.due_with_call(&applied(&rule, 1));
    assert_eq!((moments.as_slice(), counts.due_with_call(&applied(&rule, 1)).len()), (&[7][..], 0));
    counts.not_run(&applied(&rule, 1), moments);
    assert_eq!(due(&counts, now), [(0, vec![7], false)]);
    assert!(due(&counts, now).is_empty());
}

#[test]
fn forgiven_subject_starts_anew() {
    let (counts, rule, now) = (LocalCounts::new(1), rule(8), Instant::now());
    add(&counts, applied(&rule, 1), 8, now);
    counts.forgive(&applied(&rule, 1), false);
    assert_eq!(counts.wait_ms(&applied(&rule, 1), now), None);
    add(&counts, applied(&rule, 1), 1, now);
    assert_eq!(due(&counts, now), [(1, vec![], true)]);
    // Of another one this process has counted nothing.
    counts.forgive(&applied(&rule, 2), false);
    assert!(due(&counts, now).is_empty());
    counts.forgive(&applied(&rule, 2), true);
    assert_eq!(due(&counts, now), [(0, vec![], true)]);
}

#[test]
fn share_is_granted_once_a_window_under_all_rules_or_none() {
    let (counts, wide, now) = (LocalCounts::new(1), rule(12), Instant::now());
    let narrow = Rule { name: "narrow".into(), ..rule(8) };
    let both = [applied(&wide, 1), applied(&narrow, 1)];
    let both = [&both[0], &both[1]];
    assert_eq!(counts.take_share(&both, now), Ok(()));
    assert_eq!(counts.take_share(&both, now), Ok(()));
    let used = Err((1, Denied::Used(WINDOW.as_millis() as u64)));
    assert_eq!(counts.take_share(&both, now), used);
    assert_eq!(counts.take_share(&[both[0]], now), Ok(()), "the refused one took none");
    assert!(counts.take_share(&[both[0]], now).is_err());
    counts.withdraw(both[0]);
    assert_eq!(counts.take_share(&[both[0]], now), Ok(()));
    assert_eq!(counts.take_share(&both, now + WINDOW), Ok(()));
}

#[test]
fn subjects_are_bounded_and_forgotten() {
    let (counts, rule, now) = (LocalCounts::new(1), rule(8), Instant::now());
    for number in 0..SUBJECTS_MAX + 10 {
        add(&counts, applied(&rule, number), 1, now);
    }
    assert_eq!(counts.take_uncounted(), 10);
    add(&counts, applied(&rule, 0), 1, now);
    assert_eq!(counts.take_uncounted(), 0, "a known subject has its room");
    assert_eq!(counts.take_share(&[&applied(&rule, SUBJECTS_MAX)], now), Err((0, Denied::Full)));
    counts.sweep(PARTITION, now);
    assert_eq!(counts.pending(), SUBJECTS_MAX + 1);
    counts.sweep(PARTITION, now + WINDOW);
    assert_eq!(counts.pending(), 0);
    add(&counts, applied(&rule, SUBJECTS_MAX + 1), 1, now);
    counts.sweep(PARTITION, now);
    assert_eq!(counts.pending(), 1, "there is room again");
}
