//! What is known of a trace; `traces::journey` has one with everything.

use serde_json::json;

use super::Shop;
use crate::support::servers::state_dir;
use crate::support::unique_name;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test]
async fn trace_that_nothing_is_known_of_is_an_empty_report() {
    let shop = Shop::any().await;
    let event = shop.world.event(4).await;
    // Of another trace.
    shop.hold(event, "ann", &[1]).await;
    let report = shop.ctl(&format!("trace {TRACE} --json")).await.json(0);
    for name in ["log_entries", "bookings", "refunds", "acts", "log_lines"] {
        assert_eq!(report[name], json!([]), "{report:#}");
    }
    assert_eq!((&report["trace_id"], &report["log_is_cut"]), (&json!(TRACE), &json!(false)));
    assert!(report["look_also"].as_str().unwrap().contains(TRACE), "{report:#}");
    let cut = shop.ctl(&format!("trace {TRACE} --log-entries 1 --json")).await.json(0);
    assert_eq!(cut["log_is_cut"], true, "{cut:#}");
    let text = shop.ctl(&format!("trace 00-{TRACE}-00f067aa0ba902b7-01 --within 2h")).await;
    text.ended(0);
    assert!(text.stdout.starts_with(&format!("trace {TRACE} since ")), "{text:?}");
}

#[tokio::test]
async fn lines_of_files_and_of_standard_input_are_found() {
    let shop = Shop::any().await;
    let file = state_dir().join(unique_name()).with_extension("log");
    let json_line = format!(
        r#"{{"timestamp":"2026-11-30T10:00:00.000Z","level":"debug","trace_id":"{TRACE}","message":"refused"}}"#
    );
    let text_line = format!("2026-11-30T10:00:00.000Z DEBUG refused trace_id=\"{TRACE}\"");
    std::fs::write(&file, format!("{json_line}\nanother line\n{text_line}\n")).unwrap();
    let name = file.display();
    let report = shop.ctl(&format!("trace {TRACE} --json --logs {name}")).await.json(0);
    let lines = report["log_lines"].as_array().unwrap();
    assert_eq!(lines.len(), 2, "{report:#}");
    assert_eq!((&lines[0]["message"], &lines[1]["line"]), (&json!("refused"), &json!(text_line)));
    assert!(report["look_also"].is_null(), "{report:#}");
    let fed = shop.ctl_fed(&format!("trace {TRACE} --logs -"), &json_line).await;
    fed.ended(0);
    assert!(fed.stdout.contains("-: 2026-11-30T10:00:00.000Z  debug refused"), "{fed:?}");
}

#[tokio::test]
async fn id_or_file_that_cannot_be_used_is_refused() {
    let shop = Shop::any().await;
    for (line, expected) in [
        ("trace", "<ID>".to_owned()),
        ("trace 17", "32 lower-case hex digits".to_owned()),
        ("trace 4BF92F3577B34DA6A3CE929D0E0E4736", "32 lower-case hex digits".to_owned()),
        (&format!("trace {TRACE} --within soon"), "such as".to_owned()),
        (&format!("trace {TRACE} --logs /no/such/file"), "cannot read /no/such/file".to_owned()),
    ] {
        let ran = shop.ctl(line).await;
        assert!(ran.code == 2 && ran.stderr.contains(&expected), "{line}: {ran:?}");
    }
}
