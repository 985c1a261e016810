//! The report of a run.

mod support;

use holdfast_bench_report::html::report;
use support::{assert_no_nonsense, assert_self_contained, empty, plain, rich};

#[test]
fn report_has_every_section_plot_and_table() {
    let page = report(&rich());
    assert_self_contained(&page);
    let expected = [
        "<h1>two-events</h1>",
        "Not clean",
        "2 problems",
        "30 November 2026, 20:46 UTC",
        "holdfast-flash-sale run --scenario two-events",
        "of 12,400",
        "Latency of hold",
        "Latency of confirm",
        "Outcomes of calls",
        "Seats of Arena tour",
        "Seats of Club night",
        "Waiting room: people who wait",
        "Waiting room: people inside",
        "Archive behind the booking log",
        "redis unavailable",
        "Club night sold out",
        "Calls failed or found the service unavailable",
        "What became of people",
        "What became of bots",
        "409 seats_unavailable",
        "Its own delay",
        "Raw report of verify",
        "9,140 payments",
        "AMD EPYC 7B13",
    ];
    for text in expected {
        assert!(page.contains(text), "the page lacks {text}");
    }
    for heading in
        ["Summary", "Over time", "Buyers", "Operations", "Load generator", "Checks", "Machine"]
    {
        assert!(page.contains(&format!(">{heading}</h2>")), "no section {heading}");
    }
}

#[test]
fn each_plot_has_a_description_and_its_data() {
    let page = report(&rich());
    let plots = page.matches("<figure").count();
    assert_eq!(plots, 8);
    assert_eq!(page.matches("role=\"img\"").count(), plots);
    assert_eq!(page.matches("<details class=\"data\">").count(), plots);
}

#[test]
fn hostile_texts_are_escaped_everywhere() {
    const HOSTILE: &str = "\"><img src=x onerror=alert(1)><!--";
    let mut result = rich();
    let name = HOSTILE.to_owned();
    result.scenario = name.clone();
    result.title = name.clone();
    result.began = name.clone();
    result.command = vec![name.clone()];
    result.machine.processor = name.clone();
    result.machine.programs.insert(name.clone(), name.clone());
    result.fates.insert(name.clone(), 3);
    result.bot_fates.insert(name.clone(), 3);
    let operation = result.operations["hold"].clone();
    result.operations.insert(name.clone(), operation);
    for operation in result.operations.values_mut() {
        operation.outcomes.insert(name.clone(), 1);
    }
    for event in &mut result.events {
        event.name = name.clone();
        event.sold_out_seconds = Some(3.0);
    }
    for incident in &mut result.incidents {
        incident.what = name.clone();
    }
    result.checked.problems = vec![name.clone()];
    result.checked.history = Some(name.clone());
    result.checked.verify = Some(serde_json::json!({ "clean": false, HOSTILE: HOSTILE }));
    let page = report(&result);
    assert!(!page.contains("<img") && !page.contains("<!--"));
    assert!(page.matches("&lt;img src=x onerror=alert(1)&gt;").count() > 15);
}

#[test]
fn run_without_steps_has_no_plot_and_says_so() {
    let page = report(&empty());
    assert_self_contained(&page);
    assert!(page.contains("No steps were recorded."));
    assert!(!page.contains("<figure"));
}

#[test]
fn run_of_one_step_is_drawn() {
    let page = report(&plain(1, |_| 12.0));
    assert_self_contained(&page);
    // A value alone is a dot: p50, p90 and p99 of hold and of confirm, and the lag.
    let in_paints = page.matches("h.01\"></path></pattern>").count();
    assert_eq!(page.matches("h.01\"></path>").count() - in_paints, 7);
}

#[test]
fn zeros_are_drawn_at_the_bottom() {
    let mut result = plain(20, |_| 0.0);
    for point in &mut result.series.points {
        point.outcomes.clear();
        point.seats.clear();
    }
    result.seconds = 0.0;
    let page = report(&result);
    assert_self_contained(&page);
    assert!(page.contains("1000.0L"), "a line along the bottom");
}

