//! Places in the ledger: how many, and when they are free again.

use std::time::Duration;

use super::*;
use crate::domain::rules::shipped;

const PARTITION: Partition = Partition(0);

/// A rule with two places.
fn rule() -> Rule {
    let limit = Limit::Window { quota: 8, window_ms: 1_000 };
    let rule = Rule { limit, ..shipped()[1].clone() };
    assert_eq!(rule.share(), 2);
    rule
}

fn user(number: usize) -> Subject {
    Subject::User(format!("u{number}").parse().unwrap())
}

struct Book {
    ledger: Ledger,
    rule: Rule,
    ann: Subject,
    now: Instant,
}

impl Book {
    fn new() -> Self {
        Book { ledger: Ledger::new(1), rule: rule(), ann: user(0), now: Instant::now() }
    }

    fn note<'a>(&'a self, subject: &'a Subject, rule: &'a Rule, enforced: bool) -> Note<'a> {
        Note { partition: PARTITION, subject, rule, enforced }
    }

    fn enter(&self, sent: bool, after_ms: u64) -> Result<(), Denied> {
        let now = self.now + Duration::from_millis(after_ms);
        self.ledger.enter(&[self.note(&self.ann, &self.rule, true)], sent, now).map(drop)
    }

    fn take(&self) -> u32 {
        self.ledger.take(PARTITION, &self.ann, &self.rule.name).noted
    }
}

#[test]
fn a_note_keeps_its_place_until_it_is_counted_or_its_window_is_over() {
    let book = Book::new();
    let denied = |wait_ms| Err(Denied::Used { at: 0, wait_ms });
    assert_eq!([book.enter(false, 0), book.enter(true, 400)], [Ok(()), Ok(())]);
    assert_eq!(book.enter(false, 400), denied(600));
    // Sending alone frees no place, and nothing is sent twice.
    assert_eq!((book.take(), book.take()), (1, 0));
    assert_eq!(book.enter(false, 500), denied(500));
    book.ledger.counted(PARTITION, &book.ann, &book.rule.name, 1);
    assert_eq!(book.enter(false, 500), Ok(()));
    assert_eq!(book.enter(false, 600), denied(800));
    // What the ledger never heard of again goes by itself.
    assert_eq!(book.enter(false, 1_400), Ok(()));
    assert_eq!(book.ledger.len(), 2);
}

#[test]
fn what_surely_did_not_run_is_sent_again() {
    let book = Book::new();
    book.enter(false, 0).unwrap();
    book.enter(false, 1).unwrap();
    let due = book.ledger.due(PARTITION, 10);
    assert_eq!((due.len(), due[0].noted), (1, 2));
    assert!(book.ledger.due(PARTITION, 10).is_empty());
    book.ledger.give_back(PARTITION, due[0].clone());
    assert_eq!(book.ledger.due(PARTITION, 10), due);
    book.ledger.counted(PARTITION, &book.ann, &book.rule.name, 2);
    assert_eq!(book.ledger.len(), 0);
    assert!(lock(&book.ledger.shards[0]).accounts.is_empty());
}

#[test]
fn a_request_is_noted_under_all_its_rules_or_none() {
    let book = Book::new();
    let wide = Rule { name: "wide".into(), limit: shipped()[1].limit, ..book.rule.clone() };
    let both =
        |enforced| [book.note(&book.ann, &wide, true), book.note(&book.ann, &book.rule, enforced)];
    for _ in 0..2 {
        book.ledger.enter(&both(true), false, book.now).unwrap();
    }
    let denied = book.ledger.enter(&both(true), false, book.now);
    assert_eq!(denied, Err(Denied::Used { at: 1, wait_ms: 1_000 }));
    assert_eq!(book.ledger.len(), 4);
    // One that only observes refuses nothing.
    book.ledger.enter(&both(false), false, book.now).unwrap();
    assert_eq!(book.ledger.len(), 5);
}

#[test]
fn uncounted_request_is_sent_once_and_takes_no_place() {
    let book = Book::new();
    let rule = Rule { name: "other".into(), ..book.rule.clone() };
    let note = book.note(&book.ann, &book.rule, true);
    for at_ms in [7, 8] {
        book.ledger.uncount(&note, at_ms, book.now);
    }
    book.ledger.uncount(&book.note(&book.ann, &rule, true), 9, book.now);
    assert_eq!(book.ledger.len(), 3);
    // Places are free, and the next call takes the moments along.
    assert_eq!([book.enter(false, 0), book.enter(false, 0)], [Ok(()), Ok(())]);
    let taken = book.ledger.take(PARTITION, &book.ann, &book.rule.name);
    assert_eq!(taken, Taken { noted: 2, uncounted: vec![7, 8] });
    let due = book.ledger.due(PARTITION, 10);
    assert_eq!((due.len(), &due[0].uncounted), (1, &vec![9]));
    assert!(book.ledger.due(PARTITION, 10).is_empty());
    // What surely did not run is sent again, where it was forgotten meanwhile, too.
    book.ledger.counted(PARTITION, &book.ann, &book.rule.name, 2);
    assert_eq!(book.ledger.len(), 0);
    assert!(lock(&book.ledger.shards[0]).accounts.is_empty());
    book.ledger.give_back(PARTITION, due[0].clone());
    assert_eq!(book.ledger.due(PARTITION, 10), due);
    assert_eq!(book.ledger.len(), 0);
}

