//! The comparison of strategies.

mod support;

use holdfast_bench_report::strategies;
use serde_json::json;
use support::{assert_no_nonsense, assert_self_contained, strategies as fixture};

#[test]
fn page_has_charts_and_tables_of_every_strategy() {
    let page = strategies::html(&fixture()).unwrap();
    assert_self_contained(&page);
    let expected = [
        "Seats granted a second",
        "Refusals a second",
        "Latency at equal load, p99",
        "2,000 requests a second for each",
        "oversold 37",
        "61,000/s",
        "8.4 ms",
        "1,000 users, 10 seats, all at once",
        "No other strategy oversold: SET NX 2",
        "Every winner waits for MongoDB",
    ];
    for text in expected {
        assert!(page.contains(text), "the page lacks {text}");
    }
    assert_eq!(page.matches("class=\"is-ours\"").count(), 3, "Holdfast stands out in each chart");
    assert_eq!(page.matches("class=\"flaw\"").count(), 3, "so does who oversold");
}

#[test]
fn picture_is_a_complete_file_for_light_and_dark() {
    let picture = strategies::svg(&fixture()).unwrap();
    assert!(picture.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
    assert!(picture.trim_end().ends_with("</svg>"));
    assert!(picture.contains("prefers-color-scheme:dark"));
    assert!(
        picture.contains("<title id=\"title\">") && picture.contains("<desc id=\"description\">")
    );
    assert_eq!(picture.matches("class=\"bar t-first\"").count(), 3);
    assert_eq!(picture.matches(">oversold 37</text>").count(), 3);
    let others = picture.replace("http://www.w3.org/2000/svg", "");
    assert!(!others.contains("http") && !others.contains("<image") && !others.contains("@import"));
    assert_no_nonsense(&picture);
}

#[test]
fn missing_and_misshapen_figures_are_absent() {
    let document = json!({ "strategies": [
        { "name": "holdfast", "label": "Holdfast", "grants_per_second": 12.0 },
        { "name": "other", "grants_per_second": "many", "equal_load": null, "cases": { "a": {} } },
        { "name": "zero", "grants_per_second": 0.0, "refusals_per_second": null },
    ]});
    for text in [strategies::html(&document).unwrap(), strategies::svg(&document).unwrap()] {
        assert!(text.contains('–'));
        assert_no_nonsense(&text);
    }
}

#[test]
fn values_far_apart_are_drawn_logarithmically() {
    let document = json!({ "strategies": [
        { "name": "holdfast", "grants_per_second": 100_000.0 },
        { "name": "slow", "grants_per_second": 10.0 },
    ]});
    assert!(strategies::svg(&document).unwrap().contains("more is better; logarithmic"));
    assert!(!strategies::svg(&fixture()).unwrap().contains("logarithmic"));
}

#[test]
fn hostile_names_are_escaped() {
    let document =
        json!({ "strategies": [{ "name": "<script>", "oversold": 3, "best_at": "<img>" }] });
    for text in [strategies::html(&document).unwrap(), strategies::svg(&document).unwrap()] {
        assert!(!text.contains("<script>") && !text.contains("<img>"));
        assert!(text.contains("&lt;script&gt;"));
    }
}

#[test]
fn other_documents_are_refused() {
    for document in [json!({}), json!({ "strategies": [] }), json!([]), json!({ "strategies": 3 })]
    {
        assert!(strategies::html(&document).is_err());
        assert!(strategies::svg(&document).is_err());
    }
}
