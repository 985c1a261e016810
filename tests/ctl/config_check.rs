//! `config check`, which needs no services.

use serde_json::json;

use crate::support::ctl::holdfastctl;
use crate::support::servers::state_dir;
use crate::support::unique_name;

#[tokio::test]
async fn all_faults_of_a_file_are_listed_with_their_lines() {
    let file = state_dir().join(unique_name()).with_extension("toml");
    let path = file.to_str().unwrap();
    let check = async |text: &str, settings: &[(String, String)]| {
        std::fs::write(&file, text).unwrap();
        holdfastctl(&["config", "check", path, "--json"], settings, "").await
    };
    let sound = check("partitions = 8\n", &[]).await.json(0);
    assert_eq!((&sound["faults"], &sound["overridden"]), (&json!([]), &json!([])));

    let text = "partition = 8\nredis_timeout_ms = 5\nlog_level = \"loud\"\nlisten = 8000\n";
    let ran = check(text, &[]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let faults: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let faults = faults["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 4, "{faults:?}");
    for (line, expected) in [
        (1, "unknown setting partition; did you mean partitions?"),
        (2, "redis_timeout_ms = 5: must be 100 to 900"),
        (3, "log_level = \"loud\": \"loud\" is no level"),
        (4, "listen: "),
    ] {
        let begin = format!("{path}: line {line}: {expected}");
        assert!(
            faults.iter().any(|fault| fault.as_str().unwrap().starts_with(&begin)),
            "{faults:?}"
        );
    }

    // Files that it names, and variables above it.
    let text = "auth = \"jwt\"\njwt_audience = \"a\"\njwt_key_files = [\"/no/such.key\"]\n";
    let ran = check(text, &[]).await;
    assert!(ran.code == 1 && ran.stdout.contains("/no/such.key: cannot be read"), "{ran:?}");
    let ran = holdfastctl(&["config", "check", path, "--no-files"], &[], "").await;
    assert_eq!((ran.code, ran.stdout.trim_end()), (0, format!("{path}: no faults").as_str()));
    let variable = [("HOLDFAST_PARTITIONS".to_owned(), "4".to_owned())];
    let overridden = check("partitions = 8\n", &variable).await.json(0);
    assert_eq!(overridden["overridden"], json!(["partitions"]));
    let ran = holdfastctl(&["config", "check", "/no/such.toml"], &[], "").await;
    assert!(ran.code == 2 && ran.stderr.contains("cannot read /no/such.toml"), "{ran:?}");
}

#[tokio::test]
async fn manual_pages_of_every_command_are_written() {
    let folder = state_dir().join(unique_name());
    let path = folder.to_str().unwrap();
    let made = holdfastctl(&["man", path, "--json"], &[], "").await.json(0);
    let pages: Vec<&str> =
        made["pages"].as_array().unwrap().iter().map(|page| page.as_str().unwrap()).collect();
    for page in [
        "holdfast-api.1",
        "holdfast-worker.1",
        "holdfastctl.1",
        "holdfastctl-reload.1",
        "holdfastctl-bookings-cancel.1",
        "holdfastctl-config-check.1",
        "holdfastctl-top.1",
    ] {
        assert!(pages.contains(&page), "{page}: {pages:?}");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), pages.len());
    for page in &pages {
        let text = std::fs::read_to_string(folder.join(page)).unwrap();
        assert!(text.contains(".TH ") && text.contains(".SH NAME"), "{page}: {text}");
    }
    let tool = std::fs::read_to_string(folder.join("holdfastctl.1")).unwrap();
    let help = holdfastctl(&["--help"], &[], "").await.stdout;
    let commands = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let is_command = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    for line in commands.lines().filter(is_command) {
        let name = line.split_whitespace().next().unwrap();
        let escaped = name.replace('-', "\\-");
        assert!(name == "help" || tool.contains(&escaped), "{name} is not in the page");
    }
}
