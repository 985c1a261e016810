//! Two runs side by side.

mod support;

use holdfast_bench_report::compare;
use holdfast_bench_report::result::RunResult;
use support::{assert_no_nonsense, assert_self_contained, empty, plain, rich};

fn texts(first: &RunResult, second: &RunResult) -> [String; 2] {
    [compare::text(first, second), compare::html(first, second)]
}

#[test]
fn same_conditions_bring_no_warning() {
    let run = plain(30, |_| 12.0);
    for text in texts(&run, &run) {
        assert!(!text.contains("WARNING") && !text.contains("Not comparable"));
    }
}

#[test]
fn each_differing_condition_brings_its_warning() {
    type Change = fn(&mut RunResult);
    let changes: [(&str, Change); 4] = [
        ("the scenarios differ: A has stadium, B has bots", |run| run.scenario = "bots".to_owned()),
        ("the machines differ", |run| run.machine.processors = 64),
        ("the seats differ: A has 120, B has 240", |run| run.events[0].total_seats = 240),
        ("the numbers of buyers differ: A has 1,000, B has 9", |run| run.buyers = 9),
    ];
    for (warning, change) in changes {
        let first = plain(3, |_| 12.0);
        let mut second = first.clone();
        change(&mut second);
        for text in texts(&first, &second) {
            assert!(text.contains(&format!("Not comparable: {warning}")), "{warning}: {text}");
            assert_eq!(text.matches("Not comparable").count(), 1, "{warning}");
        }
    }
}

#[test]
fn unclean_run_and_other_programs_are_pointed_out() {
    let first = plain(3, |_| 12.0);
    let mut second = first.clone();
    second.clean = false;
    second.checked.problems = vec!["a seat was sold twice".to_owned()];
    second.machine.programs.insert("redis".to_owned(), "8.0".to_owned());
    for text in texts(&first, &second) {
        assert!(text.contains("B is not clean: 1 problem."));
        assert!(text.contains("The programs beside it have other versions."));
    }
}

#[test]
fn ratios_are_those_of_the_second_to_the_first() {
    let mut first = empty();
    first.operations.get_mut("hold").unwrap().latency_ms.p99 = 10.0;
    let mut second = first.clone();
    second.operations.get_mut("hold").unwrap().latency_ms.p99 = 25.0;
    let text = compare::text(&first, &second);
    let line = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("p99 ")).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line(&text), "p99 10 ms 25 ms 2.50× worse");
    assert_eq!(line(&compare::text(&second, &first)), "p99 25 ms 10 ms 0.40× better");
    assert_eq!(line(&compare::text(&first, &first)), "p99 10 ms 10 ms 1.00× same");
}

#[test]
fn operation_of_one_run_alone_has_no_ratio() {
    let first = rich();
    let mut second = rich();
    second.operations.remove("join");
    let text = compare::text(&first, &second);
    let join = text.lines().skip_while(|line| !line.starts_with("Join, latency")).nth(1).unwrap();
    assert_eq!(join.split_whitespace().collect::<Vec<_>>(), ["p50", "0.9", "ms", "–", "–"]);
}

#[test]
fn bots_are_compared_apart_from_people() {
    let text = compare::text(&rich(), &empty());
    let line = |begin: &str| {
        let line = text.lines().find(|line| line.starts_with(begin)).unwrap();
        line[begin.len()..].split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(text.contains("Hold (bots), latency"));
    assert_eq!(line("Hold (bots): 403 bot_suspected"), "8,100 0 0.00×");
    assert_eq!(line("Bought (bots)"), "20 0 0.00×");
    assert_eq!(line("Bought "), "9,120 0 0.00×");
}

#[test]
fn runs_of_different_steps_share_their_plots() {
    let first = plain(60, |_| 12.0);
    let mut second = plain(300, |step| if step == 200 { 777.0 } else { 8.0 });
    second.series.interval_ms = 200;
    for (index, point) in second.series.points.iter_mut().enumerate() {
        point.seconds = (index + 1) as f64 / 5.0;
    }
    let page = compare::html(&first, &second);
    assert_self_contained(&page);
    assert!(page.contains("A: 12 ms at most") && page.contains("B: 777 ms at most"), "{page}");
    assert!(page.contains("A: 100/s at most") && page.contains("B: 500/s at most"), "{page}");
}

#[test]
fn empty_and_nonsensical_runs_are_compared() {
    let mut odd = plain(9, |_| f64::NAN);
    odd.seconds = 0.0;
    odd.series.interval_ms = 0;
    odd.series.points[3].seconds = f64::INFINITY;
    odd.operations.get_mut("hold").unwrap().latency_ms.p50 = f64::NAN;
    for (first, second) in [(&odd, &empty()), (&empty(), &odd), (&odd, &odd)] {
        assert_no_nonsense(&compare::text(first, second));
        assert_self_contained(&compare::html(first, second));
    }
}

#[test]
fn hostile_texts_move_no_cursor_and_are_no_markup() {
    let mut hostile = rich();
    hostile.scenario = "\u{1b}[2J<script>".to_owned();
    hostile.fates.insert("\u{7}<b>".to_owned(), 1);
    let [text, page] = texts(&hostile, &rich());
    assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'));
    assert!(!page.contains("<script>") && !page.contains("<b>"));
}