#[test]
fn uncounted_request_is_forgotten_with_its_window() {
    let book = Book::new();
    let note = book.note(&book.ann, &book.rule, true);
    book.ledger.uncount(&note, 7, book.now);
    book.ledger.sweep(book.now + Duration::from_millis(1_000));
    assert_eq!(book.ledger.len(), 0);
    assert!(book.ledger.due(PARTITION, 10).is_empty());
}

#[test]
fn one_call_uncounts_so_many_and_the_next_the_rest() {
    let book = Book::new();
    let note = book.note(&book.ann, &book.rule, true);
    (0..100).for_each(|at_ms| book.ledger.uncount(&note, at_ms, book.now));
    let counts = [(); 3].map(|()| {
        let due = book.ledger.due(PARTITION, 10);
        due.iter().map(|one| one.uncounted.len()).sum::<usize>()
    });
    assert_eq!(counts, [64, 36, 0]);
}

#[test]
fn withdrawn_note_frees_its_place_unless_it_was_sent() {
    let book = Book::new();
    let note = book.note(&book.ann, &book.rule, true);
    book.enter(false, 0).unwrap();
    book.enter(false, 0).unwrap();
    book.ledger.withdraw(&note, Noted::Unsent);
    assert_eq!(book.enter(false, 0), Ok(()));
    assert_eq!(book.take(), 2);
    book.ledger.withdraw(&note, Noted::Unsent);
    book.ledger.withdraw(&note, Noted::Not);
    assert_eq!((book.ledger.len(), book.enter(false, 0).is_err()), (2, true));
    // One whose reply was lost, and which was then refused.
    book.ledger.withdraw(&note, Noted::Sent);
    assert_eq!(book.enter(true, 0), Ok(()));
}

#[test]
fn forgiving_comes_before_counting_and_once() {
    let book = Book::new();
    book.enter(false, 0).unwrap();
    for _ in 0..2 {
        book.ledger.forgive(PARTITION, book.ann.clone(), &book.rule);
    }
    let due = book.ledger.due(PARTITION, 10);
    assert_eq!(due.len(), 1);
    assert_eq!((due[0].forgives, due[0].noted, due[0].enforced), (true, 1, true));
    for _ in 0..FORGIVEN_MAX + 3 {
        book.ledger.forgive(PARTITION, book.ann.clone(), &book.rule);
    }
    assert_eq!(book.ledger.take_unforgiven(), 3);
}

#[test]
fn the_queue_is_bounded_while_nothing_is_sent() {
    let book = Book::new();
    let enter = |subject: &Subject, rule: &Rule, after_ms| {
        let now = book.now + Duration::from_millis(after_ms);
        book.ledger.enter(&[book.note(subject, rule, true)], false, now).unwrap();
    };
    // Somebody is there all the time.
    let hourly =
        Rule { limit: Limit::Window { quota: 8, window_ms: 3_600_000 }, ..book.rule.clone() };
    enter(&user(1), &hourly, 0);
    for second in 0..10 {
        enter(&book.ann, &book.rule, second * 1_000);
        if second % 2 == 0 {
            // Counted with her own next request, and noted again.
            assert_eq!(book.take(), 1);
            book.ledger.counted(PARTITION, &book.ann, &book.rule.name, 1);
            enter(&book.ann, &book.rule, second * 1_000);
            book.ledger.sweep(book.now + Duration::from_millis(second * 1_000));
            assert_eq!(lock(&book.ledger.shards[0]).queue.len(), 2);
        }
        book.ledger.sweep(book.now + Duration::from_millis((second + 1) * 1_000));
        assert_eq!(lock(&book.ledger.shards[0]).queue.len(), 1);
    }
    let due = book.ledger.due(PARTITION, 10);
    assert_eq!(
        due.iter().map(|one| (&one.subject, one.noted)).collect::<Vec<_>>(),
        [(&user(1), 1)]
    );
}

#[test]
fn the_ledger_is_bounded_and_empty_again() {
    let book = Book::new();
    let enter = |number| {
        let subject = user(number);
        book.ledger.enter(&[book.note(&subject, &book.rule, true)], false, book.now)
    };
    for number in 0..NOTES_MAX {
        enter(number).unwrap();
    }
    assert_eq!(enter(NOTES_MAX), Err(Denied::Full));
    assert_eq!(book.ledger.len(), NOTES_MAX);
    assert_eq!(book.ledger.due(PARTITION, 10).len(), 10);
    book.ledger.sweep(book.now + Duration::from_millis(1_000));
    assert_eq!(book.ledger.len(), 0);
    let shard = lock(&book.ledger.shards[0]);
    assert_eq!((shard.accounts.capacity(), shard.queue.capacity()), (0, 0));
}