#[test]
fn numbers_that_are_none_are_never_printed() {
    let mut result = plain(30, |step| match step % 4 {
        0 => f64::NAN,
        1 => f64::INFINITY,
        2 => f64::NEG_INFINITY,
        _ => 3.0,
    });
    result.seconds = f64::NAN;
    result.series.points[4].seconds = f64::NAN;
    result.series.points[5].seconds = f64::INFINITY;
    result.settled.seconds = f64::INFINITY;
    result.events[0].sold_out_seconds = Some(f64::NAN);
    let hold = result.operations.get_mut("hold").unwrap();
    hold.latency_ms.p99 = f64::NAN;
    hold.service_ms.max = f64::INFINITY;
    assert_self_contained(&report(&result));
}

#[test]
fn long_run_is_thinned_and_keeps_its_peak_and_its_end() {
    let mut result = plain(3_600, |step| if step == 1_801 { 8_765.0 } else { 10.0 });
    result.series.points[3_599].seats.get_mut(&7).unwrap().sold = 4_321;
    let page = report(&result);
    assert_self_contained(&page);
    assert!(page.len() < 1_500_000, "{} bytes", page.len());
    // Of hold and of confirm: in the description, where pointers see it, and in the table.
    assert_eq!(page.matches("8.77 s").count(), 2 * 3);
    assert!(page.contains("<td class=\"number\">4,321</td>"), "the last state is in the table");
    let rows = page.matches("<th scope=\"row\">").count();
    assert!(rows < 300, "{rows} rows");
}

#[test]
fn problems_of_verify_and_reconcile_are_listed_once() {
    let mut result = empty();
    result.clean = false;
    result.checked.problems = vec!["same".to_owned()];
    result.checked.verify = Some(serde_json::json!({
        "clean": false,
        "problems": ["same"],
        "partitions": [{ "problems": ["of a partition"] }],
        "events": [{ "problems": ["of an event"] }],
    }));
    result.checked.reconcile = Some(serde_json::json!({
        "clean": false,
        "differences": [{ "booking": "7-1", "problem": "charged twice" }],
    }));
    let page = report(&result);
    for text in
        ["4 problems", "of a partition", "of an event", "payment of booking 7-1: charged twice"]
    {
        assert!(page.contains(text), "{text}");
    }
    assert_eq!(page.matches("<li>same</li>").count(), 1);
}

#[test]
fn list_of_problems_is_cut_and_counted() {
    let mut result = empty();
    result.clean = false;
    result.checked.problems = (0..1_234).map(|number| format!("problem {number}")).collect();
    let page = report(&result);
    assert!(page.contains("1,234 problems") && page.contains("… and 1,184 more"));
    assert!(page.len() < 200_000);
}

#[test]
fn unclean_run_without_problems_says_so() {
    let mut result = empty();
    result.clean = false;
    let page = report(&result);
    assert!(page.contains("Not clean") && page.contains("names no problem"));
}

#[test]
fn steps_without_a_single_number_are_no_plot() {
    let page = report(&plain(9, |_| f64::NAN));
    assert_eq!(page.matches("Nothing was recorded.").count(), 1);
    assert!(!page.contains("Latency of confirm"));
}

#[test]
fn report_that_does_not_say_that_it_is_clean_is_not() {
    let mut result = empty();
    result.checked.verify = Some(serde_json::json!({ "clean": true }));
    result.checked.reconcile = Some(serde_json::json!({}));
    let page = report(&result);
    let badge = |name: &str| page.split("<p class=\"badge is-").find(|one| one.contains(name));
    assert!(badge("verify</p>").unwrap().starts_with("ok"));
    assert!(badge("reconcile</p>").unwrap().starts_with("bad"));
}

#[test]
fn checks_that_were_not_made_are_not_called_clean() {
    let page = report(&empty());
    assert_eq!(page.matches("Not made").count(), 2);
}

#[test]
fn picture_has_the_main_plots_and_no_nonsense() {
    let picture = holdfast_bench_report::html::picture(&rich());
    assert!(picture.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
    for text in
        ["Latency of hold", "Outcomes of calls", "Seats of Arena tour", "A: redis unavailable"]
    {
        assert!(picture.contains(text), "the picture lacks {text}");
    }
    assert_no_nonsense(&picture);
    for odd in [empty(), plain(1, |_| f64::NAN), plain(3_600, |_| 0.0)] {
        assert_no_nonsense(&holdfast_bench_report::html::picture(&odd));
    }
}
